"""The client-server API: the endpoint table and the thin handlers behind it, a module per heading of the specification."""
