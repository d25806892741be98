"""Whole episodes as record, layout and data, and back, bit for bit."""

import dataclasses
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import arrays, episodes, json_values, same
from tupli_repo.codec.episode import EpisodeData, Steps, decode, decode_layout, encode
from tupli_repo.codec.episode_record import decode_record, encode_record
from tupli_repo.codec.tuples import final_state_of, tuples_from_steps
from tupli_repo.codec.values import dump_json, load_json
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError

STAMP = {"created_at": "2026-01-01T00:00:00.000000Z", "created_by": "ada", "nonce": "0" * 16}


def again(encoded) -> EpisodeData:
    """The episode that is read of what is stored."""
    record = decode_record(encode_record({**encoded.record, **STAMP}))
    return decode(record, decode_layout(encoded.layout), encoded.data)


def episode(n: int = 3, **changes: Any) -> Steps:
    """An episode of so many steps."""
    given_: dict[str, Any] = {
        "observations": [np.full(2, t, np.float32) for t in range(n + 1)],
        "actions": list(range(n)),
        "rewards": [0.5] * n,
        "terminated": [False] * (n - 1) + [True],
        "truncated": [False] * n,
        "infos": [{} for _ in range(n)],
    }
    return Steps(**{**given_, **changes})


def infos_again(infos) -> list[Any]:
    encoded = encode(episode(len(infos), infos=infos))
    assert not encoded.problems
    return list(again(encoded).infos)


def as_given_back(info):
    """An info whose scalars that make a typed column are Python's."""
    plain = (np.bool_, np.int64, np.float64)
    return {k: v.item() if isinstance(v, plain) else v for k, v in info.items()}


@given(episodes())
def test_every_episode_comes_back_bit_for_bit(made):
    steps = made.steps
    encoded = encode(
        steps, observation_space=made.observation_space, action_space=made.action_space
    )
    assert not encoded.problems
    found = again(encoded)
    assert same(list(found.observations), list(steps.observations))
    assert same(list(found.actions), list(steps.actions))
    assert same(found.rewards, np.asarray(steps.rewards))
    assert found.terminated.tolist() == steps.terminated
    assert found.truncated.tolist() == steps.truncated
    assert len(found.infos) == len(found) == len(steps.actions)
    for seen, info in zip(found.infos, steps.infos, strict=True):
        assert same(as_given_back(seen), as_given_back(info))
    for name in ("metadata", "reset_info", "seed", "options"):
        assert same(found.record[name], getattr(steps, name)), name
    assert found.layout.observation_space == made.observation_space
    assert found.layout.action_space == made.action_space


@settings(max_examples=20)
@given(episodes(max_steps=3))
def test_one_episode_has_one_encoding(made):
    one = encode(made.steps, observation_space=made.observation_space)
    two = encode(made.steps, observation_space=made.observation_space)
    assert (one.layout, one.data, one.record) == (two.layout, two.data, two.record)


@given(st.lists(json_values(), min_size=2, max_size=4))
def test_infos_of_one_key_come_back_whatever_they_are(values):
    found = infos_again([{"key": value} for value in values])
    for seen, value in zip(found, values, strict=True):
        assert same(as_given_back(seen), as_given_back({"key": value}))


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        [True, False],
        [0.5, -0.0],
        [1, 2.5],
        [1, True],
        [None, None],
        [None, 1],
        [2**63, 2**70],
        [np.float32(1), np.float32(2)],
        [np.float32(1), np.float64(2)],
        [np.zeros(2, np.uint8), np.ones(2, np.uint8)],
        [np.zeros(2), np.zeros(3)],
        [np.zeros((0, 2)), np.ones((0, 2))],
        ["a", ""],
        ["\ud800", "é"],
        [b"", b"\xff"],
        [(1, 2), [1, 2]],
        [{"a": {"b": (np.float16(1),)}}, {}],
        [{1: 2, None: 3}, {(1, "x"): 4}],
        [{"#f": 1}, {"#": 1}],
        [np.array(["a", "bc"]), np.array(["d", "e"])],
        [np.datetime64("2020-01-01"), np.datetime64("NaT")],
        [np.str_("ab"), np.str_("c")],
    ],
    ids=str,
)
@pytest.mark.parametrize("key", ["x", "", "a/b", "#json", "50%", "é ", "\ud800", 7, None])
def test_an_info_of_every_kind_comes_back_in_its_type(key, values):
    infos = [{key: value, "other": i} for i, value in enumerate(values)]
    assert same(infos_again(infos), infos)
    with_gap = [*infos, {"other": 2}]
    assert same(infos_again(with_gap), with_gap)


def test_a_key_that_every_step_has_is_a_typed_column():
    infos = [{"a/b": 1.5, "n": i, "grid": np.zeros((2, 3), np.int8)} for i in range(4)]
    columns = again(encode(episode(4, infos=infos))).columns
    assert columns["infos/a%2Fb"].dtype == np.float64
    assert columns["infos/n"].tolist() == [0, 1, 2, 3]
    assert columns["infos/grid"].shape == (4, 2, 3)
    assert "infos#json" not in columns


def test_what_cannot_be_stored_is_left_out_and_named_and_the_rest_is_kept():
    infos: list[dict[str, Any]] = [{"a": 1}, {"a": 2, "render": object()}, {"a": 3}]
    made = episode(
        infos=infos,
        metadata={"who": "ada", "fn": len},
        options={"x": {1, 2}, "y": 1},
        reset_info={"z": object(), "t": 0},
    )
    encoded = encode(made)
    found = again(encoded)
    assert list(found.infos) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert found.record["metadata"] == {"who": "ada"}
    assert found.record["options"] == {"y": 1}
    assert found.record["reset_info"] == {"t": 0}
    told = " ".join(problem.message for problem in encoded.problems)
    for place in ("infos[1].render", "metadata.fn", "options.x", "reset_info.z"):
        assert place in told


def test_a_key_that_cannot_be_stored_in_any_step_is_named():
    encoded = encode(episode(2, infos=[{"engine": object()}, {"engine": object()}]))
    assert list(again(encoded).infos) == [{}, {}]
    assert "infos[0].engine" in encoded.problems[0].message


@pytest.mark.parametrize("value", [None, [1], "text", 3], ids=str)
def test_metadata_and_infos_that_are_no_dictionary_cost_only_themselves(value):
    encoded = encode(episode(2, metadata=value, infos=[{"a": 1}, value], reset_info=value))
    found = again(encoded)
    assert list(found.infos) == [{"a": 1}, {}]
    assert found.record["metadata"] == {}
    assert found.record["reset_info"] == {}
    assert bool(encoded.problems) is (value is not None)


def test_items_that_are_too_large_together_cost_only_some_of_themselves():
    half = "x" * (5 << 20)
    encoded = encode(
        episode(
            2, metadata={"a": half, "b": half, "c": 1}, infos=[{"p": half, "q": half}, {"r": 1}]
        )
    )
    found = again(encoded)
    assert found.infos[1] == {"r": 1}
    assert found.record["metadata"]["c"] == 1
    assert len(found.infos[0]) == 1
    assert encoded.problems


def test_metadata_and_options_that_fit_alone_do_not_cost_the_episode_together():
    words = {"x": "x" * (3 << 20)}
    encoded = encode(episode(2, metadata=words, options=words, reset_info=words))
    assert again(encoded).n_steps == 2


@pytest.mark.parametrize(
    ("rewards", "dtype"),
    [
        ([1, 2, 3], "int64"),
        ([1, 0.5, True], "float64"),
        ([np.float32(1), np.float32(0.1), np.float32(3)], "float32"),
        ([np.float32(1), 0.1, 1], "float64"),
        ([np.array([1, 2], np.float32)] * 3, "float32"),
        ([[1.0, 2.0]] * 3, "float64"),
        ([np.array(1.0)] * 3, "float64"),
        ([Fraction(1, 2), Decimal("0.25"), 1], "float64"),
    ],
    ids=str,
)
def test_rewards_keep_their_dtype(rewards, dtype):
    found = again(encode(episode(rewards=rewards))).rewards
    assert found.dtype == np.dtype(dtype)
    assert found.tolist() == np.asarray([np.asarray(r, dtype) for r in rewards]).tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {}},
        {"options": None},
        {"seed": 0},
        {"seed": np.int64(7)},
        {"seed": 2**80},
        {"rng": np.random.PCG64(3).state},
        {"truncated": [False, False, True]},
        {"terminated": [False] * 3},
        {"observations": [np.zeros(2)] * 3},
    ],
    ids=str,
)
def test_what_an_episode_began_and_ended_with_comes_back(changes):
    made = episode(**changes)
    found = again(encode(made))
    for name in ("options", "seed", "rng"):
        assert found.record[name] == getattr(made, name), name
    assert found.record["terminated"] is made.terminated[-1]
    assert found.record["truncated"] is made.truncated[-1]
    assert len(found.observations) == len(made.observations)


@pytest.mark.parametrize(
    ("kilobytes", "n"), [(60, 3), (100, 3), (300, 12), (3000, 2)], ids=["60", "100", "300", "3000"]
)
def test_large_observations_come_back_from_their_pieces(kilobytes, n):
    rng = np.random.default_rng(0)
    seen = [rng.integers(0, 256, kilobytes << 10, np.uint8) for _ in range(n + 1)]
    encoded = encode(episode(n, observations=seen))
    assert max(map(len, encoded.data)) <= max(1 << 20, kilobytes << 10)
    assert same(list(again(encoded).observations), seen)


@given(arrays(np.dtype("f4"), (5, 3)), st.integers(1, 4))
def test_tuples_hold_the_state_the_action_was_taken_in(seen, n):
    made = episode(n, observations=list(seen[: n + 1]))
    found = again(encode(made))
    for source in (found, made):
        tuples = list(tuples_from_steps(source))
        assert [np.array(t.state, "f4").tolist() for t in tuples] == [
            pytest.approx(row.tolist(), nan_ok=True) for row in seen[:n]
        ]
        assert [t.action for t in tuples] == list(range(n))
        assert [t.terminal for t in tuples] == made.terminated
        assert final_state_of(source) == pytest.approx(seen[n].tolist(), nan_ok=True)


def test_columns_of_a_mapped_file_are_stored_as_others_are(tmp_path):
    held = np.arange(24.0, dtype="f4").reshape(4, 6)
    np.save(tmp_path / "held.npy", held)
    mapped = np.load(tmp_path / "held.npy", mmap_mode="r")
    one, other = (
        encode(episode(observations=rows, rewards=rows[1:, 0])) for rows in (mapped, held)
    )
    assert (one.layout, one.data) == (other.layout, other.data)
    assert same(again(one).columns["observations"], held)


@pytest.mark.parametrize("name", ["observations", "actions", "rewards"])
def test_a_masked_column_is_refused_and_its_mask_not_lost(name):
    masked: Any = np.ma.masked_equal(np.arange(3.0), 1.0)
    with pytest.raises(EncodingError, match=name):
        encode(episode(**{name: masked}))


def test_episodes_without_spaces_share_their_layout():
    layouts = [encode(episode(n)).layout for n in (3, 4, 3)]
    assert layouts[0] is layouts[1] is layouts[2]
    assert encode(episode(actions=[0.5] * 3)).layout != layouts[0]
    assert encode(episode(observations=["a"] * 4)).layout != layouts[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"actions": []},
        {"rewards": [1.0]},
        {"terminated": [True] * 4},
        {"infos": []},
        {"observations": [np.zeros(2)] * 2},
        {"observations": [np.zeros(2)] * 5},
    ],
    ids=lambda changes: next(iter(changes)) + str(len(next(iter(changes.values())))),
)
def test_lists_of_different_lengths_are_refused(changes):
    with pytest.raises(InvalidInputError):
        encode(episode(**changes))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("observations", [np.zeros(2), np.zeros(2), np.zeros(3), np.zeros(2)]),
        ("observations", [np.zeros(2), None, None, None]),
        ("observations", [{1, 2}] * 4),
        ("actions", [object()] * 3),
        ("actions", ["left", 1, 2]),
        ("rewards", [None] * 3),
        ("rewards", [{"a": 1}] * 3),
    ],
)
def test_what_must_be_stored_and_cannot_be_is_refused(name, values):
    with pytest.raises(EncodingError, match=name):
        encode(episode(**{name: values}))


@pytest.mark.parametrize(
    "change",
    [
        {"n_steps": 0},
        {"n_steps": 1 << 50},
        {"n_steps": "3"},
        {"format": 9},
        {"lengths": {"rewards": 1}},
        {"lengths": {"infos#json": -1}},
        {"lengths": {"infos#json": "x"}},
        {"metadata": []},
        {"created_at": None},
        {"seed": "x"},
        {"options": 3},
        {"final_observation": 1},
        {"n_steps": 4},
    ],
    ids=str,
)
def test_a_malformed_record_is_damage_and_nothing_else(change):
    encoded = encode(episode(infos=[{"a": "text"}, {"a": None}, {}]))
    body = dump_json({**encoded.record, **STAMP, **change})
    with pytest.raises(CorruptObjectError):
        list(decode(decode_record(body), decode_layout(encoded.layout), encoded.data).infos)


@pytest.mark.parametrize("body", [b"[]", b"1", b"{}", b"", b"\xff", b'{"format":1}'], ids=repr)
def test_bodies_of_another_kind_are_damage_and_nothing_else(body):
    for read in (decode_record, decode_layout):
        with pytest.raises(CorruptObjectError):
            read(body)


COLUMNS = load_json(encode(episode()).layout)["columns"]


@pytest.mark.parametrize(
    "change",
    [
        {"columns": []},
        {"columns": 3},
        {"columns": [["rewards", "<f8"]]},
        {"columns": [["rewards", "O", []]]},
        {"columns": [["rewards", "<f8", [-1]]]},
        {"columns": [["rewards", "<f8", 3]]},
        {"columns": [*COLUMNS, ["infos/x", "<f8", [0] * 100]]},
        {"columns": [*COLUMNS, ["infos/x", "<f8", [0, 1 << 30, 1 << 30]]]},
        {"columns": [*COLUMNS, ["infos/x", "|a4", []]]},
        {"observation_space": 3},
        {"observation_space": {"type": "Dict", "spaces": [["a", {"type": "Array"}]]}},
        {"action_space": None},
        {"format": 2},
    ],
    ids=str,
)
def test_a_malformed_layout_is_damage_and_nothing_else(change):
    encoded = encode(episode())
    layout = {**load_json(encoded.layout), **change}
    with pytest.raises(CorruptObjectError):
        decode(
            decode_record(encode_record({**encoded.record, **STAMP})),
            decode_layout(dump_json(layout)),
            encoded.data,
        )


def test_an_empty_composite_has_as_many_samples_as_the_episode():
    space = spaces.Dict({})
    made = episode(2, observations=[{}, {}, {}])
    assert list(again(encode(made, observation_space=space)).observations) == [{}, {}, {}]


def test_the_record_of_a_short_episode_is_small():
    encoded = encode(episode(20))
    assert len(encode_record({**encoded.record, **STAMP})) < 200
    assert dataclasses.is_dataclass(encoded)


def record_with(**changes: Any) -> dict[str, Any]:
    """The record of an episode without dictionaries, but for what is said."""
    return {**encode(episode(20, seed=3)).record, **STAMP, **changes}


def canonical(record: dict[str, Any]) -> bytes:
    flags = ("abandoned", "final_observation", "terminated", "truncated")
    defaults: dict[str, Any] = {"lengths": {}, "metadata": {}, "reset_info": {}}
    defaults |= {"options": None, "rng": None, "seed": None, **dict.fromkeys(flags, False)}
    return dump_json({k: v for k, v in record.items() if not same(defaults.get(k, ...), v)})


CHANGES: dict[str, list[Any]] = {
    "seed": [None, 0, True, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30],
    "created_by": ["", "ada l.", 'a"b', "a\\b", "a\nb", "\x7f", "%s{}", "ä", "\ud800"],
    "nonce": ["", '"'],
    "created_at": ["now", "\t"],
    "options": [{}, {"a": 1}],
    "rng": [{}, {"state": 2**70}],
    "lengths": [{"observations": 3}],
    "metadata": [{"a": 1}, {"#": 1}],
    "reset_info": [{"a": [1]}],
    "n_steps": [1, 2**32],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, some in CHANGES.items() for value in some]
)
def test_a_record_is_the_canonical_json_of_what_is_no_default(name, value):
    record = record_with(**{name: value})
    assert encode_record(record) == canonical(record)


@pytest.mark.parametrize("flags", range(16))
def test_a_record_tells_the_flags_that_are_set(flags):
    names = ("abandoned", "final_observation", "terminated", "truncated")
    record = record_with(**{name: bool(flags >> i & 1) for i, name in enumerate(names)})
    assert encode_record(record) == canonical(record)


def test_zeros_at_the_end_of_texts_in_infos_are_kept():
    infos = [{"digest": np.bytes_(b"ab\0")}, {"digest": np.bytes_(b"abc")}]
    assert [info["digest"] for info in infos_again(infos)] == [b"ab\0", b"abc"]


def test_what_a_space_could_not_describe_once_is_looked_at_again():
    space = spaces.Box(-1, 1, (2,), np.longdouble)
    one = episode(observations=[np.zeros(2)] * 4)
    other = episode(observations=[{"x": np.zeros(2)}] * 4)
    for steps in (one, other, one):
        found = again(encode(steps, observation_space=space))
        assert same(list(found.observations), steps.observations)
