"""Classes that leave a trace when any of their code runs; no document may make it run.

The trace is an entry in ``TRIPS``, which every test here looks at, and an audit event.
"""

import abc
import enum
import pathlib
import sys
from types import FrameType
from typing import Any, NamedTuple

import gymnasium
from gymnasium.wrappers import RecordVideo

from tests.codec.env import sample_envs
from tests.codec.env.sample_envs import Base

TRIPS: list[str] = []
"""Who made something run, one entry a time."""


def trip(*_: Any, **__: Any) -> Any:
    """Leave a trace; writing a file would be as easy."""
    caller = sys._getframe(1)
    if _is_copied_by_a_constructor(caller):
        return
    TRIPS.append(f"{caller.f_code.co_qualname} in {caller.f_code.co_filename}:{caller.f_lineno}")
    sys.audit("gadgets.trip")


def _is_copied_by_a_constructor(frame: FrameType | None) -> bool:
    """Say whether gymnasium copies what its wrapper was given: who grants a class allows that."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "gymnasium.utils.record_constructor":
            return True
        frame = frame.f_back
    return False


class Deleted:
    def __del__(self):
        trip()


class DeletedToo(Deleted):
    """Inherits what runs at its end."""


class Steered:
    """Every way in which writing or comparing an attribute could run code."""

    __setattr__ = __getattr__ = __hash__ = __eq__ = __init__ = trip
    __reduce__ = __reduce_ex__ = __deepcopy__ = __copy__ = __iter__ = __len__ = trip


class WithSetter:
    def _get(self):
        return trip()

    def _set(self, value):
        trip()

    guarded = property(_get, _set)


class WithNew:
    def __new__(cls, *_):
        trip()
        return object.__new__(cls)


class Slots:
    __slots__ = ("a",)


class Registering:
    def __init_subclass__(cls):
        trip()


class Hue(enum.Enum):
    RED = 1

    @classmethod
    def _missing_(cls, value):
        trip()


class Folder(enum.StrEnum):
    SECRET = "/etc/passwd"


class Pair(NamedTuple):
    left: int
    right: int

    def __iter__(self):
        trip()
        return iter(())


class ListOfOwn(list[Any]):
    append = extend = __setitem__ = trip


class Renaming(type):
    def __getattribute__(cls, name: str) -> Any:
        return "Renamed" if name == "__qualname__" else super().__getattribute__(name)


class Original(metaclass=Renaming):
    """Its metaclass says it is called 'Renamed'."""


Renamed = Original
Alias = Slots


class Pretending:
    """An instance that claims to be a class."""

    @property  # type: ignore[misc]
    def __class__(self):
        trip()
        return type


pretending = Pretending()


class Abstract(Base, abc.ABC):
    @abc.abstractmethod
    def missing(self) -> None: ...


class NoEnv:
    """Neither an environment nor a wrapper."""


class Closed(Base):
    """Does not take the list of its artifacts."""

    @property
    def related_artifacts(self):
        return ()


class Leaving(Base):
    def __init__(self):
        raise SystemExit(3)


class Lacking(Base):
    def __init__(self):
        raise gymnasium.error.DependencyNotInstalled("MuJoCo is not installed")


class Recording(RecordVideo):
    """A user's own class of the wrapper that writes files."""


def make_env():
    return gymnasium.make("CartPole-v1")


Outer = sample_envs.Everything
HERE = pathlib.Path
