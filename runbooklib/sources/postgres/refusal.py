"""Why a server refuses a connection: the fields of its ErrorResponse, whatever its language is.

For a connection that fails, libpq returns only text. So a second attempt, with the same parameters, host
and TLS, is traced, and the fields are read from the trace: C is the SQLSTATE, R the function that refused.
The trace contains the password exchange: it is kept in memory, and only the fields leave this module.
"""

import os
import re
import select
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn

NO_SLOT_LEFT = "53300"
PASSWORD_NEEDED = "28P01"  # noqa: S105 - a SQLSTATE
NO_DATABASE = "3D000"
# Codes of ours, for what has no SQLSTATE: nothing listens at the address (the name of an errno), and a pooler
# that answers in the place of a server which it cannot reach.
CONNECTION_REFUSED = "ECONNREFUSED"
POOLER_WITHOUT_SERVER = "pooler without server"
_MAX_TRACE_BYTES = 1_000_000
# The function of PostgreSQL that refuses a connection beyond a role's own limit, with SQLSTATE 53300 as well.
_ROLE_LIMIT_FUNCTION = "InitializeSessionUserId"
_ERROR_RESPONSE = re.compile(r"^B\t\d+\tErrorResponse\t(.*?)(?=^[BF]\t|\Z)", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r' ([A-Za-z]) "(.*?)"(?= [A-Za-z] "| \\x00|\s*\Z)', re.DOTALL)
# Poolers answer with a general SQLSTATE (pgbouncer before 1.24: always 08P01; pgcat: 58000). They do not
# translate their messages; these are the names of the exhausted setting, or the fixed words of a pooler
# without such a name.
_POOL_EXHAUSTED = re.compile(
    r"\bmax_client_conn\b|\bmax_(?:db|user)_(?:client_)?connections\b|\bquery_wait_timeout\b"  # pgbouncer
    r"|could not get connection from the pool"  # pgcat
    r"|waiting to acquire database connection"  # RDS Proxy
    r"|EMAXCONN|MaxClientsIn\w+Mode"  # Supavisor
)
# Of pgbouncer: a limit of the user alone, a database that its settings do not name, a server that it cannot
# reach.
_POOLER_USER_LIMIT = re.compile(r"\bmax_user_(?:client_)?connections\b")
_POOLER_NO_DATABASE = re.compile(r"^(?:no such database\b|database does not exist\b|no such database:)")
_POOLER_NO_SERVER = re.compile(r"\bserver_login_retry\b|^pgbouncer cannot connect to server$")
# Functions in the errors of PostgreSQL are names of its source; of a pooler, there is none, or this.
_POOLER_FUNCTIONS = ("", "pooler_error")
_HINTS = {
    "28P01": "check user and password_env of systems.postgres in the environment's file",
    "28000": "check the user of systems.postgres: LOGIN, pg_hba.conf, sslmode",
    "42501": "grant the user of systems.postgres CONNECT on the database",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server's answer to a connection attempt. `is_accepted`: this attempt was not refused."""

    code: str = ""
    message: str = ""
    function: str = ""
    is_accepted: bool = False

    @property
    def is_role_limit(self) -> bool:
        """Whether the role's own connection limit is reached, and not the limit of the server."""
        is_pooler_limit = self.function in _POOLER_FUNCTIONS and bool(_POOLER_USER_LIMIT.search(self.message))
        return self.code == NO_SLOT_LEFT and (self.function == _ROLE_LIMIT_FUNCTION or is_pooler_limit)

    @property
    def hint(self) -> str:
        """The next step for a person who configures our own login."""
        return _HINTS.get(self.code, "see the server's log")


class RefusalError(Exception):
    """The cause of the RefusedError of a connection: the fields of the server's answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def code_of(code: str, message: str, function: str) -> str:
    """The SQLSTATE of an error. A pooler's general code is replaced by what its fixed words mean."""
    if function not in _POOLER_FUNCTIONS:
        return code
    meanings = (
        (_POOL_EXHAUSTED, NO_SLOT_LEFT),
        (_POOLER_NO_SERVER, POOLER_WITHOUT_SERVER),
        (_POOLER_NO_DATABASE, NO_DATABASE),
    )
    return next((meaning for words, meaning in meanings if words.search(message)), code)


def read_refusal(parameters: Mapping[str, Any], seconds: float) -> Refusal | None:
    """Connect once more and read the answer. None if no server answered, or libpq cannot trace here."""
    with open(os.memfd_create("postgres-trace"), "r+b") as trace:  # noqa: PTH123 - a descriptor, not a path
        connection = pq.PGconn.connect_start(make_conninfo(**parameters).encode())
        try:
            connection.trace(trace.fileno())
            connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
            is_accepted = _connect(connection, time.monotonic() + seconds)
            needs_password = connection.needs_password
        except (psycopg.Error, OSError):
            return None
        finally:
            with suppress(psycopg.Error):
                connection.untrace()
            connection.finish()
        trace.seek(0)
        text = trace.read(_MAX_TRACE_BYTES).decode(errors="replace")
    if is_accepted:
        return Refusal(is_accepted=True)
    responses = _ERROR_RESPONSE.findall(text)
    if responses:
        return _refusal_of(responses[-1])
    message = "the server asks for a password, and none is configured"
    return Refusal(PASSWORD_NEEDED, message) if needs_password else None


def _refusal_of(response: str) -> Refusal:
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(f" {response.strip()}"):
        fields.setdefault(name, value)
    message, function = fields.get("M", "").partition("\n")[0], fields.get("R", "")
    return Refusal(code_of(fields.get("C", ""), message, function), message, function)


def _connect(connection: PGconn, ends: float) -> bool:
    """Whether the connection is accepted before `ends` (monotonic)."""
    while True:
        state = connection.connect_poll()
        if state in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            return state == pq.PollingStatus.OK
        remaining = ends - time.monotonic()
        waiting = select.poll()
        waiting.register(
            connection.socket, select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT
        )
        if remaining <= 0 or not waiting.poll(remaining * 1000):
            return False
