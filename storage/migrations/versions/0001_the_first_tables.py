"""The first tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from storage.dialect import make_full_text_indexes

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("refresh_token_id", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_access_tokens")),
    )
    op.create_index(op.f("ix_access_tokens_user_id_device_id"), "access_tokens", ["user_id", "device_id"], unique=False)
    op.create_table(
        "account_data",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_id", "type", name=op.f("pk_account_data")),
    )
    op.create_index(op.f("ix_account_data_user_id_position"), "account_data", ["user_id", "position"], unique=False)
    op.create_table(
        "appservice_queues",
        sa.Column("appservice_id", sa.Text(), nullable=False),
        sa.Column("sent_position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pending_position", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("txn_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("appservice_id", name=op.f("pk_appservice_queues")),
    )
    op.create_table(
        "auth_chain_links",
        sa.Column("origin_chain", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin_sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("target_chain", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("target_sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint(
            "origin_chain", "origin_sequence", "target_chain", "target_sequence", name=op.f("pk_auth_chain_links")
        ),
    )
    op.create_table(
        "auth_chains",
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("event_nid", name=op.f("pk_auth_chains")),
        sa.UniqueConstraint("chain_id", "sequence", name=op.f("uq_auth_chains_chain_id_sequence")),
    )
    op.create_table(
        "backed_up_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("first_message_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("forwarded_count", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("session_data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "version", "room_id", "session_id", name=op.f("pk_backed_up_keys")),
    )
    op.create_table(
        "backward_extremities",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("depth", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "event_id", name=op.f("pk_backward_extremities")),
    )
    op.create_table(
        "cross_signing_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "usage", name=op.f("pk_cross_signing_keys")),
    )
    op.create_table(
        "current_state",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "type", "state_key", name=op.f("pk_current_state")),
    )
    op.create_table(
        "dehydrated_devices",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("device_data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_dehydrated_devices")),
    )
    op.create_table(
        "delayed_events",
        sa.Column("delay_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("origin_server_ts", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("delay_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("send_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("based_on", sa.Text(), nullable=True),
        sa.Column("finalised_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("error", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("delay_id", name=op.f("pk_delayed_events")),
    )
    op.create_index(op.f("ix_delayed_events_send_at"), "delayed_events", ["send_at"], unique=False)
    op.create_index(op.f("ix_delayed_events_user_id_send_at"), "delayed_events", ["user_id", "send_at"], unique=False)
    op.create_table(
        "destination_events",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("destination", "event_nid", name=op.f("pk_destination_events")),
    )
    op.create_table(
        "destinations",
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("sent_position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("retry_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("retry_interval", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("failing_since", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("server_name", name=op.f("pk_destinations")),
    )
    op.create_table(
        "device_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("keys", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", name=op.f("pk_device_keys")),
    )
    op.create_table(
        "device_list_changes",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", "user_id", name=op.f("pk_device_list_changes")),
    )
    op.create_index(
        op.f("ix_device_list_changes_user_id_position"), "device_list_changes", ["user_id", "position"], unique=False
    )
    op.create_table(
        "devices",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("last_seen_ip", sa.Text(), nullable=True),
        sa.Column("last_seen_user_agent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "device_id", name=op.f("pk_devices")),
    )
    op.create_table(
        "directory_entries",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_directory_entries")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_directory_entries_entry_id")),
    )
    op.create_table(
        "email_digests",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_position", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("due_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("told_position", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("sent_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("pause", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_nid", name=op.f("pk_email_digests")),
    )
    op.create_index(op.f("ix_email_digests_due_at"), "email_digests", ["due_at"], unique=False)
    op.create_table(
        "email_pushers",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("pushkey", sa.Text(), nullable=False),
        sa.Column("pusher", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("unsubscribe_token", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "app_id", "pushkey", name=op.f("pk_email_pushers")),
        sa.UniqueConstraint("unsubscribe_token", name=op.f("uq_email_pushers_unsubscribe_token")),
    )
    op.create_table(
        "email_validations",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("client_secret", sa.Text(), nullable=False),
        sa.Column("send_attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("next_link", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("validated_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_email_validations")),
    )
    op.create_index(
        op.f("ix_email_validations_client_secret_address"),
        "email_validations",
        ["client_secret", "address"],
        unique=False,
    )
    op.create_table(
        "event_auth",
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("auth_event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("event_nid", "auth_event_nid", name=op.f("pk_event_auth")),
    )
    op.create_table(
        "event_bodies",
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_nid", name=op.f("pk_event_bodies")),
    )
    op.create_table(
        "event_edges",
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prev_event_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_nid", "prev_event_id", name=op.f("pk_event_edges")),
    )
    op.create_index(op.f("ix_event_edges_prev_event_id"), "event_edges", ["prev_event_id"], unique=False)
    op.create_table(
        "event_relations",
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("relates_to", sa.Text(), nullable=False),
        sa.Column("rel_type", sa.Text(), nullable=False),
        sa.Column("annotation_key", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("origin_server_ts", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("depth", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("event_nid", name=op.f("pk_event_relations")),
    )
    op.create_index(
        op.f("ix_event_relations_relates_to_rel_type_depth_position"),
        "event_relations",
        ["relates_to", "rel_type", "depth", "position"],
        unique=False,
    )
    op.create_index(
        op.f("ix_event_relations_room_nid_rel_type_depth_position"),
        "event_relations",
        ["room_nid", "rel_type", "depth", "position"],
        unique=False,
    )
    op.create_table(
        "events",
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=True),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("depth", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin_server_ts", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("outlier", sa.Boolean(), nullable=False),
        sa.Column("rejected", sa.Text(), nullable=True),
        sa.Column("soft_failed", sa.Boolean(), nullable=False),
        sa.Column("follows_gap", sa.Boolean(), nullable=False),
        sa.Column("snapshot_id", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("notify_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thread_notify_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thread_root", sa.Text(), nullable=True),
        sa.Column("replaces_nid", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("redacted_by", sa.Text(), nullable=True),
        sa.Column("is_local", sa.Boolean(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("transaction_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("event_nid", name=op.f("pk_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_events_event_id")),
    )
    op.create_index(op.f("ix_events_position"), "events", ["position"], unique=False)
    op.create_index(
        op.f("ix_events_room_nid_depth_position"), "events", ["room_nid", "depth", "position"], unique=False
    )
    op.create_index(
        op.f("ix_events_room_nid_origin_server_ts"), "events", ["room_nid", "origin_server_ts"], unique=False
    )
    op.create_index(op.f("ix_events_room_nid_position"), "events", ["room_nid", "position"], unique=False)
    op.create_table(
        "external_ids",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "subject", name=op.f("pk_external_ids")),
    )
    op.create_index(op.f("ix_external_ids_user_id"), "external_ids", ["user_id"], unique=False)
    op.create_table(
        "fallback_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", "algorithm", name=op.f("pk_fallback_keys")),
    )
    op.create_table(
        "filters",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("filter_id", sa.Text(), nullable=False),
        sa.Column("filter", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "filter_id", name=op.f("pk_filters")),
    )
    op.create_table(
        "forward_extremities",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("depth", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "event_nid", name=op.f("pk_forward_extremities")),
    )
    op.create_table(
        "id_blocks",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("next", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_id_blocks")),
    )
    op.create_table(
        "invited_rooms_state",
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("stripped_state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "user_id", name=op.f("pk_invited_rooms_state")),
    )
    op.create_table(
        "key_backups",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("auth_data", sa.LargeBinary(), nullable=False),
        sa.Column("etag", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_count", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "version", name=op.f("pk_key_backups")),
    )
    op.create_table(
        "key_signatures",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signer_user_id", sa.Text(), nullable=False),
        sa.Column("signer_key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key_id", "signer_user_id", "signer_key_id", name=op.f("pk_key_signatures")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "log_readers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_log_readers")),
    )
    op.create_table(
        "login_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_login_tokens")),
    )
    op.create_table(
        "media",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("media_id", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("upload_name", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_access_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("quarantined", sa.Boolean(), nullable=False),
        sa.Column("stored_as", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("origin", "media_id", name=op.f("pk_media")),
    )
    op.create_index(op.f("ix_media_stored_as"), "media", ["stored_as"], unique=False)
    op.create_index(op.f("ix_media_user_id_created_at"), "media", ["user_id", "created_at"], unique=False)
    op.create_table(
        "media_thumbnails",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("media_id", sa.Text(), nullable=False),
        sa.Column("width", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("height", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stored_as", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "origin", "media_id", "width", "height", "method", "content_type", name=op.f("pk_media_thumbnails")
        ),
    )
    op.create_index(op.f("ix_media_thumbnails_stored_as"), "media_thumbnails", ["stored_as"], unique=False)
    op.create_table(
        "memberships",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("membership", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("avatar_url", sa.Text(), nullable=True),
        sa.Column("forgotten", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "user_id", name=op.f("pk_memberships")),
    )
    op.create_index(op.f("ix_memberships_room_nid_membership"), "memberships", ["room_nid", "membership"], unique=False)
    op.create_index(op.f("ix_memberships_user_id_membership"), "memberships", ["user_id", "membership"], unique=False)
    op.create_table(
        "network_rooms",
        sa.Column("appservice_id", sa.Text(), nullable=False),
        sa.Column("network_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("appservice_id", "network_id", "room_nid", name=op.f("pk_network_rooms")),
    )
    op.create_index(op.f("ix_network_rooms_room_nid"), "network_rooms", ["room_nid"], unique=False)
    op.create_table(
        "one_time_keys",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", "algorithm", "key_id", name=op.f("pk_one_time_keys")),
    )
    op.create_table(
        "openid_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_openid_tokens")),
    )
    op.create_table(
        "outbound_edus",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("edu_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", "destination", name=op.f("pk_outbound_edus")),
    )
    op.create_index(
        op.f("ix_outbound_edus_destination_position"), "outbound_edus", ["destination", "position"], unique=False
    )
    op.create_table(
        "partial_rooms",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("join_event_id", sa.Text(), nullable=False),
        sa.Column("servers", sa.LargeBinary(), nullable=False),
        sa.Column("whole_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("room_nid", name=op.f("pk_partial_rooms")),
    )
    op.create_table(
        "presence",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("status_msg", sa.Text(), nullable=True),
        sa.Column("last_active_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_presence")),
    )
    op.create_table(
        "profiles",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "field", name=op.f("pk_profiles")),
    )
    op.create_table(
        "push_exceptions",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("notify_delta", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("highlight", sa.Boolean(), nullable=False),
        sa.Column("actions", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_nid", "position", name=op.f("pk_push_exceptions")),
    )
    op.create_table(
        "pushers",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("pushkey", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("pusher", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sent_position", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("failing_since", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("user_id", "app_id", "pushkey", name=op.f("pk_pushers")),
    )
    op.create_index(op.f("ix_pushers_app_id_pushkey"), "pushers", ["app_id", "pushkey"], unique=False)
    op.create_table(
        "read_marks",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("notify_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_nid", "thread_id", name=op.f("pk_read_marks")),
    )
    op.create_table(
        "receipts",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("receipt_type", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_depth", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("event_position", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "user_id", "receipt_type", "thread_id", name=op.f("pk_receipts")),
    )
    op.create_index(op.f("ix_receipts_room_nid_position"), "receipts", ["room_nid", "position"], unique=False)
    op.create_table(
        "redactions",
        sa.Column("redacts", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("redacts", "event_nid", name=op.f("pk_redactions")),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("refresh_token_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("next_token_id", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_refresh_tokens")),
        sa.UniqueConstraint("refresh_token_id", name=op.f("uq_refresh_tokens_refresh_token_id")),
    )
    op.create_index(
        op.f("ix_refresh_tokens_user_id_device_id"), "refresh_tokens", ["user_id", "device_id"], unique=False
    )
    op.create_table(
        "registration_tokens",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("uses_allowed", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("pending", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("completed", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_registration_tokens")),
    )
    op.create_table(
        "remote_device_list_state",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_remote_device_list_state")),
    )
    op.create_table(
        "remote_device_lists",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("keys", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", name=op.f("pk_remote_device_lists")),
    )
    op.create_table(
        "reports",
        sa.Column("report_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reporter", sa.Text(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("score", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("received_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_reports")),
    )
    op.create_index(op.f("ix_reports_received_at"), "reports", ["received_at"], unique=False)
    op.create_table(
        "room_aliases",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("servers", sa.LargeBinary(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_room_aliases")),
    )
    op.create_index(op.f("ix_room_aliases_room_id"), "room_aliases", ["room_id"], unique=False)
    op.create_table(
        "room_hosts",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("joined_count", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "server_name", name=op.f("pk_room_hosts")),
    )
    op.create_index(op.f("ix_room_hosts_server_name"), "room_hosts", ["server_name"], unique=False)
    op.create_table(
        "room_threads",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thread_root", sa.Text(), nullable=False),
        sa.Column("notify_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "thread_root", name=op.f("pk_room_threads")),
    )
    op.create_table(
        "rooms",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("room_version", sa.Text(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("snapshot_id", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("joined_count", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("invited_count", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("notify_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("partial_state", sa.Boolean(), nullable=False),
        sa.Column("is_blocked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("room_nid", name=op.f("pk_rooms")),
        sa.UniqueConstraint("room_id", name=op.f("uq_rooms_room_id")),
    )
    op.create_index(op.f("ix_rooms_is_public_joined_count"), "rooms", ["is_public", "joined_count"], unique=False)
    op.create_table(
        "search_documents",
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_nid", name=op.f("pk_search_documents")),
    )
    op.create_index(
        op.f("ix_search_documents_room_nid_sent_at"), "search_documents", ["room_nid", "sent_at"], unique=False
    )
    op.create_table(
        "server_keys",
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("verify_key", sa.LargeBinary(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expired_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("fetched_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("server_name", "key_id", name=op.f("pk_server_keys")),
    )
    op.create_table(
        "sign_ons",
        sa.Column("sign_on_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("browser", sa.LargeBinary(), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("sign_on_id", name=op.f("pk_sign_ons")),
    )
    op.create_table(
        "sliding_sync_connections",
        sa.Column("connection_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("conn_id", sa.Text(), nullable=False),
        sa.Column("acked", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pending", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("configs", sa.LargeBinary(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("connection_nid", name=op.f("pk_sliding_sync_connections")),
    )
    op.create_index(
        op.f("ix_sliding_sync_connections_last_used_at"), "sliding_sync_connections", ["last_used_at"], unique=False
    )
    op.create_index(
        op.f("ix_sliding_sync_connections_user_id_device_id"),
        "sliding_sync_connections",
        ["user_id", "device_id"],
        unique=False,
    )
    op.create_table(
        "sliding_sync_rooms",
        sa.Column("connection_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("sent", sa.LargeBinary(), nullable=True),
        sa.Column("pending_state", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pending", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("connection_nid", "room_id", name=op.f("pk_sliding_sync_rooms")),
    )
    op.create_table(
        "state_changes",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("previous_event_nid", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("position", "room_nid", "type", "state_key", name=op.f("pk_state_changes")),
    )
    op.create_index(op.f("ix_state_changes_room_nid_position"), "state_changes", ["room_nid", "position"], unique=False)
    op.create_table(
        "state_deltas",
        sa.Column("snapshot_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state_key", sa.Text(), nullable=False),
        sa.Column("event_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("snapshot_id", "type", "state_key", name=op.f("pk_state_deltas")),
    )
    op.create_table(
        "state_snapshots",
        sa.Column("snapshot_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("parent_id", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("snapshot_id", name=op.f("pk_state_snapshots")),
    )
    op.create_table(
        "stream_position",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stream_position")),
    )
    op.create_table(
        "third_party_ids",
        sa.Column("medium", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("validated_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("added_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("medium", "address", name=op.f("pk_third_party_ids")),
    )
    op.create_index(op.f("ix_third_party_ids_user_id"), "third_party_ids", ["user_id"], unique=False)
    op.create_table(
        "thread_subscriptions",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("subscribed", sa.Boolean(), nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_id", "thread_id", name=op.f("pk_thread_subscriptions")),
    )
    op.create_index(op.f("ix_thread_subscriptions_thread_id"), "thread_subscriptions", ["thread_id"], unique=False)
    op.create_index(
        op.f("ix_thread_subscriptions_user_id_position"), "thread_subscriptions", ["user_id", "position"], unique=False
    )
    op.create_table(
        "to_device",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", "ordinal", name=op.f("pk_to_device")),
    )
    op.create_table(
        "to_device_seen",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("origin", "message_id", name=op.f("pk_to_device_seen")),
    )
    op.create_table(
        "told_states",
        sa.Column("room_nid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("room_nid", "event_id", name=op.f("pk_told_states")),
    )
    op.create_table(
        "transactions",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", "key", name=op.f("pk_transactions")),
    )
    op.create_index(op.f("ix_transactions_created_at"), "transactions", ["created_at"], unique=False)
    op.create_table(
        "uia_sessions",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("completed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_uia_sessions")),
    )
    op.create_table(
        "users",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("is_guest", sa.Boolean(), nullable=False),
        sa.Column("appservice_id", sa.Text(), nullable=True),
        sa.Column("deactivated", sa.Boolean(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("erased", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
    )
    # The rows that every database has.
    op.execute("INSERT INTO stream_position (id, value) VALUES (1, 0), (2, 0)")
    op.execute("INSERT INTO id_blocks (kind, next) VALUES ('all', 0)")
    make_full_text_indexes(op.get_bind())
