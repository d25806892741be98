"""Filters: every rule of the module, and that no record makes one raise."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tupli_repo.errors import InvalidInputError
from tupli_repo.schema import (
    BaseFilter,
    BenchmarkMetadata,
    EpisodesListRequest,
    FilterAND,
    FilterEQ,
    FilterGEQ,
    FilterGT,
    FilterIN,
    FilterLEQ,
    FilterLT,
    FilterNE,
    FilterOR,
    FilterType,
)
from tupli_repo.schema.plain import value_class

ORDERINGS = (FilterLT, FilterLEQ, FilterGT, FilterGEQ)
COMPARISONS = (FilterEQ, FilterNE, *ORDERINGS)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from([0.0, 1.0, 2.0**53, 2**53 + 1, "", "1", "true", "a", "global"]),
    st.text(max_size=3),
)
keys = st.sampled_from(["a", "b", "a.b", "", "b.a", "published_in", "metadata"])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.lists(st.sampled_from(["global", "a", "local"]), max_size=3)
    ),
    max_leaves=8,
)
records = st.dictionaries(keys, values, max_size=4)
paths = st.lists(keys, min_size=1, max_size=3).map(".".join)


@st.composite
def comparisons(draw: st.DrawFn) -> BaseFilter:
    value = draw(values.filter(lambda v: v is not None))
    if draw(st.booleans()):
        return FilterIN(key=draw(paths), value=[value, draw(values)])
    return draw(st.sampled_from(COMPARISONS))(key=draw(paths), value=value)


filters = st.recursive(
    comparisons(),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda f: FilterAND(filters=f))
        | st.lists(inner, max_size=3).map(lambda f: FilterOR(filters=f))
    ),
    max_leaves=5,
)


def oracle_class(value: object) -> str:
    return {bool: "bool", int: "number", float: "number", str: "string", type(None): "null"}[
        type(value)
    ]


def oracle(kind: FilterType, found: Any, wanted: Any) -> bool:
    if oracle_class(found) != oracle_class(wanted):
        return False
    if kind in (FilterType.EQ, FilterType.NE):
        return bool(found == wanted) == (kind is FilterType.EQ)
    if oracle_class(found) not in ("number", "string"):
        return False
    signs = {FilterType.LT: "<", FilterType.LEQ: "<=", FilterType.GT: ">", FilterType.GEQ: ">="}
    return bool(eval(f"found {signs[kind]} wanted"))


@given(records, filters)
def test_every_filter_answers_every_record_with_a_bool(
    record: dict[str, Any], condition: BaseFilter
) -> None:
    assert type(condition.matches(record)) is bool


@given(
    st.dictionaries(st.sampled_from("abc"), scalars),
    st.sampled_from("abc"),
    scalars.filter(lambda v: v is not None),
    st.sampled_from(COMPARISONS),
)
def test_on_flat_records_filters_agree_with_the_oracle(
    record: dict[str, Any], key: str, value: Any, kind: type[BaseFilter]
) -> None:
    condition = kind(key=key, value=value)
    expected = key in record and oracle(condition.type, record[key], value)
    assert condition.matches(record) is expected


@given(st.dictionaries(st.sampled_from("abc"), scalars), st.lists(scalars))
def test_in_agrees_with_the_oracle(record: dict[str, Any], wanted: list[Any]) -> None:
    expected = "a" in record and any(oracle(FilterType.EQ, record["a"], w) for w in wanted)
    assert FilterIN(key="a", value=wanted).matches(record) is expected


@given(records, filters, filters)
def test_and_and_or_join_as_booleans_do(
    record: dict[str, Any], one: BaseFilter, other: BaseFilter
) -> None:
    assert (one & other).matches(record) is (one.matches(record) and other.matches(record))
    assert (one | other).matches(record) is (one.matches(record) or other.matches(record))


@given(records, filters)
def test_a_filter_read_back_from_json_selects_the_same(
    record: dict[str, Any], condition: BaseFilter
) -> None:
    read = BaseFilter.model_validate_json(condition.model_dump_json())
    assert read.type is condition.type
    assert read.matches(record) is condition.matches(record)


@given(values, values.filter(lambda v: v is not None))
def test_eq_and_ne_divide_exactly_the_values_of_one_class(found: Any, wanted: Any) -> None:
    equal = FilterEQ(key="x", value=wanted).matches({"x": found})
    differ = FilterNE(key="x", value=wanted).matches({"x": found})
    assert (equal != differ) is (value_class(found) is value_class(wanted))
    assert not (equal and differ)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (1, True),
        (0, False),
        ("1", 1),
        (None, 0),
        (None, ""),
        (None, False),
        ([], ""),
        ({}, []),
        ([1], 1),
        (b"a", "a"),
    ],
)
@pytest.mark.parametrize("kind", COMPARISONS)
def test_values_of_two_classes_never_match(
    kind: type[BaseFilter], found: object, wanted: object
) -> None:
    assert not kind(key="x", value=wanted).matches({"x": found})


@pytest.mark.parametrize("kind", COMPARISONS)
def test_a_missing_key_matches_nothing(kind: type[BaseFilter]) -> None:
    records: list[dict[str, Any]] = [
        {},
        {"y": 1},
        {"x": {}},
        {"x": [{"y": 1}]},
        {"x": 1},
        {"x": None},
    ]
    for record in records:
        assert not kind(key="x.y", value=1).matches(record)


@pytest.mark.parametrize("kind", ORDERINGS)
@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
def test_what_has_no_order_is_not_ordered(kind: type[BaseFilter], value: object) -> None:
    assert not kind(key="x", value=value).matches({"x": value})


def test_a_value_without_a_class_matches_nothing_not_even_itself() -> None:
    thing = object()
    for kind in COMPARISONS:
        assert not kind(key="x", value=thing).matches({"x": thing})


def test_nan_equals_nothing_and_differs_from_every_number() -> None:
    nan = math.nan
    assert not FilterEQ(key="x", value=nan).matches({"x": nan})
    assert not FilterIN(key="x", value=[nan]).matches({"x": nan})
    assert FilterNE(key="x", value=nan).matches({"x": nan})
    assert FilterNE(key="x", value=nan).matches({"x": 1})
    assert FilterNE(key="x", value=1).matches({"x": nan})
    assert not FilterNE(key="x", value=nan).matches({"x": "nan"})
    assert not any(kind(key="x", value=nan).matches({"x": 1}) for kind in ORDERINGS)


def test_integers_and_floats_compare_exactly() -> None:
    big = 2**53
    assert FilterEQ(key="x", value=float(big)).matches({"x": big})
    assert not FilterEQ(key="x", value=float(big)).matches({"x": big + 1})
    assert FilterGT(key="x", value=float(big)).matches({"x": big + 1})
    assert FilterLT(key="x", value=math.inf).matches({"x": 10**400})


def test_strings_are_ordered_by_code_point() -> None:
    assert FilterLT(key="x", value="a").matches({"x": "Z"})
    assert FilterGT(key="x", value="\uffff").matches({"x": "\U00010000"})


def test_lists_and_objects_are_equal_member_by_member_within_class() -> None:
    assert FilterEQ(key="x", value=[1, {"a": "b"}]).matches({"x": [1.0, {"a": "b"}]})
    assert FilterEQ(key="x", value={"a": [None]}).matches({"x": {"a": [None]}})
    others: list[list[Any]] = [[True], [1, 1], [[1]], []]
    for found in others:
        assert not FilterEQ(key="x", value=[1]).matches({"x": found})
        assert FilterNE(key="x", value=[1]).matches({"x": found})
    assert FilterNE(key="x", value={"a": 1}).matches({"x": {"b": 1}})
    assert not FilterNE(key="x", value={"a": 1}).matches({"x": {"a": 1}})


def test_a_record_nested_deeper_than_the_stack_is_compared() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert not FilterEQ(key="x", value=[[[1]]]).matches({"x": deep})
    short = FilterEQ(key="x", value=[1])
    short.value = deep
    assert short.matches({"x": deep})
    while deep:  # taken apart from outside, or the interpreter does it recursively
        deep = deep.pop()


@pytest.mark.parametrize(
    "record",
    [
        {"metadata": {"extra": {"a.b": 1}}},
        {"metadata": {"extra": {"a": {"b": 1}}}},
        {"metadata": {"extra.a": {"b": 1}}},
        {"metadata.extra": {"a.b": 1}},
        {"metadata.extra.a.b": 1},
        {"metadata": {"extra": {"a.b": 2, "a": {"b": 1}}}},
        {"metadata": {"extra": {"a.b": 1, "a": {"b": 2}}}},
        {"metadata": {"extra": {"a": 5}}, "metadata.extra.a": {"b": 1}},
    ],
)
def test_a_path_finds_keys_that_hold_dots(record: dict[str, Any]) -> None:
    assert FilterEQ(key="metadata.extra.a.b", value=1).matches(record)


def test_empty_keys_and_odd_paths_are_paths_like_any_other() -> None:
    assert FilterEQ(key="", value=1).matches({"": 1})
    assert FilterEQ(key=".a", value=1).matches({"": {"a": 1}})
    assert FilterEQ(key="a.", value=1).matches({"a": {"": 1}})
    assert FilterEQ(key="..", value=1).matches({"": {"": {"": 1}}})
    assert not FilterEQ(key="a..b", value=1).matches({"a": {"b": 1}})


def test_list_indices_are_no_paths() -> None:
    assert not FilterEQ(key="x.0", value=1).matches({"x": [1]})


def test_in_compares_like_eq_with_each_element() -> None:
    condition = FilterIN(key="x", value=[1, "a", None, [2]])
    inside: list[object] = [1.0, "a", None, [2.0]]
    outside: list[object] = [True, "1", 2, [], False]
    assert all(condition.matches({"x": found}) for found in inside)
    assert not any(condition.matches({"x": found}) for found in outside)
    assert not condition.matches({})
    assert not FilterIN(key="x", value=[]).matches({"x": 1})


@pytest.mark.parametrize("value", ["abc", 1, {"a": 1}, {1, 2}, True])
def test_in_refuses_what_is_not_a_list(value: object) -> None:
    with pytest.raises(ValidationError, match="needs a list of values"):
        FilterIN(key="x", value=value)


def test_published_in_is_asked_for_its_members() -> None:
    record = {"published_in": ["me", "global"]}
    assert FilterEQ(key="published_in", value="global").matches(record)
    assert not FilterEQ(key="published_in", value="glob").matches(record)
    assert FilterNE(key="published_in", value="lab").matches(record)
    assert not FilterNE(key="published_in", value="global").matches(record)
    assert FilterNE(key="published_in", value="global").matches({"published_in": []})
    assert FilterIN(key="published_in", value=["lab", "global"]).matches(record)
    assert not FilterIN(key="published_in", value=["lab"]).matches(record)
    assert not FilterNE(key="published_in", value="global").matches({})


def test_published_in_compared_with_a_list_is_compared_whole() -> None:
    record = {"published_in": ["me", "global"]}
    assert FilterEQ(key="published_in", value=["me", "global"]).matches(record)
    assert FilterNE(key="published_in", value=["global"]).matches(record)
    assert FilterIN(key="published_in", value=[["me", "global"]]).matches(record)
    assert not FilterEQ(key="tags", value="a").matches({"tags": ["a"]})
    assert not FilterGEQ(key="published_in", value="a").matches(record)


def test_numpy_values_count_as_what_they_hold() -> None:
    assert FilterEQ(key="x", value=np.int64(1)).matches({"x": 1})
    assert FilterEQ(key="x", value=1).matches({"x": np.float32(1)})
    assert FilterGT(key="x", value=np.float64(0.5)).matches({"x": np.int8(1)})
    assert not FilterEQ(key="x", value=1).matches({"x": np.bool_(True)})
    assert FilterEQ(key="x", value=[1, 2]).matches({"x": np.array([1, 2])})
    assert FilterIN(key="x", value=np.array([1, 2])).matches({"x": 2})
    assert json.loads(FilterEQ(key="x", value=np.int64(1)).model_dump_json())["value"] == 1


def test_the_empty_and_is_true_and_the_empty_or_is_false() -> None:
    assert FilterAND(filters=[]).matches({})
    assert not FilterOR(filters=[]).matches({})
    assert not BaseFilter().matches({})
    assert not BaseFilter(filters=None).matches({})
    assert not EpisodesListRequest().matches({"a": 1})
    assert EpisodesListRequest(include_tuples=True).include_tuples


@pytest.mark.parametrize("kind", [*COMPARISONS, FilterIN])
def test_a_comparison_needs_a_key_and_a_value(kind: type[BaseFilter]) -> None:
    with pytest.raises(ValidationError, match="needs a key and a value"):
        kind(key="x")
    with pytest.raises(ValidationError, match="finds null"):
        kind(value=[1])
    with pytest.raises(ValueError, match="needs a key"):
        BaseFilter(type=FilterType.EQ, key="x", value=None)


def test_a_filter_that_lost_its_key_matches_nothing() -> None:
    condition = FilterEQ(key="x", value=1)
    condition.key = None
    assert not condition.matches({"x": 1})


def test_and_flattens_on_both_sides_and_keeps_the_order() -> None:
    a, b, c, d = (FilterEQ(key=key, value=1) for key in "abcd")
    assert a & b == FilterAND(filters=[a, b])
    assert (a & b) & (c & d) == FilterAND(filters=[a, b, c, d])
    assert a & (b & c) == FilterAND(filters=[a, b, c])
    assert (a | b) & c == FilterAND(filters=[FilterOR(filters=[a, b]), c])


def test_or_flattens_and_counts_the_bare_filter_as_an_empty_or() -> None:
    a, b, c = (FilterEQ(key=key, value=1) for key in "abc")
    assert a | b == FilterOR(filters=[a, b])
    assert (a | b) | c == a | (b | c) == FilterOR(filters=[a, b, c])
    assert BaseFilter() | a == a | BaseFilter() == FilterOR(filters=[a])


def test_joining_leaves_both_sides_as_they_were() -> None:
    a, b = FilterEQ(key="a", value=1), FilterEQ(key="b", value=1)
    both = a & b
    more = both & FilterEQ(key="c", value=1)
    assert both == FilterAND(filters=[a, b])
    assert more.filters is not None
    assert len(more.filters) == 3
    first, second = BaseFilter(), BaseFilter()
    assert first.filters is not second.filters


def test_from_list_finds_what_refers_to_an_item() -> None:
    items: list[BaseModel] = [BenchmarkMetadata(name=name) for name in ("x", "y")]
    condition = FilterOR.from_list(items, on_key="benchmark", from_key="name")
    assert condition.matches({"benchmark": "y"})
    assert not condition.matches({"benchmark": "z"})
    assert not FilterOR.from_list([], on_key="benchmark", from_key="name").matches({"benchmark": 1})


def test_from_list_names_the_attribute_that_is_absent() -> None:
    with pytest.raises(InvalidInputError, match="'colour'"):
        FilterOR.from_list([BenchmarkMetadata(name="x")], on_key="k", from_key="colour")


def test_params_are_added_to_and_never_remembered() -> None:
    given_params = {"limit": 5}
    params = FilterEQ(key="a", value=1).to_params_dict(given_params)
    assert params == {"limit": 5, "type": "EQ", "key": "a", "value": 1, "filters": []}
    assert given_params == {"limit": 5}
    assert "limit" not in FilterEQ(key="a", value=1).to_params_dict()
    nested = (FilterEQ(key="a", value=1) & FilterEQ(key="b", value=2)).to_params_dict()
    assert BaseFilter.model_validate(nested).matches({"a": 1, "b": 2})


def test_a_prefix_reaches_every_key_once() -> None:
    shared = FilterEQ(key="a", value=1)
    condition = FilterOR(filters=[shared, FilterAND(filters=[shared, shared])])
    condition.apply_prefix("metadata")
    assert condition.matches({"metadata": {"a": 1}})
    assert not condition.matches({"a": 1})
    assert shared.key == "a"
    shared.apply_prefix("metadata")
    assert shared.key == "metadata.a"


def test_a_nested_plain_filter_keeps_its_meaning() -> None:
    read = BaseFilter.model_validate(
        {
            "type": "AND",
            "filters": [
                {"type": "GEQ", "key": "a", "value": 2},
                {"type": "OR", "filters": [{"type": "IN", "key": "b", "value": ["x"]}]},
            ],
        }
    )
    assert read.matches({"a": 2, "b": "x"})
    assert not read.matches({"a": 1, "b": "x"})
    assert not read.matches({"a": 2, "b": "y"})
    with pytest.raises(ValidationError):
        BaseFilter.model_validate({"type": "AND", "filters": [{"type": "EQ", "key": "a"}]})


def test_infinities_and_nan_survive_json() -> None:
    for value in (math.inf, -math.inf, [math.nan, 1]):
        read = BaseFilter.model_validate_json(FilterNE(key="x", value=value).model_dump_json())
        assert repr(read.value) == repr(value)
