"""Whether this server reaches an application service. https://spec.matrix.org/v1.19/application-service-api/#pinging"""

from typing import Any

import orjson

from homeserver.errors import BadStatus, ConnectionFailed, ConnectionTimeout, Forbidden, UrlNotSet
from homeserver.runtime.clock import Clock
from homeserver.runtime.http_client import HttpClient, HttpFailure
from homeserver.services.appservices import Appservice


class AppservicePing:
    """Asks the application service to answer."""

    def __init__(self, http: HttpClient, clock: Clock) -> None:
        self._http = http
        self._clock = clock

    async def ping(self, appservice: Appservice, appservice_id: str, transaction_id: str | None) -> int:
        """How many milliseconds it took.

        Raises Forbidden, UrlNotSet, BadStatus, ConnectionFailed, ConnectionTimeout.
        """
        if appservice.id != appservice_id:
            raise Forbidden("This is the token of another application service")
        if appservice.url is None:
            raise UrlNotSet
        body: dict[str, Any] = {} if transaction_id is None else {"transaction_id": transaction_id}
        begin = self._clock.monotonic()
        try:
            answer = await self._http.send(
                "POST", f"{appservice.url}/_matrix/app/v1/ping", orjson.dumps(body), token=appservice.hs_token
            )
        except HttpFailure as failure:
            kind = ConnectionTimeout if failure.is_timeout else ConnectionFailed
            raise kind("The application service could not be reached") from failure
        if not answer.is_success:
            text = answer.body.decode(errors="replace")
            raise BadStatus("The application service answered with an error", status=answer.status, body=text)
        return round((self._clock.monotonic() - begin) * 1000)
