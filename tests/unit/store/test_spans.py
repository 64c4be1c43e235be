"""Spans against the plain set of positions they stand for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from entrepot.store.spans import Spans

SIZE = 40
spans = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE))
changes = st.lists(st.tuples(st.sampled_from(["add", "remove"]), spans), max_size=20)


def positions(found: list[tuple[int, int]]) -> list[int]:
    return [position for start, end in found for position in range(start, end)]


@given(changes, spans)
def test_spans_hold_what_was_added_and_not_removed(
    made: list[tuple[str, tuple[int, int]]], asked: tuple[int, int]
) -> None:
    found, model = Spans(), set[int]()
    for change, (start, end) in made:
        getattr(found, change)(start, end)
        model = model | {*range(start, end)} if change == "add" else model - {*range(start, end)}
    assert positions(found.as_list()) == sorted(model)
    assert all(end < start for (_, end), (start, _) in zip(found.as_list(), found.as_list()[1:], strict=False))
    assert positions(found.missing(*asked)) == [at for at in range(*asked) if at not in model]
    assert all(start < end for start, end in found.missing(*asked))
    assert found.prefix() == next(at for at in range(SIZE + 1) if at not in model)
    assert found.end() == max(model, default=-1) + 1
    assert bool(found) == bool(model)
