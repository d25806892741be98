"""Blocks: the bytes of the format, its limits, and nothing but objects inside."""

import struct
from contextlib import suppress
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.odb.samples import (
    blob,
    encoded,
    objects,
    record,
)
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb import block, frames
from tupli_repo.odb.objects import MAX_OBJECT_BYTES, Kind, Object


@pytest.mark.parametrize(
    ("stored", "raw"),
    [(10, MAX_OBJECT_BYTES + 1), (2 * MAX_OBJECT_BYTES, 10), (2**32 - 1, 2**32 - 1)],
)
def test_a_block_header_over_the_limits_is_refused(stored: int, raw: int) -> None:
    header = struct.pack("<4sBII", b"BLK1", 0, stored, raw)
    with pytest.raises(CorruptObjectError, match="impossible values"):
        block.decode_block_header(header + struct.pack("<I", crc32(header)))


def test_a_block_has_the_bytes_the_format_describes() -> None:
    raw = encoded(blob(1))[2]
    frame = frames.compress(raw)
    header = struct.pack("<4sBII", b"BLK1", 0, len(frame), len(raw))
    assert block.encode(raw, records=False) == header + struct.pack("<I", crc32(header)) + frame


@given(st.binary(max_size=120))
@settings(deadline=None)
def test_bytes_that_are_no_block_raise_nothing_else(data: bytes) -> None:
    for candidate in (data, b"BLK1" + data):
        with pytest.raises(CorruptObjectError):
            block.decode(candidate)


@given(st.binary(max_size=200) | objects().map(lambda obj: encoded(obj)[2][:-1]))
@settings(deadline=None)
def test_objects_that_do_not_fill_their_block_are_told(raw: bytes) -> None:
    found = []
    with suppress(CorruptObjectError):
        found = list(block.split(raw, records=False))
        assert sum(length for *_, length in found) == len(raw)


def test_data_and_records_do_not_share_a_block() -> None:
    data, rec = encoded(blob(1))[2], encoded(record(1))[2]
    for raw, records in ((data + rec, False), (rec, False), (data, True), (rec + data, True)):
        with pytest.raises(CorruptObjectError, match="of the other class"):
            list(block.split(raw, records=records))


def test_what_will_be_compressed_anew_is_compressed_fast() -> None:
    words = b"".join(b"step %d of the walk, " % (n * n) for n in range(6000))
    small = Object(kind=Kind.BLOB, body=words[: block.REPACK_RAW_BYTES - 1000])
    large = Object(kind=Kind.BLOB, body=words[: block.REPACK_RAW_BYTES + 1000])
    for obj, is_draft in ((small, True), (large, False)):
        (full,) = block.pack([encoded(obj)])
        raw = encoded(obj)[2]
        assert block.decode(full.data) == raw
        final = block.encode(raw, records=False)
        assert (full.data != final) is is_draft
        assert len(full.data) >= len(final)
