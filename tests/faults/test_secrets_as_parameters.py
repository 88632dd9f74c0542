"""H58: a connection string with its password, given as a parameter by every way that there is."""

import json
from pathlib import Path

import pytest

from tests.support.running import command
from tests.support.small import home, write
from tests.support.survey import Survey, folder_content

PASSWORD = "c4n4ry-parameter-88"
DSN = f"postgresql://app:{PASSWORD}@127.0.0.1:9/app"
KEYWORDS = f"host=127.0.0.1 password={PASSWORD} dbname=app"
OPTIONS = ["--environment", "down", "--service", "backend"]


@pytest.mark.row("H58")
@pytest.mark.parametrize(
    "given",
    [
        ["-p", f"lookback={DSN}"],
        ["-p", f"note={DSN}"],
        ["-p", f"note={KEYWORDS}"],
        ["-p", f"dsn={DSN}"],
        ["-p", f"service={DSN}"],
        ["-p", DSN],
        ["--at", DSN],
        ["--service", DSN],
        ["--environment", DSN],
    ],
)
def test_a_dsn_on_the_command_line_is_refused_before_a_kernel_and_never_repeated(
    given: list[str], tmp_path: Path, survey: Survey
) -> None:
    environment = {**home(tmp_path / "home"), **survey.environment}
    write(tmp_path / "home", "Small", more_parameters='note: str = ""\n')
    ended = command(
        ["runbook", "run", "Small", *OPTIONS, "--output", str(tmp_path / "out"), *given], environment
    )
    assert ended.code == 3
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
    places: dict[str, bytes | str] = {**folder_content(tmp_path), "printed": ended.out + ended.err}
    survey.no_canary(places, PASSWORD)


@pytest.mark.row("H58")
def test_a_dsn_for_a_batch_is_refused_before_it_is_handed_on_to_a_process(
    tmp_path: Path, survey: Survey
) -> None:
    environment = {**home(tmp_path / "home"), **survey.environment}
    write(tmp_path / "home", "Small", more_parameters='note: str = ""\n')
    argv = ["runbook", "batch", "Small", "-e", "down", "--services", "backend", "-p", f"note={DSN}"]
    ended = command([*argv, "--output", str(tmp_path / "out")], environment)
    assert ended.code == 3
    assert not (tmp_path / "out").exists()
    survey.no_canary({**folder_content(tmp_path), "printed": ended.out + ended.err}, PASSWORD)


@pytest.mark.row("H58")
@pytest.mark.parametrize("value", [DSN, KEYWORDS])
def test_a_dsn_in_the_parameter_file_is_refused_and_never_repeated(
    value: str, tmp_path: Path, survey: Survey
) -> None:
    environment = {**home(tmp_path / "home"), **survey.environment}
    write(tmp_path / "home", "Small", more_parameters='note: str = ""\n')
    (tmp_path / "home" / "parameters" / "Small.yaml").write_text(f"note: {json.dumps(value)}\n")
    ended = command(["runbook", "run", "Small", *OPTIONS, "--output", str(tmp_path / "out")], environment)
    assert ended.code == 3
    assert "password_env" in ended.err
    assert not (tmp_path / "out").exists()
    survey.no_canary({"printed": ended.out + ended.err}, PASSWORD)


@pytest.mark.row("H58")
@pytest.mark.parametrize("by", ["-p", "-f", "environment", "reference"])
def test_a_dsn_that_reached_a_notebook_all_the_same_is_in_no_evidence(
    by: str, tmp_path: Path, survey: Survey
) -> None:
    """Papermill alone, with -p and -f, then `seal`; a variable; a reference, which nobody looks up."""
    environment = {**home(tmp_path / "home"), **survey.environment, "DATABASE_URL": DSN}
    shows = "import os\nprint(note, os.environ['DATABASE_URL'])\nnote"
    write(tmp_path / "home", "Small", shows, more_parameters='note: str = ""\n')
    out = tmp_path / "out"
    if by in ("environment", "reference"):
        note = "env:DATABASE_URL" if by == "environment" else "keyring:runbook/database"
        ended = command(
            ["runbook", "run", "Small", *OPTIONS, "--output", str(out), "-p", f"note={note}"], environment
        )
        assert note in json.dumps([*map(str, folder_content(out).values())])
        expected = 2  # nothing answers there
    else:
        (tmp_path / "given.yaml").write_text(f"note: {json.dumps(DSN)}\n")
        given = ["-p", "note", DSN] if by == "-p" else ["-f", str(tmp_path / "given.yaml")]
        notebook = str(tmp_path / "home" / "notebooks" / "Small.ipynb")
        executed = str(tmp_path / "executed.ipynb")
        papermill = ["papermill", notebook, executed, *given, "-p", "environment", "down"]
        assert command(papermill, environment).code == 0
        assert PASSWORD in Path(executed).read_text()
        ended = command(["runbook", "seal", executed, "--output", str(out)], environment)
        expected = 0
    assert ended.code == expected, ended.err
    survey.no_canary({**folder_content(out), "printed": ended.out + ended.err}, PASSWORD)
