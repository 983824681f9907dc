"""Requests of other servers: the table of endpoints, and a module of handlers for each part of it."""
