"""HTTP: rows of the endpoint tables become routes, answers and errors become bytes. Nothing else knows of it."""
