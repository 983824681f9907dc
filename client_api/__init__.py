"""The client-server API: the endpoint table and its thin handlers, a module per heading of the specification."""
