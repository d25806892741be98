"""Journals: what was appended whole is found, what was cut off is passed over, the rest is told."""

import os
import random
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults import (
    FailingFileSystem,
    HastyFileSystem,
    Killed,
    RecordingFileSystem,
    broken_disk,
)
from tests.odb.samples import (
    blob,
    by_id,
    encoded,
    episode,
    flipped,
    id_of,
    named_like_its_bytes,
    new_files,
    objects,
    opened_pack,
    overwrite,
    read_all,
    record,
)
from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb import block
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.journal import JournalFile, JournalWriter, seal
from tupli_repo.odb.objects import Kind, Object, ObjectId

Objects = dict[ObjectId, Object]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RepositoryFiles:
    return new_files(tmp_path_factory.mktemp("journals"), HastyFileSystem())


class Written:
    """A journal of some appends; `after[n]` is what it holds from the size ``ends[n]`` on."""

    def __init__(self, files: RepositoryFiles, appends: list[list[Object]]) -> None:
        writer = JournalWriter(files)
        self.path = writer.path
        self.ends = [0]
        self.after: list[Objects] = [{}]
        for some in appends:
            writer.append([encoded(obj) for obj in some])
            self.ends.append(self.path.stat().st_size)
            self.after.append(self.after[-1] | by_id(some))
        writer.close()
        self.bytes = self.path.read_bytes()

    def whole_before(self, size: int) -> Objects:
        """Return the objects of the appends that end at or before ``size``."""
        return self.after[max(n for n, end in enumerate(self.ends) if end <= size)]


def read_journal(files: RepositoryFiles, path: Path) -> Objects | str:
    """Read everything back: the objects, or the damage that was told."""
    try:
        journal = JournalFile(files, path)
        journal.refresh()
        return read_all(journal)
    except CorruptObjectError as err:
        damage = err
    assert str(path) in damage.message
    return damage.reason


def assert_whole_appends(found: Objects | str, written: Written, size: int) -> None:
    """What a cut journal yields: all records of the whole appends, data of the cut one at most."""
    assert not isinstance(found, str), (size, found)
    whole = written.whole_before(size)
    assert whole.items() <= found.items()
    surplus = {oid: obj for oid, obj in found.items() if oid not in whole}
    assert surplus.items() <= written.after[-1].items()
    assert all(obj.kind is Kind.BLOB for obj in surplus.values())


@given(st.lists(st.lists(objects(), max_size=6), max_size=6))
@settings(deadline=None, max_examples=60)
def test_what_is_appended_is_found(files: RepositoryFiles, appends: list[list[Object]]) -> None:
    written = Written(files, appends)
    assert read_journal(files, written.path) == written.after[-1]
    written.path.unlink()


def test_an_append_is_one_write_of_data_and_then_records(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    files = new_files(tmp_path, fs)
    writer = JournalWriter(files)
    fs.clear()
    writer.append([encoded(obj) for obj in [*episode(1), *episode(2)]])
    assert fs.changes() == [("write", writer.path)]
    journal = JournalFile(files, writer.path)
    journal.refresh()
    data = writer.path.read_bytes()
    classes = [
        block.decode_block_header(data[b.offset :]).records for b in journal.directory.blocks
    ]
    assert classes == [False, True]
    writer.close()
    fs.release()


def test_an_object_is_in_a_journal_once(files: RepositoryFiles) -> None:
    shared = blob(1)
    written = Written(files, [[shared, record(1), shared], [shared, record(2)], [shared]])
    assert written.bytes.count(b"BLK1") == 3
    assert read_journal(files, written.path) == written.after[-1]
    assert written.ends[-1] == written.ends[-2]


def test_large_appends_have_blocks_of_at_most_128_kib(files: RepositoryFiles) -> None:
    noise = random.Random(3)
    some = [Object(kind=Kind.BLOB, body=noise.randbytes(50_000)) for _ in range(8)]
    some.append(Object(kind=Kind.BLOB, body=noise.randbytes(500_000)))
    written = Written(files, [[*some, record(1)]])
    journal = JournalFile(files, written.path)
    journal.refresh()
    assert sorted(place.raw > 128 << 10 for place in journal.directory.blocks)[-2:] == [False, True]
    assert read_all(journal) == by_id([*some, record(1)])


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_flipped_byte_is_an_error_that_names_the_file(
    files: RepositoryFiles, mask: int
) -> None:
    written = Written(files, [episode(1), episode(2), [blob(3), blob(4), record(5)]])
    for at, damaged in flipped(written.bytes, mask):
        overwrite(written.path, damaged)
        assert isinstance(read_journal(files, written.path), str), at


def test_a_cut_at_any_byte_costs_only_the_append_it_cuts(files: RepositoryFiles) -> None:
    written = Written(files, [episode(1), episode(2, 3000), [record(3)], episode(4)])
    for size in range(len(written.bytes) + 1):
        overwrite(written.path, written.bytes[:size])
        assert_whole_appends(read_journal(files, written.path), written, size)


@pytest.mark.parametrize("zeros", [4, 40, 5000])
def test_zeros_instead_of_the_end_cost_only_the_append_they_hit(
    files: RepositoryFiles, zeros: int
) -> None:
    """A power loss: the file has grown, and what should be in its end never came to the disk."""
    written = Written(files, [episode(1), episode(2, 3000), [record(3)], episode(4)])
    for size in range(len(written.bytes) + 1):
        overwrite(written.path, written.bytes[:size] + bytes(zeros))
        assert_whole_appends(read_journal(files, written.path), written, size)


def test_zeros_up_to_the_full_size_cost_only_the_append_they_hit(files: RepositoryFiles) -> None:
    noise = random.Random(5)
    large = Object(kind=Kind.BLOB, body=noise.randbytes(600))
    written = Written(files, [episode(1), [large, record(2, id_of(large))]])
    for size in range(len(written.bytes) - 3):
        overwrite(written.path, written.bytes[:size] + bytes(len(written.bytes) - size))
        assert_whole_appends(read_journal(files, written.path), written, size)


@pytest.mark.parametrize("n_zeros", [1, 2, 3])
def test_few_zeros_at_the_end_are_a_torn_append_where_a_sector_begins_with_them(
    files: RepositoryFiles, n_zeros: int
) -> None:
    """A page that was not written; a file may end just behind its beginning."""
    noise = random.Random(7)
    n_torn = 0
    for size in range(512):
        large = Object(kind=Kind.BLOB, body=noise.randbytes(600 + size))
        written = Written(files, [episode(1), [large, record(2, id_of(large))]])
        end = len(written.bytes)
        overwrite(written.path, written.bytes[:-n_zeros] + bytes(n_zeros))
        found = read_journal(files, written.path)
        is_torn = -(end - n_zeros) % 512 < n_zeros
        if is_torn:
            assert_whole_appends(found, written, end - n_zeros)
            assert by_id(episode(1)).items() <= found.items()  # type: ignore[union-attr]
        elif all(written.bytes[-n_zeros - 1 :]):
            assert isinstance(found, str), size
        n_torn += is_torn
        written.path.unlink()
    assert n_torn >= n_zeros


def test_a_journal_that_is_larger_than_any_is_not_scanned(tmp_path: Path) -> None:
    files = new_files(tmp_path, HastyFileSystem(), only_for=())
    path = files.packs / f"{'c' * 32}.journal"
    path.touch()
    os.truncate(path, 1 << 40)  # takes no room
    assert "larger than any journal" in str(read_journal(files, path))


@pytest.mark.parametrize("start", [0, 100])
def test_zeros_in_the_middle_are_damage(files: RepositoryFiles, start: int) -> None:
    written = Written(files, [episode(n) for n in range(8)])
    hole = written.bytes[:start] + bytes(64) + written.bytes[start + 64 :]
    overwrite(written.path, hole)
    assert isinstance(read_journal(files, written.path), str)


def test_damage_before_a_torn_end_is_told(files: RepositoryFiles) -> None:
    """A power loss excuses the zeros at the end, nothing before them."""
    written = Written(files, [episode(n) for n in range(4)])
    for at in range(8, written.ends[1]):
        damaged = bytearray(written.bytes + bytes(5000))
        damaged[at] ^= 1
        overwrite(written.path, bytes(damaged))
        assert isinstance(read_journal(files, written.path), str), at


def test_one_last_byte_that_became_zero_is_damage_not_a_torn_end(files: RepositoryFiles) -> None:
    for n in range(5):
        written = Written(files, [episode(n)])
        if written.bytes[-1]:
            overwrite(written.path, written.bytes[:-1] + b"\0")
            assert isinstance(read_journal(files, written.path), str)


@given(part=st.binary(min_size=1, max_size=60), at=st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_bytes_changed_anywhere_never_become_other_data(
    files: RepositoryFiles, part: bytes, at: float
) -> None:
    written = Written(files, [episode(1), episode(2), episode(3)])
    start = int(at * (len(written.bytes) - 1))
    whole = written.bytes
    overwrite(written.path, whole[:start] + part + whole[start + len(part) :])
    found = read_journal(files, written.path)
    assert isinstance(found, str) or found.items() <= written.after[-1].items()


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=60)
def test_bytes_that_are_no_journal_raise_nothing_else(files: RepositoryFiles, data: bytes) -> None:
    path = files.packs / f"{'e' * 32}.journal"
    for candidate in (data, b"TUPLIPK\1" + data, b"TUPLIPK\1BLK1" + data):
        path.write_bytes(candidate)
        found = read_journal(files, path)
        assert isinstance(found, str) or found == {}
    path.unlink()


def test_a_block_with_right_checksums_and_wrong_objects_is_damage(files: RepositoryFiles) -> None:
    path = files.packs / f"{'f' * 32}.journal"
    data, rec = encoded(blob(1))[2], encoded(record(1))[2]
    for raw, records in [(rec, False), (data, True), (data + b"x", False), (data[:-1], False)]:
        path.write_bytes(b"TUPLIPK\1" + block.encode(raw, records=records))
        assert isinstance(read_journal(files, path), str)
    path.unlink()


def test_damage_that_is_met_again_and_again_adds_nothing(files: RepositoryFiles) -> None:
    path = files.packs / f"{'d' * 32}.journal"
    raw = encoded(blob(1))[2]
    path.write_bytes(b"TUPLIPK\1" + block.encode(raw + b"rubbish", records=False))
    journal = JournalFile(files, path)
    for _ in range(3):
        with pytest.raises(CorruptObjectError):
            journal.refresh()
    assert not journal.directory.blocks
    assert not len(journal.directory)
    path.unlink()


def test_a_reader_goes_on_where_it_left_off(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    writer = JournalWriter(new_files(tmp_path))
    files = RepositoryFiles(tmp_path / ".tupli", fs)
    journal = JournalFile(files, writer.path)
    expected: Objects = {}
    for n in range(20):
        some = episode(n)
        writer.append([encoded(obj) for obj in some])
        expected |= by_id(some)
        fs.clear()
        journal.refresh()
        assert len([call for call in fs.calls if call.name == "read"]) <= 5
        assert read_all(journal) == expected
    writer.close()


def test_a_journal_is_readable_at_every_byte_of_its_growth(files: RepositoryFiles) -> None:
    """One reader follows while single bytes arrive, as on a slow network drive."""
    written = Written(files, [episode(1), [record(2)], episode(3)])
    overwrite(written.path, b"")
    journal = JournalFile(files, written.path)
    with written.path.open("ab", buffering=0) as out:
        for size, byte in enumerate(written.bytes, start=1):
            out.write(bytes([byte]))
            journal.refresh()
            assert_whole_appends(read_all(journal), written, size)
    assert read_all(journal) == written.after[-1]


def test_ids_can_be_walked_while_a_journal_grows(files: RepositoryFiles) -> None:
    writer = JournalWriter(files)
    writer.append([encoded(obj) for obj in episode(1)])
    journal = JournalFile(files, writer.path)
    journal.refresh()
    walk = journal.directory.ids()
    first = next(walk)
    writer.append([encoded(obj) for obj in episode(2)])
    journal.refresh()
    assert {first, *walk} == set(by_id(episode(1)))
    writer.close()


def test_a_reader_beside_a_writer_sees_only_whole_appends(files: RepositoryFiles) -> None:
    writer = JournalWriter(files)
    appends = [episode(n, 2000) for n in range(150)]
    written: list[int] = []

    def write() -> None:
        for n, some in enumerate(appends):
            writer.append([encoded(obj) for obj in some])
            written.append(n)

    thread = Thread(target=write)
    thread.start()
    journal = JournalFile(files, writer.path)
    alive = True
    while alive:
        alive = thread.is_alive()
        sure = len(written)
        journal.refresh()
        found = read_all(journal)
        for some in appends[:sure]:
            assert by_id(some).items() <= found.items()
    thread.join()
    assert read_all(journal) == by_id([obj for some in appends for obj in some])
    writer.close()


# --- durability


def test_sync_is_fsync_of_the_file_and_once_of_its_folder(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    writer = JournalWriter(new_files(tmp_path, fs))
    writer.append([encoded(blob(1))])
    writer.sync()
    path, folder = writer.path, writer.path.parent
    assert fs.changes() == [
        ("create", path),
        ("write", path),
        ("fsync", path),
        ("fsync_folder", folder),
    ]
    fs.clear()
    writer.sync()
    assert fs.changes() == []
    writer.append([encoded(blob(2))])
    writer.sync()
    assert fs.changes() == [("write", path), ("fsync", path)]
    writer.close()
    fs.release()


def test_a_failed_sync_of_the_folder_is_made_up_for(tmp_path: Path) -> None:
    fs = FailingFileSystem(4, broken_disk())
    writer = JournalWriter(new_files(tmp_path, fs))
    writer.append([encoded(blob(1))])
    with pytest.raises(StorageIOError, match=r"\.journal"):
        writer.sync()
    assert fs.failed is not None
    assert fs.failed.name == "fsync_folder"
    fs.clear()
    writer.sync()
    assert [name for name, _ in fs.changes()] == ["fsync", "fsync_folder"]
    writer.close()
    fs.release()


# --- sealing


def test_a_journal_becomes_a_pack_of_the_same_objects(files: RepositoryFiles) -> None:
    written = Written(files, [episode(n) for n in range(5)])
    (path,) = seal(files, written.path)
    assert named_like_its_bytes(path)
    assert read_all(opened_pack(files, path)) == written.after[-1]
    assert not written.path.exists()


def test_an_empty_or_torn_journal_leaves_no_pack(files: RepositoryFiles) -> None:
    before = {path for path in files.packs.iterdir() if path.suffix == ".pack"}
    whole = Written(files, [[record(1)]]).bytes
    for data in (b"", b"TUP", b"TUPLIPK\1", whole[:-1], bytes(100)):
        path = files.packs / f"{'c' * 32}.journal"
        path.write_bytes(data)
        assert seal(files, path) == []
        assert not path.exists()
    assert {path for path in files.packs.iterdir() if path.suffix == ".pack"} == before


def test_a_damaged_journal_is_not_sealed(files: RepositoryFiles) -> None:
    written = Written(files, [episode(1), episode(2)])
    damaged = bytearray(written.bytes)
    damaged[60] ^= 1
    overwrite(written.path, bytes(damaged))
    with pytest.raises(CorruptObjectError, match=written.path.name):
        seal(files, written.path)
    assert written.path.read_bytes() == bytes(damaged)


def test_a_journal_somebody_else_sealed_is_missing(files: RepositoryFiles) -> None:
    with pytest.raises(FileNotFoundError):
        seal(files, files.packs / f"{'b' * 32}.journal")


def test_the_pack_is_durable_before_the_journal_goes(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    files = new_files(tmp_path, fs)
    written = Written(files, [episode(1)])
    fs.clear()
    (packed,) = seal(files, written.path)
    changes = fs.changes()
    trashed = changes.index(("remove", written.path))
    committed = changes.index(("rename", packed))
    assert ("fsync_folder", files.packs) in changes[committed:trashed]
    assert "fsync" in [name for name, _ in changes[:committed]]
    (kept,) = (files.root / "trash").glob(f"*/{written.path.name}")
    assert kept.read_bytes() == written.bytes
    assert (kept.parent / "stamp").read_text() == "sealed\n"
    fs.release()


def test_death_is_final_in_these_tests(tmp_path: Path) -> None:
    fs = FailingFileSystem(1, Killed())
    files = new_files(tmp_path, fs)
    for _ in range(2):
        with pytest.raises(Killed):
            JournalWriter(files)
    with pytest.raises(Killed):
        files.status(tmp_path)


def test_large_blocks_go_into_the_pack_byte_for_byte_each_once(tmp_path: Path):
    files = new_files(tmp_path)
    writer = JournalWriter(files)
    small, large = episode(1), episode(2, 100_000)
    for some in (small, large):
        writer.append([encoded(obj) for obj in some])
    writer.close()
    journal = JournalFile(files, writer.path)
    journal.refresh()
    entry = journal.directory.get(id_of(large[0]))
    assert entry is not None
    place = journal.directory.blocks[entry.block]
    stored = writer.path.read_bytes()[place.offset : place.end]
    with writer.path.open("ab") as file:
        file.write(stored)  # as when somebody joins two journals by hand
    (path,) = seal(files, writer.path)
    assert path.read_bytes().count(stored) == 1
    assert read_all(opened_pack(files, path)) == by_id([*small, *large])


def test_a_process_knows_its_own_journal_until_somebody_seals_it(tmp_path: Path):
    files = new_files(tmp_path)
    writer = JournalWriter(files)
    writer.append([encoded(obj) for obj in episode(1)])
    journal = JournalFile(files, writer.path)
    journal.follow(writer)
    assert read_all(journal) == by_id(episode(1))
    writer.append([encoded(obj) for obj in episode(2)])
    assert read_all(journal) == by_id([*episode(1), *episode(2)])
    seal(files, writer.path)
    with pytest.raises(FileNotFoundError):
        journal.follow(writer)


def large_appends() -> list[list[Object]]:
    """Appends of 3 MiB together that hardly shrink: so much is parsed in a thread."""
    noise = random.Random(5)
    found = []
    for number in range(30):
        data = Object(kind=Kind.BLOB, body=noise.randbytes(100_000))
        found.append([data, record(number, id_of(data))])
    return found


def test_a_large_journal_is_scanned_and_sealed_in_order(files: RepositoryFiles) -> None:
    written = Written(files, large_appends())
    assert read_journal(files, written.path) == written.after[-1]
    (path,) = seal(files, written.path)
    assert read_all(opened_pack(files, path)) == written.after[-1]
    assert named_like_its_bytes(path)


@pytest.mark.parametrize("number", [0, 15, 29])
def test_a_damaged_block_of_a_large_journal_ends_the_scan_there(
    files: RepositoryFiles, number: int
) -> None:
    written = Written(files, large_appends())
    at = written.ends[number] + 5000
    rest = written.bytes[at + 1 :]
    overwrite(written.path, written.bytes[:at] + bytes([written.bytes[at] ^ 1]) + rest)
    journal = JournalFile(files, written.path)
    for _ in range(2):
        with pytest.raises(CorruptObjectError) as caught:
            journal.refresh()
        assert caught.value.path == written.path
        assert read_all(journal) == written.after[number]
    with pytest.raises(CorruptObjectError):
        seal(files, written.path)
    assert written.path.exists()


def test_a_cut_off_end_of_a_large_journal_costs_what_it_cuts(files: RepositoryFiles) -> None:
    written = Written(files, large_appends())
    for size in (written.ends[29] + 50_000, written.ends[29] + 17, written.ends[29] + 16):
        overwrite(written.path, written.bytes[:size])
        assert read_journal(files, written.path) == written.whole_before(size)
        zeros = bytes(len(written.bytes) - size)
        overwrite(written.path, written.bytes[:size] + zeros + bytes(600))
        assert read_journal(files, written.path) == written.whole_before(size)


def test_a_large_journal_is_sealed_when_the_interpreter_exits(tmp_path: Path) -> None:
    script = f"""
        import random
        from pathlib import Path
        from tests.odb.samples import new_store
        from tupli_repo.odb.objects import Kind, Object
        store = new_store(Path({str(tmp_path)!r}))
        noise = random.Random(1)
        store.append([Object(kind=Kind.BLOB, body=noise.randbytes(100_000)) for _ in range(30)])
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(script)], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [path.suffix for path in (tmp_path / ".tupli" / "packs").iterdir()] == [".pack"]


def test_drafts_are_compressed_anew_when_they_are_sealed(files: RepositoryFiles) -> None:
    words = b"".join(b"step %d of the walk, " % (n * n) for n in range(2000))
    obj = encoded(Object(kind=Kind.BLOB, body=words))
    writer = JournalWriter(files)
    writer.append([obj])
    writer.sync()
    final = block.encode(obj[2], records=False)
    assert final not in writer.path.read_bytes()
    (path,) = seal(files, writer.path)
    assert final in path.read_bytes()
