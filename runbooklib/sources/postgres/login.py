"""May a role log in to a database? What the server's catalogs say about both."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runbooklib.sources.postgres.session import Transaction

# The connection limit of a database whose DROP was interrupted.
INTERRUPTED_DROP = -2
# VALID UNTIL stops only logins by password: a session that began later shows that there is another way.
_LOGIN = """
select r.oid is not null as has_role, coalesce(r.rolcanlogin, false) as can_login,
       coalesce(r.rolsuper, false) as is_superuser, coalesce(r.rolconnlimit, -1) as role_limit,
       coalesce(r.rolvaliduntil <= clock_timestamp(), false) as is_expired,
       case when r.rolvaliduntil <= clock_timestamp() and isfinite(r.rolvaliduntil)
            then greatest(extract(epoch from r.rolvaliduntil), 0)::float8 end as expired_at,
       (select count(*)::int from pg_stat_activity a where a.usesysid = r.oid and a.pid <> pg_backend_pid()
        and coalesce(a.backend_type, 'client backend') = 'client backend') as role_used,
       (select count(*)::int from pg_stat_activity a where a.usesysid = r.oid and a.datid = d.oid
        and a.pid <> pg_backend_pid()
        and coalesce(a.backend_type, 'client backend') = 'client backend') as sessions,
       exists (select from pg_stat_activity a where a.usesysid = r.oid and a.datid = d.oid
        and a.pid <> pg_backend_pid() and a.backend_start > r.rolvaliduntil) as began_after_expiry,
       d.oid is not null as has_database, coalesce(d.datallowconn, false) as allows_connections,
       coalesce(d.datconnlimit, -1) as database_limit,
       (select count(*)::int from pg_stat_activity a where a.datid = d.oid and a.pid <> pg_backend_pid()
        and coalesce(a.backend_type, 'client backend') = 'client backend') as database_used,
       coalesce(has_database_privilege(r.oid, d.oid, 'connect'), false) as may_connect
from (select 1) as asked
left join pg_roles r on r.rolname = %s
left join pg_database d on d.datname = %s
"""


@dataclass(frozen=True, slots=True)
class Login:
    """A role, a database, and what the server knows of both; all counts are without our own session.

    `role_limit`, `database_limit`: the maximum number of connections; negative for no limit, INTERRUPTED_DROP
    for a database whose removal was interrupted. `expired_at`: aware UTC, None if it is unknown.
    `sessions`: open sessions of the role in the database.
    """

    has_role: bool
    can_login: bool
    is_superuser: bool
    role_limit: int
    role_used: int
    is_expired: bool
    expired_at: datetime | None
    began_after_expiry: bool
    has_database: bool
    allows_connections: bool
    database_limit: int
    database_used: int
    may_connect: bool
    sessions: int

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Login":
        """The login of an answer of `read_login`."""
        seconds = answer["expired_at"]
        expired_at = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
        return cls(**{**answer, "expired_at": expired_at})


def read_login(ask: Transaction, role: str, database: str) -> dict[str, Any]:
    """The login as JSON, for `Login.of`."""
    columns, rows, _ = ask.table(_LOGIN, (role, database))
    return dict(zip(columns, rows[0], strict=True))
