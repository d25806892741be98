"""What the three wrappers do alike: a user may change one for another."""

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from tests.envs import Walk
from tupli_repo import FileStorage, TupliEnvWrapper, TupliParallelEnvWrapper, TupliVectorEnvWrapper
from tupli_repo.errors import InvalidInputError


class Closing(Walk):
    """A walk that knows whether it was closed."""

    n_closed = 0

    def close(self) -> None:
        self.n_closed += 1


class Alone:
    """A parallel environment of one agent that walks."""

    possible_agents = ("one",)

    def __init__(self, walk: Closing) -> None:
        self.walk, self.agents = walk, ["one"]

    def observation_space(self, agent: str) -> Any:
        return self.walk.observation_space

    def action_space(self, agent: str) -> Any:
        return self.walk.action_space

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents = ["one"]
        return tuple({"one": part} for part in self.walk.reset(seed=seed, options=options))

    def step(self, actions: dict[str, Any]) -> Any:
        result = self.walk.step(actions["one"])
        self.agents = [] if result[2] or result[3] else ["one"]
        return tuple({"one": part} for part in result)

    def close(self) -> None:
        self.walk.close()


def single(walk: Closing, storage: FileStorage) -> tuple[Any, Any]:
    return TupliEnvWrapper(walk, storage), 1


def vector(walk: Closing, storage: FileStorage) -> tuple[Any, Any]:
    return TupliVectorEnvWrapper(SyncVectorEnv([lambda: walk]), storage), np.array([1])


def parallel(walk: Closing, storage: FileStorage) -> tuple[Any, Any]:
    return TupliParallelEnvWrapper(Alone(walk), storage), {"one": 1}


Make = Callable[[Closing, FileStorage], tuple[Any, Any]]
alike = pytest.mark.parametrize("make", [single, vector, parallel])


def lengths(storage: FileStorage) -> list[int]:
    return [header.n_tuples for header in storage.list_episodes()]


@alike
def test_recording_is_switched_off_and_on_again(make: Make, storage: FileStorage):
    env, action = make(Closing(horizon=3), storage)
    env.store("walk")
    env.reset(seed=1)
    env.step(action)
    env.deactivate_recording()
    env.step(action)
    env.reset(seed=2)
    env.step(action)
    assert lengths(storage) == [1]
    env.activate_recording()
    with pytest.warns(UserWarning, match="not recorded before the next reset") as told:
        env.step(action)
    assert [one.filename for one in told] == [__file__]
    env.step(action)  # it is told once
    env.reset(seed=3)
    env.step(action)
    env.step(action)
    env.close()
    assert lengths(storage) == [1, 2]


@alike
@pytest.mark.parametrize("verb", ["reset", "deactivate_recording", "close"])
def test_what_is_lost_unstored_is_told_to_the_caller(make: Make, storage: FileStorage, verb: str):
    env, action = make(Closing(), storage)
    env.reset(seed=1)
    env.step(action)
    with pytest.warns(UserWarning, match="1 steps were not recorded") as told:
        getattr(env, verb)()
    assert [one.filename for one in told] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.deactivate_recording()


@alike
def test_an_environment_is_closed_whatever_becomes_of_its_episode(make: Make, storage: FileStorage):
    walk = Closing()
    env, action = make(walk, storage)
    env.reset(seed=1)
    env.step(action)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="not recorded"):
            env.close()
    assert walk.n_closed == 1


def test_a_vector_environment_is_told_how_to_close(storage: FileStorage):
    class Patient(SyncVectorEnv):
        def close_extras(self, **kwargs: Any) -> None:
            self.told = kwargs
            super().close_extras(**kwargs)

    inner = Patient([Closing])
    TupliVectorEnvWrapper(inner, storage).close(timeout=3)
    assert inner.told == {"timeout": 3}


@alike
def test_a_subclass_may_close_store_and_flush_in_its_own_way(make: Make, storage: FileStorage):
    env, _ = make(Closing(), storage)
    calls = []

    class Own(type(env)):  # type: ignore[misc]
        def store(self, *args: Any, **kwargs: Any) -> str:
            calls.append("store")
            return super().store(*args, **kwargs)  # type: ignore[no-any-return]

        def flush(self) -> None:
            calls.append("flush")
            super().flush()

        def close(self) -> None:
            calls.append("close")
            super().close()

    env.__class__ = Own
    assert env.store("walk") == env.id
    env.close()
    assert calls == ["store", "close", "flush"]


def test_a_benchmark_is_the_same_by_either_wrapper_of_gymnasiums(storage: FileStorage):
    words: dict[str, Any] = {"description": "d", "difficulty": "hard", "version": "2"}
    ids = {
        make(Closing(), storage)[0].store("walk", **words, metadata={"a": 1})
        for make in (single, vector)
    }
    (header,) = storage.list_benchmarks()
    assert ids == {header.id}
    assert (header.metadata.difficulty, header.metadata.version) == ("hard", "2")
    assert header.metadata.extra == {"a": 1}
    assert signature(TupliEnvWrapper.store) == signature(TupliVectorEnvWrapper.store)


def test_a_vector_of_unlike_environments_stays_unstored(storage: FileStorage):
    env = TupliVectorEnvWrapper(
        SyncVectorEnv([lambda: Walk(horizon=3), lambda: Walk(horizon=4)]), storage
    )
    with pytest.raises(InvalidInputError, match="not alike"):
        env.store("walk")
    assert env.id is None
    assert storage.list_benchmarks() == []


def test_attributes_behind_a_wrapper_are_reached(storage: FileStorage):
    made = gymnasium.make("CartPole-v1")
    assert TupliEnvWrapper(made, storage).get_wrapper_attr("gravity") == 9.8
    env = TupliParallelEnvWrapper(Alone(Closing(horizon=7)), storage)
    assert (env.walk.horizon, env.agents) == (7, ["one"])
    assert isinstance(env.joint.action_space["one"], spaces.Sequence)
