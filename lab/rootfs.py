"""A base image without a registry: a small root file system made from the Python that runs the lab.

It has the layout of the official image (/usr/local) for every host's Python, so that tracebacks in the
container contain no path of this machine. With a registry, use `FROM python:3.11-slim` instead.
"""

import compileall
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path

from lab import processes
from lab.errors import LabError

FORMAT = "3"  # increase it when this module makes a different file system from the same Python
PACKAGES = (
    "anyio",
    "click",
    "dnspython",
    "greenlet",
    "h11",
    "idna",
    "prometheus_client",
    "psycopg",
    "psycopg-binary",
    "sqlalchemy",
    "starlette",
    "typing_extensions",
    "uvicorn",
)
OPTIONAL = {"greenlet"}
LEFT_OUT = (
    "test",
    "tests",
    "__pycache__",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "site-packages",
)
LEFT_OUT_PATTERNS = ("config-*", "dist-packages", "*.a", "libpython*.so*", "pydoc_data")
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


def key() -> str:
    """A short key of this Python and these packages; each key has its own image."""
    parts = [FORMAT, sys.version, sys.base_prefix, *(f"{name}={version(name)}" for name in PACKAGES)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def version(name: str) -> str:
    """Installed version of a package that the backend needs."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        if name in OPTIONAL:
            return "none"
        raise LabError(f"package {name} not installed: pip install 'runbooklib[lab]'") from error


def tarball() -> Path:
    """The root file system as a tar file. It is made once for each key, and kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runbook-lab"
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"base-{key()}.tar"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            stage, part = Path(directory) / "root", Path(directory) / "part.tar"
            build(stage)
            with tarfile.open(part, "w") as archive:
                archive.add(stage, arcname=".", filter=as_root)
            part.replace(path)
    return path


def as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Files belong to root in the image, for every user who builds it."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def build(stage: Path) -> None:
    """Create the file system."""
    library = stage / "usr/local/lib" / VERSION
    copy_python(stage, library)
    copy_packages(library / "site-packages")
    copy_shared_libraries(stage)
    write_accounts(stage)
    compileall.compile_dir(library, quiet=2, stripdir=str(stage), prependdir="/", workers=os.cpu_count() or 1)


def copy_python(stage: Path, library: Path) -> None:
    """Interpreter and standard library, without modules that a server never imports."""
    ignore = shutil.ignore_patterns(*LEFT_OUT, *LEFT_OUT_PATTERNS)
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=ignore, ignore_dangling_symlinks=True)
    target = stage / "usr/local/bin" / VERSION
    target.parent.mkdir(parents=True)
    shutil.copy2(Path(sys.executable).resolve(), target)
    for name in ("python3", "python"):
        (target.parent / name).symlink_to(VERSION)


def copy_packages(site: Path) -> None:
    """The backend's packages, file by file as their own records list them."""
    for name in PACKAGES:
        if version(name) == "none":
            continue
        for file in metadata.files(name) or []:
            wanted = ".." not in file.parts and not {"__pycache__", "tests"} & set(file.parts)
            source = Path(str(file.locate()))
            if wanted and source.is_file():
                target = site / Path(*file.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)


def copy_shared_libraries(stage: Path) -> None:
    """Copy the shared libraries to /lib, and the loader to the path that the programs name."""
    binaries = [stage / "usr/local/bin" / VERSION, Path(sys.executable).resolve(), *stage.rglob("*.so*")]
    for soname, path in linked(binaries).items():
        if path.is_relative_to(stage):
            continue
        target = stage / soname.lstrip("/") if soname.startswith("/") else stage / "lib" / soname
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path.resolve(), target)


def linked(binaries: list[Path]) -> dict[str, Path]:
    """Library name -> file, as this machine's loader resolves them; the loader by its full path."""
    done = subprocess.run(
        [processes.program("ldd", "libc-bin"), *map(str, binaries)],
        capture_output=True,
        text=True,
        check=False,
    )
    libraries = dict(re.findall(r"^\s+(\S+) => (/\S+) \(", done.stdout, re.MULTILINE))
    loaders = re.findall(r"^\s+(/\S+) \(", done.stdout, re.MULTILINE)
    return {name: Path(path) for name, path in libraries.items()} | {name: Path(name) for name in loaders}


def write_accounts(stage: Path) -> None:
    """The user that the backend runs as, and a place for temporary files."""
    etc, temporary = stage / "etc", stage / "tmp"
    etc.mkdir()
    temporary.mkdir()
    temporary.chmod(0o1777)
    users = "root:x:0:0:root:/root:/bin/false\nhelloagents:x:10001:10001:helloagents:/app:/bin/false\n"
    (etc / "passwd").write_text(users, encoding="utf-8")
    (etc / "group").write_text("root:x:0:\nhelloagents:x:10001:\n", encoding="utf-8")
    (etc / "hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
