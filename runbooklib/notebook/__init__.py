"""Every name that a notebook uses: `from runbooklib.notebook import *` gives exactly those in `__all__`.

They are not in `runbooklib` itself, so that the command line starts without loading pandas. `incident` is the
one that is open; before there is one, it says so when it is asked something.
"""

from typing import TYPE_CHECKING, Any

from runbooklib.actions.containers import list_sandboxes, raise_memory_limit, read_log, restart_container
from runbooklib.actions.database import cancel_query, end_session, fit_pool_size, terminate_idle_transactions
from runbooklib.actions.dependencies import (
    break_circuit,
    look_at_dependency,
    set_timeout,
    use_backup_provider,
    use_fallback_mode,
)
from runbooklib.actions.deployments import revert_commit, roll_back
from runbooklib.actions.silences import look_at_targets, silence_alert
from runbooklib.checks.ai import (
    ai_error_rate,
    ai_load,
    ai_response_time,
    ai_tokens,
    tokens_by_model,
    tokens_per_request,
)
from runbooklib.checks.alert_rule import alert_expression, alert_rule, firing_alert, related_alerts
from runbooklib.checks.containers import (
    container_cpu,
    container_deaths,
    container_memory,
    container_state,
    memory_usage,
    out_of_memory,
    process_restarts,
)
from runbooklib.checks.database import (
    connection_usage,
    database_answers,
    dead_rows,
    full_scans,
    idle_transactions,
    lock_waits,
    long_queries,
)
from runbooklib.checks.database_client import (
    connections_in_use,
    database_errors,
    query_load,
    query_time,
    slow_operations,
)
from runbooklib.checks.dependencies import (
    component_health,
    dependencies_reachable,
    health_page,
    key_functions,
)
from runbooklib.checks.deployments import (
    deployments,
    errors_since_deployment,
    running_revision,
    slower_since_deployment,
)
from runbooklib.checks.health_components import component_status, gauge_ever_set, health_page_contradicted
from runbooklib.checks.logs import (
    DATABASE_UNREACHABLE,
    DEPENDENCY_FAILED,
    POOL_EXHAUSTED,
    PROVIDER_REFUSES,
    PROVIDER_TIMEOUT,
    SANDBOX_FULL,
    SANDBOX_KILLED,
    SANDBOX_TIMEOUT,
    STARTUP_FAILED,
    TOO_MANY_FILES,
    log_lines,
    new_exceptions,
)
from runbooklib.checks.resources import (
    cpu_per_request,
    cpu_usage,
    descriptor_growth,
    descriptor_limit,
    descriptor_usage,
    descriptors_besides_requests,
    memory_growth,
    memory_per_request,
    resident_memory,
)
from runbooklib.checks.sandbox import (
    failing_languages,
    pool_as_told,
    sandbox_error_rate,
    sandbox_load,
    sandbox_pool,
    sandbox_throughput,
    sandbox_time,
    sandboxes_in_use,
    slow_languages,
)
from runbooklib.checks.scrape import alive_though_unscraped, scraped, service_reachable
from runbooklib.checks.traffic import (
    busy_endpoints,
    error_rate,
    failing_endpoints,
    failing_instances,
    request_rate,
    requests_in_progress,
    response_time,
    slow_endpoints,
    status_codes,
    steady_counters,
    traffic_surge,
)
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.session import current, open_incident

if TYPE_CHECKING:
    incident: Incident


def __getattr__(name: str) -> Any:
    if name == "incident":
        return current()
    raise AttributeError(f"runbooklib.notebook has no {name}")


__all__ = [
    "DATABASE_UNREACHABLE",
    "DEPENDENCY_FAILED",
    "POOL_EXHAUSTED",
    "PROVIDER_REFUSES",
    "PROVIDER_TIMEOUT",
    "SANDBOX_FULL",
    "SANDBOX_KILLED",
    "SANDBOX_TIMEOUT",
    "STARTUP_FAILED",
    "TOO_MANY_FILES",
    "ai_error_rate",
    "ai_load",
    "ai_response_time",
    "ai_tokens",
    "alert_expression",
    "alert_rule",
    "alive_though_unscraped",
    "break_circuit",
    "busy_endpoints",
    "cancel_query",
    "component_health",
    "component_status",
    "connection_usage",
    "connections_in_use",
    "container_cpu",
    "container_deaths",
    "container_memory",
    "container_state",
    "cpu_per_request",
    "cpu_usage",
    "database_answers",
    "database_errors",
    "dead_rows",
    "dependencies_reachable",
    "deployments",
    "descriptor_growth",
    "descriptor_limit",
    "descriptor_usage",
    "descriptors_besides_requests",
    "end_session",
    "error_rate",
    "errors_since_deployment",
    "failing_endpoints",
    "failing_instances",
    "failing_languages",
    "firing_alert",
    "fit_pool_size",
    "full_scans",
    "gauge_ever_set",
    "health_page",
    "health_page_contradicted",
    "idle_transactions",
    "incident",
    "key_functions",
    "list_sandboxes",
    "lock_waits",
    "log_lines",
    "long_queries",
    "look_at_dependency",
    "look_at_targets",
    "memory_growth",
    "memory_per_request",
    "memory_usage",
    "new_exceptions",
    "open_incident",
    "out_of_memory",
    "pool_as_told",
    "process_restarts",
    "query_load",
    "query_time",
    "raise_memory_limit",
    "read_log",
    "related_alerts",
    "request_rate",
    "requests_in_progress",
    "resident_memory",
    "response_time",
    "restart_container",
    "revert_commit",
    "roll_back",
    "running_revision",
    "sandbox_error_rate",
    "sandbox_load",
    "sandbox_pool",
    "sandbox_throughput",
    "sandbox_time",
    "sandboxes_in_use",
    "scraped",
    "service_reachable",
    "set_timeout",
    "silence_alert",
    "slow_endpoints",
    "slow_languages",
    "slow_operations",
    "slower_since_deployment",
    "status_codes",
    "steady_counters",
    "terminate_idle_transactions",
    "tokens_by_model",
    "tokens_per_request",
    "traffic_surge",
    "use_backup_provider",
    "use_fallback_mode",
]
