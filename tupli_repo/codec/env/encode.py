"""From a live environment to its document.

Invariant: the live environment is never changed, reset or stepped; the same configuration gives the
same text in any process, and ``parse`` accepts every text that leaves here.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.attributes import is_data_name, raw_attributes
from tupli_repo.codec.env.audit import parse
from tupli_repo.codec.env.canonical import CanonicalPickler
from tupli_repo.codec.env.document import FORMAT, EnvDocument, dump_json, load_json
from tupli_repo.codec.env.globs import changes_left_out, checked_globs, refuse_unmatched
from tupli_repo.codec.env.leaves import (
    attribute_names,
    differing,
    held_by_layer,
    leaves_of,
    named_paths,
)
from tupli_repo.codec.env.names import name_of
from tupli_repo.codec.env.overlaps import refuse_overlaps
from tupli_repo.codec.env.probing import (
    Configuration,
    Overrides,
    configuration_of,
    find_overrides,
    normalised,
    refuse_mixed,
    untouched_randomness,
)
from tupli_repo.codec.env.recipe import AnyEnv, Plan, Recipe, layers_of, path_of, plan_layers
from tupli_repo.codec.env.snapshot import hides_method
from tupli_repo.codec.env.values.value_type import UnrepresentableError
from tupli_repo.codec.trust import NameKind, trust_document
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError

Prepare = Callable[[AnyEnv], tuple[AnyEnv, Sequence[str]]]


def encode(
    env: AnyEnv,
    *,
    prepare: Prepare | None = None,
    exclude: Sequence[str] = (),
    probe: bool = True,
    volatile: Sequence[str] = (),
) -> EnvDocument:
    """Return the document of ``env``, and trust it in this process.

    Warns where a document cannot be the same from one time to the next.

    Args:
        env: Any environment, wrapped or not; it is only read.
        prepare: Handed a private copy, it may take out what is stored elsewhere, and returns the
            copy and the ids of the artifacts that now hold it. What it sets is what the document
            says.
        exclude: Globs over attribute names (``'cache_*'``) or paths (``'/base/log'``) to leave out.
        probe: Whether private copies may be reset and stepped, some 25 steps in all, to find out
            what episodes change. Without it, an environment told by its attributes needs
            ``volatile``, and one made from its arguments is best described before it is used.
        volatile: What episodes change, on top of what probing finds: globs over the names of a
            layer's attributes (``'sim_*'``) or over paths (``'/base/engine/heat'``). The document
            holds zero in its place, and the globs themselves.

    Raises:
        EncodingError: Something cannot be represented; the message names the path.
        InvalidInputError: A glob names nothing that is there (looked for where ``probe``), or the
            hook returned something else.
    """
    document, notes = describe(
        env, prepare=prepare, exclude=exclude, probe=probe, volatile=volatile, is_new=True
    )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    trust_document(document.sha256)
    return document


def describe(
    env: AnyEnv,
    *,
    prepare: Prepare | None,
    exclude: Sequence[str],
    probe: bool,
    volatile: Sequence[str],
    is_new: bool = False,
) -> tuple[EnvDocument, list[str]]:
    """Return the document of ``env`` and what there is to warn about; see ``encode``.

    Args:
        env: See there, as for the others.
        prepare: See there.
        exclude: See there.
        probe: See there.
        volatile: See there.
        is_new: Whether the user's globs are still to be held against what there is.
    """
    if not isinstance(env, gymnasium.Env):
        raise InvalidInputError(
            f"'{type(env).__qualname__}' is not an environment", hint="pass a gymnasium.Env"
        )
    exclude, volatile = checked_globs("exclude", exclude), checked_globs("volatile", volatile)
    with untouched_randomness():
        if is_new and probe:
            refuse_unmatched(env, exclude=exclude, volatile=volatile)
        return _described(env, prepare=prepare, exclude=exclude, probe=probe, volatile=volatile)


def _described(
    env: AnyEnv,
    *,
    prepare: Prepare | None,
    exclude: Sequence[str],
    probe: bool,
    volatile: Sequence[str],
) -> tuple[EnvDocument, list[str]]:
    found = configuration_of(env, exclude=exclude, probe=probe, volatile=volatile)
    plan, overrides, notes = found.plan, found.overrides, list(found.notes)
    if probe:
        notes += _left_out(found, volatile)
    private = layers = None
    neutral = named_paths(plan.live, plan, volatile)
    if prepare is not None or plan.snapshot_layers():
        private = found.copy()
        if probe and plan.snapshot_layers():
            reset_anew, lasting = normalised(private, found, volatile)
            neutral |= reset_anew
            notes += lasting
        layers = layers_of(private)
        neutral |= named_paths(layers, plan, volatile)
    artifacts: tuple[str, ...] = ()
    if prepare is not None and private is not None:
        before = leaves_of(layers_of(private), plan)
        layers, artifacts = _prepared(private, prepare)
        after = leaves_of(layers, plan)
        touched = [differing(ours, new) for ours, new in zip(before, after, strict=True)]
        plan, overrides, neutral = _as_hook_says(found, layers, neutral, touched)
    refuse_overlaps(found, layers, probe=probe, volatile=volatile)
    tree = _document(plan, plan.live if layers is None else layers, overrides, neutral)
    return _sealed(tree, artifacts=artifacts, volatile=volatile), notes


def text_of_decoded(env: AnyEnv, document: EnvDocument, *, exclude: Sequence[str]) -> str:
    """Return the text that says what a newly decoded environment holds; nothing is run.

    Args:
        env: What ``decode`` made of ``document``, not yet reset.
        document: Says which attributes it states besides the arguments, the artifacts and globs.
        exclude: What the document left out.

    Raises:
        EncodingError: Something cannot be represented.
    """
    plan = plan_layers(env, exclude=exclude)
    stated = load_json(document.text)
    overrides = {}
    by_hand = {}
    for start, part in zip(plan.starts(), [stated["base"], *stated["wrappers"]], strict=False):
        held = raw_attributes(plan.live[start])
        by_hand[start] = frozenset(part.get("attributes", ()))
        overrides[start] = {name: held[name] for name in part.get("overrides", ()) if name in held}
    plan = replace(plan, by_hand=by_hand)
    tree = _document(plan, plan.live, overrides, frozenset())
    kept = {key: stated[key] for key in ("artifacts", "volatile") if key in stated}
    return dump_json({**tree, **kept})


def _prepared(private: AnyEnv, prepare: Prepare) -> tuple[list[AnyEnv], tuple[str, ...]]:
    classes = [type(layer) for layer in layers_of(private)]
    prepared, artifacts = _returned(prepare, prepare(private))
    layers = layers_of(prepared)
    if [type(layer) for layer in layers] != classes:
        raise EncodingError(
            "the hook returned an environment with other layers than it was given",
            hint="change attributes of the environment, and return it with its wrappers",
        )
    return layers, artifacts


def _returned(prepare: Prepare, returned: object) -> tuple[AnyEnv, tuple[str, ...]]:
    """Return the environment and the artifacts' ids if that is what the hook returned."""
    name = getattr(prepare, "__qualname__", "the hook")
    hint = "return the environment, and the list of its artifacts' ids: 'return env, []'"
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise InvalidInputError(
            f"'{name}' returned a '{type(returned).__qualname__}', not a pair", hint=hint
        )
    env, artifacts = returned
    if not isinstance(env, gymnasium.Env):
        raise InvalidInputError(
            f"'{name}' returned a '{type(env).__qualname__}' where an environment is due", hint=hint
        )
    is_list = isinstance(artifacts, Sequence) and not isinstance(artifacts, str | bytes)
    if not is_list or not all(isinstance(artifact, str) for artifact in artifacts):
        raise InvalidInputError(
            f"'{name}' returned no list of artifacts' ids but {artifacts!r:.80}", hint=hint
        )
    return env, tuple(artifacts)


def _left_out(found: Configuration, volatile: Sequence[str]) -> list[str]:
    lost = changes_left_out(found.plan, found.overrides, found.volatile, volatile)
    return [
        f"'{path}' was changed, and is left out: a loaded environment has what its constructor sets"
        for path in lost[:1]
    ]


def _as_hook_says(
    found: Configuration,
    layers: Sequence[AnyEnv],
    neutral: frozenset[str],
    touched: Sequence[set[str]],
) -> tuple[Plan, Overrides, frozenset[str]]:
    """Return plan, overrides and neutral paths in which what the hook touched is configuration."""
    plan = found.plan
    still_volatile = []
    for index, paths in enumerate(touched):
        names = attribute_names(paths, index)
        roots = tuple(f"{path_of(index)}/{name}" for name in names)
        still_volatile.append({p for p in found.volatile[index] if not _inside(p, roots)})
        neutral = frozenset(path for path in neutral if not _inside(path, roots))
        plan = _with_hooked_arguments(plan, layers, index, names)
    overrides = find_overrides(plan, layers, still_volatile)
    refuse_mixed(overrides, still_volatile)
    return plan, overrides, neutral


def _inside(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def _with_hooked_arguments(
    plan: Plan, layers: Sequence[AnyEnv], index: int, names: set[str]
) -> Plan:
    """Take what the hook took out of an attribute out of the argument of that name too."""
    if index not in plan.starts():
        return plan
    at = plan.starts().index(index)
    part = plan.parts[at]
    if not isinstance(part, Recipe):
        return plan
    held, _ = held_by_layer(layers[index], index, plan, as_state=False)
    hooked = {name: held[name] for name in names & part.kwargs.keys() & held.keys()}
    if not hooked:
        return plan
    changed = plan.with_kwargs(at, {**part.kwargs, **hooked})
    try:
        rebuilt = layers_of(changed.rebuild())
    except Exception:  # noqa: BLE001 - a constructor may raise anything; then the argument stays
        return plan
    same = [type(layer) for layer in rebuilt] == [type(layer) for layer in layers]
    return changed if same else plan


def _document(
    plan: Plan,
    layers: Sequence[AnyEnv],
    overrides: Overrides,
    neutral: frozenset[str],
) -> dict[str, Any]:
    pickler = CanonicalPickler(layers=layers, neutral=neutral, exclude=plan.exclude)
    parts = []
    for start, part in zip(plan.starts(), plan.parts, strict=True):
        if isinstance(part, Recipe):
            parts.append(_recipe(part, overrides.get(start, {}), pickler, plan, path_of(start)))
        else:
            parts.append(_snapshot(layers[start], start, pickler, plan))
    return {"format": FORMAT, "base": parts[0], "wrappers": parts[1:]}


def _recipe(
    part: Recipe,
    overrides: Mapping[str, Any],
    pickler: CanonicalPickler,
    plan: Plan,
    path: str,
) -> dict[str, Any]:
    arguments = CanonicalPickler(exclude=plan.exclude)  # a constructor's arguments share nothing
    tree: dict[str, Any] = {"kind": "recipe"}
    if isinstance(part.maker, type):
        tree["make"] = {tags.TYPE: _name(part.maker, NameKind.ENV, path)}
    else:
        tree["make"] = {tags.FUNCTION: _name(part.maker, NameKind.FUNCTION, path)}
    if part.args:
        tree["args"] = [arguments.node(a, f"{path}/args/{i}") for i, a in enumerate(part.args)]
    if part.kwargs:
        tree["kwargs"] = arguments.attributes(sorted(part.kwargs.items()), path)
    if overrides:
        tree["overrides"] = pickler.attributes(sorted(overrides.items()), path)
    return tree


def _snapshot(layer: AnyEnv, index: int, pickler: CanonicalPickler, plan: Plan) -> dict[str, Any]:
    path = path_of(index)
    kind = NameKind.WRAPPER if index else NameKind.ENV
    tree: dict[str, Any] = {
        "kind": "snapshot",
        "class": {tags.TYPE: _name(type(layer), kind, path)},
    }
    held, is_state = held_by_layer(layer, index, plan, as_state=True)
    if is_state:
        tree["state"] = pickler.attributes(sorted(held.items()), path)
        return tree
    for name in held:
        if not is_data_name(type(layer), name):
            raise hides_method(f"{path}/{name}")
    tree["attributes"] = pickler.attributes(sorted(held.items()), path)
    return tree


def _name(thing: object, kind: NameKind, path: str) -> str:
    try:
        return name_of(thing, kind)
    except UnrepresentableError as err:
        raise EncodingError(f"'{path}' cannot be stored: it is {err.why}", hint=err.hint) from None


def _sealed(
    tree: dict[str, Any], *, artifacts: tuple[str, ...], volatile: Sequence[str]
) -> EnvDocument:
    if artifacts:
        tree["artifacts"] = list(artifacts)
    if volatile:
        tree["volatile"] = sorted(set(volatile))
    document = EnvDocument(text=dump_json(tree), artifacts=artifacts)
    try:
        parse(document.text)
    except CorruptObjectError as err:
        raise EncodingError(
            f"the environment cannot be stored: {err.reason}",
            hint="store large or deeply nested data as an artifact",
        ) from err
    return document
