"""The alerts in the Alertmanager of an environment now. Each call sends a request, with a deadline."""

import os
from collections.abc import Mapping

from runbooklib.config import runbooks, site, variables
from runbooklib.config.site_secrets import environment_secrets
from runbooklib.errors import NotConfiguredError
from runbooklib.model.alert import Alert
from runbooklib.redact.redactor import Redactor
from runbooklib.sources.context import Sources
from runbooklib.sources.tape import Tape

# A person waits for the page.
DEADLINE_SECONDS = 3.0


def alerts(environment: str, name: str = "") -> tuple[Alert, ...]:
    """The alerts in Alertmanager, also silenced and inhibited alerts; with `name`, only alerts of that name.

    Raises SourceError if Alertmanager gives no answer, and InputError if it is not configured.
    """
    known = site.services(environment)
    if not known:
        raise NotConfiguredError(
            f"the environment {environment!r} has no service",
            system="alertmanager",
            hint=f"there are: {', '.join(site.environments()) or 'none'}",
        )
    target = site.read_target(environment, known[0])
    tape = Tape(Redactor(environment_secrets()))
    return Sources(target, tape, deadline_seconds=DEADLINE_SECONDS).alertmanager.alerts(name)


def matching_alerts(environment: str, name: str, labels: Mapping[str, str]) -> tuple[Alert, ...]:
    """The alerts of that name whose labels do not differ from `labels`; a missing label does not differ.

    An alert over all services has no service label.

    Raises like `alerts`.
    """
    return tuple(
        alert
        for alert in alerts(environment, name)
        if all(alert.labels.get(label, value) == value for label, value in labels.items())
    )


def usual_environment() -> str:
    """The default environment: RUNBOOK_ENVIRONMENT, else the first default in a runbook's parameters."""
    configured = os.environ.get(variables.ENVIRONMENT, "")
    if configured:
        return configured
    for alert in runbooks.alerts():
        declared = runbooks.find(alert).declared.get("environment")
        if declared and declared.default:
            return str(declared.default)
    return ""
