"""The names that notebooks rely on: a change here is a change for everybody's notebooks."""

import inspect
import re

import runbooklib.notebook as notebook
from runbooklib import findings, incident, session

NAMES = """
DEPENDENCY_FAILED POOL_EXHAUSTED ai_error_rate alert_rule component_health connection_usage
container_deaths container_state database_errors dependencies_reachable deployments error_rate
errors_since_deployment failing_endpoints failing_instances firing_alert health_page
idle_transactions key_functions lock_waits log_lines look_at_dependency memory_usage new_exceptions
open_incident out_of_memory process_restarts raise_memory_limit read_log related_alerts request_rate
response_time restart_container revert_commit roll_back running_revision slow_endpoints status_codes
terminate_idle_transactions use_fallback_mode
"""
METHODS = (
    "basics cause check contacts escalation findings history links marks prometheus recovery sources verdict"
)


def test_a_notebook_gets_exactly_these_names() -> None:
    assert sorted(notebook.__all__) == sorted(NAMES.split())


def test_an_incident_has_exactly_these_methods() -> None:
    public = [name for name in dir(incident.Incident) if not name.startswith("_")]
    assert sorted(public) == METHODS.split()


def test_open_incident_takes_these_parameters() -> None:
    parameters = inspect.signature(session.open_incident).parameters
    assert list(parameters) == ["alert", "environment", "service", "at", "lookback", "replay"]
    assert [p.kind for p in parameters.values()][1:] == [inspect.Parameter.KEYWORD_ONLY] * 5


def test_every_check_takes_a_scene_and_named_limits_and_asks_a_question() -> None:
    for name in notebook.__all__:
        function = getattr(notebook, name)
        if (
            not inspect.isfunction(function)
            or inspect.signature(function).return_annotation != findings.Finding
        ):
            continue
        first, *limits = inspect.signature(function).parameters.values()
        assert first.name == "scene", name
        assert all(limit.kind is inspect.Parameter.KEYWORD_ONLY for limit in limits), name
        question = (function.__doc__ or "").splitlines()[0]
        assert question.endswith("?"), f"{name} does not begin with its question: {question}"
        named = set(re.findall(r"\{([a-z_]+)\}", question))
        assert named <= {limit.name for limit in limits}, name
