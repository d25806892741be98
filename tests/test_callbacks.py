"""What is noted of episodes when they end, and what a callback may change or leave out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics

from tests.envs import Walk
from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
from tupli_repo.callbacks import (
    EpisodeLength,
    EpisodeReturn,
    EpisodeSummary,
    ObservedStep,
    PolicyName,
    StepCallback,
    Success,
    Summaries,
    WallClock,
)
from tupli_repo.codec.episode import EpisodeData, Steps
from tupli_repo.errors import InvalidInputError
from tupli_repo.schema import EpisodeMetadataCallback, RLTuple


def recorded(storage: FileStorage, env: gymnasium.Env[Any, Any], n: int = 1, **options: Any) -> Any:
    """Record some episodes; returns the wrapper, open."""
    wrapped = TupliEnvWrapper(env, storage, **options)
    wrapped.store("walk")
    for seed in range(n):
        wrapped.reset(seed=seed)
        while not any(wrapped.step(seed % 2)[2:4]):
            pass
    wrapped.flush()
    return wrapped


def episodes(storage: FileStorage) -> list[EpisodeData]:
    return [data for _, data in storage.read_episodes(h.id for h in storage.list_episodes())]


def seen(rewards: Sequence[Any], infos: Sequence[dict[str, Any]]) -> Steps:
    """An episode of which only rewards and infos matter."""
    n = len(rewards)
    return Steps(
        observations=[0] * n,
        actions=[0] * n,
        rewards=rewards,
        terminated=[False] * n,
        truncated=[False] * n,
        infos=infos,
    )


# ---- summaries


def test_the_return_the_length_and_who_acted(storage: FileStorage):
    policy = PolicyName("left")
    notes = Summaries(EpisodeReturn(), EpisodeReturn("g", discount=0.5), EpisodeLength(), policy)
    env = recorded(storage, gymnasium.make("CartPole-v1"), metadata_callback=notes)
    policy.name = "right"
    env.reset(seed=9)
    env.step(1)
    env.close()
    first, left = [header.metadata for header in storage.list_episodes()]
    n = first["length"]
    assert first == {"return": float(n), "g": 2 - 0.5 ** (n - 1), "length": n, "policy": "left"}
    assert left == {"return": 1.0, "g": 1.0, "length": 1, "policy": "right"}


def test_success_is_what_the_last_info_says_if_it_says_anything():
    def of(*infos: dict[str, Any]) -> dict[str, Any]:
        return Success().summarize(seen([0.0] * len(infos), infos))

    assert of({"is_success": 1.0}, {"is_success": np.bool_(False)}) == {"success": False}
    assert of({"is_success": 0}, {"is_success": 1.0}) == {"success": True}
    assert of({"is_success": 1}, {}) == {}


def test_rewards_of_several_numbers_have_several_returns():
    steps = seen([np.array([1.0, 2.0])] * 2, [{}] * 2)
    assert EpisodeReturn().summarize(steps) == {"return": [2.0, 4.0]}
    with pytest.raises(InvalidInputError, match=r"a discount of 1\.5"):
        EpisodeReturn(discount=1.5)


def test_the_clock_runs_from_reset_to_end(storage: FileStorage):
    env = recorded(storage, Walk(), 2, metadata_callback=WallClock())
    env.close()
    for header in storage.list_episodes():
        assert 0 < header.metadata["wall_clock_s"] < 60


def test_gymnasiums_statistics_work_underneath(storage: FileStorage):
    env = recorded(storage, RecordEpisodeStatistics(gymnasium.make("CartPole-v1")), 2)
    env.close()
    for header, data in zip(storage.list_episodes(), episodes(storage), strict=True):
        told = data.infos[-1]["episode"]
        assert (told["l"], told["r"]) == (header.n_tuples, float(header.n_tuples))
        assert "episode" not in data.infos[0]


def test_a_summary_that_fails_loses_no_episode(storage: FileStorage):
    class Broken(EpisodeSummary):
        def summarize(self, episode: Steps) -> dict[str, Any]:
            raise ZeroDivisionError

    env = TupliEnvWrapper(Walk(horizon=2), storage, metadata_callback=Broken())
    env.store("walk")
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(ZeroDivisionError):
        env.step(0)
    (header,) = storage.list_episodes()
    assert (header.n_tuples, header.metadata) == (2, {})


def test_pytuplis_callbacks_are_called_with_tuples_as_ever(storage: FileStorage):
    class Last(EpisodeMetadataCallback):
        def reset(self) -> None:
            self.n = 0

        def __call__(self, tuple: RLTuple) -> dict[str, Any]:  # noqa: A002 - its name
            self.n += 1
            return {"n": self.n, "reward": tuple.reward}

    recorded(storage, Walk(horizon=3), metadata_callback=Last()).close()
    assert storage.list_episodes()[0].metadata["n"] == 3


# ---- steps


def bare(horizon: int) -> tuple[list[Any], list[Any]]:
    """The observations and rewards of one episode of a walk."""
    env = Walk(horizon=horizon)
    seen, rewards = [env.reset(seed=0)[0].copy()], []
    for _ in range(horizon):
        observation, reward, *_ = env.step(0)
        seen.append(observation.copy())
        rewards.append(reward)
    return seen, rewards


def test_what_is_recorded_may_be_changed(storage: FileStorage):
    class Short(StepCallback):
        def on_reset(self, observation: Any, info: dict[str, Any]) -> Any:
            return observation[:2], {"from": "callback"}

        def on_step(self, step: ObservedStep) -> ObservedStep:
            return step._replace(
                observation=step.observation[:2],
                reward=step.reward * 10,
                info={"n": 1},
                terminated=False,
            )

    env = recorded(storage, Walk(horizon=3), step_callback=Short())
    assert env.reset(seed=1)[0].shape == (3,)  # who acts sees what the environment returned
    assert env.step(0)[0].shape == (3,)
    env.close()
    seen, rewards = bare(3)
    data = episodes(storage)[0]
    np.testing.assert_array_equal(data.columns["observations"], np.array(seen)[:, :2])
    assert data.rewards.tolist() == [10 * reward for reward in rewards]
    assert data.terminated.tolist() == [False, False, True]  # how it ended is not for it to say
    assert list(data.infos) == [{"n": 1}] * 3
    assert data.record["reset_info"] == {"from": "callback"}


class Leaving(StepCallback):
    """Leaves out some steps, by their numbers."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def on_reset(self, observation: Any, info: dict[str, Any]) -> Any:
        self.at = -1
        return observation, info

    def on_step(self, step: ObservedStep) -> ObservedStep | None:
        self.at += 1
        return None if self.at in self.numbers else step


@pytest.mark.parametrize("left_out", [(0,), (1,), (3,), (0, 1, 2), (1, 2), (0, 3), (2, 3)])
def test_a_step_that_is_left_out_takes_the_observation_it_began_in_with_it(
    storage: FileStorage, left_out: tuple[int, ...]
):
    recorded(storage, Walk(horizon=4), step_callback=Leaving(*left_out)).close()
    seen, rewards = bare(4)
    kept = [t for t in range(4) if t not in left_out]
    (data,) = episodes(storage)
    due = [seen[t] for t in kept] + [seen[4]]
    np.testing.assert_array_equal(data.columns["observations"], np.array(due))
    assert data.rewards.tolist() == [rewards[t] for t in kept]
    assert data.terminated.tolist() == [False] * (len(kept) - 1) + [True]


def test_an_episode_of_which_nothing_is_left_is_none(storage: FileStorage):
    env = recorded(storage, Walk(horizon=2), step_callback=Leaving(0, 1))
    assert storage.list_episodes() == []
    env.unwrapped.horizon = 3
    env.reset(seed=0)
    while not any(env.step(0)[2:4]):
        pass
    env.close()
    assert TupliDataset(storage).columns()["rewards"].shape == (1,)


def test_tuples_are_made_of_what_the_callback_left(storage: FileStorage, tmp_path: Path):
    notes = EpisodeReturn()

    class Tenfold(StepCallback):
        def on_step(self, step: ObservedStep) -> ObservedStep:
            return step._replace(reward=10.0)

    env = recorded(storage, Walk(horizon=3), step_callback=Tenfold(), metadata_callback=notes)
    env.reset(seed=1)
    env.step(0)
    assert [step.reward for step in env.tuple_buffer] == [10.0]
    env.close()
    assert [header.metadata["return"] for header in storage.list_episodes()] == [30.0, 10.0]


class Picky(StepCallback):
    """Does something else with one step."""

    def __init__(self, t: int, instead: Any) -> None:
        self.t, self.instead = t, instead

    def on_step(self, step: ObservedStep) -> ObservedStep | None:
        return self.instead(step) if step.info["t"] == self.t else step


def broken(_: ObservedStep) -> ObservedStep:
    raise ArithmeticError


@pytest.mark.parametrize(
    ("instead", "error"), [(broken, ArithmeticError), (tuple, InvalidInputError)]
)
@pytest.mark.parametrize("t", [1, 3, 5])
def test_a_step_whose_callback_fails_is_left_out_and_the_others_stay_right(
    storage: FileStorage, t: int, instead: Any, error: type[Exception]
):
    walk = Walk()
    env = TupliEnvWrapper(walk, storage, step_callback=Picky(t, instead), on_abandoned="drop")
    env.store("walk")
    where = [env.reset(seed=3)[0].copy()]
    for number in range(1, 6):
        if number == t:
            with pytest.raises(error):
                env.step(number % 4)
            where.append(walk.position.copy())
        else:
            where.append(env.step(number % 4)[0].copy())
    (header,), (data,) = storage.list_episodes(), episodes(storage)  # it ended: it is there
    left = [number for number in range(1, 6) if number != t]
    assert data.columns["actions"].tolist() == [number % 4 for number in left]
    begins = [where[number - 1] for number in left]
    assert np.array_equal(data.columns["observations"], [*begins, where[5]])
    assert (header.terminated, header.timeout) == (True, False)
    env.close()


def test_an_episode_that_ended_is_recorded_at_once_though_its_metadata_cannot_be_made(
    storage: FileStorage,
):
    class Broken(EpisodeMetadataCallback):
        def reset(self) -> None:
            self.n = 0

        def __call__(self, tuple: RLTuple) -> dict[str, Any]:  # noqa: A002
            if tuple.terminal:
                raise ArithmeticError
            self.n += 1
            return {"n": self.n}

    env = TupliEnvWrapper(Walk(), storage, metadata_callback=Broken(), on_abandoned="drop")
    env.store("walk")
    env.reset(seed=0)
    for _ in range(4):
        env.step(0)
    with pytest.raises(ArithmeticError):
        env.step(0)
    (header,) = storage.list_episodes()
    assert (header.n_tuples, header.terminated, header.metadata) == (5, True, {"n": 4})
    env.close()


def test_metadata_are_made_of_the_steps_that_are_recorded_and_of_each_once(storage: FileStorage):
    class Times(EpisodeMetadataCallback):
        def reset(self) -> None:
            self.seen: list[int] = []

        def __call__(self, tuple: RLTuple) -> dict[str, Any]:  # noqa: A002
            self.seen.append(tuple.info["t"])
            return {"seen": self.seen}

    for t in (1, 3, 5):
        without = Picky(t, lambda _: None)
        env = recorded(storage, Walk(), 1, metadata_callback=Times(), step_callback=without)
        env.close()
    told = [header.metadata["seen"] for header in storage.list_episodes()]
    assert told == [[2, 3, 4, 5], [1, 2, 4, 5], [1, 2, 3, 4]]
