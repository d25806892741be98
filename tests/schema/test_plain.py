"""Plain values: numpy's become Python's, everything keeps its form."""

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tupli_repo.schema.plain import (
    ValueClass,
    at_most,
    below,
    differ,
    equal,
    plain,
    value_class,
    values_at,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class Graph(NamedTuple):
    nodes: object
    edges: object


@given(json_values)
def test_what_is_plain_stays_equal_and_is_a_copy(value: Any) -> None:
    copy = plain(value)
    assert copy == value
    if isinstance(value, list | dict):
        assert copy is not value


@given(json_values)
def test_equality_is_reflexive_but_for_nan(value: Any) -> None:
    assert equal(value, value)
    assert not differ(value, value)


@given(json_values, json_values)
def test_comparisons_are_symmetric_and_orders_exclude_each_other(one: Any, other: Any) -> None:
    assert equal(one, other) is equal(other, one)
    assert differ(one, other) is differ(other, one)
    assert not (below(one, other) and at_most(other, one))
    if below(one, other):
        assert at_most(one, other)
        assert differ(one, other)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.arange(4, dtype=np.uint8).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(3), 3),
        ({"a": np.arange(2), "b": (np.int8(1), None)}, {"a": [0, 1], "b": (1, None)}),
        (OrderedDict(z=np.zeros(1), a=1), {"z": [0.0], "a": 1}),
        ((np.zeros(1), np.ones(1)), ([0.0], [1.0])),
        (Graph(nodes=np.zeros((1, 1)), edges=None), {"nodes": [[0.0]], "edges": None}),
        (np.array([np.arange(2), None], dtype=object), [[0, 1], None]),
    ],
)
def test_arrays_become_lists_wherever_they_are(value: object, expected: object) -> None:
    result = plain(value)
    assert result == expected
    assert repr(result) == repr(expected)


def test_what_is_unknown_passes_unchanged() -> None:
    thing = object()
    assert plain(thing) is thing
    assert plain([thing]) == [thing]
    extended = np.longdouble(1)
    assert plain(extended) == extended


def test_an_item_method_is_enough_for_a_scalar() -> None:
    class Scalar:
        def item(self) -> int:
            return 7

    assert plain(Scalar()) == 7
    assert equal(Scalar(), 7)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ValueClass.NULL),
        (False, ValueClass.BOOL),
        (0, ValueClass.NUMBER),
        (0.5, ValueClass.NUMBER),
        ("", ValueClass.STRING),
        ([], ValueClass.LIST),
        ((), ValueClass.LIST),
        ({}, ValueClass.OBJECT),
        (b"", None),
        (set(), None),
        (1j, None),
    ],
)
def test_each_value_has_one_class_or_none(value: object, expected: ValueClass | None) -> None:
    assert value_class(value) is expected


def test_all_values_of_one_path_are_found() -> None:
    record = {"a": {"b": {"c": 1}, "b.c": 2}, "a.b": {"c": 3}, "a.b.c": 4}
    assert sorted(values_at(record, "a.b.c")) == [1, 2, 3, 4]
    assert list(values_at(record, "a.c")) == []


@given(st.lists(st.text(alphabet="a.", max_size=3), min_size=1, max_size=4))
def test_the_joined_keys_always_lead_to_their_value(steps: list[str]) -> None:
    record: Any = "here"
    for key in reversed(steps):
        record = {key: record}
    assert list(values_at(record, ".".join(steps))) == ["here"]
