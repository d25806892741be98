"""An episode in the making: copied as it comes, whole or not at all, and given back as it was."""

import pickle
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import same
from tupli_repo.codec.buffer import StepBuffer
from tupli_repo.codec.episode import Steps, encode
from tupli_repo.errors import EncodingError

FIRST = np.arange(3, dtype=np.float32)


def filled(observations: list[Any], actions: list[Any] | None = None) -> StepBuffer:
    """A buffer of an episode with these observations, T+1 of them."""
    buffer = StepBuffer(observations[0])
    for t, observation in enumerate(observations[1:]):
        action = actions[t] if actions else t
        buffer.append(buffer.taken(action), observation, 0.5, False, False, {})
    return buffer


def given_back(buffer: StepBuffer) -> list[Any]:
    """Its observations, one by one."""
    return [buffer.observation(t) for t in range(len(buffer) + 1)]


ODD: list[Any] = [
    np.arange(3, dtype=np.float64),
    np.arange(3, dtype=">f4"),
    np.arange(4, dtype=np.float32),
    np.arange(3, dtype=np.float32).reshape(1, 3),
    np.float32(1),
    np.empty(0, np.float32),
    [1.0, 2.0, 3.0],
    (1, 2),
    {"a": np.ones(2)},
    b"twelve bytes",
    "text",
    3,
    None,
]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("at", [0, 1, 3])
def test_what_is_unlike_the_first_comes_back_as_it_was(odd, at):
    observations: list[Any] = [FIRST + t for t in range(4)]
    observations[at] = odd
    assert same(given_back(filled(observations)), observations)
    assert same(list(filled(observations).columns().observations), observations)
    taken = filled([FIRST] * 5, observations)
    assert same(list(taken.columns().actions), observations)
    assert same([taken.step(t).action for t in range(4)], observations)


PLAIN = st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_])


@settings(max_examples=60, deadline=None)
@given(PLAIN, st.lists(st.integers(1, 3), max_size=3), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_plain_arrays_make_one_column_of_their_dtype_and_shape(dtype, shape, n, seed):
    rng = np.random.default_rng(seed)
    rows = [np.asarray(rng.integers(0, 2, shape), dtype) for _ in range(n + 1)]
    column = filled(rows).columns().observations
    assert isinstance(column, np.ndarray)
    assert column.dtype == dtype
    assert column.shape == (n + 1, *shape)
    assert same(column, np.stack(rows))
    assert same(given_back(filled(rows)), rows)


def test_arrays_that_do_not_lie_in_order_come_back_in_order():
    wide = np.arange(12.0).reshape(3, 4)
    rows = [wide.T.copy(), wide.T, np.asfortranarray(wide.T), wide.T[::-1]]
    assert same(list(filled(rows).columns().observations), [np.array(row) for row in rows])


@pytest.mark.parametrize(
    "row",
    [
        np.empty((0, 2), np.float32),
        np.arange(3, dtype=">i4"),
        np.array(["ab", "c"]),
        np.ones(2, "c16"),
    ],
    ids=str,
)
def test_other_arrays_come_back_as_they_were(row):
    assert same(given_back(filled([row] * 3)), [row] * 3)
    assert same(np.stack(list(filled([row] * 3).columns().observations)), np.stack([row] * 3))


def test_arrays_that_came_through_a_pipe_make_one_column_too():
    rows = [FIRST, *(pickle.loads(pickle.dumps(FIRST + t)) for t in range(3))]
    assert isinstance(filled(rows).columns().observations, np.ndarray)


def test_what_is_changed_afterwards_stays_as_it_was():
    observation, action, reward = FIRST.copy(), np.zeros(2), np.ones(1)
    info: dict[str, Any] = {"list": [1], "array": np.zeros(1)}
    buffer = StepBuffer(observation)
    taken = buffer.taken(action)
    buffer.append(taken, observation, reward, False, False, info)
    for array in (observation, action, reward, info["array"]):
        array += 7
    info["list"].append(2)
    info["new"] = 1
    columns = buffer.columns()
    assert same(columns.observations, np.stack([FIRST, FIRST]))
    assert same(columns.actions, np.zeros((1, 2)))
    assert same(columns.rewards, [np.ones(1)])
    assert same(columns.infos, [{"list": [1], "array": np.zeros(1)}])


def test_a_step_that_is_given_back_may_be_changed():
    buffer = filled([FIRST, FIRST, FIRST])
    step = buffer.step(0)
    step.observation[:] = 9
    step.info["new"] = 1
    assert same(buffer.step(0).observation, FIRST)
    assert buffer.step(1).info == buffer.columns().infos[1] == {}


def test_flags_are_pythons_however_they_came():
    buffer = StepBuffer(FIRST)
    pairs: list[tuple[Any, Any]] = [(np.False_, 0), (False, np.True_)]
    for terminated, truncated in pairs:
        buffer.append(buffer.taken(0), FIRST, 0.0, terminated, truncated, {})
    assert [buffer.step(t)[3:5] for t in range(2)] == [(False, False), (False, True)]
    assert buffer.step(1).truncated is True
    columns = buffer.columns()
    assert same(columns.terminated, np.array([False, False]))
    assert same(columns.truncated, np.array([False, True]))


def test_an_action_whose_step_raised_is_not_in_the_episode():
    buffer = StepBuffer(FIRST)
    buffer.taken("nonsense")
    for action in (np.ones(2), np.zeros(2)):
        buffer.append(buffer.taken(action), FIRST, 0.0, False, False, {})
    assert same(list(buffer.columns().actions), [np.ones(2), np.zeros(2)])


def test_cutting_forgets_the_last_steps():
    buffer = filled([FIRST + t for t in range(5)])
    buffer.cut(2)
    assert len(buffer) == 2
    assert same(buffer.columns().observations, np.stack([FIRST, FIRST + 1, FIRST + 2]))
    assert buffer.columns().rewards == [0.5, 0.5]


class _StopError(BaseException):
    """As Ctrl-C comes: between any two lines."""


@pytest.mark.parametrize("odd", [False, True], ids=["plain", "odd"])
def test_a_step_that_is_interrupted_anywhere_is_in_it_whole_or_not_at_all(odd):
    info = {"key": [1, 2]} if odd else {}
    for line in range(1, 200):
        buffer = filled([FIRST, FIRST + 1], [np.zeros(2)])
        left = [line]

        def trace(frame, event, arg, left=left):
            if frame.f_code.co_filename.endswith("buffer.py"):
                left[0] -= 1
                if not left[0]:
                    raise _StopError
            return trace

        stopped = False
        before, seen = sys.gettrace(), [FIRST] if odd else FIRST + 2
        sys.settrace(trace)
        try:
            buffer.append(buffer.taken(np.ones(2)), seen, 0.5, False, True, info)
        except _StopError:
            stopped = True
        finally:
            sys.settrace(before)
        assert len(buffer) in ((1, 2) if stopped else (2,))
        buffer.append(buffer.taken(np.ones(2)), FIRST + 3, 0.5, False, True, {})
        columns = buffer.columns()
        assert same(list(columns.observations)[-1], FIRST + 3)
        assert {len(column) for column in columns[1:]} == {len(buffer)}
        assert same(list(columns.actions), [np.zeros(2)] + [np.ones(2)] * (len(buffer) - 1))
        if not stopped:
            return
    pytest.fail("it never came to the end")


def test_the_columns_are_what_an_episode_is_encoded_of():
    rows, actions = [FIRST + t for t in range(4)], [np.full(2, t) for t in range(3)]
    from_buffer = Steps(**filled(rows, actions).columns()._asdict())
    no = [False] * 3
    from_lists = Steps(
        observations=rows,
        actions=actions,
        rewards=[0.5] * 3,
        terminated=no,
        truncated=no,
        infos=[{}] * 3,
    )
    one, other = encode(from_buffer), encode(from_lists)
    assert (one.record, one.layout, one.data) == (other.record, other.layout, other.data)


def test_bytes_are_no_observation_even_where_they_are_as_long_as_one():
    rows = [FIRST, FIRST, FIRST.tobytes()]
    with pytest.raises(EncodingError, match="'observations\\[2\\]' is a 'bytes'"):
        encode(Steps(**filled(rows).columns()._asdict()))


def test_buffers_of_several_threads_do_not_meet():
    made: dict[int, StepBuffer] = {}

    def fill(n: int) -> None:
        made[n] = filled([np.full(n, t) for t in range(200)])

    threads = [threading.Thread(target=fill, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, buffer in made.items():
        assert same(buffer.columns().observations, np.repeat(np.arange(200), n).reshape(200, n))
