"""Dictionaries in dictionaries as one, whose keys are paths like ``a/b``; and back.

Invariant: `nested` gives back what was `flattened`, but for dictionaries that are empty.
"""

from collections.abc import Mapping
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


def flattened(tree: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """Return dictionaries in dictionaries as one whose keys are paths; empty ones have none.

    >>> flattened({"a": {"b": 1}, "c": 2})
    {'a/b': 1, 'c': 2}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{parent}{key}"
        found |= flattened(value, f"{path}/") if isinstance(value, Mapping) else {path: value}
    return found
