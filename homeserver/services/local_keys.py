"""What other servers are told of this server's users' devices and keys (`federation.inbound.devices.LocalKeys`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.core.identifiers import is_valid_user_id, server_name_of
from homeserver.errors import InvalidParam, NotFound
from homeserver.services.key_bundles import KeyBundle, answer_of, local_bundles
from homeserver.services.key_claims import KeyClaims
from storage import device_lists, users
from storage.database import Database


class LocalKeys:
    """Users of other servers, and unknown ones, are left out of every answer. `share_names`: as of `DeviceLists`."""

    def __init__(self, database: Database, claims: KeyClaims, *, server_name: str, share_names: bool = False) -> None:
        self._database = database
        self._claims = claims
        self._server_name = server_name
        self._share_names = share_names

    async def devices(self, user_id: str) -> dict[str, Any]:
        """The body of GET user/devices. Raises NotFound for unknown users, InvalidParam for those of other servers."""
        if not self._is_local(user_id):
            raise InvalidParam("Not a user of this server")
        async with self._database.read(snapshot=True) as tx:
            if await users.user_of(tx, user_id) is None:
                raise NotFound("There is no such user")
            found = await local_bundles(tx, [user_id], seen_by=None, with_names=self._share_names)
            state = (await device_lists.states_of(tx, [user_id])).get(user_id)
        bundle = found.get(user_id, KeyBundle())
        answer: dict[str, Any] = {
            "user_id": user_id,
            "stream_id": 0 if state is None or state.stream_id is None else state.stream_id,
            "devices": [_device(device_id, keys) for device_id, keys in bundle.devices.items()],
        }
        for usage, key in bundle.cross_signing.items():
            answer[f"{usage}_key"] = key
        return answer

    async def query(self, device_keys: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The body of POST user/keys/query. `device_keys`: user id → device ids, none for all."""
        wanted = {user_id: devices for user_id, devices in device_keys.items() if self._is_local(user_id)}
        async with self._database.read(snapshot=True) as tx:
            bundles = await local_bundles(tx, list(wanted), seen_by=None, with_names=self._share_names)
        return answer_of(bundles, wanted)

    async def claim(self, one_time_keys: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        """The body of POST user/keys/claim. `one_time_keys`: user id → device id → algorithm."""
        wanted = {user_id: devices for user_id, devices in one_time_keys.items() if self._is_local(user_id)}
        return {"one_time_keys": await self._claims.claim_local(wanted)}

    def _is_local(self, user_id: str) -> bool:
        return is_valid_user_id(user_id) and server_name_of(user_id) == self._server_name


def _device(device_id: str, keys: dict[str, Any]) -> dict[str, Any]:
    name = keys.pop("unsigned", {}).get("device_display_name")
    return {"device_id": device_id, "keys": keys} | ({} if name is None else {"device_display_name": name})
