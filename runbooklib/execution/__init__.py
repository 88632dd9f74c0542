"""Run a notebook headless, record the run, and finish it whatever happens."""
