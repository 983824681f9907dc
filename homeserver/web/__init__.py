"""HTTP, and nothing else that knows of it: rows of the endpoint tables become routes; answers and errors become bytes."""
