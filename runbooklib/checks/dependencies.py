"""What the service needs from outside, and what its own health page says."""

from functools import partial

import pandas as pd

from runbooklib.errors import NonsenseError, NotConfiguredError, Reason
from runbooklib.findings import Finding, Status, unknown
from runbooklib.scene import Scene
from runbooklib.sources.web import Page
from runbooklib.tape import side_by_side

# What a health page calls its components. Another word is no answer.
_SOUND = ("healthy", "ok", "up", "configured", "disabled")
_ILL = ("unhealthy", "error", "not_configured", "degraded", "down")


def dependencies_reachable(scene: Scene) -> Finding:
    """Can the dependencies be reached: name, port, certificate?

    Each configured dependency is resolved, connected to and, for https, shaken hands with.
    """
    scene.need_live("dns")
    needed = scene.service.dependencies
    if not needed:
        raise NotConfiguredError(
            "the service names no dependencies",
            system="dns",
            remedy="add `dependencies` to the service in the environment's file",
        )
    dns = scene.sources.dns
    reached = side_by_side([partial(dns.reach, one.url) for one in needed])
    rows = pd.DataFrame(
        [
            {
                "dependency": one.name,
                "host": reach.host,
                "fails at": reach.failed_at or "nothing",
                "error": reach.error,
                "name seconds": reach.dns_seconds,
                "connect seconds": reach.tcp_seconds,
            }
            for one, reach in zip(needed, reached, strict=True)
        ]
    )
    failed = rows[rows["fails at"] != "nothing"]
    return Finding(
        status=Status.CRITICAL if len(failed) else Status.OK,
        template=(
            "{name} ({host}) cannot be reached, it fails at {step}: {error}"
            if len(failed)
            else "All {count} can be reached."
        ),
        facts=_first(failed) if len(failed) else {"count": len(rows)},
        measured=float(len(failed)),
        unit="count",
        source="dns",
        query=", ".join(one.url for one in needed),
        rows=rows,
    )


def _first(failed: pd.DataFrame) -> dict[str, str | int | float | None]:
    row = failed.iloc[0]
    about = {"name": "dependency", "host": "host", "step": "fails at", "error": "error"}
    return {fact: str(row[column]) for fact, column in about.items()}


def health_page(scene: Scene) -> Finding:
    """What does the service's health page say?

    Status 200 and "healthy". The page can be wrong itself: it is one witness among others.
    """
    scene.need_live("web")
    page = scene.sources.web.page(scene.service.health)
    if not isinstance(page.json, dict) or "status" not in page.json:
        raise NonsenseError(
            f"the health page answered {page.status} without a JSON status",
            system="web",
            target=scene.service.url,
        )
    told = str(page.json["status"])
    ill = [name for name, part in page.components.items() if part.get("status") in ("unhealthy", "error")]
    sound = page.status == 200 and told == "healthy"
    return Finding(
        status=Status.OK if sound else Status.WARNING,
        template="{code}, “{told}”." if sound else "{code}, “{told}”; components that are ill: {ill}.",
        facts={"code": page.status, "told": told, "ill": ", ".join(ill) or "none named"},
        measured=float(page.status),
        source="web",
        query=f"GET {scene.service.health}",
    )


def component_health(scene: Scene, *, component: str) -> Finding:
    """What does the health page say of {component}?"""
    scene.need_live("web")
    page = scene.sources.web.page(scene.service.health)
    if "status" not in page.components.get(component, {}):
        raise NonsenseError(
            f"the health page does not speak of {component}", system="web", target=scene.service.url
        )
    state = str(page.components[component]["status"])
    if state not in (*_SOUND, *_ILL):
        raise NonsenseError(
            f"the health page calls {component} “{state[:80]}”, which may mean anything",
            system="web",
            target=scene.service.url,
        )
    return Finding(
        status=Status.WARNING if state in _ILL else Status.OK,
        template="{component} is “{state}”.",
        facts={"component": component, "state": state},
        source="web",
        query=f"GET {scene.service.health}",
    )


def key_functions(scene: Scene) -> Finding:
    """Do the functions that matter work, by a real request?

    Each must answer with a status below 300 and JSON. Another page may be a login, or anybody's: UNKNOWN.
    """
    scene.need_live("web")
    probes = scene.service.key_functions
    if not probes:
        raise NotConfiguredError(
            "the service names no key functions",
            system="web",
            remedy="add `key_functions` to the service in the environment's file",
        )
    web = scene.sources.web
    pages = side_by_side([partial(web.page, one.path) for one in probes])
    rows = pd.DataFrame(
        [
            {"function": one.name, "status": page.status, "seconds": page.seconds}
            for one, page in zip(probes, pages, strict=True)
        ]
    )
    failed = rows[rows["status"] >= 400]
    strange = [
        one.name
        for one, page in zip(probes, pages, strict=True)
        if page.status < 400 and not _is_answer(page)
    ]
    if strange and failed.empty:
        return unknown(
            Reason.NONSENSE,
            "web at {where} answers these with something else than JSON: {names}.",
            facts={"where": scene.service.url, "names": ", ".join(strange)},
            source="web",
            query=", ".join(f"GET {one.path}" for one in probes),
            rows=rows,
        )
    return Finding(
        status=Status.WARNING if len(failed) else Status.OK,
        template="These fail: {names}." if len(failed) else "All {count} work.",
        facts={"names": ", ".join(failed["function"]), "count": len(rows)},
        measured=float(len(failed)),
        unit="count",
        source="web",
        query=", ".join(f"GET {one.path}" for one in probes),
        rows=rows,
    )


def _is_answer(page: Page) -> bool:
    return page.status < 300 and page.json is not None
