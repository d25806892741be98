"""Samples of every space come back as they were, by way of columns alone."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import GraphInstance
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st

from tupli_repo.codec import episode as codec
from tupli_repo.codec.columns import concatenate
from tupli_repo.codec.episode import EpisodeData, Steps
from tupli_repo.codec.episode_record import decode_record, encode_record
from tupli_repo.codec.samples import (
    column_names,
    columns_from_samples,
    escape,
    samples_from_columns,
    unescape,
)
from tupli_repo.codec.spaces import build_space, describe_space
from tupli_repo.errors import CorruptObjectError, EncodingError

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
KEYS = ["a", "a/b", "#", "%2F", "ü", "", "0", "infos/x#offsets"]

boxes = st.builds(
    lambda shape, dtype: spaces.Box(0, 1, shape, np.dtype(dtype).type),
    st.lists(st.integers(0, 3), min_size=1, max_size=2).map(tuple),
    st.sampled_from(DTYPES),
)
leaves: st.SearchStrategy[Any] = st.one_of(
    boxes,
    st.builds(
        lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 4), st.integers(-3, 3)
    ),
    st.builds(spaces.MultiBinary, st.sampled_from([1, 3, [2, 2]])),
    st.builds(spaces.MultiDiscrete, st.sampled_from([[2], [2, 3], [[2, 3], [4, 5]]])),
)
graphs = st.builds(
    lambda node, edge: spaces.Graph(node, edge),
    st.sampled_from([spaces.Box(0, 1, (2,)), spaces.Discrete(3)]),
    st.sampled_from([None, spaces.Box(0, 1, (1,)), spaces.Discrete(2)]),
)
all_spaces: st.SearchStrategy[Any] = st.recursive(
    leaves | st.builds(spaces.Text, st.integers(1, 5)) | graphs,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(spaces.Tuple),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=3).map(spaces.Dict),
        st.builds(spaces.Sequence, inner),
        st.lists(inner, min_size=1, max_size=3).map(spaces.OneOf),
    ),
    max_leaves=5,
)
stacked = st.one_of(leaves, st.lists(leaves, min_size=1, max_size=2).map(spaces.Tuple)).map(
    lambda inner: spaces.Sequence(inner, stack=True)
)


def round_trip(space: Any, samples: list[Any]) -> list[Any]:
    tree = describe_space(space)
    columns = columns_from_samples(tree, samples, "x")
    assert list(columns) == column_names(tree, "x")
    return list(samples_from_columns(tree, columns, "x", len(samples)))


def same(one: Any, other: Any) -> bool:
    return bool(data_equivalence(one, other, exact=True))


@settings(max_examples=300, deadline=None)
@given(space=all_spaces | stacked, seed=st.integers(0, 2**31), n=st.integers(1, 6))
def test_samples_of_every_space_come_back_bit_for_bit(space: Any, seed: int, n: int):
    space.seed(seed)
    samples = [space.sample() for _ in range(n)]
    found = round_trip(space, samples)
    assert all(same(one, other) for one, other in zip(samples, found, strict=True))
    assert build_space(describe_space(space)) == space


@settings(max_examples=60, deadline=None)
@given(space=all_spaces, action_space=all_spaces, seed=st.integers(0, 2**31))
def test_episodes_of_every_space_come_back_bit_for_bit(space: Any, action_space: Any, seed: int):
    space.seed(seed)
    action_space.seed(seed)
    n = seed % 5 + 1
    steps = Steps(
        observations=[space.sample() for _ in range(n + 1)],
        actions=[action_space.sample() for _ in range(n)],
        rewards=[0.5] * n,
        terminated=[False] * n,
        truncated=[False] * n,
        infos=[{}] * n,
    )
    encoded = codec.encode(steps, observation_space=space, action_space=action_space)
    body = encode_record({**encoded.record, "created_at": "now", "created_by": "ada"})
    layout = codec.decode_layout(encoded.layout)
    data: EpisodeData = codec.decode(decode_record(body), layout, encoded.data)
    assert layout.observation_space == space
    assert all(map(same, steps.observations, data.observations))
    assert all(map(same, steps.actions, data.actions))


def test_branches_are_told_apart():
    space = spaces.OneOf([spaces.Discrete(9), spaces.Text(3), spaces.Box(0, 9, (2,))])
    samples = [
        (np.int64(0), np.int64(4)),
        (np.int64(2), np.array([1, 2], np.float32)),
        (np.int64(0), np.int64(7)),
        (np.int64(1), "ab"),
        (np.int64(2), np.array([3, 4], np.float32)),
        (np.int64(1), "c"),
    ]
    assert all(map(same, samples, round_trip(space, samples)))


def test_graphs_keep_what_they_do_not_have():
    space = spaces.Graph(spaces.Box(0, 9, (1,)), spaces.Discrete(3))
    nodes = np.ones((2, 1), np.float32)
    links = np.array([[0, 1]], np.int32)
    samples = [
        GraphInstance(nodes, None, None),
        GraphInstance(nodes, np.array([2]), links),
        GraphInstance(nodes[:0], np.empty(0, np.int64), np.empty((0, 2), np.int32)),
    ]
    found = round_trip(space, samples)
    assert found[0].edges is None
    assert found[0].edge_links is None
    assert found[2].edges.shape == (0,)
    assert all(map(same, samples, found))


def test_lone_surrogates_in_text_come_back():
    assert round_trip(spaces.Text(9), ["a", "", "\udc80ü"]) == ["a", "", "\udc80ü"]


@pytest.mark.parametrize(
    ("space", "samples", "where"),
    [
        (spaces.Text(3), ["a", 1], "x[1]"),
        (spaces.Sequence(spaces.Discrete(2)), [(1,), 3], "x[1]"),
        (spaces.Graph(spaces.Discrete(2), None), [3], "x[0]"),
        (spaces.OneOf([spaces.Discrete(2)]), [(1, 1)], "x[0]"),
        (spaces.OneOf([spaces.Discrete(2)]), [3], "x[0]"),
        (spaces.Dict({"a": spaces.Discrete(2)}), [{"a": 1}, {"b": 1}], "x[1]"),
        (spaces.Tuple([spaces.Discrete(2)]), [(1,), (1, 1)], "x[1]"),
        (spaces.Box(0, 1, (2,)), [np.zeros(2), np.zeros(3)], "step 1"),
    ],
)
def test_what_is_no_sample_is_refused_by_its_place(space: Any, samples: list[Any], where: str):
    with pytest.raises(EncodingError) as caught:
        round_trip(space, samples)
    assert where in caught.value.message


@pytest.mark.parametrize("name", ["x#offsets", "x"])
def test_columns_that_do_not_belong_together_are_refused(name: str):
    tree = describe_space(spaces.Text(5))
    columns = columns_from_samples(tree, ["ab", "c"], "x")
    for wrong in (columns[name][:-1], columns[name][::-1] if name != "x" else columns[name][:0]):
        with pytest.raises(CorruptObjectError, match="do not belong together"):
            samples_from_columns(tree, {**columns, name: wrong}, "x", 2)
    with pytest.raises(CorruptObjectError, match="do not belong together"):
        samples_from_columns(tree, {}, "x", 2)


def test_ragged_columns_of_several_episodes_join():
    tree = describe_space(spaces.Text(5))
    parts = [columns_from_samples(tree, texts, "x") for texts in (["ab", "c"], ["", "def"])]
    joined = samples_from_columns(tree, concatenate(parts), "x", 4)
    assert list(joined) == ["ab", "c", "", "def"]


@given(st.text())
def test_names_are_escaped_and_back(text: str):
    escaped = escape(text)
    assert not set("/#") & set(escaped)
    assert unescape(escaped) == text
