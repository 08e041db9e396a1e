"""Alembic's entry: it runs the versions over the connection that `migrate.upgrade` brings."""

from alembic import context

from proxy.ledger.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
