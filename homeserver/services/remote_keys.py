"""Other servers are asked for the keys of their users, side by side and not for long."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from federation.outbound.failures import FederationError

Failures = dict[str, dict[str, Any]]
"""server → what went wrong there, as clients are shown it."""

DEFAULT_TIMEOUT_MS: Final = 10_000
MAX_TIMEOUT_MS: Final = 60_000
_AT_ONCE: Final = 50


class RemoteKeys(Protocol):
    """`FederationClient`, as far as it is needed here. Each raises FederationError."""

    async def user_devices(self, destination: str, user_id: str) -> dict[str, Any]: ...

    async def query_user_keys(self, destination: str, device_keys: Mapping[str, Sequence[str]]) -> dict[str, Any]: ...

    async def claim_user_keys(
        self, destination: str, one_time_keys: Mapping[str, Mapping[str, str]]
    ) -> dict[str, Any]: ...


class NoRemoteKeys:
    """For a server that does not federate."""

    async def user_devices(self, destination: str, user_id: str) -> dict[str, Any]:
        raise FederationError("not_allowed", destination, "this server does not federate")

    async def query_user_keys(self, destination: str, device_keys: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        raise FederationError("not_allowed", destination, "this server does not federate")

    async def claim_user_keys(self, destination: str, one_time_keys: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        raise FederationError("not_allowed", destination, "this server does not federate")


async def ask_servers(
    server_names: Iterable[str], ask: Callable[[str], Awaitable[dict[str, Any]]], timeout_ms: int
) -> tuple[dict[str, dict[str, Any]], Failures]:
    """(server → answer, server → failure), of all servers at once, each within `timeout_ms`."""
    answers: dict[str, dict[str, Any]] = {}
    failures: Failures = {}
    some = asyncio.Semaphore(_AT_ONCE)

    async def ask_one(server_name: str) -> None:
        try:
            async with asyncio.timeout(min(timeout_ms, MAX_TIMEOUT_MS) / 1000), some:
                answers[server_name] = await ask(server_name)
        except TimeoutError:
            failures[server_name] = {"errcode": "M_UNKNOWN", "error": "The server did not answer in time"}
        except FederationError as error:
            failures[server_name] = failure_of(error)

    await asyncio.gather(*(ask_one(server_name) for server_name in server_names))
    return answers, failures


def failure_of(error: FederationError) -> dict[str, Any]:
    """What clients are shown of a failure."""
    return {"errcode": error.errcode or "M_UNKNOWN", "error": f"{error.kind}: {error.message}"[:500]}
