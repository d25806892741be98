"""Parts, unions and what is left: whole episodes, the same ones everywhere and always."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.handover.episodes import Ending, benchmark, record
from tupli_repo import FileStorage, Repository, TupliDataset
from tupli_repo.errors import InvalidInputError
from tupli_repo.schema import FilterEQ, FilterLT

MANY = [Ending(1 + n % 7, terminated=bool(n % 2)) for n in range(50)]


def ids(dataset: Any) -> list[str]:
    return [header.id for header in dataset.preview()]


def test_parts_have_every_episode_once_and_in_order(storage: Repository):
    record(storage, MANY)
    whole = TupliDataset(storage)
    parts = whole.split(0.7, 0.2, 0.1, seed=3)
    assert [len(ids(part)) for part in parts] == [35, 10, 5]
    assert sorted(oid for part in parts for oid in ids(part)) == sorted(ids(whole))
    for part in parts:
        assert ids(part) == [oid for oid in ids(whole) if oid in set(ids(part))]
        assert len(part.columns()["rewards"]) == part.episode_lengths.sum()
    assert [ids(one) for one in TupliDataset(storage).split(7, 2, 1, seed=3)] == list(
        map(ids, parts)
    )
    assert ids(whole.split(0.7, 0.3, seed=4)[0]) != ids(parts[0])


def test_parts_stay_what_they_are_whatever_is_recorded_since(storage: Repository):
    into = benchmark(storage)
    record(storage, MANY, into=into)
    one, other = TupliDataset(storage).split(1, 1)
    record(storage, MANY, into=into, first=100)
    assert len(ids(one)) == len(ids(other)) == 25
    assert len(ids(TupliDataset(storage))) == 100
    name = one.pin("train")
    assert ids(TupliDataset.from_pin(storage, name)) == ids(one)


def test_what_a_pin_gave_is_there_after_its_benchmark_was_removed(storage: Repository):
    truth = record(storage, into=(walk := benchmark(storage, ref_min_score=0, ref_max_score=1)))
    before, _ = TupliDataset(storage).split(1, 1)
    first, *rest = ids(TupliDataset(storage))
    pinned = TupliDataset.from_pin(storage, TupliDataset(storage).pin("all"))
    storage.delete_episodes([first, *rest])
    storage.delete_benchmark(walk)
    assert ids(TupliDataset(storage)) == []
    assert ids(pinned.without(first)) == rest
    assert sum(len(ids(part)) for part in pinned.split(1, 2, by="benchmark_id")) == len(rest) + 1
    assert len(pinned.combined(before).observations) == len(truth)
    assert np.array_equal(before.normalised_scores(), before.returns())
    assert [one.id for one in before.benchmarks] == [walk]


def test_ratios_of_any_size_part_every_episode(storage: Repository):
    record(storage, MANY)
    whole = TupliDataset(storage)
    for ratios in ((1e308, 1e308), (5e-324, 5e-324), (np.float32(0.5), np.int8(1) / 2)):
        parts = whole.split(*ratios)
        assert [len(ids(part)) for part in parts] == [25, 25]


def test_a_group_is_never_parted(storage: Repository):
    record(storage, MANY)
    parts = TupliDataset(storage).split(2, 1, by="metadata.pilot", seed=1)
    pilots = [{header.metadata["pilot"] for header in part.preview()} for part in parts]
    assert sorted(map(len, pilots)) == [1, 2]
    assert not pilots[0] & pilots[1]
    assert sum(len(ids(part)) for part in parts) == 50
    with pytest.raises(InvalidInputError, match=r"no 'metadata\.plane'"):
        TupliDataset(storage).split(1, 1, by="metadata.plane")
    several: Any = ["benchmark_id", "metadata.pilot"]
    with pytest.raises(InvalidInputError, match="a 'list' is no name"):
        TupliDataset(storage).split(1, 1, by=several)
    wrong: list[Any] = [(), (0.5, 0), (1, float("nan")), (1, -1), ([0.8, 0.2],), ("0.8", "0.2")]
    for ratios in wrong:
        with pytest.raises(InvalidInputError, match="positive"):
            TupliDataset(storage).split(*ratios)


def test_unions_have_episodes_of_several_benchmarks_once_and_in_order(storage: Repository):
    for number, name in enumerate(["walk", "run", "swim"]):
        record(storage, MANY[:4], into=benchmark(storage, name), first=4 * number)
    whole = TupliDataset(storage)

    def of(name: str) -> TupliDataset:
        return whole.with_benchmark_filter(FilterEQ(key="metadata.name", value=name))

    both = of("swim").combined(of("walk"), of("walk").split(1, 1)[0])
    numbers = [header.metadata["number"] for header in both.preview()]
    assert numbers == [0, 1, 2, 3, 8, 9, 10, 11]
    assert [one.metadata.name for one in both.benchmarks] == ["swim", "walk"]
    assert both.columns()["observations"][:, 0].max() == 11
    fewer = both.with_episode_filter(FilterLT(key="metadata.number", value=3))
    assert set(fewer.columns("observations")["observations"][:, 0]) == {0, 1, 2}
    assert len(ids(fewer)) == 3
    assert len(ids(both.with_benchmark_filter(FilterEQ(key="metadata.name", value="swim")))) == 4


def test_what_is_left_out_is_gone(storage: Repository):
    record(storage, MANY)
    whole = TupliDataset(storage)
    test, train = whole.split(1, 4)
    assert ids(whole.without(test)) == ids(train)
    first, second, *rest = whole.preview()
    assert len(ids(whole.without(first, second.id, "0" * 64))) == len(rest)
    assert len(ids(whole.without(whole))) == 0
    wrong: list[Any] = [first.id[:12], "walk", [first], 3]
    for one in wrong:  # who passes it over would learn from what was to be left out
        with pytest.raises(InvalidInputError, match=r"not an object id|is no episode"):
            whole.without(second, one)


def test_what_cannot_be_combined_is_said(storage: Repository, tmp_path: Path):
    record(storage)
    other = TupliDataset(FileStorage(tmp_path / "other"))
    with pytest.raises(InvalidInputError, match="different repositories"):
        TupliDataset(storage).combined(other)
    good = TupliDataset(storage).with_tuple_filter(lambda step: step.reward > 0)
    with pytest.raises(InvalidInputError, match="step filters"):
        TupliDataset(storage).combined(good)
    assert good.split(1)[0].rewards == good.rewards
    no_dataset: Any = storage
    with pytest.raises(InvalidInputError, match="is no dataset"):
        TupliDataset(storage).combined(no_dataset)


def test_scores_are_beside_the_references_of_each_benchmark(storage: Repository):
    truth = record(storage, into=benchmark(storage, "walk", ref_min_score=-2, ref_max_score=8.0))
    into = benchmark(storage, "run", ref_min_score=1, ref_max_score=2)
    truth += record(storage, into=into, first=10)
    dataset = TupliDataset(storage)
    numbers = sorted({one.episode for one in truth})
    returns = np.array([sum(x.reward for x in truth if x.episode == n) for n in numbers])
    assert np.allclose(dataset.returns(), returns)
    expected = [(r + 2) / 10 if n < 10 else r - 1 for n, r in zip(numbers, returns, strict=True)]
    assert np.allclose(dataset.normalised_scores(), expected)
    beside = dataset.normalised_scores(ref_min_score=returns.min(), ref_max_score=returns.max())
    assert np.allclose([beside.min(), beside.max()], [0, 1])
    expected = [(r + 3) / (11 if n < 10 else 5) for n, r in zip(numbers, returns, strict=True)]
    assert np.allclose(dataset.normalised_scores(ref_min_score=-3), expected)


def test_references_may_be_what_numpy_made_of_returns(storage: Repository):
    low, high = np.float32(-2), np.float32(8)
    record(storage, into=benchmark(storage, "walk", ref_min_score=low, ref_max_score=high))
    dataset = TupliDataset(storage)
    assert np.allclose(dataset.normalised_scores(), (dataset.returns() + 2) / 10)


def test_a_benchmark_without_episodes_needs_no_references(storage: Repository):
    record(storage, into=benchmark(storage, "walk", ref_min_score=0, ref_max_score=1))
    benchmark(storage, "idle")
    dataset = TupliDataset(storage)
    assert np.array_equal(dataset.normalised_scores(), dataset.returns())


@pytest.mark.parametrize(
    "extra", [{}, {"ref_min_score": 1, "ref_max_score": 1}, {"ref_min_score": "a"}]
)
def test_a_benchmark_without_references_has_no_scores(storage: Repository, extra: dict[str, Any]):
    record(storage, into=benchmark(storage, **extra))
    with pytest.raises(InvalidInputError, match="benchmark 'walk' has no two reference returns"):
        TupliDataset(storage).normalised_scores()
