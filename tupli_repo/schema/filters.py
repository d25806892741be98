"""Filters: which records a listing shows, said as data that also travels as JSON.

Invariant: ``matches`` gives True or False for every record, never an exception, and depends on
``type``, ``key``, ``value`` and ``filters`` alone: a filter read back from JSON as a plain
`BaseFilter` selects what the original selected.

The rules, each of them total:

- ``key`` is a path: the keys leading to a value, joined by dots. A key may hold dots itself
  (``{"extra": {"a.b": 1}}`` and ``{"extra": {"a": {"b": 1}}}`` both have ``extra.a.b``); where
  several values have the path, one that matches is enough. Lists have no paths into them.
- Values compare within their class only: null, bool, number, string, list, object. This holds for
  NE too: text never differs from a number. Integers and floats compare exactly. NaN equals
  nothing, so NE with NaN holds for every number.
- LT, LEQ, GT, GEQ are defined for numbers and for strings (by code point), elsewhere False.
- A missing key matches nothing, NE included.
- The list ``published_in`` is asked for its members: EQ with a string means "contains", NE "does
  not contain", IN "contains one of".
- AND of nothing is True, OR of nothing is False.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tupli_repo.errors import InvalidInputError
from tupli_repo.schema.plain import at_most, below, differ, equal, plain, values_at

_MEMBERSHIP_KEY = "published_in"


class FilterType(StrEnum):
    """What a filter does: compare one value, or join other filters."""

    EQ = "EQ"
    GEQ = "GEQ"
    LEQ = "LEQ"
    GT = "GT"
    LT = "LT"
    NE = "NE"
    IN = "IN"
    AND = "AND"
    OR = "OR"


class BaseFilter(BaseModel):
    """A condition on records; without arguments it is an OR of nothing, which matches no record.

    Attributes:
        type: What the filter does.
        key: The dotted path of the value that is compared; unused by AND and OR.
        value: What it is compared with; a list for IN; unused by AND and OR.
        filters: The filters that AND and OR join.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")  # or JSON would turn NaN into null

    type: FilterType = FilterType.OR
    key: str | None = None
    value: Any | None = None
    filters: list["BaseFilter"] | None = Field(default_factory=list)

    @field_validator("value", mode="before")
    @classmethod
    def _make_value_plain(cls, value: object) -> object:
        return plain(value)

    @model_validator(mode="after")
    def validate_filter_attributes(self) -> Self:
        """Check that a comparison has a key and a value, and IN a list of values."""
        if self.type in (FilterType.AND, FilterType.OR):
            return self
        if self.key is None or self.value is None:
            raise InvalidInputError(
                f"filter '{self.type}' needs a key and a value that is not None",
                hint="FilterIN(key=..., value=[None]) finds null; a missing key matches nothing",
            )
        if self.type == FilterType.IN and not isinstance(self.value, list | tuple):
            raise InvalidInputError(
                f"filter 'IN' needs a list of values, not '{type(self.value).__name__}'",
                hint="value=[...]; FilterEQ compares with a single value",
            )
        return self

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Tell whether ``record`` is selected; the rules are those of this module.

        Args:
            record: Nested mappings, for example ``header.model_dump()``.

        >>> FilterGEQ(key="metadata.score", value=2).matches({"metadata": {"score": 2.5}})
        True
        >>> FilterNE(key="metadata.score", value=2).matches({"metadata": {}})
        False
        """
        if self.type == FilterType.AND:
            return all(part.matches(record) for part in self.filters or ())
        if self.type == FilterType.OR:
            return any(part.matches(record) for part in self.filters or ())
        if self.key is None:
            return False
        holds = _COMPARISONS[self.type]
        if self.key == _MEMBERSHIP_KEY:
            holds = _MEMBERSHIP_COMPARISONS.get(self.type, holds)
        return any(holds(found, self.value) for found in values_at(record, self.key))

    def __and__(self, other: "BaseFilter") -> "BaseFilter":
        return FilterAND(filters=[*self._parts(FilterType.AND), *other._parts(FilterType.AND)])

    def __or__(self, other: "BaseFilter") -> "BaseFilter":
        return FilterOR(filters=[*self._parts(FilterType.OR), *other._parts(FilterType.OR)])

    def to_params_dict(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a new dict: ``params`` and over them the fields of this filter that are not None.

        >>> FilterEQ(key="name", value="cartpole").to_params_dict({"limit": 5})["value"]
        'cartpole'
        """
        return {**(params or {}), **self.model_dump(exclude_none=True)}

    def apply_prefix(self, prefix: str) -> None:
        """Put ``prefix`` and a dot before every key of this filter, in place.

        The filters it joins are replaced by prefixed copies: where they are used elsewhere too,
        they keep their keys there.

        >>> condition = FilterEQ(key="name", value="cartpole")
        >>> condition.apply_prefix("metadata")
        >>> condition.key
        'metadata.name'
        """
        if self.key is not None:
            self.key = f"{prefix}.{self.key}"
        if self.filters:
            self.filters = [part.model_copy() for part in self.filters]
            for part in self.filters:
                part.apply_prefix(prefix)

    def _parts(self, joined_by: FilterType) -> Sequence["BaseFilter"]:
        """Return the filters this one joins if it is of type ``joined_by``, else itself alone."""
        return self.filters or () if self.type == joined_by else (self,)


class FilterEQ(BaseFilter):
    """The value at ``key`` equals ``value``."""

    type: FilterType = FilterType.EQ


class FilterGEQ(BaseFilter):
    """The value at ``key`` is greater than or equal to ``value``."""

    type: FilterType = FilterType.GEQ


class FilterLEQ(BaseFilter):
    """The value at ``key`` is less than or equal to ``value``."""

    type: FilterType = FilterType.LEQ


class FilterGT(BaseFilter):
    """The value at ``key`` is greater than ``value``."""

    type: FilterType = FilterType.GT


class FilterLT(BaseFilter):
    """The value at ``key`` is less than ``value``."""

    type: FilterType = FilterType.LT


class FilterNE(BaseFilter):
    """The value at ``key`` is of the class of ``value`` and not equal to it."""

    type: FilterType = FilterType.NE


class FilterIN(BaseFilter):
    """The value at ``key`` equals an element of the list ``value``."""

    type: FilterType = FilterType.IN


class FilterAND(BaseFilter):
    """Every filter matches."""

    type: FilterType = FilterType.AND
    filters: list[BaseFilter]


class FilterOR(BaseFilter):
    """At least one filter matches."""

    type: FilterType = FilterType.OR
    filters: list[BaseFilter]

    @classmethod
    def from_list(cls, items: Sequence[BaseModel], on_key: str, from_key: str) -> "FilterOR":
        """Return the filter that finds what refers to one of ``items``; of none, if they are none.

        Args:
            items: For example benchmark headers.
            on_key: The key of the records that are filtered, for example ``"benchmark_id"``.
            from_key: The attribute of the items, for example ``"id"``.

        Raises:
            InvalidInputError: An item has no attribute ``from_key``.
        """
        try:
            values = [attrgetter(from_key)(item) for item in items]
        except AttributeError as err:
            raise InvalidInputError(
                f"not every item has an attribute '{from_key}'", hint=str(err)
            ) from err
        return cls(filters=[FilterEQ(key=on_key, value=value) for value in values])


class EpisodesListRequest(BaseFilter):
    """A filter on episodes that also says whether their tuples are wanted."""

    include_tuples: bool = False


def _is_among(found: object, wanted: Sequence[object]) -> bool:
    return any(equal(found, element) for element in wanted)


def _contains(found: object, wanted: object) -> bool:
    """Equality that also lets a list equal a string it contains."""
    if isinstance(found, list | tuple) and isinstance(wanted, str):
        return _is_among(wanted, found)
    return equal(found, wanted)


def _lacks(found: object, wanted: object) -> bool:
    if isinstance(found, list | tuple) and isinstance(wanted, str):
        return not _is_among(wanted, found)
    return differ(found, wanted)


_COMPARISONS: dict[FilterType, Callable[[Any, Any], bool]] = {
    FilterType.EQ: equal,
    FilterType.NE: differ,
    FilterType.LT: below,
    FilterType.LEQ: at_most,
    FilterType.GT: lambda found, wanted: below(wanted, found),
    FilterType.GEQ: lambda found, wanted: at_most(wanted, found),
    FilterType.IN: _is_among,
}
_MEMBERSHIP_COMPARISONS: dict[FilterType, Callable[[Any, Any], bool]] = {
    FilterType.EQ: _contains,
    FilterType.NE: _lacks,
    FilterType.IN: lambda found, wanted: any(_contains(found, element) for element in wanted),
}
