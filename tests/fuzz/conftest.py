"""Real processes on loopback."""

from tests.servers.fixtures import certificates, clients, new_device, new_user, start_server

__all__ = ["certificates", "clients", "new_device", "new_user", "start_server"]
