"""The backend's settings from the container's environment, read once at start."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """Addresses of the systems around the backend; none of them needs a secret in the lab."""

    port: int
    database_url: str
    ai_provider_url: str
    nameserver: str
    nameserver_port: int
    version: str
    faults: Path
    fallback_mode: bool

    @classmethod
    def from_environment(cls) -> "Config":
        """Read the environment; a missing name fails at start, not at the first request."""
        nameserver, _, nameserver_port = os.environ["NAMESERVER"].partition(":")
        return cls(
            port=int(os.environ["PORT"]),
            database_url=os.environ["DATABASE_URL"],
            ai_provider_url=os.environ["AI_PROVIDER_URL"],
            nameserver=nameserver,
            nameserver_port=int(nameserver_port or "53"),
            version=Path("VERSION").read_text(encoding="utf-8").strip(),
            fallback_mode=os.environ.get("FALLBACK_MODE", "") == "true",
            faults=Path(os.environ.get("FAULTS_FILE", "/faults/faults.json")),
        )
