"""Talking with other servers: requests to them (outbound), requests of theirs (inbound), and what they are sent (sender)."""
