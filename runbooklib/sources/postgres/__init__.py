"""Ask a PostgreSQL server."""
