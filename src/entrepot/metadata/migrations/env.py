"""Called by Alembic: runs the migrations on the connection that ``migrate.upgrade`` hands over."""

from alembic import context

from entrepot.metadata.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
