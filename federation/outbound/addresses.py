"""Which addresses may be connected to: other servers must not make this one reach into its own network."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]


class PrivateAddress(OSError):
    """The address is loopback, private, link-local or otherwise not of the public internet."""


def is_public(address: str) -> bool:
    """Whether an IP address (v4, v6, with or without a zone) is one of the public internet's."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        # What an IPv6 address carries inside is where the packets end up.
        teredo = parsed.teredo[1] if parsed.teredo else None
        inner = parsed.ipv4_mapped or parsed.sixtofour or teredo or _nat64(parsed)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return parsed.is_global and not parsed.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def socket_factory(allow_private: bool) -> Callable[[AddressInfo], socket.socket]:
    """Makes sockets for the address that is about to be connected to, after all look-ups; refuses private ones."""

    def make(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allow_private and not is_public(str(address[0])):
            raise PrivateAddress(f"{address[0]} is not a public address")
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setblocking(False)
        return made

    return make
