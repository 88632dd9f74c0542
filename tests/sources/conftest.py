"""Servers that several files of tests share."""

from tests.sources.dockerd import engine, url
from tests.sources.postgresql import server

__all__ = ["engine", "server", "url"]
