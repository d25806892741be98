"""Death, a full disk and Ctrl-C at every step: nothing acknowledged is lost, nothing is wrong.

Each test does its work once per step of it, with a fault at that step, and then looks with a new
store on the real file system, as the next process would.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import (
    Attempt,
    FailingFileSystem,
    HastyFileSystem,
    Killed,
    RecordingFileSystem,
    broken_disk,
    each_step,
    full_disk,
)
from tests.odb.samples import (
    HELLO,
    abandon,
    blob,
    by_id,
    episode,
    everything,
    id_of,
    names,
    new_files,
    new_store,
    overwrite,
    record,
    reopen,
    staged,
)
from tupli_repo.errors import StorageIOError
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.pack import PackWriter
from tupli_repo.odb.store import ObjectStore

Work = Callable[[ObjectStore, "Ledger"], None]
LATER = [*episode(900), record(901, kind=Kind.PROVENANCE)]
ALL = [HELLO, blob(1, 2000), record(3), blob(801), *LATER]
ALL += [obj for n in (*range(5), 800) for obj in episode(n)]


class Ledger:
    """What was asked for, and what was acknowledged as durable."""

    def __init__(self) -> None:
        self.tried: dict[ObjectId, Object] = {}
        self.durable: dict[ObjectId, Object] = {}
        self._appended: dict[ObjectId, Object] = {}

    def write(self, store: ObjectStore, obj: Object) -> None:
        self.tried |= by_id([obj])
        store.write(obj)
        self.durable |= by_id([obj])

    def append(self, store: ObjectStore, some: list[Object]) -> None:
        self.tried |= by_id(some)
        store.append(some)
        self._appended |= by_id(some)

    def sync(self, store: ObjectStore) -> None:
        store.sync()
        self.durable |= self._appended

    def seal(self, store: ObjectStore) -> None:
        store.seal()
        self.durable |= self._appended


def writing(store: ObjectStore, ledger: Ledger) -> None:
    ledger.write(store, HELLO)
    ledger.write(store, blob(1, 2000))
    ledger.write(store, HELLO)


def appending(store: ObjectStore, ledger: Ledger) -> None:
    ledger.append(store, episode(1))
    ledger.append(store, episode(2))
    ledger.sync(store)
    ledger.append(store, [record(3)])
    ledger.sync(store)


def sealing(store: ObjectStore, ledger: Ledger) -> None:
    ledger.append(store, episode(1))
    ledger.append(store, episode(2))
    ledger.seal(store)
    ledger.append(store, episode(3))
    ledger.sync(store)
    ledger.seal(store)


def growing(store: ObjectStore, ledger: Ledger) -> None:
    store._writer._target_bytes = 600
    for n in range(5):
        ledger.append(store, episode(n))
    ledger.sync(store)


WORKS = [writing, appending, sealing, growing]
each_work = pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)


def runs(
    root: Path,
    work: Work,
    fault: Callable[[], BaseException],
    *,
    torn: float = 0.0,
    lasting: bool = False,
) -> Iterator[tuple[Attempt, Path, ObjectStore, Ledger]]:
    """Do the work with a fault at each step; gives what is left each time."""
    for attempt in each_step(fault, torn=torn, lasting=lasting):
        here = root / str(attempt.step)
        store, ledger = ObjectStore(new_files(here, attempt.fs, only_for=ALL)), Ledger()
        with attempt:
            work(store, ledger)
        if isinstance(attempt.fs.fault, Killed):
            abandon(store)
        yield attempt, here, store, ledger
        attempt.fs.release()


def assert_intact(here: Path, ledger: Ledger) -> None:
    """A fresh store reads all that was acknowledged, nothing wrong, and can go on."""
    fresh = reopen(here, HastyFileSystem())
    found = everything(fresh)
    assert ledger.durable.items() <= found.items()
    assert found.items() <= ledger.tried.items()
    for oid, obj in ledger.durable.items():
        assert fresh.read(oid) == obj
    for oid, obj in found.items():
        if obj.kind is Kind.EPISODE and obj.links:
            assert set(obj.links) <= set(found), f"record {oid} without its data"
    fresh.append(LATER)
    fresh.sync()
    for obj in ledger.tried.values():  # also over what is half there
        fresh.write(obj)
    fresh.close()
    assert everything(reopen(here)) == ledger.tried | by_id(LATER)


@each_work
@pytest.mark.parametrize("torn", [0.0, 0.6, 1.0])
def test_death_at_any_step_loses_nothing_acknowledged(
    tmp_path: Path, work: Work, torn: float
) -> None:
    for attempt, here, _, ledger in runs(tmp_path, work, Killed, torn=torn):
        assert attempt.error is None or isinstance(attempt.error, Killed)
        assert_intact(here, ledger)


@each_work
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
def test_a_full_disk_at_any_step_is_told_with_a_hint_and_leaves_no_scratch(
    tmp_path: Path, work: Work, *, lasting: bool
) -> None:
    for attempt, here, store, ledger in runs(tmp_path, work, full_disk, torn=0.5, lasting=lasting):
        if attempt.error is not None:
            assert isinstance(attempt.error, StorageIOError)
            assert "free some space" in attempt.error.hint
        assert not staged(here)
        attempt.fs.heal()
        ledger.append(store, episode(800))  # the same store, once there is space
        ledger.write(store, blob(801))
        ledger.sync(store)
        store.close()
        assert not names(here, ".journal")
        assert list((here / ".tupli" / "staging").iterdir()) == []
        assert_intact(here, ledger)


@each_work
@pytest.mark.parametrize("fault", [KeyboardInterrupt, broken_disk], ids=["Ctrl-C", "broken disk"])
def test_an_interruption_at_any_step_does_not_spoil_what_comes_later(
    tmp_path: Path, work: Work, fault: Callable[[], BaseException]
) -> None:
    for attempt, here, store, ledger in runs(tmp_path, work, fault, torn=0.6):
        assert not staged(here)
        attempt.fs.heal()
        ledger.append(store, episode(800))
        ledger.write(store, blob(801))
        ledger.sync(store)
        found = everything(reopen(here))
        assert ledger.durable.items() <= found.items()
        store.close()
        assert not names(here, ".journal")
        assert_intact(here, ledger)


def test_what_was_appended_before_a_failed_append_is_durable_after_the_next_sync(
    tmp_path: Path,
) -> None:
    fs = FailingFileSystem(0, full_disk(), torn=0.5)
    store = new_store(tmp_path, fs)
    store.append(episode(1))
    (first,) = names(tmp_path, ".journal")
    fs.fail_at(1)
    with pytest.raises(StorageIOError):
        store.append(episode(2))
    store.append(episode(3))
    fs.clear()
    store.sync()
    synced = {path for name, path in fs.changes() if name == "fsync"}
    assert synced == set(names(tmp_path, ".journal"))
    assert first in synced
    store.close()


def test_after_a_failed_fsync_the_bytes_are_written_anew(tmp_path: Path) -> None:
    """The kernel has dropped them: another fsync of the same file would report success."""
    fs = FailingFileSystem(0, broken_disk())
    store = new_store(tmp_path, fs)
    store.append(episode(1))
    (journal,) = names(tmp_path, ".journal")
    fs.fail_at(1)
    with pytest.raises(StorageIOError, match="input/output error"):
        store.sync()
    fs.clear()
    store.sync()
    assert ("fsync", journal) not in fs.changes()
    (pack,) = names(tmp_path, ".pack")
    assert ("rename", pack) in fs.changes()
    fs.clear()
    store.sync()
    assert fs.changes() == []
    store.close()


def test_a_scratch_is_not_fsynced_again_after_its_fsync_failed(tmp_path: Path) -> None:
    fs = FailingFileSystem(0, broken_disk())
    store = new_store(tmp_path, fs)
    store.write(HELLO)
    fs.fail_at(3)
    with pytest.raises(StorageIOError):
        store.write(blob(1))
    assert fs.failed is not None
    assert fs.failed.name == "fsync"
    scratch = fs.failed.path
    assert not scratch.exists()
    store.write(blob(1))
    assert [path for name, path in fs.changes() if name == "fsync"].count(scratch) == 1


def test_a_disk_that_is_full_while_sealing_keeps_the_journal(tmp_path: Path) -> None:
    fs = FailingFileSystem(0, full_disk(), lasting=True)
    store = new_store(tmp_path, fs)
    store.append(episode(1))
    fs.fail_at(1)
    with pytest.raises(StorageIOError):
        store.seal()
    assert len(names(tmp_path, ".journal")) == 1
    assert dict(store.read_many(by_id(episode(1)))) == by_id(episode(1))
    with pytest.raises(StorageIOError):
        store.sync()
    fs.heal()
    store.sync()
    assert everything(reopen(tmp_path)) == by_id(episode(1))
    store.close()
    assert not names(tmp_path, ".journal")


def test_a_store_that_cannot_seal_still_tidies_up(tmp_path: Path) -> None:
    fs = FailingFileSystem(0, full_disk())
    store = new_store(tmp_path, fs)
    store.write(HELLO)
    store.append(episode(1))
    fs.fail_at(2)  # the first is the journal's close
    with pytest.raises(StorageIOError):
        store.close()
    assert list((tmp_path / ".tupli" / "staging").iterdir()) == []
    store.close()
    assert everything(reopen(tmp_path)) == by_id([HELLO, *episode(1)])


def test_a_pack_whose_first_bytes_find_no_space_leaves_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    fs = FailingFileSystem(3, full_disk(), torn=0.5)
    files = RepositoryFiles(tmp_path / ".tupli", fs)
    with pytest.raises(StorageIOError):
        PackWriter(files)
    assert fs.failed is not None
    assert fs.failed.name == "write"
    assert not staged(tmp_path)
    assert not fs._paths
    store.close()


def test_a_torn_journal_is_never_appended_to(tmp_path: Path) -> None:
    fs = FailingFileSystem(0, KeyboardInterrupt(), torn=0.5)
    store = new_store(tmp_path, fs)
    store.append(episode(1))
    (torn,) = names(tmp_path, ".journal")
    fs.fail_at(1)
    with pytest.raises(KeyboardInterrupt):
        store.append(episode(2))
    size = torn.stat().st_size
    store.append(episode(3))
    assert torn.stat().st_size == size
    found = everything(store)
    assert by_id([*episode(1), *episode(3)]).items() <= found.items()
    assert id_of(episode(2)[1]) not in found
    store.close()
    assert by_id([*episode(1), *episode(3)]).items() <= everything(reopen(tmp_path)).items()


def test_a_power_loss_costs_at_most_what_was_not_synced(tmp_path: Path) -> None:
    """Bytes after the last fsync may be there, cut, or zeros."""
    fs = RecordingFileSystem()
    store = new_store(tmp_path, fs)
    abandon(store)
    store.append(episode(1))
    store.append(episode(2))
    store.sync()
    (path,) = names(tmp_path, ".journal")
    synced = path.stat().st_size
    store.append(episode(3, 900))
    store.append(episode(4))
    fs.release()
    whole = path.read_bytes()
    tried = by_id([obj for n in (1, 2, 3, 4) for obj in episode(n, 900 if n == 3 else 40)])
    for size in range(synced, len(whole), 7):
        for tail in (b"", bytes(len(whole) - size), bytes(4096)):
            overwrite(path, whole[:size] + tail)
            found = everything(reopen(tmp_path))
            assert by_id([*episode(1), *episode(2)]).items() <= found.items() <= tried.items()
