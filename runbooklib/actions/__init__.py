"""Actions that a runbook proposes: `(context, *, parameters) -> Proposal`.

Only this package writes to a system. A `Action` can be approved, and only the gate performs it. The other
functions return text for a person.
"""
