"""The IPython kernel of a headless run: `python -m runbooklib.execution.kernel_main`.

Without a TCP port: ipykernel opens one on loopback, whatever its transport, to hear what forked processes
print, and every user of the machine could connect to it. Here such processes are not heard. And with
messages of bounded size: ipykernel sends all that was printed since the last one in one piece, and who
reads a piece of 200 MB needs four times as much memory.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

_PIECE = 50_000  # characters; a thousand of them may wait to be read


def main() -> None:
    """Run the kernel until it is told to end."""
    # As ipykernel's own launcher does: the folder that we are in is no place to import from.
    if sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd():
        del sys.path[0]
    from ipykernel import iostream, kernelapp  # only in the kernel: they start threads

    # There are no settings for these.
    own: Any = kernelapp
    own.IOPubThread = partial(_thread, own.IOPubThread)
    streams: Any = iostream
    streams.OutStream = _bounded(streams.OutStream)
    own.launch_new_instance()


def _thread(kind: Any, socket: Any, *, pipe: bool, session: Any) -> Any:
    """The thread that sends outputs, without the door for forked processes.

    Where the reader is slow it waits: by default ZeroMQ drops what does not fit into its queue, and with
    it, in the end, the word that the cell is through.
    """
    import zmq

    del pipe
    socket.setsockopt(zmq.XPUB_NODROP, 1)
    return kind(socket, pipe=False, session=session)


def _bounded(kind: Any) -> Any:
    """The kind of stream, sending what was printed at the latest when it is a piece."""

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
