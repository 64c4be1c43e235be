"""Alembic's scripts. ``migrate.upgrade`` runs them."""
