import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
# Where conda-forge calls a package by another name than the package index does.
CONDA_NAMES = {"docker": "docker-py"}

DEPENDENCIES = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = [Requirement(text) for extra in PROJECT["optional-dependencies"].values() for text in extra]
LOCKED = [
    Requirement(line.rstrip("\\ "))
    for line in LOCK.splitlines()
    if re.match(r"[a-z0-9]", line, re.IGNORECASE)
]


def conda_requirements() -> dict[str, Requirement]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    texts = [text for text in listed if isinstance(text, str)]
    texts += [text for item in listed if isinstance(item, dict) for text in item["pip"]]
    return {requirement.name: requirement for requirement in map(Requirement, texts)}


def test_conda_environment_has_the_same_dependencies_and_ranges() -> None:
    wanted = {CONDA_NAMES.get(one.name, one.name): one.specifier for one in DEPENDENCIES}
    found = {name: one.specifier for name, one in conda_requirements().items()}
    assert str(found.pop("python")) == PROJECT["requires-python"]
    found.pop("pip")
    assert found == wanted


@pytest.mark.parametrize(
    "requirement",
    [one for one in DEPENDENCIES + EXTRAS if one.name != PROJECT["name"]],
    ids=lambda one: one.name,
)
def test_lock_satisfies_the_ranges_of_the_project(requirement: Requirement) -> None:
    versions = [
        specifier.version
        for locked in LOCKED
        if canonicalize_name(locked.name) == canonicalize_name(requirement.name)
        for specifier in locked.specifier
    ]
    assert versions, f"{requirement.name} is not locked: make lock"
    assert all(requirement.specifier.contains(version, prereleases=True) for version in versions)


def test_lock_has_the_parts_that_extras_of_dependencies_bring() -> None:
    names = {canonicalize_name(locked.name) for locked in LOCKED}
    assert "psycopg-binary" in names
    assert PROJECT["name"] not in names


def test_lock_pins_everything_exactly_and_with_hashes() -> None:
    assert len(LOCKED) > 100
    for locked in LOCKED:
        assert [specifier.operator for specifier in locked.specifier] == ["=="]
    for block in re.split(r"\n(?=[a-zA-Z0-9])", LOCK)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block[:80]


def test_lock_names_packages_and_no_places() -> None:
    assert not re.search(r"://| @ |^-|index-url|find-links|(?<![\w.])/\w", LOCK, re.MULTILINE)


def test_dependencies_are_ranges_and_not_pins() -> None:
    for requirement in DEPENDENCIES:
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">=", "<"}, str(requirement)
