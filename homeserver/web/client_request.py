"""HTTP requests whose handlers end when their clients go away."""

from aiohttp import web

_READS = frozenset(("GET", "HEAD"))


class ClientRequest(web.BaseRequest):
    """A request whose handler is cancelled when its client goes away, if all it does is read.

    A write goes on: the client may have sent it just before the network broke, and asks again with the same
    transaction id.
    """

    may_be_given_up = False  # as the row of the endpoint has it

    def _cancel(self, exc: BaseException) -> None:
        # aiohttp calls this when the connection is lost, and at last when the server stops.
        super()._cancel(exc)
        if self.method in _READS or self.may_be_given_up:
            self.task.cancel()
