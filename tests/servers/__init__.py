"""The real PostgreSQL and Redis that the tests run against, started by the suite itself from registry packages."""
