"""What a listing costs for each episode stays the same, however many there are."""

import random
import shutil
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from tests.test_storage import episode, query
from tupli_repo.catalog import catalog_path
from tupli_repo.codec.episode_record import decode_record, encode_record
from tupli_repo.odb.objects import Kind, Object, encode, object_id
from tupli_repo.odb.pack import PackWriter
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ, FilterGEQ
from tupli_repo.storage import FileStorage

PER_PACK = 50_000


def grown(folder: Path, n: int) -> Repository:
    """A repository of ``n`` episodes whose records differ and whose data are one's."""
    with FileStorage(folder) as storage:
        header = storage.record_episode(episode(storage.store_benchmark(query()).id, 3))
        _, first = storage.read_object(header.id)
        blobs = [storage.read_object(link)[1] for link in first.links[1:]]
    fields = decode_record(first.body)
    generator = random.Random(n)
    for start in range(0, n, PER_PACK):
        with PackWriter(storage._files) as writer:
            for blob in blobs:
                writer.add(object_id(encode(blob)), Kind.BLOB, encode(blob))
            for number in range(start, min(n, start + PER_PACK)):
                fields["seed"] = number
                fields["created_at"] = f"2026-01-01T{number:015d}Z"
                fields["metadata"] = {
                    "number": number,
                    "policy": generator.choice(["random", "medium", "expert"]),
                    "return": generator.random(),
                }
                body = encode_record(fields)
                encoded = encode(Object(kind=Kind.EPISODE, links=first.links, body=body))
                writer.add(object_id(encoded), Kind.EPISODE, encoded)
            writer.commit()
    return Repository(folder)


def cost(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


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
