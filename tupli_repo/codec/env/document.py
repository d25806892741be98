"""The text of an environment document: canonical JSON, written one way and read strictly.

Invariant: ``load_json`` accepts exactly the texts that ``dump_json`` writes, within fixed limits of
size, depth and count; whatever else it is given raises ``CorruptObjectError``.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from tupli_repo.errors import CorruptObjectError

FORMAT = "tupli.env/1"
"""The marker every document carries under ``format``."""

MAX_TEXT_BYTES = 64 << 20
MAX_DEPTH = 100
MAX_NODES = 2_000_000
MAX_INT_DIGITS = 640

_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"')
_MARKER = f'"format":"{FORMAT}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvDocument:
    """An environment as text.

    Args:
        text: Canonical ASCII JSON, self-contained.
        artifacts: Ids of the artifacts the environment needs, in the order its hook gave them; they
            are part of ``text`` too.
    """

    text: str
    artifacts: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """SHA-256 of the text, 64 hex digits."""
        return hashlib.sha256(self.text.encode("ascii")).hexdigest()


def is_document(text: str) -> bool:
    """Say cheaply whether ``text`` carries our format marker; ``parse`` says whether it is whole.

    >>> is_document('{"base":{},"format":"tupli.env/1"}'), is_document('{"py/object":"pkg.Env"}')
    (True, False)
    """
    return text.startswith("{") and _MARKER in text


def dump_json(tree: Any) -> str:
    """Return the one text of ``tree``: ASCII, sorted keys, no spaces, finite numbers.

    >>> dump_json({"b": 1, "a": [True, None]})
    '{"a":[true,null],"b":1}'
    """
    return json.dumps(
        tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def one_line(text: object, *, limit: int = 200) -> str:
    r"""Return ``text`` fit for a message: one line, cut, nothing a terminal would act on.

    >>> print(one_line("two\nlines"), one_line("abcdef", limit=4))
    two\nlines abc…
    """
    whole = str(text)
    cut = whole if len(whole) <= limit else f"{whole[: limit - 1]}…"
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in cut
    )


def load_json(text: str) -> Any:
    """Return the tree that ``dump_json`` turned into ``text``.

    Raises:
        CorruptObjectError: Not our canonical JSON, or past a limit.
    """
    if len(text) > MAX_TEXT_BYTES:
        _refuse(f"the document has {len(text)} bytes, {MAX_TEXT_BYTES} are the limit")
    if not text.isascii():
        _refuse("the document is not ASCII")
    if _depth(text) > MAX_DEPTH:
        _refuse(f"the document is nested deeper than {MAX_DEPTH}")
    if sum(map(text.count, ",[{")) > MAX_NODES:
        _refuse(f"the document has more than {MAX_NODES} parts")
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_unique_pairs,
            parse_int=_bounded_int,
            parse_float=_finite_float,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as err:
        raise CorruptObjectError(f"the document is not JSON: {err}") from None
    if dump_json(tree) != text:
        _refuse("the document is not in canonical form")
    return tree


def _refuse(message: str) -> NoReturn:
    raise CorruptObjectError(message)


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse("the document has a key twice")
    return found


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_INT_DIGITS:
        _refuse(f"an integer has more than {MAX_INT_DIGITS} digits")
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(f"the number '{digits[:20]}' is out of range")
    return number


def _no_constant(word: str) -> NoReturn:
    _refuse(f"'{word}' is not JSON")
