"""Bodies that are read a block at a time: each object is looked at, however alike they are."""

from hashlib import sha256
from pathlib import Path

import pytest

from tests.odb.samples import blob, encoded, new_files, opened_pack
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, ObjectId
from tupli_repo.odb.pack import PackWriter


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"tupli blob 0 41\n", "length differs from what its header says"),
        (b"tupli blob 1 40\n", "length differs from what its header says"),
        (b"tupli blobs 0 4\n", "something that is not an object"),
    ],
)
def test_an_object_that_lies_about_itself_is_told_behind_honest_ones(
    tmp_path: Path, line: bytes, why: str
) -> None:
    files, honest = new_files(tmp_path), [encoded(blob(number)) for number in range(4)]
    body = bytes(40)
    assert {len(data) for _, _, data in honest} == {len(line + body)}
    liar = ObjectId(sha256(line + body).hexdigest())
    with PackWriter(files) as writer:
        for one in (*honest[:3], (liar, Kind.BLOB, line + body), honest[3]):
            writer.add(*one)
        path = writer.commit()
    pack = opened_pack(files, path)
    parts = pack.read_bodies([oid for oid, _, _ in honest] + [liar])
    bodies = next(parts)
    found = [bodies.raw[at:end] for at, end in zip(bodies.starts, bodies.ends, strict=True)]
    assert found == [blob(number).body for number in range(3)]
    with pytest.raises(CorruptObjectError, match=why):
        next(parts)
