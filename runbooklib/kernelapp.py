"""IPython's kernel without a TCP port: `python -m runbooklib.kernelapp` instead of `ipykernel_launcher`.

ipykernel opens one on loopback, whatever its transport, to hear what forked processes print. Every user of
the machine could connect to it. Here such processes are not heard.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the kernel until it is told to end."""
    # As ipykernel's own launcher does: the folder that we are in is no place to import from.
    if sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd():
        del sys.path[0]
    from ipykernel import kernelapp  # only in the kernel: it starts threads

    own: Any = kernelapp
    without_port = partial(_thread, own.IOPubThread)
    own.IOPubThread = without_port  # there is no setting for it
    own.launch_new_instance()


def _thread(kind: Any, socket: Any, *, pipe: bool, session: Any) -> Any:
    """The thread that sends outputs, without the door for forked processes."""
    del pipe
    return kind(socket, pipe=False, session=session)


if __name__ == "__main__":
    main()
