"""Steps: taken in their order, again in the same order, and not after their end."""

import pytest

from runbooklib.errors import InputError, ParameterError
from runbooklib.steps import Steps


def test_all_are_taken_again_in_the_order_in_which_each_was_first_taken() -> None:
    steps, told = Steps(), list[str]()
    for name in ("one", "two", "one"):
        steps.take(("", name), lambda name=name: told.append(f"{name} {steps.now[1]} {steps.is_again}"))  # type: ignore[misc]
    steps.take_all_again()
    assert told == [
        *("one one False", "two two False", "one one False"),
        *("one one True", "two two True"),
    ]
    assert (steps.now, steps.is_again) == (("", ""), False)


def test_one_that_fails_takes_no_other_with_it_and_is_told_at_the_end() -> None:
    steps, told = Steps(), list[str]()
    is_broken = False

    def breaks() -> None:
        if is_broken:
            raise ParameterError("broken")

    steps.take(("", "one"), breaks)
    steps.take(("", "two"), lambda: told.append("two"))
    is_broken = True
    with pytest.raises(ParameterError, match="broken"):
        steps.take_all_again()
    assert told == ["two", "two"]
    assert not steps.is_again


def test_after_the_end_none_is_taken() -> None:
    steps = Steps()
    steps.end()
    with pytest.raises(InputError, match="one was opened after it"):
        steps.take(("", "one"), lambda: pytest.fail("it was taken"))
