"""Called by Alembic: runs the migrations on the connection that ``migrate`` hands over, or writes PostgreSQL's down."""

from alembic import context

from entrepot.metadata.schema import METADATA

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=METADATA)
else:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=METADATA,
        render_as_batch=True,
    )
with context.begin_transaction():
    context.run_migrations()
