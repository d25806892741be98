"""Packs: what goes in comes out, every byte of the file counts, and no directory lies."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults import HastyFileSystem
from tests.odb.samples import (
    blob,
    by_id,
    checked,
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
    scratch_files,
    write_pack,
)
from tupli_repo.errors import CorruptObjectError, EncodingError
from tupli_repo.odb import block, pack
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.objects import Kind, Object
from tupli_repo.odb.pack import PackWriter

FEW = [*episode(1), *episode(2), record(3)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RepositoryFiles:
    return new_files(tmp_path_factory.mktemp("packs"), HastyFileSystem())


@pytest.fixture
def few(files: RepositoryFiles) -> Path:
    return write_pack(files, FEW)


# --- round trip


@given(st.lists(objects(), max_size=30))
@settings(deadline=None, max_examples=60)
def test_objects_come_back_from_a_pack(files: RepositoryFiles, some: list[Object]) -> None:
    path = write_pack(files, some)
    opened = opened_pack(files, path)
    assert read_all(opened) == by_id(some)
    assert named_like_its_bytes(path)
    assert len(opened.directory) == len(by_id(some))
    for kind in Kind:
        wanted = [oid for oid, obj in by_id(some).items() if obj.kind is kind]
        assert sorted(opened.directory.ids(kind)) == sorted(wanted)
    assert not scratch_files(files)


def test_an_empty_pack_is_a_pack(files: RepositoryFiles) -> None:
    assert read_all(opened_pack(files, write_pack(files, []))) == {}


def test_equal_objects_make_equal_packs(files: RepositoryFiles, few: Path) -> None:
    assert write_pack(files, FEW) == few
    assert write_pack(files, [*FEW, *FEW]) == few


def block_headers(path: Path, opened: BlockFile) -> list[block.BlockHeader]:
    data = path.read_bytes()
    return [block.decode_block_header(data[place.offset :]) for place in opened.directory.blocks]


def test_all_data_blocks_precede_all_record_blocks(files: RepositoryFiles) -> None:
    some = [obj for n in range(40) for obj in episode(n, size=20_000)]
    some += [record(n, kind=Kind.PROVENANCE) for n in range(4000)]
    path = write_pack(files, some)
    opened = opened_pack(files, path)
    classes = [header.records for header in block_headers(path, opened)]
    assert classes == sorted(classes)
    assert classes.count(False) > 1
    assert classes.count(True) > 1
    assert read_all(opened) == by_id(some)
    (first_record,) = struct.unpack_from("<Q", path.read_bytes()[-64:])
    assert first_record == opened.directory.blocks[classes.index(True)].offset


def test_a_block_holds_128_kib_and_a_larger_object_has_its_own(files: RepositoryFiles) -> None:
    some = [blob(n, size) for n, size in enumerate([60_000, 70_000, 10, 300_000, 20, 131_000, 30])]
    opened = opened_pack(files, write_pack(files, some))
    count_by_block: dict[int, int] = {}
    for oid in opened.directory.ids():
        entry = opened.directory.get(oid)
        assert entry is not None
        count_by_block[entry.block] = count_by_block.get(entry.block, 0) + 1
    for index, place in enumerate(opened.directory.blocks):
        assert place.raw <= 128 << 10 or count_by_block[index] == 1
    assert read_all(opened) == by_id(some)


def test_an_object_that_just_fits_shares_its_block(files: RepositoryFiles) -> None:
    first = blob(1, 400)
    size = len(encoded(first)[2])
    head = len(b"tupli blob 0 130000\n")
    for spare, blocks in ((0, 1), (-1, 2)):
        second = Object(kind=Kind.BLOB, body=bytes((128 << 10) - size - head - spare))
        opened = opened_pack(files, write_pack(files, [first, second]))
        assert len(opened.directory.blocks) == blocks


def test_objects_are_read_in_file_order_whatever_the_question(files: RepositoryFiles) -> None:
    some = [obj for n in range(10) for obj in episode(n, size=40_000)]
    opened = opened_pack(files, write_pack(files, some))
    in_order = list(opened.directory.ids())
    asked = [*reversed(in_order), *in_order[:3]]
    found = [oid for oid, _ in opened.read_many(dict.fromkeys(asked))]
    assert found == in_order


def test_what_is_not_there_is_not_yielded(files: RepositoryFiles, few: Path) -> None:
    assert list(opened_pack(files, few).read_many([id_of(blob(99))])) == []


def test_a_pack_that_went_away_is_missing_not_damaged(files: RepositoryFiles) -> None:
    path = write_pack(files, [blob(77)])
    opened = opened_pack(files, path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_all(opened)
    with pytest.raises(FileNotFoundError):
        opened_pack(files, path)


def test_a_writer_left_without_commit_leaves_nothing(files: RepositoryFiles) -> None:
    before = set(files.packs.iterdir())
    with PackWriter(files) as writer:
        writer.add(*encoded(blob(5)))
    assert set(files.packs.iterdir()) == before
    assert not scratch_files(files)


def test_a_pack_with_more_objects_than_a_reader_takes_is_not_written(
    files: RepositoryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "_MAX_DIRECTORY_BYTES", 200)
    before = set(files.packs.iterdir())
    with pytest.raises(EncodingError, match="too many for one pack"):
        write_pack(files, [blob(n) for n in range(10)])
    assert set(files.packs.iterdir()) == before
    assert not scratch_files(files)


# --- damage


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_every_flipped_byte_is_an_error_that_names_the_file(
    files: RepositoryFiles, few: Path, mask: int
) -> None:
    whole = few.read_bytes()
    for at, damaged in flipped(whole, mask):
        overwrite(few, damaged)
        assert isinstance(checked(files, few), str), at
    overwrite(few, whole)


def test_every_cut_and_every_surplus_is_an_error_that_names_the_file(
    files: RepositoryFiles, few: Path
) -> None:
    whole = few.read_bytes()
    for size in range(len(whole)):
        overwrite(few, whole[:size])
        assert isinstance(checked(files, few), str), size
    for extra in (b"\0", b"x", whole[-64:], whole):
        overwrite(few, whole + extra)
        assert isinstance(checked(files, few), str)
    overwrite(few, whole)


def test_damage_in_one_block_leaves_the_others_readable(files: RepositoryFiles) -> None:
    some = [blob(n, 100_000) for n in range(4)]
    path = write_pack(files, some)
    middle = opened_pack(files, path).directory.blocks[1]
    whole = bytearray(path.read_bytes())
    whole[middle.end - 20] ^= 1
    overwrite(path, bytes(whole))
    opened = opened_pack(files, path)
    readable = []
    for oid in opened.directory.ids():
        with suppress(CorruptObjectError):
            readable += [obj for _, obj in opened.read_many([oid])]
    assert [some.index(obj) for obj in readable] == [0, 2, 3]


def test_a_pack_changed_under_an_open_reader_never_yields_other_data(
    files: RepositoryFiles,
) -> None:
    path = write_pack(files, FEW)
    opened = opened_pack(files, path)
    whole = path.read_bytes()
    try:
        for replaced in (b"", whole[:30], write_pack(files, [blob(8)]).read_bytes()):
            overwrite(path, replaced)
            with pytest.raises(CorruptObjectError, match=path.name):
                read_all(opened)
    finally:
        overwrite(path, whole)
