"""Findings and verdicts as something to read: sentences, HTML for notebooks, text for terminals."""
