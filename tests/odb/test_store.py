"""The store: what is read is what was written, wherever it lies and whoever wrote it."""

import random
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread

import pytest
import zstandard
from hypothesis import given, settings

from tests.faults import HastyFileSystem, RecordingFileSystem
from tests.odb.samples import (
    HELLO,
    blob,
    by_id,
    episode,
    everything,
    flipped,
    id_of,
    loose_path,
    names,
    new_store,
    objects,
    overwrite,
    record,
    reopen,
    staged,
)
from tupli_repo.errors import (
    CorruptObjectError,
    EncodingError,
    NotFoundError,
)
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.objects import MAX_OBJECT_BYTES, Kind, Object, ObjectId
from tupli_repo.odb.pack import PackFile
from tupli_repo.odb.store import ObjectStore

NOWHERE = ObjectId("0" * 64)


# --- loose objects


@given(obj=objects())
@settings(deadline=None, max_examples=40)
def test_an_object_written_is_read_and_found(
    tmp_path_factory: pytest.TempPathFactory, obj: Object
) -> None:
    root = tmp_path_factory.getbasetemp() / "shared"
    store = new_store(root, HastyFileSystem())
    oid = store.write(obj)
    assert oid == id_of(obj)
    assert store.contains(oid)
    assert store.read(oid) == obj
    other = reopen(root)
    assert other.read(oid) == obj
    assert other.contains(oid) is False  # it has not looked yet
    other.refresh()
    assert other.contains(oid)
    assert oid in set(other.ids(obj.kind))


def test_a_loose_object_is_named_by_what_plain_zstd_makes_of_it(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for obj in (HELLO, record(1), Object(kind=Kind.BLOB, body=random.Random(1).randbytes(300_000))):
        path = loose_path(tmp_path, store.write(obj))
        name = path.parent.name + path.name
        with path.open("rb") as file:
            stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            assert sha256(stream.read()).hexdigest() == name
        simple = zstandard.ZstdDecompressor().decompress(path.read_bytes())
        assert sha256(simple).hexdigest() == name


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd here")
def test_a_loose_object_is_named_by_what_the_zstd_command_makes_of_it(tmp_path: Path) -> None:
    path = loose_path(tmp_path, new_store(tmp_path).write(HELLO))
    plain = subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=True).stdout
    assert sha256(plain).hexdigest() == path.parent.name + path.name
    assert plain == b"tupli blob 0 5\nhello"
    subprocess.run(["zstd", "-tq", str(path)], check=True)


def test_a_write_makes_file_and_name_durable(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    store = new_store(tmp_path, fs)
    path = loose_path(tmp_path, store.write(HELLO))
    changes = [change for change in fs.changes() if change[0] != "make_folder"]
    scratch = changes[0][1]
    assert changes == [
        ("create", scratch),
        ("write", scratch),
        ("fsync", scratch),
        ("close", scratch),
        ("rename", path),
        ("fsync_folder", path.parent),
    ]


def test_a_write_of_what_is_there_makes_it_durable_and_writes_nothing(tmp_path: Path) -> None:
    new_store(tmp_path).write(HELLO)
    fs = RecordingFileSystem()
    store = ObjectStore(RepositoryFiles(tmp_path / ".tupli", fs))
    path = loose_path(tmp_path, store.write(HELLO))
    assert fs.changes() == [("fsync", path), ("fsync_folder", path.parent)]


def test_a_write_replaces_a_damaged_file(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    path = loose_path(tmp_path, store.write(HELLO))
    whole = path.read_bytes()
    other = loose_path(tmp_path, store.write(blob(1))).read_bytes()
    for damage in (b"", whole[:-1], whole + b"x", b"rubbish", other, bytes(len(whole))):
        overwrite(path, damage)
        with pytest.raises(CorruptObjectError):
            store.read(id_of(HELLO))
        store.write(HELLO)
        assert store.read(id_of(HELLO)) == HELLO
        assert path.read_bytes() == whole
    assert not staged(tmp_path)


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_of_a_loose_object_is_an_error_that_names_the_file(
    tmp_path: Path, mask: int
) -> None:
    store = new_store(tmp_path)
    text = Object(kind=Kind.ARTIFACT, body=b'{"name":"a model of many words"}' * 20)
    for obj in (HELLO, text):
        path = loose_path(tmp_path, store.write(obj))
        for _, damaged in flipped(path.read_bytes(), mask):
            overwrite(path, damaged)
            with pytest.raises(CorruptObjectError) as caught:
                store.read(id_of(obj))
            assert str(path) in caught.value.message
            assert caught.value.hint


def test_a_loose_object_cut_anywhere_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    path = loose_path(tmp_path, store.write(record(1)))
    whole = path.read_bytes()
    for size in range(len(whole)):
        overwrite(path, whole[:size])
        with pytest.raises(CorruptObjectError, match=path.name):
            store.read(id_of(record(1)))
        with pytest.raises(CorruptObjectError, match=path.name):
            reopen(tmp_path).refresh()


def test_a_listing_meets_damage_and_does_not_get_shorter(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    path = loose_path(tmp_path, store.write(record(1, kind=Kind.BENCHMARK)))
    overwrite(path, loose_path(tmp_path, store.write(record(2))).read_bytes())
    with pytest.raises(CorruptObjectError, match=path.name):
        reopen(tmp_path).refresh()


def test_a_listing_reads_only_the_beginning_of_large_blobs(tmp_path: Path) -> None:
    large = Object(kind=Kind.BLOB, body=random.Random(2).randbytes(3_000_000))
    new_store(tmp_path).write(large)
    sizes: list[int] = []

    class Measuring(RecordingFileSystem):
        def read(self, descriptor: int, size: int, offset: int) -> bytes:
            sizes.append(size)
            return super().read(descriptor, size, offset)

    store = ObjectStore(RepositoryFiles(tmp_path / ".tupli", Measuring()))
    store.refresh()
    assert list(store.ids(Kind.BLOB)) == [id_of(large)]
    assert sum(sizes) < 1_000_000
    assert store.read(id_of(large)) == large


def test_a_huge_file_under_an_objects_name_is_refused_without_memory(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    path = loose_path(tmp_path, NOWHERE)
    with path.open("wb") as out:
        out.truncate(8 << 30)
    with pytest.raises(CorruptObjectError, match=path.name):
        store.read(NOWHERE)


def test_an_object_too_large_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    huge = Object(kind=Kind.BLOB, body=bytes(MAX_OBJECT_BYTES))
    with pytest.raises(EncodingError):
        store.write(huge)
    with pytest.raises(EncodingError):
        store.append([HELLO, huge])
    assert everything(store) == {}


# --- appending


def test_what_is_appended_is_read_at_once_by_everybody(tmp_path: Path) -> None:
    one, other = new_store(tmp_path), reopen(tmp_path)
    for n in range(5):
        writer, reader = (one, other) if n % 2 else (other, one)
        assert writer.append(episode(n)) == [id_of(obj) for obj in episode(n)]
        for obj in episode(n):
            assert reader.read(id_of(obj)) == obj
            assert writer.read(id_of(obj)) == obj
    assert everything(one) == everything(other) == by_id([o for n in range(5) for o in episode(n)])


def test_append_writes_and_sync_makes_durable(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    store = new_store(tmp_path, fs)
    store.append(episode(1))
    store.append(episode(2))
    store.sync()
    (path,) = names(tmp_path, ".journal")
    assert fs.changes() == [
        ("create", path),
        ("write", path),
        ("write", path),
        ("fsync", path),
        ("fsync_folder", path.parent),
    ]
    store.close()


def test_sealing_turns_journals_into_packs(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.append(episode(1))
    store.append([])
    store.seal()
    assert len(names(tmp_path, ".pack")) == 1
    assert names(tmp_path, ".journal") == []
    assert store.read(id_of(record(1, id_of(blob(1))))) == episode(1)[1]
    store.append(episode(2))
    store.close()
    store.close()
    assert len(names(tmp_path, ".pack")) == 2
    assert everything(store) == everything(reopen(tmp_path)) == by_id([*episode(1), *episode(2)])
    assert list((tmp_path / ".tupli" / "staging").iterdir()) == []


def test_a_journal_that_has_grown_enough_is_sealed(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store._writer._target_bytes = 2000
    some = [obj for n in range(30) for obj in episode(n)]
    for n in range(30):
        store.append(episode(n))
    assert names(tmp_path, ".pack")
    assert len(names(tmp_path, ".journal")) <= 1
    assert everything(store) == by_id(some)


def test_a_store_that_is_let_go_seals(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.append(episode(1))
    del store
    assert names(tmp_path, ".journal") == []
    assert everything(reopen(tmp_path)) == by_id(episode(1))


# --- reading


@pytest.fixture
def mixed(tmp_path: Path) -> tuple[ObjectStore, dict[ObjectId, Object]]:
    """A store with objects in a loose file, two packs, a journal, and one in all of them."""
    store = new_store(tmp_path)
    shared = blob(1000)
    for n in range(3):
        store.append([shared, *episode(3 * n), *episode(3 * n + 1), *episode(3 * n + 2)])
        if n < 2:
            store.seal()
    store.write(shared)
    store.write(record(50, kind=Kind.BENCHMARK))
    some = [shared, record(50, kind=Kind.BENCHMARK)]
    some += [obj for n in range(9) for obj in episode(n)]
    return store, by_id(some)


Mixed = tuple[ObjectStore, dict[ObjectId, Object]]


def test_every_object_is_listed_once(mixed: Mixed) -> None:
    store, some = mixed
    store.refresh()
    assert sorted(store.ids()) == sorted(some)
    for kind in Kind:
        wanted = sorted(oid for oid, obj in some.items() if obj.kind is kind)
        assert sorted(store.ids(kind)) == wanted
    episodes_and_benchmarks = list(store.ids(Kind.EPISODE, Kind.BENCHMARK))
    assert len(episodes_and_benchmarks) == 10
    assert all(store.contains(oid) for oid in some)
    assert not store.contains(NOWHERE)


def test_objects_asked_for_twice_come_once(mixed: Mixed) -> None:
    store, some = mixed
    found = list(store.read_many([*some, *some]))
    assert dict(found) == some
    assert len(found) == len(some)
    assert list(store.read_many([])) == []


def test_many_are_read_file_by_file_in_their_order(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    wanted = []
    for n in range(3):
        store.append([obj for k in range(5) for obj in episode(10 * n + k)])
        store.seal()
    store.refresh()
    wanted = list(store.ids())
    shuffled = random.Random(4).sample(wanted, len(wanted))
    assert [oid for oid, _ in store.read_many(shuffled)] == wanted


def test_each_block_is_read_once(tmp_path: Path) -> None:
    writer = new_store(tmp_path)
    writer.append([blob(n) for n in range(200)])
    writer.seal()
    fs = RecordingFileSystem()
    store = ObjectStore(RepositoryFiles(tmp_path / ".tupli", fs))
    store.refresh()
    ids = list(store.ids())
    fs.clear()
    assert len(list(store.read_many(ids))) == 200
    assert [call.name for call in fs.calls].count("read") == 1


def test_a_missing_object_is_told_after_the_others_came(mixed: Mixed) -> None:
    store, some = mixed
    came: list[tuple[ObjectId, Object]] = []
    with pytest.raises(NotFoundError, match=NOWHERE[:12]) as caught:
        came.extend(store.read_many([NOWHERE, *some]))
    assert dict(came) == some
    assert caught.value.hint


def test_objects_can_be_read_while_their_ids_are_walked_and_more_are_added(
    tmp_path: Path,
) -> None:
    store = new_store(tmp_path)
    store.append([blob(n) for n in range(5)])
    store.refresh()
    for n, oid in enumerate(store.ids()):
        assert store.read(oid).kind is Kind.BLOB
        store.append([blob(100 + n)])
        store.refresh()


def test_a_damaged_pack_is_told_by_every_listing_and_stops_no_writer(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.append(episode(1))
    store.seal()
    (path,) = names(tmp_path, ".pack")
    overwrite(path, path.read_bytes()[:-1])
    late = reopen(tmp_path)
    late.refresh()
    with pytest.raises(CorruptObjectError, match=path.name):
        list(late.ids())
    late.append(episode(2))
    late.sync()
    late.write(HELLO)
    path.unlink()
    assert everything(late) == by_id([*episode(2), HELLO])


def test_what_may_be_in_a_damaged_pack_is_not_called_missing(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.append(episode(1))
    store.seal()
    (lost,) = names(tmp_path, ".pack")
    store.append(episode(0))
    store.seal()
    overwrite(lost, lost.read_bytes()[:-1])
    late = reopen(tmp_path)
    late.refresh()
    assert late.contains(id_of(blob(0)))
    assert late.missing([bytes.fromhex(id_of(blob(0)))]) == set()
    for unsure in (id_of(blob(1)), NOWHERE):
        with pytest.raises(CorruptObjectError, match=lost.name):
            late.contains(unsure)
        with pytest.raises(CorruptObjectError, match=lost.name):
            late.missing([bytes.fromhex(unsure)])


@pytest.mark.parametrize("is_first", [True, False], ids=["first seen", "known"])
def test_a_blob_under_the_name_of_a_record_does_not_hide_it(tmp_path: Path, is_first: bool):
    store = new_store(tmp_path)
    hidden = store.write(record(1, kind=Kind.BENCHMARK))
    other = store.write(blob(2))
    overwrite(loose_path(tmp_path, hidden), loose_path(tmp_path, other).read_bytes())
    with pytest.raises(CorruptObjectError, match=f"{hidden[2:]}.*other bytes"):
        reopen(tmp_path).refresh() if is_first else store.read(hidden)


def test_one_thread_that_waits_for_a_directory_does_not_stop_another(tmp_path: Path):
    """Python 3.11 has one lock for all instances behind each `cached_property`."""
    paths = []
    for n in range(2):
        store = new_store(tmp_path / str(n))
        store.append(episode(n))
        store.close()
        paths += names(tmp_path / str(n), ".pack")
    waits, goes_on = Event(), Event()

    class Slow(FileSystem):
        def open_read(self, path: Path) -> int:
            waits.set()
            assert goes_on.wait(30)
            return super().open_read(path)

    slow = PackFile(RepositoryFiles(tmp_path / "0" / ".tupli", Slow()), paths[0])
    thread = Thread(target=lambda: slow.directory)
    thread.start()
    assert waits.wait(30)
    other = PackFile(RepositoryFiles(tmp_path / "1" / ".tupli"), paths[1])
    quick = Thread(target=lambda: other.directory)
    quick.start()
    quick.join(10)
    is_done = not quick.is_alive()
    goes_on.set()
    thread.join()
    quick.join()
    assert is_done
    assert len(slow.directory) == len(other.directory) == 2
