"""The runs of a batch ask each page of the service once: their requests are traffic of the service."""

import json
from email.utils import formatdate
from pathlib import Path

import pytest

from runbooklib.errors import UnreachableError
from runbooklib.evidence.executed_notebook import read_recording
from runbooklib.redact.redactor import Redactor
from runbooklib.sources import shared_answers
from runbooklib.sources.shared_answers import SharedAnswers
from runbooklib.sources.tape import Tape
from runbooklib.sources.web import Web
from tests.support import small
from tests.support.running import command
from tests.support.stand_in import answer, closed_port, standin

SICK = {"status": "unhealthy", "components": {"database": {"status": "unhealthy", "message": "no"}}}
ALERTS = ("First", "Second", "Third")
SITE = """
title: "A site with a service"
systems:
  prometheus: {{url: "{prometheus}"}}
services:
  backend:
    title: "Backend"
    labels: {{job: "backend"}}
    url: "{service}"
    key_functions: [{{name: "list", path: "/list"}}]
"""


def test_the_health_page_is_asked_once_a_batch_and_each_run_records_it(tmp_path: Path) -> None:
    environment = small.home(tmp_path / "home")
    (tmp_path / "home" / "notebooks" / "Small.ipynb").unlink()
    for alert in ALERTS:
        cells = ("incident.check(health_page)", "incident.check(key_functions)")
        small.write(tmp_path / "home", alert, *cells)
    sites = tmp_path / "home" / "parameters" / "environments"
    # With the clock of Prometheus, nothing asks the service for its clock.
    clock = answer({"status": "success"}, headers={"Date": formatdate(usegmt=True)})
    with standin(clock) as prometheus, standin(answer(SICK, status=503)) as service:
        text = SITE.format(prometheus=prometheus.url, service=service.url)
        (sites / "down.yaml").write_text(text)
        argv = ["runbook", "batch", "--all", "--jobs", "3", "--json", "--output", str(tmp_path / "evidence")]
        ended = command(argv, environment)
        asked = [request.path for request in service.asked]
    runs = json.loads(ended.out)
    assert [run["alert"] for run in runs] == sorted(ALERTS)
    assert sorted(asked) == ["/health", "/list"]
    read_at = set()
    for run in runs:
        [page] = [
            entry for entry in read_recording(Path(run["bundle"])) if entry.request.get("path") == "/health"
        ]
        assert page.answer["status"] == 503
        read_at.add(page.answer["read_at"])
    assert len(read_at) == 1


def web(url: str, folder: Path, redactor: Redactor | None = None) -> Web:
    redactor = redactor or Redactor()
    return Web(url, Tape(redactor, shared=SharedAnswers(folder, redactor)), deadline_seconds=5.0)


def test_an_answer_is_shared_without_its_secrets(tmp_path: Path) -> None:
    redactor = Redactor(["hunter2-canary"])
    with standin(answer({"status": "healthy", "note": "hunter2-canary"})) as service:
        first, second = (web(service.url, tmp_path, redactor).page("/health") for _ in range(2))
        assert len(service.asked) == 1
        assert first == second
    kept = [path.read_text() for path in tmp_path.iterdir()]
    assert any("healthy" in text for text in kept)
    assert not any("hunter2-canary" in text for text in kept)


def test_a_page_that_does_not_answer_is_not_asked_by_every_run(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    for _ in range(2):
        with pytest.raises(UnreachableError):
            web(url, tmp_path).page("/health")
    assert len([path for path in tmp_path.iterdir() if path.suffix != ".lock"]) == 1


def test_another_page_another_service_and_an_old_answer_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standin(answer(SICK)) as service, standin(answer(SICK)) as other:
        web(service.url, tmp_path).page("/health")
        web(service.url, tmp_path).page("/list")
        web(other.url, tmp_path).page("/health")
        assert (len(service.asked), len(other.asked)) == (2, 1)
        monkeypatch.setattr(shared_answers, "MAX_AGE_SECONDS", 0.0)
        web(service.url, tmp_path).page("/health")
        assert len(service.asked) == 3


def test_without_a_batch_each_run_asks(tmp_path: Path) -> None:
    with standin(answer(SICK)) as service:
        for _ in range(2):
            Web(service.url, Tape()).page("/health")
        assert len(service.asked) == 2
    assert not list(tmp_path.iterdir())
