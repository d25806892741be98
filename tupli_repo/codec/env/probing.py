"""What of an environment is configuration, and what an episode or its use leaves behind.

Invariant: only private copies are reset, stepped and closed here; the live environment is read.
What changes when a copy runs is *volatile* and no part of the document, and what a reset
overwrites is not configuration either.
"""

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from tupli_repo.codec.env.attributes import (
    LAYER_BOOKKEEPING,
    has_own_state,
    is_data_name,
    is_named,
    raw_attributes,
    stored_attributes,
    usually_volatile,
)
from tupli_repo.codec.env.canonical import ComparingPickler
from tupli_repo.codec.env.recipe import AnyEnv, Plan, layers_of, path_of, plan_layers
from tupli_repo.codec.env.snapshot import hides_method
from tupli_repo.codec.env.values.handlers import VALUE_TYPES
from tupli_repo.errors import EncodingError

Overrides = dict[int, dict[str, Any]]

_GROWING = frozenset({"dict", "list", "namedtuple", "tuple"}) | {
    name for name, value_type in VALUE_TYPES.items() if value_type.holds
}
_SHORT_RUN = 3
_LONG_RUN = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaves:
    """What one layer holds: path -> text, and the paths at which something renders."""

    texts: Mapping[str, str]
    rendering: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What of an environment is configuration.

    Args:
        plan: How its layers are made again.
        overrides: What differs then, by layer.
        volatile: What episodes change, paths by layer.
        notes: What to warn about.
    """

    plan: Plan
    overrides: Overrides
    volatile: Sequence[set[str]]
    notes: tuple[str, ...] = ()

    def copy(self, *, by_state: bool = True) -> AnyEnv:
        """Return a private environment with this configuration, not yet reset."""
        return self.plan.rebuild(self.overrides, by_state=by_state)


class _EndsOnCue(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Ends an episode when told, so that a short probe sees what the end of an episode changes."""

    ends = False

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, bool(terminated or self.ends), bool(truncated), info


def configuration_of(
    env: AnyEnv, *, exclude: Sequence[str], probe: bool, volatile: Sequence[str]
) -> Configuration:
    """Return what of ``env`` is configuration; see ``encode`` for the arguments.

    Raises:
        EncodingError: It cannot be told, or a copy does not run.
    """
    plan = plan_layers(env, exclude=exclude)
    told = plan.snapshot_layers()
    if told and not probe and not volatile:
        raise EncodingError(
            f"'{path_of(min(told))}' is told by its attributes, and without probing nobody knows"
            " which of them an episode changes",
            hint="name them: volatile=['state', 'step_count']; or leave probe=True",
        )
    if not probe:
        moving = _find_undetermined(plan)
    elif len(told) == len(plan.live):
        moving = [set() for _ in plan.live]
    else:
        moving = find_volatile(plan)
    overrides = find_overrides(plan, plan.live, moving, volatile)
    if probe:
        overrides = surviving_reset(plan, overrides)
    refuse_mixed(overrides, moving)
    notes = []
    if overrides and not probe:
        index, held = next(iter(overrides.items()))
        notes.append(
            f"'{path_of(index)}/{min(held)}' is not what a new environment has; without probing"
            " that counts as configuration: name it in volatile if it does not"
        )
    return Configuration(plan=plan, overrides=overrides, volatile=moving, notes=tuple(notes))


def _find_undetermined(plan: Plan) -> list[set[str]]:
    """Return, by layer, the attributes that a constructor draws, and those that wrappers count in.

    Where two fresh copies differ in a part, the whole attribute is drawn: the other parts agree by
    chance.
    """
    one, two = (leaves_of(layers_of(plan.rebuild()), plan) for _ in range(2))
    return [
        {
            f"{path_of(index)}/{name}"
            for name in attribute_names(differing(ours, theirs), index)
            | usually_volatile(type(layer))
        }
        for index, (layer, ours, theirs) in enumerate(zip(plan.live, one, two, strict=True))
    ]


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Give the program's global generators back as they were, whatever the copies draw."""
    standard, legacy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(standard)
        np.random.set_state(legacy)


def held_by_layer(
    layer: AnyEnv, index: int, plan: Plan, *, as_state: bool
) -> tuple[dict[str, Any], bool]:
    """Return what a layer holds by name, and whether its own ``__getstate__`` said so."""
    if as_state and has_own_state(type(layer)):
        state = layer.__getstate__()
        return (dict(state) if isinstance(state, dict) else {"": state}), True
    leave_out = LAYER_BOOKKEEPING - ({"render_mode"} if plan.keeps_render_mode else set())
    if as_state:
        leave_out -= {"_saved_kwargs"}
    return dict(
        stored_attributes(layer, path_of(index), exclude=plan.exclude, leave_out=leave_out)
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


def find_volatile(plan: Plan) -> list[set[str]]:
    """Return, for each layer, the paths that change when a fresh copy runs.

    Raises:
        EncodingError: The copy could not be reset or stepped.
    """
    cue: list[_EndsOnCue] = []

    def with_cue(env: AnyEnv) -> AnyEnv:
        cue.append(_EndsOnCue(env))
        return cue[0]

    env = plan.rebuild(around_base=with_cue)
    layers = [layer for layer in layers_of(env) if layer is not cue[0]]
    records = [leaves_of(layers, plan)]
    for seed, steps in enumerate((_SHORT_RUN, _SHORT_RUN, _LONG_RUN)):
        _reset(env, seed=seed)
        records.append(leaves_of(layers, plan))
        _run(env, seed=seed, steps=steps, cue=cue[0])
        records.append(leaves_of(layers, plan))
    with suppress(Exception):
        env.close()
    records.append(leaves_of(layers, plan))
    volatile: list[set[str]] = [set() for _ in layers]
    for record in records[1:]:
        for index, leaves in enumerate(record):
            first = records[0][index]
            for path in differing(first, leaves):
                volatile[index].add(_widened(path, first, leaves, index))
    return volatile


def named_paths(layers: Sequence[AnyEnv], plan: Plan, globs: Sequence[str]) -> frozenset[str]:
    """Return the paths in ``layers`` that a glob of the user's covers."""
    if not globs:
        return frozenset()
    return frozenset(
        prefix
        for index, leaves in enumerate(leaves_of(layers, plan))
        for path in leaves.texts
        for prefix in _prefixes(path, index)
        if is_named(prefix, path_of(index), globs)
    )


def find_overrides(
    plan: Plan,
    layers: Sequence[AnyEnv],
    volatile: Sequence[set[str]],
    globs: Sequence[str] = (),
) -> Overrides:
    """Return the attributes of ``layers`` that a fresh copy would not have.

    Args:
        plan: How the fresh copy is made.
        layers: The environment to tell from it, innermost first.
        volatile: Per layer, the paths to look past.
        globs: More of them, as the user names them.

    Raises:
        EncodingError: An attribute is missing.
    """
    fresh = leaves_of(layers_of(plan.rebuild()), plan)
    told = plan.snapshot_layers()
    overrides: Overrides = {}
    for index, (ours, theirs) in enumerate(zip(leaves_of(layers, plan), fresh, strict=True)):
        if index in told:
            continue
        moving = volatile[index]
        changed = {
            path
            for path in differing(ours, theirs)
            if not _covered(path, moving)
            and not any(is_named(p, path_of(index), globs) for p in _prefixes(path, index))
        }
        drawn = attribute_names(set(ours.rendering | theirs.rendering), index)
        names = attribute_names(changed, index) - drawn
        if not names:
            continue
        _check_overridable(plan, layers[index], index, names)
        held = raw_attributes(layers[index])
        overrides[index] = {name: held[name] for name in sorted(names)}
    return overrides


def surviving_reset(plan: Plan, overrides: Overrides) -> Overrides:
    """Return the overrides that are still there after a reset; the others were an episode's."""
    if not overrides:
        return {}
    changed, fresh = plan.rebuild(overrides), plan.rebuild()
    _reset(changed, seed=0)
    _reset(fresh, seed=0)
    survivors: Overrides = {}
    ours, theirs = leaves_of(layers_of(changed), plan), leaves_of(layers_of(fresh), plan)
    for index, held in overrides.items():
        still = attribute_names(differing(ours[index], theirs[index]), index)
        kept = {name: value for name, value in held.items() if name in still}
        if kept:
            survivors[index] = kept
    return survivors


def refuse_mixed(overrides: Overrides, volatile: Sequence[set[str]]) -> None:
    """Check that no overridden attribute is one that running changes as well.

    Raises:
        EncodingError: One is: what a reset would do to it is not known.
    """
    for index, held in overrides.items():
        mixed = held.keys() & attribute_names(volatile[index], index)
        if mixed:
            raise EncodingError(
                f"'{path_of(index)}/{min(mixed)}' was changed by hand, and running changes it too",
                hint="pass it to the constructor, or exclude the attribute",
            )


def normalised(private: AnyEnv, found: Configuration) -> tuple[frozenset[str], list[str]]:
    """Reset a private copy with seed 0; return the paths each reset sets anew, and warnings.

    The warning is about what depends on how long the environment was used.
    """
    plan = found.plan
    other, used = found.copy(), found.copy()
    _reset(private, seed=0)
    _reset(other, seed=1)
    _reset(used, seed=2)
    _run(used, seed=2, steps=_LONG_RUN)
    _reset(used, seed=0)
    records = [leaves_of(layers_of(env), plan) for env in (private, other, used)]
    neutral: set[str] = set()
    history: set[str] = set()
    for index in plan.snapshot_layers():
        neutral |= differing(records[0][index], records[1][index])
        history |= differing(records[0][index], records[2][index])
    lasting = [
        f"'{path}' depends on how the environment was used, reset does not restore it; "
        "two documents of this environment may differ"
        for path in sorted(history - neutral)[:1]
    ]
    return frozenset(neutral), lasting


def _prefixes(path: str, index: int) -> Iterator[str]:
    """Yield the paths from a layer's attribute down to ``path``."""
    at = len(path_of(index))
    while (at := path.find("/", at + 1)) != -1:
        yield path[:at]
    yield path


def _widened(path: str, ours: Leaves, theirs: Leaves, index: int) -> str:
    """Return the container that grew or shrank where ``path`` is in one of both only."""
    if path in ours.texts and path in theirs.texts:
        return path
    if path.endswith("/@"):
        return path[:-2]
    parent = path.rpartition("/")[0]
    kind = ours.texts.get(f"{parent}/@") or theirs.texts.get(f"{parent}/@")
    return parent if parent != path_of(index) and kind in _GROWING else path


def _covered(path: str, volatile: set[str]) -> bool:
    if path in volatile:
        return True
    return any(path.startswith(f"{v}/") or v.startswith(f"{path}/") for v in volatile)


def _check_overridable(plan: Plan, layer: AnyEnv, index: int, names: set[str]) -> None:
    missing = names - raw_attributes(layer).keys()
    if missing:
        raise EncodingError(
            f"'{path_of(index)}/{min(missing)}' was deleted, the constructor would bring it back",
            hint="set it to None instead",
        )
    for name in names:
        if not is_data_name(type(layer), name):
            raise hides_method(f"{path_of(index)}/{name}")
    if index not in plan.starts():
        raise EncodingError(
            f"'{path_of(index)}/{min(names)}' was changed in a wrapper that a function put there",
            hint="pass it to the function, or wrap the environment yourself",
        )


def _reset(env: AnyEnv, *, seed: int) -> None:
    try:
        env.reset(seed=seed)
    except Exception as err:
        raise _cannot_probe("reset", err) from err


def _run(env: AnyEnv, *, seed: int, steps: int, cue: _EndsOnCue | None = None) -> None:
    actions = copy.deepcopy(env.action_space)  # some environments replace theirs in reset
    actions.seed(seed)
    for step in range(steps):
        if cue is not None:
            cue.ends = step == steps - 1
        try:
            _, _, terminated, truncated, _ = env.step(actions.sample())
            if (terminated or truncated) and step < steps - 1:
                env.reset()
        except Exception as err:
            raise _cannot_probe("step", err) from err


def _cannot_probe(verb: str, err: Exception) -> EncodingError:
    return EncodingError(
        f"a copy of the environment failed in {verb}: {type(err).__name__}: {err}",
        hint="it must run without what was excluded, or without its live handles",
    )
