"""Runbooks that run: an alert, its notebook, its evidence. See `runbooklib.notebook` for its names."""
