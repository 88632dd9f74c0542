"""The service's dependencies, and its own health page."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import pandas as pd

from runbooklib.checks import unchanged
from runbooklib.checks.registry import check
from runbooklib.config.environment import Dependency
from runbooklib.errors import NonsenseError, NotConfiguredError, Reason
from runbooklib.model.findings import Fact, Finding, Status, unknown
from runbooklib.sources.context import Context
from runbooklib.sources.tape import side_by_side
from runbooklib.sources.web import Page

# The states of a component that a health page may report, in any case. Any other word is UNKNOWN.
DISABLED = ("disabled", "not_enabled", "skipped", "off")
HEALTHY = ("healthy", "ok", "up", "pass", "configured")
# What a page says about the whole service. A liveness page says "alive".
_HEALTHY_PAGE = (*HEALTHY, "alive", "live", "ready", "running")
_UNHEALTHY = ("unhealthy", "error", "not_configured", "degraded", "down")
# By the step at which reaching a dependency fails; the steps are those of `sources.dns.Reach.failed_at`.
_UNREACHABLE = {
    "dns": "Unreachable dependencies: {count} of {all}. Resolving the name {host} of {name}: {error}",
    "tcp": "Unreachable dependencies: {count} of {all}. Connecting to {name} at {host}: {error}",
    "tls": "Unreachable dependencies: {count} of {all}. TLS handshake with {name} at {host}: {error}",
}


@check
def dependencies_reachable(context: Context) -> Finding:
    """Can the dependencies be reached: name, port, certificate?

    Resolves the name of each configured dependency, connects to it and, for https, does the TLS handshake.
    """
    context.need_live("dns")
    dependencies = context.service.dependencies
    if not dependencies:
        raise NotConfiguredError(
            "the service has no dependencies",
            system="dns",
            hint="add `dependencies` to the service in the environment's file",
        )
    rows = _reach_rows(context, dependencies)
    failed = rows[rows["fails at"] != "-"]
    return Finding(
        status=Status.CRITICAL if len(failed) else Status.OK,
        template=_UNREACHABLE[failed["fails at"].iloc[0]]
        if len(failed)
        else "All {all} dependencies are reachable.",
        facts={"count": len(failed), "all": len(rows), **_first_failure(failed)},
        measured=float(len(failed)),
        unit="count",
        source="dns",
        query=", ".join(dependency.url for dependency in dependencies),
        rows=rows,
    )


def _reach_rows(scene: Context, dependencies: Sequence[Dependency]) -> pd.DataFrame:
    reach = scene.sources.dns.reach
    reached = side_by_side([partial(reach, dependency.url) for dependency in dependencies])
    return pd.DataFrame(
        [
            {
                "dependency": dependency.name,
                "host": result.host,
                "fails at": result.failed_at or "-",
                "error": result.error,
                "name seconds": result.dns_seconds,
                "connect seconds": result.tcp_seconds,
            }
            for dependency, result in zip(dependencies, reached, strict=True)
        ]
    )


def _first_failure(failed: pd.DataFrame) -> dict[str, Fact]:
    columns = {"name": "dependency", "host": "host", "step": "fails at", "error": "error"}
    return {fact: str(failed[column].iloc[0]) for fact, column in columns.items() if len(failed)}


@check
def health_page(context: Context) -> Finding:
    """What does the service's health page report?

    OK for HTTP status 200 and a word such as "healthy" or "alive". The page itself can be wrong, so other
    checks must confirm it. Since when it has been ill is known from the counter of its requests, or from the
    gauge of its components.
    """
    context.need_live("web")
    page = context.sources.web.page(context.service.health)
    state = _page_state(page)
    if not state:
        raise NonsenseError(
            f"the health page answered {page.status} without a JSON status",
            system="web",
            target=context.service.url,
        )
    components = page.components.items()
    unhealthy = [name for name, component in components if component.get("status") in ("unhealthy", "error")]
    is_healthy = page.status == 200 and state.lower() in _HEALTHY_PAGE
    template = "The health page answers {code}, state “{state}”."
    if unhealthy and not is_healthy:
        template = "The health page answers {code}, state “{state}”. Unhealthy components: {unhealthy}."
    return Finding(
        status=Status.OK if is_healthy else Status.WARNING,
        template=template,
        facts={"code": page.status, "state": state, "unhealthy": ", ".join(unhealthy)},
        measured=float(page.status),
        source="web",
        query=f"GET {context.service.health}",
        is_report=True,
        unchanged_since=None if is_healthy else _ill_since(context, page, unhealthy),
    )


def _page_state(page: Page) -> str:
    """The word of a health page for its own state; empty without one."""
    if isinstance(page.json, dict):
        return str(page.json.get("status", ""))
    word = page.text.strip().strip('"')
    return word if word.lower() in _HEALTHY_PAGE else ""


def _ill_since(context: Context, page: Page, unhealthy: Sequence[str]) -> datetime | None:
    """Since when the page has been as ill as now, as far as a series remembers it."""
    since = unchanged.page_since(context, context.service.health) if page.status >= 500 else None
    return since or unchanged.components_since(context, unhealthy)


@check
def component_health(context: Context, *, component: str) -> Finding:
    """What state of {component} does the health page report?"""
    context.need_live("web")
    page = context.sources.web.page(context.service.health)
    state = component_state(context, page, component)
    if state.lower() not in (*HEALTHY, *DISABLED, *_UNHEALTHY):
        raise NonsenseError(
            f"the health page reports an unknown state of {component}: “{state[:80]}”",
            system="web",
            target=context.service.url,
        )
    is_unhealthy = state.lower() in _UNHEALTHY
    return Finding(
        status=Status.WARNING if is_unhealthy else Status.OK,
        template="The health page reports {component} as “{state}”.",
        facts={"component": component, "state": state},
        source="web",
        query=f"GET {context.service.health}",
        is_report=True,
        unchanged_since=unchanged.components_since(context, [component]) if is_unhealthy else None,
    )


def component_state(context: Context, page: Page, component: str) -> str:
    """The word of the health page for the state of a component. Raises NonsenseError."""
    if "status" not in page.components.get(component, {}):
        raise NonsenseError(
            f"the health page reports no state of {component}", system="web", target=context.service.url
        )
    return str(page.components[component]["status"])


@check
def key_functions(context: Context) -> Finding:
    """Do the key functions of the service answer a real request?

    Each must answer with an HTTP status below 300 and JSON. Any other page below 400 may be a login page or
    that of another server: UNKNOWN.
    """
    context.need_live("web")
    functions = context.service.key_functions
    if not functions:
        raise NotConfiguredError(
            "the service has no key functions",
            system="web",
            hint="add `key_functions` to the service in the environment's file",
        )
    pages = side_by_side([partial(context.sources.web.page, function.path) for function in functions])
    names = [function.name for function in functions]
    return _judged_functions(
        names,
        pages,
        url=context.service.url,
        query=", ".join(f"GET {function.path}" for function in functions),
    )


def _judged_functions(names: list[str], pages: list[Page], *, url: str, query: str) -> Finding:
    """WARNING if one fails, UNKNOWN if one answers without JSON, else OK."""
    answers = list(zip(names, pages, strict=True))
    rows = pd.DataFrame(
        [{"function": name, "status": page.status, "seconds": page.seconds} for name, page in answers]
    )
    failed = [name for name, page in answers if page.status >= 400]
    unclear = [name for name, page in answers if page.status < 400 and not _is_answer(page)]
    if unclear and not failed:
        return unknown(
            Reason.NONSENSE,
            "Key functions at {url} that answer without JSON: {names}.",
            facts={"url": url, "names": ", ".join(unclear)},
            source="web",
            query=query,
            rows=rows,
        )
    return Finding(
        status=Status.WARNING if failed else Status.OK,
        template="Key functions that fail: {names}." if failed else "All {count} key functions work.",
        facts={"names": ", ".join(failed), "count": len(rows)},
        measured=float(len(failed)),
        unit="count",
        source="web",
        query=query,
        rows=rows,
    )


def _is_answer(page: Page) -> bool:
    return page.status < 300 and page.json is not None
