"""Real services for tests, all on loopback: PostgreSQL, two S3 servers, HAProxy, and bad networks."""
