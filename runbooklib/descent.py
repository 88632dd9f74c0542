"""Whether this process was started by a headless run: then it may propose, and approve nothing."""

from pathlib import Path

_KEEPER = str(Path(__file__).with_name("keeper.py"))


def is_within_a_run() -> bool:
    """Whether a keeper of a kernel is among the processes that this one descends from.

    What a cell starts stays below the keeper, also when it cuts itself loose: the keeper adopts it. Where
    there is no /proc nobody can tell, and nothing is refused for it.
    """
    pid = "self"
    while pid not in ("0", "1"):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            pid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            return False
        if _KEEPER.encode() in words:
            return True
    return False
