"""Talking with other servers: requests to them (outbound), of theirs (inbound), and what they are sent (sender)."""
