"""Read log text: records and exceptions."""
