"""Of moments that cost a run each: all in `make survive`, a few that are evenly spread elsewhere."""

import random
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")


def sampled(everything: Sequence[T], most: int, request: pytest.FixtureRequest) -> Sequence[T]:
    """All of it where rows of the matrix are asked for (`--rows`), else at most so many, by the seed."""
    if request.config.getoption("--rows"):
        return everything
    return spread(everything, most, request.config.getoption("--seed"))


def spread(everything: Sequence[T], most: int, seed: int) -> Sequence[T]:
    """At most so many, one of each part of equal length, in their order."""
    if len(everything) <= most:
        return everything
    step = len(everything) / most
    offset = random.Random(seed).random()
    return [everything[int((number + offset) * step)] for number in range(most)]
