"""Every name that a notebook uses: `from runbooklib.notebook import *` gives exactly those in `__all__`.

They are not in `runbooklib` itself, so that the command line starts without loading pandas.
"""

from runbooklib.actions.containers import raise_memory_limit, read_log, restart_container
from runbooklib.actions.database import terminate_idle_transactions
from runbooklib.actions.dependencies import look_at_dependency, use_fallback_mode
from runbooklib.actions.deploys import revert_commit, roll_back
from runbooklib.checks.ai import ai_error_rate
from runbooklib.checks.alerting import alert_rule, firing_alert, related_alerts
from runbooklib.checks.changes import deployments, errors_since_deployment, running_revision
from runbooklib.checks.containers import (
    container_deaths,
    container_state,
    memory_usage,
    out_of_memory,
    process_restarts,
)
from runbooklib.checks.database import connection_usage, database_errors, idle_transactions, lock_waits
from runbooklib.checks.dependencies import (
    component_health,
    dependencies_reachable,
    health_page,
    key_functions,
)
from runbooklib.checks.latency import response_time, slow_endpoints
from runbooklib.checks.logs import DEPENDENCY_FAILED, POOL_EXHAUSTED, log_lines, new_exceptions
from runbooklib.checks.traffic import (
    error_rate,
    failing_endpoints,
    failing_instances,
    request_rate,
    status_codes,
)
from runbooklib.session import open_incident

__all__ = [
    "DEPENDENCY_FAILED",
    "POOL_EXHAUSTED",
    "ai_error_rate",
    "alert_rule",
    "component_health",
    "connection_usage",
    "container_deaths",
    "container_state",
    "database_errors",
    "dependencies_reachable",
    "deployments",
    "error_rate",
    "errors_since_deployment",
    "failing_endpoints",
    "failing_instances",
    "firing_alert",
    "health_page",
    "idle_transactions",
    "key_functions",
    "lock_waits",
    "log_lines",
    "look_at_dependency",
    "memory_usage",
    "new_exceptions",
    "open_incident",
    "out_of_memory",
    "process_restarts",
    "raise_memory_limit",
    "read_log",
    "related_alerts",
    "request_rate",
    "response_time",
    "restart_container",
    "revert_commit",
    "roll_back",
    "running_revision",
    "slow_endpoints",
    "status_codes",
    "terminate_idle_transactions",
    "use_fallback_mode",
]
