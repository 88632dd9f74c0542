"""Ask a Docker engine."""
