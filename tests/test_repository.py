"""What may be in the repository: no folder of one machine, and no address of a person."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Folders of one machine, and addresses of people. Placeholders in the documentation are allowed.
_MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:home|Users|root|work|workspace|builds)/[\w.-]+")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@((?:[\w-]+\.)+[a-z]{2,})\b")
_EXAMPLE_HOST = re.compile(
    r"(?:^|\.)(?:helloagents\.com|invalid|test|example|example\.(?:com|org|net)|internal|local)$"
)


def committed_files() -> list[Path]:
    """Files that are in git or would be added to it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()[:80]}")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_folder_of_one_machine_or_the_address_of_a_person() -> None:
    hits = []
    for file in committed_files():
        raw = file.read_bytes()
        if b"\0" in raw:
            continue
        for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
            words = [match[0] for match in _MACHINE_PATH.finditer(line)]
            words += [match[0] for match in _MAIL.finditer(line) if not _EXAMPLE_HOST.search(match[1])]
            hits += [f"{file.relative_to(ROOT)}:{number}: {word}" for word in words]
    assert not hits, "\n".join(hits)
