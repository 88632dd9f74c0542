"""Who waits for whom: chains of locks, followed to their root, which waits for nobody. Pure."""

from typing import Any


def chains(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each backend that waits, longest first: whom it waits for, and who is at the root.

    `rows` are all backends: pid, blocked_by (pids), state, application, query, xact_seconds, waited_seconds.
    """
    by_pid = {row["pid"]: row for row in rows}
    found = []
    for row in rows:
        if not row["blocked_by"]:
            continue
        root_pid = _root(row["pid"], by_pid)
        root = by_pid.get(root_pid, {})
        found.append(
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
    return sorted(found, key=lambda chain: -(chain["waited_seconds"] or 0.0))


def _root(pid: int, by_pid: dict[int, dict[str, Any]]) -> int:
    """Who waits for nobody; of several the oldest transaction; in a circle, its lowest pid."""
    seen: set[int] = set()
    todo, roots = list(by_pid[pid]["blocked_by"]), []
    while todo:
        blocker = todo.pop()
        if blocker in seen:
            continue
        seen.add(blocker)
        behind = by_pid.get(blocker, {}).get("blocked_by") or []
        todo += behind
        if not behind:
            roots.append(blocker)
    return (
        max(roots, key=lambda root: by_pid.get(root, {}).get("xact_seconds") or 0.0) if roots else min(seen)
    )
