"""Ask a Prometheus server."""
