"""Dotted names of classes and functions: from an object to its name, and from a name to its object.

Invariant: ``name_of(x)`` is a name that ``resolve`` turns back into ``x``; ``resolve`` imports
nothing before the trust policy allowed the name, and returns only an object that is defined
under exactly that name and is of the kind that is due.
"""

import importlib
import sys
import types
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled

from tupli_repo.codec.env.document import one_line
from tupli_repo.codec.env.values.value_type import UnrepresentableError
from tupli_repo.codec.trust import (
    NEEDS_EXACT_NAME,
    NameKind,
    TrustPolicy,
    is_default,
    is_never_granted,
)
from tupli_repo.errors import CorruptObjectError, MissingDependencyError, UntrustedCodeError

_MOVE_IT = "define it at the top level of a module that can be imported, or exclude the attribute"

_WAS_ONE = "another version of its package may have one of that name"

_MOST_NAMES = 40
"""How many names a hint spells out."""

_BUILTIN_ALIASES: dict[str, Any] = {"builtins.NoneType": type(None)}


def name_of(thing: Any, kind: NameKind) -> str:
    """Return the dotted name of a class or function.

    Raises:
        UnrepresentableError: The name would mean nothing, or something else, in another process.
    """
    module: str | None = getattr(thing, "__module__", None)
    qualname: str = getattr(thing, "__qualname__", "")
    if isinstance(thing, np.ufunc):
        module, qualname = "numpy", thing.__name__
    if thing is type(None):
        return "builtins.NoneType"
    if module is None or not qualname:
        raise UnrepresentableError(f"a {kind} without a name", _MOVE_IT)
    name = f"{module}.{qualname}"
    if "<lambda>" in qualname:
        raise UnrepresentableError("a lambda", _MOVE_IT)
    if "<locals>" in qualname:
        raise UnrepresentableError(f"'{name}', which is defined inside a function", _MOVE_IT)
    if module == "__main__":
        raise UnrepresentableError(
            f"'{name}', which is defined in the script that runs",
            "move it into a module of its own: '__main__' is another file in every process",
        )
    if _found(sys.modules.get(module), qualname.split(".")) is not thing:
        raise UnrepresentableError(f"'{name}', which is not found under its own name", _MOVE_IT)
    if is_never_granted(name) and not is_default(name, kind):
        raise UnrepresentableError(
            f"'{name}', which nobody could be granted to load",
            "wrap it in a class or function of your own",
        )
    return name


def resolve(name: str, kind: NameKind, trust: TrustPolicy, *, document: str) -> Any:
    """Return the class or function that ``name`` says, importing its module if need be.

    Args:
        name: A dotted name that the audit has passed.
        kind: What is due.
        trust: Who may come to life.
        document: SHA-256 of the document that asks.

    Raises:
        UntrustedCodeError: The policy does not hold the name.
        MissingDependencyError: Its package is not installed, or has no such name any more: what is
            found under it is defined elsewhere.
        CorruptObjectError: It is not what it says.
    """
    if not trust.allows(name, kind, document=document):
        raise refusal([name])
    thing = _BUILTIN_ALIASES.get(name)
    if thing is None:
        thing = _import(name)
    _check_kind(thing, name, kind)
    needs_exact = kind in NEEDS_EXACT_NAME or (
        kind is NameKind.OBJECT
        and any("__del__" in _dictionary_of(cls) for cls in type.__dict__["__mro__"].__get__(thing))
    )
    if (
        needs_exact
        and not is_default(name, kind)
        and not trust.grants_exactly(name, document=document)
    ):
        raise refusal([name])
    return thing


def refusal(names: list[str]) -> UntrustedCodeError:
    """Return the error that lists what was refused and how to grant it."""
    listed = sorted(set(names))
    shown = ", ".join(f"'{name}'" for name in listed[:8])
    more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
    grantable = [name for name in listed if not is_never_granted(name)]
    if len(grantable) < len(listed):
        hint = "some of these can never be trusted; nothing was imported"
    else:
        named = " ".join(grantable[:_MOST_NAMES])
        rest = "" if len(grantable) <= _MOST_NAMES else ", and the rest of them"
        hint = f"if you trust this code: 'tupli trust {named}'{rest}; nothing was imported"
    return UntrustedCodeError(
        f"the environment wants code that is not trusted here: {shown}{more}",
        names=listed,
        hint=hint,
    )


def lacking(name: str, err: Exception) -> MissingDependencyError:
    """Return the error for code that says itself which package it lacks."""
    return MissingDependencyError(
        f"'{name}' needs a package that is not installed: {one_line(err)}",
        hint="install that package",
    )


def loaded(name: str) -> Any:
    """Return the class or function that ``name`` says, None where it is not loaded yet."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:length]))
        if module is not None:
            return _found(module, parts[length:])
    return None


def _import(name: str) -> Any:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        module = sys.modules.get(module_name)
        if module is None:
            try:
                module = importlib.import_module(module_name)
            except ModuleNotFoundError as err:
                if err.name is not None and f"{module_name}.".startswith(f"{err.name}."):
                    continue
                raise MissingDependencyError(
                    f"'{module_name}' needs '{err.name}', which is not installed",
                    hint=f"pip install {err.name}",
                ) from err
            except DependencyNotInstalled as err:
                raise lacking(module_name, err) from err
            except (Exception, SystemExit) as err:
                raise MissingDependencyError(
                    f"'{module_name}' cannot be imported: {type(err).__name__}: {one_line(err)}",
                    hint="it is installed but broken: import it by hand to see why",
                ) from err
        thing = _found(module, parts[length:])
        if thing is None:
            raise MissingDependencyError(
                f"there is no '{'.'.join(parts[length:])}' in '{module_name}'",
                hint="it was renamed or removed since; the version it was stored with has it",
            )
        return thing
    raise MissingDependencyError(
        f"'{name}' is in a package that is not installed",
        hint=f"install what brings '{parts[0]}', or run where '{parts[0]}' can be imported, "
        "as with PYTHONPATH=.",
    )


def _found(module: object, path: list[str]) -> Any:
    """Walk from a module through classes only; no attribute hook of anybody runs."""
    thing: Any = module
    for part in path:
        if thing is module:
            if not isinstance(module, types.ModuleType):
                return None
        elif not _is_a(thing, type):
            return None
        thing = _dictionary_of(thing).get(part)
        if type(thing) is staticmethod:
            thing = thing.__func__
    return thing


def _check_kind(thing: Any, name: str, kind: NameKind) -> None:
    wanted = (
        (types.FunctionType, types.BuiltinFunctionType, np.ufunc)
        if kind is NameKind.FUNCTION
        else (type,)
    )
    if not _is_a(thing, *wanted):
        raise CorruptObjectError(f"'{name}' is no {kind}", hint=_WAS_ONE)
    if name in _BUILTIN_ALIASES or _is_a(thing, np.ufunc):
        return
    own_name = _own_name(thing)
    if own_name != name:
        raise MissingDependencyError(
            f"there is no '{name}' here: what has that name is '{one_line(own_name)}'",
            hint="if it was moved since: run the version it was stored with, or store the"
            " environment again",
        )
    if not _is_a(thing, type):
        return
    if kind is NameKind.ENV and not _inherits(thing, gymnasium.Env):
        raise CorruptObjectError(f"'{name}' is not a gymnasium.Env", hint=_WAS_ONE)
    if kind is NameKind.WRAPPER and not _inherits(thing, gymnasium.Wrapper):
        raise CorruptObjectError(f"'{name}' is not a gymnasium.Wrapper", hint=_WAS_ONE)


def _is_a(thing: object, *kinds: type) -> bool:
    """Say whether ``thing`` is one of ``kinds`` by its real type, whatever it claims."""
    return issubclass(type(thing), kinds)


def _inherits(cls: type, base: type) -> bool:
    return base in type.__dict__["__mro__"].__get__(cls)


def _own_name(thing: Any) -> str:
    """The module and name of a class or function, past a metaclass that says otherwise."""
    if _is_a(thing, type):
        module, qualname = (
            type.__dict__[part].__get__(thing) for part in ("__module__", "__qualname__")
        )
    else:
        module, qualname = thing.__module__, thing.__qualname__
    return f"{module}.{qualname}"


def _dictionary_of(thing: Any) -> Mapping[str, Any]:
    holder: type = type if _is_a(thing, type) else types.ModuleType
    found: Mapping[str, Any] = vars(holder)["__dict__"].__get__(thing)
    return found
