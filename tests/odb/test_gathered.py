"""What is gathered is written together, and is lost by nothing but death."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from tests.faults import FailingFileSystem, RecordingFileSystem
from tests.odb.samples import (
    by_id,
    encoded,
    everything,
    id_of,
    names,
    new_files,
    new_store,
    opened_pack,
    record,
    reopen,
)
from tupli_repo.errors import StorageIOError
from tupli_repo.odb import writer as writer_module
from tupli_repo.odb.block import TARGET_BYTES
from tupli_repo.odb.gathered import Group
from tupli_repo.odb.journal import JournalFile, JournalWriter, seal
from tupli_repo.odb.objects import Kind, Named, Object, ObjectId, named
from tupli_repo.odb.store import ObjectStore


@pytest.fixture(autouse=True)
def _no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine does not write earlier than a quick one."""
    monkeypatch.setattr(writer_module, "GATHER_S", 1e9)


def noise(number: int, size: int) -> list[Object]:
    """Return a blob that cannot be compressed, and the record that links it."""
    data = Object(kind=Kind.BLOB, body=np.random.default_rng(number).bytes(size))
    return [data, record(number, id_of(data))]


def named_all(objects: list[Object]) -> list[Named]:
    return [named(obj) for obj in objects]


def gather(store: ObjectStore, first: int, n: int, size: int = 20_000) -> list[Object]:
    """Gather some episodes; returns their objects."""
    found: list[Object] = []
    for number in range(first, first + n):
        objects = noise(number, size)
        store.append_named(named_all(objects), gather=True)
        found += objects
    return found


def test_many_episodes_are_written_in_few_writes_and_full_blocks(tmp_path: Path):
    fs = RecordingFileSystem()
    store = new_store(tmp_path, fs)
    expected = by_id(gather(store, 0, 200))
    store.sync()
    n_writes = [call.name for call in fs.calls].count("write")
    assert n_writes < 10
    assert everything(reopen(tmp_path)) == expected
    (path,) = names(tmp_path, ".journal")
    journal = JournalFile(new_files(tmp_path / "other"), path)
    journal.refresh()
    sizes = [block.raw for block in journal.directory.blocks]
    assert sum(size > TARGET_BYTES * 0.8 for size in sizes) >= 28  # of 4 MB


def test_this_process_finds_at_once_what_it_gathers(tmp_path: Path):
    store = new_store(tmp_path)
    expected: dict[ObjectId, Object] = {}
    for number in range(0, 120, 40):
        expected |= by_id(gather(store, number, 40))
        assert everything(store) == expected
        oid, obj = by_id(noise(number, 20_000)).popitem()
        assert store.read(oid) == obj


@pytest.mark.parametrize("then", ["sync", "seal", "append", "close"])
def test_whatever_comes_next_writes_what_was_gathered(tmp_path: Path, then: str):
    store = new_store(tmp_path)
    expected = by_id(gather(store, 0, 70))
    if then == "append":
        store.append([record(999)])
        expected |= by_id([record(999)])
    else:
        getattr(store, then)()
    assert everything(reopen(tmp_path)) == expected


def test_what_is_gathered_slowly_is_written_at_once(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(writer_module, "GATHER_S", 0.01)
    store = new_store(tmp_path)
    expected: dict[ObjectId, Object] = {}
    for number in range(3):
        expected |= by_id(gather(store, number, 1))
        assert everything(reopen(tmp_path)) == expected
        time.sleep(0.02)


def test_a_journal_that_has_grown_enough_is_sealed_while_more_is_gathered(tmp_path, monkeypatch):
    store = new_store(tmp_path)
    store._writer._target_bytes = 3 << 20
    expected = by_id(gather(store, 0, 400))
    assert len(names(tmp_path, ".pack")) >= 1
    store.close()
    assert everything(reopen(tmp_path)) == expected
    assert names(tmp_path, ".journal") == []


def test_a_full_disk_is_told_and_what_was_taken_before_is_written_later(tmp_path: Path):
    fs = FailingFileSystem(0, OSError(errno.ENOSPC, "full"), lasting=True)
    store = new_store(tmp_path, fs)
    taken = gather(store, 0, 1)
    fs.fail_at(1)
    refused = 0
    for number in range(1, 700):
        objects = noise(number, 20_000)
        try:
            store.append_named(named_all(objects), gather=True)
        except StorageIOError:
            refused += 1
        else:
            taken += objects
    assert refused > 150  # or memory would grow without end
    for told in (store.sync, store.seal, store.sync, lambda: store.append([record(5000)])):
        with pytest.raises(StorageIOError):
            told()
    fs.heal()
    store.sync()
    found = everything(reopen(tmp_path))
    assert found.items() >= by_id(taken).items()
    store.close()
    assert everything(reopen(tmp_path)).items() >= by_id(taken).items()


def test_large_episodes_do_not_pile_up(tmp_path: Path):
    fs = RecordingFileSystem()
    store = new_store(tmp_path, fs)
    gather(store, 0, 1)
    fs.clear()
    for number in range(1, 8):
        gather(store, number, 1, size=3 << 20)
        written = sum(path.stat().st_size for path in names(tmp_path, ".journal"))
        assert number * (3 << 20) - written < writer_module.WAITING_BYTES + (4 << 20)


def test_a_journal_that_somebody_sealed_meanwhile_loses_nothing(tmp_path: Path):
    store = new_store(tmp_path)
    expected = by_id(gather(store, 0, 20))
    for path in names(tmp_path, ".journal"):
        seal(new_files(tmp_path), path)
    expected |= by_id(gather(store, 20, 100))
    store.sync()
    assert everything(reopen(tmp_path)) == expected


def test_a_failed_sync_is_made_good_by_the_next(tmp_path: Path):
    fs = FailingFileSystem(0, OSError(errno.EIO, "broken"))
    store = new_store(tmp_path, fs)
    expected = by_id(gather(store, 0, 100))
    for step in range(1, 4):
        fs.fail_at(step)
        with pytest.raises(StorageIOError):
            store.sync()
        fs.heal()
        expected |= by_id(gather(store, 1000 * step, 3))
    store.sync()
    assert everything(reopen(tmp_path)) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_leaves_to_its_parent_what_that_gathered(tmp_path: Path):
    store = new_store(tmp_path)
    expected = by_id(gather(store, 0, 40))
    child = os.fork()
    if not child:
        store.append([record(7000)])
        store.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    store.close()
    packs = [opened_pack(new_files(tmp_path), path) for path in names(tmp_path, ".pack")]
    assert sorted(len(pack.directory) for pack in packs) == [1, len(expected)]
    assert everything(reopen(tmp_path)) == expected | by_id([record(7000)])


def test_what_was_gathered_is_written_when_the_interpreter_exits(tmp_path: Path):
    new_store(tmp_path).close()
    program = dedent(f"""
        from tests.odb.test_gathered import gather
        from tests.odb.samples import reopen
        from pathlib import Path
        store = reopen(Path({str(tmp_path)!r}))
        gather(store, 0, 70)
    """)
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
    expected = by_id([obj for number in range(70) for obj in noise(number, 20_000)])
    assert everything(reopen(tmp_path)) == expected
    assert names(tmp_path, ".journal") == []


def test_a_group_that_goes_to_another_journal_has_all_its_objects_there(tmp_path: Path):
    files = new_files(tmp_path)
    one, other = JournalWriter(files), JournalWriter(files)
    objects = [encoded(obj) for obj in [*noise(1, 100), *noise(2, 100)]]
    one.append(objects[:2])
    group = Group(objects, one)
    one.write(group.blocks_for(one))
    other.write(group.blocks_for(other))
    for journal in (one, other):
        assert sorted(journal.directory.ids()) == sorted(oid for oid, _, _ in objects)
        journal.close()
