"""The layers of an environment, and how each one can be made again.

A *layer* is the innermost environment (index 0) or one of the wrappers around it. Each is made
again from a ``Recipe`` (a class or function, and its arguments), or else copied from its attributes
(a ``Snapshot``).

Invariant: a recipe returned by ``plan_layers`` has been tried: it built layers of the right
classes. What it does not reproduce is for the comparison of attributes to find. The live
environment is only read.
"""

import copy
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import EzPickle, RecordConstructorArgs
from gymnasium.wrappers import PassiveEnvChecker

from tupli_repo.codec.env.attributes import (
    LAYER_BOOKKEEPING,
    RECIPE_RECORD,
    raw_attributes,
    set_raw_attribute,
    stored_attributes,
)
from tupli_repo.codec.env.canonical import CanonicalPickler
from tupli_repo.codec.env.document import dump_json
from tupli_repo.codec.env.flattened import ComparingPickler
from tupli_repo.codec.env.snapshot import copied, copy_layer
from tupli_repo.codec.trust import NameKind, is_default
from tupli_repo.errors import EncodingError

AnyEnv = gymnasium.Env[Any, Any]

_NEEDS_RENDER_MODE = frozenset(
    {"AddRenderObservation", "HumanRendering", "RecordVideo", "RenderCollection"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a layer is made.

    Args:
        maker: Its class, or the function that returns it.
        args: Positional arguments that have no name.
        kwargs: The other arguments, without those that equal the default.
        makes: How many layers it makes; a function may wrap what it returns.
    """

    maker: Callable[..., AnyEnv]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    makes: int = 1

    def build(self, inner: AnyEnv | None) -> AnyEnv:
        """Return a new layer around ``inner``, or a new environment."""
        return self.private().call(inner)

    def private(self) -> "Recipe":
        """Return the recipe with copies of the arguments."""
        return replace(self, args=copy.deepcopy(self.args), kwargs=copy.deepcopy(self.kwargs))

    def call(self, inner: AnyEnv | None) -> AnyEnv:
        """Return a new layer that may keep the arguments themselves."""
        around = () if inner is None else (inner,)
        return self.maker(*around, *self.args, **self.kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A layer that is told by its attributes."""

    live: AnyEnv


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a whole environment is made again.

    Args:
        live: Its layers, innermost first, without gymnasium's passive checker.
        parts: One recipe or snapshot after the other, innermost first.
        exclude: Globs of attributes that a snapshot leaves out.
        keeps_render_mode: A wrapper depends on what is rendered, so the mode belongs to the
            environment.
        by_hand: By layer, the cached properties whose value was set, not computed.
    """

    live: tuple[AnyEnv, ...]
    parts: tuple[Recipe | Snapshot, ...]
    exclude: tuple[str, ...]
    keeps_render_mode: bool
    by_hand: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def starts(self) -> list[int]:
        """Return the index of each part's first layer."""
        starts, at = [], 0
        for part in self.parts:
            starts.append(at)
            at += part.makes if isinstance(part, Recipe) else 1
        return starts

    def snapshot_layers(self) -> frozenset[int]:
        """Return the indices of the layers that are told by their attributes."""
        pairs = zip(self.starts(), self.parts, strict=True)
        return frozenset(at for at, part in pairs if isinstance(part, Snapshot))

    def rebuild(
        self,
        overrides: Mapping[int, Mapping[str, Any]] | None = None,
        *,
        around_base: Callable[[AnyEnv], AnyEnv] | None = None,
        by_state: bool = True,
        given: dict[int, Recipe] | None = None,
    ) -> AnyEnv:
        """Return a private environment that shares nothing with the live one.

        Args:
            overrides: Layer index -> attributes to set once it is made.
            around_base: Puts a layer of the caller's own between the first part and the next.
            by_state: Whether a class's ``__getstate__`` says what to copy, or its attributes do
                where they can.
            given: Takes the recipes with the very arguments that were given, by first layer.
        """
        memo: dict[int, Any] = {}
        env: AnyEnv | None = None
        for start, part in zip(self.starts(), self.parts, strict=True):
            if isinstance(part, Recipe):
                private = part.private()
                if given is not None:
                    given[start] = private
                env = private.call(env)
                made = layers_of(env)[-part.makes :]
                memo.update(zip(map(id, self.live[start:]), made, strict=False))
            else:
                if isinstance(part.live, gymnasium.Wrapper):
                    memo[id(part.live.env)] = env
                env = copy_layer(
                    part.live,
                    env,
                    memo,
                    exclude=self.exclude,
                    path=path_of(start),
                    by_state=by_state,
                )
                if self.keeps_render_mode and "render_mode" in raw_attributes(part.live):
                    set_raw_attribute(env, "render_mode", part.live.render_mode)
                made = [env]
            for index, layer in enumerate(made, start):
                for name, value in (overrides or {}).get(index, {}).items():
                    set_raw_attribute(layer, name, copied(value, memo, path_of(index)))
            if start == 0 and around_base is not None:
                env = around_base(env)
        if env is None:
            raise AssertionError("a plan has at least one part")
        return env

    def with_kwargs(self, part_index: int, kwargs: Mapping[str, Any]) -> "Plan":
        """Return the plan in which one recipe has other arguments."""
        part = self.parts[part_index]
        assert isinstance(part, Recipe)
        changed = replace(part, kwargs=drop_defaults(part.maker, kwargs))
        parts = (*self.parts[:part_index], changed, *self.parts[part_index + 1 :])
        return replace(self, parts=parts)


def layers_of(env: AnyEnv) -> list[AnyEnv]:
    """Return the environment and its wrappers, innermost first, without the passive checker."""
    layers = []
    while isinstance(env, gymnasium.Wrapper):
        if type(env) is not PassiveEnvChecker:
            layers.append(env)
        env = env.env
    return [env, *reversed(layers)]


def path_of(layer_index: int) -> str:
    """Return where a layer stands in the document, as messages name it.

    >>> path_of(0), path_of(2)
    ('/base', '/wrappers/1')
    """
    return f"/wrappers/{layer_index - 1}" if layer_index else "/base"


def plan_layers(env: AnyEnv, *, exclude: Sequence[str] = ()) -> Plan:
    """Return how ``env`` can be made again; recipes that do not work are passed over."""
    live = layers_of(env)
    keeps_render_mode = any(type(layer).__name__ in _NEEDS_RENDER_MODE for layer in live)
    plan = Plan(
        live=tuple(live), parts=(), exclude=tuple(exclude), keeps_render_mode=keeps_render_mode
    )
    at, built = 0, None
    while at < len(live):
        part: Recipe | Snapshot = Snapshot(live=live[at])
        for candidate in _candidates(live[at], keeps_render_mode=keeps_render_mode):
            attempt = _attempt(candidate, built)
            if attempt is None:
                continue
            made = layers_of(attempt)[at:]
            if [type(layer) for layer in made] == [type(layer) for layer in live[at:][: len(made)]]:
                part, built = replace(candidate, makes=len(made)), attempt
                break
        plan = replace(plan, parts=(*plan.parts, part))
        at += part.makes if isinstance(part, Recipe) else 1
        if isinstance(part, Snapshot) and at < len(live):  # the next one is tried around it
            built = plan.rebuild()
    return plan


def drop_defaults(maker: Callable[..., Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that differ from the signature's defaults.

    Libraries differ in whether they record the others; they say nothing.
    """
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return dict(kwargs)
    return {
        name: value
        for name, value in kwargs.items()
        if name not in parameters or not _same(parameters[name].default, value)
    }


def _same(default: object, value: object) -> bool:
    if type(default) is not type(value):
        return False
    try:
        return dump_json(CanonicalPickler().node(default, "")) == dump_json(
            CanonicalPickler().node(value, "")
        )
    except EncodingError:
        return default is value


def _attempt(recipe: Recipe, inner: AnyEnv | None) -> AnyEnv | None:
    try:
        made: object = recipe.build(inner)
    except (Exception, SystemExit):  # noqa: BLE001 - it may raise anything; the next way is tried
        return None
    return made if isinstance(made, gymnasium.Env) else None


def _candidates(layer: AnyEnv, *, keeps_render_mode: bool) -> Iterator[Recipe]:
    for maker, args, kwargs in _recorded(layer):
        args, kwargs = _by_name(maker, args, kwargs, wraps=isinstance(layer, gymnasium.Wrapper))
        if not keeps_render_mode:
            kwargs.pop("render_mode", None)
        yield Recipe(maker=maker, args=args, kwargs=drop_defaults(maker, kwargs))


def _recorded(
    layer: AnyEnv,
) -> Iterator[tuple[Callable[..., AnyEnv], tuple[Any, ...], dict[str, Any]]]:
    cls = type(layer)
    wraps = isinstance(layer, gymnasium.Wrapper)
    is_gymnasiums = is_default(f"{cls.__module__}.{cls.__qualname__}", NameKind.ENV)
    held = raw_attributes(layer)
    if RECIPE_RECORD in held:
        yield held[RECIPE_RECORD]
    spec = None if wraps else layer.spec
    if isinstance(spec, EnvSpec) and spec.entry_point is not None:
        yield _entry_point(spec.entry_point), (), dict(spec.kwargs)
    if isinstance(layer, RecordConstructorArgs) and hasattr(layer, "_saved_kwargs"):
        saved = layer._saved_kwargs  # noqa: SLF001 - gymnasium's record of the arguments
        yield cls, (), {name: value for name, value in saved.items() if name != "env"}
    if isinstance(layer, EzPickle) and hasattr(layer, "_ezpickle_kwargs"):
        args, kwargs = layer._ezpickle_args, layer._ezpickle_kwargs  # noqa: SLF001 - as above
        first = 1 if wraps and args and isinstance(args[0], gymnasium.Env) else 0
        named = {name: value for name, value in kwargs.items() if not (wraps and name == "env")}
        if args and is_gymnasiums:
            args, named = _by_name(cls, args, named, wraps=False)
            yield cls, args, _likeliest(layer, [named, *_guesses(layer)])
        else:
            yield cls, args[first:], named
    if is_gymnasiums:
        yield cls, (), _likeliest(layer, _guesses(layer))
    elif wraps:
        inferred = _inferred(layer, wraps=True)
        if inferred is not None:
            yield cls, (), inferred


def _entry_point(entry_point: Any) -> Callable[..., AnyEnv]:
    if not isinstance(entry_point, str):
        return entry_point  # type: ignore[no-any-return]
    module, _, qualname = entry_point.partition(":")
    maker: Any = importlib.import_module(module)
    for part in qualname.split("."):
        maker = getattr(maker, part)
    return maker  # type: ignore[no-any-return]


def _by_name(
    maker: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, wraps: bool
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Name positional arguments, so that ``Env(1)`` and ``Env(x=1)`` are the same."""
    try:
        parameters = list(inspect.signature(maker).parameters.values())[1 if wraps else 0 :]
    except (TypeError, ValueError):
        return args, dict(kwargs)
    taken = parameters[: len(args)]
    named = dict(zip((parameter.name for parameter in taken), args, strict=False))
    ordinary = all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in taken)
    if len(taken) < len(args) or not ordinary or not named.keys().isdisjoint(kwargs):
        return args, dict(kwargs)
    return (), {**named, **kwargs}


def _guesses(layer: AnyEnv) -> list[dict[str, Any]]:
    """Return what the arguments of one of gymnasium's own environments may have been.

    A FrozenLake that was built with ``map_name='8x8'`` keeps the map only, not its name: what an
    id registers is a guess too.
    """
    cls = type(layer)
    inferred = _inferred(layer, wraps=False)
    if inferred is None:
        return []
    entry_point = f"{cls.__module__}:{cls.__qualname__}"
    registered = [s.kwargs for s in gymnasium.registry.values() if s.entry_point == entry_point]
    return [inferred, *({**kwargs, **inferred} for kwargs in registered)]


def _likeliest(layer: AnyEnv, guesses: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the guess that comes closest to ``layer``, the first of equals.

    A record can be wrong too: InvertedPendulum-v5 leaves an argument out of its own.
    """
    cls = type(layer)
    different: list[dict[str, Any]] = []
    for guess in guesses:
        kwargs = drop_defaults(cls, guess)
        if not any(_same(kwargs, other) for other in different):
            different.append(kwargs)
    if len(different) < 2:
        return different[0] if different else {}
    ours = _leaves(layer)
    built = [_attempt(Recipe(maker=cls, kwargs=guess), None) for guess in different]
    distances = [
        float("inf") if made is None else len(ours.items() ^ _leaves(made).items())
        for made in built
    ]
    return different[distances.index(min(distances))]


def _leaves(layer: AnyEnv) -> dict[str, str]:
    pickler = ComparingPickler()
    pickler.attributes(stored_attributes(layer, "", leave_out=LAYER_BOOKKEEPING), "")
    return pickler.leaves


def _inferred(layer: AnyEnv, *, wraps: bool) -> dict[str, Any] | None:
    """Guess unrecorded arguments from attributes of the same name; comparing proves them.

    Where gymnasium's own environments default to None, the attribute is what they made of it.
    """
    parameters = list(inspect.signature(type(layer)).parameters.values())
    held = raw_attributes(layer)
    guessed: dict[str, Any] = {}
    for parameter in parameters[1 if wraps else 0 :]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not wraps and parameter.default is None:
            continue
        for name in (parameter.name, f"_{parameter.name}"):
            if name in held:
                guessed[parameter.name] = held[name]
                break
        else:
            if parameter.default is parameter.empty:
                return None
    return guessed
