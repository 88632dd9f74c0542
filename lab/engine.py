"""The machine's Docker engine, or a separate engine if it does not answer; images; the container."""

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
    """True if an engine answers on the socket."""
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
    """A Docker engine for this lab only: no bridge, no firewall rules, its own socket and data."""
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
    """Start or link an engine on the lab's socket. False if an engine already answers there."""
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
    """Stop the lab's own engine, or remove the link to the machine's engine."""
    linked = layout.docker_socket.is_symlink()
    stopped = processes.stop(layout, "docker", patience_seconds=20)
    layout.docker_socket.unlink(missing_ok=True)
    leave_namespaces(layout)
    return stopped or linked


def leave_namespaces(layout: Layout) -> None:
    """Unmount what a stopped engine left behind, for example network namespaces: they block a wipe."""
    home = layout.state / "docker"
    if answers(layout.docker_socket) or not (home / "exec").exists():
        return
    for path in (*(home / "exec" / "netns").glob("*"), home / "data"):
        subprocess.run([processes.program("umount", "mount"), str(path)], capture_output=True, check=False)
    shutil.rmtree(home / "exec", ignore_errors=True)


@contextmanager
def connect(layout: Layout) -> Iterator[docker.DockerClient]:
    """A client for the lab's engine. Raises LabError if the engine does not answer or refuses a request."""
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
    """The image of a deployment, built from the files of that revision in git."""
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
    """The base image. It is imported from the lab's root file system if the engine does not have it."""
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
    """Replace the running container by a container of this revision, as a deployment does."""
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
        current = container(client, layout)
        if current is not None:
            current.restart(timeout=3)


def enlarge(layout: Layout) -> None:
    """Raise the running container's memory limit, so that it can exceed the alert's 2 GiB without a kill."""
    with connect(layout) as client:
        current = container(client, layout)
        if current is not None:
            current.update(mem_limit=LARGE_MEMORY, memswap_limit=LARGE_MEMORY)


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
    """The settings in the operator's file."""
    try:
        lines = layout.settings.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def container(client: docker.DockerClient, layout: Layout) -> Container | None:
    """The backend's container; None if it does not exist."""
    try:
        return client.containers.get(layout.container)
    except NotFound:
        return None


def remove(layout: Layout) -> bool:
    """Stop and remove the backend's container; False if it does not exist."""
    with connect(layout) as client:
        current = container(client, layout)
        if current is None:
            return False
        current.stop(timeout=3)
        current.remove(force=True)
        return True


def last_log_line(layout: Layout) -> str:
    """The last line of the container's log: usually the reason why it is not ready."""
    with connect(layout) as client:
        current = container(client, layout)
        lines = current.logs(tail=5).decode(errors="replace").split("\n") if current else []
    return next((line for line in reversed(lines) if line.strip()), "it wrote nothing")


def state(layout: Layout) -> dict[str, str]:
    """The container's status, revision, version and restarts; empty if there is no container."""
    with connect(layout) as client:
        current = container(client, layout)
        if current is None:
            return {}
        labels = current.labels
        return {
            "status": current.status,
            "revision": labels.get(REVISION_LABEL, ""),
            "version": labels.get(VERSION_LABEL, ""),
            "restarts": str(current.attrs.get("RestartCount", 0)),
        }
