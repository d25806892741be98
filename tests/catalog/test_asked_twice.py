"""What counts as verified when an object is asked for more than once."""

from pathlib import Path

import pytest

from tests.faults import HastyFileSystem
from tests.odb.samples import encoded, id_of, new_files
from tupli_repo.catalog import VerifiedBlocks
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, Object, encode
from tupli_repo.odb.pack import PackBuilder, PackFile


def test_an_object_that_is_asked_for_twice_does_not_speak_for_its_block(tmp_path: Path):
    true, other, false = (Object(kind=Kind.BLOB, body=bytes([n]) * 50_000) for n in range(3))
    files = new_files(tmp_path, HastyFileSystem())
    parts: list[bytes] = []
    builder = PackBuilder(parts.append)
    builder.add(*encoded(true))
    builder.add(id_of(other), Kind.BLOB, encode(false))
    builder.finish()
    path = files.packs / f"{'0' * 64}.pack"
    path.write_bytes(b"".join(parts))
    file = PackFile(files, path, VerifiedBlocks(tmp_path / "cache"))
    assert len(list(file.read_many([id_of(true)] * 2))) == 2
    with pytest.raises(CorruptObjectError, match="other bytes than its name says"):
        list(file.read_many([id_of(other)]))
