"""Requests to other servers: where a server is, how a request is signed, and one method for each endpoint."""
