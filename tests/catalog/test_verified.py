"""What is not hashed again: blocks of packs that were verified and whose file stays as it was."""

import os
import random
import sys
from pathlib import Path

import pytest

from tests.faults import HastyFileSystem
from tests.odb.samples import encoded, id_of, new_files, overwrite
from tupli_repo.catalog import VerifiedBlocks
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.filesystem import FileStatus
from tupli_repo.odb.objects import Kind, Object, ObjectId, encode
from tupli_repo.odb.pack import PackBuilder, PackFile

SIZE, COUNT = 100_000, 24  # a block each; together more than is worth noting
TRUE = [Object(kind=Kind.BLOB, body=random.Random(n).randbytes(SIZE)) for n in range(COUNT)]
FALSE = [Object(kind=Kind.BLOB, body=random.Random(-n - 1).randbytes(SIZE)) for n in range(COUNT)]
IDS = [id_of(obj) for obj in TRUE]


class OldStatus(FileSystem):
    """Says of packs what it said first: what somebody who can turn back every clock would do."""

    def __init__(self) -> None:
        self.said: dict[Path, FileStatus] = {}

    def status(self, path: Path) -> FileStatus:
        return self.said.setdefault(path, super().status(path))


def pack_bytes(objects: list[Object]) -> bytes:
    """A pack that says it holds the true objects: with right checksums, but for the SHA-256s."""
    parts: list[bytes] = []
    builder = PackBuilder(parts.append)
    for oid, obj in zip(IDS, objects, strict=True):
        builder.add(oid, Kind.BLOB, encode(obj))
    builder.finish()
    return b"".join(parts)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    files = new_files(tmp_path, HastyFileSystem())
    path = files.packs / f"{'0' * 64}.pack"
    path.write_bytes(pack_bytes(TRUE))
    return path


def opened(pack: Path, memory: VerifiedBlocks | None, fs: FileSystem | None = None) -> PackFile:
    return PackFile(RepositoryFiles(pack.parents[1], fs), pack, memory)


def read(pack: PackFile, ids: list[ObjectId] = IDS) -> list[bytes]:
    return [
        found.raw[start:end]
        for found in pack.read_bodies(ids)
        for start, end in zip(found.starts, found.ends, strict=True)
    ]


def lie(pack: Path) -> None:
    """Put other objects of the same size in the pack, and its time back."""
    before, data = pack.stat(), pack_bytes(FALSE)
    assert len(data) == before.st_size
    overwrite(pack, data)
    os.utime(pack, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_is_verified_in_a_file_that_stays_as_it_was_is_not_hashed_again(pack, tmp_path):
    fs, folder = OldStatus(), tmp_path / "cache"
    assert read(opened(pack, VerifiedBlocks(folder), fs)) == [obj.body for obj in TRUE]
    lie(pack)
    assert read(opened(pack, VerifiedBlocks(folder), fs)) == [obj.body for obj in FALSE]
    with pytest.raises(CorruptObjectError, match="other bytes than its name says"):
        read(opened(pack, None, fs))


def test_only_what_was_read_counts_as_verified(pack, tmp_path):
    fs, folder = OldStatus(), tmp_path / "cache"
    read(opened(pack, VerifiedBlocks(folder), fs), IDS[:12])
    lie(pack)
    again = opened(pack, VerifiedBlocks(folder), fs)
    assert read(again, IDS[:12]) == [obj.body for obj in FALSE[:12]]
    for oid in IDS[12:]:
        with pytest.raises(CorruptObjectError, match=oid[:12]):
            read(again, [oid])


def test_a_file_that_was_changed_in_any_way_is_hashed_again(pack, tmp_path):
    folder = tmp_path / "cache"
    memory = VerifiedBlocks(folder)
    file = opened(pack, memory)
    read(file)
    lie(pack)  # the same name, size and time of change; not the time of the inode
    for again in (file, opened(pack, memory), opened(pack, VerifiedBlocks(folder))):
        with pytest.raises(CorruptObjectError, match="other bytes than its name says"):
            read(again)


def test_a_damaged_byte_is_found_in_what_was_verified(pack, tmp_path):
    fs, memory = OldStatus(), VerifiedBlocks(tmp_path / "cache")
    read(opened(pack, memory, fs))
    data = bytearray(pack.read_bytes())
    data[SIZE // 2] ^= 1
    overwrite(pack, bytes(data))
    with pytest.raises(CorruptObjectError, match="checksum"):
        read(opened(pack, memory, fs))


@pytest.mark.parametrize("spoil", ["cut", "flipped", "empty", "other"])
def test_a_damaged_note_counts_for_nothing(pack, tmp_path, spoil):
    fs, folder = OldStatus(), tmp_path / "cache"
    read(opened(pack, VerifiedBlocks(folder), fs))
    (note,) = folder.iterdir()
    data = note.read_bytes()
    spoiled = {
        "cut": data[:-9],
        "flipped": data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
        "empty": b"",
        "other": os.urandom(len(data)),
    }
    note.write_bytes(spoiled[spoil])
    lie(pack)
    with pytest.raises(CorruptObjectError, match="other bytes than its name says"):
        read(opened(pack, VerifiedBlocks(folder), fs))


@pytest.mark.skipif(sys.platform == "win32", reason="folders there have no such modes")
def test_a_note_that_others_could_have_written_counts_for_nothing(pack, tmp_path):
    fs, folder = OldStatus(), tmp_path / "cache"
    read(opened(pack, VerifiedBlocks(folder), fs))
    folder.chmod(0o777)
    lie(pack)
    with pytest.raises(CorruptObjectError, match="other bytes than its name says"):
        read(opened(pack, VerifiedBlocks(folder), fs))


def test_where_nothing_can_be_noted_everything_is_hashed(pack, tmp_path):
    (tmp_path / "cache").write_bytes(b"in the way")
    memory = VerifiedBlocks(tmp_path / "cache" / "deeper")
    assert read(opened(pack, memory)) == [obj.body for obj in TRUE]


def test_a_part_of_a_block_does_not_speak_for_the_rest(tmp_path):
    few = [Object(kind=Kind.BLOB, body=random.Random(n).randbytes(50_000)) for n in range(2)]
    files = new_files(tmp_path, HastyFileSystem())
    parts: list[bytes] = []
    builder = PackBuilder(parts.append)
    wrong = Object(kind=Kind.BLOB, body=few[1].body[::-1])
    builder.add(*encoded(few[0]))
    builder.add(id_of(few[1]), Kind.BLOB, encode(wrong))
    builder.finish()
    path = files.packs / f"{'0' * 64}.pack"
    path.write_bytes(b"".join(parts))
    file = opened(path, VerifiedBlocks(tmp_path / "cache"))
    assert read(file, [id_of(few[0])]) == [few[0].body]
    with pytest.raises(CorruptObjectError, match="other bytes than its name says"):
        read(file, [id_of(few[1])])
