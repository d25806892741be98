"""Objects: the encoding is exact, the id is its hash, and damage is told."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.odb.samples import HELLO, id_of, objects
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError
from tupli_repo.odb.objects import (
    KINDS_BY_CODE,
    MAX_LINKS,
    MAX_OBJECT_BYTES,
    Kind,
    Object,
    ObjectId,
    check_id,
    decode,
    decode_header,
    encode,
    is_id_prefix,
    object_id,
    parse_object_id,
    shown,
)

SOME_ID = ObjectId("ab" * 32)


@given(objects())
@settings(deadline=None)
def test_an_object_comes_back_as_it_was(obj: Object) -> None:
    assert decode(encode(obj)) == obj


@given(objects())
@settings(deadline=None, max_examples=50)
def test_an_id_is_the_sha256_of_the_encoding(obj: Object) -> None:
    assert object_id(encode(obj)) == sha256(encode(obj)).hexdigest()
    check_id(object_id(encode(obj)), encode(obj))


def test_the_encoding_is_the_one_the_format_describes() -> None:
    obj = Object(kind=Kind.EPISODE, links=(SOME_ID, SOME_ID), body=b"{}")
    assert encode(obj) == b"tupli episode 2 2\n" + b"\xab" * 64 + b"{}"
    assert id_of(HELLO) == "c47747eb2b4345f51252135979963959bb9efa3292ee0a8ea3d4e0777bbba728"


def test_the_codes_of_the_kinds_are_those_of_the_format() -> None:
    words = "blob benchmark artifact episode provenance episodes release tombstone annotation"
    assert [KINDS_BY_CODE[code] for code in range(1, 10)] == words.split()
    assert [kind.code for kind in Kind] == list(range(1, 10))
    assert [kind for kind in Kind if kind.is_data] == [Kind.BLOB]


@given(objects(), objects())
@settings(deadline=None, max_examples=50)
def test_other_bytes_do_not_pass_for_an_object(one: Object, other: Object) -> None:
    if one != other:
        with pytest.raises(CorruptObjectError, match="other bytes than its name says"):
            check_id(id_of(one), encode(other))


def test_a_header_tells_where_the_parts_lie() -> None:
    data = b"....." + encode(Object(kind=Kind.RELEASE, links=(SOME_ID,), body=b"abc"))
    header = decode_header(data, 5)
    assert (header.kind, header.n_links, header.body_size) == (Kind.RELEASE, 1, 3)
    assert 5 + header.size_bytes == len(data)
    assert data[5 + header.body_start :] == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"tupli",
        b"tupli blob 0 5",
        b"tupli blob 0 5\r\nhello",
        b"tupli blob 0 05\nhello",
        b"tupli blob 00 5\nhello",
        b"tupli blob +0 5\nhello",
        b"tupli blob 0 5 \nhello",
        b"tupli  blob 0 5\nhello",
        b"tupli BLOB 0 5\nhello",
        b"tupli blobs 0 5\nhello",
        b"tupli tree 0 5\nhello",
        b"tupli blob 0 -1\nhello",
        b"tupli blob 0 6\nhello",
        b"tupli blob 0 4\nhello",
        b"tupli blob 1 5\nhello",
        b"tupli blob 0 1000000000\nhello",
        b"tupli blob 0 \xd9\xa5\nhello",
        b" tupli blob 0 5\nhello",
        b"tupli blob 0 5\n",
    ],
)
def test_a_malformed_object_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptObjectError):
        decode(data)


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda rest: b"tupli blob " + rest))
@settings(deadline=None)
def test_bytes_from_anywhere_raise_nothing_else(data: bytes) -> None:
    try:
        obj = decode(data)
    except CorruptObjectError:
        return
    assert encode(obj) == data


@given(objects(max_body=40), st.data())
@settings(deadline=None)
def test_a_damaged_encoding_raises_or_is_another_object(obj: Object, data: st.DataObject) -> None:
    whole = bytearray(encode(obj))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(whole))
    except CorruptObjectError:
        return
    assert id_of(other) != id_of(obj)


@pytest.mark.parametrize(
    "obj",
    [
        Object(kind=Kind.BLOB, body=bytes(MAX_OBJECT_BYTES)),
        Object(kind=Kind.EPISODES, links=(SOME_ID,) * (MAX_LINKS + 1)),
    ],
    ids=["too long", "too many links"],
)
def test_an_object_over_the_limits_is_not_encoded(obj: Object) -> None:
    with pytest.raises(EncodingError, match="too large") as caught:
        encode(obj)
    assert "32 MiB" in caught.value.hint


def test_an_object_at_the_limits_comes_back() -> None:
    head = len(encode(Object(kind=Kind.BLOB, body=bytes(9_999_999)))) - 9_999_999 + 1
    largest = Object(kind=Kind.BLOB, body=bytes(MAX_OBJECT_BYTES - head))
    assert len(encode(largest)) == MAX_OBJECT_BYTES
    assert decode(encode(largest)) == largest
    most = Object(kind=Kind.EPISODES, links=(SOME_ID,) * MAX_LINKS)
    assert decode(encode(most)) == most


@pytest.mark.parametrize(
    "header",
    [
        b"tupli blob 0 %d\n" % MAX_OBJECT_BYTES,
        b"tupli episodes %d 0\n" % (MAX_LINKS + 1),
        b"tupli episodes 99999999 0\n",
    ],
)
def test_a_header_over_the_limits_is_refused_before_its_body_is_looked_for(header: bytes) -> None:
    with pytest.raises(CorruptObjectError, match="over the size limit"):
        decode_header(header)


@pytest.mark.parametrize(
    "text",
    ["", "ab", "AB" * 32, "ab" * 31, "ab" * 33, "ab" * 32 + "\n", "../" + "a" * 61, "٣" * 64],
)
def test_what_is_no_id_is_refused_at_the_door(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is not an object id") as caught:
        parse_object_id(text)
    assert "\n" not in caught.value.message
    assert parse_object_id(SOME_ID) == SOME_ID


def test_a_prefix_has_seven_to_sixty_four_hex_digits() -> None:
    assert [n for n in range(70) if is_id_prefix("a" * n)] == list(range(7, 65))
    assert not is_id_prefix("A" * 8)
    assert not is_id_prefix("a" * 8 + "\n")


@given(st.text(max_size=200))
@settings(deadline=None, max_examples=50)
def test_text_is_shown_on_one_short_line(text: str) -> None:
    assert len(shown(text)) <= 80
    assert shown(text).isascii()
    assert shown(text).isprintable()
