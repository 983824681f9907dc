"""What can go wrong when another server is asked something."""

from typing import Any, Literal

FailureKind = Literal["unreachable", "timeout", "refused", "failed", "malformed", "backing_off", "not_allowed"]
"""unreachable: no connection, no address, bad certificate · timeout: no answer in time · refused: it answered that it
will not (4xx, `errcode` says why) · failed: it answered with an error of its own (5xx) · malformed: its answer is not
what the specification wants, or is too large · backing_off: not even tried, because it failed lately · not_allowed: not
tried, because this server's own config forbids it."""


class FederationError(Exception):
    """Another server did not do what it was asked to. `body` is the JSON object it answered with, if any."""

    def __init__(
        self,
        kind: FailureKind,
        destination: str,
        message: str,
        *,
        errcode: str | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{destination}: {kind}: {message}")
        self.kind: FailureKind = kind
        self.destination = destination
        self.message = message
        self.errcode = errcode
        self.body: dict[str, Any] = body or {}

    @property
    def is_refusal(self) -> bool:
        """Whether the other server is there and decided: asking it again will not help."""
        return self.kind == "refused"

    @property
    def is_unrecognised(self) -> bool:
        """Whether the other server does not have the endpoint."""
        return self.kind == "refused" and self.errcode in ("M_UNRECOGNIZED", None)
