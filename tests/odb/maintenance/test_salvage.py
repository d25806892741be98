"""What can be read of damaged packs and journals: every block that is whole."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import HastyFileSystem
from tests.odb.samples import blob, encoded, flipped, id_of, new_files, overwrite, record
from tupli_repo.odb.block import HEADER_BYTES, TARGET_BYTES
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.journal import MAX_BYTES, JournalWriter
from tupli_repo.odb.maintenance.salvage import is_blank_from, scan
from tupli_repo.odb.objects import Object
from tupli_repo.odb.pack import PackFile, PackWriter

BLOBS = [blob(n, TARGET_BYTES // 2 - 100) for n in range(6)]  # two fill a block
RECORDS = [record(n, id_of(one)) for n, one in enumerate(BLOBS)]
HUGE = 1 << 40
EVERYTHING = {id_of(obj) for obj in (*BLOBS, *RECORDS)}


@pytest.fixture
def files(tmp_path: Path) -> RepositoryFiles:
    return new_files(tmp_path, HastyFileSystem(), only_for=[])


def pack_of(files: RepositoryFiles, objects: list[Object]) -> Path:
    with PackWriter(files) as writer:
        for obj in objects:
            writer.add(*encoded(obj))
        return writer.commit()


def journal_of(files: RepositoryFiles, *appends: list[Object]) -> Path:
    writer = JournalWriter(files)
    for objects in appends:
        writer.append([encoded(obj) for obj in objects])
    writer.close()
    return writer.path


def test_a_whole_pack_has_no_problems_and_all_objects(files: RepositoryFiles):
    found = scan(files, pack_of(files, [*BLOBS, *RECORDS]))
    assert found.problems == []
    assert set(found.file.directory.ids()) == EVERYTHING
    assert {oid for oid, _ in found.file.read_many(EVERYTHING)} == EVERYTHING


def test_a_bad_byte_costs_its_block_and_the_directory_tells_what_was_in_it(files: RepositoryFiles):
    path = pack_of(files, [*BLOBS, *RECORDS])
    place = PackFile(files, path).directory.blocks[1]
    data = bytearray(path.read_bytes())
    data[place.offset + HEADER_BYTES + 5] ^= 1
    overwrite(path, bytes(data))
    found = scan(files, path)
    assert found.problems
    assert set(found.lost) == {id_of(BLOBS[2]), id_of(BLOBS[3])}
    assert set(found.file.directory.ids()) == EVERYTHING - set(found.lost)


@pytest.mark.parametrize("at", [-1, -20, -90])
def test_without_a_directory_the_blocks_are_searched_for(files: RepositoryFiles, at: int):
    path = pack_of(files, [*BLOBS, *RECORDS])
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    overwrite(path, bytes(data))
    found = scan(files, path)
    assert found.problems
    assert set(found.file.directory.ids()) == EVERYTHING


def test_without_a_directory_a_bad_header_costs_its_block(files: RepositoryFiles):
    path = pack_of(files, [*BLOBS, *RECORDS])
    place = PackFile(files, path).directory.blocks[1]
    data = bytearray(path.read_bytes()[:-1])
    data[place.offset + 2] ^= 1
    overwrite(path, bytes(data))
    expected = EVERYTHING - {id_of(BLOBS[2]), id_of(BLOBS[3])}
    assert set(scan(files, path).file.directory.ids()) == expected


def test_bytes_that_were_put_in_or_taken_out_cost_a_block(files: RepositoryFiles):
    path = pack_of(files, [*BLOBS, *RECORDS])
    place = PackFile(files, path).directory.blocks[1]
    data, at = path.read_bytes(), place.offset + HEADER_BYTES + 9
    for changed in (data[:at] + b"surprise" + data[at:], data[:at] + data[at + 3 :]):
        overwrite(path, changed)
        expected = EVERYTHING - {id_of(BLOBS[2]), id_of(BLOBS[3])}
        assert set(scan(files, path).file.directory.ids()) == expected


def test_a_pack_under_another_name_is_told_and_whole(files: RepositoryFiles):
    path = pack_of(files, RECORDS)
    renamed = path.with_name(f"{'0' * 64}.pack")
    path.rename(renamed)
    found = scan(files, renamed)
    assert found.problems == ["it has other bytes than its name says"]
    assert len(found.file.directory) == len(RECORDS)


def test_an_object_that_is_stored_as_bytes_of_a_pack_is_not_searched(files: RepositoryFiles):
    inner = pack_of(files, RECORDS).read_bytes()
    outer = pack_of(files, [Object(kind=BLOBS[0].kind, body=inner), BLOBS[0]])
    data = bytearray(outer.read_bytes()[:-1])
    data[8 + HEADER_BYTES + 1] ^= 1  # the block is bad, and its header tells where it ends
    overwrite(outer, bytes(data))
    found = set(scan(files, outer).file.directory.ids())
    assert not found & {id_of(obj) for obj in RECORDS}


def test_a_torn_journal_is_no_problem_and_a_damaged_one_is_salvaged(files: RepositoryFiles):
    path = journal_of(files, [BLOBS[0], RECORDS[0]], [BLOBS[1], RECORDS[1]])
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    found = scan(files, path)
    assert found.problems == []
    assert found.torn > 0
    assert set(found.file.directory.ids()) == {id_of(obj) for obj in (*BLOBS[:2], RECORDS[0])}
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    found = scan(files, path)
    assert found.problems
    expected = {id_of(RECORDS[0]), id_of(BLOBS[1]), id_of(RECORDS[1])}
    assert set(found.file.directory.ids()) == expected


def small(files: RepositoryFiles) -> Path:
    return pack_of(files, [blob(1), blob(2), record(1, id_of(blob(1)))])


@pytest.mark.parametrize("make", [small, lambda files: journal_of(files, [blob(1), record(1)])])
def test_each_flipped_byte_is_a_problem(
    files: RepositoryFiles, make: Callable[[RepositoryFiles], Path]
):
    path = make(files)
    data = path.read_bytes()
    known = set(scan(files, path).file.directory.ids())
    for at, changed in flipped(data, 0x01, 0x80):
        overwrite(path, changed)
        found = scan(files, path)
        assert found.problems, at
        assert set(found.file.directory.ids()) <= known


class Sparse(HastyFileSystem):
    """A disk on which holes cost nothing; it notices who reads on and on, which would take days."""

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        assert offset + size < MAX_BYTES + (2 << 20) or offset > HUGE - 1000, offset
        if 1 << 20 < offset < HUGE - 1000:
            return bytes(size)
        return super().read(descriptor, size, offset)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda files: journal_of(files, [BLOBS[0], RECORDS[0]]), "it is larger than any journal"),
        (
            lambda files: pack_of(files, [BLOBS[0], RECORDS[0]]),
            "it does not end like a pack; it may be cut off",
        ),
    ],
)
def test_no_further_is_searched_than_a_journal_may_reach(
    files: RepositoryFiles, make: Callable[[RepositoryFiles], Path], reason: str
):
    path = make(files)
    path.chmod(0o644)
    os.truncate(path, HUGE)
    found = scan(RepositoryFiles(files.root, Sparse()), path)
    assert found.problems == [f"{reason}: what is behind its first 4 GiB was not looked at"]
    assert set(found.file.directory.ids()) == {id_of(BLOBS[0]), id_of(RECORDS[0])}
    assert found.size_bytes == MAX_BYTES


def test_zeros_to_the_end_are_told_from_anything_else(files: RepositoryFiles):
    path = journal_of(files, [BLOBS[0], RECORDS[0]])
    size = path.stat().st_size
    assert is_blank_from(files, path, size)
    os.truncate(path, size + (3 << 20))
    assert is_blank_from(files, path, size)
    assert not is_blank_from(files, path, size - 1)
    with path.open("ab") as end:
        end.write(b"x")
    assert not is_blank_from(files, path, size)


@given(data=st.binary(max_size=400), at=st.integers(0, 400))
def test_whatever_lies_there_is_scanned(tmp_path_factory, data: bytes, at: int):
    files = new_files(tmp_path_factory.mktemp("any"), HastyFileSystem(), only_for=[])
    path = small(files)
    whole = path.read_bytes()
    overwrite(path, whole[:at] + data + whole[at:])
    scan(files, path)
    journal = path.with_name(f"{'a' * 32}.journal")
    journal.write_bytes(whole[:at] + data)
    scan(files, journal)
