"""Remedies, as what a person may do next: (scene, *, parameters) -> Proposal.

Only here is a system written to. A `Remedy` can be approved, and is performed by the gate alone; the other
functions are texts for a person.
"""
