"""The audit of a document: its structure and every name in it, with nothing imported.

Invariant: a tree that passes holds only the nodes this package writes, and ``wanted_names`` lists
every class and function that decoding it would look up. Imports no third party's module.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.canonical import ENUM, LAYER
from tupli_repo.codec.env.document import FORMAT, EnvDocument, load_json
from tupli_repo.codec.env.handlers import VALUE_TYPES
from tupli_repo.codec.trust import NameKind, TrustPolicy, is_dotted_name
from tupli_repo.errors import CorruptObjectError

FROZENSET = "builtins.frozenset"
"""The one ``py/object`` besides the value types that needs no name."""

ALONE = (tags.TUPLE, tags.SET, tags.B64, tags.ID, tags.TYPE, tags.FUNCTION)
"""Tags that are the only key of their node."""

_PRIMARY = (*ALONE, tags.OBJECT)
_RECIPE_KEYS = frozenset({"args", "kind", "kwargs", "make", "overrides"})
_ARTIFACT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedName:
    """A class or function that a document names.

    Args:
        name: Its dotted name.
        kind: What it is wanted for.
        path: Where in the document.
    """

    name: str
    kind: NameKind
    path: str


def parse(text: str) -> EnvDocument:
    """Return the document whose text this is, its structure checked, nothing imported.

    Raises:
        CorruptObjectError: It is not one of ours, or damaged.
    """
    tree = load_json(text)
    for _ in _wanted(tree):
        pass
    return EnvDocument(text=text, artifacts=tuple(tree.get("artifacts", ())))


def wanted_names(tree: Any) -> list[WantedName]:
    """Return every name a parsed document would bring to life.

    Raises:
        CorruptObjectError: It holds a node that this package does not write.
    """
    return list(_wanted(tree))


def untrusted_names(text: str, trust: TrustPolicy) -> list[str]:
    """Return the names in a document that ``trust`` does not hold, sorted; nothing is imported.

    Raises:
        CorruptObjectError: It is not one of ours, or damaged.
    """
    document = parse(text)
    return untrusted(wanted_names(load_json(text)), trust, document=document.sha256)


def untrusted(wanted: list[WantedName], trust: TrustPolicy, *, document: str) -> list[str]:
    """Return the names among ``wanted`` that ``trust`` does not hold, sorted."""
    refused = (w.name for w in wanted if not trust.allows(w.name, w.kind, document=document))
    return sorted(set(refused))


# ---- the fixed frame -----------------------------------------------------------------------------


def _wanted(tree: Any) -> Iterator[WantedName]:
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise CorruptObjectError(
            "this is not an environment document", hint=f'one carries \'"format":"{FORMAT}"\''
        )
    _only(tree, {"artifacts", "base", "format", "wrappers"}, "")
    if "artifacts" in tree:
        _check_artifacts(tree["artifacts"])
    yield from _layer(tree.get("base"), "/base", NameKind.ENV)
    wrappers = tree.get("wrappers")
    if type(wrappers) is not list:
        _refuse("/wrappers", "a list expected")
    for i, layer in enumerate(wrappers):
        yield from _layer(layer, f"/wrappers/{i}", NameKind.WRAPPER)


def _check_artifacts(artifacts: Any) -> None:
    if type(artifacts) is not list or not artifacts:
        _refuse("/artifacts", "a list of ids expected")
    for artifact in artifacts:
        if type(artifact) is not str or _ARTIFACT_ID.fullmatch(artifact) is None:
            _refuse("/artifacts", "not an id")


def _layer(layer: Any, path: str, kind: NameKind) -> Iterator[WantedName]:
    if type(layer) is not dict:
        _refuse(path, "a layer expected")
    if layer.get("kind") == "recipe":
        _only(layer, _RECIPE_KEYS, path)
        yield _maker(layer.get("make"), f"{path}/make", kind)
        if "args" in layer:
            if type(layer["args"]) is not list:
                _refuse(f"{path}/args", "a list expected")
            yield from _nodes(layer["args"], f"{path}/args")
        for part in ("kwargs", "overrides"):
            if part in layer:
                yield from _named(layer[part], f"{path}/{part}")
        return
    if layer.get("kind") != "snapshot":
        _refuse(path, "neither a recipe nor a snapshot")
    _only(layer, {"attributes", "class", "kind", "state"}, path)
    if ("attributes" in layer) == ("state" in layer):
        _refuse(path, "either attributes or a state expected")
    yield _type(layer.get("class"), f"{path}/class", kind)
    if "state" in layer:
        if type(layer["state"]) is not dict:
            _refuse(f"{path}/state", "an object expected")
        yield from _plain_dict(layer["state"], f"{path}/state")
    else:
        yield from _named(layer["attributes"], f"{path}/attributes")


def _maker(node: Any, path: str, kind: NameKind) -> WantedName:
    if type(node) is dict and set(node) == {tags.FUNCTION}:
        return WantedName(name=_name(node[tags.FUNCTION], path), kind=NameKind.FUNCTION, path=path)
    return _type(node, path, kind)


def _type(node: Any, path: str, kind: NameKind) -> WantedName:
    if type(node) is not dict or set(node) != {tags.TYPE}:
        _refuse(path, "a class expected")
    return WantedName(name=_name(node[tags.TYPE], path), kind=kind, path=path)


def _named(held: Any, path: str) -> Iterator[WantedName]:
    if type(held) is not dict:
        _refuse(path, "an object expected")
    for name, node in held.items():
        _check_attribute(name, path)
        yield from _node(node, f"{path}/{name}")


def _check_attribute(name: str, path: str) -> None:
    dunder = name.startswith("__") and name.endswith("__")
    if not name.isidentifier() or dunder or len(name) > 300:
        _refuse(path, f"'{name[:40]}' is not the name of an attribute")


def _only(node: Mapping[str, Any], allowed: set[str] | frozenset[str], path: str) -> None:
    stray = sorted(set(node) - allowed)
    if stray:
        _refuse(path or "/", f"'{stray[0][:40]}' has no place here")


# ---- nodes ---------------------------------------------------------------------------------------


def _nodes(parts: Any, path: str) -> Iterator[WantedName]:
    if type(parts) is not list:
        _refuse(path, "a list expected")
    for i, part in enumerate(parts):
        yield from _node(part, f"{path}/{i}")


def _node(node: Any, path: str) -> Iterator[WantedName]:
    if type(node) is list:
        yield from _nodes(node, path)
        return
    if type(node) is not dict:
        return
    primary = [key for key in node if key in _PRIMARY]
    if not primary:
        yield from _plain_dict(node, path)
        return
    if len(primary) > 1 or (primary[0] in ALONE and len(node) != 1):
        _refuse(path, "tags that exclude each other")
    tag, content = primary[0], node[primary[0]]
    if tag in (tags.TUPLE, tags.SET):
        yield from _nodes(content, path)
    elif tag == tags.B64:
        if type(content) is not str or _BASE64.fullmatch(content) is None:
            _refuse(path, "not base64")
    elif tag == tags.ID:
        if type(content) is not int or content < 0:
            _refuse(path, "not a reference")
    elif tag == tags.TYPE:
        yield WantedName(name=_name(content, path), kind=NameKind.TYPE, path=path)
    elif tag == tags.FUNCTION:
        yield WantedName(name=_name(content, path), kind=NameKind.FUNCTION, path=path)
    else:
        yield from _object(content, node, path)


def _plain_dict(node: Mapping[str, Any], path: str) -> Iterator[WantedName]:
    for key, value in node.items():
        if key.startswith("py/"):
            _refuse(path, f"the tag '{key[:40]}' has no use here")
        if key.startswith(tags.JSON_KEY):
            yield from _node(load_json(key[len(tags.JSON_KEY) :]), f"{path}/<key>")
        yield from _node(value, f"{path}/{key[:40]}")


def _object(name: Any, node: Mapping[str, Any], path: str) -> Iterator[WantedName]:
    fields = {key: value for key, value in node.items() if key != tags.OBJECT}
    if name == LAYER:
        if set(fields) != {"index"} or type(fields["index"]) is not int or fields["index"] < 0:
            _refuse(path, "not a layer")
        return
    if name == FROZENSET:
        if set(fields) != {"items"}:
            _refuse(path, "not a frozenset")
        yield from _nodes(fields["items"], path)
        return
    if isinstance(name, str) and name in VALUE_TYPES:
        if not VALUE_TYPES[name].accepts(set(fields)):
            _refuse(path, f"not the fields of '{name}'")
        for field, value in fields.items():
            yield from _node(value, f"{path}/{field}")
        return
    yield WantedName(name=_name(name, path), kind=NameKind.OBJECT, path=path)
    if ENUM in fields:
        if len(fields) != 1 or type(fields[ENUM]) is not str:
            _refuse(path, "not a member of an enum")
    elif tags.NEWARGS in fields:
        parts = fields[tags.NEWARGS]
        if len(fields) != 1 or type(parts) is not dict or set(parts) != {tags.TUPLE}:
            _refuse(path, "not a named tuple")
        yield from _node(parts, path)
    elif tags.STATE in fields:
        if len(fields) != 1:
            _refuse(path, "attributes beside a state")
        yield from _node(fields[tags.STATE], path)
    else:
        yield from _named(fields, path)


def _name(name: Any, path: str) -> str:
    if type(name) is not str or not is_dotted_name(name):
        _refuse(path, "not the dotted name of a class or function")
    return name


def _refuse(path: str, why: str) -> NoReturn:
    raise CorruptObjectError(f"the document is damaged at '{path[:200]}': {why}")
