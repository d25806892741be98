"""What of an environment is configuration, and what an episode or its use leaves behind.

Invariant: only private copies are reset, stepped and closed here; the live environment is read.
What changes when a copy runs is *volatile* and no part of the document, and what a reset
overwrites is not configuration either.
"""

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tupli_repo.codec.env.attributes import (
    is_data_name,
    is_named,
    raw_attributes,
    set_raw_attribute,
    usually_volatile,
)
from tupli_repo.codec.env.cached import refuse_set_in_parts, set_by_hand
from tupli_repo.codec.env.episodes import LONG_RUN, EndsOnCue, play_an_episode, reset, run
from tupli_repo.codec.env.flattened import ComparingPickler
from tupli_repo.codec.env.lasting import kind_of_number, lasting_notes
from tupli_repo.codec.env.leaves import (
    Leaves,
    attribute_names,
    covered,
    differing,
    layer_index,
    leaves_of,
    path_prefixes,
    widened,
)
from tupli_repo.codec.env.recipe import AnyEnv, Plan, Recipe, layers_of, path_of, plan_layers
from tupli_repo.codec.env.snapshot import hides_method
from tupli_repo.errors import EncodingError

Overrides = dict[int, dict[str, Any]]

_SHORT_RUN = 3


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
    overrides = _changes(plan, moving, volatile, probe=probe)
    by_hand = set_by_hand(plan, overrides, probe=probe)
    if by_hand:
        plan = replace(plan, by_hand=by_hand)
        overrides = _changes(plan, moving, volatile, probe=probe)
    refuse_set_in_parts(plan, overrides, probe=probe)
    refuse_mixed(overrides, moving)
    notes = []
    if overrides and not probe:
        index, held = next(iter(overrides.items()))
        notes.append(
            f"'{path_of(index)}/{min(held)}' is not what a new environment has; without probing"
            " that counts as configuration: name it in volatile if it does not"
        )
    return Configuration(plan=plan, overrides=overrides, volatile=moving, notes=tuple(notes))


def _changes(
    plan: Plan, moving: Sequence[set[str]], volatile: Sequence[str], *, probe: bool
) -> Overrides:
    overrides = find_overrides(plan, plan.live, moving, volatile)
    return surviving_reset(plan, overrides) if probe else overrides


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
    torch: Any = sys.modules.get("torch")
    tensors = torch.get_rng_state() if hasattr(torch, "get_rng_state") else None
    try:
        yield
    finally:
        random.setstate(standard)
        np.random.set_state(legacy)
        if tensors is not None:
            torch.set_rng_state(tensors)


def after_an_episode(plan: Plan) -> AnyEnv:
    """Return a private environment that has been reset and stepped.

    Raises:
        EncodingError: It could not be copied, reset or stepped.
    """
    env = plan.rebuild()
    play_an_episode(env, seed=0)
    return env


def find_volatile(plan: Plan, *, seen: Plan | None = None) -> list[set[str]]:
    """Return, for each layer, the paths that change when a fresh copy runs.

    Args:
        plan: How the copy is made.
        seen: Says what to leave out of the comparison, where that is not what the copy is without.

    Raises:
        EncodingError: The copy could not be reset or stepped.
    """
    cue: list[EndsOnCue] = []

    def with_cue(env: AnyEnv) -> AnyEnv:
        cue.append(EndsOnCue(env))
        return cue[0]

    given: dict[int, Recipe] = {}
    env = plan.rebuild(around_base=with_cue, given=given)
    layers = [layer for layer in layers_of(env) if layer is not cue[0]]
    records = [leaves_of(layers, seen or plan)]
    arguments = _leaves_of_arguments(given)
    for seed, steps in enumerate((_SHORT_RUN, _SHORT_RUN, LONG_RUN)):
        reset(env, seed=seed)
        records.append(leaves_of(layers, seen or plan))
        run(env, seed=seed, steps=steps, cue=cue[0])
        records.append(leaves_of(layers, seen or plan))
    with suppress(Exception):
        env.close()
    records.append(leaves_of(layers, seen or plan))
    used = _leaves_of_arguments(given)
    moved = [widened(p, arguments, used, layer_index(p)) for p in differing(arguments, used)]
    if moved:
        raise EncodingError(
            f"'{min(moved)}' is an argument of the constructor, and running"
            " changes it: what it was at first is not known",
            hint="copy it in __init__, and change the copy",
        )
    volatile: list[set[str]] = [set() for _ in layers]
    for record in records[1:]:
        for index, leaves in enumerate(record):
            first = records[0][index]
            for path in differing(first, leaves):
                volatile[index].add(widened(path, first, leaves, index))
    return volatile


def _leaves_of_arguments(given: Mapping[int, Recipe]) -> Leaves:
    pickler = ComparingPickler()
    for start, recipe in given.items():
        for number, argument in enumerate(recipe.args):
            pickler.node(argument, f"{path_of(start)}/args/{number}")
        pickler.attributes(sorted(recipe.kwargs.items()), path_of(start))
    return Leaves(texts=pickler.leaves, rendering=frozenset())


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
    told = plan.snapshot_layers()
    overrides: Overrides = {}
    if len(told) == len(layers):
        return overrides
    fresh = leaves_of(layers_of(plan.rebuild()), plan)
    for index, (ours, theirs) in enumerate(zip(leaves_of(layers, plan), fresh, strict=True)):
        if index in told:
            continue
        moving = volatile[index]
        changed = {
            path
            for path in differing(ours, theirs)
            if not covered(path, moving)
            and not any(is_named(p, path_of(index), globs) for p in path_prefixes(path, index))
        }
        drawn = attribute_names(set(ours.rendering | theirs.rendering), index)
        names = attribute_names(changed, index) - drawn
        if not names:
            continue
        _check_overridable(plan, layers[index], index, names)
        held = raw_attributes(layers[index])
        overrides[index] = {name: held[name] for name in sorted(names)}
    return overrides


def surviving_reset(plan: Plan, overrides: Overrides, *, seen: Plan | None = None) -> Overrides:
    """Return the overrides that are still there after a reset; the others were an episode's.

    Args:
        plan: How copies are made.
        overrides: What to look at.
        seen: As for `find_volatile`.
    """
    if not overrides:
        return {}
    changed, fresh = plan.rebuild(overrides), plan.rebuild()
    reset(changed, seed=0)
    reset(fresh, seed=0)
    survivors: Overrides = {}
    seen = seen or plan
    ours, theirs = leaves_of(layers_of(changed), seen), leaves_of(layers_of(fresh), seen)
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


def normalised(
    private: AnyEnv, found: Configuration, globs: Sequence[str]
) -> tuple[frozenset[str], list[str]]:
    """Reset a private copy with seed 0; return the paths to write as zero, and warnings.

    These are what each reset sets anew, and numbers that depend on how long the environment was
    used: a document would hold another count each time. Those are warned about, and whatever else
    depends on its use; not what the user named.

    Args:
        private: The copy.
        found: What it was made from.
        globs: What episodes change, as the user names it.
    """
    plan = found.plan
    other, used = found.copy(), found.copy()
    reset(private, seed=0)
    reset(other, seed=1)
    play_an_episode(used, seed=2)
    reset(used, seed=0)
    records = [leaves_of(layers_of(env), plan) for env in (private, other, used)]
    neutral: set[str] = set()
    numbers: list[str] = []
    others: list[str] = []
    for index in sorted(plan.snapshot_layers()):
        first, unlike, lived = (record[index] for record in records)
        anew = differing(first, unlike)
        neutral |= anew
        for path in sorted(differing(first, lived) - anew):
            if any(is_named(p, path_of(index), globs) for p in path_prefixes(path, index)):
                continue
            if path.rpartition("/")[0] in numbers:  # a field of the number
                continue
            kinds = kind_of_number(first.texts.get(path)), kind_of_number(lived.texts.get(path))
            if all(kinds):
                numbers.append(path)
                if set(kinds) == {"int", "float"}:  # a sum that begins with 0: used, it is a float
                    _set_zero(layers_of(private)[index], path[len(path_of(index)) + 1 :])
            else:
                others.append(path)
    return frozenset(neutral | set(numbers)), lasting_notes(numbers, others)


def _set_zero(layer: AnyEnv, name: str) -> None:
    if name in raw_attributes(layer):
        set_raw_attribute(layer, name, 0.0)


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
