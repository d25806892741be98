"""What of a document gymnasium can be told: the specification from which it makes an environment.

Nothing is decoded and nothing imported: the document's names become the specification's entry
points, its arguments the keyword arguments.

Invariant: ``gymnasium.make`` of a specification that `specification_of` returns makes the layers of
the document, each with its arguments; what it would make otherwise is refused, as are arguments
that are something else in JSON, such as tuples.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from gymnasium.envs.registration import EnvSpec, registry
from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.audit import parse
from tupli_repo.codec.env.document import load_json
from tupli_repo.errors import InvalidInputError

_ORDER = "gymnasium.wrappers.common:OrderEnforcing"
_LIMIT = "gymnasium.wrappers.common:TimeLimit"


def specification_of(text: str) -> str:
    """Return the JSON of the ``EnvSpec`` that describes what a document does.

    Its id is the one under which gymnasium has such an environment registered in this process, or
    the name of its class.

    Args:
        text: The document.

    Raises:
        InvalidInputError: No specification says it: a layer is told by its attributes, its
            arguments are no JSON, or it needs artifacts.
        CorruptObjectError: It is no such document, or a damaged one.
    """
    tree = load_json(parse(text).text)
    if tree.get("artifacts"):
        _refuse("it needs artifacts")
    base, *wrappers = (_layer(tree["base"], "its base"), *map(_wrapper, tree["wrappers"]))
    order_enforce = bool(wrappers) and wrappers[0] == (_ORDER, {})
    rest = wrappers[order_enforce:]
    limit = None
    if rest and rest[0][0] == _LIMIT and rest[0][1].keys() == {"max_episode_steps"}:
        limit = rest.pop(0)[1]["max_episode_steps"]
    entry_point, kwargs = base
    known = _registered(entry_point, kwargs, limit)
    told = {
        "id": known.id if known else entry_point.rpartition(":")[2],
        "entry_point": entry_point,
        "reward_threshold": known.reward_threshold if known else None,
        "nondeterministic": known.nondeterministic if known else False,
        "max_episode_steps": limit,
        "order_enforce": order_enforce,
        "disable_env_checker": False,
        "kwargs": kwargs,
        "additional_wrappers": [
            {"name": entry.rpartition(":")[2], "entry_point": entry, "kwargs": given}
            for entry, given in rest
        ],
        "vector_entry_point": None,
    }
    return json.dumps(told)


def _wrapper(node: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return _layer(node, "a wrapper")


def _layer(node: Mapping[str, Any], what: str) -> tuple[str, dict[str, Any]]:
    """The entry point that makes a layer, and its arguments."""
    if node["kind"] != "recipe" or node.get("overrides"):
        _refuse(f"{what} is told by its attributes, not by its arguments alone")
    if tags.FUNCTION in node["make"]:
        _refuse(f"{what} is made by a function, which may make several layers")
    name: str = node["make"][tags.TYPE]
    if node.get("args"):
        _refuse(f"'{name}' has arguments without names")
    module, _, qualname = name.rpartition(".")
    return f"{module}:{qualname}", {
        key: _json(value, f"'{key}' of '{name}'") for key, value in node.get("kwargs", {}).items()
    }


def _json(value: Any, what: str) -> Any:
    """An argument as JSON has it."""
    if isinstance(value, list):
        return [_json(part, what) for part in value]
    if not isinstance(value, dict):
        return value
    if any(key.startswith(("py/", tags.JSON_KEY)) for key in value):
        _refuse(f"{what} is nothing that JSON has")
    return {key: _json(part, what) for key, part in value.items()}


def _registered(entry_point: str, kwargs: Mapping[str, Any], limit: int | None) -> EnvSpec | None:
    """What gymnasium has registered of a class: the nearest, of these the newest."""
    module, _, name = entry_point.partition(":")
    found = []
    for spec in registry.values():
        given = spec.entry_point
        if not isinstance(given, str):
            continue
        package, _, its_name = given.partition(":")
        if its_name == name and (module == package or module.startswith(f"{package}.")):
            found.append(spec)

    def nearness(spec: EnvSpec) -> tuple[bool, bool, int]:
        return spec.kwargs == kwargs, spec.max_episode_steps == limit, spec.version or 0

    return max(found, key=nearness, default=None)


def _refuse(why: str) -> NoReturn:
    raise InvalidInputError(f"no specification of gymnasium's says what the environment is: {why}")
