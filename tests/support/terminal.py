"""A command on a real pseudo-terminal, and every byte that reached it."""

import os
import pty
import re
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

BIN = Path(sys.executable).parent
# What our own colours are made of: select graphic rendition, with numbers that a colour has.
OWN = re.compile(rb"\x1b\[(?:0|[1-9]|[34][0-9])(?:;(?:[0-9]|[34][0-9]))*m")
# So wide that nothing is broken: where a word breaks depends on how many seconds a run took.
_ROWS, _COLUMNS = 50, 4000


def on_terminal(argv: Sequence[str], environment: Mapping[str, str], cwd: Path) -> tuple[int, bytes]:
    """Run a program of this virtual environment on a terminal: its exit code, and what the terminal got."""
    screen, end = pty.openpty()
    ioctl(end, TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    running = subprocess.Popen(
        [str(BIN / argv[0]), *argv[1:]],
        cwd=cwd,
        env={**_unsized(), "TERM": "xterm-256color", **environment},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    got = []
    try:
        while part := os.read(screen, 65536):
            got.append(part)
    except OSError:  # the last process has closed its end
        pass
    finally:
        os.close(screen)
    return running.wait(30), b"".join(got)


def _unsized() -> dict[str, str]:
    """The environment without a size (pytest-xdist gives its workers one): the terminal has its own."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}


def unread(screen: bytes) -> list[str]:
    """What of it a terminal acts on, but for our own colours, line breaks and tabs."""
    plain = OWN.sub(b"", screen).decode()
    return [repr(c) for c in plain if not c.isprintable() and c not in "\n\t\r"]
