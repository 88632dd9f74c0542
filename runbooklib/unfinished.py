"""A run that did not finish, told as one: what was not run can be sound or not, and nobody knows."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from runbooklib.account import Step, StepStatus
from runbooklib.evidence.verdict_json import VERDICT_MIME
from runbooklib.render import sentences
from runbooklib.text import visible

CELL_ID = "run-did-not-finish"
_PROBLEMS = ("WARNING", "CRITICAL")


def told(notebook: Mapping[str, Any], steps: Sequence[Step], failure: str) -> dict[str, Any]:
    """The notebook with a first cell that says so, and with a verdict that is never OK."""
    banner = {
        "cell_type": "raw",
        "id": CELL_ID,
        "metadata": {},
        "source": sentences.unfinished(
            failure,
            [step.id for step in steps if step.status is StepStatus.INTERRUPTED],
            [step.id for step in steps if step.status is StepStatus.NOT_RUN],
        ),
    }
    return {**notebook, "cells": [banner, *(_cell(cell, failure) for cell in notebook["cells"])]}


def verdict_told(verdict: Mapping[str, Any], failure: str) -> dict[str, Any]:
    """The verdict as far as it got: a problem stays one, anything else is UNKNOWN."""
    has_problem = verdict["status"] in _PROBLEMS
    return {
        **verdict,
        "status": verdict["status"] if has_problem else "UNKNOWN",
        "headline": sentences.unfinished_headline(verdict["headline"] if has_problem else "", failure),
        "unfinished": failure,
    }


def _cell(cell: Mapping[str, Any], failure: str) -> dict[str, Any]:
    if cell["cell_type"] != "code":
        return dict(cell)
    return {**cell, "outputs": [_output(output, failure) for output in cell["outputs"]]}


def _output(output: Mapping[str, Any], failure: str) -> dict[str, Any]:
    data = output.get("data", {})
    if VERDICT_MIME not in data:
        return dict(output)
    verdict = verdict_told(data[VERDICT_MIME], failure)
    line = f"{verdict['status']}  {verdict['headline']}"
    # The card of then may say OK, in green: it is not what a reader sees first.
    card, then = (
        "".join(data.get("text/html", "")),
        html.escape(sentences.say("What it had found until then")),
    )
    shown = f"<p><strong>{html.escape(visible(line))}</strong></p>"
    return {
        **output,
        "data": {
            **data,
            VERDICT_MIME: verdict,
            "text/plain": line,
            "text/html": f"{shown}<details><summary>{then}</summary>{card}</details>",
        },
    }
