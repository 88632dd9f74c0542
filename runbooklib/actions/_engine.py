"""The writing side of a Docker engine: one request to one container, by its full id."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import docker
import requests

from runbooklib.dockerengine import SYSTEM, opened
from runbooklib.errors import ActionError, NoDataError, SourceError
from runbooklib.remedy import actions_of, may_write
from runbooklib.scene import Scene

_LOOK_SECONDS = 10.0
# Docker waits ten seconds for a container to end before it kills it.
_WRITE_SECONDS = 60


def write(
    scene: Scene,
    name: str,
    is_still: Callable[[dict[str, Any]], bool],
    change: Callable[[docker.APIClient, dict[str, Any]], Any],
) -> None:
    """Make the change to the container of that name, if it is still the one.

    `is_still` and `change` get all that the engine tells of it. Raises ActionError.
    """
    url = may_write(actions_of(scene).docker, "docker").url
    about: dict[str, Any] = {"system": SYSTEM, "target": url}
    with opened(url, _LOOK_SECONDS) as engine:
        try:
            found = engine.inspect(name)
        except NoDataError as error:
            raise ActionError(error.message, **about, remedy="run the runbook again") from None
        version = engine.json("/version")["ApiVersion"]
    if not is_still(found):
        raise ActionError(
            f"the container {name} was replaced or started anew", **about, remedy="run the runbook again"
        )
    try:
        with closing(docker.APIClient(base_url=url, version=version, timeout=_WRITE_SECONDS)) as client:
            change(client, found)
    except docker.errors.APIError as error:
        told = str(error.explanation or error)
        if error.is_client_error():
            raise ActionError(f"said no: {told}", **about) from None
        # A restart that fails half way has stopped the container.
        raise ActionError(
            f"{told}; {_state(url, name)}",
            **about,
            remedy="see docker ps, and docker logs",
            is_outcome_known=False,
        ) from None
    except (requests.RequestException, docker.errors.DockerException) as error:
        told = f"was asked, and did not answer ({type(error).__name__})"
        raise ActionError(
            told, **about, remedy="see whether it was done: docker ps", is_outcome_known=False
        ) from None


def _state(url: str, name: str) -> str:
    """How the container is after what did not go well."""
    try:
        with opened(url, _LOOK_SECONDS) as engine:
            return f"{name} is {engine.inspect(name)['State']['Status']} now"
    except SourceError as error:
        return f"how {name} is now is not known: {error.message}"
