"""Steps: taken in their order, again in the same order, and not after their end."""

import pytest

from runbooklib.errors import InputError, ParameterError
from runbooklib.notebook.steps import Change, Steps, reorder


def test_all_are_taken_again_in_the_order_in_which_each_was_first_taken() -> None:
    steps, told = Steps(), list[str]()
    for name in ("one", "two", "one"):
        steps.take(("", name), lambda name=name: told.append(f"{name} {steps.current[1]} {steps.is_repeat}"))  # type: ignore[misc]
    steps.retake_all()
    assert told == [
        *("one one False", "two two False", "one one False"),
        *("one one True", "two two True"),
    ]
    assert (steps.current, steps.is_repeat) == (("", ""), False)


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
        steps.retake_all()
    assert told == ["two", "two"]
    assert not steps.is_repeat


def test_after_the_end_none_is_taken() -> None:
    steps = Steps()
    steps.close()
    with pytest.raises(InputError, match="another incident was opened after it"):
        steps.take(("", "one"), lambda: pytest.fail("it was taken"))


def run(steps: Steps, cell: str, *names: str, succeeded: bool = True) -> Change | None:
    """The cell takes these steps; what that changes."""
    steps.begin_cell(cell)
    for name in names:
        steps.take(("", name), lambda: None)
    return steps.end_cell(succeeded=succeeded)


def test_what_a_cell_takes_no_more_is_gone_and_what_it_takes_now_stands_in_its_place() -> None:
    steps, told = Steps(), list[str]()
    assert run(steps, "one", "a(1)", "b(1)") is None
    assert run(steps, "two", "c(1)") is None
    assert run(steps, "one", "a(1)", "b(1)") is None
    changed = run(steps, "one", "a(2)", "b(1)")
    assert changed == Change((("", "a(2)"), ("", "b(1)")), (("", "a(1)"),))
    assert changed is not None
    assert changed.within("") == (("a(2)", "b(1)"), ("a(1)",))
    for name in ("a(2)", "b(1)", "c(1)"):
        steps.take(("", name), lambda name=name: told.append(name))  # type: ignore[misc]
    told.clear()
    steps.retake_all()
    assert told == ["a(2)", "b(1)", "c(1)"]


def test_what_another_cell_takes_too_stays_where_it_is() -> None:
    steps = Steps()
    run(steps, "one", "a(1)")
    run(steps, "two", "a(1)", "b(1)")
    assert run(steps, "two", "c(1)") == Change((("", "c(1)"),), (("", "b(1)"),))


def test_a_cell_that_failed_takes_nothing_back_until_it_is_run_soundly() -> None:
    steps = Steps()
    run(steps, "one", "a(1)", "b(1)")
    assert run(steps, "one", "a(2)", succeeded=False) is None
    assert run(steps, "one", "a(2)") == Change((("", "a(2)"),), (("", "a(1)"), ("", "b(1)")))


def test_where_no_cell_is_known_nothing_is_taken_back() -> None:
    steps = Steps()
    run(steps, "", "a(1)")
    assert run(steps, "", "b(1)") is None


def test_the_same_with_other_limits_is_told_while_the_cell_runs() -> None:
    steps = Steps()
    run(steps, "one", "a(1)")
    steps.begin_cell("one")
    assert steps.former_of(("", "a(2)")) == ("", "a(1)")
    assert steps.former_of(("", "a(1)")) is None
    assert steps.former_of(("cause", "a(2)")) is None


def test_a_ledger_is_put_right_at_the_place_of_what_is_gone() -> None:
    ledger = {"x": 1, "old": 2, "y": 3, "z": 4, "new": 5}
    assert list(reorder(ledger, ["new", "y"], ["old"])) == ["x", "new", "y", "z"]
    assert list(reorder(ledger, ["never kept"], [])) == list(ledger)
