"""Writes to a Docker engine: one request for one container, by its full id."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import docker
import requests

from runbooklib.actions.action import require_actions, require_writable
from runbooklib.errors import ActionError, NoDataError, SourceError
from runbooklib.sources.context import Context
from runbooklib.sources.docker.engine import SYSTEM, opened

_READ_SECONDS = 10.0
# Docker waits ten seconds for a container to end before it kills it.
_WRITE_SECONDS = 60


def write(
    context: Context,
    name: str,
    is_same: Callable[[dict[str, Any]], bool],
    change: Callable[[docker.APIClient, dict[str, Any]], Any],
) -> None:
    """Change the container of that name, if it is still the same one.

    `is_same` and `change` get the answer of `docker inspect`. Raises ActionError.
    """
    url = require_writable(require_actions(context).docker, "docker").url
    address: dict[str, Any] = {"system": SYSTEM, "target": url}
    with opened(url, _READ_SECONDS) as engine:
        try:
            container = engine.inspect(name)
        except NoDataError as error:
            raise ActionError(error.message, **address, hint="run the runbook again") from None
        version = engine.json("/version")["ApiVersion"]
    if not is_same(container):
        raise ActionError(
            f"the container {name} was replaced or restarted", **address, hint="run the runbook again"
        )
    try:
        with closing(docker.APIClient(base_url=url, version=version, timeout=_WRITE_SECONDS)) as client:
            change(client, container)
    except docker.errors.APIError as error:
        raise _refusal(error, url, name) from None
    except (requests.RequestException, docker.errors.DockerException) as error:
        raise ActionError(
            f"did not answer the request ({type(error).__name__})",
            **address,
            hint="see whether it was done: docker ps",
            is_outcome_known=False,
        ) from None


def _refusal(error: docker.errors.APIError, url: str, name: str) -> ActionError:
    """The engine's error. A restart that fails half way (5xx) has stopped the container."""
    reason = str(error.explanation or error)
    if error.is_client_error():
        return ActionError(f"refused the request: {reason}", system=SYSTEM, target=url)
    return ActionError(
        f"{reason}; state of {name}: {_status(url, name)}",
        system=SYSTEM,
        target=url,
        hint="see docker ps, and docker logs",
        is_outcome_known=False,
    )


def _status(url: str, name: str) -> str:
    """The container's status in Docker's word, or the error that hides it."""
    try:
        with opened(url, _READ_SECONDS) as engine:
            return str(engine.inspect(name)["State"]["Status"])
    except SourceError as error:
        return f"unknown ({error.message})"
