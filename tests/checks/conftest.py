"""Servers that several files of tests share."""

from tests.support.dockerd import busy_url, engine, host, url
from tests.support.postgresql import server

__all__ = ["busy_url", "engine", "host", "server", "url"]
