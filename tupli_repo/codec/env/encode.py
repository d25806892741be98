"""From a live environment to its document.

Invariant: the live environment is never changed, reset or stepped; the same configuration gives the
same text in any process, and ``parse`` accepts every text that leaves here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.attributes import is_data_name
from tupli_repo.codec.env.audit import parse
from tupli_repo.codec.env.canonical import CanonicalPickler
from tupli_repo.codec.env.document import FORMAT, EnvDocument, dump_json
from tupli_repo.codec.env.names import name_of
from tupli_repo.codec.env.probing import (
    Overrides,
    attribute_names,
    differing,
    find_overrides,
    find_volatile,
    held_by_layer,
    leaves_of,
    normal_copy,
    refuse_mixed,
    surviving_reset,
)
from tupli_repo.codec.env.recipe import AnyEnv, Plan, Recipe, layers_of, path_of, plan_layers
from tupli_repo.codec.env.snapshot import hides_method
from tupli_repo.codec.env.value_type import UnrepresentableError
from tupli_repo.codec.trust import NameKind, trust_document
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError

Prepare = Callable[[AnyEnv], tuple[AnyEnv, Sequence[str]]]


def encode(
    env: AnyEnv, *, prepare: Prepare | None = None, exclude: Sequence[str] = ()
) -> EnvDocument:
    """Return the document of ``env``, and trust it in this process.

    Args:
        env: Any environment, wrapped or not; it is only read.
        prepare: Handed a private copy, it may take out what is stored elsewhere, and returns the
            copy and the ids of the artifacts that now hold it. What it sets is what the document
            says.
        exclude: Globs over attribute names (``'cache_*'``) or paths (``'/base/log'``) to leave out.

    Raises:
        EncodingError: Something cannot be represented; the message names the path.
    """
    if not isinstance(env, gymnasium.Env):
        raise InvalidInputError(
            f"'{type(env).__qualname__}' is not an environment", hint="pass a gymnasium.Env"
        )
    plan = plan_layers(env, exclude=exclude)
    recipes_only = len(plan.snapshot_layers()) == 0
    all_snapshots = len(plan.snapshot_layers()) == len(plan.live)
    volatile = [set[str]() for _ in plan.live] if all_snapshots else find_volatile(plan)
    overrides = surviving_reset(plan, find_overrides(plan, plan.live, volatile))
    refuse_mixed(overrides, volatile)
    neutral: frozenset[str] = frozenset()
    layers: Sequence[AnyEnv] = plan.live
    artifacts: tuple[str, ...] = ()
    if not recipes_only or prepare is not None:
        if recipes_only:
            private = plan.rebuild(overrides)
        else:
            private, neutral = normal_copy(plan, overrides)
        layers = layers_of(private)
        if prepare is not None:
            before = leaves_of(layers, plan)
            layers, artifacts = _prepared(private, prepare)
            after = leaves_of(layers, plan)
            touched = [differing(ours, theirs) for ours, theirs in zip(before, after, strict=True)]
            plan, overrides, neutral = _as_hook_says(plan, layers, volatile, neutral, touched)
    tree = _document(plan, layers, overrides, neutral, artifacts)
    return _sealed(tree, artifacts)


def _prepared(private: AnyEnv, prepare: Prepare) -> tuple[list[AnyEnv], tuple[str, ...]]:
    classes = [type(layer) for layer in layers_of(private)]
    prepared, artifacts = prepare(private)
    layers = layers_of(prepared)
    if [type(layer) for layer in layers] != classes:
        raise EncodingError(
            "the hook returned an environment with other layers than it was given",
            hint="change attributes of the environment, and return it with its wrappers",
        )
    return layers, tuple(artifacts)


def _as_hook_says(
    plan: Plan,
    layers: Sequence[AnyEnv],
    volatile: Sequence[set[str]],
    neutral: frozenset[str],
    touched: Sequence[set[str]],
) -> tuple[Plan, Overrides, frozenset[str]]:
    """Return plan, overrides and neutral paths in which what the hook touched is configuration."""
    still_volatile = []
    for index, paths in enumerate(touched):
        names = attribute_names(paths, index)
        roots = tuple(f"{path_of(index)}/{name}" for name in names)
        still_volatile.append({p for p in volatile[index] if not _inside(p, roots)})
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
    artifacts: Sequence[str],
) -> dict[str, Any]:
    pickler = CanonicalPickler(layers=layers, neutral=neutral, exclude=plan.exclude)
    parts = []
    for start, part in zip(plan.starts(), plan.parts, strict=True):
        if isinstance(part, Recipe):
            parts.append(_recipe(part, overrides.get(start, {}), pickler, plan, path_of(start)))
        else:
            parts.append(_snapshot(layers[start], start, pickler, plan))
    tree: dict[str, Any] = {"format": FORMAT, "base": parts[0], "wrappers": parts[1:]}
    if artifacts:
        tree["artifacts"] = list(artifacts)
    return tree


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


def _sealed(tree: dict[str, Any], artifacts: tuple[str, ...]) -> EnvDocument:
    document = EnvDocument(text=dump_json(tree), artifacts=artifacts)
    try:
        parse(document.text)
    except CorruptObjectError as err:
        raise EncodingError(
            f"the environment cannot be stored: {err.reason}",
            hint="store large or deeply nested data as an artifact",
        ) from err
    trust_document(document.sha256)
    return document
