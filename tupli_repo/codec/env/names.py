"""Dotted names of classes and functions: from an object to its name, and from a name to its object.

Invariant: ``name_of(x)`` is a name that ``resolve`` turns back into ``x``; ``resolve`` imports
nothing before the trust policy allowed the name, and returns only an object that is defined
under exactly that name and is of the kind that is due.
"""

import importlib
import sys
import types
from typing import Any

import gymnasium
import numpy as np

from tupli_repo.codec.env.value_type import UnrepresentableError
from tupli_repo.codec.trust import NameKind, TrustPolicy, is_default, is_never_granted
from tupli_repo.errors import CorruptObjectError, MissingDependencyError, UntrustedCodeError

_MOVE_IT = "define it at the top level of a module that can be imported, or exclude the attribute"

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
        MissingDependencyError: Its package is not installed.
        CorruptObjectError: It is not there, or not what it says.
    """
    if not trust.allows(name, kind, document=document):
        raise refusal([name])
    thing = _BUILTIN_ALIASES.get(name)
    if thing is None:
        thing = _import(name)
    _check_kind(thing, name, kind)
    needs_exact = kind is NameKind.FUNCTION or (
        kind is NameKind.OBJECT and hasattr(thing, "__del__")
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
        hint = f"if you trust this code: 'tupli trust {' '.join(grantable)}'; nothing was imported"
    return UntrustedCodeError(
        f"the environment wants code that is not trusted here: {shown}{more}",
        names=listed,
        hint=hint,
    )


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
            except Exception as err:
                raise MissingDependencyError(
                    f"'{module_name}' cannot be imported: {type(err).__name__}: {err}",
                    hint="it is installed but broken: import it by hand to see why",
                ) from err
        thing = _found(module, parts[length:])
        if thing is None:
            raise CorruptObjectError(
                f"there is no '{'.'.join(parts[length:])}' in '{module_name}'",
                hint="another version of the package may have it",
            )
        return thing
    raise MissingDependencyError(
        f"'{name}' is in a package that is not installed",
        hint=f"install what brings '{parts[0]}', or run where it can be imported",
    )


def _found(module: types.ModuleType | None, path: list[str]) -> Any:
    """Walk from a module through classes only; no attribute hook of anybody runs."""
    thing: Any = module
    for part in path:
        if thing is not module and not isinstance(thing, type):
            return None
        if thing is None:
            return None
        thing = vars(thing).get(part)
        if isinstance(thing, staticmethod):
            thing = thing.__func__
    return thing


def _check_kind(thing: Any, name: str, kind: NameKind) -> None:
    callables = types.FunctionType | types.BuiltinFunctionType | np.ufunc
    wanted = callables if kind is NameKind.FUNCTION else type
    if not isinstance(thing, wanted):
        raise CorruptObjectError(f"'{name}' is not a {kind}")
    if name in _BUILTIN_ALIASES or isinstance(thing, np.ufunc):
        return
    own_name = f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', None)}"
    if own_name != name:
        raise CorruptObjectError(f"'{name}' is really '{own_name}'")
    if not isinstance(thing, type):
        return
    if kind is NameKind.ENV and not issubclass(thing, gymnasium.Env):
        raise CorruptObjectError(f"'{name}' is not a gymnasium.Env")
    if kind is NameKind.WRAPPER and not issubclass(thing, gymnasium.Wrapper):
        raise CorruptObjectError(f"'{name}' is not a gymnasium.Wrapper")
