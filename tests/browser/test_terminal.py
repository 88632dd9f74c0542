"""What reached a real terminal of a run on a hostile site: nothing that it would act on, and every word."""

import json
import re

import pytest

from tests.support.hostile_page import HostileRun
from tests.support.terminal import OWN, unread


@pytest.fixture
def shown(hostile: HostileRun) -> str:
    """The terminal's text, without our own colours, lines joined as a reader joins them."""
    plain = OWN.sub(b"", hostile.screen).decode().replace("\r\n", "\n")
    return re.sub(r"\s+", " ", plain)


@pytest.mark.row("H45", "H53", "H54", "H55")
def test_a_terminal_gets_nothing_that_it_would_act_on(hostile: HostileRun) -> None:
    assert unread(hostile.screen) == []
    assert OWN.search(hostile.screen)  # it was a terminal: our own colours are there
    assert unread(b"\x1b[8m \x1b[2J\x1b]0;x\x07") != []  # and the looking finds what there would be


@pytest.mark.row("H45", "H53")
def test_sequences_that_steer_a_terminal_are_shown_as_text(shown: str) -> None:
    for written in (
        "\\u{1b}]0;title\\u{7}",  # OSC 0: the window's title
        "\\u{1b}]8;;http://127.0.0.1:",  # OSC 8: a link
        "\\u{1b}]52;c;ZXZpbA==\\u{7}",  # OSC 52: the clipboard
        "\\u{1b}[2J",  # clear the screen
        "\\u{1b}[3A\\u{1b}[1G",  # cursor up, to the first column
        "\\u{1b}Pq#0\\u{1b}\\",  # DCS
        "\\u{9d}0;t\\u{9c}\\u{85}\\u{8d}",  # OSC, ST, NEL and RI in one byte
        "\\u{1b}c",  # reset
    ):
        assert written in shown, shown[shown.find("Pq#0") - 200 :][:400]


@pytest.mark.row("H54")
def test_text_that_a_colour_would_hide_is_kept(shown: str) -> None:
    assert "seen \\u{1b}[8mhidden words\\u{1b}[0m \\u{1b}[30;40mblack on black\\u{1b}[0m" in shown


@pytest.mark.row("H55")
def test_marks_of_direction_and_lookalikes_are_shown_on_the_terminal(shown: str) -> None:
    for written in ("b\\u{430}ckend p\\u{430}yments", "\\u{ff42}ack\\u{ff45}nd", "\\u{202e}"):
        assert written in shown, written


@pytest.mark.row("H45", "H56")
def test_a_forged_verdict_stands_in_no_line_of_its_own(hostile: HostileRun) -> None:
    plain = OWN.sub(b"", hostile.screen).decode().replace("\r\n", "\n")
    lines = [line.strip() for line in plain.splitlines()]
    assert not [line for line in lines if line.startswith(("VERDICT", "✓ OK  ", "Signed-off-by"))]
    [answer] = [line for line in lines if "HighErrorRate · backend · site" in line]
    assert answer.startswith("✖ CRITICAL")
    verdict = json.loads((hostile.bundle / "verdict.json").read_text())
    assert verdict["status"] == "CRITICAL"
