"""What is kept: SQLite or PostgreSQL through SQLAlchemy Core; one module per aggregate; no SQL outside this package."""
