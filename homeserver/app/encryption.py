"""End-to-end encryption: keys of devices and users, and messages to devices."""

from dataclasses import dataclass

from homeserver.app.foundation import Foundation
from homeserver.app.outside import Outside
from homeserver.services.announce_devices import AnnounceDevices
from homeserver.services.cross_signing import CrossSigning
from homeserver.services.device_keys import DeviceKeys
from homeserver.services.device_lists import DeviceLists
from homeserver.services.idempotency import Idempotency
from homeserver.services.key_claims import KeyClaims
from homeserver.services.key_queries import KeyQueries
from homeserver.services.key_signatures import KeySignatures
from homeserver.services.local_keys import LocalKeys
from homeserver.services.one_time_key_counts import OneTimeKeyCounts
from homeserver.services.remote_device_lists import RemoteDeviceLists
from homeserver.services.remote_keys import NoRemoteKeys
from homeserver.services.room_heads import RoomHeads
from homeserver.services.to_device import ToDevice


@dataclass(frozen=True, slots=True)
class EncryptionServices:
    """Keys and messages, for clients and for other servers."""

    counts: OneTimeKeyCounts
    device_keys: DeviceKeys
    remote_lists: RemoteDeviceLists
    queries: KeyQueries
    claims: KeyClaims
    cross_signing: CrossSigning
    signatures: KeySignatures
    local_keys: LocalKeys
    to_device: ToDevice


def build_encryption(
    base: Foundation, outside: Outside, heads: RoomHeads, idempotency: Idempotency, lists: DeviceLists
) -> EncryptionServices:
    """`lists` records whose devices changed; the accounts have it too."""
    database, name = base.database, base.server_name
    remote = outside.client if base.config.federation.enabled else NoRemoteKeys()
    counts = OneTimeKeyCounts(database)
    remote_lists = RemoteDeviceLists(database, remote, base.tasks, server_name=name)
    queries = KeyQueries(database, remote_lists, remote, server_name=name)
    claims = KeyClaims(database, remote, server_name=name)
    to_device = ToDevice(database, idempotency, base.clock, base.randomness, server_name=name)
    AnnounceDevices(database, heads, base.tasks, lists, server_name=name)
    base.tasks.loop("old ids of messages to devices", to_device.forget_old, every_s=86_400, clock=base.clock)
    base.tasks.loop("old changes of device lists", lists.forget_old, every_s=86_400, clock=base.clock)
    return EncryptionServices(
        counts,
        DeviceKeys(database, base.clock, lists, counts),
        remote_lists,
        queries,
        claims,
        CrossSigning(database, lists),
        KeySignatures(database, queries, lists),
        LocalKeys(database, claims, server_name=name, share_names=base.config.federation.device_names),
        to_device,
    )
