"""Whatever a client sends, it is told what was wrong with it: no request to these endpoints is the server's fault."""

from pathlib import Path
from typing import Any

import aiohttp

from client_api.endpoints import ACCOUNTS
from tests.client_api.account_site import AccountSite, account_site

BODIES: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"5",
    b"{}",
    b'{"auth": 5}',
    b'{"auth": {}}',
    b'{"auth": {"type": 5}}',
    b'{"auth": {"session": "unknown"}}',
    b'{"auth": {"session": []}}',
    b'{"auth": {"type": "m.login.password", "identifier": 5}}',
    b'{"auth": {"type": "m.login.password", "identifier": {"type": ["a"], "user": {}}, "password": []}}',
    b'{"auth": {"type": "m.login.registration_token", "token": 5}}',
    b'{"auth": {"type": "\\u0000"}}',
    b'{"username": "a\\u0000b"}',
    b'{"username": "\\ud800"}',
    b'{"username": ["a"], "password": {}}',
    b'{"type": "m.login.password", "user": "@:hearth.test", "password": "x"}',
    b'{"type": "m.login.password", "user": "@@@:::", "password": "x"}',
    b'{"type": "m.login.password", "identifier": {"type": "m.id.user", "user": 5}, "password": "x"}',
    b'{"type": "m.login.token", "token": [1]}',
    b'{"type": "m.login.application_service", "user": 5}',
    b'{"new_password": 1e400}',
    b'{"refresh_token": {"a": 1}}',
    b'{"devices": "all"}',
    b'{"devices": [5]}',
    b'{"display_name": 5}',
    b'{"displayname": {"a": 1.5}}',
    b'{"locked": "yes"}',
    b'{"nonce": "zz.z.z", "username": "u", "password": "p", "mac": "q"}',
    b'{"nonce": [], "admin": 1}',
    b'{"nonce": "\\u00e9.\\u00e9", "username": "\\u00e9", "password": "p", "mac": "\\u00e9"}',
)
QUERIES = (
    "",
    "?kind=guest",
    "?kind=%FF",
    "?username=%00",
    "?username=" + "a" * 300,
    "?token=",
    "?user_id=x&device_id=",
)
PARAMETERS = {"userId": "@alice:hearth.test", "deviceId": "D%20%F0%9F%98%80", "keyName": "displayname"}


async def send(site: AccountSite, method: str, path: str, body: bytes, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with aiohttp.request(method, site.url + path, data=body, headers=headers) as response:
        answer: Any = await response.json()
        if response.status >= 400 and response.status != 401:
            assert answer["errcode"].startswith("M_"), (method, path, body, answer)
            assert answer["error"], (method, path, body)
        return response.status


async def test_bad_input_is_the_clients_fault(tmp_path: Path) -> None:
    async with account_site(tmp_path) as site:
        for row in ACCOUNTS:
            path = row.path
            for name, value in PARAMETERS.items():
                path = path.replace(f"{{{name}}}", value)
            token = (await site.good("POST", "v3/register?kind=guest", {}))["access_token"]
            if row.auth.value in ("user", "appservice"):
                token = (await site.register(f"u{len(row.operation_id)}{hash(row.operation_id) % 10**6}"))[
                    "access_token"
                ]
            inputs = [("", body) for body in BODIES] if row.body is not None else [(query, b"") for query in QUERIES]
            for query, body in inputs:
                status = await send(site, row.method, path + query, body, token)
                assert status < 500, (row.operation_id, query, body, status)
