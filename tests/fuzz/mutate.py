"""Bytes that were valid, spoilt: the same ones for the same seed.

What knows nothing of the structure flips, cuts and splices; what knows it sets lengths to their
limits, and changes values of JSON.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

_LIMITS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)
_NASTY: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**30,
    1.5,
    -0.0,
    1e308,
    "",
    "x",
    "0" * 64,
    "\0",
    "\ud800",
    "../../x",
    "<f4",
    "|O",
    "<U99999999",
    "[('a','O')]",
    "nan",
    [],
    [[]],
    {},
    [0] * 100,
    {"#f": "nan"},
    {"#np": ["<f4", [2], "AAAAAAAAAAA="]},
    {"#np": ["<f4", [2**40], "AAAA"]},
    {"#np": ["|O", [1], "AAAAAAAA"]},
    {"#np": ["<f4", [-1], ""]},
    {"#np": [["a"], 0, 0]},
    {"#i": "9" * 500},
    {"#i": "x"},
    {"#b": "!"},
    {"#t": 7},
    {"#s": 7},
    {"#d": [[{}, 1]]},
    {"#d": [1]},
    {"#x": 1},
)


def mutated(seed: str, valid: Sequence[bytes]) -> bytes:
    """Return a spoilt copy of one of some valid texts."""
    chance = random.Random(seed)
    data = chance.choice(valid)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        data = chance.choice(_BLIND)(chance, data, valid)
    return data


def mutated_json(seed: str, valid: Sequence[bytes]) -> bytes:
    """Return a spoilt copy of one of some JSON texts; most often it is JSON still."""
    chance = random.Random(seed)
    if chance.random() < 0.4:
        return mutated(seed, valid)
    tree = json.loads(chance.choice(valid))
    for _ in range(chance.choice((1, 1, 2, 4))):
        tree = _changed(chance, tree)
    text = json.dumps(
        tree,
        sort_keys=chance.random() < 0.9,
        separators=(",", ":") if chance.random() < 0.9 else None,
    )
    if chance.random() < 0.05:
        depth = chance.choice((60, 65, 1000, 100_000))
        text = text.replace("1", "[" * depth + "1" + "]" * depth, 1)
    if chance.random() < 0.05:
        text = text.replace("{", '{"name":"twice",', 1)
    return text.encode("utf-8", "surrogatepass")


def _changed(chance: random.Random, tree: Any) -> Any:
    """A copy of a tree in which one value is another, gone, or twice there."""
    if isinstance(tree, dict) and tree and chance.random() < 0.85:
        key = chance.choice(sorted(tree))
        what = chance.random()
        if what < 0.1:
            return {k: v for k, v in tree.items() if k != key}
        if what < 0.2:
            return {**tree, chance.choice(("x", "", "#np", "\0", key + key)): tree[key]}
        return {**tree, key: _changed(chance, tree[key])}
    if isinstance(tree, list) and tree and chance.random() < 0.7:
        at = chance.randrange(len(tree))
        what = chance.random()
        if what < 0.15:
            return tree[:at] + tree[at + 1 :]
        if what < 0.3:
            return tree + tree[at:]
        return [*tree[:at], _changed(chance, tree[at]), *tree[at + 1 :]]
    return chance.choice(_NASTY)


def _at(chance: random.Random, data: bytes) -> int:
    """A place, near the beginning or the end more often than not: headers lie there."""
    if not data:
        return 0
    what = chance.random()
    if what < 0.3:
        return min(len(data) - 1, chance.randrange(64))
    if what < 0.5:
        return max(0, len(data) - 1 - chance.randrange(100))
    return chance.randrange(len(data))


def _flip(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _at(chance, data)
    return (
        data[:at] + bytes(b ^ 1 << chance.randrange(8) for b in data[at : at + 1]) + data[at + 1 :]
    )


def _insert(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _at(chance, data)
    return data[:at] + chance.randbytes(chance.choice((1, 2, 4, 16, 100))) + data[at:]


def _delete(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = _at(chance, data)
    return data[:at] + data[at + chance.choice((1, 2, 4, 16, 100)) :]


def _truncate(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: _at(chance, data)]


def _splice(chance: random.Random, data: bytes, valid: Sequence[bytes]) -> bytes:
    other = chance.choice(valid)
    return data[: _at(chance, data)] + other[_at(chance, other) :]


def _repeat(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at, end = sorted((_at(chance, data), _at(chance, data)))
    return data[:end] + data[at:end] + data[end:]


def _limit(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Set what may be a length to a limit."""
    at, size = _at(chance, data), chance.choice((1, 2, 4, 8))
    value = chance.choice(_LIMITS) & (1 << 8 * size) - 1
    return data[:at] + value.to_bytes(size, "little") + data[at + size :]


def _digits(chance: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Put digits in place of others, as in the header of an object."""
    for at in range(_at(chance, data), len(data)):
        if 48 <= data[at] <= 57:
            number = chance.choice((b"0", b"1", b"00", b"-1", b"99999999", b"2147483648"))
            return data[:at] + number + data[at + 1 :]
    return data


_Blind = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
_BLIND: tuple[_Blind, ...] = (
    _flip,
    _flip,
    _flip,
    _insert,
    _delete,
    _truncate,
    _splice,
    _repeat,
    _limit,
    _limit,
    _digits,
)
