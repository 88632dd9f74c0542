"""Folders that nobody can exchange under our hands: held by descriptors, reached through no link.

On Linux a held folder has a path of its own, whatever becomes of its name; elsewhere its name has to do.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,200}")
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DESCRIPTORS = Path("/proc/self/fd")
_WORKPLACE = re.compile(r"\..+\.[0-9]+\.[0-9a-f]{32}")
_ATTEMPTS = 10


def opened(path: Path) -> int:
    """A descriptor of the folder; what is missing of it is created for its owner alone.

    Raises OSError, and NotADirectoryError where a part of the path is a link.
    """
    held = os.open("/", _FLAGS)
    for name in Path(os.path.abspath(path)).parts[1:]:  # noqa: PTH100 - links must not be resolved
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=held)
            below = os.open(name, _FLAGS, dir_fd=held)
        except OSError as error:
            if _is_link(name, held):
                raise NotADirectoryError(errno.ENOTDIR, f"{name} is a link, and may lead elsewhere") from None
            raise error from None
        finally:
            os.close(held)
        held = below
    return held


def trouble(error: OSError) -> str:
    """What could not be done, and with which file, where the system says so."""
    told = error.strerror or type(error).__name__
    return f"{error.filename}: {told}" if error.filename else told


def checked(name: str) -> str:
    """The name of a bundle, which may come from a file that somebody else wrote. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a bundle")
    return name


def write_new(path: Path, content: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """A new file with this content, synced, by default for its owner alone; no link is followed.

    `owner` is (uid, gid). Raises OSError, and FileExistsError where there is one.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask is
        if owner is not None and owner != (os.geteuid(), os.getegid()):
            os.fchown(file.fileno(), *owner)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Put a file in the place of one that may be there: a kill or a full disk leaves the old one.

    `owner` is (uid, gid). Raises OSError.
    """
    work = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        write_new(work, content, mode, owner)
        work.replace(path)
    except OSError:
        with suppress(OSError):
            work.unlink()
        raise


def sync(path: Path) -> None:
    """What was made or renamed in the folder is there after a loss of power too. Raises OSError."""
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def _is_link(name: str, held: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=held, follow_symlinks=False).st_mode)
    except OSError:
        return False


class Workplace:
    """A hidden folder within a folder of bundles, in which one of them is put together.

    The process that makes it owns it, by a lock on the folder itself. The lock lasts until the folder is
    closed or the process ends: through the rename that publishes the bundle, and not only while the run
    writes its journal.
    """

    def __init__(self, root: Path, name: str) -> None:
        """Make it, under a name that nobody can guess, and own it. Raises OSError."""
        self.root = root
        self._root = opened(root)
        try:
            self._name, self._work = _made(name, self._root)
        except OSError:
            os.close(self._root)
            raise
        self._is_open = True

    @classmethod
    def existing(cls, root: Path, name: str) -> "Workplace":
        """Hold a folder that is there, without owning it. Raises OSError."""
        place = cls.__new__(cls)
        place.root, place._name = root, name
        place._root = opened(root)
        try:
            place._work = os.open(name, _FLAGS, dir_fd=place._root)
        except OSError:
            os.close(place._root)
            raise
        place._is_open = True
        return place

    @classmethod
    def claimed(cls, root: Path, name: str) -> "Workplace | None":
        """Own a folder whose process is dead; None where a process owns it, or it has been published.

        Raises OSError, also where the file system has no locks: then nobody can tell whether it is in use.
        """
        try:
            place = cls.existing(root, name)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(place._work, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between the listing and the lock its owner may have published it, and let go of it.
            is_ours = _is_named(name, place._root, place._work)
        except BlockingIOError:
            is_ours = False
        except OSError as error:
            place.close()
            raise OSError(error.errno, "cannot be locked, so a run may be using it") from error
        if not is_ours:
            place.close()
        return place if is_ours else None

    @property
    def folder(self) -> Path:
        """Its path, as long as it is held."""
        return _through(self._work, self.root / self._name)

    @property
    def beside(self) -> Path:
        """The path of the folder of bundles, as long as it is held."""
        return _through(self._root, self.root)

    def free_name(self, name: str) -> str:
        """That name, or that name with a number, of which there is none yet. Raises OSError."""
        os.fsync(self._work)
        for again in range(1, 10_000):
            free = name if again == 1 else f"{name}-{again}"
            try:
                os.stat(free, dir_fd=self._root, follow_symlinks=False)
            except FileNotFoundError:
                return free
        raise FileExistsError(errno.EEXIST, f"there are 9,999 runs named {name}")

    def rename(self, name: str) -> None:
        """Give it the name, at one stroke; a file, a link or a folder that is not empty stays."""
        os.rename(self._name, name, src_dir_fd=self._root, dst_dir_fd=self._root)
        os.fsync(self._root)

    def remove(self) -> None:
        """Remove it as far as that can be done, and let go of it."""
        with suppress(OSError):
            shutil.rmtree(self._name, dir_fd=self._root)
        self.close()

    def close(self) -> None:
        """Let go of it, and of its lock."""
        if not self._is_open:
            return
        self._is_open = False  # a number that is closed twice may be that of another file by then
        for held in (self._work, self._root):
            with suppress(OSError):
                os.close(held)


def is_workplace(name: str) -> bool:
    """Whether a hidden folder has a name that `Workplace` gives."""
    return _WORKPLACE.fullmatch(name) is not None


def _made(name: str, root: int) -> tuple[str, int]:
    """A new hidden folder, which this process owns: its name and a descriptor. Raises OSError."""
    for _ in range(_ATTEMPTS):
        hidden = f".{name}.{os.getpid()}.{secrets.token_hex(16)}"
        os.mkdir(hidden, 0o700, dir_fd=root)
        # Until it is locked, `recover` may take the empty folder for that of a dead run and remove it.
        try:
            work = os.open(hidden, _FLAGS, dir_fd=root)
        except FileNotFoundError:
            continue
        # A file system without locks keeps no run from running: there, `recover` leaves all folders alone.
        with suppress(OSError):
            fcntl.flock(work, fcntl.LOCK_EX)
        if _is_named(hidden, root, work):
            return hidden, work
        os.close(work)
    raise FileNotFoundError(errno.ENOENT, f"a new folder was removed {_ATTEMPTS} times", name)


def _is_named(name: str, root: int, work: int) -> bool:
    """Whether the held folder still has that name."""
    try:
        there = os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(work))


def _through(held: int, path: Path) -> Path:
    own = _DESCRIPTORS / str(held)
    return own if own.exists() else path
