"""How other servers are reached, and how what they say is checked."""

from dataclasses import dataclass

import aiohttp

from federation.outbound.client import FederationClient
from federation.outbound.discovery import Discovery
from federation.outbound.dns import DnsServiceRecords
from federation.outbound.reachability import Reachability
from federation.outbound.requests import Allowed, SignedRequests
from federation.outbound.transport import HttpTransport, Transport, ssl_context
from federation.outbound.well_known import HttpWellKnownReader
from homeserver.app.foundation import Foundation
from homeserver.core.hashes import bytes_of_base64
from homeserver.services.event_signatures import EventSignatures
from homeserver.services.keyring import Keyring
from homeserver.services.server_key_objects import OldVerifyKey
from homeserver.services.vouched_keys import VouchedKeys


@dataclass(frozen=True, slots=True)
class Outside:
    """The other servers, as seen from here."""

    client: FederationClient
    transport: Transport
    reachability: Reachability
    is_allowed: Allowed
    keyring: Keyring
    signatures: EventSignatures


def look_outside(base: Foundation, transport: Transport | None = None) -> Outside:
    """`transport` takes the place of HTTPS in tests."""
    config = base.config.federation
    reachability = Reachability(
        base.clock, base.randomness, retry_min_s=config.retry_min, retry_max_s=config.retry_max
    )
    is_allowed = Allowed(config.allowed_servers, config.denied_servers) if config.enabled else Allowed(())
    transport = transport or _https(base)
    requests = SignedRequests(
        transport,
        reachability,
        base.server_name,
        base.signing_key,
        timeout_s=config.request_timeout,
        is_allowed=is_allowed,
    )
    client = FederationClient(requests)
    keyring = Keyring(
        base.database,
        client,
        base.clock,
        server_name=base.server_name,
        signing_key=base.signing_key,
        old_keys=_old_keys(base),
        validity_s=base.config.server.key_validity,
        notaries=config.trusted_key_servers,
        cached_servers=base.config.caches.server_keys,
    )
    vouched = VouchedKeys(keyring, client, base.clock)
    signatures = EventSignatures(keyring, vouched, base.clock, base.threads)
    return Outside(client, transport, reachability, is_allowed, keyring, signatures)


def _old_keys(base: Foundation) -> list[OldVerifyKey]:
    """Keys of earlier days. That they are base64 was checked when the config was read."""
    return [
        OldVerifyKey(old.key_id, public_key, old.expired_ts)
        for old in base.config.server.old_signing_keys
        if (public_key := bytes_of_base64(old.public_key)) is not None
    ]


class _LaterSession:
    """The transport finds servers by discovery, which reads .well-known through the transport's own pool."""

    transport: HttpTransport

    def session(self) -> aiohttp.ClientSession:
        return self.transport.session()


def _https(base: Foundation) -> HttpTransport:
    config = base.config.federation
    later = _LaterSession()
    discovery = Discovery(HttpWellKnownReader(later), DnsServiceRecords(), base.clock, base.randomness)
    later.transport = HttpTransport(
        discovery,
        tls=ssl_context(config.ca_files, config.verify_certificates),
        allow_private_addresses=config.allow_private_addresses,
        connect_timeout_s=config.connect_timeout,
    )
    return later.transport
