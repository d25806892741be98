"""The audit of a document: its structure and every name in it, with nothing imported.

Invariant: a tree that passes holds only the nodes this package writes, and ``wanted_names`` lists
every class and function that decoding it would look up. Imports no third party's module.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.attributes import LAYER_BOOKKEEPING
from tupli_repo.codec.env.canonical import ENUM, LAYER
from tupli_repo.codec.env.document import FORMAT, MAX_DEPTH, EnvDocument, load_json, one_line
from tupli_repo.codec.env.values.handlers import VALUE_TYPES
from tupli_repo.codec.trust import NameKind, TrustPolicy, is_default, is_dotted_name
from tupli_repo.errors import CorruptObjectError, InvalidInputError

FROZENSET = "builtins.frozenset"
"""The one ``py/object`` besides the value types that needs no name."""

ALONE = (tags.TUPLE, tags.SET, tags.B64, tags.ID, tags.TYPE, tags.FUNCTION)
"""Tags that are the only key of their node."""

_PRIMARY = (*ALONE, tags.OBJECT)
_KEY_OBJECTS = (FROZENSET, "builtins.float", "numpy.generic")
_NOTHING = frozenset[str]()
_NOT_STATED = (LAYER_BOOKKEEPING - {"_saved_kwargs", "render_mode"}) | {
    "_cached_spec",
    "_np_random",
    "_np_random_seed",
    "spec",  # from one, gymnasium and the encoder import and call what its text says
}
"""What no layer's attributes state: a recipe or the order of the layers does, or nothing."""

_RECIPE_KEYS = frozenset({"args", "kind", "kwargs", "make", "overrides"})
_ARTIFACT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}", re.ASCII)
_ANY_TEXT = re.compile(r".{1,1000}", re.DOTALL)
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
    wanted_names(tree)
    return EnvDocument(text=text, artifacts=tuple(tree.get("artifacts", ())))


def wanted_names(tree: Any) -> list[WantedName]:
    """Return every name a parsed document would bring to life.

    Raises:
        CorruptObjectError: It holds a node that this package does not write.
    """
    audit = _Audit()
    audit.document(tree)
    return audit.wanted


def untrusted_names(text: str, trust: TrustPolicy | Iterable[str | type] = ()) -> list[str]:
    """Return the names in a document that nobody vouched for, sorted; nothing is imported.

    Args:
        text: An environment document, as ``Benchmark.serialized`` holds it.
        trust: A policy, or the names that are trusted besides the defaults.

    Raises:
        CorruptObjectError: It is not one of ours, or damaged.
        InvalidInputError: ``text`` is none, or a name to trust is malformed.
    """
    if not isinstance(text, str):
        raise InvalidInputError(
            f"a document is text, not a '{type(text).__qualname__}'",
            hint="it is in Benchmark.serialized",
        )
    policy = trust if isinstance(trust, TrustPolicy) else TrustPolicy(trust)
    document = parse(text)
    return untrusted(wanted_names(load_json(text)), policy, document=document.sha256)


def untrusted(wanted: list[WantedName], trust: TrustPolicy, *, document: str) -> list[str]:
    """Return the names among ``wanted`` that ``trust`` does not hold, sorted."""
    refused = (w.name for w in wanted if not trust.allows(w.name, w.kind, document=document))
    return sorted(set(refused))


# ---- the fixed frame -----------------------------------------------------------------------------


class _Audit:
    """One walk over a tree; ``wanted`` fills with the names in the order they are met."""

    def __init__(self) -> None:
        self.wanted: list[WantedName] = []
        self._path: list[str] = []
        self._level = 0
        self._is_called = False

    def document(self, tree: Any) -> None:
        """Walk the whole document.

        Raises:
            CorruptObjectError: It holds a node that this package does not write.
        """
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            raise CorruptObjectError(
                "this is not an environment document", hint=f'one carries \'"format":"{FORMAT}"\''
            )
        self._only(tree, {"artifacts", "base", "format", "volatile", "wrappers"})
        if "artifacts" in tree:
            self._texts("artifacts", tree["artifacts"], _ARTIFACT_ID, "a list of ids expected")
        if "volatile" in tree:
            self._texts("volatile", tree["volatile"], _ANY_TEXT, "a list of texts expected")
        with self._at("base"):
            self._layer(tree.get("base"), NameKind.ENV)
        with self._at("wrappers"):
            for i, layer in enumerate(self._list(tree.get("wrappers"))):
                with self._at(i):
                    self._layer(layer, NameKind.WRAPPER)

    def _texts(self, name: str, found: Any, pattern: re.Pattern[str], why: str) -> None:
        with self._at(name):
            if type(found) is not list or not found:
                self._refuse(why)
            if any(type(text) is not str or pattern.fullmatch(text) is None for text in found):
                self._refuse(why)

    def _layer(self, layer: Any, kind: NameKind) -> None:
        if type(layer) is not dict:
            self._refuse("a layer expected")
        if layer.get("kind") == "recipe":
            self._only(layer, _RECIPE_KEYS)
            with self._at("make"):
                self._maker(layer.get("make"), kind)
            if "args" in layer:
                with self._at("args"):
                    self._nodes(layer["args"])
            for part in ("kwargs", "overrides"):
                if part in layer:
                    with self._at(part):
                        self._named(layer[part], _NOT_STATED if part == "overrides" else _NOTHING)
            return
        if layer.get("kind") != "snapshot":
            self._refuse("neither a recipe nor a snapshot")
        self._only(layer, {"attributes", "class", "kind", "state"})
        if ("attributes" in layer) == ("state" in layer):
            self._refuse("either attributes or a state expected")
        with self._at("class"):
            self._type(layer.get("class"), kind)
        if "state" in layer:
            with self._at("state"):
                if type(layer["state"]) is not dict:
                    self._refuse("an object expected")
                self._plain_dict(layer["state"])
        else:
            with self._at("attributes"):
                self._named(layer["attributes"], _NOT_STATED)

    def _maker(self, node: Any, kind: NameKind) -> None:
        if type(node) is dict and set(node) == {tags.FUNCTION}:
            name = self._want(node[tags.FUNCTION], NameKind.FUNCTION)
            if is_default(name, NameKind.FUNCTION):
                self._refuse(f"'{name}' makes no environment")
        else:
            self._type(node, kind)

    def _type(self, node: Any, kind: NameKind) -> None:
        if type(node) is not dict or set(node) != {tags.TYPE}:
            self._refuse("a class expected")
        self._want(node[tags.TYPE], kind)

    def _named(self, held: Any, not_stated: frozenset[str]) -> None:
        if type(held) is not dict:
            self._refuse("an object expected")
        for name, node in held.items():
            if not is_attribute(name) or name in not_stated:
                self._refuse(f"'{name[:40]}' is not the name of an attribute")
            with self._at(name):
                self._node(node)

    def _only(self, node: Mapping[str, Any], allowed: set[str] | frozenset[str]) -> None:
        stray = sorted(set(node) - allowed)
        if stray:
            self._refuse(f"'{stray[0][:40]}' has no place here")

    # ---- nodes -----------------------------------------------------------------------------------

    def _nodes(self, parts: Any) -> None:
        for i, part in enumerate(self._list(parts)):
            if type(part) is list or type(part) is dict:
                with self._at(i):
                    self._node(part)

    def _node(self, node: Any) -> None:
        self._level += 1
        if self._level > MAX_DEPTH + 10:  # a key is a text of its own, within the limit by itself
            self._refuse(f"nested deeper than {MAX_DEPTH}")
        if type(node) is list:
            self._nodes(node)
        elif type(node) is dict:
            self._tagged(node)
        self._level -= 1

    def _tagged(self, node: dict[str, Any]) -> None:
        primary = [key for key in _PRIMARY if key in node]
        if not primary:
            self._plain_dict(node)
            return
        if len(primary) > 1 or (primary[0] in ALONE and len(node) != 1):
            self._refuse("tags that exclude each other")
        tag, content = primary[0], node[primary[0]]
        if tag == tags.TUPLE:
            self._nodes(content)
        elif tag == tags.SET:
            self._hashed(content)
        elif tag == tags.B64:
            if type(content) is not str or not _is_base64(content):
                self._refuse("not base64")
        elif tag == tags.ID:
            if type(content) is not int or content < 0:
                self._refuse("not a reference")
        elif tag == tags.TYPE:
            self._want(content, NameKind.CALLED if self._is_called else NameKind.TYPE)
        elif tag == tags.FUNCTION:
            self._want(content, NameKind.FUNCTION)
        else:
            self._object(content, node)

    def _plain_dict(self, node: Mapping[str, Any]) -> None:
        for key, value in node.items():
            if key.startswith("py/"):
                self._refuse(f"the tag '{key[:40]}' has no use here")
            if key.startswith(tags.JSON_KEY):
                with self._at("<key>"):
                    self._hashed([load_json(key[len(tags.JSON_KEY) :])])
            if type(value) is list or type(value) is dict:
                with self._at(key[:40]):
                    self._node(value)

    def _hashed(self, nodes: Any) -> None:
        """Walk what will be a key or an element of a set, so neither a list nor a dict."""
        for node in self._list(nodes):
            if type(node) is list or (type(node) is dict and not _may_be_key(node)):
                self._refuse("what cannot be a key or an element")
            self._node(node)

    def _object(self, name: Any, node: Mapping[str, Any]) -> None:
        fields = {key: value for key, value in node.items() if key != tags.OBJECT}
        if name == LAYER:
            if set(fields) != {"index"} or type(fields["index"]) is not int or fields["index"] < 0:
                self._refuse("not a layer")
            return
        if name == FROZENSET:
            if set(fields) != {"items"}:
                self._refuse("not a frozenset")
            self._hashed(fields["items"])
            return
        if isinstance(name, str) and name in VALUE_TYPES:
            if not VALUE_TYPES[name].accepts(set(fields)):
                self._refuse(f"not the fields of '{name}'")
            outside = self._is_called
            for field, value in fields.items():
                self._is_called = outside or field in VALUE_TYPES[name].calls
                with self._at(field):
                    self._node(value)
            self._is_called = outside
            return
        self._want(name, NameKind.OBJECT)
        if ENUM in fields:
            if len(fields) != 1 or type(fields[ENUM]) is not str:
                self._refuse("not a member of an enum")
        elif tags.NEWARGS in fields:
            parts = fields[tags.NEWARGS]
            if len(fields) != 1 or type(parts) is not dict or set(parts) != {tags.TUPLE}:
                self._refuse("not a named tuple")
            self._node(parts)
        elif tags.STATE in fields:
            if len(fields) != 1:
                self._refuse("attributes beside a state")
            self._node(fields[tags.STATE])
        else:
            self._named(fields, _NOTHING)

    # ---- pieces ----------------------------------------------------------------------------------

    @contextmanager
    def _at(self, part: str | int) -> Iterator[None]:
        self._path.append(str(part))
        yield
        self._path.pop()

    def _list(self, parts: Any) -> list[Any]:
        if type(parts) is not list:
            self._refuse("a list expected")
        return parts

    def _want(self, name: Any, kind: NameKind) -> str:
        if type(name) is not str or not is_dotted_name(name):
            self._refuse("not the dotted name of a class or function")
        self.wanted.append(WantedName(name=name, kind=kind, path=self._here))
        return name

    @property
    def _here(self) -> str:
        return "".join(f"/{part}" for part in self._path)

    def _refuse(self, why: str) -> NoReturn:
        where = one_line(self._here or "/")
        raise CorruptObjectError(f"the document is damaged at '{where}': {one_line(why)}")


def is_attribute(name: str) -> bool:
    """Say whether ``name`` may be that of an attribute: dunders steer protocols, not data."""
    dunder = name.startswith("__") and name.endswith("__")
    return name.isidentifier() and not dunder and len(name) <= 300


def _is_base64(text: str) -> bool:
    """Say whether ``text`` is what bytes are written as: the bits its end leaves over are zero."""
    if len(text) % 4 or _BASE64.fullmatch(text) is None:
        return False
    end = text[-4:].encode("ascii")
    try:
        return base64.b64encode(base64.b64decode(end, validate=True)) == end
    except binascii.Error:
        return False


def _may_be_key(node: Mapping[str, Any]) -> bool:
    if tags.OBJECT in node:
        return ENUM in node or node[tags.OBJECT] in _KEY_OBJECTS
    return tags.TUPLE in node or tags.B64 in node
