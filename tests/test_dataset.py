"""Datasets: which episodes, in which order, as tuples, arrays and batches."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from gymnasium import spaces

from tests.envs import Replay, Seen, Walk, play, stored, watch
from tests.strategies import same
from tests.test_storage import episode, query
from tupli_repo.benchmark import TupliEnvWrapper
from tupli_repo.codec.episode import Steps
from tupli_repo.dataset import (
    BaseTupleParser,
    NumpyTupleParser,
    TensorflowTupleParser,
    TorchTupleParser,
    TupliDataset,
)
from tupli_repo.errors import InvalidInputError, MissingDependencyError
from tupli_repo.schema import (
    EpisodeHeader,
    EpisodeItem,
    FilterEQ,
    FilterGEQ,
    FilterGT,
    FilterLEQ,
    FilterNE,
    RLTuple,
)
from tupli_repo.storage import TupliStorage

ACTIONS = [1, 2, 3, 0, 1]


@pytest.fixture
def filled(storage):
    """Two benchmarks with six episodes of 1 to 3 steps."""
    for name in ("one", "two"):
        env = stored(storage, Walk(3), name=name)
        for n in (1, 2, 3):
            play(env, ACTIONS[:n], seed=n)
        env.close()
    return storage


def lengths(dataset) -> list[int]:
    return [header.n_tuples for header in dataset.preview()]


# ---- which episodes


def test_without_filters_every_episode_comes_in_the_order_of_time(filled):
    dataset = TupliDataset(filled)
    assert lengths(dataset) == [1, 2, 3, 1, 2, 3]
    assert dataset.preview() == filled.list_episodes()
    assert dataset.episode_lengths.tolist() == [1, 2, 3, 1, 2, 3]
    assert [b.metadata.name for b in dataset.benchmarks] == ["one", "two"]


def test_filters_add_and_leave_the_dataset_they_narrow_alone(filled):
    every = TupliDataset(filled, info={"who": "ada"})
    two = every.with_benchmark_filter(FilterEQ(key="metadata.name", value="two"))
    long = two.with_episode_filter(FilterGT(key="n_tuples", value=1))
    longest = long.with_episode_filter(FilterGT(key="n_tuples", value=2))
    found = [lengths(dataset) for dataset in (every, two, long, longest)]
    assert found == [[1, 2, 3, 1, 2, 3], [1, 2, 3], [2, 3], [3]]
    assert longest.info == {"who": "ada"}
    none = two.with_benchmark_filter(FilterEQ(key="metadata.name", value="one"))
    assert lengths(none) == []
    wider = long.with_episode_filter(FilterLEQ(key="n_tuples", value=9))
    assert lengths(wider) == [2, 3]


def test_no_matching_benchmark_means_no_episodes(filled):
    dataset = TupliDataset(filled).with_benchmark_filter(FilterEQ(key="hash", value="?"))
    assert dataset.preview() == []
    dataset.load()
    assert len(dataset.tuples) == len(dataset.episodes) == 0


def test_episodes_of_a_deleted_benchmark_are_left_out(filled):
    (one,) = filled.list_benchmarks(FilterEQ(key="metadata.name", value="one"))
    filled.delete_benchmark(one.id)
    assert lengths(TupliDataset(filled)) == [1, 2, 3]


def test_preview_gives_headers_and_once_loaded_the_episodes(filled):
    dataset = TupliDataset(filled)
    assert {type(item) for item in dataset.preview()} == {EpisodeHeader}
    dataset.load()
    dataset.load()
    assert {type(item) for item in dataset.preview()} == {EpisodeItem}
    assert [len(item.tuples) for item in dataset.episodes] == [1, 2, 3, 1, 2, 3]
    assert "6 episodes, 12 steps" in repr(dataset)


def test_a_loaded_dataset_stays_as_it_is_and_a_narrowed_one_looks_again(filled):
    dataset = TupliDataset(filled)
    dataset.load()
    before = dataset.rewards
    gone = filled.list_episodes()[0]
    filled.delete_episode(gone.id)
    assert dataset.rewards == before
    assert len(dataset.preview()) == 6
    narrowed = dataset.with_episode_filter(FilterGEQ(key="n_tuples", value=0))
    assert len(narrowed.preview()) == 5
    assert {type(item) for item in narrowed.preview()} == {EpisodeHeader}


# ---- as tuples and lists


def test_the_lists_are_those_of_the_tuples(filled):
    dataset = TupliDataset(filled)
    tuples = [step for item in filled.list_episodes(include_tuples=True) for step in item.tuples]
    assert list(dataset.tuples) == tuples
    assert all(isinstance(step, RLTuple) for step in dataset.tuples)
    for name, part in [
        ("observations", "state"),
        ("actions", "action"),
        ("rewards", "reward"),
        ("terminals", "terminal"),
        ("timeouts", "timeout"),
        ("infos", "info"),
    ]:
        found = getattr(dataset, name)
        assert isinstance(found, list)
        assert found == [getattr(step, part) for step in tuples]
    assert dataset.tuples[-1] == tuples[-1]
    assert dataset.tuples[2:4] == tuples[2:4]


def test_episodes_become_json_like_pytuplis(filled):
    item = TupliDataset(filled).episodes[2]
    fields = json.loads(item.model_dump_json())
    assert len(fields["tuples"]) == 3
    assert EpisodeItem.model_validate(fields) == item


def test_tuple_filters_add_and_leave_episodes_whole(filled):
    dataset = TupliDataset(filled).with_tuple_filter(lambda step: step.action > 1)
    assert dataset.actions == [2, 2, 3, 2, 2, 3]
    both = dataset.with_tuple_filter(lambda step: step.terminal)
    assert both.actions == [3, 3]
    assert both.convert_to_d4rl_format()["actions"].tolist() == [3, 3]
    assert [len(item.tuples) for item in both.episodes] == [1, 2, 3, 1, 2, 3]
    with pytest.raises(InvalidInputError, match="step filter"):
        both.columns()


# ---- as arrays


def test_next_observations_stay_within_their_episode(storage):
    env, bare, seen = stored(storage, Walk(3, dtype="float16")), Walk(3, dtype="float16"), Seen()
    for seed, n in enumerate([3, 1, 2, 3]):
        play(env, ACTIONS[:n], seed=seed)
        watch(bare, seen, ACTIONS[:n], seed=seed, cut=n < 3)
    env.close()
    dataset = TupliDataset(storage)
    found = dataset.convert_to_d4rl_format()
    assert same(found, seen.arrays())
    starts = np.cumsum([0, *dataset.episode_lengths + 1])
    columns = dataset.columns()
    for episode_number, (start, stop) in enumerate(pairwise(starts)):
        rows = columns["observations"][start:stop]
        steps = slice(start - episode_number, stop - episode_number - 1)
        assert same(rows[:-1], found["observations"][steps])
        assert same(rows[1:], found["next_observations"][steps])


def test_what_is_returned_may_be_changed_without_changing_the_dataset(filled):
    dataset = TupliDataset(filled)
    first = dataset.convert_to_d4rl_format()
    kept = {name: array.copy() for name, array in first.items()}
    for array in first.values():
        array[:] = 0
    dataset.observations[0][0] = 99.0
    assert same(dataset.convert_to_d4rl_format(), kept)


def test_episodes_without_a_final_state_lose_their_last_step_unless_they_terminated(storage):
    benchmark = storage.store_benchmark(query()).id
    tuples = [RLTuple(state=[t], action=t, reward=t) for t in range(3)]
    ended = [*tuples[:2], RLTuple(state=[2], action=2, reward=2, terminal=True)]
    for found in (tuples, ended):
        storage.record_episode(episode(benchmark, tuples=found))
    storage.record_episode(episode(benchmark, tuples=tuples, final_state=[3]))
    dataset = TupliDataset(storage)
    data = dataset.convert_to_d4rl_format()
    assert data["observations"].ravel().tolist() == [0, 1, 0, 1, 2, 0, 1, 2]
    assert data["next_observations"].ravel().tolist() == [1, 2, 1, 2, 2, 1, 2, 3]
    assert data["actions"].tolist() == [0, 1, 0, 1, 2, 0, 1, 2]
    assert data["terminals"].tolist() == [False] * 4 + [True] + [False] * 3
    assert len(dataset.tuples) == 9
    assert dataset.columns()["observations"].ravel().tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 3]


def test_only_the_columns_that_are_wanted_are_given(filled):
    for loaded in (False, True):
        dataset = TupliDataset(filled)
        if loaded:
            dataset.load()
        found = dataset.columns(only=["actions", "infos/t"])
        assert set(found) == {"actions", "infos/t"}
        assert found["infos/t"].tolist() == [1, 1, 2, 1, 2, 3] * 2
        assert set(dataset.columns(only=["infos"])) >= {"infos/t"}
        text = dataset.columns(only=["infos#json"])
        assert set(text) == {"infos#json", "infos#json#offsets"}
        assert text["infos#json#offsets"][-1] == len(text["infos#json"])


def composite(storage) -> TupliDataset:
    space = spaces.Dict({"cam": spaces.Box(0, 255, (2,), np.uint8), "n": spaces.Discrete(9)})
    steps = Steps(
        observations=[{"cam": np.full(2, t, np.uint8), "n": np.int64(t)} for t in range(3)],
        actions=[np.int64(0)] * 2,
        rewards=[1.0] * 2,
        terminated=[False, True],
        truncated=[False, False],
        infos=[{}, {}],
    )
    env = TupliEnvWrapper(
        Replay(steps, space, spaces.Discrete(2)), storage, storage.store_benchmark(query()).id
    )
    play(env, [0, 0])
    return TupliDataset(storage)


def test_composite_observations_have_columns_and_no_d4rl_format(storage):
    dataset = composite(storage)
    assert dataset.columns()["observations/cam"].dtype == np.uint8
    assert set(dataset.columns(only=["observations"])) == {"observations/cam", "observations/n"}
    assert dataset.observations[1] == {"cam": [1, 1], "n": 1}
    with pytest.raises(InvalidInputError, match="observations/cam") as raised:
        dataset.convert_to_d4rl_format()
    assert "columns()" in raised.value.hint


def test_episodes_of_different_shapes_are_an_error_that_names_both(storage):
    benchmark = storage.store_benchmark(query()).id
    headers = [
        storage.record_episode(
            episode(benchmark, tuples=[RLTuple(state=[0.0] * n, action=0, reward=0.0)])
        )
        for n in (1, 2)
    ]
    dataset = TupliDataset(storage)
    for call in (dataset.convert_to_d4rl_format, dataset.columns):
        with pytest.raises(InvalidInputError, match="observations") as raised:
            call()
        assert all(header.id[:12] in str(raised.value) for header in headers)
    assert len(dataset.tuples) == 2
    longer = dataset.with_episode_filter(FilterNE(key="id", value=headers[0].id))
    assert longer.convert_to_d4rl_format()["observations"].shape == (0, 2)


def test_an_empty_dataset_is_empty_everywhere(storage):
    dataset = TupliDataset(storage)
    assert dataset.preview() == []
    assert len(dataset.tuples) == len(dataset.episodes) == 0
    assert dataset.observations == dataset.infos == []
    assert dataset.columns() == {}
    assert dataset.columns(only=["observations"]) == {}
    assert dataset.episode_lengths.tolist() == []
    data = dataset.convert_to_d4rl_format()
    assert {name: len(array) for name, array in data.items()} == dict.fromkeys(data, 0)
    assert data["terminals"].dtype == data["timeouts"].dtype == bool
    assert [len(array) for array in dataset.convert_to_tensors()] == [0] * 5
    assert list(dataset.as_batch_generator(4, shuffle=True)) == []
    assert dataset.sample_episodes(3) == []
    assert dataset.convert_to_dataframe().shape == (0, 6)
    assert list(dataset.with_tuple_filter(lambda step: True).tuples) == []


# ---- parsers


def test_numpy_tensors_are_float32_and_bool(filled):
    dataset = TupliDataset(filled)
    tensors = dataset.convert_to_tensors()
    assert [t.dtype.name for t in tensors] == ["float32"] * 3 + ["bool"] * 2
    assert [t.shape for t in tensors] == [(12, 3), (12,), (12,), (12,), (12,)]
    assert same(tensors[0], np.asarray(dataset.observations, np.float32))
    assert same(tensors, dataset.convert_to_tensors(NumpyTupleParser))


def test_a_parser_of_ones_own_gets_lists_and_decides_what_is_returned(filled):
    class Parser(BaseTupleParser):
        @classmethod
        def parse_lists(cls, obs: Any, act: Any, rew: Any, term: Any, trunc: Any) -> Any:
            assert all(isinstance(part, list) for part in (obs, act, rew, term, trunc))
            return {"n": len(obs), "acts": act}

    assert TupliDataset(filled).convert_to_tensors(Parser) == {
        "n": 12,
        "acts": [1, 1, 2, 1, 2, 3] * 2,
    }


@pytest.mark.parametrize(
    ("parser", "package"), [(TorchTupleParser, "torch"), (TensorflowTupleParser, "tensorflow")]
)
def test_a_parser_whose_package_is_missing_names_it(filled, parser, package):
    if find_spec(package):
        assert len(TupliDataset(filled).convert_to_tensors(parser)) == 5
        return
    with pytest.raises(ImportError, match=package) as raised:
        TupliDataset(filled).convert_to_tensors(parser)
    assert isinstance(raised.value, MissingDependencyError)
    assert f"pip install {package}" in raised.value.hint


def test_a_dataframe_has_a_row_per_step(filled):
    dataset = TupliDataset(filled)
    frame, data = dataset.convert_to_dataframe(), dataset.convert_to_d4rl_format()
    assert list(frame.columns) == list(data)
    assert len(frame) == 12
    assert frame["rewards"].tolist() == data["rewards"].tolist()
    assert frame["next_observations"][3].tolist() == data["next_observations"][3].tolist()
    assert frame["terminals"].dtype == bool


# ---- batches and samples


def test_batches_hold_every_step_once_and_the_last_may_be_short(filled):
    dataset = TupliDataset(filled)
    assert [len(batch) for batch in dataset.as_batch_generator(5)] == [5, 5, 2]
    plain = [step for batch in dataset.as_batch_generator(5) for step in batch]
    assert plain == list(dataset.tuples)
    shuffled = [step for batch in dataset.as_batch_generator(7, shuffle=True) for step in batch]
    assert sorted(step.reward for step in shuffled) == sorted(dataset.rewards)
    for size in (0, -1):
        with pytest.raises(InvalidInputError):
            dataset.as_batch_generator(size)


def test_batches_and_samples_are_repeatable_once_seeded(filled):
    def drawn(dataset: TupliDataset) -> list[Any]:
        dataset.set_seed(3)
        batches = list(dataset.as_batch_generator(5, shuffle=True))
        return [batches, [item.id for item in dataset.sample_episodes(4)]]

    dataset, other = TupliDataset(filled), TupliDataset(filled)
    other.load()
    first = drawn(dataset)
    assert first == drawn(dataset) == drawn(other)
    dataset.set_seed(4)
    assert list(dataset.as_batch_generator(5, shuffle=True)) != first[0]


def test_numpys_own_generator_is_neither_used_nor_moved(filled):
    state = np.random.get_state()[1].tolist()  # type: ignore[index]
    dataset = TupliDataset(filled)
    dataset.set_seed(1)
    list(dataset.as_batch_generator(2, shuffle=True))
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]


def test_a_narrowed_dataset_goes_on_from_the_same_seed_on_its_own(filled):
    dataset = TupliDataset(filled)
    dataset.set_seed(5)
    narrowed = dataset.with_episode_filter(FilterGEQ(key="n_tuples", value=0))
    one = [item.id for item in narrowed.sample_episodes(6)]
    assert [item.id for item in dataset.sample_episodes(6)] == one


def test_samples_are_headers_or_once_loaded_episodes_each_at_most_once(filled):
    dataset = TupliDataset(filled)
    found = dataset.sample_episodes(4)
    assert {type(item) for item in found} == {EpisodeHeader}
    assert len({item.id for item in found}) == 4
    dataset.load()
    assert {type(item) for item in dataset.sample_episodes(2)} == {EpisodeItem}
    assert sorted(item.id for item in dataset.sample_episodes(99)) == sorted(
        item.id for item in dataset.preview()
    )
    assert dataset.sample_episodes(0) == dataset.sample_episodes(-1) == []


# ---- step filters


def test_what_passes_is_told_for_each_step(filled):
    dataset = TupliDataset(filled)
    assert dataset.kept_steps.tolist() == [True] * 12
    some = dataset.with_tuple_filter(lambda step: step.action > 1)
    assert some.kept_steps.tolist() == [action > 1 for action in dataset.actions]
    some.kept_steps[:] = False
    assert some.kept_steps.any()


def test_a_list_says_where_a_step_is_left_out(filled):
    dataset = TupliDataset(filled)
    ends = np.cumsum(dataset.episode_lengths) - 1
    kept = [i for i in range(12) if i % 5 != 2]
    numbers = iter(range(12))
    some = dataset.with_tuple_filter(lambda step: next(numbers) % 5 != 2)
    cuts = [i in ends or i + 1 not in kept for i in kept]
    flags = [a or b for a, b in zip(some.terminals, some.timeouts, strict=True)]
    assert flags == cuts
    assert [step.timeout for step in some.tuples] == [dataset.tuples[i].timeout for i in kept]


def test_what_is_no_storage_and_no_filter_is_said(filled, tmp_path):
    wrong: list[Any] = [tmp_path, str(tmp_path)]
    for path in wrong:
        with pytest.raises(InvalidInputError, match="is the name of a folder") as raised:
            TupliDataset(path)
        assert "FileStorage(" in raised.value.hint
    no_filter: Any = None
    with pytest.raises(InvalidInputError, match="no function of a step"):
        TupliDataset(filled).with_tuple_filter(no_filter)


def test_a_storage_that_is_no_repository_has_arrays_and_says_what_it_has_not(filled):
    class Far:
        """A storage with the verbs of PyTupli's interface and no others."""

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") or name not in dir(TupliStorage):
                raise AttributeError(name)
            return getattr(filled, name)

    far, near = TupliDataset(cast("Any", Far())), TupliDataset(filled)
    assert same(far.convert_to_d4rl_format(), near.convert_to_d4rl_format())
    assert same(far.returns(), near.returns())
    assert far.with_tuple_filter(lambda step: step.action > 1).kept_steps.tolist() == [
        action > 1 for action in near.actions
    ]
    calls: list[Callable[[], Any]] = [
        far.sampler,
        lambda: far.split(1, 1),
        lambda: far.without(near),
        lambda: far.combined(near),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError, match="'Far' is no repository"):
            call()
