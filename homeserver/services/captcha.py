"""reCAPTCHA: a service elsewhere says whether an answer was given by a person.

https://spec.matrix.org/v1.19/client-server-api/#google-recaptcha
"""

import logging
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from homeserver.errors import BadGateway, CaptchaInvalid, CaptchaNeeded
from homeserver.runtime.http_client import HttpClient, HttpFailure

log = logging.getLogger(__name__)
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class Captcha:
    """Asks `verify_url` about each answer."""

    def __init__(self, http: HttpClient, *, site_key: str, secret_key: str, verify_url: str) -> None:
        self._http = http
        self.site_key = site_key
        self._secret_key = secret_key
        self._verify_url = verify_url

    async def check(self, answer: Any) -> None:
        """Raises CaptchaNeeded, CaptchaInvalid (not a person, or too late), BadGateway."""
        if not isinstance(answer, str) or not answer:
            raise CaptchaNeeded
        body = urlencode({"secret": self._secret_key, "response": answer}).encode()
        try:
            found = await self._http.send("POST", self._verify_url, body, headers=_FORM, timeout_s=10)
            verdict = orjson.loads(found.body)
        except (HttpFailure, orjson.JSONDecodeError) as error:
            log.warning("captcha: %s cannot be asked: %s", self._verify_url, error)
            raise BadGateway("The captcha could not be checked; try again later") from error
        if not isinstance(verdict, dict) or verdict.get("success") is not True:
            raise CaptchaInvalid
