"""The health pages. Only the database makes the backend unhealthy, as in production."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from .database import Database
from .metrics import HEALTH
from .sandbox import WORKERS, Sandbox

SOUND_QUERY = "SELECT 1 AS one"
LYING_QUERY = (
    "SELECT count(*) AS one FROM agent_sessions"  # no such table: the page is wrong, not the database
)


def database_health(database: Database) -> dict[str, str]:
    """Run a query on the database, and return the component's state."""
    sql = LYING_QUERY if database.faults.switches.health_lies else SOUND_QUERY
    try:
        database.query("health", sql)
    except SQLAlchemyError as error:
        HEALTH.labels(component="database").set(0)
        return {"status": "unhealthy", "message": str(error).splitlines()[0]}
    HEALTH.labels(component="database").set(1)
    return {"status": "healthy", "message": "Database connection successful"}


def pool_stats(sandbox: Sandbox) -> dict[str, Any]:
    """The numbers of free and busy workers."""
    return {
        "status": "healthy",
        "available_containers": WORKERS - sandbox.busy,
        "in_use_containers": sandbox.busy,
    }


def health(database: Database, sandbox: Sandbox, version: str) -> dict[str, Any]:
    """The whole page. Sets the gauges that the alert rules read."""
    components = {
        "database": database_health(database),
        "sandbox_pool": pool_stats(sandbox),
        "ai_service": {"status": "configured"},
    }
    sound = components["database"]["status"] == "healthy"
    HEALTH.labels(component="api").set(1)
    HEALTH.labels(component="sandbox").set(1)
    HEALTH.labels(component="ai_service").set(1)
    return {
        "status": "healthy" if sound else "unhealthy",
        "timestamp": datetime.now(UTC).isoformat(),
        "version": version,
        "components": components,
    }
