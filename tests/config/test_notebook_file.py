"""The one spelling of a notebook."""

import json
from pathlib import Path
from typing import Any

import pytest

from runbooklib.config import notebook_file
from runbooklib.errors import SettingsError
from tests.support.running import ROOT


def cell(source: Any, kind: str = "code", **more: Any) -> dict[str, Any]:
    return {"cell_type": kind, "source": source, "metadata": {}, **more}


def tidied(*cells: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    text = notebook_file.canonical({"cells": list(cells), "metadata": metadata})
    told: dict[str, Any] = json.loads(text)
    assert notebook_file.canonical(told) == text
    return told


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_here_is_tidy(path: Path) -> None:
    assert notebook_file.canonical(notebook_file.read(path)) == path.read_text(encoding="utf-8")


def test_outputs_counts_and_what_is_of_a_machine_are_left_out() -> None:
    told = tidied(
        cell("x", outputs=[{"output_type": "stream"}], execution_count=7, id="kept"),
        kernelspec={"name": "python3", "display_name": "P", "language": "python", "path": "/here"},
        widgets={},
        language_info={"name": "python", "version": "3.11.2"},
        runbook={"alerts": ["A", "B"]},
    )
    assert told["cells"][0] == cell(["x"], id="kept", outputs=[], execution_count=None)
    assert told["metadata"] == {
        "kernelspec": {"display_name": "P", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "runbook": {"alerts": ["A", "B"]},
    }


def test_ids_are_kept_and_missing_ones_are_made_of_what_the_cell_says() -> None:
    told = tidied(
        cell("incident.check(error_rate, above=0.05)"),
        cell("incident.check(error_rate, above=0.1)"),
        cell("## The alert\nis here", "markdown"),
        cell("x", id="has one"),
        cell("y", id="twice"),
        cell("z", id="twice"),
    )
    ids = [one["id"] for one in told["cells"]]
    assert ids == ["error-rate", "error-rate-2", "the-alert", "x", "twice", "z"]


def test_a_name_that_is_made_takes_no_id_of_a_later_cell() -> None:
    told = tidied(cell("incident.check(error_rate)"), cell("x = 1", id="error-rate"))
    assert [one["id"] for one in told["cells"]] == ["error-rate-2", "error-rate"]


def test_white_space_at_the_end_is_taken_away_and_tags_are_sorted() -> None:
    told = tidied(cell("a  \n\nb\n\n", id="c", metadata={"tags": ["z", "a"], "trusted": True}))
    assert told["cells"][0]["source"] == ["a\n", "\n", "b"]
    assert told["cells"][0]["metadata"] == {"tags": ["a", "z"]}


def test_white_space_within_a_string_is_its_value_and_stays() -> None:
    kept = 'text = """a  \nb"""'
    told = tidied(cell(kept + "\nx = 1  "), cell("%%bash  \nls  "), cell("a  \r\nb", "markdown"))
    assert ["".join(one["source"]) for one in told["cells"]] == [kept + "\nx = 1", "%%bash\nls", "a\nb"]


def test_a_picture_that_is_attached_to_prose_stays() -> None:
    attached = {"a.png": {"image/png": "eA=="}}
    told = tidied(cell("![](attachment:a.png)", "markdown", attachments=attached))
    assert told["cells"][0]["attachments"] == attached


def test_as_text_a_cell_is_a_line_with_its_id_and_then_its_source() -> None:
    text = notebook_file.as_text({"cells": [cell("x = 1", id="one", outputs=[{}, {}])], "metadata": {}})
    assert text == "--- code one (outputs: 2)\nx = 1\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"cells": [1]}',
        '{"cells": [{"cell_type": "code"}]}',
        '{"cells": [{"cell_type": "code", "source": [1]}]}',
        '{"cells": [{"cell_type": "code", "source": "", "metadata": {"tags": [{}]}}]}',
        '{"cells": [{"cell_type": "code", "source": "", "outputs": 3}]}',
        '{"cells": [{"cell_type": "code", "source": "\\ud800"}]}',
        '{"cells": [], "metadata": []}',
        '{"cells": [], "metadata": {"kernelspec": 1}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"x\.ipynb"):
        notebook_file.read(path)
