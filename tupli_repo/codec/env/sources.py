"""Which code a document's environment is made of: packages and their versions, source files.

Recorded when a benchmark is stored, compared when its environment is loaded: the same document run
by other code is another environment.

Invariant: nothing is imported; only modules that this process has loaded already are looked at.
"""

import functools
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NamedTuple

from tupli_repo.codec.env.audit import wanted_names
from tupli_repo.codec.env.document import load_json
from tupli_repo.codec.env.names import loaded

_ALWAYS = ("gymnasium", "numpy")
_FOREIGN_VALUE = re.compile(r'"py/object":"(pandas|torch)\.')
_MAX_HELPERS = 500
_NOT_TOLD = sys.stdlib_module_names | {"__main__", "tupli_repo"}


class Sources(NamedTuple):
    """The code of an environment.

    Attributes:
        packages: The version of each installed package that a class or value comes from, by the
            name it is installed under; gymnasium's and numpy's always.
        modules: SHA-256 of the source file of each module that a class comes from, and of the
            user's own modules that these use.
    """

    packages: dict[str, str]
    modules: dict[str, str]


def sources_of(text: str) -> Sources:
    """Return the code that the classes and functions named in a document come from.

    Args:
        text: What ``parse`` accepted. Classes that are not loaded are left out.
    """
    modules = {module for wanted in wanted_names(load_json(text)) for module in _homes(wanted.name)}
    modules |= _helpers_of(modules)
    roots = modules | {found[1] for found in _FOREIGN_VALUE.finditer(text)}
    names = {name for root in roots for name in _installed_as(root)}
    versions = {name: _version(name) for name in (*_ALWAYS, *names)}
    hashes = {module: _source_hash(module) for module in modules}
    return Sources(
        packages={name: found for name, found in sorted(versions.items()) if found is not None},
        modules={name: found for name, found in sorted(hashes.items()) if found is not None},
    )


def differences(packages: Mapping[str, str], modules: Mapping[str, str]) -> list[str]:
    """Return what is not as it was recorded, one short phrase for each package or module.

    Of a package whose version differs the modules are not listed. Modules that are not loaded are
    passed over.

    Args:
        packages: As `Sources` has them.
        modules: As `Sources` has them.
    """
    found = []
    changed = set()
    for name, recorded in packages.items():
        here = _version(name)
        if here != recorded:
            found.append(f"{name} {recorded} (here {here or 'it is not installed'})")
            changed.add(name)
    for module, recorded in modules.items():
        here = _source_hash(module)
        if here not in (None, recorded) and changed.isdisjoint(_installed_as(module)):
            found.append(f"another source of '{module}'")
    return found


def _homes(name: str) -> Iterator[str]:
    """Yield the modules a class and its bases, or a function, are defined in."""
    thing = loaded(name)
    for part in inspect.getmro(thing) if isinstance(thing, type) else [thing]:
        module = getattr(part, "__module__", None)
        if isinstance(module, str) and module.partition(".")[0] not in sys.stdlib_module_names:
            yield module


def _helpers_of(modules: set[str]) -> set[str]:
    """Return the modules of the user's own that some modules use, and those that these use.

    What is installed as a package has a version that tells.
    """
    seen = {module for module in modules if not _installed_as(module)}
    todo = list(seen)
    while todo and len(seen) < _MAX_HELPERS:
        for value in list(vars(sys.modules[todo.pop()]).values()):
            name = value.__name__ if isinstance(value, ModuleType) else _home_of(value)
            root = name.partition(".")[0]
            if name in seen or name not in sys.modules or root in _NOT_TOLD:
                continue
            if not _installed_as(name):
                seen.add(name)
                todo.append(name)
    return seen


def _home_of(value: object) -> str:
    if not isinstance(value, type | FunctionType):
        return ""
    home: object = value.__module__  # somebody may have set it to anything
    return home if isinstance(home, str) else ""


def _source_hash(module: str) -> str | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return None
    try:
        return sha256(Path(file).read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    except OSError:  # it ran from there, and is there no more
        return None


def _installed_as(module: str) -> list[str]:
    return _distributions().get(module.partition(".")[0], [])


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
