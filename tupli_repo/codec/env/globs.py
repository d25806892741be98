"""What ``exclude`` and ``volatile`` name: whether it is there, and what is lost with it.

Invariant: no name that nothing has, and no change that somebody made, is passed over in silence.
"""

import difflib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from tupli_repo.codec.env.attributes import is_excluded, is_named, raw_attributes
from tupli_repo.codec.env.leaves import (
    attribute_names,
    covered,
    differing,
    held_by_layer,
    leaves_of,
    path_prefixes,
)
from tupli_repo.codec.env.probing import Overrides, after_an_episode, find_volatile, surviving_reset
from tupli_repo.codec.env.recipe import AnyEnv, Plan, layers_of, path_of, plan_layers
from tupli_repo.codec.env.walk import Walk
from tupli_repo.errors import EncodingError, InvalidInputError


def checked_globs(what: str, globs: object) -> tuple[str, ...]:
    """Return the globs of one argument, if they are a list of texts.

    Raises:
        InvalidInputError: They are not.
    """
    if isinstance(globs, str):
        raise InvalidInputError(f"a list of names is due, not '{globs}'", hint=f"['{globs}']")
    example = f"{what}=['cache_*', '/base/log']"
    if not isinstance(globs, Sequence | AbstractSet):
        raise InvalidInputError(
            f"'{what}' is a list of names, not a '{type(globs).__qualname__}'", hint=example
        )
    for glob in globs:
        if not isinstance(glob, str) or not glob:
            raise InvalidInputError(f"{glob!r:.80} in '{what}' is not a name", hint=example)
    return tuple(globs)


def refuse_unmatched(env: AnyEnv, *, exclude: Sequence[str], volatile: Sequence[str]) -> None:
    """Check that each glob covers something that ``env`` has, or a copy has after an episode.

    A loaded environment has not what was left out of it, so nothing is asked of it.

    Raises:
        InvalidInputError: One covers nothing.
    """
    if not (exclude or volatile) or "related_artifacts" in raw_attributes(env.unwrapped):
        return
    layers = layers_of(env)
    unknown, names = _unmatched(layers, exclude, volatile)
    if not unknown:
        return
    known = [glob for glob in exclude if glob not in unknown]
    try:
        played = after_an_episode(plan_layers(env, exclude=known))
    except EncodingError:
        return  # whoever describes it says why
    unknown, more = _unmatched(
        layers_of(played),
        [glob for glob in exclude if glob in unknown],
        [glob for glob in volatile if glob in unknown],
    )
    if unknown:
        names |= more
        near = difflib.get_close_matches(unknown[0], sorted(names), 3) or sorted(names)[:6]
        raise InvalidInputError(
            f"'{unknown[0]}' names nothing that the environment has",
            hint=f"it has {', '.join(near)}" + (" ..." if len(names) > len(near) else ""),
        )


def changes_left_out(
    plan: Plan, overrides: Overrides, moving: Sequence[set[str]], volatile: Sequence[str]
) -> list[str]:
    """Return the paths of attributes that were changed by hand and that only a glob covers.

    What a constructor makes again is loaded as the constructor makes it.

    Args:
        plan: Says what is excluded.
        overrides: The changes that the document will hold.
        moving: What episodes change, by layer.
        volatile: The globs of what they do, as the user names it.
    """
    told = plan.snapshot_layers()
    if not (plan.exclude or volatile) or len(told) == len(plan.live):
        return []
    whole = replace(plan, exclude=())
    fresh = layers_of(plan.rebuild())
    pairs = zip(leaves_of(plan.live, whole), leaves_of(fresh, whole), strict=True)
    changed: Overrides = {}
    for index, (ours, theirs) in enumerate(pairs):
        if index in told:
            continue
        paths = {p for p in differing(ours, theirs) if not covered(p, moving[index])}
        names = attribute_names(paths, index) - overrides.get(index, {}).keys()
        names -= attribute_names(set(ours.rendering | theirs.rendering), index)
        held, made = raw_attributes(plan.live[index]), raw_attributes(fresh[index])
        kept = {name: held[name] for name in sorted(names) if name in held and name in made}
        if kept:
            changed[index] = kept
    changed = surviving_reset(plan, changed, seen=whole)
    if not changed:
        return []
    moved = find_volatile(plan, seen=whole)
    return [
        f"{path_of(index)}/{name}"
        for index, held in changed.items()
        for name in held
        if name not in attribute_names(moved[index], index)
    ]


def _unmatched(
    layers: Sequence[AnyEnv], exclude: Sequence[str], volatile: Sequence[str]
) -> tuple[list[str], set[str]]:
    """Return the globs that cover nothing in ``layers``, and the names of their attributes."""
    walk = Walk(layers=layers)
    raw: set[str] = set()
    unnamed = set(volatile)
    plan = Plan(live=tuple(layers), parts=(), exclude=(), keeps_render_mode=True)
    for index, layer in enumerate(layers):
        held = raw_attributes(layer)
        raw |= held.keys()
        stated, _ = held_by_layer(layer, index, plan, as_state=True)
        before = set(walk.leaves)
        walk.attributes(sorted({**held, **stated}.items()), path_of(index))
        prefixes = {
            prefix for path in walk.leaves.keys() - before for prefix in path_prefixes(path, index)
        }
        unnamed -= {g for g in unnamed if any(is_named(p, path_of(index), [g]) for p in prefixes)}
    excludes_nothing = {
        glob
        for glob in exclude
        if not any(is_excluded(name, path, [glob]) for name, path in walk.names)
    }
    named = {name for name in raw if not name.startswith("_")}
    both = [*dict.fromkeys([*exclude, *volatile])]
    return [g for g in both if g in excludes_nothing or g in unnamed], named
