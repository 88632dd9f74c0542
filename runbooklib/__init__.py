"""Runbooks that run: an alert, its notebook, its evidence. See `runbooklib.notebook` for its names."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where the Jupyter server finds the extension; it imports nothing before a server asks."""
    return [{"module": "runbooklib.jupyter"}]
