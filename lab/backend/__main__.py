"""Start the backend: `python -m backend`, the command of the container."""

import uvicorn

from .app import create_app
from .config import Config
from .logs import log


def main() -> None:
    """Serve until stopped."""
    config = Config.from_environment()
    log("application_starting", version=config.version, port=config.port)
    uvicorn.run(create_app(config), host="127.0.0.1", port=config.port, use_colors=False, log_level="info")


if __name__ == "__main__":
    main()
