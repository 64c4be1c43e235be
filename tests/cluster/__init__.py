"""Several replicas behind a proxy, on PostgreSQL and S3: what users meet when one of these parts fails."""
