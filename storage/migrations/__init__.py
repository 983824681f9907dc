"""The history of the tables, linear, by Alembic: expand, migrate, contract."""

HEAD = "0004"
"""The newest revision; the tests compare it with the scripts."""
