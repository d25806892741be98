"""What an episode leaves behind that no reset takes back: told from configuration, and told of.

Invariant: a leaf is a number here only if zero of its type can stand for it.
"""

import json
import re
from collections.abc import Sequence

from jsonpickle import tags  # type: ignore[import-untyped]

_PLAIN_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?", re.ASCII)
_SHOWN = 3


def kind_of_number(text: str | None) -> str:
    """Return the type that a leaf's text is a number of, empty where it is none.

    >>> kind_of_number("True"), kind_of_number("-3"), kind_of_number("1e-05"), kind_of_number("'1'")
    ('bool', 'int', 'float', '')
    """
    if text is None:
        return ""
    if text in ("True", "False"):
        return "bool"
    if _PLAIN_NUMBER.fullmatch(text):
        return "int" if text.lstrip("-").isdigit() else "float"
    node = json.loads(text) if text.startswith('{"') else {}
    if node.get(tags.OBJECT) == "builtins.float":
        return "float"
    is_scalar = node.get(tags.OBJECT) == "numpy.generic" and isinstance(node["dtype"], str)
    return str(node["dtype"]) if is_scalar and node["dtype"][1] in "biufc" else ""


def lasting_notes(numbers: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the warnings about what depends on how an environment was used.

    Args:
        numbers: Paths of the numbers; they are stored as zero.
        others: Paths of whatever else.
    """
    notes = []
    if numbers:
        shown = numbers[:_SHOWN]
        more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
        paths = ", ".join(f"'{path}'" for path in shown)
        depends = "depends" if len(numbers) == 1 else "depend"
        notes.append(
            f"{paths}{more} {depends} on how the environment was used, reset does not restore that,"
            f" and zero is stored: say volatile={[as_glob(path) for path in shown]} if that is"
            " right, otherwise set it in reset()"
        )
    if others:
        notes.append(
            f"'{others[0]}' depends on how the environment was used, reset does not restore it; "
            "two documents of this environment may differ"
        )
    return notes


def as_glob(path: str) -> str:
    """Return how a user names a path: by its name where it is a layer's own attribute.

    >>> as_glob("/base/n"), as_glob("/base/map/n"), as_glob("/wrappers/0/n")
    ('n', '/base/map/n', 'n')
    """
    parts = path.split("/")[3 if path.startswith("/wrappers/") else 2 :]
    return parts[0] if len(parts) == 1 else path
