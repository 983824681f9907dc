"""Events and EDUs as honest people send them: what `Shapes.wrong` makes hostile ones of."""

from typing import Any

Template = tuple[str, str | None, dict[str, Any]]
"""(type, state key, content); no state key: a message."""


def events(alice: str, bob: str, event_id: str, room_id: str, server: str) -> list[Template]:
    """Of every kind that a server looks into."""
    return [
        ("m.room.message", None, {
            "msgtype": "m.text", "body": "Hello", "m.mentions": {"user_ids": [bob], "room": True},
        }),
        ("m.room.message", None, {
            "msgtype": "m.text", "body": "* b", "m.new_content": {"msgtype": "m.text", "body": "b"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        }),
        ("m.room.message", None, {"msgtype": "m.text", "body": "in it", "m.relates_to": {
            "rel_type": "m.thread", "event_id": event_id, "is_falling_back": True,
            "m.in_reply_to": {"event_id": event_id},
        }}),
        ("m.room.message", None, {"msgtype": "m.image", "body": "i.png", "url": "mxc://a/b", "info": {"w": 1, "h": 1}}),
        ("m.reaction", None, {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": "👍"}}),
        ("m.room.redaction", None, {"redacts": event_id, "reason": "why"}),
        ("m.poll.response", None, {"m.relates_to": {"rel_type": "m.reference", "event_id": event_id}}),
        ("m.room.encrypted", None, {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "s"}),
        ("m.room.name", "", {"name": "A name"}),
        ("m.room.topic", "", {"topic": "A topic", "m.topic": {"m.text": [{"body": "A topic"}]}}),
        ("m.room.avatar", "", {"url": "mxc://a/b"}),
        ("m.room.canonical_alias", "", {"alias": f"#room:{server}", "alt_aliases": [f"#room:{server}"]}),
        ("m.room.member", alice, {"membership": "join", "displayname": "Alice", "avatar_url": "mxc://a/b"}),
        ("m.room.member", f"@new:{server}", {"membership": "invite", "reason": "why", "is_direct": True}),
        ("m.room.join_rules", "", {
            "join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": room_id}],
        }),
        ("m.room.history_visibility", "", {"history_visibility": "shared"}),
        ("m.room.guest_access", "", {"guest_access": "can_join"}),
        ("m.room.encryption", "", {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 1}),
        ("m.room.server_acl", "", {"allow": ["*"], "deny": ["evil.test"], "allow_ip_literals": False}),
        ("m.room.pinned_events", "", {"pinned": [event_id]}),
        ("m.room.tombstone", "", {"body": "gone", "replacement_room": room_id}),
        ("m.space.child", room_id, {"via": [server], "order": "a", "suggested": True}),
        ("m.space.parent", room_id, {"via": [server], "canonical": True}),
        ("m.room.third_party_invite", "token", {
            "display_name": "n", "key_validity_url": "https://a/", "public_key": "k",
            "public_keys": [{"public_key": "k", "key_validity_url": "https://a/"}],
        }),
        ("m.room.policy", "", {"via": server, "public_keys": {"ed25519": "k"}}),
        ("m.room.power_levels", "", {
            "users": {alice: 100, bob: 50}, "users_default": 0, "events": {"m.room.name": 0}, "events_default": 0,
            "state_default": 0, "invite": 0, "kick": 50, "ban": 50, "redact": 0, "notifications": {"room": 20},
        }),
    ]  # fmt: skip


def edus(guest: str, alice: str, device_id: str, event_id: str, room_id: str) -> list[tuple[str, dict[str, Any]]]:
    """(type, content) of what `guest`'s server tells."""
    return [
        ("m.typing", {"room_id": room_id, "user_id": guest, "typing": True}),
        ("m.receipt", {room_id: {"m.read": {
            guest: {"data": {"ts": 1, "thread_id": "main"}, "event_ids": [event_id]},
        }}}),
        ("m.presence", {"push": [{
            "user_id": guest, "presence": "online", "status_msg": "s", "last_active_ago": 1, "currently_active": True,
        }]}),
        ("m.direct_to_device", {
            "sender": guest, "type": "m.test", "message_id": "m", "messages": {alice: {device_id: {"a": 1}, "*": {}}},
        }),
        ("m.device_list_update", {
            "user_id": guest, "device_id": "D", "device_display_name": "n", "stream_id": 1, "prev_id": [],
            "deleted": False, "keys": {
                "user_id": guest, "device_id": "D", "algorithms": ["a"], "keys": {"ed25519:D": "k"}, "signatures": {},
            },
        }),
        ("m.signing_key_update", {
            "user_id": guest, "master_key": {"user_id": guest, "usage": ["master"], "keys": {"ed25519:k": "k"}},
            "self_signing_key": {"user_id": guest, "usage": ["self_signing"], "keys": {"ed25519:s": "s"}},
        }),
    ]  # fmt: skip
