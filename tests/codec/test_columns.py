"""Columns as blobs: the same bits again, in blobs of the promised sizes."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import BOX_DTYPES, arrays, same, shapes
from tupli_repo.codec.columns import (
    Blobs,
    ColumnSpec,
    Places,
    are_gathered,
    concatenate,
    decode_columns,
    empty_columns,
    encode_columns,
    gather,
)
from tupli_repo.errors import CorruptObjectError

KIB, MIB = 1 << 10, 1 << 20


def columns():
    """Columns of any dtype and item shape, with rows or without."""
    return st.lists(
        st.tuples(st.sampled_from(BOX_DTYPES), st.integers(0, 4), shapes()).flatmap(
            lambda found: arrays(found[0], (found[1], *found[2]))
        ),
        min_size=1,
        max_size=4,
    )


def again(found, blobs):
    """The columns that are read of blobs, in the order of ``found``."""
    specs = [ColumnSpec(f"c{i}", a.dtype, a.shape[1:]) for i, a in enumerate(found)]
    return list(decode_columns(specs, [len(a) for a in found], blobs).values())


def noise(size, dtype="<f4"):
    """An array of so many random bytes."""
    return np.frombuffer(np.random.default_rng(size).bytes(size), dtype)


@given(columns())
def test_small_columns_share_one_blob_and_come_back_bit_for_bit(found):
    blobs = encode_columns(found)
    assert [len(blob) for blob in blobs] == [sum(array.nbytes for array in found)]
    assert same(again(found, blobs), found)


@pytest.mark.parametrize(
    ("array", "sizes"),
    [
        (noise(64 * KIB - 4), [64 * KIB - 4]),
        (noise(64 * KIB), [64 * KIB]),
        (noise(512 * KIB), [512 * KIB]),
        (noise(512 * KIB + 4), [512 * KIB, 4]),
        (noise(3 * MIB, "u1"), [512 * KIB] * 6),
        (noise(7 * 150 * KIB, "<f8").reshape(7, -1), [450 * KIB, 450 * KIB, 150 * KIB]),
        (noise(2 * 3 * MIB, "<i2").reshape(2, 3, -1), [3 * MIB, 3 * MIB]),
        (noise(4 * MIB, "<c16"), [512 * KIB] * 8),
    ],
    ids=lambda value: (
        "x".join(map(str, value.shape)) if isinstance(value, np.ndarray) else len(value)
    ),
)
def test_large_columns_are_cut_by_rows_into_pieces(array, sizes):
    blobs = encode_columns([array])
    assert [len(blob) for blob in blobs] == sizes
    assert same(again([array], blobs), [array])


def test_small_columns_lie_in_the_first_blob_whatever_their_place():
    found = [noise(100 * KIB), noise(12), noise(MIB, "u1"), noise(8, "<f8")]
    blobs = encode_columns(found)
    assert [len(blob) for blob in blobs] == [20, 100 * KIB, 512 * KIB, 512 * KIB]
    assert same(again(found, blobs), found)


def test_items_wider_than_a_byte_are_stored_as_byte_planes():
    assert encode_columns([np.array([[1, 2], [3, 4]], "<u2")]) == [b"\x01\x03\x02\x04\0\0\0\0"]
    assert encode_columns([np.array([[1, 2], [3, 4]], "u1")]) == [b"\x01\x02\x03\x04"]


@pytest.mark.parametrize(
    "turn",
    [lambda a: a[::-1], lambda a: a.T, lambda a: a.astype(">f8")],
    ids=["reversed", "transposed", "big-endian"],
)
def test_memory_order_and_byte_order_do_not_show(turn):
    array = turn(np.arange(9.0).reshape(3, 3))
    (blob,) = encode_columns([array])
    assert encode_columns([array.astype("<f8").copy()]) == [blob]


@pytest.mark.parametrize(
    "change",
    [
        lambda blobs: blobs[:-1],
        lambda blobs: [*blobs, b""],
        lambda blobs: [blobs[0][:-1], *blobs[1:]],
        lambda blobs: [blobs[0] + b"\0", *blobs[1:]],
        lambda blobs: [*blobs[:-1], blobs[-1][:-1]],
        lambda blobs: [],
    ],
    ids=["one less", "one more", "short", "long", "last short", "none"],
)
def test_blobs_that_do_not_fit_are_damage(change):
    found = [noise(40), noise(MIB + 40)]
    with pytest.raises(CorruptObjectError):
        again(found, change(encode_columns(found)))


@pytest.mark.parametrize("rows", [-1, 1 << 50, 1 << 30])
def test_impossible_sizes_are_refused_before_memory_is_taken(rows):
    specs = [ColumnSpec("x", np.dtype("<f8"), (1000,)), ColumnSpec("y", np.dtype("u1"), ())]
    with pytest.raises(CorruptObjectError):
        decode_columns(specs, [rows, 1], [b"", b""])


@pytest.mark.parametrize("shape", [(0, 1 << 40), (0, 1 << 62, 1 << 62)])
def test_an_impossible_size_is_refused_where_a_length_is_zero(shape):
    specs = [ColumnSpec("x", np.dtype("<f8"), shape), ColumnSpec("y", np.dtype("u1"), ())]
    with pytest.raises(CorruptObjectError):
        decode_columns(specs, [1, 1], [b"\0"])


def test_columns_of_episodes_are_joined_and_offsets_go_on_counting():
    one = {"x": np.array([1, 2]), "x#offsets": np.array([1, 2]), "y": np.zeros((1, 3))}
    two = {"x": np.array([3]), "x#offsets": np.array([0, 1]), "y": np.ones((2, 3))}
    none = {"x": np.array([], int), "x#offsets": np.array([], int), "y": np.ones((0, 3))}
    joined = concatenate([one, none, two])
    assert joined["x"].tolist() == [1, 2, 3]
    assert joined["x#offsets"].tolist() == [1, 2, 2, 3]
    assert joined["y"].shape == (3, 3)
    assert concatenate([]) == {}


def side_by_side(blobs):
    """Blobs in one piece of memory, with something before each."""
    raw, starts, ends = b"", [], []
    for number, blob in enumerate(blobs):
        raw += b"?" * (number % 3 + 1)
        starts.append(len(raw))
        raw += blob
        ends.append(len(raw))
    return Blobs(raw, starts, ends)


@given(
    st.lists(st.tuples(st.sampled_from(BOX_DTYPES), shapes()), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=12),
    st.sets(st.integers(0, 3), min_size=1),
)
@example([(np.dtype("u1"), (3,)), (np.dtype("f4"), (2,))], [(2, True), (3, False)], {0, 1})
def test_short_episodes_of_many_lengths_are_gathered_bit_for_bit(kinds, lengths, wanted):
    specs = [ColumnSpec(f"c{i}", np.dtype(dtype), shape) for i, (dtype, shape) in enumerate(kinds)]
    rows = [tuple(n + (final and i == 0) for i in range(len(specs))) for n, final in lengths]
    rng = np.random.default_rng(len(rows))
    found = [
        [
            np.frombuffer(rng.bytes(n * spec.row_bytes), spec.dtype).reshape(n, *spec.shape)
            if spec.row_bytes
            else np.zeros((n, *spec.shape), spec.dtype)
            for spec, n in zip(specs, some, strict=True)
        ]
        for some in rows
    ]
    known = {some: Places(specs, some, 1) for some in rows}
    bodies = side_by_side([encode_columns(columns)[0] for columns in found])
    only = {spec.name for i, spec in enumerate(specs) if i in wanted}
    into = empty_columns(specs, np.sum(rows, axis=0).tolist(), only)
    gather([known[some] for some in rows], bodies, into)
    assert into.keys() == only
    for i, spec in enumerate(specs):
        if spec.name in only:
            whole = np.concatenate([columns[i] for columns in found])
            assert into[spec.name].tobytes() == whole.tobytes()


def test_what_is_not_short_and_of_many_lengths_is_not_gathered():
    spec = ColumnSpec("c", np.dtype("<f4"), (4,))
    wide = ColumnSpec("c", np.dtype("<f4"), (4096,))

    def is_gathered(spec, rows, *, n_blobs=1, cut=0):
        known = {n: Places([spec], [n], n_blobs) for n in rows}
        blobs = [bytes(spec.row_bytes * n - cut) for n in rows]
        return are_gathered([known[n] for n in rows], side_by_side(blobs))

    assert is_gathered(spec, [1, 2, 3, 4, 2, 1])
    assert not is_gathered(spec, [1])
    assert not is_gathered(spec, [3] * 50)  # they are filled at once as they are
    assert not is_gathered(spec, [3] * 20 + [2] * 20)
    assert not is_gathered(wide, [1, 2, 1, 2, 1, 2])  # to begin an episode takes nothing there
    assert not is_gathered(spec, [1, 2, 3, 4, 2, 1], cut=1)  # it is told which is wrong, then
    assert not is_gathered(wide, [8, 9, 10, 11, 12], n_blobs=1)


@pytest.mark.parametrize("row_bytes", [504, 512, 520, 2784])
@pytest.mark.parametrize("dtype", ["<u2", "<f4", "<i8", "<c16", "<U2", "|u1"])
def test_wide_rows_come_back_bit_for_bit(row_bytes, dtype):
    for rows in (0, 1, 13, 500):  # of the last, several pieces
        array = noise(rows * row_bytes, "|u1").reshape(rows, row_bytes)
        array = array[:, : row_bytes // 16 * 16].copy().view(dtype)
        (back,) = again([array], encode_columns([array]))
        assert back.dtype == array.dtype
        assert back.tobytes() == array.tobytes()


def test_wide_rows_of_several_episodes_are_filled_at_once():
    array = noise(6 * 7 * 800, "<f8").reshape(42, 100)
    blobs = [encode_columns([array[at : at + 7]])[0] for at in range(0, 42, 7)]
    raw, size = b"x".join(blobs), len(blobs[0])
    starts = [n * (size + 1) for n in range(6)]
    specs = [ColumnSpec("c", array.dtype, (100,))]
    found = empty_columns(specs, [42])
    Places(specs, [7], 1).fill(0, Blobs(raw, starts, [at + size for at in starts]), found)
    assert found["c"].tobytes() == array.tobytes()
