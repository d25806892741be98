"""In which files the members of large sets lie, found once.

Whether a million episodes are in a repository is asked whenever something small is new. A pack
never changes and a journal only grows, so what was found in some of them is there for as long as
they are; only what was found in none is looked for again. It is noted in the user's cache, for
other processes.

Invariant: what is told to be missing is what a look at each member would tell.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

_MAX_REST = 4096  # members; more of them missing will soon be fewer
_FLEETING = "journal"


class HeldIds(Protocol):
    """The ids of the objects in a pack or journal."""

    def among(self, raw_ids: set[bytes]) -> set[bytes]:
        """Return which of some ids, 32 bytes each, are there."""


class Place(Protocol):
    """Where objects lie: a repository, here or elsewhere."""

    def holders(self) -> Mapping[str, HeldIds]:
        """Return what each pack and journal holds, by what tells it from any that holds less."""

    def missing(self, raw_ids: Iterable[bytes]) -> set[bytes]:
        """Return which of many ids are not there."""


class Notes(Protocol):
    """Keeps what was found for other processes; see `catalog.notes`."""

    def read(self, oid: str) -> bytes | None:
        """Return what is noted of a set, exactly as it was written."""

    def write(self, oid: str, body: bytes) -> None:
        """Note something of a set, as far as that is possible."""


class _Held(NamedTuple):
    """The files in which a set was found, and the members that are in none."""

    files: frozenset[str]
    rest: frozenset[bytes]


class Holdings:
    """Where the members of sets lie in one place.

    Args:
        place: The place.
        notes: Where it is noted for other processes of this user; None: nowhere.
        at_least: Of sets of how many members: where directories need not be read, few are found as
            fast as a note is read.
    """

    def __init__(self, place: Place, notes: Notes | None = None, *, at_least: int = 0) -> None:
        self._at_least = at_least
        self._place = place
        self._notes = notes
        self._held: dict[str, _Held] = {}

    def missing(self, oid: str, members: Callable[[], Collection[bytes]]) -> set[bytes]:
        """Return the raw ids of the members of a set that are not there.

        Args:
            oid: The set's id.
            members: Gives the raw ids of its members; called where these have to be looked for.
        """
        files = self._place.holders()
        held = self._held.get(oid) or self._noted(oid)
        if held is None or not held.files <= files.keys():
            wanted = members()
            held = _looked_for(set(wanted), files)
            if len(wanted) >= self._at_least:
                self._note(oid, held)
        self._held[oid] = held
        return self._place.missing(held.rest) if held.rest else set()

    def _noted(self, oid: str) -> _Held | None:
        """What is noted of a set, if anything is."""
        body = self._notes.read(oid) if self._notes is not None else None
        if body is None:
            return None
        files, rest = json.loads(body)
        return _Held(frozenset(files), frozenset(map(bytes.fromhex, rest)))

    def _note(self, oid: str, held: _Held) -> None:
        is_fleeting = any(_FLEETING in name for name in held.files)
        if self._notes is None or is_fleeting or len(held.rest) > _MAX_REST:
            return
        rest = [raw_id.hex() for raw_id in held.rest]
        self._notes.write(oid, json.dumps([sorted(held.files), rest]).encode())


def _looked_for(left: set[bytes], files: Mapping[str, HeldIds]) -> _Held:
    found: list[str] = []
    for name, ids in files.items():
        if here := ids.among(left):
            left -= here
            found.append(name)
        if not left:
            break
    return _Held(frozenset(found), frozenset(left))
