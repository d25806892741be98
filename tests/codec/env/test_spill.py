"""Large arrays leave a document's text and come back: one text, one spilled form."""

import base64
import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tupli_repo.codec.env import join, spill
from tupli_repo.codec.env.document import dump_json
from tupli_repo.codec.env.spill import BLOB, MAX_INLINE_BYTES, MAX_PIECE_BYTES
from tupli_repo.errors import CorruptObjectError


def b64(data: bytes) -> dict[str, str]:
    return {"py/b64": base64.b64encode(data).decode()}


def text_of(*parts: Any) -> str:
    return dump_json({"format": "tupli.env/1", "parts": list(parts)})


SMALL = b"s" * MAX_INLINE_BYTES
LARGE = bytes(range(256)) * 17
OTHER = b"o" * (MAX_INLINE_BYTES + 1)

trees = st.recursive(
    st.none()
    | st.integers()
    | st.text()
    | st.binary(max_size=20).map(b64)
    | st.integers(MAX_INLINE_BYTES - 1, MAX_INLINE_BYTES + 2).map(lambda n: b64(b"x" * n))
    | st.integers(0, 255).map(lambda n: b64(bytes([n]) * (MAX_INLINE_BYTES * 2))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=12,
)


@given(trees)
def test_what_is_taken_out_comes_back(tree):
    text = text_of(tree)
    spilled = spill(text)
    assert join(*spilled) == text
    assert all(len(blob) > MAX_INLINE_BYTES for blob in spilled.blobs)


def test_only_what_is_large_is_taken_out_and_each_once():
    spilled = spill(text_of(b64(SMALL), b64(OTHER), b64(LARGE), {"again": b64(OTHER)}))
    assert spilled.blobs == [OTHER, LARGE]
    name = {BLOB: [sha256(OTHER).hexdigest()]}
    assert json.loads(spilled.text)["parts"][1] == name
    assert json.loads(spilled.text)["parts"][3] == {"again": name}
    assert json.loads(spilled.text)["parts"][0] == b64(SMALL)


def test_a_very_large_array_is_cut_into_pieces():
    data = b"".join(bytes([n]) * (MAX_PIECE_BYTES // 2) for n in range(5))
    spilled = spill(text_of(b64(data)))
    assert [len(blob) for blob in spilled.blobs] == [
        MAX_PIECE_BYTES,
        MAX_PIECE_BYTES,
        MAX_PIECE_BYTES // 2,
    ]
    assert join(*spilled) == text_of(b64(data))


def test_equal_pieces_are_one_blob():
    spilled = spill(text_of(b64(bytes(MAX_PIECE_BYTES * 3 + 1))))
    assert [len(blob) for blob in spilled.blobs] == [MAX_PIECE_BYTES, 1]
    assert join(*spilled) == text_of(b64(bytes(MAX_PIECE_BYTES * 3 + 1)))


def name_of(*blobs: bytes) -> dict[str, list[str]]:
    return {BLOB: [sha256(blob).hexdigest() for blob in blobs]}


def test_what_would_unfold_past_the_limit_is_refused_before_it_does():
    piece = bytes(MAX_PIECE_BYTES)
    bomb = text_of(*[name_of(*[piece] * 4)] * 8)
    with pytest.raises(CorruptObjectError, match="unfolds to more than"):
        join(bomb, [piece])


DAMAGED: dict[str, tuple[str, list[bytes]]] = {
    "a blob is missing": (text_of(name_of(LARGE)), []),
    "another blob": (text_of(name_of(LARGE)), [OTHER]),
    "one blob too many": (text_of(name_of(LARGE)), [LARGE, OTHER]),
    "the same twice": (text_of(name_of(LARGE)), [LARGE, LARGE]),
    "another order": (text_of(name_of(LARGE), name_of(OTHER)), [OTHER, LARGE]),
    "small enough to be inline": (text_of(name_of(SMALL)), [SMALL]),
    "cut where it need not be": (text_of(name_of(LARGE, OTHER)), [LARGE, OTHER]),
    "large and inline": (text_of(b64(LARGE)), []),
    "not names": (text_of({BLOB: "x"}), []),
    "names of another type": (text_of({BLOB: [1]}), []),
    "no base64": (text_of({"py/b64": 7}), []),
    "no names": (text_of({BLOB: []}), []),
    "no JSON": ("{", []),
}


@pytest.mark.parametrize("why", DAMAGED)
def test_what_does_not_belong_together_is_damaged(why):
    with pytest.raises(CorruptObjectError):
        join(*DAMAGED[why])


@pytest.mark.parametrize("data", ["A" * 6001, "A" * 6000 + "AB==", "-" * 8000, "é" * 8000])
def test_base64_that_could_be_written_otherwise_is_damaged(data):
    with pytest.raises(CorruptObjectError):
        spill(text_of({"py/b64": data}))
