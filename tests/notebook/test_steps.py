"""Steps: they run in their order, again in the same order, and not after they are closed."""

import pytest

from runbooklib.errors import InputError, ParameterError
from runbooklib.notebook.steps import Change, Steps, reorder


def test_all_run_again_in_the_order_in_which_each_first_ran() -> None:
    steps, names = Steps(), list[str]()
    for name in ("one", "two", "one"):
        steps.run(("", name), lambda name=name: names.append(f"{name} {steps.current[1]} {steps.is_repeat}"))  # type: ignore[misc]
    steps.rerun_all()
    assert names == [
        *("one one False", "two two False", "one one False"),
        *("one one True", "two two True"),
    ]
    assert (steps.current, steps.is_repeat) == (("", ""), False)


def test_a_step_that_fails_stops_no_other_and_its_error_is_raised_at_the_end() -> None:
    steps, names = Steps(), list[str]()
    is_broken = False

    def breaks() -> None:
        if is_broken:
            raise ParameterError("broken")

    steps.run(("", "one"), breaks)
    steps.run(("", "two"), lambda: names.append("two"))
    is_broken = True
    with pytest.raises(ParameterError, match="broken"):
        steps.rerun_all()
    assert names == ["two", "two"]
    assert not steps.is_repeat


def test_no_step_runs_after_close() -> None:
    steps = Steps()
    steps.close()
    with pytest.raises(InputError, match="another incident was opened after it"):
        steps.run(("", "one"), lambda: pytest.fail("the step ran"))


def run_cell(steps: Steps, cell: str, *names: str, succeeded: bool = True) -> Change | None:
    """Run the cell with these steps; return what that changes."""
    steps.begin_cell(cell)
    for name in names:
        steps.run(("", name), lambda: None)
    return steps.end_cell(succeeded=succeeded)


def test_steps_that_a_cell_drops_are_replaced_by_those_that_it_runs_now() -> None:
    steps, names = Steps(), list[str]()
    assert run_cell(steps, "one", "a(1)", "b(1)") is None
    assert run_cell(steps, "two", "c(1)") is None
    assert run_cell(steps, "one", "a(1)", "b(1)") is None
    changed = run_cell(steps, "one", "a(2)", "b(1)")
    assert changed == Change((("", "a(2)"), ("", "b(1)")), (("", "a(1)"),))
    assert changed is not None
    assert changed.within("") == (("a(2)", "b(1)"), ("a(1)",))
    for name in ("a(2)", "b(1)", "c(1)"):
        steps.run(("", name), lambda name=name: names.append(name))  # type: ignore[misc]
    names.clear()
    steps.rerun_all()
    assert names == ["a(2)", "b(1)", "c(1)"]


def test_a_step_that_another_cell_runs_too_keeps_its_place() -> None:
    steps = Steps()
    run_cell(steps, "one", "a(1)")
    run_cell(steps, "two", "a(1)", "b(1)")
    assert run_cell(steps, "two", "c(1)") == Change((("", "c(1)"),), (("", "b(1)"),))


def test_a_cell_that_failed_takes_nothing_back_until_it_is_run_soundly() -> None:
    steps = Steps()
    run_cell(steps, "one", "a(1)", "b(1)")
    assert run_cell(steps, "one", "a(2)", succeeded=False) is None
    assert run_cell(steps, "one", "a(2)") == Change((("", "a(2)"),), (("", "a(1)"), ("", "b(1)")))


def test_where_no_cell_is_known_nothing_is_taken_back() -> None:
    steps = Steps()
    run_cell(steps, "", "a(1)")
    assert run_cell(steps, "", "b(1)") is None


def test_the_same_with_other_limits_is_known_while_the_cell_runs() -> None:
    steps = Steps()
    run_cell(steps, "one", "a(1)")
    steps.begin_cell("one")
    assert steps.former_of(("", "a(2)")) == ("", "a(1)")
    assert steps.former_of(("", "a(1)")) is None
    assert steps.former_of(("cause", "a(2)")) is None


def test_a_ledger_is_put_right_at_the_place_of_what_is_gone() -> None:
    ledger = {"x": 1, "old": 2, "y": 3, "z": 4, "new": 5}
    assert list(reorder(ledger, ["new", "y"], ["old"])) == ["x", "new", "y", "z"]
    assert list(reorder(ledger, ["never kept"], [])) == list(ledger)
