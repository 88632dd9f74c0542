"""Actions that a runbook proposes: `(scene, *, parameters) -> Proposal`.

Only this package writes to a system. A `Remedy` can be approved, and only the gate performs it. The other
functions return text for a person.
"""
