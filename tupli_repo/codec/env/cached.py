"""Values of cached properties: computed ones say nothing, those that somebody set do.

Invariant: a value that a fresh private copy computes too is no configuration. One that somebody set
is stored where a layer holds it, and refused in its parts.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tupli_repo.codec.env.attributes import is_cached_property, is_excluded, raw_attributes
from tupli_repo.codec.env.episodes import play_an_episode, reset
from tupli_repo.codec.env.flattened import ComparingPickler
from tupli_repo.codec.env.leaves import held_by_layer
from tupli_repo.codec.env.recipe import AnyEnv, Plan, layers_of, path_of
from tupli_repo.errors import EncodingError


def set_by_hand(
    plan: Plan, overrides: Mapping[int, Mapping[str, Any]], *, probe: bool
) -> dict[int, frozenset[str]]:
    """Return, by layer, the cached properties whose value no copy computes.

    What depends on the episode in which it was computed is not among them.

    Args:
        plan: Its live layers hold the values.
        overrides: What the copies are given, as it may be computed from that.
        probe: Whether copies may be reset and stepped.
    """
    held = {
        index: {
            name: value
            for name, value in raw_attributes(layer).items()
            if is_cached_property(type(layer), name)
            and not is_excluded(name, f"{path_of(index)}/{name}", plan.exclude)
        }
        for index, layer in enumerate(plan.live)
    }
    held = {index: values for index, values in held.items() if values}
    if not held:
        return {}
    copies = [plan.rebuild(overrides) for _ in range(4 if probe else 1)]
    found: dict[int, frozenset[str]] = {}
    for number, private in enumerate(copies):
        _forget(private, held)
        _use(private, number)
    for index, values in held.items():
        names = set()
        for name, value in values.items():
            computed = [_computed(layers_of(private)[index], name) for private in copies]
            known = [text for text in computed if text is not None]
            agree = all(text == known[0] for text in known)
            if agree and _texts(value) not in known:
                names.add(name)
        if names:
            found[index] = frozenset(names)
    return found


def refuse_set_in_parts(
    plan: Plan, overrides: Mapping[int, Mapping[str, Any]], *, probe: bool
) -> None:
    """Check that no part of a layer holds a cached property that somebody set.

    A value that has parts of its own is passed over: it may tell more than was computed.

    Args:
        plan: See `set_by_hand`, as for the others.
        overrides: See there.
        probe: See there.

    Raises:
        EncodingError: One does; the message names it.
    """
    held = {}
    for path, (part, name) in _places(plan.live, plan).items():
        text = _texts_of_plain(vars(part)[name]) if name in vars(part) else None
        if text is not None:
            held[path] = text
    if not held:
        return
    known: dict[str, list[dict[str, str]]] = {path: [] for path in held}
    for number in range(4 if probe else 1):
        private = plan.rebuild(overrides)
        _use(private, number)
        places = _places(layers_of(private), plan)
        for path in held.keys() & places.keys():
            part, name = places[path]
            vars(part).pop(name, None)
            text = _computed(part, name)
            if text is not None:
                known[path].append(text)
    for path, text in sorted(held.items()):
        if known[path] and all(other == known[path][0] != text for other in known[path]):
            raise EncodingError(
                f"'{path}' cannot be stored: it was set by hand, and a loaded environment would"
                " compute it",
                hint="change what it is computed from, or delete what was set",
            )


class _Parts(ComparingPickler):
    """Takes note of the cached properties that the parts of an environment have, by path."""

    def __init__(self, *, layers: Sequence[object] = (), exclude: Sequence[str] = ()) -> None:
        super().__init__(layers=layers, exclude=exclude)
        self.places: dict[str, tuple[Any, str]] = {}
        self.are_values = True

    def _instance(self, value: Any, path: str) -> Any:
        self.are_values = False
        return super()._instance(value, path)

    def _held(self, value: Any, path: str) -> Iterator[tuple[str, Any]]:
        for name in {name for base in type(value).__mro__ for name in vars(base)}:
            if is_cached_property(type(value), name):
                self.places[f"{path}/{name}"] = (value, name)
        return super()._held(value, path)


def _places(layers: Sequence[AnyEnv], plan: Plan) -> dict[str, tuple[Any, str]]:
    """Return the cached properties of the parts: path -> part and name."""
    parts = _Parts(layers=layers, exclude=plan.exclude)
    told = plan.snapshot_layers()
    for index, layer in enumerate(layers):
        held, _ = held_by_layer(layer, index, plan, as_state=index in told)
        parts.attributes(sorted(held.items()), path_of(index))
    return parts.places


def _texts_of_plain(value: object) -> dict[str, str] | None:
    parts = _Parts()
    parts.node(value, "")
    return parts.leaves if parts.are_values else None


def _use(private: AnyEnv, number: int) -> None:
    """Do to copies what may change what they compute: nothing, a reset, another, an episode."""
    with suppress(EncodingError):  # it may raise; then it is looked at as it is
        if number == 3:
            play_an_episode(private, seed=number)
        elif number:
            reset(private, seed=number)


def _forget(private: AnyEnv, held: Mapping[int, Mapping[str, Any]]) -> None:
    layers = layers_of(private)
    for index, values in held.items():
        for name in values:
            vars(layers[index]).pop(name, None)


def _computed(holder: object, name: str) -> dict[str, str] | None:
    try:
        return _texts(getattr(holder, name))
    except Exception:  # noqa: BLE001 - it may raise anything; then it says nothing
        return None


def _texts(value: object) -> dict[str, str]:
    pickler = ComparingPickler()
    pickler.node(value, "")
    return pickler.leaves
