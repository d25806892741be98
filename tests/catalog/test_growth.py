"""What a listing costs for each episode stays the same, however many there are."""

import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.growth import add_pack, peak_bytes
from tests.test_storage import query
from tupli_repo.catalog import catalog_path
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ, FilterGEQ
from tupli_repo.storage import FileStorage

PER_PACK = 50_000


def grown(folder: Path, n: int) -> Repository:
    """A repository of ``n`` episodes and one more for each pack; their records differ."""
    generator = random.Random(n)
    with FileStorage(folder) as storage:
        benchmark = storage.store_benchmark(query()).id
        for start in range(0, n, PER_PACK):
            numbers = range(start, min(n, start + PER_PACK))
            add_pack(storage, benchmark, (record(number, generator) for number in numbers))
    return Repository(folder)


def record(number: int, generator: random.Random) -> dict[str, Any]:
    return {
        "seed": number,
        "created_at": f"2026-01-01T{number:015d}Z",
        "metadata": {
            "number": number,
            "policy": generator.choice(["random", "medium", "expert"]),
            "return": generator.random(),
        },
    }


def cost(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def forgotten(repository: Repository) -> Repository:
    """The same repository, as one that opens it for the first time sees it."""
    shutil.rmtree(catalog_path(repository.root, repository.format.id), ignore_errors=True)
    return Repository(repository.root.parent)


def test_going_through_a_thousand_takes_less_than_to_hold_them(tmp_path: Path):
    repository = grown(tmp_path, 5_000)
    assert len(repository.list_episodes()) == 5_001
    every = peak_bytes(repository.list_episodes)
    assert peak_bytes(partial(_gone_through, repository)) < every / 2
    assert peak_bytes(repository.count_episodes) < every / 4


def _gone_through(repository: Repository) -> int:
    return sum(1 for _ in repository.iter_episodes())


@pytest.mark.slow
def test_ten_times_as_many_cost_ten_times_as_much(tmp_path: Path):
    sizes = [10_000, 100_000]
    some = [grown(tmp_path / str(n), n) for n in sizes]
    third = FilterEQ(key="metadata.policy", value="expert")
    few = third & FilterGEQ(key="metadata.return", value=0.99)
    works: dict[str, Callable[[Repository], object]] = {
        "index": lambda one: forgotten(one).list_episodes(limit=1),
        "list": lambda one: one.list_episodes(),
        "filter": lambda one: one.list_episodes(third),
        "find few": lambda one: one.list_episodes(few),
    }
    for name, work in works.items():
        costs: list[list[float]] = [[], []]
        for _ in range(5):
            for repository, n, found in zip(some, sizes, costs, strict=True):
                found.append(cost(partial(work, repository)) / n)
        small, large = map(median, costs)
        assert large <= 1.5 * small, name
    peaks = [peak_bytes(partial(_gone_through, repository)) for repository in some]
    assert peaks[1] < peaks[0] + 100 * (sizes[1] - sizes[0])  # a header has over a thousand
