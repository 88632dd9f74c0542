"""The IPython kernel of a headless run: `python -m runbooklib.execution.kernel_main`.

It opens no TCP port. ipykernel always opens a port on loopback to receive what forked processes print, and
every user of the machine could connect to it. Here the output of forked processes is lost.

It limits the size of messages. ipykernel sends everything printed since the last message as a single message,
and the reader of a message of 200 MB needs four times as much memory.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

_PIECE = 50_000  # characters; up to a thousand pieces can wait to be read


def main() -> None:
    """Run the kernel until it is asked to shut down."""
    # Like ipykernel's own launcher: Python must not import modules from the current folder.
    if sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd():
        del sys.path[0]
    from ipykernel import iostream, kernelapp  # only in the kernel: they start threads

    # ipykernel has no settings for these.
    own: Any = kernelapp
    own.IOPubThread = partial(_thread, own.IOPubThread)
    streams: Any = iostream
    streams.OutStream = _bounded(streams.OutStream)
    own.launch_new_instance()


def _thread(kind: Any, socket: Any, *, pipe: bool, session: Any) -> Any:
    """The thread that sends outputs, without the port for forked processes.

    It waits for a slow reader. By default ZeroMQ drops messages that do not fit into its queue, which can
    include the message that the cell has ended.
    """
    import zmq

    del pipe
    socket.setsockopt(zmq.XPUB_NODROP, 1)
    return kind(socket, pipe=False, session=session)


def _bounded(kind: Any) -> Any:
    """A subclass of the stream that sends its text when a piece of `_PIECE` characters is full."""

    class Bounded(kind):  # type: ignore[misc] # a class that is only known here
        waiting = 0

        def write(self, text: str) -> int:
            for start in range(0, max(len(text), 1), _PIECE):
                piece = text[start : start + _PIECE]
                super().write(piece)
                self.waiting += len(piece)
                if self.waiting >= _PIECE:
                    self.waiting = 0
                    self.flush()
            return len(text)

    return Bounded


if __name__ == "__main__":
    main()
