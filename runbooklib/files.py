"""Safe file operations: folders opened without following links, files written atomically.

A folder that is held by a descriptor cannot be replaced by another folder. On Linux it keeps a path in
/proc/self/fd when it is renamed; on other systems its own path is used.
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
    """A descriptor of the folder. Missing parts of its path are created with mode 0700.

    Raises OSError, and NotADirectoryError if a part of the path is a link.
    """
    descriptor = os.open("/", _FLAGS)
    for name in Path(os.path.abspath(path)).parts[1:]:  # noqa: PTH100 - links must not be resolved
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=descriptor)
            child = os.open(name, _FLAGS, dir_fd=descriptor)
        except OSError as error:
            if _is_link(name, descriptor):
                raise NotADirectoryError(errno.ENOTDIR, f"{name} is a link, and may lead elsewhere") from None
            raise error from None
        finally:
            os.close(descriptor)
        descriptor = child
    return descriptor


def trouble(error: OSError) -> str:
    """The error as text: the path, if the error has one, and the reason."""
    reason = error.strerror or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason


def checked(name: str) -> str:
    """The name of a bundle, if it is valid: it can come from a file of another user. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not a name of a bundle")
    return name


def write_new(path: Path, content: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Create a file with this content and sync it to disk. No link is followed.

    By default only the owner can read the file; `owner` is (uid, gid). Raises OSError, and FileExistsError if
    the file exists.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # the umask must not change the mode
        if owner is not None and owner != (os.geteuid(), os.getegid()):
            os.fchown(file.fileno(), *owner)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Write a file atomically: after a kill or on a full disk, an existing file is unchanged.

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
    """Sync the folder, so that new and renamed files survive a power failure. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


class Workplace:
    """A hidden folder inside the folder of bundles, in which a process builds a bundle.

    The process that creates it owns it, by a lock on the folder. The lock lasts until `close` or the end of
    the process, so it covers the rename that publishes the bundle.
    """

    def __init__(self, root: Path, name: str) -> None:
        """Create the folder with a random name, and lock it. Raises OSError."""
        self.root = root
        self._root = opened(root)
        try:
            self._name, self._work = _create(name, self._root)
        except OSError:
            os.close(self._root)
            raise
        self._is_open = True

    @classmethod
    def existing(cls, root: Path, name: str) -> "Workplace":
        """Open an existing folder without locking it. Raises OSError."""
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
        """Lock a folder whose process has ended; None if a process owns it or it is published.

        Raises OSError, also if the file system has no locks: then a run may be using the folder.
        """
        try:
            place = cls.existing(root, name)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(place._work, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Before this lock, the owner may have published the folder and released it.
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
        """The path of the folder, valid until `close`."""
        return _descriptor_path(self._work, self.root / self._name)

    @property
    def beside(self) -> Path:
        """The path of the folder of bundles, valid until `close`."""
        return _descriptor_path(self._root, self.root)

    def free_name(self, name: str) -> str:
        """The name itself if it is free, otherwise the name with a number. Raises OSError."""
        os.fsync(self._work)
        for number in range(1, 10_000):
            free = name if number == 1 else f"{name}-{number}"
            try:
                os.stat(free, dir_fd=self._root, follow_symlinks=False)
            except FileNotFoundError:
                return free
        raise FileExistsError(errno.EEXIST, f"there are 9,999 runs named {name}")

    def rename(self, name: str) -> None:
        """Rename the folder atomically. Raises OSError if a file, link or non-empty folder has the name."""
        os.rename(self._name, name, src_dir_fd=self._root, dst_dir_fd=self._root)
        os.fsync(self._root)

    def remove(self) -> None:
        """Delete the folder as far as possible, and close it."""
        with suppress(OSError):
            shutil.rmtree(self._name, dir_fd=self._root)
        self.close()

    def close(self) -> None:
        """Close the folder and release its lock."""
        if not self._is_open:
            return
        self._is_open = False  # a second close could close another file with the same number
        for descriptor in (self._work, self._root):
            with suppress(OSError):
                os.close(descriptor)


def is_workplace(name: str) -> bool:
    """Whether the name is that of the folder of a `Workplace`."""
    return _WORKPLACE.fullmatch(name) is not None


def _create(name: str, root: int) -> tuple[str, int]:
    """Create a hidden folder and lock it; return its name and descriptor. Raises OSError."""
    for _ in range(_ATTEMPTS):
        hidden = f".{name}.{os.getpid()}.{secrets.token_hex(16)}"
        os.mkdir(hidden, 0o700, dir_fd=root)
        # Before the lock, `recover` may remove the empty folder as the folder of an ended run.
        try:
            work = os.open(hidden, _FLAGS, dir_fd=root)
        except FileNotFoundError:
            continue
        # A file system without locks does not prevent a run: there, `recover` does not change any folder.
        with suppress(OSError):
            fcntl.flock(work, fcntl.LOCK_EX)
        if _is_named(hidden, root, work):
            return hidden, work
        os.close(work)
    raise FileNotFoundError(errno.ENOENT, f"a new folder was removed {_ATTEMPTS} times", name)


def _is_named(name: str, root: int, work: int) -> bool:
    """Whether the folder of the descriptor `work` still has this name."""
    try:
        status = os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(work))


def _descriptor_path(descriptor: int, path: Path) -> Path:
    """The path in /proc/self/fd if the system has it, otherwise `path`."""
    in_proc = _DESCRIPTORS / str(descriptor)
    return in_proc if in_proc.exists() else path
