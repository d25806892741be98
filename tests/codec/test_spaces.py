"""Spaces as JSON, and samples of any of them as columns and back."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import all_spaces, same, samples
from tupli_repo.codec.samples import (
    column_names,
    columns_from_samples,
    escape,
    samples_from_columns,
    unescape,
)
from tupli_repo.codec.spaces import build_space, describe_space, infer_tree, tree_for
from tupli_repo.codec.values import dump_json, load_json
from tupli_repo.errors import CorruptObjectError, EncodingError

box: Any = spaces.Box
spaces_and_samples = all_spaces().flatmap(
    lambda space: st.lists(samples(space), min_size=1, max_size=4).map(lambda s: (space, s))
)


def again(space, found):
    """Samples by way of the tree, as it stands in a layout, and columns."""
    tree = load_json(dump_json(describe_space(space)))
    columns = columns_from_samples(tree, found, "observations")
    assert list(columns) == column_names(tree, "observations")
    return list(samples_from_columns(tree, columns, "observations", len(found)))


@given(all_spaces())
def test_every_space_comes_back_from_its_tree(space):
    rebuilt = build_space(load_json(dump_json(describe_space(space))))
    assert rebuilt == space
    assert getattr(rebuilt, "dtype", None) == getattr(space, "dtype", None)


@given(spaces_and_samples)
def test_samples_come_back_bit_for_bit(found):
    space, seen = found
    assert same(again(space, seen), seen)


@given(spaces_and_samples)
def test_samples_of_a_space_that_is_not_known_come_back_too(found):
    _, seen = found
    tree = infer_tree(seen[0])
    columns = columns_from_samples(tree, seen, "actions")
    assert same(list(samples_from_columns(tree, columns, "actions", len(seen))), seen)


@given(st.text("ab%/#2F35é", max_size=8))
def test_a_key_comes_back_from_its_escaped_form(key):
    assert unescape(escape(key)) == key
    assert not set("/#") & set(escape(key))


@pytest.mark.parametrize(
    ("space", "given_", "dtype"),
    [
        (spaces.Discrete(5), [0, np.int64(3), True], "int64"),
        (spaces.Discrete(5, dtype=np.int32), [1, 2, np.int32(3)], "int32"),
        (spaces.Discrete(300), [np.uint8(1), 299], "int64"),
        (spaces.Discrete(2), [False, True], "int64"),
        (box(0, 1, (2,), np.float32), [[0.5, 0.25], (1, 0)], "float32"),
        (box(0, 1, (2,), np.float32), [[0.1, 0.2]], "float64"),
        (box(0, 1, (2,), np.float32), [np.array([0.1, 0.2])], "float64"),
        (box(0, 1, (), np.float64), [0.5, 1], "float64"),
        (box(0, 9, (1,), np.int8), [np.array([3], np.int8), np.array([300], np.int16)], "int16"),
        (
            box(0, 9, (1,), np.int8),
            [np.array([3], np.int8), np.array([0.5], np.float16)],
            "float16",
        ),
        (spaces.MultiBinary(2), [[0, 1], np.array([1, 1], np.int8)], "int8"),
    ],
    ids=str,
)
def test_values_are_kept_in_one_dtype_that_holds_them_all(space, given_, dtype):
    found = again(space, given_)
    assert [sample.dtype for sample in found] == [np.dtype(dtype)] * len(given_)
    assert [np.asarray(s).tolist() for s in found] == [np.asarray(s).tolist() for s in given_]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.int64(2**53 + 1), np.float64(0.5)),
        (np.int64(2**63 - 1), np.float64(0.5)),
        (np.uint64(2**64 - 1), np.int64(-1)),
        (np.uint64(2**64 - 1), np.float32(1)),
        (np.float32(1), np.datetime64("2020-01-01")),
        (np.uint32(0x7F800001).view(np.float32), np.float64(1)),
        (1, 2**64),
        (1, "one"),
        (1.0, None),
        (1.0, {"a": 1}),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros((2, 1))),
        ([1, 2], [1, [2]]),
        ({1, 2}, {1}),
        (np.longdouble(1), np.longdouble(2)),
    ],
    ids=str,
)
def test_what_no_dtype_holds_exactly_is_refused(first, second):
    with pytest.raises(EncodingError, match="observations"):
        again(box(-np.inf, np.inf, (), np.float64), [first, second])


@pytest.mark.parametrize(
    ("space", "sample", "words"),
    [
        (spaces.Dict({"a": spaces.Discrete(2)}), np.zeros(1), "dict"),
        (spaces.Dict({"a": spaces.Discrete(2)}), {"b": 0}, "no key 'a'"),
        (spaces.Dict({"a": spaces.Discrete(2)}), {"a": 0, "b": 1}, "has the key 'b'"),
        (spaces.Tuple([spaces.Discrete(2)]), 1, "tuple"),
        (spaces.Tuple([spaces.Discrete(2)]), (1, 1), "tuple of 1"),
        (spaces.Tuple([spaces.Discrete(2)]), None, "tuple"),
        (spaces.Discrete(2), {"a": 1}, "number or an array"),
        (spaces.Discrete(2), "one", "number or an array"),
    ],
    ids=str,
)
def test_a_sample_that_does_not_fit_its_space_is_named(space, sample, words):
    with pytest.raises(EncodingError, match=words) as raised:
        again(space, [space.sample(), sample])
    assert "observations" in raised.value.message
    assert "[1]" in raised.value.message


def test_two_keys_that_would_share_a_column_are_refused():
    space = spaces.Dict({1: spaces.Discrete(2), "1": spaces.Discrete(9)})  # type: ignore[dict-item]
    with pytest.raises(EncodingError, match="two keys that read '1'"):
        again(space, [{1: 0, "1": 8}])


def test_parts_have_columns_named_by_their_path():
    space = spaces.Dict(
        {"cam/left": box(0, 255, (2,), np.uint8), "x": spaces.Tuple([spaces.Discrete(2)] * 2)}
    )
    assert column_names(describe_space(space), "observations") == [
        "observations/cam%2Fleft",
        "observations/x/0",
        "observations/x/1",
    ]


def test_a_subclass_of_a_space_is_stored_as_its_base():
    class Bounded(spaces.Box):
        pass

    space = Bounded(0, 1, (2,))
    assert build_space(describe_space(space)) == spaces.Box(0, 1, (2,))


def test_a_space_of_another_kind_is_refused():
    class Odd(spaces.Space[Any]):
        pass

    with pytest.raises(EncodingError, match="Odd"):
        describe_space(Odd())


def test_where_a_space_is_of_another_kind_the_sample_tells_and_the_rest_is_known():
    class Mission(spaces.Space[Any]):
        pass

    box = spaces.Box(0, 1, (2,))
    space = spaces.Dict({"image": box, "more": spaces.Tuple([Mission(), box]), "text": Mission()})
    sample = {"image": np.zeros(2), "more": (np.zeros(3), np.zeros(2)), "text": "go"}
    known, odd = describe_space(box), {"type": "Array"}
    assert tree_for(space, sample) == {
        "type": "Dict",
        "spaces": [
            ["image", known],
            ["more", {"type": "Tuple", "spaces": [odd, known]}],
            ["text", {"type": "Text"}],
        ],
    }


BIG = {"type": "Box", "dtype": "|u1", "shape": [1 << 25], "low": 0, "high": 1}


@pytest.mark.parametrize(
    "tree",
    [
        {"type": "Box"},
        {"type": "Box", "dtype": "O", "shape": [1], "low": 0, "high": 1},
        {"type": "Box", "dtype": "<f4", "shape": [-1], "low": 0, "high": 1},
        {"type": "Discrete", "dtype": "<i8", "n": 0, "start": 0},
        {"type": "Dict", "spaces": 3},
        {"type": "Dict", "spaces": [["a"]]},
        {"type": "Tuple", "spaces": [3]},
        {"type": "Box", "dtype": "|a4", "shape": [1], "low": 0, "high": 1},
        {"type": "Box", "dtype": "|u1", "shape": [1 << 27], "low": 0, "high": 1},
        {"type": "Tuple", "spaces": [BIG, BIG, BIG]},
        {"type": "Nothing"},
        {"type": ["Box"]},
    ],
    ids=str,
)
def test_a_malformed_tree_is_damage_and_nothing_else(tree):
    with pytest.raises(CorruptObjectError):
        build_space(tree)


def test_a_space_with_an_unknown_leaf_is_not_known():
    assert build_space(infer_tree({"a": 1, "b": (2, 3)})) is None


def test_a_space_of_which_a_sample_is_as_large_as_a_disk_is_not_described():
    part = spaces.Box(0, 1, (1 << 24,), np.uint8)
    assert describe_space(spaces.Tuple([part] * 2))
    with pytest.raises(EncodingError, match="samples take more"):
        describe_space(spaces.Tuple([part] * 5))
