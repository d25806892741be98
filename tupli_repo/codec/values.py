"""Values as canonical JSON: one value, one text.

UTF-8, sorted keys, no spaces. What JSON cannot say is tagged: ``{"#f": "nan"}`` non-finite floats,
``{"#i": "…"}`` integers beyond 64 bits, ``{"#b": …}`` bytes, ``{"#np": [dtype, shape, base64]}``
numpy arrays and scalars, ``{"#t": […]}`` tuples, ``{"#s": …}`` text that is not Unicode, ``{"#d":
[[key, value], …]}`` dictionaries whose keys are not text or look like a tag.

Invariant: `load_json(dump_json(v))` equals `v` in value and type, for whatever `dump_json` accepts;
an array without dimensions comes back as the scalar it holds, a subclass as its base.
"""

import json
import math
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.errors import CorruptObjectError, EncodingError

MAX_BODY_BYTES = 8 << 20
SMALL_JSON_BYTES = MAX_BODY_BYTES // 8
"""A few texts of this size together are within the limits."""
MAX_DEPTH = 64
MAX_NODES = 2_000_000
MAX_DIGITS = 4000
_ESCAPED_BYTES = 6  # a character as \u0000
_TAG_BYTES = 32  # what stands around a value, and a number that is no long one
_INT64 = range(-(2**63), 2**63)
_IS_LITTLE = sys.byteorder == "little"
_DTYPE_KINDS = frozenset("?biufcSUmM")
_DTYPE_NAME = re.compile(r"[<|][b-zA-Z]\d+(\[\w+\])?")  # 'a' is an old alias: numpy warns
_DIGITS_TO_ZERO = bytes(0x30 if chr(i).isdecimal() and i < 128 else 0x20 for i in range(256))
_LONG_NUMBER = b"0" * 19
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_DECODER = json.JSONDecoder()
_AT_ONCE = 256
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def dump_json(value: Any, *, name: str = "value") -> bytes:
    """Return the canonical JSON of a value.

    Args:
        value: None, bool, int, float, str, bytes, numpy arrays and scalars (no objects), and lists,
            tuples and dictionaries of them.
        name: What the value is called in an error's message.

    Raises:
        EncodingError: It holds something else, names where, or it is too large or deep.

    >>> dump_json({"b": float("inf"), "a": 1})
    b'{"a":1,"b":{"#f":"inf"}}'
    """
    tree = value if _is_plain(value, 1) else _to_tree(value, name, 1)
    data = _canonical(tree)
    if len(data) > MAX_BODY_BYTES:
        raise EncodingError(
            f"'{name}' is {len(data)} bytes of JSON, at most {MAX_BODY_BYTES} may be",
            hint="store large things as an artifact",
        )
    if len(data) > 2 * MAX_NODES and _count(tree) > MAX_NODES:  # a value takes two bytes or more
        raise EncodingError(
            f"'{name}' has more than {MAX_NODES} values", hint="use arrays in place of long lists"
        )
    return data


def load_json(data: bytes) -> Any:
    """Return the value of canonical JSON.

    Raises:
        CorruptObjectError: It is not what `dump_json` writes; the caller knows the file.
    """
    if len(data) > MAX_BODY_BYTES:
        raise CorruptObjectError("a JSON text is over the size limit")
    if b'"#' not in data and data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        plain = _load_plain(data)
        if plain is not None:
            return plain
    try:
        tree = json.loads(
            data, object_pairs_hook=_pairs, parse_int=_int, parse_constant=_no_constant
        )
        return _Loader().value(tree, 1)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as err:
        raise CorruptObjectError(f"a JSON text is malformed: {str(err).splitlines()[0]}") from None


def load_json_list(texts: Sequence[bytes]) -> list[Any]:
    """Return the values of many texts, each as `load_json` gives it, faster than one by one.

    Raises:
        CorruptObjectError: One is not what `dump_json` writes; the caller knows the file.
    """
    found: list[Any] = []
    for at in range(0, len(texts), _AT_ONCE):
        some = texts[at : at + _AT_ONCE]
        found += _load_plain_objects(some) or map(load_json, some)
    return found


def dtype_name(dtype: np.dtype[Any], *, name: str) -> str:
    """Return the text of a dtype in little-endian byte order, for example ``<f4``.

    Raises:
        EncodingError: Its values are no plain bytes (objects, records), or not portable.
    """
    if dtype.kind not in _DTYPE_KINDS and dtype.kind != "b":
        raise EncodingError(f"'{name}' has dtype '{dtype}', which cannot be stored")
    if dtype.char in "gG":
        raise EncodingError(
            f"'{name}' has dtype '{dtype}', which differs between machines", hint="use float64"
        )
    return dtype.newbyteorder("<").str


def parse_dtype(text: Any) -> np.dtype[Any]:
    """Return the dtype of a text that `dtype_name` wrote.

    Raises:
        CorruptObjectError: It is none; the caller knows the file.
    """
    try:
        is_name = isinstance(text, str) and _DTYPE_NAME.fullmatch(text)
        dtype: np.dtype[Any] | None = np.dtype(text) if is_name else None
        if dtype is not None and dtype_name(dtype, name="") == text:
            return dtype
    except (TypeError, ValueError, SyntaxError):
        pass
    raise CorruptObjectError("a dtype is malformed")


def little_endian(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in C order and little-endian byte order, itself where it is so already."""
    if _IS_LITTLE and array.dtype.isnative and array.flags.c_contiguous:
        return np.asarray(array)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)


def size_bound(value: Any, *, depth: int = 4) -> float:
    """Return a bound on the bytes of a dictionary's JSON, without writing it.

    Infinite where that takes a closer look; else it can be stored, if it is small enough.

    Args:
        value: What may be a dictionary.
        depth: How many levels are looked at.
    """
    if type(value) is not dict or not depth:
        return math.inf
    total = 2.0
    for key, item in value.items():
        kind = type(item)
        if type(key) is not str or not key.isascii():
            return math.inf
        if kind is str and item.isascii():
            size: float = len(item)
        elif kind is float or kind is bool or item is None:
            size = 0
        elif kind is int and item.bit_length() <= 3 * MAX_DIGITS:
            size = item.bit_length()
        elif kind is dict:
            size = size_bound(item, depth=depth - 1)
        else:
            return math.inf
        total += _ESCAPED_BYTES * (len(key) + size) + _TAG_BYTES
    return total


def _load_plain(data: bytes) -> Any:
    """The value of a text without tags, at C's speed; None where it has to be looked at closely."""
    if len(data) > 2 * MAX_NODES or _has_long_number(data):
        return None
    try:
        tree = json.loads(data)
        return tree if _canonical(tree) == data else None
    except ValueError:
        return None


def _has_long_number(data: bytes) -> bool:
    """Whether there may be an integer beyond 64 bits."""
    return _LONG_NUMBER in data.translate(_DIGITS_TO_ZERO)


def _load_plain_objects(texts: Sequence[bytes]) -> list[Any] | None:
    """The values of texts as `_load_plain` gives them, where all of them are plain dictionaries.

    Each is parsed by itself, so that none can end within another; that they are canonical is seen
    at once.
    """
    joined = b",".join(texts)
    if len(joined) > 2 * MAX_NODES or b'"#' in joined or _has_long_number(joined):
        return None
    values: list[Any] = []
    try:
        for text in texts:
            if text[:1] != b"{" or text.count(b"[") + text.count(b"{") > MAX_DEPTH:
                return None
            value, end = _DECODER.raw_decode(decoded := text.decode())
            if end != len(decoded):
                return None
            values.append(value)
        return values if _canonical(values) == b"[%s]" % joined else None
    except ValueError:
        return None


def _canonical(tree: Any) -> bytes:
    return _ENCODER.encode(tree).encode("utf-8", "surrogatepass")


def _is_plain(value: Any, depth: int) -> bool:
    """Whether a value is its own tree, which is so of nearly all there are.

    Types are compared exactly: a subclass, such as numpy's float64, may need a tag.
    """
    kind = type(value)
    if kind is str:
        return bool(value.isascii())
    if kind is int:
        return value in _INT64
    if kind is float:
        return math.isfinite(value)
    if kind is dict and depth < MAX_DEPTH:
        for key in value:
            if type(key) is not str or not key.isascii() or key[:1] == "#":
                return False
        value = value.values()
    elif kind is not list or depth >= MAX_DEPTH:
        return value is None or kind is bool
    for item in value:  # noqa: SIM110 - `all` of a generator takes three times as long
        if not _is_plain(item, depth + 1):
            return False
    return True


def _to_tree(value: Any, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise EncodingError(f"'{path[:80]}…' is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, (np.ndarray, np.generic)) and not loses_its_end(value):
        return _array_to_tree(value, path)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        number = int(value)  # a range looks for what is no plain int one by one
        return number if number in _INT64 else {"#i": _decimal(number, path)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"#f": repr(float(value))}
    if isinstance(value, str):
        return _text_to_tree("".join(value))  # numpy's str() leaves zeros at the end out
    if isinstance(value, (bytes, bytearray)):
        return {"#b": b64encode(value).decode()}
    if isinstance(value, Mapping):
        return _mapping_to_tree(value, path, depth)
    if isinstance(value, (list, tuple)):
        items = [_to_tree(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        return {"#t": items} if isinstance(value, tuple) else items
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise EncodingError(
        f"'{path}' is a '{kind}', which cannot be stored",
        hint="store numbers, text, arrays, and lists or dictionaries of them",
    )


def _mapping_to_tree(value: Mapping[Any, Any], path: str, depth: int) -> Any:
    plain = all(isinstance(key, str) and _text_to_tree(key) == key for key in value)
    if plain and not (len(value) == 1 and next(iter(value)).startswith("#")):
        return {str(k): _to_tree(v, f"{path}.{k}", depth + 1) for k, v in value.items()}
    pairs = [
        [_to_tree(k, f"{path} (a key)", depth + 1), _to_tree(v, f"{path}[{k!r}]", depth + 1)]
        for k, v in value.items()
    ]
    return {"#d": sorted(pairs, key=lambda pair: json.dumps(pair[0], sort_keys=True))}


def loses_its_end(value: Any) -> bool:
    """Return whether a scalar is text or bytes that would lose zeros at its end in an array."""
    if isinstance(value, np.bytes_):
        return value.endswith(b"\0")
    return isinstance(value, np.str_) and value.endswith("\0")


def _text_to_tree(text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"#s": b64encode(text.encode("utf-8", "surrogatepass")).decode()}
    return text


def _array_to_tree(value: Any, path: str) -> Any:
    if isinstance(value, np.ma.MaskedArray):
        raise EncodingError(
            f"'{path}' is a masked array, whose mask cannot be stored",
            hint="fill it, or store values and mask apart",
        )
    array = np.asarray(value)
    dtype = dtype_name(array.dtype, name=path)
    return {"#np": [dtype, list(array.shape), b64encode(little_endian(array).tobytes()).decode()]}


def _count(tree: Any) -> int:
    if isinstance(tree, dict):
        return 1 + sum(map(_count, tree.values()))
    return 1 + sum(map(_count, tree)) if isinstance(tree, list) else 1


def _decimal(value: int, path: str) -> str:
    if value.bit_length() > 3 * MAX_DIGITS:
        raise EncodingError(f"'{path}' is an integer of more than {MAX_DIGITS} digits")
    return str(value)


class _Loader:
    """Turns a parsed tree back into the value, within the limits."""

    def __init__(self) -> None:
        self._nodes = 0

    def value(self, tree: Any, depth: int) -> Any:
        self._nodes += 1
        if depth > 2 * MAX_DEPTH or self._nodes > MAX_NODES:
            raise ValueError("it is nested too deeply or has too many values")
        if isinstance(tree, list):
            return [self.value(item, depth + 1) for item in tree]
        if not isinstance(tree, dict):
            return tree
        if len(tree) == 1:
            tag, inner = next(iter(tree.items()))
            if tag.startswith("#"):
                return self._tagged(tag, inner, depth)
        return {key: self.value(item, depth + 1) for key, item in tree.items()}

    def _tagged(self, tag: str, inner: Any, depth: int) -> Any:
        match tag:
            case "#f":
                return _NON_FINITE[inner]
            case "#i":
                return _big_int(inner)
            case "#b":
                return b64decode(inner, validate=True)
            case "#s":
                return b64decode(inner, validate=True).decode("utf-8", "surrogatepass")
            case "#t":
                return tuple(self.value(item, depth + 1) for item in _list(inner))
            case "#d":
                pairs = [_list(pair) for pair in _list(inner)]
                return {self.value(k, depth + 1): self.value(v, depth + 1) for k, v in pairs}
            case "#np":
                return _array(*_list(inner))
        raise ValueError(f"'{tag[:20]}' is no tag of this format")


def _array(dtype_text: Any, shape: Any, data: str) -> Any:
    dtype = parse_dtype(dtype_text)
    if not isinstance(shape, list) or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("an array's shape is malformed")
    array = np.frombuffer(b64decode(data, validate=True), dtype=dtype).reshape(shape).copy()
    return array if shape else array[()]


def _big_int(text: Any) -> int:
    if not isinstance(text, str) or len(text) > MAX_DIGITS + 1:
        raise ValueError("an integer is malformed")
    return int(text)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is due")
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _int(text: str) -> int:
    if len(text) > 20 or int(text) not in _INT64:
        raise ValueError("an integer is too large")
    return int(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"'{text}' is not JSON")
