"""A server with people, rooms and things in it, for requests that are made up to find."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.client_api.account_site import mac_of
from tests.servers.client import Client
from tests.servers.homeserver import Homeserver
from tests.services.keys_world import device_keys, one_time_key

PASSWORD = "correct horse battery"
SECRET = "shared"  # mac_of's
BRIDGE = """
id: bridge
url: null
as_token: as_token_of_the_bridge
hs_token: hs_token
sender_localpart: bridgebot
rate_limited: false
protocols: [irc]
namespaces:
  users: [{exclusive: true, regex: "@irc_.*"}]
  aliases: [{exclusive: true, regex: "#irc_.*"}]
"""
# Servers that are made up are not looked for.
EXTRA = """
federation: {allowed_servers: ["localhost:*"], connect_timeout: 2, request_timeout: 5}
media: {legacy_endpoints: true}
limits: {client_body: 1000000}
"""


@dataclass
class Furnished:
    """What a server was furnished with, as generated_requests.py wants it."""

    tokens: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)


def environment(folder: Path) -> dict[str, str]:
    """What the server is to be started with."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bridge.yaml").write_text(BRIDGE)
    (folder / "extra.yaml").write_text(EXTRA)
    return {
        "HS_APPSERVICES": str(folder / "bridge.yaml"),
        "HS_EXTRA_CONFIG": str(folder / "extra.yaml"),
        "HS_SHARED_SECRET": SECRET,
    }


async def furnish(server: Homeserver, peer: Homeserver, clients: list[Client]) -> Furnished:
    """People with devices, keys and rooms; one of them on the other server."""
    found = Furnished(tokens={"bridge": "as_token_of_the_bridge"})
    people: dict[str, Client] = {}
    for name in ("alice", "bob", *(f"leaver{number}" for number in range(1, 7)), "victim"):
        people[name] = client = await Client.registered(server.url, name, PASSWORD)
        clients.append(client)
        found.tokens[name] = client.token
        found.passwords[name] = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": PASSWORD,
        }
    alice, bob = people["alice"], people["bob"]
    carol = await Client.registered(peer.url, "carol", PASSWORD)
    clients.append(carol)
    found.tokens["guest"] = (await alice.post("register", kind="guest"))["access_token"]
    found.tokens["admin"] = await _admin(server)
    room_id = await alice.create_room(preset="public_chat", room_alias_name="room", name="A room", room_version="10")
    space = await alice.create_room(preset="public_chat", creation_content={"type": "m.space"})
    child = {"via": [server.name]}
    await alice.put(f"rooms/{quote(space)}/state/m.space.child/{quote(room_id)}", child)
    await bob.join(room_id)
    await carol.join(room_id, via=server.name)
    said = await alice.send(room_id, "something")
    reply = {"msgtype": "m.text", "body": "b", "m.relates_to": {"rel_type": "m.thread", "event_id": said}}
    answered = (await bob.put(f"rooms/{quote(room_id)}/send/m.room.message/r", reply))["event_id"]
    since = (await alice.sync())["next_batch"]
    filter_id = (await alice.post(f"user/{alice.user_id}/filter", {"room": {"timeline": {"limit": 3}}}))["filter_id"]
    for client in (alice, bob):
        keys = {"device_keys": device_keys(client.user_id, client.device_id)}
        await client.post("keys/upload", {**keys, "one_time_keys": {"signed_curve25519:A": one_time_key("A")}})
    backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {}}
    version = (await alice.post("room_keys/version", backup))["version"]
    await alice.put(f"user/{alice.user_id}/account_data/m.test", {"a": 1})
    await alice.put(f"user/{alice.user_id}/rooms/{quote(room_id)}/tags/m.favourite", {"order": 0.5})
    await alice.put("pushrules/global/content/mine", {"pattern": "something", "actions": ["notify"]})
    await alice.put(f"user/{alice.user_id}/rooms/{quote(room_id)}/account_data/m.test", {"a": 1})
    await alice.put(f"profile/{alice.user_id}/displayname", {"displayname": "Alice"})
    pages = await alice.get(f"rooms/{quote(room_id)}/messages", dir="b", limit=2)
    media_id = await _uploaded(server, alice)
    room_ids, users = [room_id, room_id, space], [alice.user_id, alice.user_id, bob.user_id, carol.user_id]
    alias = f"#room:{server.name}"
    found.values = {
        "roomId": room_ids, "room_id": room_ids, "roomIdOrAlias": [room_id, alias], "roomAlias": [alias],
        "room_alias": [alias], "alias": [alias], "eventId": [said, answered], "event_id": [said, answered],
        "parentEventId": [said], "userId": users, "user_id": users, "userid": users, "administered": [
            people["victim"].user_id
        ], "deviceId": [alice.device_id], "device_id": [alice.device_id, bob.device_id],
        "filterId": [filter_id], "eventType": ["m.room.message", "m.room.message", "m.room.topic", "m.test"],
        "guests": [carol.user_id, alice.user_id],
        "stateKey": ["", alice.user_id], "txnId": ["1", "2", "3"], "type": ["m.test", "m.direct"],
        "receiptType": ["m.read", "m.read.private", "m.fully_read"], "keyName": ["displayname", "avatar_url", "m.tz"],
        "tag": ["m.favourite"], "kind": ["content", "override", "room"], "ruleId": ["mine", ".m.rule.master", room_id],
        "version": [version], "sessionId": ["session"], "serverName": [server.name], "server_name": [server.name],
        "mediaId": [media_id], "fileName": ["a.png"], "relType": ["m.thread"], "protocol": ["irc"],
        "appserviceId": ["bridge"], "networkId": ["irc"], "queryType": ["profile"],
        "since": [since], "from": [since, pages["end"]], "to": [since], "next_batch": [since],
        "url": [f"{server.url}/_matrix/client/versions"], "ver": ["10", "12"],
    }  # fmt: skip
    return found


async def _admin(server: Homeserver) -> str:
    """The token of an administrator."""
    async with aiohttp.ClientSession() as http:
        url = f"{server.url}/_synapse/admin/v1/register"
        async with http.get(url) as answer:
            nonce = (await answer.json())["nonce"]
        mac = mac_of([nonce, "admin", PASSWORD, "admin"])
        body = {"nonce": nonce, "username": "admin", "password": PASSWORD, "admin": True, "mac": mac}
        async with http.post(url, json=body) as answer:
            return str((await answer.json())["access_token"])


async def _uploaded(server: Homeserver, client: Client) -> str:
    """The media id of a picture."""
    from tests.services.media_world import picture

    headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "image/png"}
    url = f"{server.url}/_matrix/media/v3/upload"
    async with aiohttp.ClientSession() as http, http.post(url, data=picture(40, 30), headers=headers) as answer:
        return str((await answer.json())["content_uri"]).rpartition("/")[2]
