"""Many JSON texts at once are what each of them is alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import json_values, same
from tupli_repo.codec.values import dump_json, load_json, load_json_list
from tupli_repo.errors import CorruptObjectError

PLAIN = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9) | st.floats() | st.text())
TEXTS = (PLAIN | json_values()).map(dump_json)


@given(st.lists(TEXTS, max_size=6), st.randoms(use_true_random=False))
def test_texts_together_are_what_each_is_alone(texts: list[bytes], rng: random.Random):
    if texts and rng.random() < 0.5:
        number, (at, cut) = rng.randrange(len(texts)), (rng.randrange(4), rng.randrange(2))
        text = texts[number]
        texts[number] = text[:at] + rng.choice([b"{", b"}", b",", b" ", b"\xff"]) + text[at + cut :]
    try:
        alone = [load_json(text) for text in texts]
    except CorruptObjectError:
        with pytest.raises(CorruptObjectError):
            load_json_list(texts)
    else:
        assert same(load_json_list(texts), alone)


@pytest.mark.parametrize(
    "odd",
    [
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"b":1,"a":2}',
        b'{"a":1}}',
        b'{"a":9223372036854775808}',
        b'{"a":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16-le"),
        b'{"a":' + b"[" * 140 + b"]" * 140 + b"}",
        b"[]",
        b"",
    ],
)
def test_an_odd_text_among_plain_ones_is_what_it_is_alone(odd: bytes):
    plain = [dump_json({"n": n}) for n in range(300)]
    for number in (0, 150, 300):
        texts = [*plain[:number], odd, *plain[number:]]
        try:
            alone = load_json(odd)
        except CorruptObjectError:
            with pytest.raises(CorruptObjectError):
                load_json_list(texts)
        else:
            assert same(load_json_list(texts), list(map(load_json, texts)))
            assert same(load_json_list(texts)[number], alone)
