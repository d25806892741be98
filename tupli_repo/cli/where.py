"""``--where 'KEY OP VALUE'``: conditions of the command line as filters."""

import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import click

from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.objects import is_id_prefix, shown
from tupli_repo.schema import BaseFilter, FilterAND, FilterGEQ, FilterIN, FilterLT, FilterType

_CONDITION = re.compile(
    r"\s*(?P<key>.+?)\s*(?P<op><=|>=|!=|=|<|>|\sin\s)\s*(?P<value>.*?)\s*", re.DOTALL
)
_TYPES = {
    "=": FilterType.EQ,
    "!=": FilterType.NE,
    "<": FilterType.LT,
    "<=": FilterType.LEQ,
    ">": FilterType.GT,
    ">=": FilterType.GEQ,
    "in": FilterType.IN,
}
_HINT = "for example --where 'metadata.success = true' or --where 'n_tuples >= 100'"
_ID_KEYS = frozenset({"id", "benchmark_id", "env"})
_PYTHON_WORDS = frozenset({"True", "False", "None"})
_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])


def where_option(command: _CommandT) -> _CommandT:
    """Give a command ``--where``, which may be repeated."""
    return click.option(
        "--where",
        metavar="'KEY OP VALUE'",
        multiple=True,
        help="Only what matches; OP is one of = != < <= > >= in, VALUE a JSON literal or a word."
        " Repeated conditions must all hold.",
    )(command)


def parse_where(
    conditions: Sequence[str], *, keys: Collection[str] | None = None
) -> BaseFilter | None:
    """Return the filter that conditions stand for; None where there are none.

    An id may be cut to seven digits.

    Args:
        conditions: Texts of the form ``KEY OP VALUE``.
        keys: What the first part of a dotted key may be; anything where None.

    Raises:
        InvalidInputError: A text is of another form, or names another key.

    >>> parse_where(["n_tuples >= 100"]).matches({"n_tuples": 120})
    True
    """
    parts = [_parse(condition, keys) for condition in conditions]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else FilterAND(filters=parts)


def _parse(condition: str, keys: Collection[str] | None) -> BaseFilter:
    match = _CONDITION.fullmatch(condition)
    if match is None or not match["value"]:
        raise InvalidInputError(f"'{shown(condition)}' is not a condition", hint=_HINT)
    kind = _TYPES[match["op"].strip()]
    key, value = match["key"], parse_value(condition, match["value"])
    if keys is not None and key.partition(".")[0] not in keys:
        raise InvalidInputError(
            f"'{shown(key)}' is not a key", hint=f"the keys are {', '.join(sorted(keys))}"
        )
    if kind is FilterType.IN and not isinstance(value, list):
        raise InvalidInputError(
            f"'{shown(condition)}' needs a list behind 'in'", hint="for example 'seed in [1, 2, 3]'"
        )
    if value is None:
        if kind is not FilterType.EQ:
            raise InvalidInputError(
                f"'{shown(condition)}' matches nothing: null is only ever equal to null",
                hint="'KEY = null' finds what is null",
            )
        return FilterIN(key=key, value=[None])
    if kind is FilterType.EQ and key in _ID_KEYS and is_id_prefix(value):
        return FilterGEQ(key=key, value=value) & FilterLT(key=key, value=f"{value}g")
    return BaseFilter(type=kind, key=key, value=value)


def parse_value(condition: str, text: str) -> Any:  # noqa: ANN401 - any JSON
    """Return what a value says: a JSON literal, or a bare word.

    Args:
        condition: What it is the value of, for an error's message.
        text: The value.

    Raises:
        InvalidInputError: It was meant to be JSON, and is not.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if text in _PYTHON_WORDS or text.startswith(("[", "{", '"')):
        raise InvalidInputError(
            f"the value of '{shown(condition)}' is not JSON",
            hint='write true, false, null, 1.5, "text", or a bare word',
        )
    return text
