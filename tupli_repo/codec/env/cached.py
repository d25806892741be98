"""Values of cached properties: computed ones say nothing, those that somebody set do.

Invariant: a value that a fresh private copy computes too is no configuration.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tupli_repo.codec.env.attributes import is_cached_property, is_excluded, raw_attributes
from tupli_repo.codec.env.canonical import ComparingPickler
from tupli_repo.codec.env.recipe import AnyEnv, Plan, layers_of, path_of


def set_by_hand(
    plan: Plan, overrides: Mapping[int, Mapping[str, Any]], *, probe: bool
) -> dict[int, frozenset[str]]:
    """Return, by layer, the cached properties whose value no copy computes.

    What depends on the episode in which it was computed is not among them.

    Args:
        plan: Its live layers hold the values.
        overrides: What the copies are given, as it may be computed from that.
        probe: Whether copies may be reset.
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
    copies = [plan.rebuild(overrides) for _ in range(3 if probe else 1)]
    found: dict[int, frozenset[str]] = {}
    for number, private in enumerate(copies):
        _forget(private, held)
        with suppress(Exception):  # it may raise anything; then it is looked at as it was made
            if number:
                private.reset(seed=number)
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


def _forget(private: AnyEnv, held: Mapping[int, Mapping[str, Any]]) -> None:
    layers = layers_of(private)
    for index, values in held.items():
        for name in values:
            vars(layers[index]).pop(name, None)


def _computed(layer: AnyEnv, name: str) -> dict[str, str] | None:
    try:
        return _texts(getattr(layer, name))
    except Exception:  # noqa: BLE001 - it may raise anything; then it says nothing
        return None


def _texts(value: object) -> dict[str, str]:
    pickler = ComparingPickler()
    pickler.node(value, "")
    return pickler.leaves
