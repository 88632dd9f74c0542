"""Remedies for the database."""

from runbooklib.findings import Proposal
from runbooklib.scene import Scene
from runbooklib.window import seconds_of


def terminate_idle_transactions(scene: Scene, *, older_than: str) -> Proposal:  # noqa: ARG001 - every action gets the scene
    """End the sessions that are idle in transaction."""
    # A text for a person to read and run; the number in it is ours.
    ending = (
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' "
        "AND pid <> pg_backend_pid() AND state_change < now() - interval '%d s'"
    )
    return Proposal(
        title=f"Now: end the sessions that are idle in transaction for more than {older_than}",
        command=f'psql -c "{ending.replace("%d", str(int(seconds_of(older_than))))}"',
        effect="Their connections and locks are given back; what they had not committed is undone.",
        loses="Which session held what: read pg_stat_activity first. Needs the role pg_signal_backend.",
    )
