"""Dictionaries in dictionaries as one, whose keys are paths like ``a/b``; and back.

Invariant: `nested` gives back what was `flattened`, but for keys with a slash and what `unkept`
tells.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary whose keys are paths as dictionaries in dictionaries.

    >>> nested({"a/b": 1, "c": 2})
    {'a': {'b': 1}, 'c': 2}
    """
    found: dict[str, Any] = {}
    for path, value in flat.items():
        *above, key = path.split("/")
        into = found
        for part in above:
            into = into.setdefault(part, {})
        into[key] = value
    return found


def flattened(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return dictionaries in dictionaries as one whose keys are paths; empty ones have none.

    >>> flattened({"a": {"b": 1}, "c": 2, "d": {}})
    {'a/b': 1, 'c': 2}
    """
    return {path: value for path, value in _leaves(tree, "") if not _is_empty(value)}


def unkept(tree: Mapping[str, Any]) -> dict[str, str]:
    """Return why `flattened` does not keep some parts of a dictionary, by path.

    >>> unkept({"a": {"b": 1}, "a/b": 2, "c": 3, "d": {}})
    {'a/b': 'which there is twice', 'd': 'which is empty'}
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    for path, value in _leaves(tree, ""):
        if _is_empty(value):
            found[path] = "which is empty"
        elif path in seen:
            found[path] = "which there is twice"
        seen.add(path)
    return found


def _leaves(tree: Mapping[str, Any], parent: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = f"{parent}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}/")
        else:
            yield path, value


def _is_empty(value: Any) -> bool:
    return isinstance(value, Mapping) and not value
