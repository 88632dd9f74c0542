"""Docker: the machine's engine when it answers, else one of the lab's own; images; the container."""

import http.client
import io
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, BuildError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import LogConfig, Ulimit

from lab import deployments, processes, rootfs
from lab.errors import LabError
from lab.layout import HOST, PROVIDER_NAME, Layout
from lab.processes import Server

MACHINE_SOCKET = Path("/var/run/docker.sock")
BASE = "runbook-lab-base"
IMAGE = "helloagents-backend"
MEMORY = "192m"
LARGE_MEMORY = "3g"
DESCRIPTORS = 1024
RESTART: Any = {"Name": "unless-stopped"}  # the stubs' own type of it is private
REVISION_LABEL = "org.opencontainers.image.revision"
VERSION_LABEL = "org.opencontainers.image.version"


def answers(path: Path) -> bool:
    """True when an engine answers on the socket."""
    connection = http.client.HTTPConnection("localhost", timeout=2)
    try:
        with socket.socket(socket.AF_UNIX) as connection.sock:
            connection.sock.settimeout(2)
            connection.sock.connect(str(path))
            connection.request("GET", "/_ping")
            return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def server(layout: Layout) -> Server:
    """An engine of the lab's own: no bridge, no firewall rules, own socket and data."""
    home = layout.state / "docker"
    argv = (
        processes.program("dockerd", "docker.io"),
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--log-level=warn",
        f"--host=unix://{layout.docker_socket}",
        f"--data-root={home / 'data'}",
        f"--exec-root={home / 'exec'}",
        f"--pidfile={home / 'dockerd.pid'}",
    )
    return Server("docker", argv, lambda: answers(layout.docker_socket), timeout_seconds=30)


def start(layout: Layout) -> bool:
    """Make an engine answer on the lab's socket; False when one did already."""
    path = layout.docker_socket
    if answers(path):
        return False
    path.unlink(missing_ok=True)
    if answers(MACHINE_SOCKET):
        path.symlink_to(MACHINE_SOCKET)
        return True
    if os.geteuid() != 0:
        raise LabError("no Docker engine answers and only root can start one: start docker, or run as root")
    (layout.state / "docker").mkdir(exist_ok=True)
    (layout.state / "docker" / "dockerd.pid").unlink(missing_ok=True)
    return processes.start(layout, server(layout))


def stop(layout: Layout) -> bool:
    """Stop the lab's own engine, or only forget the machine's."""
    linked = layout.docker_socket.is_symlink()
    stopped = processes.stop(layout, "docker", patience_seconds=20)
    layout.docker_socket.unlink(missing_ok=True)
    leave_namespaces(layout)
    return stopped or linked


def leave_namespaces(layout: Layout) -> None:
    """Unmount what an engine leaves behind, its network namespaces above all: else no wipe is possible."""
    home = layout.state / "docker"
    if answers(layout.docker_socket) or not (home / "exec").exists():
        return
    for path in (*(home / "exec" / "netns").glob("*"), home / "data"):
        subprocess.run([processes.program("umount", "mount"), str(path)], capture_output=True, check=False)
    shutil.rmtree(home / "exec", ignore_errors=True)


@contextmanager
def connect(layout: Layout) -> Iterator[docker.DockerClient]:
    """A client for the lab's engine; what the engine refuses becomes one line."""
    try:
        client = docker.DockerClient(base_url=layout.docker_url, timeout=30)
    except DockerException as error:
        raise LabError("docker does not answer: is the lab up? python -m lab status") from error
    try:
        yield client
    except (APIError, BuildError) as error:
        raise LabError(f"docker refused: {error}") from error
    finally:
        client.close()


def image(layout: Layout, revision: str) -> str:
    """The image of one deployment, built from exactly what git has under that revision."""
    tag = f"{IMAGE}:{revision[:12]}"
    with connect(layout) as client:
        try:
            client.images.get(tag)
        except ImageNotFound:
            client.images.build(
                fileobj=io.BytesIO(deployments.archive(layout, revision)),
                custom_context=True,
                tag=tag,
                rm=True,
                buildargs={"BASE": base(client)},
                labels={REVISION_LABEL: revision, VERSION_LABEL: deployments.version(layout, revision)},
            )
    return tag


def base(client: docker.DockerClient) -> str:
    """The base image, imported from the lab's own root file system when the engine has none."""
    tag = rootfs.key()
    try:
        client.images.get(f"{BASE}:{tag}")
    except ImageNotFound:
        variables = ("PATH=/usr/local/bin", "LD_LIBRARY_PATH=/lib", "PYTHONDONTWRITEBYTECODE=1")
        packages = f"PYTHONHOME=/usr/local PYTHONPATH=/usr/local/lib/{rootfs.VERSION}/site-packages".split()
        changes = [f"ENV {variable}" for variable in (*variables, *packages)]
        client.api.import_image_from_file(str(rootfs.tarball()), repository=BASE, tag=tag, changes=changes)
    return f"{BASE}:{tag}"


def run(layout: Layout, revision: str) -> None:
    """Put a container of this revision in the place of what runs now, as a deployment does."""
    tag = image(layout, revision)
    remove(layout)
    with connect(layout) as client:
        container = client.containers.create(
            tag,
            name=layout.container,
            environment=container_environment(layout),
            network_mode="host",
            mem_limit=MEMORY,
            memswap_limit=MEMORY,
            restart_policy=RESTART,
            volumes={str(layout.faults): {"bind": "/faults", "mode": "ro"}},
            ulimits=[Ulimit(name="nofile", soft=DESCRIPTORS, hard=DESCRIPTORS)],
            log_config=LogConfig(type="json-file", config={"max-size": "20m", "max-file": "3"}),
        )
        container.start()


def restart(layout: Layout) -> None:
    """Start the container again."""
    with connect(layout) as client:
        found = container(client, layout)
        if found is not None:
            found.restart(timeout=3)


def enlarge(layout: Layout) -> None:
    """Give the running container so much memory that it can pass the alert's 2 GiB and not be killed."""
    with connect(layout) as client:
        found = container(client, layout)
        if found is not None:
            found.update(mem_limit=LARGE_MEMORY, memswap_limit=LARGE_MEMORY)


def container_environment(layout: Layout) -> dict[str, str]:
    """Addresses only; the lab has no secret."""
    return {
        "PORT": str(layout.backend_port),
        "DATABASE_URL": f"postgresql+psycopg://helloagents@{HOST}:{layout.postgres_port}/helloagents",
        "AI_PROVIDER_URL": f"http://{PROVIDER_NAME}:{layout.provider_port}",
        "NAMESERVER": f"{HOST}:{layout.nameserver_port}",
        **settings(layout),
    }


def settings(layout: Layout) -> dict[str, str]:
    """What the operator's file says."""
    try:
        lines = layout.settings.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def container(client: docker.DockerClient, layout: Layout) -> Container | None:
    """The backend's container, if there is one."""
    try:
        return client.containers.get(layout.container)
    except NotFound:
        return None


def remove(layout: Layout) -> bool:
    """Stop and remove the backend's container; False when there is none."""
    with connect(layout) as client:
        found = container(client, layout)
        if found is None:
            return False
        found.stop(timeout=3)
        found.remove(force=True)
        return True


def last_words(layout: Layout) -> str:
    """The last line that the container wrote, which usually says why it is not ready."""
    with connect(layout) as client:
        found = container(client, layout)
        lines = found.logs(tail=5).decode(errors="replace").split("\n") if found else []
    return next((line for line in reversed(lines) if line.strip()), "it wrote nothing")


def state(layout: Layout) -> dict[str, str]:
    """What runs: status, revision, version, restarts; empty when there is no container."""
    with connect(layout) as client:
        found = container(client, layout)
        if found is None:
            return {}
        labels = found.labels
        return {
            "status": found.status,
            "revision": labels.get(REVISION_LABEL, ""),
            "version": labels.get(VERSION_LABEL, ""),
            "restarts": str(found.attrs.get("RestartCount", 0)),
        }
