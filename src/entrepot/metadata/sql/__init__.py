"""Every statement in SQLAlchemy's words, from which the text for each database is made."""
