"""PyTorch's own loader gets every transition once per epoch, in an order that repeats."""

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.handover.episodes import ENDINGS, Ending, Truth, benchmark, record
from tupli_repo import FileStorage, Repository, Steps, TupliDataset
from tupli_repo.errors import InvalidInputError

torch = pytest.importorskip("torch")
NAMES = ["observations", "actions", "rewards", "terminated", "truncated", "next_observations"]


def facts(row: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(np.asarray(row[name]).tobytes() for name in NAMES)


def told(one: Truth) -> tuple[bytes, ...]:
    state, action, reward, following = one.state, one.action, one.reward, one.next_state
    row = (state, action, np.float64(reward), one.terminated, one.truncated, following)
    return facts(dict(zip(NAMES, row, strict=True)))


def rows(loader: Any) -> list[tuple[bytes, ...]]:
    """Each step of some batches."""
    return [
        facts({name: column[i] for name, column in batch.items()})
        for batch in loader
        for i in range(len(batch["rewards"]))
    ]


def many(storage: Repository) -> list[Truth]:
    lengths = np.random.default_rng(1).integers(1, 90, 40).tolist()
    with storage.batch():
        return record(storage, [Ending(n, terminated=bool(n % 2)) for n in lengths])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gets_each_transition_by_number(storage: Repository, workers: int):
    truth = record(storage)
    steps = TupliDataset(storage).to_torch()
    assert isinstance(steps, torch.utils.data.Dataset)
    assert len(steps) == len(truth)
    loader = torch.utils.data.DataLoader(steps, batch_size=10, num_workers=workers)
    assert rows(loader) == [told(one) for one in truth]
    assert facts(steps[-1]) == told(truth[-1])
    assert steps[3]["observations"].dtype == torch.float32
    with pytest.raises(IndexError):
        steps[len(truth)]


def of_ranks(dataset: TupliDataset, *, epoch: int, workers: int, **settings: Any) -> list[Any]:
    found = []
    for rank in range(2):
        stream = dataset.to_torch_stream(rank=rank, world_size=2, **settings)
        stream.set_epoch(epoch)
        own = settings.get("batch_size")
        loader = torch.utils.data.DataLoader(
            stream, batch_size=None if own else 16, num_workers=workers
        )
        found.append(rows(loader))
        assert len(found[-1]) == stream.n_steps
    return found


@pytest.mark.parametrize("settings", [{"buffer_size": 150}, {"buffer_size": 150, "batch_size": 32}])
def test_two_ranks_of_two_workers_share_every_transition_once(storage: Any, settings: Any):
    truth = [told(one) for one in many(storage)]
    dataset = TupliDataset(storage)
    first = of_ranks(dataset, epoch=0, workers=2, seed=7, **settings)
    assert abs(len(first[0]) - len(first[1])) <= 1
    assert sorted(first[0] + first[1]) == sorted(truth)
    assert first[0] + first[1] != truth
    assert of_ranks(TupliDataset(storage), epoch=0, workers=2, seed=7, **settings) == first
    for epoch, seed in [(1, 7), (0, 8)]:
        other = of_ranks(dataset, epoch=epoch, workers=2, seed=seed, **settings)
        assert other != first
        assert sorted(other[0] + other[1]) == sorted(truth)


def test_workers_that_live_on_hear_of_the_next_epoch(storage: Repository):
    truth = [told(one) for one in many(storage)]
    stream = TupliDataset(storage).to_torch_stream(batch_size=50, rank=0, world_size=1)
    loader = torch.utils.data.DataLoader(
        stream, batch_size=None, num_workers=1, persistent_workers=True
    )
    first = rows(loader)
    assert rows(loader) == first
    stream.set_epoch(1)
    second = rows(loader)
    assert second != first
    assert sorted(second) == sorted(first) == sorted(truth)


def test_another_process_goes_on_with_the_epoch_it_is_told(storage: Repository):
    many(storage)
    old, new = (TupliDataset(storage).to_torch_stream(batch_size=30, seed=2) for _ in range(2))
    seen = []
    for epoch in range(3):
        old.set_epoch(epoch)
        seen.append(rows(old))
    new.set_epoch(2)
    assert rows(new) == seen[-1]


@pytest.mark.parametrize("size", [13, 63, 64, 65, 10_000])
def test_a_stream_in_order_is_what_was_recorded(storage: Repository, size: int):
    truth = [told(one) for one in many(storage)]
    dataset = TupliDataset(storage)
    stream = dataset.to_torch_stream(shuffle=False, buffer_size=size)
    assert [facts(row) for row in stream] == truth
    batches = list(dataset.to_torch_stream(shuffle=False, buffer_size=size, batch_size=48))
    assert {len(batch["rewards"]) for batch in batches[:-1]} == {48}
    assert rows(batches) == truth


def test_neighbours_are_parted(storage: Repository):
    record(storage, [Ending(4000, terminated=True)])
    stream = TupliDataset(storage).to_torch_stream(buffer_size=1000)
    places = np.array([int(row["observations"][1]) for row in stream])
    assert np.abs(np.diff(places)).min() >= 1
    assert np.mean(np.abs(np.diff(places)) <= 64) < 0.15  # all were, if only chunks were mixed


def test_a_stream_holds_no_more_than_its_buffer(tmp_path: Path):
    storage = FileStorage(tmp_path)
    walk = benchmark(storage)
    rng = np.random.default_rng(0)
    n, size = 1500, (64, 64, 3)
    with storage.batch():
        for _ in range(4):
            steps = Steps(
                observations=rng.integers(0, 256, (n + 1, *size)).astype("u1"),
                actions=np.zeros(n, np.int64),
                rewards=np.arange(n, dtype=float),
                terminated=np.arange(n) == n - 1,
                truncated=np.zeros(n, bool),
                infos=[{} for _ in range(n)],
            )
            storage.record(steps, walk)
    storage.close()
    row = 2 * 64 * 64 * 3  # the observation and the next
    stream = TupliDataset(FileStorage(tmp_path)).to_torch_stream(buffer_size=256, batch_size=32)
    tracemalloc.start()
    seen = sum(len(batch["rewards"]) for batch in stream)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == 4 * n  # 147 MB
    assert most < 256 * row + (16 << 20)


def test_a_final_observation_that_was_never_known_costs_no_more_than_it_must(storage: Repository):
    endings = [
        Ending(5, terminated=True, has_final=False),
        Ending(4, terminated=False, has_final=False),
        Ending(3, terminated=False),
    ]
    truth = record(storage, endings)
    truth[4] = truth[4]._replace(next_state=truth[4].state)
    known = [told(one) for i, one in enumerate(truth) if i != 8]
    dataset = TupliDataset(storage)
    for steps in (dataset.to_torch(), dataset.to_torch_stream(shuffle=False)):
        assert [facts(row) for row in steps] == known
    rewards = [float(row["rewards"]) for row in dataset.to_torch(only="rewards")]
    assert rewards == [one.reward for one in truth]


def test_steps_that_pass_a_filter_keep_their_own_successors(storage: Repository):
    truth = record(storage)
    dataset = TupliDataset(storage).with_tuple_filter(lambda step: step.reward > 0)
    wanted = [told(one) for one in truth if one.reward > 0]
    assert [facts(row) for row in dataset.to_torch()] == wanted
    assert [facts(row) for row in dataset.to_torch_stream(shuffle=False)] == wanted


def test_another_process_gets_the_same_steps_whatever_is_recorded_since(storage: Repository):
    truth = record(storage)
    storage.flush()
    dataset = TupliDataset(storage)
    steps, stream = dataset.to_torch(), dataset.to_torch_stream(shuffle=False)
    record(storage, ENDINGS, first=100)
    for one in (steps, stream):
        copied = pickle.loads(pickle.dumps(one))
        assert [facts(row) for row in copied] == [told(one) for one in truth]


def test_what_the_steps_have_not_in_common_is_said_before_one_is_read(storage: Repository):
    record(storage, [Ending(70, terminated=True)])
    of_others = Steps(
        observations=np.zeros((3, 2), np.float32),
        actions=np.zeros((2, 2), np.float32),
        rewards=np.zeros(2),
        terminated=np.array([False, True]),
        truncated=np.zeros(2, bool),
        infos=[{"wind": 1.0}, {"wind": 2.0}],
    )
    storage.record(of_others, benchmark(storage, "other"))
    dataset = TupliDataset(storage)
    ways: list[Any] = [dataset.to_torch, dataset.to_torch_stream, dataset.sampler]
    for way in ways:
        with pytest.raises(InvalidInputError, match="the episodes have different columns"):
            way()
        with pytest.raises(InvalidInputError, match="there is no column 'infos/wind'"):
            way(only="infos/wind")
    assert len(dataset.to_torch(only="rewards")) == 72
    some = dataset.with_tuple_filter(lambda step: len(step.state) == 2)
    assert len(list(some.to_torch_stream(buffer_size=1))) == 2


def test_what_is_not_possible_is_said(storage: Repository):
    record(storage)
    dataset = TupliDataset(storage)
    wrong: list[dict[str, Any]]
    wrong = [{"buffer_size": 0}, {"batch_size": 0}, {"seed": -1}, {"rank": 2}]
    for settings in wrong:
        with pytest.raises(InvalidInputError):
            dataset.to_torch_stream(**settings)
    with pytest.raises(InvalidInputError, match="rank 2 of 2"):
        dataset.to_torch_stream(rank=2, world_size=2)
    with pytest.raises(InvalidInputError, match="no column 'speed'"):
        next(iter(dataset.to_torch_stream(only="speed")))
    none = TupliDataset(FileStorage(Path(storage.root).parent / "empty"))
    assert len(none.to_torch()) == 0
    assert list(none.to_torch_stream()) == []
