"""Remedies for the monitoring itself."""

from runbooklib.findings import Proposal
from runbooklib.scene import Scene
from runbooklib.settings import configured


def look_at_targets(scene: Scene) -> Proposal:
    """See what Prometheus has for targets; changes nothing."""
    url = configured(scene.target.systems.prometheus, "prometheus").url
    return Proposal(
        title="See which targets Prometheus has, and why it cannot reach one",
        command=f"curl --silent --max-time 10 '{url}/api/v1/targets?state=any'",
        effect="Changes nothing. A target that is missing there was taken out of the configuration.",
    )
