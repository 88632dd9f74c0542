"""A small site for runs without the lab: one real HTTP server that answers like each system, and a real git.

What the systems say can be chosen, so that hostile words and secrets reach a notebook as they would in life.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.running import ROOT, Ended, command
from tests.support.stand_in import closed_port

PASSWORD_VARIABLE = "SITE_DATABASE_PASSWORD"
PASSWORD = "site-database-password"
_FAILING_SECONDS = 240.0
_BY = re.compile(r"by\((?:le,)?([a-z_,]+)\)")


@dataclass(frozen=True)
class SiteAnswers:
    """The words that come from outside, and the share of requests that fails since four minutes ago."""

    failing_share: float = 0.3
    is_firing: bool = True
    title: str = "Site's backend"
    metric: str = "up"
    endpoint: str = "/api/v1/agents"
    error_type: str = "timeout"
    annotation: str = "Too many requests fail"
    other_alert: str = "DiskFull"
    other_annotation: str = "The disk is full"
    subject: str = "Change the pool"
    health: str = "unhealthy"
    log: Sequence[str] = ("ERROR: QueuePool limit of size 5 overflow 10 reached",)


@dataclass
class Site:
    """The running site: what `runbook` needs to find it, and which requests it got."""

    folder: Path
    answers: SiteAnswers
    environment: dict[str, str]
    asked: list[str] = field(default_factory=list)
    began_at: float = field(default_factory=lambda: time.time() - _FAILING_SECONDS)
    # While it stands here, questions of this path hang.
    held: str = ""

    def run(self, output: Path, *more: str, environment: Mapping[str, str] | None = None) -> Ended:
        """`runbook run HighErrorRate` on this site."""
        argv = ["runbook", "run", "HighErrorRate", "-e", "site", "--output", str(output), "--json", *more]
        return command(argv, {**self.environment, **(environment or {})})

    def home(self, *cells: str, after: str = "health-page") -> Path:
        """A home whose notebook has these cells of code after the one with that id."""
        home = Path(self.folder) / f"home-{len(list(self.folder.iterdir()))}"
        for folder in ("notebooks", "parameters"):
            shutil.copytree(ROOT / folder, home / folder)
        path = home / "notebooks" / "HighErrorRate.ipynb"
        with_cells(path, *cells, after=after)
        return home


def with_cells(path: str | Path, *cells: str, after: str = "health-page") -> None:
    """Put cells of code into the notebook, after the one with that id."""
    path = Path(path)
    notebook = json.loads(path.read_text())
    place = next(number for number, cell in enumerate(notebook["cells"]) if cell["id"] == after) + 1
    notebook["cells"][place:place] = [
        {
            "cell_type": "code",
            "id": f"own-{number}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    path.write_text(json.dumps(notebook))


@contextmanager
def running_site(folder: Path, answers: SiteAnswers | None = None, *, dsn: str = "") -> Iterator[Site]:
    """The site, until the end of the block."""
    site = Site(folder, answers or SiteAnswers(), {})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            parts = urlsplit(self.path)
            params = parse_qs(parts.query) | parse_qs(self.rfile.read(length).decode())
            site.asked.append(self.path)
            while site.held == parts.path:
                time.sleep(0.02)
            body = _answer(site, parts.path, {name: values[0] for name, values in params.items()})
            self.send_response(404 if body is None else 200)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_header("Content-Type", "text/plain" if isinstance(body, bytes) else "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        environments = folder / "environments"
        environments.mkdir()
        port = server.server_address[1]
        (environments / "site.yaml").write_text(json.dumps(_settings(site, port, dsn)))
        site.environment = {"RUNBOOK_ENVIRONMENTS": str(environments), PASSWORD_VARIABLE: PASSWORD}
        _deployment(folder / "deployments", site)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join(5)


def _settings(site: Site, port: int, dsn: str) -> dict[str, Any]:
    """The environment's file; JSON is YAML too."""
    url = f"http://127.0.0.1:{port}"
    service = {
        "title": site.answers.title,
        "labels": {"job": "backend"},
        "url": url,
        "containers": ["backend"],
        "key_functions": [{"name": "list", "path": "/list"}],
        "dependencies": [{"name": "provider", "url": f"http://127.0.0.1:{closed_port()}/"}],
    }
    down = f"host=127.0.0.1 port={closed_port()} dbname=x user=x"
    return {
        "title": "Site",
        "systems": {
            "prometheus": {"url": url},
            "alertmanager": {"url": url},
            "docker": {"url": url.replace("http", "tcp")},
            "postgres": {"dsn": dsn or down, "password_env": PASSWORD_VARIABLE},
            "git": {"repository": str(site.folder / "deployments")},
        },
        "timing": {"rate_window": "1m", "lookback": "10m", "lead": "5m", "scrape_interval": "15s"},
        "services": {"backend": service},
    }


def _deployment(folder: Path, site: Site) -> None:
    """A repository whose last commit was deployed half a minute before it began."""
    folder.mkdir()
    at = datetime.fromtimestamp(site.began_at - 30, UTC).isoformat()
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_NAME": "t", f"GIT_{role}_EMAIL": "t@t", f"GIT_{role}_DATE": at}
    commit = ["commit", "-q", "--allow-empty", "--cleanup=verbatim", "-m", site.answers.subject]
    for words in (["init", "-q", "-b", "main"], commit, ["tag", "-a", "-m", "x", "deploy/1"]):
        subprocess.run(["git", *words], cwd=folder, env=env, check=True, capture_output=True)


def _answer(site: Site, path: str, params: Mapping[str, str]) -> Any:
    answers = site.answers
    path = re.sub(r"^/v1\.\d+/", "/", path)
    match path:
        case "/api/v1/query":
            return _prometheus(_instant(site, params), "vector")
        case "/api/v1/query_range":
            return _prometheus(_range(site, params), "matrix")
        case "/api/v1/rules":
            rule = {
                "name": "HighErrorRate",
                "type": "alerting",
                "query": "site_failing",
                "state": "firing",
                "labels": {"severity": "critical"},
                "annotations": {"summary": answers.annotation},
            }
            return {"status": "success", "data": {"groups": [{"name": "site", "rules": [rule]}]}}
        case "/api/v2/alerts":
            own = [_alert(site, "HighErrorRate", answers.annotation)] if answers.is_firing else []
            other = _alert(site, answers.other_alert, answers.other_annotation)
            return own if "filter" in params else [*own, other]
        case "/health":
            return {"status": answers.health, "components": {"ai_service": {"status": "healthy"}}}
        case "/list":
            return []
        case "/version":
            return {"ApiVersion": "1.41"}
        case "/events":
            return b""
        case "/containers/backend/json":
            return _container(site)
        case path if path.endswith("/logs"):
            at = f"{datetime.fromtimestamp(site.began_at + 30, UTC):%Y-%m-%dT%H:%M:%S.000000Z}"
            return "".join(f"{at} {line}\r\n" for line in answers.log).encode()
    return None


def _prometheus(result: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def _alert(site: Site, name: str, annotation: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": "critical", "component": annotation[:200]},
        "annotations": {"description": annotation},
        "startsAt": datetime.fromtimestamp(site.began_at, UTC).isoformat(),
        "endsAt": (datetime.now(UTC) + timedelta(minutes=4)).isoformat(),
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
        "fingerprint": "0123456789abcdef",
    }


def _container(site: Site) -> dict[str, Any]:
    started = datetime.fromtimestamp(site.began_at - 86400, UTC).isoformat()
    state = {"Status": "running", "Running": True, "ExitCode": 0, "OOMKilled": False}
    return {
        "Id": "c" * 64,
        "Name": "/backend",
        "Image": "sha256:1",
        "Created": started,
        "RestartCount": 0,
        "State": {**state, "StartedAt": started, "FinishedAt": "0001-01-01T00:00:00Z"},
        "HostConfig": {"Memory": 512 << 20, "RestartPolicy": {"Name": "always"}},
        "Config": {"Image": "backend:1", "Labels": {}, "Tty": True, "Env": [f"PASSWORD={PASSWORD}"]},
    }


def _series(site: Site, query: str) -> list[tuple[dict[str, str], float, float]]:
    """(labels, value before it began, value since) of each series that the query gives."""
    share, by = site.answers.failing_share, _BY.search(query)
    labels = by[1].split(",") if by else []
    known = {"method": "GET", "instance": "10.0.0.1:8000", "status_code": "503"}
    known |= {
        "__name__": site.answers.metric,
        "endpoint": site.answers.endpoint,
        "error_type": site.answers.error_type,
    }
    own = {label: known[label] for label in labels if label in known}
    sound = {
        label: {"endpoint": "/sound", "instance": "10.0.0.2:8000"}.get(label, known[label]) for label in own
    }
    is_split = sound != own
    if query == "site_failing":
        return [({}, 0.0, share)] if share else []
    if query.startswith("group by(le)"):
        return [({"le": bound}, 1.0, 1.0) for bound in ("0.1", "0.25", "0.5", "1", "+Inf")]
    if query.startswith("ALERTS"):
        return [({"alertname": "HighErrorRate", "alertstate": "firing"}, 0.0, 1.0)] if share else []
    for word, before, since in (
        ("resets(", 0.0, 0.0),
        ("count_over_time(", 2400.0, 2400.0),
        ("increase(", 1200.0, 1200.0),
        ("(sum", 0.0, share),
        ("histogram_quantile", 0.12, 0.12),
        ('"5.."', 0.0, 40 * share),
        ("changes(", 0.0, 0.0),
        ("process_resident_memory_bytes", 1e8, 1e8),
        ("db_query_errors_total", 0.0, share),
        ("http_requests_total", 40.0, 40.0),
        ("up", 1.0, 1.0),
    ):
        if word in query and (word != "(sum" or query.startswith(word)):
            return [(own, before, since), *([(sound, before, before)] if is_split else [])]
    return []


def _instant(site: Site, params: Mapping[str, str]) -> list[dict[str, Any]]:
    at = _seconds(params["time"]) if "time" in params else time.time()
    return [
        {"metric": labels, "value": [at, repr(since if at >= site.began_at else before)]}
        for labels, before, since in _series(site, params["query"])
    ]


def _range(site: Site, params: Mapping[str, str]) -> list[dict[str, Any]]:
    start, end, step = _seconds(params["start"]), _seconds(params["end"]), float(params["step"])
    times = [start + number * step for number in range(int((end - start) / step + 1e-6) + 1)]
    return [
        {"metric": labels, "values": [[at, repr(since if at >= site.began_at else before)] for at in times]}
        for labels, before, since in _series(site, params["query"])
    ]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
