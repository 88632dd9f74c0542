"""Servers that several files of tests share."""

from tests.support.dockerd import engine, url
from tests.support.postgresql import server

__all__ = ["engine", "server", "url"]
