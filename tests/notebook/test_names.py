"""The names that notebooks rely on: a change here is a change for everybody's notebooks."""

import inspect
import re

from runbooklib import notebook
from runbooklib.model import findings
from runbooklib.notebook import incident, session

NAMES = """
DATABASE_UNREACHABLE DEPENDENCY_FAILED POOL_EXHAUSTED PROVIDER_REFUSES PROVIDER_TIMEOUT SANDBOX_FULL
SANDBOX_KILLED SANDBOX_TIMEOUT STARTUP_FAILED TOO_MANY_FILES ai_error_rate ai_load ai_response_time
ai_tokens alert_expression alert_rule alive_though_unscraped break_circuit busy_endpoints
cancel_query component_health component_status connection_usage connections_in_use container_cpu
container_deaths container_memory container_state cpu_per_request cpu_usage database_answers
database_errors dead_rows dependencies_reachable deployments descriptor_growth descriptor_limit
descriptor_usage descriptors_besides_requests end_session error_rate errors_since_deployment
failing_endpoints failing_instances failing_languages firing_alert fit_pool_size full_scans
gauge_ever_set health_page health_page_contradicted idle_transactions incident key_functions
list_sandboxes lock_waits log_lines long_queries look_at_dependency look_at_targets memory_growth
memory_per_request memory_usage new_exceptions open_incident out_of_memory pool_as_told
process_restarts query_load query_time raise_memory_limit read_log related_alerts request_rate
requests_in_progress resident_memory response_time restart_container revert_commit roll_back
running_revision sandbox_error_rate sandbox_load sandbox_pool sandbox_throughput sandbox_time
sandboxes_in_use scraped service_reachable set_timeout silence_alert slow_endpoints slow_languages
slow_operations slower_since_deployment status_codes steady_counters terminate_idle_transactions
tokens_by_model tokens_per_request traffic_surge use_backup_provider use_fallback_mode
"""
METHODS = (
    "ask_again basics cause check contacts context controls escalation findings history links logs marks "
    "note objectives prometheus query recovery sources sql timeline upkeep verdict"
)


def test_a_notebook_gets_exactly_these_names() -> None:
    assert sorted(notebook.__all__) == sorted(NAMES.split())


def test_an_incident_has_exactly_these_methods() -> None:
    public = [name for name in dir(incident.Incident) if not name.startswith("_")]
    assert sorted(public) == METHODS.split()


def test_open_incident_takes_these_parameters() -> None:
    parameters = inspect.signature(session.open_incident).parameters
    assert list(parameters) == ["alert", "environment", "service", "at", "lookback", "replay", "resume"]
    assert [p.kind for p in parameters.values()][1:] == [inspect.Parameter.KEYWORD_ONLY] * 6


def test_every_check_takes_a_scene_and_named_limits_and_asks_a_question() -> None:
    for name in notebook.__all__:
        function = getattr(notebook, name)
        if (
            not inspect.isfunction(function)
            or inspect.signature(function).return_annotation != findings.Finding
        ):
            continue
        first, *limits = inspect.signature(function).parameters.values()
        assert first.name == "context", name
        assert all(limit.kind is inspect.Parameter.KEYWORD_ONLY for limit in limits), name
        question = (function.__doc__ or "").splitlines()[0]
        assert question.endswith("?"), f"{name} does not begin with its question: {question}"
        named = set(re.findall(r"\{([a-z_]+)\}", question))
        assert named <= {limit.name for limit in limits}, name
