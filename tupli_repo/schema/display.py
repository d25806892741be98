"""How things are shown: cut short in a line, and as tables in a notebook.

Invariant: what others wrote is shown as text; nothing in it is taken for HTML.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tupli_repo.errors import TupliError

SHOWN_DIGITS = 12
_MOST_CHARACTERS = 120


def short_id(oid: str) -> str:
    """Return the beginning of an id, enough to name it by."""
    return oid[:SHOWN_DIGITS]


def cut(value: object) -> str:
    """Return a value as text on one line, cut where it is long.

    What has no UTF-8, half a surrogate pair, is shown as ``?``: a notebook shows nothing at all
    where there is one.
    """
    text = " ".join(str(value).split())
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[: _MOST_CHARACTERS - 1]}…"
    return text.encode(errors="replace").decode()


def shape_of(array: Any) -> str:
    """Return what an array looks like.

    >>> import numpy as np
    >>> shape_of(np.zeros((3, 2), "f4"))
    'float32 (3, 2)'
    """
    return f"{array.dtype} {tuple(array.shape)}"


def card(title: str, fields: Mapping[str, object]) -> str:
    """Return an HTML table with a row for each field; what is empty is left out.

    >>> card("episode", {"steps": 3, "seed": None})
    '<table><caption>episode</caption><tr><th>steps</th><td>3</td></tr></table>'
    """
    rows = (
        f"<tr><th>{escape(cut(name))}</th><td>{escape(cut(value))}</td></tr>"
        for name, value in fields.items()
        if value is not None and str(value) not in _EMPTY
    )
    return _table(title, rows)


def trouble(title: str, err: TupliError) -> str:
    """Return an HTML table that tells why a thing cannot be shown: a notebook prints no more."""
    return card(title, {"problem": err.message, "hint": err.hint})


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table with a heading and a row for each item."""
    heading = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = ("".join(f"<td>{escape(cut(cell))}</td>" for cell in row) for row in rows)
    return _table(title, [f"<tr>{heading}</tr>", *(f"<tr>{line}</tr>" for line in lines)])


_EMPTY = ("", "{}", "[]")


def _table(title: str, rows: Iterable[str]) -> str:
    return f"<table><caption>{escape(cut(title))}</caption>{''.join(rows)}</table>"
