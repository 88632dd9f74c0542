"""Servers that several files of tests share."""

from tests.support.dockerd import engine, url
from tests.support.git_repository import repository
from tests.support.postgresql import server

__all__ = ["engine", "repository", "server", "url"]
