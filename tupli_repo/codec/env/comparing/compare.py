"""What differs between two environment documents, told from their texts alone.

Invariant: the list is empty exactly where the texts are equal, and exchanging the two exchanges
the sides of every difference. Nothing is decoded and nothing that a document names is imported.

Both trees are walked side by side. A value that is mentioned in several places is compared where
both documents mention it first; further places only tell whether the same values are shared.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.audit import ALONE, FROZENSET
from tupli_repo.codec.env.canonical import ENUM
from tupli_repo.codec.env.comparing.elements import compare_arrays, compare_numbers
from tupli_repo.codec.env.comparing.references import (
    LayerMark,
    Reference,
    keys_in_order,
    linked_tree,
    load_linked,
)
from tupli_repo.codec.env.comparing.short_text import (
    ARRAY,
    WIDTH,
    printable,
    short_layer,
    short_text,
)
from tupli_repo.codec.env.document import is_document
from tupli_repo.errors import CorruptObjectError
from tupli_repo.schema.reports import Difference

_MAX_LEVEL = 1000
_PARTS = ("kwargs", "overrides", "attributes", "state")
_PAIR_LISTS = ("collections.OrderedDict", "gymnasium.spaces.Dict")
_WHOLE = frozenset(
    {
        "builtins.complex",
        "builtins.float",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "decimal.Decimal",
        "fractions.Fraction",
        "numpy.dtype",
        "numpy.generic",
        "pathlib.Path",
        "uuid.UUID",
    }
)
"""Values whose fields mean little on their own."""


class _Absent:
    """Stands for a value that one side does not have."""


_ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class _Place:
    ours: str
    theirs: str

    def child(self, key: object) -> "_Place":
        step = f"/{printable(str(key))}"
        return _Place(self.ours + step, self.theirs + step)


_Pair = tuple[Any, Any, _Place]


def compare(ours: str, theirs: str) -> list[Difference]:
    """Return what differs between two environments' texts.

    Documents of ours are compared part by part, in the order base, wrappers from the inside out;
    other texts as they are.

    Raises:
        CorruptObjectError: A document is damaged.
    """
    if ours == theirs:
        return []
    if not (is_document(ours) and is_document(theirs)):
        return [_different_texts(ours, theirs)]
    left, right = load_linked(ours), load_linked(theirs)
    stack = _aligned(_makers(left), _makers(right))
    walk = _Walk(_labels(stack))
    for part in ("artifacts", "volatile"):
        place = _Place(f"/{part}", f"/{part}")
        walk.sets(left.get(part, []), right.get(part, []), place)
    walk.layers(left["base"], right["base"], _Place("/base", "/base"))
    for i, j in stack:
        walk.layers(
            _ABSENT if i is None else left["wrappers"][i],
            _ABSENT if j is None else right["wrappers"][j],
            _Place(f"/wrappers/{j if i is None else i}", f"/wrappers/{i if j is None else j}"),
        )
    return walk.found or [_different_texts(ours, theirs)]


def compare_values(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[Difference]:
    """Return what differs between two dicts of plain values and arrays, such as metadata.

    Raises:
        EncodingError: They hold something that a document cannot.
    """
    walk = _Walk({})
    walk.values(linked_tree(ours), linked_tree(theirs), _Place("", ""))
    return walk.found


# ---- the stack of wrappers -----------------------------------------------------------------------

_Alignment = list[tuple[int | None, int | None]]


def _makers(tree: Mapping[str, Any]) -> list[str]:
    return [_maker(layer) for layer in tree["wrappers"]]


def _maker(layer: Mapping[str, Any]) -> str:
    return str(next(iter((layer.get("make") or layer["class"]).values())))


def _aligned(ours: Sequence[str], theirs: Sequence[str]) -> _Alignment:
    """Return which layer corresponds to which, from the inside out."""
    if list(ours) > list(theirs):  # difflib's answer depends on which one comes first
        return [(i, j) for j, i in _aligned(theirs, ours)]
    pairs: _Alignment = []
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    for _, i, i_end, j, j_end in matcher.get_opcodes():
        pairs += zip_longest(range(i, i_end), range(j, j_end))
    return pairs


def _labels(stack: _Alignment) -> dict[tuple[str, int], int]:
    """Return one number for each pair of corresponding layers, by side and index."""
    labels = {("ours", 0): -1, ("theirs", 0): -1}
    for label, (i, j) in enumerate(stack):
        if i is not None:
            labels["ours", i + 1] = label
        if j is not None:
            labels["theirs", j + 1] = label
    return labels


# ---- the walk ------------------------------------------------------------------------------------


class _Walk:
    """Walks two trees side by side and gathers what differs.

    Args:
        labels: One number for each pair of corresponding layers, by side and index.
    """

    def __init__(self, labels: Mapping[tuple[str, int], int]) -> None:
        self.found: list[Difference] = []
        self._labels = labels
        self._ours_met: dict[int, str] = {}
        self._theirs_met: dict[int, str] = {}
        self._pairs_met: set[tuple[int, int]] = set()

    def layers(self, ours: Any, theirs: Any, place: _Place) -> None:
        """Compare two layers, or tell that only one is there."""
        if ours is _ABSENT or theirs is _ABSENT:
            self._one_sided(ours, theirs, place, short_layer)
            return
        if ours["kind"] != theirs["kind"]:
            self.values(ours["kind"], theirs["kind"], place.child("kind"))
        if _maker(ours) != _maker(theirs):
            keys = ["make" if "make" in layer else "class" for layer in (ours, theirs)]
            here = _Place(f"{place.ours}/{keys[0]}", f"{place.theirs}/{keys[1]}")
            self._changed(here, _maker(ours), _maker(theirs))
        for pair in self._sequences(
            ours.get("args", []), theirs.get("args", []), place.child("args")
        ):
            self.values(*pair)
        for part in _PARTS:
            for pair in self._mappings(ours.get(part, {}), theirs.get(part, {}), place.child(part)):
                self.values(*pair)

    def values(self, ours: Any, theirs: Any, place: _Place) -> None:
        """Compare two values and all they hold."""
        waiting = [(ours, theirs, place, 0, False)]
        while waiting:
            one, other, here, level, told = waiting.pop()
            if level > _MAX_LEVEL:
                raise CorruptObjectError(
                    f"the document is damaged at '{here.ours[:200]}': references without end"
                )
            if one is _ABSENT or other is _ABSENT:
                self._one_sided(one, other, here, short_text)
                continue
            one, other = _followed(one), _followed(other)
            if _may_be_shared(one) and _are_alike(one, other):
                was_met = (id(one) in self._ours_met, id(other) in self._theirs_met)
                if any(was_met) and not told and (id(one), id(other)) not in self._pairs_met:
                    self._shared_otherwise(one, other, here)
                    told = True
                self._ours_met.setdefault(id(one), here.ours)
                self._theirs_met.setdefault(id(other), here.theirs)
                self._pairs_met.add((id(one), id(other)))
                if all(was_met):
                    continue  # each has been compared before
            waiting += [(*pair, level + 1, told) for pair in reversed(self._step(one, other, here))]

    def _step(self, ours: Any, theirs: Any, place: _Place) -> list[_Pair]:
        """Compare two values but for the pairs inside, which are returned."""
        if not _are_alike(ours, theirs):
            self._changed(place, short_text(ours), short_text(theirs))
            return []
        kind = _kind(ours)
        match kind:
            case "list":
                return self._sequences(ours, theirs, place)
            case "dict":
                return self._mappings(ours, theirs, place)
            case tags.TUPLE:
                return self._sequences(ours[kind], theirs[kind], place)
            case tags.SET:
                self.sets(ours[kind], theirs[kind], place)
                return []
            case tags.OBJECT:
                return self._objects(ours, theirs, place)
            case "LayerMark":
                self._layer_marks(ours, theirs, place)
                return []
        self._leaves(ours, theirs, place)
        return []

    def _shared_otherwise(self, ours: Any, theirs: Any, place: _Place) -> None:
        was, were = self._ours_met.get(id(ours)), self._theirs_met.get(id(theirs))
        self._changed(
            place,
            short_text(ours) if was is None else f"same as {was}",
            short_text(theirs) if were is None else f"same as {were}",
            "shared with another value",
        )

    # ---- containers ------------------------------------------------------------------------------

    def _sequences(self, ours: list[Any], theirs: list[Any], place: _Place) -> list[_Pair]:
        summary = compare_numbers(ours, theirs)
        if summary is not None:
            self._changed(place, short_text(ours), short_text(theirs), *summary)
            return []
        pairs = enumerate(zip_longest(ours, theirs, fillvalue=_ABSENT))
        return [(a, b, place.child(i)) for i, (a, b) in pairs if not _same_scalar(a, b)]

    def _mappings(self, ours: dict[str, Any], theirs: dict[str, Any], place: _Place) -> list[_Pair]:
        return [
            (ours.get(key, _ABSENT), theirs.get(key, _ABSENT), place.child(key))
            for key in keys_in_order({**ours, **theirs})
            if key not in ours or key not in theirs or not _same_scalar(ours[key], theirs[key])
        ]

    def sets(self, ours: list[Any], theirs: list[Any], place: _Place) -> None:
        """Compare two sets by their elements, and the order where that is all."""
        mine, yours = Counter(map(_text_of, ours)), Counter(map(_text_of, theirs))
        nodes = {_text_of(node): node for node in (*ours, *theirs)}
        for text in sorted(nodes):
            if mine[text] > yours[text]:
                self._one_sided(nodes[text], _ABSENT, place, short_text)
            elif mine[text] < yours[text]:
                self._one_sided(_ABSENT, nodes[text], place, short_text)
        if mine == yours and ours != theirs:
            self._changed(place, short_text(ours), short_text(theirs), "another order")

    def _objects(self, ours: dict[str, Any], theirs: dict[str, Any], place: _Place) -> list[_Pair]:
        name = ours[tags.OBJECT]
        if tags.NEWARGS in ours:
            mine, yours = (node[tags.NEWARGS][tags.TUPLE] for node in (ours, theirs))
            return self._sequences(mine, yours, place)
        if name == FROZENSET:
            self.sets(ours["items"], theirs["items"], place)
        elif name == ARRAY and self._arrays(ours, theirs, place):
            pass
        elif name in _WHOLE or ENUM in ours:
            self._leaves(ours, theirs, place)
        elif name in _PAIR_LISTS and _has_names(ours) and _has_names(theirs):
            return self._named_pairs(ours, theirs, place)
        else:
            return self._mappings(ours, theirs, place)
        return []

    def _arrays(self, ours: dict[str, Any], theirs: dict[str, Any], place: _Place) -> bool:
        """Say whether the elements could be read, and tell what differs."""
        summary = compare_arrays(ours, theirs)
        if summary is not None and summary.note:
            self._changed(place, short_text(ours), short_text(theirs), *summary)
        return summary is not None

    def _named_pairs(
        self, ours: dict[str, Any], theirs: dict[str, Any], place: _Place
    ) -> list[_Pair]:
        """Compare two lists of [key, value] by key, and the order where both have the keys."""
        mine, yours = (dict(node["items"]) for node in (ours, theirs))
        order = [key for key in mine if key in yours]
        other_order = [key for key in yours if key in mine]
        if order != other_order:
            self._changed(place, short_text(order), short_text(other_order), "another order")
        return self._mappings(mine, yours, place)

    # ---- leaves ----------------------------------------------------------------------------------

    def _layer_marks(self, ours: LayerMark, theirs: LayerMark, place: _Place) -> None:
        mine = self._labels.get(("ours", ours.index), -2 - ours.index)
        if mine != self._labels.get(("theirs", theirs.index), -2 - theirs.index):
            self._changed(place, short_text(ours), short_text(theirs))

    def _leaves(self, ours: Any, theirs: Any, place: _Place) -> None:
        if _text_of(ours) == _text_of(theirs):
            return
        note = ""
        if type(ours) is str and max(len(ours), len(theirs)) > WIDTH - 5:
            note = f"first difference at character {_first_difference(ours, theirs)}"
        self._changed(place, short_text(ours), short_text(theirs), note)

    def _changed(
        self, place: _Place, ours: str, theirs: str, note: str = "", elements: Any = None
    ) -> None:
        if ours == theirs and not note:
            note = "they differ further on"
        self._add("changed", place, ours=ours, theirs=theirs, note=note, elements=elements)

    def _one_sided(self, ours: Any, theirs: Any, place: _Place, text: Callable[[Any], str]) -> None:
        if theirs is _ABSENT:
            self._add("only here", place, ours=text(ours))
        else:
            self._add("only there", place, theirs=text(theirs))

    def _add(self, kind: Any, place: _Place, **told: Any) -> None:
        their_path = "" if place.theirs == place.ours else place.theirs
        self.found.append(Difference(kind=kind, path=place.ours, their_path=their_path, **told))


def _kind(node: Any) -> str:
    if type(node) is dict:
        return next((tag for tag in (tags.OBJECT, *ALONE) if tag in node), "dict")
    return type(node).__name__


def _followed(node: Any) -> Any:
    return node.node if isinstance(node, Reference) else node


def _same_scalar(ours: Any, theirs: Any) -> bool:
    if type(ours) is not type(theirs) or isinstance(ours, list | dict | Reference | LayerMark):
        return False
    return repr(ours) == repr(theirs)


def _may_be_shared(node: Any) -> bool:
    if type(node) is dict:
        return tags.SET in node or not any(tag in node for tag in ALONE)
    return type(node) is list


def _text_of(node: Any) -> str:
    """A text that tells values without references apart: 1, 1.0 and True are three."""
    return json.dumps(node, sort_keys=True, default=repr)


def _are_alike(ours: Any, theirs: Any) -> bool:
    """Say whether two values are of one type, so that what is inside can be compared."""
    kind = _kind(ours)
    if kind != _kind(theirs):
        return False
    return kind != tags.OBJECT or _form(ours) == _form(theirs)


def _form(node: dict[str, Any]) -> tuple[Any, ...]:
    return node[tags.OBJECT], ENUM in node, tags.NEWARGS in node, tags.STATE in node


def _has_names(node: dict[str, Any]) -> bool:
    pairs = node["items"]
    if type(pairs) is not list or not all(type(p) is list and len(p) == 2 for p in pairs):
        return False
    names = [name for name, _ in pairs]
    return all(type(name) is str for name in names) and len(set(names)) == len(names)


def _different_texts(ours: str, theirs: str) -> Difference:
    at = _first_difference(ours, theirs)
    before = ours[:at]
    line, column = before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1
    return Difference(
        path="/",
        kind="changed",
        ours=short_text(ours[at : at + WIDTH]),
        theirs=short_text(theirs[at : at + WIDTH]),
        note=f"the texts differ from line {line}, column {column}",
    )


def _first_difference(ours: str, theirs: str) -> int:
    for i, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return i
    return min(len(ours), len(theirs))
