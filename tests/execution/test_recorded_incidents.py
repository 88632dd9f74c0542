"""Recorded incidents with known answers: today's notebook must still find what was wrong."""

import json
from pathlib import Path

import pytest

from runbooklib.execution.replay import differences
from tests.support.running import ROOT, command

RECORDINGS = ROOT / "recordings"
ANSWERS = {
    "HighErrorRate-sound": ("OK", None),
    "HighErrorRate-oom": ("CRITICAL", "container-crash"),
    "HighErrorRate-connections-exhausted": ("CRITICAL", "database-connections"),
    "HighErrorRate-ai-provider-down": ("CRITICAL", "external-dependency"),
    "HighErrorRate-bad-deploy": ("CRITICAL", "bad-deployment"),
    "ServiceDown-crash-loop": ("CRITICAL", "container-crash"),
    "SlowDatabaseQueries-slow-queries": ("CRITICAL", "missing-index"),
    "HighFileDescriptorUsage-descriptor-leak": ("WARNING", "descriptor-leak"),
}


def test_every_recording_has_its_known_answer_here() -> None:
    assert {path.stem for path in RECORDINGS.glob("*.json")} == ANSWERS.keys()


@pytest.mark.parametrize(("name", "answer"), ANSWERS.items())
def test_a_recorded_incident_is_judged_as_it_was(
    name: str, answer: tuple[str, str | None], tmp_path: Path
) -> None:
    ended = command(
        ["runbook", "replay", str(RECORDINGS / f"{name}.json"), "--output", str(tmp_path), "--json"]
    )
    verdict = ended.verdict
    status, cause = answer
    assert verdict["failure"] == "", verdict["failure"]
    assert verdict["status"] == status, json.dumps(verdict, indent=1)
    claimed = [c["id"] for c in verdict["causes"] if c["rank"] in ("confirmed", "likely", "possible")]
    assert claimed[:1] == ([cause] if cause else [])
    recorded = json.loads((RECORDINGS / f"{name}.json").read_text())["verdict"]
    assert list(differences(recorded, verdict)) == []
    assert ended.code == {"OK": 0, "WARNING": 1, "CRITICAL": 1}[status]
