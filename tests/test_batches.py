"""Batches cut into episodes: the same as if each sub-environment's steps had been kept alone."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import same
from tupli_repo.batches import BatchBuffer
from tupli_repo.codec.episode import Steps, encode

VALUES: dict[Any, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(),
    "bool": st.booleans(),
    "float32": st.floats(width=32).map(np.float32),
    "np.bool": st.booleans().map(np.bool_),
    "text": st.text(max_size=3),
    "none": st.none(),
    "list": st.lists(st.integers(), max_size=3),
    "array": st.integers(0, 9).map(lambda n: np.full((2, 1), n, np.int16)),
    "_own/#": st.integers(0, 9),
    7: st.integers(0, 9),
    "same": st.fixed_dictionaries(
        {
            'b"': st.floats(),
            "a%": st.integers(-(2**63), 2**63 - 1),
            "c": st.fixed_dictionaries({"text": st.text(max_size=2), "ok": st.booleans()}),
            "list": st.sampled_from([None, [1], "é", "#"]),
        }
    ),
    "flat": st.fixed_dictionaries(
        {
            "x": st.floats(-9, 9),
            "name": st.sampled_from(["a", 'b"%']),
        }
    ),
    "deep": st.fixed_dictionaries({}, optional={"x": st.floats(), "y": st.text(max_size=2)}),
}
INFOS = st.fixed_dictionaries({}, optional=VALUES)
SPACE = spaces.Dict(
    a=spaces.Box(-1, 1, (2,), np.float32),
    b=spaces.Tuple([spaces.Discrete(5), spaces.Text(4)]),
)


class Batching(VectorEnv[Any, Any, Any]):
    """Batches as Gymnasium does it."""

    def __init__(self, n_envs: int) -> None:
        self.num_envs = n_envs

    def infos(self, infos: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for i, info in enumerate(infos):
            found = self._add_info(found, info, i)
        return found

    def samples(self, samples: Any) -> Any:
        empty: Any = create_empty_array(SPACE, n=self.num_envs)
        return concatenate(SPACE, samples, empty)


@st.composite
def seen(draw: st.DrawFn) -> Any:
    """Rows of two sub-environments: infos, observations, rewards; full ones are common."""
    n_rows = draw(st.integers(2, 24))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    always = draw(st.sets(st.sampled_from(list(VALUES))))
    full = st.fixed_dictionaries({key: VALUES[key] for key in always})
    infos = [
        [
            draw(full) | draw(INFOS if draw(st.integers(0, 9)) == 0 else st.just({}))
            for _ in range(2)
        ]
        for _ in range(n_rows)
    ]
    samples = [
        [
            {
                "a": rng.normal(size=2).astype(np.float32),
                "b": (np.int64(rng.integers(0, 5)), "x" * int(rng.integers(0, 5))),
            }
            for _ in range(2)
        ]
        for _ in range(n_rows)
    ]
    return infos, samples, rng.normal(size=(n_rows, 2))


def encoded(**fields: Any) -> Any:
    n = len(fields["rewards"])
    flags: dict[str, Any] = {"terminated": np.zeros(n, bool), "truncated": np.zeros(n, bool)}
    steps = Steps(**fields, **flags, created_at="x", nonce="y")
    found = encode(steps, observation_space=SPACE, action_space=SPACE)
    return found.record, found.layout, found.data, [p.message for p in found.problems]


@settings(max_examples=60)
@given(seen(), st.data())
def test_an_episode_that_is_cut_out_has_the_bytes_of_one_kept_alone(seen: Any, data: Any):
    infos, samples, rewards = seen
    batching, last = Batching(2), len(infos) - 1
    buffer = BatchBuffer(2, SPACE, SPACE, batching.samples(samples[0]))
    kept = data.draw(st.integers(0, last))  # before it, nothing is asked for
    for row in range(1, last + 1):
        batch = batching.samples(samples[row])
        buffer.add(batch, batch, rewards[row], batching.infos(infos[row]))
        if row % 7 == 0:
            buffer.forget(min(row, kept))
    first = data.draw(st.integers(kept, last))
    end = data.draw(st.integers(first, last))
    if first == end:
        return
    for i in range(2):
        alone = {
            "observations": [row[i] for row in samples[first : end + 1]],
            "actions": [row[i] for row in samples[first + 1 : end + 1]],
            "rewards": list(rewards[first + 1 : end + 1, i]),
            "infos": [row[i] for row in infos[first + 1 : end + 1]],
        }
        expected = encoded(**alone)
        assert encoded(**buffer.cut(i, first, end)._asdict()) == expected
        last_seen = (samples[end][i], infos[end][i])
        cut = buffer.cut_before_reset(i, first, end, *last_seen)
        assert encoded(**cut._asdict()) == expected


class Tensor:
    """What only numpy understands."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([0.5, 1.5])


def test_infos_that_gymnasium_does_not_batch_are_those_of_all():
    buffer = BatchBuffer(2, SPACE, SPACE, Batching(2).samples([SPACE.sample()] * 2))
    batch = Batching(2).samples([SPACE.sample()] * 2)
    infos = {"y": np.array(3), "z": np.float64(0.5), "all": "x", "own": Tensor()}
    buffer.add(batch, batch, np.zeros(2), infos)
    for i in range(2):
        (info,) = buffer.cut(i, 0, 1).infos
        assert info == {"y": 3, "z": 0.5, "all": "x", "own": i + 0.5}
    some = {"deep": {"x": np.arange(2)}, "_deep": np.array([True, False])}
    buffer.add(batch, batch, np.zeros(2), some)
    assert [dict(buffer.cut(i, 1, 2).infos[0]) for i in range(2)] == [{"deep": {"x": 0}}, {}]


def test_memory_of_texts_is_given_back_while_some_episode_always_goes_on():
    space = spaces.Text(1000)
    buffer = BatchBuffer(2, space, space, ("", ""))
    tracemalloc.start()
    for row in range(1, 4000):
        words = (f"{row}" * 200, f"{row}" * 200)
        buffer.add(("", ""), words, np.zeros(2), {"word": np.array(words, object)})
        buffer.forget(row - 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 20  # of 6 MB that passed through


DEEP: list[Any] = [
    [{"d": {"b%s": t / 3, 'a"': {"n": t, "ok": t > 1}, "w": f'"%{t}'}} for t in range(5)],
    [{"d": {"x": float("nan") if t == 3 else t / 3}, "w": "é%"} for t in range(5)],
    [{"d": {"x": t}} if t != 2 else {"w": "y"} for t in range(5)],
    [{"d": {"x": t}, "e": {}} if t != 2 else {"d": {}} for t in range(5)],
    [{"d": {"#f": "nan"}, "n": {"x": np.float32(t), "y": None}} for t in range(5)],
]


@pytest.mark.parametrize("infos", DEEP)
def test_dictionaries_in_infos_have_the_bytes_of_those_kept_alone(infos: Any):
    batching = Batching(2)
    sample = {"a": np.zeros(2, np.float32), "b": (np.int64(1), "x")}
    batch = batching.samples([sample] * 2)
    buffer = BatchBuffer(2, SPACE, SPACE, batch)
    for info in infos:
        buffer.add(batch, batch, np.zeros(2), batching.infos([info, info]))
    n = len(infos)
    alone = {"observations": [sample] * (n + 1), "actions": [sample] * n, "infos": infos}
    expected = encoded(**alone, rewards=[0.0] * n)
    assert encoded(**buffer.cut(1, 0, n)._asdict()) == expected
    cut = buffer.cut_before_reset(1, 0, n, sample, infos[-1])
    assert encoded(**cut._asdict()) == expected
    assert same(list(buffer.cut(1, 0, n).infos), infos)
