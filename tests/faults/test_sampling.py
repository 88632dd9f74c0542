"""A sample of moments covers all parts, and a seed says which."""

import pytest

from tests.support.sampling import spread


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("count", "most"), [(200, 20), (7, 3), (4, 3), (3, 3)])
def test_a_sample_has_one_moment_of_each_part_in_order(count: int, most: int, seed: int) -> None:
    chosen = list(spread(range(count), most, seed))
    assert len(set(chosen)) == min(count, most)
    assert chosen == sorted(chosen)
    assert [int(moment * most / count) for moment in chosen] == pytest.approx(range(most), abs=1)
    assert chosen == list(spread(range(count), most, seed))


def test_another_seed_gives_other_moments() -> None:
    assert len({tuple(spread(range(200), 20, seed)) for seed in range(20)}) > 5
