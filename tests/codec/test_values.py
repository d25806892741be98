"""Canonical JSON: one value, one text, and the value again."""

import enum
import json
import math
from base64 import b64encode
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import json_values, same
from tupli_repo.codec.values import dtype_name, dump_json, load_json, parse_dtype, size_bound
from tupli_repo.errors import CorruptObjectError, EncodingError


@given(json_values())
def test_every_value_comes_back_in_value_and_type(value):
    assert same(load_json(dump_json(value)), value)


@given(st.dictionaries(st.text(max_size=9), json_values(), max_size=5))
def test_a_value_that_has_a_bound_can_be_stored_within_it(value):
    bound = size_bound(value)
    assert math.isinf(bound) or len(dump_json(value)) <= bound


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": "\x00" * 50, "": {"\x01" * 9: None}},
        {"#f": "nan"},
        {"#": {"#": {"#": True}}},
        {"n": -(10**3000), "x": math.nan, "y": -1.2345678901234567e-300},
    ],
    ids=["empty", "escapes", "tag", "tags", "numbers"],
)
def test_plain_dictionaries_have_a_bound(value):
    assert len(dump_json(value)) <= size_bound(value) < math.inf


@pytest.mark.parametrize(
    "value",
    [{"a": object()}, {"a": [1]}, {"é": 1}, {1: 2}, {"n": 1 << 16_000}, {"s": "\ud800"}],
    ids=["object", "list", "key", "number", "digits", "text"],
)
def test_what_needs_a_closer_look_has_no_bound(value):
    assert size_bound(value) == math.inf


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=5))
def test_one_value_has_one_text_whatever_the_order_of_its_keys(value):
    turned = dict(reversed(value.items()))
    assert dump_json(value) == dump_json(turned)


@given(json_values())
def test_the_text_is_json_that_anyone_can_read(value):
    def no_constant(text: str) -> None:
        raise AssertionError(text)

    json.loads(dump_json(value), parse_constant=no_constant)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        -0.0,
        -math.inf,
        2**63 - 1,
        -(2**63),
        2**64,
        -(10**3000),
        "",
        "\ud800",
        "é\x00\u2028",
        b"",
        (),
        [],
        {},
        {"": {}},
        {"#f": "nan"},
        {"#unknown": 1},
        {"#a": 1, "b": 2},
        {1: "a", "1": "b"},
        {None: 1, True: 2, 2.5: 3, (1, "x"): 4, b"k": 5},
        {math.inf: 1},
        np.float32(np.nan),
        np.array([]),
        np.zeros((0, 3), np.int8),
        np.array(["a", "bcd"]),
        np.array([b"a", b"\xff"]),
        np.array(["NaT", "2020-01-01"], "M8[D]"),
        np.str_("text"),
        np.str_(""),
        np.bool_(True),
        np.complex64(1 - 2j),
    ],
    ids=repr,
)
def test_awkward_values_come_back(value):
    assert same(load_json(dump_json(value)), value)


def test_a_nan_keeps_its_payload_in_arrays():
    array = np.array([0x7FF8000000000ABC, 0xFFF0000000000001], np.uint64).view(np.float64)
    assert same(load_json(dump_json(array)), array)


def test_an_array_without_dimensions_comes_back_as_a_scalar():
    assert same(load_json(dump_json({"x": np.array(2.5)})), {"x": np.float64(2.5)})


def test_byte_order_and_memory_order_do_not_show_in_the_text():
    array = np.arange(6, dtype="<i4").reshape(2, 3)
    for other in (array.astype(">i4"), np.asfortranarray(array), array[:, ::1]):
        assert dump_json(other) == dump_json(array)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": {"b": {1, 2}}}, "value.a.b"),
        ({"a": [0, object()]}, r"value.a\[1\]"),
        ({"a": 1j}, "value.a"),
        ({"a": np.array([object()])}, "value.a"),
        ({"a": np.longdouble(1)}, "value.a"),
        ({"a": np.zeros(2, [("x", "f4")])}, "value.a"),
        ({frozenset(): 1}, "a key"),
        ({"a": 10**4200}, "value.a"),
    ],
    ids=lambda found: repr(found)[:30],
)
def test_what_cannot_be_stored_is_named_with_its_place(value, where):
    with pytest.raises(EncodingError, match=where):
        dump_json(value)


def test_depth_is_limited_in_the_same_way_both_ways():
    deep: Any = 1
    for _ in range(63):
        deep = [deep]
    assert load_json(dump_json(deep)) == deep
    for wrap in (lambda v: [v], lambda v: (v,), lambda v: {1: v}):
        with pytest.raises(EncodingError, match="deeper"):
            dump_json(wrap(deep))
    paired: Any = 1
    for _ in range(63):
        paired = {1: paired}
    assert load_json(dump_json(paired)) == paired


def test_what_is_accepted_is_read_again_however_many_values_it_has():
    with pytest.raises(EncodingError, match="values"):
        dump_json([0] * 2_000_001)
    assert load_json(dump_json([0] * 500_000)) == [0] * 500_000


def test_a_text_over_eight_mebibytes_is_refused():
    with pytest.raises(EncodingError, match="artifact"):
        dump_json("x" * (8 << 20))


def _np(dtype: Any, shape: Any, data: bytes = b"") -> bytes:
    return json.dumps({"#np": [dtype, shape, b64encode(data).decode()]}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a":1,"a":2}',
        b"NaN",
        b"18446744073709551616",
        b'{"a":-9223372036854775809}',
        b'{"a":-Infinity}',
        b"1" * 5000,
        b'{"#f":"1.5"}',
        b'{"#f":[]}',
        b'{"#x":1}',
        b'{"#b":"?"}',
        b'{"#b":7}',
        b'{"#i":"x"}',
        b'{"#i":12}',
        b'{"#t":1}',
        b'{"#d":[[1]]}',
        b'{"#d":[[[],1]]}',
        b'{"#s":"_"}',
        b"[" * 200 + b"]" * 200,
        b"[" * 100_000,
        _np("O", [1], b"12345678"),
        _np("<f4", [2], b"1234"),
        _np("<f4", [-1], b"1234"),
        _np("<f4", [True], b"1234"),
        _np("<f4", 1, b"1234"),
        _np("<f4", [2**70], b"1234"),
        _np("<f4", [1] * 70, b"1234"),
        _np(">f4", [1], b"1234"),
        _np("<U0", [1]),
        _np("f4,f4", [1], b"12345678"),
        b'{"#np":[]}',
    ],
    ids=lambda data: f"{len(data)} {data[:30]!r}",
)
def test_malformed_text_is_damage_and_nothing_else(data):
    with pytest.raises(CorruptObjectError):
        load_json(data)


@given(st.binary(max_size=40))
def test_no_bytes_make_anything_but_a_value_or_damage(data):
    with suppress(CorruptObjectError):
        load_json(data)


@pytest.mark.parametrize("text", ["", "O", ">f4", "f4", "<f16", "<V4", "|O", 4, None, "<f4,<f4"])
def test_a_dtype_is_read_only_as_it_is_written(text):
    with pytest.raises(CorruptObjectError):
        parse_dtype(text)


def test_dtypes_are_written_little_endian():
    assert [dtype_name(np.dtype(d), name="x") for d in (">f4", "?", "i1", ">M8[us]")] == [
        "<f4",
        "|b1",
        "|i1",
        "<M8[us]",
    ]


class _Signal(enum.IntEnum):
    RED = 1


class _Flags(enum.IntFlag):
    ODD = 2**62


@pytest.mark.parametrize("value", [_Signal.RED, _Flags.ODD, type("Own", (int,), {})(-3)])
def test_a_subclass_of_int_is_stored_as_the_number_at_once(value):
    assert dump_json({"value": value}) == b'{"value":%d}' % int(value)


@pytest.mark.parametrize("value", [np.bytes_(b"ab\0"), np.str_("a\0"), np.bytes_(b"\0\0")])
def test_zeros_at_the_end_of_text_are_kept(value):
    assert load_json(dump_json([value])) == [value]
    assert len(load_json(dump_json(value))) == len(value)
