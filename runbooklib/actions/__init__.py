"""Remedies, as what a person may do next: (scene, *, parameters) -> Proposal. Nothing here acts yet."""
