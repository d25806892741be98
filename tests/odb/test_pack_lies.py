"""Packs whose every checksum is right and which lie: each statement is checked."""

import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.faults import HastyFileSystem
from tests.odb.samples import (
    by_id,
    checked,
    encoded,
    episode,
    new_files,
    opened_pack,
    record,
    write_pack,
)
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb import block, frames
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.objects import Kind, Object

FEW = [*episode(1), *episode(2), record(3)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RepositoryFiles:
    return new_files(tmp_path_factory.mktemp("packs"), HastyFileSystem())


@pytest.fixture
def few(files: RepositoryFiles) -> Path:
    return write_pack(files, FEW)


class Lie:
    """A pack that is right, to be told wrong in one place and written."""

    def __init__(self, some: list[Object]) -> None:
        self.blocks = [
            block.encode(b"".join(encoded(obj)[2] for obj in part), records=records)
            for records in (False, True)
            if (part := [obj for obj in some if obj.kind.is_data is not records])
        ]
        self.block_rows: list[list[int]] = []
        self.rows: list[list[object]] = []
        at = 8
        for data in self.blocks:
            header = block.decode_block_header(data)
            self.block_rows.append([at, header.stored, header.raw])
            at += len(data)
        self.first_record = self.block_rows[-1][0]
        for index, records in enumerate((False, True)):
            offset = 0
            for obj in some:
                if obj.kind.is_data is not records:
                    oid, kind, data = encoded(obj)
                    self.rows.append([bytes.fromhex(oid), kind.code, index, offset, len(data)])
                    offset += len(data)
        self.counts = [len(self.block_rows), len(self.rows)]
        self.extra = b""
        self.stated_raw: int | None = None

    def write(self, files: RepositoryFiles) -> Path:
        raw = struct.pack("<I", self.counts[0])
        raw += b"".join(struct.pack("<QII", *row) for row in self.block_rows)
        raw += struct.pack("<I", self.counts[1])
        raw += b"".join(struct.pack("<32sBIII", *row) for row in self.rows) + self.extra
        stored = frames.compress(raw)
        body = b"TUPLIPK\1" + b"".join(self.blocks)
        trailer = struct.pack(
            "<QQII32s8s",
            self.first_record,
            len(body),
            len(stored),
            len(raw) if self.stated_raw is None else self.stated_raw,
            sha256(raw).digest(),
            b"TUPLIPKE",
        )
        data = body + stored + trailer
        path = files.packs / f"{sha256(data).hexdigest()}.pack"
        path.write_bytes(data)
        return path


def overlapping(lie: Lie) -> None:
    lie.rows[1][3] = 0


def gap(lie: Lie) -> None:
    del lie.rows[0]
    lie.counts[1] -= 1


def outside(lie: Lie) -> None:
    lie.rows[1][4] = 1 << 31


def one_byte_too_long(lie: Lie) -> None:
    assert isinstance(lie.rows[1][4], int)
    lie.rows[1][4] += 1


def left_out(lie: Lie) -> None:
    del lie.rows[-1]
    lie.counts[1] -= 1


def wrong_kind(lie: Lie) -> None:
    lie.rows[-1][1] = Kind.RELEASE.code


def data_called_a_record(lie: Lie) -> None:
    lie.rows[0][1] = lie.rows[1][1] = Kind.RELEASE.code
    lie.first_record = lie.block_rows[0][0]


def unknown_kind(lie: Lie) -> None:
    lie.rows[-1][1] = 10


def kind_zero(lie: Lie) -> None:
    lie.rows[-1][1] = 0


def twice(lie: Lie) -> None:
    lie.rows[1][0] = lie.rows[0][0]


def another_id(lie: Lie) -> None:
    lie.rows[0][0] = bytes(32)


def swapped_ids(lie: Lie) -> None:
    lie.rows[0][0], lie.rows[1][0] = lie.rows[1][0], lie.rows[0][0]


def records_first(lie: Lie) -> None:
    lie.blocks.reverse()
    lie.rows = [[*row[:2], 1 - index, *row[3:]] for row in lie.rows if (index := row[2]) in (0, 1)]
    lie.rows.sort(key=lambda row: (row[2], row[3]))
    (_, *data), (_, *records) = lie.block_rows
    lie.block_rows = [[8, *records], [8 + len(lie.blocks[0]), *data]]
    lie.first_record = 8


def block_without_objects(lie: Lie) -> None:
    lie.blocks.insert(1, lie.blocks[0])
    lie.block_rows.insert(1, [lie.block_rows[1][0], *lie.block_rows[0][1:]])
    lie.block_rows[2][0] += len(lie.blocks[0])
    lie.first_record = lie.block_rows[2][0]
    lie.rows = [[*row[:2], 2 if row[2] == 1 else 0, *row[3:]] for row in lie.rows]
    lie.counts[0] = 3


def block_not_listed(lie: Lie) -> None:
    lie.blocks.append(lie.blocks[1])


def block_too_far(lie: Lie) -> None:
    lie.block_rows[1][0] += 1


def block_of_another_raw_size(lie: Lie) -> None:
    lie.block_rows[1][2] += 1


def stored_sizes_shifted(lie: Lie) -> None:
    lie.block_rows[0][1] += 1
    lie.block_rows[1][0] += 1
    lie.block_rows[1][1] -= 1
    lie.first_record += 1


def block_index_ahead(lie: Lie) -> None:
    lie.rows[0][2] = 7


def more_blocks_counted(lie: Lie) -> None:
    lie.counts[0] += 1


def a_billion_blocks_counted(lie: Lie) -> None:
    lie.counts[0] = (1 << 32) - 1


def fewer_objects_counted(lie: Lie) -> None:
    lie.counts[1] -= 1


def more_objects_counted(lie: Lie) -> None:
    lie.counts[1] += 1


def something_behind(lie: Lie) -> None:
    lie.extra = b"x"


def records_said_to_begin_earlier(lie: Lie) -> None:
    lie.first_record = 8


def records_said_to_begin_nowhere(lie: Lie) -> None:
    lie.first_record = (1 << 64) - 1


def directory_said_to_be_smaller(lie: Lie) -> None:
    lie.stated_raw = 10


def directory_said_to_be_larger(lie: Lie) -> None:
    lie.stated_raw = (1 << 32) - 1


def class_of_the_other_kind(lie: Lie) -> None:
    raw = block.decode(lie.blocks[0])
    lie.blocks[0] = block.encode(raw, records=True)


LIES: list[Callable[[Lie], None]] = [
    overlapping, gap, outside, one_byte_too_long, left_out, wrong_kind, data_called_a_record,
    unknown_kind, kind_zero, twice, another_id, swapped_ids, records_first, block_without_objects,
    block_not_listed, block_too_far, block_of_another_raw_size, stored_sizes_shifted,
    block_index_ahead, more_blocks_counted, a_billion_blocks_counted, fewer_objects_counted,
    more_objects_counted, something_behind, records_said_to_begin_earlier,
    records_said_to_begin_nowhere, directory_said_to_be_smaller, directory_said_to_be_larger,
    class_of_the_other_kind,
]  # fmt: skip


TOLD_BY_BLOCKS = [
    wrong_kind, data_called_a_record, another_id, swapped_ids, stored_sizes_shifted,
    class_of_the_other_kind,
]  # fmt: skip
"""Only the blocks themselves can tell these: whoever reads one finds out."""


def test_the_pack_the_lies_are_made_of_is_right(files: RepositoryFiles) -> None:
    path = Lie(FEW).write(files)
    assert path.read_bytes() == write_pack(files, FEW).read_bytes()
    assert checked(files, path) == by_id(FEW)


@pytest.mark.parametrize("tell", LIES, ids=lambda tell: tell.__name__)
def test_a_pack_that_lies_is_damaged(files: RepositoryFiles, tell: Callable[[Lie], None]) -> None:
    lie = Lie(FEW)
    tell(lie)
    path = lie.write(files)
    assert isinstance(checked(files, path), str)
    path.unlink()


@pytest.mark.parametrize(
    "tell", [tell for tell in LIES if tell not in TOLD_BY_BLOCKS], ids=lambda tell: tell.__name__
)
def test_a_lie_about_structure_is_found_at_opening(
    files: RepositoryFiles, tell: Callable[[Lie], None]
) -> None:
    lie = Lie(FEW)
    tell(lie)
    path = lie.write(files)
    with pytest.raises(CorruptObjectError, match=path.name):
        opened_pack(files, path)
    path.unlink()


@pytest.mark.parametrize("tell", [wrong_kind, another_id], ids=lambda tell: tell.__name__)
def test_a_lie_is_not_copied_on(files: RepositoryFiles, tell: Callable[[Lie], None]) -> None:
    lie = Lie(FEW)
    tell(lie)
    path = lie.write(files)
    opened = opened_pack(files, path)
    with pytest.raises(CorruptObjectError, match=path.name):
        list(opened.read_encoded(opened.directory.ids()))
    path.unlink()


def sparse(path: Path, size: int, end: bytes) -> Path:
    with path.open("wb") as out:
        out.write(b"TUPLIPK\1")
        out.truncate(size - len(end))
        out.seek(0, 2)
        out.write(end)
    return path


@pytest.fixture
def reads(files: RepositoryFiles, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    real = files.fs.read

    def read(descriptor: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return real(descriptor, size, offset)

    monkeypatch.setattr(files.fs, "read", read)
    return sizes


def test_a_huge_directory_is_not_even_read(files: RepositoryFiles, reads: list[int]) -> None:
    size = 2 << 30
    end = struct.pack("<QQII32s8s", 8, 8, size - 72, 100, bytes(32), b"TUPLIPKE")
    path = sparse(files.packs / f"{'a' * 64}.pack", size, end)
    assert checked(files, path) == "its directory is over the size limit"
    assert max(reads) < 100
    path.unlink()


def test_a_huge_block_is_not_even_read(files: RepositoryFiles, reads: list[int]) -> None:
    size = 2 << 30
    raw = struct.pack("<IQII", 1, 8, size - 8 - 17, 100) + struct.pack("<I", 1)
    raw += struct.pack("<32sBIII", bytes(32), 1, 0, 0, 100)
    stored = frames.compress(raw)
    end = struct.pack(
        "<QQII32s8s", size, size, len(stored), len(raw), sha256(raw).digest(), b"TUPLIPKE"
    )
    path = sparse(files.packs / f"{'b' * 64}.pack", size + len(stored) + 64, stored + end)
    assert checked(files, path) == "its directory has a block over the size limit"
    assert max(reads) < 1000
    path.unlink()
