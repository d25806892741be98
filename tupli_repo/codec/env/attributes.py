"""The attributes of one object, read and written without running any of its code.

Invariant: nothing here calls a method, a property, ``__setattr__`` or ``__getattr__`` of the
object. What a rendering window, a random generator or a cache left in it is not among its
attributes.
"""

import functools
import types
import weakref
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import EzPickle

from tupli_repo.codec.env.values.value_type import BadFieldsError

_ENV_BOOKKEEPING = frozenset({"_np_random", "_np_random_seed", "_cached_spec", "spec"})
RECIPE_RECORD = "_tupli_recipe"
"""Where a decoded layer keeps what it was made from: ``(maker, args, kwargs)``."""

_PUT_BY_US = frozenset({RECIPE_RECORD, "related_artifacts"})

LAYER_BOOKKEEPING = frozenset(
    {
        "_ezpickle_args",
        "_ezpickle_kwargs",
        "_saved_kwargs",
        "env",
        "related_artifacts",
        RECIPE_RECORD,
        "render_mode",
    }
)
"""Attributes of a layer that the document states by other means, or not at all."""

_SET_BY_EPISODES = {
    "Autoreset": frozenset({"autoreset"}),
    "DelayObservation": frozenset({"observation_queue"}),
    "FrameStackObservation": frozenset({"obs_queue", "padding_value", "stacked_obs"}),
    "MaxAndSkipObservation": frozenset({"_obs_buffer"}),
    "NormalizeObservation": frozenset({"obs_rms"}),
    "NormalizeReward": frozenset({"discounted_reward", "return_rms"}),
    "OrderEnforcing": frozenset({"_has_reset"}),
    "RecordEpisodeStatistics": frozenset(
        {
            "episode_count",
            "episode_lengths",
            "episode_returns",
            "episode_start_time",
            "length_queue",
            "return_queue",
            "time_queue",
        }
    ),
    "RenderCollection": frozenset({"frame_list"}),
    "StickyAction": frozenset({"is_sticky_actions", "last_action", "num_repeats", "repeats_taken"}),
    "TimeAwareObservation": frozenset({"timesteps"}),
    "TimeLimit": frozenset({"_elapsed_steps"}),
}
"""Attributes of gymnasium's own wrappers that episodes change, by the class that has them."""

_MANY_CLASSES = 2000
_RENDERERS = frozenset({"pygame", "pyglet", "glfw", "OpenGL", "moviepy", "imageio"})


def stored_attributes(
    thing: object,
    path: str,
    *,
    exclude: Sequence[str] = (),
    leave_out: frozenset[str] = frozenset(),
    by_hand: frozenset[str] = frozenset(),
) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that say what ``thing`` is, sorted by name.

    Args:
        thing: Any instance.
        path: Where it stands, for ``exclude``.
        exclude: Globs over an attribute's name or its path.
        leave_out: Further names.
        by_hand: Cached properties whose value was set, not computed.
    """
    held = raw_attributes(thing)
    is_env, is_space = isinstance(thing, gymnasium.Env), isinstance(thing, gymnasium.Space)
    for name in sorted(held):
        value = held[name]
        if name in leave_out or (exclude and is_excluded(name, f"{path}/{name}", exclude)):
            continue
        if is_env and name in _ENV_BOOKKEEPING:
            continue
        if is_space and name == "_np_random":
            value = None
        if name not in by_hand and is_cached_property(type(thing), name):
            continue
        yield name, value


def is_cached_property(cls: type, name: str) -> bool:
    """Say whether what instances of ``cls`` hold under ``name`` is computed when it is missing."""
    return isinstance(_class_attribute(cls, name), functools.cached_property)


def stored_state(layer: gymnasium.Env[Any, Any], path: str, exclude: Sequence[str]) -> Any:
    """Return what a layer's own ``__getstate__`` says, without what is not its author's.

    A copy of its dictionary brings along what was put there when it was made from an id, or loaded:
    a spec is None, as in a loaded environment.
    """
    state = layer.__getstate__()
    if not isinstance(state, dict):
        return state
    return {
        name: None if isinstance(value, EnvSpec) and name in _ENV_BOOKKEEPING else value
        for name, value in state.items()
        if name not in _PUT_BY_US and not is_excluded(str(name), f"{path}/{name}", exclude)
    }


def is_excluded(name: str, path: str, exclude: Sequence[str]) -> bool:
    """Say whether a glob covers an attribute, by its name or its path."""
    return any(fnmatchcase(name, glob) or fnmatchcase(path, glob) for glob in exclude)


def is_named(path: str, layer_path: str, globs: Sequence[str]) -> bool:
    """Say whether a glob covers ``path``: by itself, or by the name of a layer's own attribute.

    Keys and attributes further inside have paths only, or ``'x'`` would mean every ``x``.

    >>> is_named("/base/x", "/base", ["x"]), is_named("/base/map/x", "/base", ["x", "/base/m*/y"])
    (True, False)
    """
    name = path[len(layer_path) + 1 :]
    own = "/" not in name
    return any(
        fnmatchcase(path, glob) if glob.startswith("/") else own and fnmatchcase(name, glob)
        for glob in globs
    )


def usually_volatile(cls: type) -> frozenset[str]:
    """Return the attributes that episodes change, as far as they are known without probing."""
    names = frozenset[str]()
    for base in cls.__mro__:
        if base.__module__.startswith("gymnasium.wrappers."):
            names |= _SET_BY_EPISODES.get(base.__qualname__, frozenset())
    return names


def raw_attributes(thing: object) -> dict[str, Any]:
    """Return every attribute of the instance itself, from its slots and its dictionary."""
    held: dict[str, Any] = {}
    for name, descriptor in _slots_of(type(thing)):
        try:
            held[name] = descriptor.__get__(thing)
        except AttributeError:
            continue
    held.update(_dictionary(thing) or {})
    return held


_SLOTS: dict[int, tuple[weakref.ref[type], list[tuple[str, types.MemberDescriptorType]]]] = {}
"""What ``_slots_of`` found, by the class's id: hashing a class may run its metaclass's code."""


def _slots_of(cls: type) -> list[tuple[str, types.MemberDescriptorType]]:
    known = _SLOTS.get(id(cls))
    if known is not None and known[0]() is cls:
        return known[1]
    found: dict[str, types.MemberDescriptorType] = {}
    for base in cls.__mro__:
        for name, descriptor in vars(base).items():
            if isinstance(descriptor, types.MemberDescriptorType):
                found.setdefault(name, descriptor)
    if len(_SLOTS) > _MANY_CLASSES:
        _SLOTS.clear()
    _SLOTS[id(cls)] = weakref.ref(cls), list(found.items())
    return _SLOTS[id(cls)][1]


def set_raw_attribute(thing: object, name: str, value: object) -> None:
    """Write one attribute straight into the slot or the dictionary.

    Raises:
        BadFieldsError: The name is not that of an attribute which holds data.
    """
    if not is_data_name(type(thing), name):
        raise BadFieldsError(f"'{name[:80]}' of '{type(thing).__qualname__}' does not hold data")
    slot = _class_attribute(type(thing), name)
    if isinstance(slot, types.MemberDescriptorType):
        slot.__set__(thing, value)
        return
    held = _dictionary(thing)
    if held is None:
        raise BadFieldsError(f"'{type(thing).__qualname__}' has no attribute '{name[:80]}'")
    held[name] = value


def is_data_name(cls: type, name: str) -> bool:
    """Say whether an instance of ``cls`` may hold data under ``name``: it hides no method."""
    if not name.isidentifier() or name in ("__class__", "__dict__", "__weakref__"):
        return False
    inherited = _class_attribute(cls, name)
    return not isinstance(inherited, types.FunctionType | classmethod | staticmethod | property)


def has_own_state(cls: type) -> bool:
    """Say whether the class's author wrote ``__getstate__``; EzPickle's does not count."""
    method = getattr(cls, "__getstate__", None)
    if method is None or method is getattr(object, "__getstate__", None):
        return False
    if method is EzPickle.__getstate__:
        return False
    return getattr(method, "__module__", None) != "dataclasses"


def is_render_handle(value: object) -> bool:
    """Say whether ``value`` is a window, surface or clock of a rendering library."""
    module = getattr(type(value), "__module__", None)
    return isinstance(module, str) and module.partition(".")[0] in _RENDERERS


def _dictionary(thing: object) -> dict[str, Any] | None:
    try:
        held: dict[str, Any] = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return None
    return held


def _class_attribute(cls: type, name: str) -> object:
    for base in cls.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return None
