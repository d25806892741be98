"""Batches cut into episodes: the same as if each sub-environment's steps had been kept alone."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import given, settings
from hypothesis import strategies as st

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
