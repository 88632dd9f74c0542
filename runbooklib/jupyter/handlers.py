"""The pages of the extension. Slow work and requests to systems run in a thread with a deadline."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from runbooklib import files
from runbooklib.config.site_secrets import environment_secrets
from runbooklib.errors import (
    EvidenceError,
    MissingSecretError,
    RunbookError,
    SettingsError,
    UnknownAlertError,
)
from runbooklib.evidence import runs
from runbooklib.jupyter import alert_link, prepare, start_page
from runbooklib.jupyter.prepare import PreparedNotebook
from runbooklib.redact.redactor import Depth, Redactor
from runbooklib.render import start_page_html

T = TypeVar("T")
_DEADLINE_SECONDS = 20.0
_EVIDENCE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)


class Page(JupyterHandler):
    """A page for logged-in users. Other users go through the login page and return with the same query."""

    auth_resource = "contents"
    policy = start_page_html.POLICY

    def initialize(self, root: Path, threads: ThreadPoolExecutor) -> None:
        """`root` is the folder that JupyterLab shows; `threads` do what takes time."""
        self.root = root
        self.threads = threads

    @property
    def content_security_policy(self) -> str:
        """Nothing runs, and nothing is loaded."""
        return self.policy

    def set_default_headers(self) -> None:
        """No cache stores a page, and other sites do not receive its address as referrer."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Content-Type", "text/html; charset=UTF-8")

    async def prepare(self) -> None:  # type: ignore[override] # as in jupyter_server itself
        """The login page takes a colon in the address that it leads back to for the end of a scheme."""
        path, mark, query = (self.request.uri or "").partition("?")
        self.request.uri = path + mark + query.replace(":", "%3A")
        ready = super().prepare()
        if ready is not None:
            await ready

    async def in_time(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run the function in a thread and return its result. Raises HTTPError (504) after the deadline."""
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(
                loop.run_in_executor(self.threads, function, *arguments), _DEADLINE_SECONDS
            )
        except TimeoutError:
            raise web.HTTPError(504, "this took longer than %d seconds", _DEADLINE_SECONDS) from None

    def refuse(self, status: int, message: str, hint: str = "") -> None:
        """Send a page with the reason for the refusal and a hint, both redacted."""
        redactor = Redactor(environment_secrets())
        message, hint = (redactor.text(text, Depth.SECRETS) for text in (message, hint))
        self.set_status(status)
        self.finish(start_page_html.refusal(message, hint, f"{self.base_url}{alert_link.PAGE}"))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado's and Jupyter's own errors, on a page of ours: theirs has scripts."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        message = getattr(error, "log_message", "") or ""
        args = getattr(error, "args", ())
        try:
            text = message % args if args else message
        except (TypeError, ValueError):
            text = message
        self.refuse(status_code, text or "The server failed; its log says why.")


class Start(Page):
    """`GET runbooks`: what fires, all runbooks, recent evidence."""

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator] # jupyter_server's
    async def get(self) -> None:
        """The page."""
        try:
            query = alert_link.parse_query(self.request.query)
        except RunbookError as error:
            self.refuse(400, error.message, error.hint)
            return
        board = await self.in_time(start_page.gather_board, self.base_url, query, datetime.now(UTC))
        self.finish(start_page_html.start_page(board))


class Open(Page):
    """`GET runbooks/open?alertname=…`: prepare the incident's notebook, and go there."""

    @web.authenticated
    @authorized("write")  # type: ignore[untyped-decorator] # jupyter_server's
    async def get(self) -> None:
        """Redirect to the notebook, or send the reason why it cannot be prepared."""
        if not _is_click(self.request.headers):
            self.refuse(403, "A runbook is opened in a window of its own.", "Click the link.")
            return
        try:
            prepared = await self.in_time(_prepare_notebook, self.request.query, self.root)
        except RunbookError as error:
            self.log.warning("runbooks/open: %s", type(error).__name__)
            self.refuse(_status_code(error), error.message, error.hint)
            return
        if prepared.unread:
            self.log.warning("runbooks/open: whether a headless run is there is unknown: %s", prepared.unread)
        self.redirect(f"{self.base_url}lab/tree/{quote(prepared.path)}")


class Evidence(Page):
    """`GET runbooks/evidence/<bundle>`: the page of a bundle, as it was sealed."""

    policy = _EVIDENCE_POLICY

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator] # jupyter_server's
    async def get(self, bundle: str) -> None:
        """The page; 404 for a bundle that the ledger does not list."""
        try:
            content = await self.in_time(_evidence_page, bundle)
        except RunbookError as error:
            self.refuse(_status_code(error), error.message, error.hint)
            return
        if content is None:
            self.refuse(404, "There is no evidence of that name.")
            return
        self.finish(content)


def _is_click(headers: Mapping[str, str]) -> bool:
    """Whether somebody may have clicked: a picture, a frame or a script of another site's page is no click.

    Browsers say so and no page can change it; who says nothing is no browser, or an old one.
    """
    place = headers.get("Sec-Fetch-Dest", "document")
    if headers.get("Sec-Fetch-Site", "none") in ("cross-site", "same-site"):
        return (headers.get("Sec-Fetch-Mode"), place) == ("navigate", "document")
    return place in ("document", "empty")


def _prepare_notebook(query: str, root: Path) -> PreparedNotebook:
    now = datetime.now(UTC)
    return prepare.prepare(alert_link.read(query, now), root, now)


def _evidence_page(bundle: str) -> bytes | None:
    try:
        return runs.page_of(runs.evidence_place(), bundle)
    except OSError as error:
        raise EvidenceError(f"the evidence cannot be read: {files.trouble(error)}") from None


def _status_code(error: RunbookError) -> int:
    if isinstance(error, UnknownAlertError):
        return 404
    # What the site's own files lack, or its disk, is no fault of the link.
    return 500 if isinstance(error, SettingsError | MissingSecretError | EvidenceError) else 400


def routes(base_url: str, root: Path, threads: ThreadPoolExecutor) -> list[Any]:
    """The extension's addresses, below the server's own."""
    shared = {"root": root, "threads": threads}
    return [
        (f"{base_url}{alert_link.PAGE}/?", Start, shared),
        (f"{base_url}{alert_link.OPEN}", Open, shared),
        (rf"{base_url}{alert_link.PAGE}/evidence/([^/]+)", Evidence, shared),
    ]
