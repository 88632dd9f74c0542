"""The HTTP session for prometheus-api-client: all its requests pass through the tape.

It makes no retries, since they would hide the server's error message. A deadline covers the whole request,
long queries are sent in the body, and requests that are not read-only are refused.
"""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from runbooklib.errors import NonsenseError, ParameterError
from runbooklib.sources.http import Response, fetch, target_of
from runbooklib.sources.tape import Tape

MAX_URL_PARAMETERS_LENGTH = 1_500

_MAX_TEXT_LENGTH = 2_000
_POSTED = frozenset(f"/api/v1/{name}" for name in ("query", "query_range", "series", "labels"))
_WITH_TIMEOUT = frozenset({"/api/v1/query", "/api/v1/query_range"})


class TapedSession(requests.Session):
    """A session whose requests are asked through the tape.

    The adapters that the library mounts, and their retries, are not used.
    """

    def __init__(self, base: str, tape: Tape, token: str, deadline_seconds: float) -> None:
        super().__init__()
        self.trust_env = False
        self.target = target_of(base)
        self._base = base
        self._tape = tape
        self._token_headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._deadline_seconds = deadline_seconds
        tape.redactor.know(token)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """The tape's answer to a request of the library. Raises ParameterError for another host."""
        url = str(request.url)
        if not f"{target_of(url)}/".startswith(f"{self.target}/"):
            raise ParameterError(f"{target_of(url)} is not the Prometheus of this incident")
        path = urlsplit(url).path.removeprefix(urlsplit(self._base).path.rstrip("/"))
        body = request.body if isinstance(request.body, str) else ""
        params = parse_qsl(urlsplit(url).query, keep_blank_values=True) + parse_qsl(body)
        timeout = kwargs.get("timeout")
        answer = self.answered(
            str(request.method), path, params, timeout if isinstance(timeout, int | float) else None
        )
        response = requests.Response()
        response.status_code = answer["status"]
        response.headers["Content-Type"] = answer["content_type"]
        response.encoding, response.url, response.request = "utf-8", f"{self.target}{path}", request
        text = json.dumps(answer["json"]) if "json" in answer else answer["text"]
        response._content = text.encode()
        return response

    def answered(
        self, method: str, path: str, params: Sequence[tuple[str, str]], timeout_seconds: float | None = None
    ) -> dict[str, Any]:
        """`status`, `content_type` and `json` (or `text`) of one request, from the tape.

        Raises ParameterError for a request that is not read-only.
        """
        if method != "GET" and path not in _POSTED:
            raise ParameterError(f"{method} {path} is not read-only")
        deadline = min(self._deadline_seconds, timeout_seconds or self._deadline_seconds)
        request = {"method": method, "path": path, "params": [list(pair) for pair in params]}
        answer: dict[str, Any] = self._tape.ask(
            "prometheus",
            request,
            lambda: self._fetch(path, params, deadline),
            target=self.target,
            deadline_seconds=deadline,
        )
        return answer

    def _fetch(self, path: str, params: Sequence[tuple[str, str]], deadline: float) -> dict[str, Any]:
        sent = list(params)
        if path in _WITH_TIMEOUT and "timeout" not in dict(sent):
            sent.append(("timeout", f"{deadline:g}"))
        is_long = (
            path in _POSTED
            and sum(len(name) + len(value) for name, value in sent) > MAX_URL_PARAMETERS_LENGTH
        )
        response = fetch(
            "POST" if is_long else "GET",
            f"{self._base}{path}",
            system="prometheus",
            target=self.target,
            headers=self._token_headers,
            params=() if is_long else sent,
            form=sent if is_long else (),
            deadline_seconds=deadline,
            is_redirect_refused=path != "/",
        )
        answer = _as_answer(response, self.target)
        if path.startswith("/api/") and response.status == 200 and "json" not in answer:
            message = f"not a Prometheus API: {response.content_type or 'no content type'}"
            raise NonsenseError(message, system="prometheus", target=self.target, hint="check the address")
        return answer


def _as_answer(response: Response, target: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"status": response.status, "content_type": response.content_type}
    if response.content_type != "application/json":
        return answer | {"text": response.text[:_MAX_TEXT_LENGTH]}
    content = response.json(system="prometheus", target=target)
    warnings = content.get("warnings") or [] if isinstance(content, dict) else None
    if isinstance(warnings, list) and not response.is_utf8:
        content["warnings"] = [*warnings, "the answer contains invalid UTF-8, shown as escapes"]
    return answer | {"json": content}
