"""What a layer holds, leaf by leaf: path and text of each, and what differs between two.

Invariant: nothing is reset, stepped or changed here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tupli_repo.codec.env.attributes import (
    LAYER_BOOKKEEPING,
    has_own_state,
    is_named,
    stored_attributes,
    stored_state,
)
from tupli_repo.codec.env.flattened import ComparingPickler
from tupli_repo.codec.env.recipe import AnyEnv, Plan, path_of
from tupli_repo.codec.env.values.handlers import VALUE_TYPES

_GROWING = frozenset({"dict", "list", "namedtuple", "tuple"}) | {
    name for name, value_type in VALUE_TYPES.items() if value_type.holds
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaves:
    """What one layer holds: path -> text, and the paths at which something renders."""

    texts: Mapping[str, str]
    rendering: frozenset[str]


def held_by_layer(
    layer: AnyEnv, index: int, plan: Plan, *, as_state: bool
) -> tuple[dict[str, Any], bool]:
    """Return what a layer holds by name, and whether its own ``__getstate__`` said so."""
    if as_state and has_own_state(type(layer)):
        state = stored_state(layer, path_of(index), plan.exclude)
        return (state if isinstance(state, dict) else {"": state}), True
    leave_out = LAYER_BOOKKEEPING - ({"render_mode"} if plan.keeps_render_mode else set())
    if as_state:
        leave_out -= {"_saved_kwargs"}
    return dict(
        stored_attributes(
            layer,
            path_of(index),
            exclude=plan.exclude,
            leave_out=leave_out,
            by_hand=plan.by_hand.get(index, frozenset()),
        )
    ), False


def leaves_of(layers: Sequence[AnyEnv], plan: Plan) -> list[Leaves]:
    """Return what each layer holds, one item per layer."""
    found = []
    told = plan.snapshot_layers()
    for index, layer in enumerate(layers):
        pickler = ComparingPickler(layers=layers, exclude=plan.exclude)
        held, _ = held_by_layer(layer, index, plan, as_state=index in told)
        pickler.attributes(sorted(held.items()), path_of(index))
        found.append(Leaves(texts=pickler.leaves, rendering=frozenset(pickler.rendering)))
    return found


def differing(ours: Leaves, theirs: Leaves) -> set[str]:
    """Return the paths at which two layers do not hold the same."""
    if ours.texts == theirs.texts:
        return set()
    paths = ours.texts.keys() | theirs.texts.keys()
    return {path for path in paths if ours.texts.get(path) != theirs.texts.get(path)}


def attribute_names(paths: set[str], index: int) -> set[str]:
    """Return the names of the layer's attributes that these paths lie in."""
    start = len(path_of(index)) + 1
    return {path[start:].partition("/")[0] for path in paths}


def layer_index(path: str) -> int:
    """Return in which layer a path lies.

    >>> layer_index("/base/wrappers"), layer_index("/wrappers/1/func")
    (0, 2)
    """
    parts = path.split("/")
    return int(parts[2]) + 1 if parts[1] == "wrappers" else 0


def named_paths(layers: Sequence[AnyEnv], plan: Plan, globs: Sequence[str]) -> frozenset[str]:
    """Return the paths in ``layers`` that a glob of the user's covers."""
    if not globs:
        return frozenset()
    return frozenset(
        prefix
        for index, leaves in enumerate(leaves_of(layers, plan))
        for path in leaves.texts
        for prefix in path_prefixes(path, index)
        if not prefix.endswith("/@") and is_named(prefix, path_of(index), globs)
    )


def path_prefixes(path: str, index: int) -> Iterator[str]:
    """Yield the paths from a layer's attribute down to ``path``."""
    at = len(path_of(index))
    while (at := path.find("/", at + 1)) != -1:
        yield path[:at]
    yield path


def widened(path: str, ours: Leaves, theirs: Leaves, index: int) -> str:
    """Return the container that grew or shrank where ``path`` is in one of both only."""
    if path in ours.texts and path in theirs.texts:
        return path
    if path.endswith("/@"):
        return path[:-2]
    parent = path.rpartition("/")[0]
    kind = ours.texts.get(f"{parent}/@") or theirs.texts.get(f"{parent}/@")
    return parent if parent != path_of(index) and kind in _GROWING else path


def covered(path: str, volatile: set[str]) -> bool:
    """Say whether a path lies at, in or around one that running changes."""
    if path in volatile:
        return True
    return any(path.startswith(f"{v}/") or v.startswith(f"{path}/") for v in volatile)
