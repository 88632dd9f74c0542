"""Remedies for a dependency that fails."""

from urllib.parse import urlsplit

from runbooklib.errors import NotConfiguredError
from runbooklib.findings import Proposal
from runbooklib.scene import Scene


def look_at_dependency(scene: Scene) -> Proposal:
    """Look at the dependency from this machine."""
    if not scene.service.dependencies:
        raise NotConfiguredError("the service names no dependencies", system="dns")
    url = scene.service.dependencies[0].url
    return Proposal(
        title="See it from this machine",
        command=f"curl --verbose --max-time 10 {url}",
        effect=f"Asks {urlsplit(url).hostname} once; changes nothing.",
    )


def use_backup_provider(scene: Scene) -> Proposal:
    """Let the service ask the backup provider."""
    return Proposal(
        title="Soon: the backup provider",
        command=f"docker compose up --detach --no-deps {scene.target.service_name}",
        effect="After AI_PROVIDER_URL and its key were changed in .env: the backup answers.",
        loses="The container is made anew: save its log first.",
    )


def use_fallback_mode(scene: Scene) -> Proposal:
    """Let the service answer without the dependency."""
    return Proposal(
        title="Now: fallback mode",
        command=f"FALLBACK_MODE=true docker compose up --detach --no-deps {scene.target.service_name}",
        effect="The AI assistant answers that it is not available; everything else works again.",
        loses="The container is made anew: save its log first.",
    )
