"""A network in memory: servers are functions, and what lies between them may drop, delay, change or forge."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from federation.outbound.failures import FederationError
from federation.outbound.transport import Answer

Serve = Callable[[str, str, Mapping[str, str], bytes | None], Awaitable[Answer]]
"""(method, target, headers, body) → answer"""


@dataclass
class Sent:
    """One request, as the network saw it."""

    source: str
    destination: str
    method: str
    target: str
    body: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


Interference = Callable[[Sent], Awaitable[Answer | None]]
"""May raise FederationError (lost), wait (late), or answer instead of the server; None lets the request through."""


@dataclass
class Network:
    """All servers of a test."""

    servers: dict[str, Serve] = field(default_factory=dict)
    log: list[Sent] = field(default_factory=list)
    interferences: list[Interference] = field(default_factory=list)
    cut: set[frozenset[str]] = field(default_factory=set)

    def partition(self, *names: str) -> None:
        """No request passes between any two of these servers."""
        self.cut |= {frozenset((a, b)) for a in names for b in names if a != b}

    def heal(self) -> None:
        """All requests pass again."""
        self.cut.clear()

    def requests(self, part_of_target: str) -> list[Sent]:
        """The requests so far whose target has this in it."""
        return [sent for sent in self.log if part_of_target in sent.target]

    def transport(self, source: str) -> "MemoryTransport":
        """The network as one server sees it."""
        return MemoryTransport(self, source)


@dataclass
class MemoryTransport:
    """Takes the place of `HttpTransport`."""

    network: Network
    source: str

    async def send(
        self,
        destination: str,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
        max_bytes: int,
        into: BinaryIO | None = None,
    ) -> Answer:
        answer = await self._answer(Sent(self.source, destination, method, target, body, headers))
        if len(answer.body) > max_bytes:
            raise FederationError("malformed", destination, "the answer is larger than it may be")
        if into is None or answer.status != 200:
            return answer
        into.write(answer.body)
        return replace(answer, body=b"")

    async def _answer(self, sent: Sent) -> Answer:
        self.network.log.append(sent)
        destination = sent.destination
        if frozenset((self.source, destination)) in self.network.cut:
            raise FederationError("unreachable", destination, "the network is cut")
        for interference in self.network.interferences:
            answer = await interference(sent)
            if answer is not None:
                return answer
        serve = self.network.servers.get(destination)
        if serve is None:
            raise FederationError("unreachable", destination, "no such server")
        return await serve(sent.method, sent.target, sent.headers, sent.body)

    async def fetch(
        self, url: str, *, timeout_s: float, max_bytes: int, into: BinaryIO | None = None
    ) -> Answer:
        host, _, path = url.removeprefix("https://").partition("/")
        return await self.send(
            host, "GET", "/" + path, headers={}, body=None, timeout_s=timeout_s, max_bytes=max_bytes, into=into
        )

    async def close(self) -> None:
        return None
