"""Who gets in to PostgreSQL: we with our own login, and the service with its login."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from runbooklib.checks.logs import log_lines
from runbooklib.checks.registry import check
from runbooklib.checks.sqlstates import DATABASE_LOST, DATABASE_REFUSES, sqlstate_in
from runbooklib.errors import (
    NoDataError,
    NotConfiguredError,
    NotRecordedError,
    Reason,
    RefusedError,
    SourceError,
    UnreachableError,
)
from runbooklib.model.findings import Fact, Finding, Status, unknown
from runbooklib.sources.context import Context
from runbooklib.sources.postgres.connections import Connections
from runbooklib.sources.postgres.login import INTERRUPTED_DROP, Login
from runbooklib.sources.postgres.refusal import CONNECTION_REFUSED, NO_DATABASE, POOLER_WITHOUT_SERVER

_CLOSED = "55000"
_DROPPED = "57P04"
_NO_RESOURCE = "53"
# What a refusal says about the server as a whole, by its code. Any other code is about our own login.
_REFUSALS = {
    CONNECTION_REFUSED: "No database server listens at {target}: connections are refused.",
    POOLER_WITHOUT_SERVER: "The connection pooler cannot reach the database server: “{text}”",
    "57P03": "The database server is starting, stopping or recovering: “{text}”",
    NO_DATABASE: "The database does not exist: “{text}”",
    _DROPPED: "The database was removed: “{text}”",
    _CLOSED: "The database is closed to connections: “{text}”",
    _NO_RESOURCE: "The database server lacks a resource for a connection: “{text}”",
}
_LOGGED = (
    "The database refuses the service, SQLSTATE {code}: log entries: {count}, first at {first:time}: “{line}”"
)
_LOGGED_LOSS = (
    "The service cannot connect to its database, or loses the connection: log entries: {count}, first at"
    " {first:time}: “{line}”"
)
_NOT_LOGGED = (
    "The service's log has no sign of a refusal by the database since {since:time} (routine lines not"
    " searched: {quiet})."
)
_NOT_NAMED = (
    "Only the service's log was read: the environment's file does not name the role and the database of the"
    " service."
)
_NO_SESSION = "No session of the role is open, so nothing shows that its password is right."
_LOG_QUERY = "SQLSTATE, exception class"
_QUERY = "pg_roles, pg_database, pg_stat_activity"
_OF_ONE_DATABASE = frozenset((NO_DATABASE, _DROPPED, _CLOSED))


def connections_of(context: Context) -> Connections:
    """The connections of the server. Raises RefusedError if only our own role has none left."""
    connections = context.sources.postgres.connections()
    if connections.refused_role:
        raise RefusedError(
            f"the connection limit of our own role {connections.refused_role} is reached:"
            f" {connections.refused}",
            system="postgres",
            target=context.sources.postgres.target,
            hint="raise the CONNECTION LIMIT of the user of systems.postgres",
        )
    return connections


@check
def database_answers(context: Context) -> Finding:
    """Does the database answer our own query?

    Connects and counts the other sessions. CRITICAL if the server refuses everybody: nothing listens at its
    address, it is starting, stopping or recovering, no slot is left, or the database does not exist or is
    closed to connections. UNKNOWN if it refuses only our login (password, role, pg_hba.conf, TLS, the limit
    of our role), and if it cannot be reached or does not answer in time.
    """
    context.need_live("postgres")
    try:
        connections = connections_of(context)
    except (RefusedError, UnreachableError) as error:
        return _refusal(context, error)
    if connections.refused:
        return Finding(
            status=Status.CRITICAL,
            template="The database refuses connections, because none is left: “{text}”",
            facts={"text": connections.refused},
            source="postgres",
            query="connect",
        )
    return Finding(
        status=Status.OK,
        template="The database answers; {used} of {most} connections are in use.",
        facts={"used": connections.used, "most": connections.max_connections},
        source="postgres",
        query="connect",
    )


def _refusal(context: Context, error: RefusedError | UnreachableError) -> Finding:
    """CRITICAL if the refusal is about the server as a whole. Raises the error otherwise."""
    service = context.service.database
    is_other = service is not None and service.name != context.sources.postgres.database
    if error.code in _OF_ONE_DATABASE and is_other:
        raise RefusedError(
            error.message,
            code=error.code,
            system=error.system,
            target=error.target,
            hint="the service uses another database: fix dbname of systems.postgres",
        ) from error
    kind = _NO_RESOURCE if error.code.startswith(_NO_RESOURCE) else error.code
    if kind not in _REFUSALS:
        raise error
    return Finding(
        status=Status.CRITICAL,
        template=_REFUSALS[kind],
        facts={"text": error.message, "target": error.target},
        source="postgres",
        query="connect",
    )


@check
def service_login(context: Context) -> Finding:
    """Does the database let the service log in?

    Two witnesses. The server, asked with our own login about the role and the database that `database` of the
    service names: may the role log in, has it expired, are its limit or that of the database reached, does
    the database accept connections. And the service's own log, by SQLSTATE and exception class. CRITICAL if
    either says that the service is refused; WARNING if the log says that the connection is missing or lost.
    OK needs both, or the server and an open session of the service, or the log if the environment names no
    `database`.
    """
    logged = _answer(lambda: _logged(context))
    if context.service.database is None:
        return _by_log_alone(logged)
    asked = _answer(lambda: _asked(context))
    if isinstance(asked, SourceError):
        return _without_server(asked, logged)
    if asked.status is not Status.OK:
        return asked if isinstance(logged, SourceError) else _beside(asked, logged)
    if isinstance(logged, Finding) and logged.status >= Status.WARNING:
        return _beside(logged, asked)
    if isinstance(logged, Finding) and logged.status is Status.OK:
        return _beside(asked, logged)
    return _without_log(asked, logged)


def _answer(question: Callable[[], Finding]) -> Finding | SourceError:
    """The finding of a witness, or the reason why it gives none."""
    try:
        return question()
    except SourceError as error:
        return error
    except NotRecordedError as error:
        # Evidence that is older than this question must still replay.
        return NoDataError("the recording does not contain this question", system=error.system)


def _logged(context: Context) -> Finding:
    """What the log says: CRITICAL if the server refused the service, WARNING if a connection is missing."""
    about = "a database that refuses the service"
    refused = log_lines(context, matching=DATABASE_REFUSES, about=about)
    lost = log_lines(context, matching=DATABASE_LOST, about=about)
    is_refused = refused.status is Status.WARNING
    finding = refused if is_refused else lost
    if finding.status is Status.OK:
        return replace(finding, template=_NOT_LOGGED, query=_LOG_QUERY)
    if finding.status is not Status.WARNING:
        return replace(finding, query=_LOG_QUERY)
    return replace(
        finding,
        status=Status.CRITICAL if is_refused else Status.WARNING,
        template=_LOGGED if is_refused else _LOGGED_LOSS,
        facts={**finding.facts, "code": sqlstate_in(str(finding.facts["line"]))},
        query=_LOG_QUERY,
    )


def _asked(context: Context) -> Finding:
    """What the server says about the role and the database of the service."""
    context.need_live("postgres")
    service = context.service.database
    if service is None:
        raise NotConfiguredError("the service names no database", system="postgres")
    login = context.sources.postgres.login(service.role, service.name)
    template = next((sentence for is_true, sentence in _obstacles(login) if is_true), "")
    return Finding(
        status=Status.CRITICAL if template else Status.OK,
        template=template or "The server lets role “{role}” log in to database “{database}”.",
        facts={
            "role": service.role,
            "database": service.name,
            "role_used": login.role_used,
            "role_limit": login.role_limit,
            "database_used": login.database_used,
            "database_limit": login.database_limit,
            "expired": login.expired_at,
            "sessions": login.sessions,
        },
        source="postgres",
        query=_QUERY,
    )


def _obstacles(login: Login) -> Iterator[tuple[bool, str]]:
    """(whether it is so, sentence) of each reason for which the server refuses the login, in its order."""
    is_limited = not login.is_superuser
    yield not login.has_role, "The service's role “{role}” does not exist."
    yield not login.can_login, "The service's role “{role}” may not log in (NOLOGIN)."
    yield (
        login.is_expired and not login.began_after_expiry,
        "The password of the service's role “{role}” has expired: VALID UNTIL {expired:time}.",
    )
    yield not login.has_database, "The service's database “{database}” does not exist."
    yield (
        not login.allows_connections,
        "The service's database “{database}” accepts no connections (ALLOW_CONNECTIONS is false).",
    )
    yield (
        login.database_limit == INTERRUPTED_DROP,
        "The service's database “{database}” is invalid: its removal was interrupted.",
    )
    yield (
        not login.may_connect,
        "The service's role “{role}” has no right to connect to database “{database}” (CONNECT).",
    )
    yield (
        is_limited and 0 <= login.role_limit <= login.role_used,
        "The connection limit of the service's role “{role}” is reached: {role_used} of {role_limit}.",
    )
    yield (
        is_limited and 0 <= login.database_limit <= login.database_used,
        "The connection limit of database “{database}” is reached: {database_used} of {database_limit}.",
    )


def _beside(finding: Finding, other: Finding) -> Finding:
    """The finding, with what the other witness says. Both are about the same service."""
    return replace(
        finding,
        further_templates=(*finding.further_templates, other.template, *other.further_templates),
        facts={**other.facts, **finding.facts},
        since=finding.since or other.since,
    )


def _by_log_alone(logged: Finding | SourceError) -> Finding:
    """The answer if the environment does not name the login of the service."""
    if isinstance(logged, SourceError):
        raise NotConfiguredError(
            f"the service names no database, and its log gives no answer: {logged}",
            system="postgres",
            hint="add `database` with role and name to the service in the environment's file",
        )
    return replace(logged, further_templates=(*logged.further_templates, _NOT_NAMED))


def _without_server(error: SourceError, logged: Finding | SourceError) -> Finding:
    """The answer if our own session gets no answer: what the log says decides, but cannot make it OK."""
    facts: dict[str, Fact] = {"error": str(error)}
    if isinstance(logged, SourceError):
        return unknown(
            error.reason,
            "{error}. The service's log gives no answer either: {log_error}",
            facts={**facts, "log_error": str(logged)},
            source="postgres",
            query=_QUERY,
        )
    if logged.status >= Status.WARNING:
        further = (*logged.further_templates, "The server itself gives no answer: {error}")
        return replace(logged, further_templates=further, facts={**logged.facts, **facts})
    return unknown(
        error.reason,
        "{error}.",
        further_templates=(logged.template,),
        facts={**logged.facts, **facts},
        source="postgres",
        query=_QUERY,
    )


def _without_log(asked: Finding, logged: Finding | SourceError) -> Finding:
    """The answer if the server lets the service in, and the log cannot show a refusal.

    The server cannot know a wrong password of the service; an open session shows that it is right.
    """
    if asked.facts["sessions"]:
        sessions = "Open sessions of the role in the database: {sessions}."
        return replace(asked, further_templates=(sessions,))
    if isinstance(logged, SourceError):
        return unknown(
            logged.reason,
            asked.template,
            further_templates=(_NO_SESSION, "The service's log gives no answer: {log_error}"),
            facts={**asked.facts, "log_error": str(logged)},
            source="postgres",
            query=_QUERY,
        )
    return unknown(
        logged.reason or Reason.NO_DATA,
        asked.template,
        further_templates=(_NO_SESSION, logged.template),
        facts={**logged.facts, **asked.facts},
        source="postgres",
        query=_QUERY,
    )
