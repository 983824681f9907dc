"""What Alembic runs to reach the database: the connection it is handed, nothing from a configuration file."""

from alembic import context

from storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
