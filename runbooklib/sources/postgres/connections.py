"""How many connections a server has, who holds them, and which limits apply to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from runbooklib.sources.postgres.session import Transaction

_LIMITS = """
select current_setting('max_connections')::int as max_connections,
       current_setting('superuser_reserved_connections')::int
       + coalesce(current_setting('reserved_connections', true)::int, 0) as reserved,
       (select count(*)::int from pg_stat_activity
        where usesysid is not null and coalesce(backend_type, 'client backend') = 'client backend'
              and pid <> pg_backend_pid()) as used
"""
_GROUPS = """
select coalesce(usename, '') as usename, coalesce(application_name, '') as application_name,
       coalesce(state, '') as state, count(*)::int as count,
       max(extract(epoch from clock_timestamp() - state_change))::float8 as longest_seconds
from pg_stat_activity
where usesysid is not null and coalesce(backend_type, 'client backend') = 'client backend'
      and pid <> pg_backend_pid()
group by 1, 2, 3 order by 4 desc, 1, 2, 3
"""
_ROLE_LIMITS = """
select r.rolname as role, r.rolconnlimit as limit,
       (select count(*)::int from pg_stat_activity a
        where a.usesysid = r.oid and coalesce(a.backend_type, 'client backend') = 'client backend'
              and a.pid <> pg_backend_pid()) as used
from pg_roles r where r.rolcanlogin and r.rolconnlimit >= 0 and not r.rolsuper order by 1
"""


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections and their limits, without our own connection. All numbers are None if `refused` is set.

    `reserved`: slots that ordinary roles cannot use. `frame`: usename, application_name, state, count,
    longest_seconds (in this state). `role_limits`: role -> (used, limit). `refused`: the server's
    message if it had no slot left for us, else empty; `refused_role`: our role, if its own limit was reached.
    """

    max_connections: int | None
    reserved: int | None
    used: int | None
    frame: pd.DataFrame
    role_limits: dict[str, tuple[int, int]]
    refused: str
    refused_role: str = ""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Connections":
        """The connections of an answer of `read_connections` or `no_connections`."""
        columns = ["usename", "application_name", "state", "count", "longest_seconds"]
        return cls(
            **{name: answer["limits"].get(name) for name in ("max_connections", "reserved", "used")},
            frame=pd.DataFrame(answer["groups"], columns=columns),
            role_limits={row["role"]: (int(row["used"]), int(row["limit"])) for row in answer["roles"]},
            refused=answer["refused"],
            refused_role=answer.get("refused_role", ""),
        )

    @property
    def usage(self) -> float:
        """The highest used share (0–1) of a limit: of the server's slots, or of a role's own limit."""
        return self._fullest()[0]

    @property
    def fullest_role(self) -> str:
        """The role whose own limit has that share; "" for the slots of the server."""
        return self._fullest()[1]

    @property
    def fullest(self) -> str:
        """That limit as PostgreSQL names it: "server" or 'role "app"'."""
        return f'role "{self.fullest_role}"' if self.fullest_role else "server"

    def _fullest(self) -> tuple[float, str]:
        if self.refused:
            return 1.0, self.refused_role
        slots = (self.max_connections or 0) - (self.reserved or 0)
        shares = [((self.used or 0) / slots if slots > 0 else 1.0, "")]
        for role, (used, limit) in self.role_limits.items():
            shares.append((used / limit if limit else 1.0, role))
        return max(shares, key=lambda share: share[0])


def read_connections(ask: Transaction) -> dict[str, Any]:
    """The connections as JSON, for `Connections.of`."""
    return {
        "limits": ask.rows(_LIMITS)[0],
        "groups": ask.rows(_GROUPS),
        "roles": ask.rows(_ROLE_LIMITS),
        "refused": "",
    }


def no_connections(message: str, role: str) -> dict[str, Any]:
    """The same if no connection is left for us; `role` is ours if its own limit is the reason, else empty."""
    return {"limits": {}, "groups": [], "roles": [], "refused": message, "refused_role": role}
