"""Servers that several files of tests share."""

from tests.sources.dockerd import engine, url

__all__ = ["engine", "url"]
