"""What is refused before a kernel starts: exit code 3, one line that says what to do, and no evidence."""

from pathlib import Path

import pytest

from tests.support.running import command

RUN = ["runbook", "run", "HighErrorRate", "--environment", "lab"]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["runbook", "run", "HighErorRate"], "did you mean 'HighErrorRate'?"),
        (["runbook", "run", "HighErrorRate", "-e", "labb"], "did you mean 'lab'?"),
        ([*RUN, "-s", "backened"], "did you mean 'backend'?"),
        ([*RUN, "-p", "lookbak=2h"], "did you mean 'lookback'?"),
        ([*RUN, "-p", "error_rate_limit=high"], "must be float, but is 'high'"),
        ([*RUN, "-p", "lookback"], "is not name=value"),
        ([*RUN, "--lookback", "2 hours"], "is not a duration"),
        ([*RUN, "--at", "yesterday"], "is not a time"),
        ([*RUN, "--at", "2026-01-15T03:12:00"], "has no time zone"),
        ([*RUN, "-p", 'y=__import__("os").system("id");service=x'], "there is no parameter 'y'"),
        (["runbook", "runn"], "did you mean 'run'?"),
        ([*RUN, "--output", "/dev/null/evidence"], "choose another folder with --output"),
    ],
)
def test_bad_input_is_refused_in_one_line(argv: list[str], told: str, tmp_path: Path) -> None:
    output = [] if "--output" in argv or "runn" in argv else ["--output", str(tmp_path)]
    ended = command([*argv, *output])
    assert ended.code == 3, ended.err
    assert told in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sevice: x\n", "did you mean 'service'?"),
        ("error_rate_limit: high\n", "error_rate_limit must be float"),
        ("service: NO\n", "line 1, column 10: NO is ambiguous"),
        ("service: [unclosed\n", "line"),
        ("service: &a x\nlookback: *a\n", "anchors and aliases are not allowed"),
        ("service: !!python/object/apply:os.system [id]\n", "line 1"),
    ],
)
def test_a_bad_parameter_file_is_refused_with_its_line(text: str, told: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for folder in ("notebooks", "parameters/environments"):
        (home / folder).mkdir(parents=True)
    root = Path(__file__).parents[2]
    (home / "notebooks" / "HighErrorRate.ipynb").write_bytes(
        (root / "notebooks" / "HighErrorRate.ipynb").read_bytes()
    )
    (home / "parameters" / "HighErrorRate.yaml").write_text(text)
    ended = command([*RUN, "--output", str(tmp_path / "out")], {"RUNBOOK_HOME": str(home)})
    assert ended.code == 3, ended.err
    assert told in ended.err
    assert "parameters/HighErrorRate.yaml" in ended.err
