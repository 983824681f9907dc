"""What other servers are sent: the router from the log to a queue for each server, and the delivery of those."""

from federation.sender.sender import FederationSender

__all__ = ["FederationSender"]
