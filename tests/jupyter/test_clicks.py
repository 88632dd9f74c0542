"""What is a click on a link, and what only a page of another site asks for behind somebody's back."""

import pytest

from tests.support.jupyter_server import Served, began, led_to, logged_in

FETCHES = [
    *[("cross-site", "no-cors", place) for place in ("empty", "image", "script", "style", "video", "object")],
    *[("cross-site", "navigate", place) for place in ("iframe", "frame", "embed", "empty")],
    ("cross-site", "cors", "empty"),
    ("cross-site", "cors", "document"),
    ("cross-site", None, None),
    ("same-site", "no-cors", "empty"),
    ("same-site", "navigate", "iframe"),
    ("same-origin", "no-cors", "image"),
]
CLICKS = [
    ("cross-site", "navigate", "document"),
    ("same-site", "navigate", "document"),
    ("same-origin", "navigate", "document"),
    ("same-origin", "cors", "empty"),
    ("none", "navigate", "document"),
    (None, None, None),
]


def test_a_picture_on_another_site_clicks_nothing(served: Served) -> None:
    before, session = served.incidents(), logged_in(served)
    session.headers["Sec-Fetch-Dest"] = "image"
    answer = served.open(f"alertname=HighErrorRate&starts_at={began(33)}", session=session)
    assert answer.status_code == 403
    assert served.incidents() == before


def fetched(site: str | None, mode: str | None, place: str | None) -> dict[str, str]:
    """The headers by which a browser says for what it asks."""
    told = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": place}
    return {name: value for name, value in told.items() if value}


@pytest.mark.parametrize(("site", "mode", "place"), FETCHES)
def test_what_a_page_of_another_site_fetches_is_no_click(
    served: Served, site: str, mode: str | None, place: str | None
) -> None:
    before, session = served.incidents(), logged_in(served)
    session.headers.update(fetched(site, mode, place))
    answer = served.open(f"alertname=HighErrorRate&starts_at={began(34)}", session=session)
    assert answer.status_code == 403
    assert "a window of its own" in answer.text
    assert served.incidents() == before


@pytest.mark.parametrize(("site", "mode", "place"), CLICKS)
def test_a_click_on_a_page_of_another_site_is_one(
    served: Served, site: str | None, mode: str | None, place: str | None
) -> None:
    session = logged_in(served)
    session.headers.update(fetched(site, mode, place))
    led_to(served, served.open(f"alertname=HighErrorRate&starts_at={began(35)}", session=session))
