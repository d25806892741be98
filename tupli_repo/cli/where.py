"""``--where 'KEY OP VALUE'``: conditions of the command line as filters."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from tupli_repo.errors import InvalidInputError
from tupli_repo.schema import BaseFilter, FilterAND, FilterIN, FilterType

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


def parse_where(conditions: Sequence[str]) -> BaseFilter | None:
    """Return the filter that conditions stand for; None where there are none.

    Raises:
        InvalidInputError: One is not of the form ``KEY OP VALUE``.

    >>> parse_where(["n_tuples >= 100"]).matches({"n_tuples": 120})
    True
    """
    parts = [_parse(condition) for condition in conditions]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else FilterAND(filters=parts)


def _parse(condition: str) -> BaseFilter:
    match = _CONDITION.fullmatch(condition)
    if match is None or not match["value"]:
        raise InvalidInputError(f"'{condition}' is not a condition", hint=_HINT)
    kind = _TYPES[match["op"].strip()]
    key, value = match["key"], _value(match["value"])
    if kind is FilterType.IN and not isinstance(value, list):
        raise InvalidInputError(
            f"'{condition}' needs a list behind 'in'", hint="""for example 'seed in [1, 2, 3]'"""
        )
    if value is None:
        if kind is not FilterType.EQ:
            raise InvalidInputError(
                f"'{condition}' matches nothing: null is only ever equal to null",
                hint="'KEY = null' finds what is null",
            )
        return FilterIN(key=key, value=[None])
    return BaseFilter(type=kind, key=key, value=value)


def _value(text: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
