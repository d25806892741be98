"""Samples are what was recorded, as often as they should be, and never of two episodes at once."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.handover.episodes import ENDINGS, Ending, Truth, record
from tupli_repo import Repository, TupliDataset
from tupli_repo.errors import InvalidInputError


def place(observation: Any) -> tuple[int, int]:
    return int(observation[0]), int(observation[1])


def check_rows(found: dict[str, Any], truth: list[Truth]) -> None:
    known = {place(one.state): one for one in truth}
    for i, state in enumerate(found["observations"]):
        one = known[place(state)]
        assert np.array_equal(state, one.state)
        assert np.array_equal(found["next_observations"][i], one.next_state)
        assert np.array_equal(found["actions"][i], one.action)
        assert found["rewards"][i] == one.reward
        assert found["terminated"][i] == one.terminated
        assert found["truncated"][i] == one.truncated


def test_transitions_are_those_recorded_and_all_alike(storage: Repository):
    truth = record(storage)
    found = TupliDataset(storage).sampler(seed=1).transitions(20_000)
    check_rows({name: column[:500] for name, column in found.items()}, truth)
    counts = Counter(map(place, found["observations"]))
    assert len(counts) == len(truth)
    expected = 20_000 / len(truth)
    assert max(abs(n - expected) for n in counts.values()) < 6 * expected**0.5


def test_weights_say_how_often_a_step_comes(storage: Repository):
    truth = record(storage)
    weights = np.zeros(len(truth))
    weights[[3, 5]] = 1, 3
    found = TupliDataset(storage).sampler(seed=1, weights=weights).transitions(4000)
    counts = Counter(map(place, found["observations"]))
    assert counts.keys() == {place(truth[3].state), place(truth[5].state)}
    assert abs(counts[place(truth[5].state)] - 3000) < 150
    by_episode = np.array([0, 0, 1, 0, 0, 0])
    found = TupliDataset(storage).sampler(seed=1, episode_weights=by_episode).transitions(50)
    assert set(map(place, found["observations"])) == {(2, 0)}


@pytest.mark.parametrize("size", [1e-200, 1e200, 1e308])
def test_how_large_all_weights_are_makes_no_difference(storage: Repository, size: float):
    truth = record(storage)
    dataset = TupliDataset(storage)

    def drawn(size: float) -> list[Any]:
        weights, by_episode = np.full(len(truth), size), np.full(len(ENDINGS), size)
        sampler = dataset.sampler(seed=2, weights=weights, episode_weights=by_episode)
        rewards = sampler.transitions(20)["rewards"].tolist()
        return [*rewards, *(one["rewards"].tolist() for one in sampler.episodes(3))]

    assert drawn(size) == drawn(1.0)


@pytest.mark.parametrize("length", [1, 3])
def test_how_often_one_comes_is_what_both_weights_say(storage: Repository, length: int):
    truth = record(storage)
    rng = np.random.default_rng(7)
    weights, by_episode = rng.random(len(truth)), rng.random(len(ENDINGS))
    sampler = TupliDataset(storage).sampler(seed=3, weights=weights, episode_weights=by_episode)
    n = 50_000
    found = sampler.sequences(n, length) if length > 1 else sampler.transitions(n)
    first = found["observations"].reshape(n, length, 3)[:, 0]
    counts = Counter(map(place, first))
    chances = {
        place(one.state): weights[i] * by_episode[one.episode]
        for i, one in enumerate(truth)
        if one.state[1] + length <= ENDINGS[one.episode].n_steps
    }
    total = sum(chances.values())
    expected = {key: n * chance / total for key, chance in chances.items()}
    assert counts.keys() <= expected.keys()
    distance = sum((counts[key] - e) ** 2 / e for key, e in expected.items())  # chi squared
    freedom = len(expected) - 1
    assert distance < freedom + 5 * (2 * freedom) ** 0.5


def test_a_sub_trajectory_stays_in_its_episode(storage: Repository):
    truth = record(storage)
    found = TupliDataset(storage).sampler(seed=2).sequences(3000, 4)
    assert found["observations"].shape == (3000, 4, 3)
    assert found["rewards"].shape == (3000, 4)
    check_rows(
        {name: column[:100].reshape(400, *column.shape[2:]) for name, column in found.items()},
        truth,
    )
    first = [place(one) for one in found["observations"][:, 0]]
    for at in range(4):
        expected = [(episode, step + at) for episode, step in first]
        assert [place(one) for one in found["observations"][:, at]] == expected
    possible = {(n, at) for n, e in enumerate(ENDINGS) for at in range(e.n_steps - 3)}
    assert set(first) == possible


def test_a_step_filter_leaves_no_gaps_in_a_sub_trajectory(storage: Repository):
    record(storage, [Ending(400, terminated=True)])
    dataset = TupliDataset(storage).with_tuple_filter(lambda step: step.reward > -0.5)
    found = dataset.sampler(seed=0).sequences(300, 3)
    assert (found["rewards"] > -0.5).all()
    assert (np.diff(found["observations"][:, :, 1], axis=1) == 1).all()


def test_episodes_come_whole_and_once(storage: Repository):
    truth = record(storage)
    sampler = TupliDataset(storage).sampler(seed=5)
    found = sampler.episodes(len(ENDINGS))
    assert sorted(len(one["rewards"]) for one in found) == sorted(e.n_steps for e in ENDINGS)
    for one in found:
        check_rows(one, truth)
        assert one["observations"][:, 1].tolist() == list(range(len(one["rewards"])))
    assert sampler.episodes(0) == []
    weighted = TupliDataset(storage).sampler(seed=5, episode_weights=np.array([1, 0, 1, 0, 0, 0]))
    assert {place(one["observations"][0])[0] for one in weighted.episodes(2)} == {0, 2}
    with pytest.raises(InvalidInputError, match="there are 2"):
        weighted.episodes(3)


def test_the_same_seed_gives_the_same_samples(storage: Repository):
    record(storage)

    def drawn(dataset: TupliDataset, seed: int | None) -> list[Any]:
        sampler = dataset.sampler(seed=seed, only="observations")
        return [sampler.transitions(5)["observations"].tolist() for _ in range(3)]

    assert drawn(TupliDataset(storage), 1) == drawn(TupliDataset(storage), 1)
    assert drawn(TupliDataset(storage), 1) != drawn(TupliDataset(storage), 2)
    one, other = TupliDataset(storage), TupliDataset(storage)
    one.set_seed(4)
    other.set_seed(4)
    assert drawn(one, None) == drawn(other, None)
    assert drawn(one, None) != drawn(TupliDataset(storage), 1)


def test_an_observation_that_was_never_known_is_not_drawn(storage: Repository):
    truth = record(
        storage, [Ending(3, terminated=False, has_final=False), Ending(2, terminated=True)]
    )
    found = TupliDataset(storage).sampler(seed=0).transitions(300)
    assert {place(x) for x in found["observations"]} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    check_rows(found, truth)
    whole = TupliDataset(storage).sampler(seed=0, only="observations").transitions(300)
    assert (0, 2) in {place(x) for x in whole["observations"]}


def test_what_cannot_be_drawn_is_said(storage: Repository):
    truth = record(storage)
    dataset = TupliDataset(storage)
    wrong: list[dict[str, Any]] = [
        {"weights": np.ones(3)},
        {"weights": np.full(len(truth), -1.0)},
        {"episode_weights": np.array([1, 2, 3, np.inf, 1, 1])},
    ]
    for settings in wrong:
        with pytest.raises(InvalidInputError, match="weights"):
            dataset.sampler(**settings)
    with pytest.raises(InvalidInputError, match="no episode has 131 steps"):
        dataset.sampler().sequences(1, 131)
    with pytest.raises(InvalidInputError, match="no step that may be drawn"):
        dataset.sampler(weights=np.zeros(len(truth))).transitions(1)
    words: Any = ["much"] * len(truth)
    with pytest.raises(InvalidInputError, match="'weights' are no numbers"):
        dataset.sampler(weights=words)
    for call in (lambda: dataset.sampler(seed=-1), lambda: dataset.set_seed(-1)):
        with pytest.raises(InvalidInputError, match="not negative"):
            call()
    for ask in (lambda s: s.sequences(1, 0), lambda s: s.transitions(-1), lambda s: s.episodes(-1)):
        with pytest.raises(InvalidInputError):
            ask(dataset.sampler())
