"""Lock chains: which session waits for which, followed to the root that waits for none. Pure functions."""

from typing import Any


def lock_chains(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each waiting backend, longest wait first, with the backends that block it and the root.

    `rows` are all backends: pid, blocked_by (pids), state, application, query, xact_seconds, waited_seconds.
    """
    by_pid = {row["pid"]: row for row in rows}
    waiting = []
    for row in rows:
        if not row["blocked_by"]:
            continue
        root_pid = _root(row["pid"], by_pid)
        root = by_pid.get(root_pid, {})
        waiting.append(
            {
                "pid": row["pid"],
                "blocked_by": sorted(set(row["blocked_by"])),
                "root_pid": root_pid,
                "root_state": root.get("state", "prepared transaction" if root_pid == 0 else ""),
                "root_xact_seconds": root.get("xact_seconds"),
                "root_application": root.get("application", ""),
                "waited_seconds": row["waited_seconds"],
                "query": row["query"],
                "root_query": root.get("query", ""),
            }
        )
    return sorted(waiting, key=lambda row: -(row["waited_seconds"] or 0.0))


def _root(pid: int, by_pid: dict[int, dict[str, Any]]) -> int:
    """The blocker that waits for none. Of several, the oldest transaction; in a cycle, the lowest pid."""
    seen: set[int] = set()
    pending, roots = list(by_pid[pid]["blocked_by"]), []
    while pending:
        blocker = pending.pop()
        if blocker in seen:
            continue
        seen.add(blocker)
        blockers = by_pid.get(blocker, {}).get("blocked_by") or []
        pending += blockers
        if not blockers:
            roots.append(blocker)
    return (
        max(roots, key=lambda root: by_pid.get(root, {}).get("xact_seconds") or 0.0) if roots else min(seen)
    )
