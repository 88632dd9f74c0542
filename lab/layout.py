"""Files and ports of a lab. All follow from its state directory and its base port."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_STATE = Path("/tmp/runbook-lab")  # short, because the paths of unix sockets are limited
DEFAULT_BASE_PORT = 29000
HOST = "127.0.0.1"
PROVIDER_NAME = "ai-provider.lab"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths, ports and addresses of a lab."""

    state: Path = DEFAULT_STATE
    base_port: int = DEFAULT_BASE_PORT

    @property
    def prometheus_port(self) -> int:
        """Prometheus."""
        return self.base_port + 90

    @property
    def alertmanager_port(self) -> int:
        """Alertmanager."""
        return self.base_port + 93

    @property
    def postgres_port(self) -> int:
        """PostgreSQL."""
        return self.base_port + 32

    @property
    def backend_port(self) -> int:
        """The HelloAgents backend."""
        return self.base_port + 80

    @property
    def provider_port(self) -> int:
        """The AI provider."""
        return self.base_port + 81

    @property
    def nameserver_port(self) -> int:
        """The DNS server, UDP and TCP."""
        return self.base_port + 53

    @property
    def prometheus_url(self) -> str:
        """Prometheus as a client sees it."""
        return f"http://{HOST}:{self.prometheus_port}"

    @property
    def alertmanager_url(self) -> str:
        """Alertmanager as a client sees it."""
        return f"http://{HOST}:{self.alertmanager_port}"

    @property
    def backend_url(self) -> str:
        """The backend as a client sees it."""
        return f"http://{HOST}:{self.backend_port}"

    @property
    def docker_socket(self) -> Path:
        """The engine's socket: the lab's own, or a link to the machine's."""
        return self.state / "docker.sock"

    @property
    def docker_url(self) -> str:
        """The engine's URL for docker-py."""
        return f"unix://{self.docker_socket}"

    @property
    def container(self) -> str:
        """The backend's container; a second lab on the same engine needs another name."""
        suffix = "" if self.base_port == DEFAULT_BASE_PORT else f"-{self.base_port}"
        return f"helloagents-backend{suffix}"

    @property
    def deployments(self) -> Path:
        """The git repository of the deployments."""
        return self.state / "deployments"

    @property
    def faults(self) -> Path:
        """The switches of the active faults; the container mounts this directory read-only."""
        return self.state / "faults"

    @property
    def settings(self) -> Path:
        """The backend's settings besides addresses, as an operator sets them."""
        return self.state / "backend.env"

    @property
    def rollback(self) -> Path:
        """The program that deploys an earlier revision."""
        return self.state / "rollback.sh"

    @property
    def redeploy(self) -> Path:
        """The program that recreates the backend's container."""
        return self.state / "redeploy.sh"

    @property
    def logs(self) -> Path:
        """The folder with a log file for each server."""
        return self.state / "logs"

    @property
    def processes(self) -> Path:
        """The folder with a record for each running process."""
        return self.state / "processes"

    def dsn(self, user: str) -> str:
        """The DSN of the lab's database for a role."""
        return f"host={HOST} port={self.postgres_port} dbname=helloagents user={user}"
