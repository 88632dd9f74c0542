"""PostgreSQL through SQLAlchemy's queue pool, so that all error texts about connections are real."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from .faults import Faults, Switches
from .metrics import DB_ACTIVE, DB_DURATION, DB_ERRORS

POOL_SIZE = 5
MAX_OVERFLOW = 61  # 66 in total, more than the 64 that the role may use: the same mistake as in production
POOL_TIMEOUT_SECONDS = 1
RECONNECT_SECONDS = 0.5
LEAKING_OPERATION = "list_conversations"


@dataclass(slots=True)
class Database:
    """The pool, and the connections that a leak holds."""

    engine: Engine
    faults: Faults
    leaked: list[Connection] = field(default_factory=list)

    def query(self, operation: str, sql: str, **values: object) -> list[dict[str, Any]]:
        """Run a statement, and measure its time. A failure is counted and raised unchanged."""
        started = time.perf_counter()
        try:
            return self._run(operation, sql, values)
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            DB_ERRORS.labels(operation=operation, error_type=type(cause).__name__).inc()
            raise
        finally:
            DB_DURATION.labels(operation=operation).observe(time.perf_counter() - started)

    def _run(self, operation: str, sql: str, values: Mapping[str, object]) -> list[dict[str, Any]]:
        connection = self.engine.connect()
        leak = self.faults.switches.leak_transactions and operation == LEAKING_OPERATION
        try:
            rows = [dict(row) for row in connection.execute(text(sql), values).mappings()]
            if not leak:
                connection.commit()
            return rows
        finally:
            if leak:
                self.leaked.append(connection)
            else:
                connection.close()

    def let_go(self, switches: Switches) -> None:
        """Release the leaked connections when the fault ends."""
        while self.leaked and not switches.leak_transactions:
            self.leaked.pop().close()


def open_database(url: str, faults: Faults) -> Database:
    """Create the pool. It connects at the first query."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=POOL_SIZE,
        max_overflow=MAX_OVERFLOW,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        connect_args={
            "application_name": "helloagents-backend",
            "connect_timeout": 2,
            "options": "-c statement_timeout=3000",
        },
    )
    event.listen(engine, "do_connect", connect_with_retry)
    DB_ACTIVE.set_function(lambda: float(checked_out(engine)))
    database = Database(engine, faults)
    faults.listen(database.let_go)
    return database


def checked_out(engine: Engine) -> int:
    """Connections in use now."""
    pool = engine.pool
    return pool.checkedout() if isinstance(pool, QueuePool) else 0


def connect_with_retry(
    dialect: Dialect, _record: ConnectionPoolEntry, arguments: list[Any], keywords: dict[str, Any]
) -> DBAPIConnection | None:
    """Try again after a short delay; meanwhile a refused connection uses a place in the pool.

    That is why an exhausted database shows both texts: the role's limit, and the pool's queue that timed out.
    """
    try:
        return dialect.connect(*arguments, **keywords)
    except dialect.loaded_dbapi.OperationalError:
        time.sleep(RECONNECT_SECONDS)
        return None  # SQLAlchemy then connects itself, and raises its own error
