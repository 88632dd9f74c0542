"""From the start page to the notebook in JupyterLab, by keyboard alone, and nothing leaves the machine."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from runbooklib.render import start_page_html
from tests.jupyter.conftest import served
from tests.support.alertmanagers import FakeAlertmanager, alertmanager, answering
from tests.support.hostile_page import HOSTILE, Opened, listening
from tests.support.jupyter_server import TOKEN, Served, began
from tests.support.running import ROOT

__all__ = ["alertmanager", "answering", "served"]  # fixtures
AT = datetime(2026, 1, 15, tzinfo=UTC)
# With UPDATE_SCREENSHOTS=1 the picture in docs/ is made anew.
PICTURE = ROOT / "docs" / "startpage.png"


@dataclass
class Watched:
    """A page, which hosts it asked, and what its console called an error."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about"):
            self.hosts.add(parts.netloc)


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(180_000)
    found = Watched(page)
    context.on("request", found.asked)
    context.on("console", found.heard)
    context.on("weberror", lambda error: found.errors.append(str(error.error)))
    yield found
    context.close()


def by_keyboard(page: Page, name: str) -> None:
    """Tab until the link or button of that name has the focus, then press Enter."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText || ''").strip() == name:
            page.keyboard.press("Enter")
            return
    pytest.fail(f"{name} cannot be reached by keyboard")


def test_from_the_login_to_the_notebook_of_a_firing_alert_by_keyboard(
    served: Served, alertmanager: FakeAlertmanager, watched: Watched
) -> None:
    page = watched.page
    at = began(6)
    alertmanager.fires("HighErrorRate", at, "More than 5 % of requests fail", severity="critical")
    alertmanager.fires("SlowDatabaseQueries", began(2), "P95 of queries above 0.1 s", severity="warning")
    page.goto(f"{served.address}/runbooks")
    page.get_by_label("Password or token").focus()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Firing now")).to_be_visible()
    assert urlsplit(page.url).path == "/user/oncall/runbooks"
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        page.screenshot(path=PICTURE)
    by_keyboard(page, "HighErrorRate")
    page.wait_for_url(re.compile(r"/user/oncall/lab/tree/incidents/\d{8}T\d{6}Z-HighErrorRate-backend/"))
    expect(page.locator(".jp-CodeCell", has_text='environment = "site"')).to_be_visible()
    # As a person would see it: the heading is drawn, no cell has run, no notice covers anything.
    expect(page.locator(".jp-Notebook h1", has_text="too many requests fail")).to_be_visible()
    assert page.locator(".jp-Notebook .jp-OutputArea-output").count() == 0
    assert page.locator(".jp-toast-message, .jp-Dialog").count() == 0
    assert "token" not in page.url
    assert watched.hosts == {urlsplit(served.address).netloc}
    assert watched.errors == []


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")])
def test_the_start_page_searches_by_keyboard_in_both_themes(
    served: Served, alertmanager: FakeAlertmanager, watched: Watched, scheme: str, ground: str
) -> None:
    page = watched.page
    alertmanager.fires("HighErrorRate", began(6), "<img src=//elsewhere.invalid/x>")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{served.address}/login?next=/user/oncall/runbooks")
    page.get_by_label("Password or token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Firing now")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    search = page.get_by_role("searchbox", name="Search")
    search.focus()
    page.keyboard.type("sandbox")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=sandbox"))
    names = page.locator("section[aria-labelledby=all] tbody td.name").all_inner_texts()
    assert names == ["HighSandboxErrorRate", "SandboxPoolDepleted", "SlowSandboxExecution"]
    assert page.locator("img").count() == 0
    assert watched.hosts == {urlsplit(served.address).netloc}
    assert watched.errors == []


def test_a_link_that_is_refused_says_why_on_a_page_without_errors(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/login?next=/user/oncall/runbooks/open%3Falertname%3DHighErorRate")
    page.get_by_label("Password or token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="This cannot be opened")).to_be_visible()
    expect(page.get_by_text("did you mean 'HighErrorRate'?")).to_be_visible()
    by_keyboard(page, "All runbooks, and what fires now")
    expect(page.get_by_role("heading", name="All runbooks")).to_be_visible()
    assert not list(Path(served.root / "incidents").glob("*HighErorRate*"))


def boards(line: str) -> dict[str, str]:
    """The start page with a line in every place of it, and the page that refuses."""
    board = start_page_html.Board(
        at=AT,
        environment=line,
        environments=[(line, "/x"), ("other " + line, f"/x?{line}")],
        firing=[
            start_page_html.AlertRow(line, line, line, line, AT, line, "/x"),
            start_page_html.AlertRow(line, "", "", "", None, "", ""),
        ],
        runbooks=[start_page_html.RunbookRow(line, line, f"/x?{line}")],
        searched=line,
        runs=[start_page_html.RunRow(AT, line, line, line, line, line, f"/x?{line}")],
        not_checked=[line],
        refresh=0,
        toggle=f"/x?{line}",
    )
    return {"start": start_page_html.start_page(board), "refusal": start_page_html.refusal(line, line, "/x")}


def test_a_hostile_line_is_text_in_every_place_of_the_pages(browser: Browser, tmp_path: Path) -> None:
    with listening() as (beacon, heard):
        line = " ".join(HOSTILE).format(beacon=beacon)
        for name, whole in boards(line).items():
            # There is no policy in a file: the escaping alone must do.
            (tmp_path / f"{name}.html").write_text(whole)
            opened = Opened(browser, tmp_path / f"{name}.html")
            assert (opened.pwned, heard) == (None, []), name
            assert opened.elements("script, iframe, svg, img, object, embed, base, link, body style") == 0
            assert opened.elements("form, button") == (2 if name == "start" else 0)
            seen = opened.page.evaluate("document.body.textContent")
            assert "<script>window.__pwned=1;alert(1)" in seen
            assert not [c for c in seen if not c.isprintable() and c not in "\n\t"]


def test_a_cell_of_the_start_page_is_no_formula_for_a_spreadsheet() -> None:
    whole = boards("=HYPERLINK(1)")["start"]
    assert not re.findall(r"<td[^>]*>(?:<[^>]*>)*=", whole)
    assert whole.count(">'=HYPERLINK(1)") == 10
