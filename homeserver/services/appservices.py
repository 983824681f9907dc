"""Application services: who they are, and which names are theirs.

Registration files are those of application-service-api §Registration: https://spec.matrix.org/v1.19/application-service-api/#registration.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import yaml

Kind = Literal["users", "aliases", "rooms"]
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
_KINDS: Final[tuple[Kind, ...]] = ("users", "aliases", "rooms")
# A bridge that only speaks the WebSocket writes this where its URL would stand.
_NO_URL: Final = ("", "websocket")
_UNSTABLE_EPHEMERAL: Final = "de.sorunome.msc2409.push_ephemeral"


class InvalidRegistration(ValueError):
    """A registration file is not as it should be; the message says where."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """Names that an application service is interested in; nobody else may have them where it is `exclusive`."""

    pattern: re.Pattern[str]
    exclusive: bool


@dataclass(frozen=True, slots=True, eq=False)
class Appservice:
    """One application service. `sender` is the user it acts as by itself.

    `url` is None for one that only sends, or that fetches what happens over a WebSocket. `receives_device_news`: it
    is told of keys and device lists, and messages to devices of its users are its alone to take (proposal 3202).
    `manages_devices`: it makes the devices of its users itself and never logs in (proposal 4190).
    """

    id: str
    url: str | None
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    sender: str
    namespaces: Mapping[Kind, Sequence[Namespace]]
    rate_limited: bool = True
    receives_ephemeral: bool = False
    receives_unstable_ephemeral: bool = False
    protocols: tuple[str, ...] = ()
    receives_device_news: bool = False
    manages_devices: bool = False
    addresses: tuple[IpNetwork, ...] = ()

    @property
    def wants_ephemeral(self) -> bool:
        """Whether it is told of what passes: typing, receipts, presence; and of messages to devices."""
        return self.receives_ephemeral or self.receives_unstable_ephemeral

    def covers(self, kind: Kind, name: str) -> bool:
        """Whether the name lies in one of the namespaces. Users of other servers never do."""
        return any(n.pattern.match(name) for n in self.namespaces[kind]) and (kind != "users" or self._is_local(name))

    def owns(self, kind: Kind, name: str) -> bool:
        """Whether nobody else may have the name."""
        found = any(n.exclusive and n.pattern.match(name) for n in self.namespaces[kind])
        return found and (kind != "users" or self._is_local(name))

    def may_act_as(self, user_id: str) -> bool:
        """Whether it may do things in this user's name."""
        return user_id == self.sender or self.covers("users", user_id)

    def may_ask_from(self, ip: str) -> bool:
        """Whether its token counts from this address: its registration may name those that it is at."""
        if not self.addresses:
            return True
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        return any(address in network for network in self.addresses)

    def _is_local(self, user_id: str) -> bool:
        return user_id.partition(":")[2] == self.sender.partition(":")[2]


class Appservices:
    """Every application service that the config names."""

    def __init__(self, appservices: Iterable[Appservice] = ()) -> None:
        self.all: tuple[Appservice, ...] = tuple(appservices)
        self._by_token = {appservice.as_token: appservice for appservice in self.all}
        self._by_id = {appservice.id: appservice for appservice in self.all}
        if len(self._by_token) < len(self.all) or len(self._by_id) < len(self.all):
            raise InvalidRegistration("two application services have the same id or as_token")

    @classmethod
    def load(cls, paths: Iterable[str], server_name: str) -> "Appservices":
        """Read registration files. Raises InvalidRegistration, OSError."""
        return cls(read_registration(Path(path).read_text(encoding="utf-8"), server_name, path) for path in paths)

    def by_token(self, token: str) -> Appservice | None:
        """The one whose `as_token` this is."""
        return self._by_token.get(token)

    def by_id(self, appservice_id: str) -> Appservice | None:
        """The one with this id."""
        return self._by_id.get(appservice_id)

    def owner_of(self, kind: Kind, name: str) -> Appservice | None:
        """The one that nobody but itself may use the name of."""
        for appservice in self.all:
            if appservice.owns(kind, name) or (kind == "users" and name == appservice.sender):
                return appservice
        return None

    def covering(self, kind: Kind, name: str) -> list[Appservice]:
        """Those that have the name in a namespace and can be asked about it."""
        return [appservice for appservice in self.all if appservice.url and appservice.covers(kind, name)]


def read_registration(text: str, server_name: str, place: str = "registration") -> Appservice:
    """Parse one registration file. Raises InvalidRegistration, with `place` in its message."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRegistration(f"{place}: not valid YAML") from error
    if not isinstance(document, dict):
        raise InvalidRegistration(f"{place}: must be a mapping")
    values: dict[str, Any] = document
    for name in ("id", "as_token", "hs_token", "sender_localpart"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise InvalidRegistration(f"{place}: {name} must be a string")
    url = values.get("url")
    if "url" not in values or not (url is None or isinstance(url, str)):
        raise InvalidRegistration(f"{place}: url must be a string, or null")
    if quote(values["sender_localpart"]) != values["sender_localpart"]:
        raise InvalidRegistration(f"{place}: sender_localpart is not valid in a user id")
    return Appservice(
        id=values["id"],
        url=None if url is None or url in _NO_URL else url.rstrip("/"),
        as_token=values["as_token"],
        hs_token=values["hs_token"],
        sender=f"@{values['sender_localpart']}:{server_name}",
        namespaces=_namespaces(values.get("namespaces") or {}, place),
        rate_limited=_flag(values, ("rate_limited",), place, default=True),
        receives_ephemeral=_flag(values, ("receive_ephemeral", "push_ephemeral"), place),
        receives_unstable_ephemeral=_flag(values, (_UNSTABLE_EPHEMERAL,), place),
        protocols=_protocols(values.get("protocols"), place),
        receives_device_news=_flag(values, ("org.matrix.msc3202",), place),
        manages_devices=_flag(values, ("io.element.msc4190",), place),
        addresses=_addresses(values.get("ip_range_whitelist"), place),
    )


def _flag(values: Mapping[str, Any], names: Sequence[str], place: str, *, default: bool = False) -> bool:
    for name in names:
        value = values.get(name)
        if value is not None:
            if not isinstance(value, bool):
                raise InvalidRegistration(f"{place}: {name} must be true or false")
            return value
    return default


def _protocols(value: Any, place: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidRegistration(f"{place}: protocols must be a list of strings")
    return tuple(value)


def _addresses(value: Any, place: str) -> tuple[IpNetwork, ...]:
    if value is None:
        return ()
    listed: list[Any] = value if isinstance(value, list) else [value]
    try:
        return tuple(ipaddress.ip_network(str(item), strict=False) for item in listed)
    except ValueError:
        raise InvalidRegistration(f"{place}: ip_range_whitelist must be a list of addresses and networks") from None


def _namespaces(value: Any, place: str) -> dict[Kind, tuple[Namespace, ...]]:
    if not isinstance(value, dict):
        raise InvalidRegistration(f"{place}: namespaces must be a mapping")
    return {kind: tuple(_namespace(item, kind, place) for item in value.get(kind) or ()) for kind in _KINDS}


def _namespace(value: Any, kind: Kind, place: str) -> Namespace:
    if not isinstance(value, dict) or not isinstance(value.get("regex"), str):
        raise InvalidRegistration(f"{place}: every entry of namespaces.{kind} must have a regex")
    try:
        pattern = re.compile(value["regex"])
    except re.error as error:
        raise InvalidRegistration(
            f"{place}: namespaces.{kind}: {value['regex']!r} is not a regular expression"
        ) from error
    return Namespace(pattern, exclusive=_flag(value, ("exclusive",), place))
