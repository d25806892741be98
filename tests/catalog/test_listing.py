"""Listings through the repository: page by page, in little memory, whatever happens meanwhile."""

import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from tests.faults import RecordingFileSystem
from tests.test_storage import episode, query
from tupli_repo.catalog import catalog_path
from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.objects import Kind, Object
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ, FilterGEQ
from tupli_repo.storage import FileStorage


def recorded(folder: Path, n: int = 12, *, packs: int = 3) -> FileStorage:
    """A repository with some packs, and a journal."""
    with FileStorage(folder) as storage:
        benchmark = storage.store_benchmark(query()).id
        for number in range(n):
            made = episode(benchmark, 1 + number % 3)
            made.metadata = {"number": number, "kind": "even" if number % 2 == 0 else "odd"}
            storage.record_episode(made)
            if number % (n // packs) == n // packs - 2:
                storage.close()
    return FileStorage(folder)


def catalog_of(repository: Repository) -> Path:
    return catalog_path(repository.root, repository.format.id)


def test_a_page_is_a_part_of_the_whole_listing(tmp_path: Path):
    storage = recorded(tmp_path)
    even = FilterEQ(key="metadata.kind", value="even")
    for chosen in (None, even, even & FilterGEQ(key="metadata.number", value=6)):
        whole = storage.list_episodes(chosen)
        assert list(storage.iter_episodes(chosen)) == whole
        for skip in range(len(whole) + 2):
            for limit in (0, 1, 3, None):
                stop = None if limit is None else skip + limit
                assert storage.list_episodes(chosen, skip=skip, limit=limit) == whole[skip:stop]
    with_tuples = storage.list_episodes(include_tuples=True, skip=2, limit=2)
    assert [item.id for item in with_tuples] == [h.id for h in storage.list_episodes()[2:4]]


def test_a_page_before_the_first_is_an_error(tmp_path: Path):
    storage = recorded(tmp_path)
    for skip, limit in ((-1, None), (0, -1)):
        with pytest.raises(InvalidInputError, match="below 0"):
            storage.list_episodes(skip=skip, limit=limit)


def test_filters_are_asked_for_what_they_are_now_and_text_for_what_it_is(tmp_path: Path):
    with FileStorage(tmp_path) as storage:
        benchmark = storage.store_benchmark(query()).id
        for text in ("\ud83d\ude00", "\U0001f600"):
            made = episode(benchmark)
            made.metadata = {"text": text, text: 1, "v": 0.5}
            storage.record_episode(made)
    headers = Repository(tmp_path).list_episodes()
    changed = FilterEQ(key="metadata.v", value=0)
    changed.value = np.float32(0.5)
    filters = [changed]
    for text in ("\ud83d\ude00", "\U0001f600"):
        filters += [FilterEQ(key="metadata.text", value=text)]
        filters += [FilterEQ(key=f"metadata.{text}", value=1)]
    for chosen in filters:
        expected = [h for h in headers if chosen.matches(h.model_dump())]
        assert Repository(tmp_path).list_episodes(chosen) == expected


def test_counts_are_those_of_the_listing(tmp_path: Path):
    storage = recorded(tmp_path)
    headers = storage.list_episodes()
    benchmark = headers[0].benchmark_id
    assert storage.count_episodes() == {benchmark: 12}
    assert storage.count_episodes(FilterEQ(key="metadata.number", value=3)) == {benchmark: 1}
    storage.delete_episodes([headers[0].id, headers[5].id])
    storage.publish_episode(headers[1].id)
    assert storage.count_episodes() == {benchmark: 10}
    assert storage.count_episodes(FilterEQ(key="metadata.number", value=0)) == {}
    status = storage.status()
    assert (status.episodes, status.hidden, status.unpublished_episodes) == (10, 2, 9)
    assert status.steps == sum(header.n_tuples for header in storage.list_episodes())
    storage.delete_benchmark(benchmark)
    assert storage.status().hidden == 3


def test_what_is_gone_through_stays_as_it_was_found(tmp_path: Path):
    storage = recorded(tmp_path)
    whole = storage.list_episodes()
    going = storage.iter_episodes()
    begun = [next(going)]
    shutil.rmtree(catalog_of(storage))
    other = Repository(tmp_path)
    other.delete_episode(whole[3].id)
    other.gc()  # the packs become one, and lie in the trash
    assert begun + list(going) == whole
    assert len(storage.list_episodes()) == 11


def test_somebody_is_told_while_packs_are_read(tmp_path: Path):
    storage = recorded(tmp_path)
    shutil.rmtree(catalog_of(storage))
    told: list[tuple[int, int]] = []
    storage.on_indexing(lambda done, of: told.append((done, of)))
    storage.list_episodes()
    storage.list_episodes()
    assert told == [(number, 4) for number in range(5)]


@pytest.mark.parametrize(
    "said",
    [
        b'{"x":1e999}',
        b'{"x":{"\\u0023f":"nan"}}',
        b'{"x":{"\\u0023t":[1,2]}}',
        b'{"x":"\\ud800"}',
        b'{"x":["#f",{"y":"#x"}]}',
        b'{"x":"\xed\xa0\x80"}',
        b'{"y":2,"x":1}',
        b'{"x":{"#t":[1,{"#i":"99999999999999999999"}]}}',
    ],
)
def test_what_another_program_wrote_is_listed_as_it_is_loaded(tmp_path: Path, said: bytes):
    with FileStorage(tmp_path) as storage:
        header = storage.record_episode(episode(storage.store_benchmark(query()).id, 2))
        _, obj = storage.read_object(header.id)
        body = obj.body.replace(b'"format"', b'"metadata":%s,"format"' % said)
        body = body.replace(b',"metadata":{}', b"")
        (oid,) = storage._store.append([Object(kind=Kind.EPISODE, links=obj.links, body=body)])
        told = {h.id: repr(h) for h in storage.load_episodes([header.id, oid]).headers}
        assert {h.id: repr(h) for h in storage.list_episodes()} == told
    for _ in range(2):
        assert {h.id: repr(h) for h in FileStorage(tmp_path).list_episodes()} == told


def test_going_through_many_takes_little_memory(tmp_path: Path):
    storage = recorded(tmp_path, 400, packs=1)

    def peak(work: Any) -> int:
        tracemalloc.start()
        work()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    storage.list_episodes()
    every = peak(lambda: storage.list_episodes())
    one = peak(lambda: next(storage.iter_episodes(limit=1)))
    page = peak(lambda: storage.list_episodes(skip=200, limit=10))
    assert max(one, page) < every


def test_whoever_removes_its_files_all_the_time_changes_no_listing(tmp_path: Path):
    storage = recorded(tmp_path)
    expected, folder = storage.list_episodes(), catalog_of(storage)
    is_over = Event()

    def remove() -> None:
        while not is_over.is_set():
            for path in folder.glob("*.0"):  # the segments: as another process tidies up
                path.unlink(missing_ok=True)

    with ThreadPoolExecutor(1) as pool:
        removing = pool.submit(remove)
        try:
            for _ in range(40):
                assert Repository(tmp_path).list_episodes() == expected
        finally:
            is_over.set()
        removing.result()


def test_what_a_process_has_sealed_is_in_the_catalog_already(tmp_path):
    storage = FileStorage(tmp_path)
    walk = storage.store_benchmark(query("walk")).id
    storage.record_episode(episode(walk))
    storage.close()
    disk = RecordingFileSystem()
    assert FileStorage(tmp_path, fs=disk).count_episodes() == {walk: 1}
    blocks = [call for call in disk.calls if call.path.suffix == ".pack" and call.name == "read"]
    assert len(blocks) <= 3  # its beginning, its end and its directory; no block
