"""What is reachable: everything that roots lead to, link by link.

Roots are what refs name, and in a work repository each record that is not hidden. Links are read
file by file and block by block, from records only; of what was seen, 32 bytes are kept.

Invariant: what is marked stays marked; a file whose links cannot be told is an error, never passed
over. What is linked and not here (pruned, or on its way) is noted, and followed once it comes.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tupli_repo.errors import NotFoundError
from tupli_repo.odb.block import Directory
from tupli_repo.odb.objects import Kind, ObjectId, decode_header
from tupli_repo.odb.store import ObjectStore

LISTED = (
    Kind.BENCHMARK,
    Kind.ARTIFACT,
    Kind.EPISODE,
    Kind.PROVENANCE,
    Kind.TOMBSTONE,
    Kind.ANNOTATION,
)
"""The kinds whose presence alone makes them roots in a work repository."""

_LINKING = tuple(kind for kind in Kind if not kind.is_data)
_ID_BYTES = 32
_TRIES = 20


class Roots(NamedTuple):
    """Where reachability begins; ids are raw, 32 bytes each.

    Attributes:
        named: What refs name, in every group, yanked or not.
        hidden: What is hidden here: it is a root by a ref alone.
        only_named: Whether presence makes no root, as in a bare repository. Tombstones stay.
        gone: What was taken back: linked perhaps, but never brought back from the trash.
        is_torn: Whether records of names are missing, so that more would be named than is told.
    """

    named: frozenset[bytes]
    hidden: frozenset[bytes] = frozenset()
    only_named: bool = False
    gone: frozenset[bytes] = frozenset()
    is_torn: bool = False

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds whose presence makes a root."""
        return (Kind.TOMBSTONE,) if self.only_named else LISTED


FindRoots = Callable[[], Roots]
"""Looks anew at the refs, then at the store, and returns the roots."""


class Reach:
    """What is reachable in one repository; `look` adds what has become so.

    Args:
        store: The repository's objects.
        find_roots: Looks anew.

    Attributes:
        roots: As of the last look.
        marked: The raw ids that some look found reachable, here or not.
        unread: Those of them that were not here, so that their links are not known.
    """

    def __init__(self, store: ObjectStore, find_roots: FindRoots) -> None:
        self._store = store
        self._find_roots = find_roots
        self.roots = Roots(frozenset())
        self.marked: set[bytes] = set()
        self.unread: set[bytes] = set()

    @property
    def lacking(self) -> int:
        """How much is missing that could lead to what presence alone makes no root.

        While that is not 0, it cannot be told what nothing leads to.
        """
        if not self.roots.only_named:
            return 0
        return len(self.unread - self.roots.gone) + self.roots.is_torn

    def look(self) -> None:
        """Look anew at roots and store, and follow what has not been followed yet.

        Raises:
            CorruptObjectError: A file is damaged, so that what it links cannot be told.
            StorageIOError: One cannot be read.
        """
        self.roots = self._find_roots()
        front = self.unread | (self._new_roots() - self.marked)
        while front:
            self.marked |= front
            nearer: set[bytes] = set()
            self.unread -= front
            self.unread |= self._follow(front, nearer)
            front = nearer - self.marked

    def _new_roots(self) -> set[bytes]:
        roots, found = self.roots, set(self.roots.named)
        for file in self._store.block_files():
            found.update(map(bytes.fromhex, file.directory.ids(*roots.kinds)))
        loose = self._store.loose().items()
        found.update(bytes.fromhex(oid) for oid, kind in loose if kind in roots.kinds)
        return found - (roots.hidden - roots.named)

    def _follow(self, front: set[bytes], nearer: set[bytes]) -> set[bytes]:
        """Add what objects link to ``nearer``; returns those that are not here."""
        for _ in range(_TRIES):
            try:
                return self._read_links(front, nearer)
            except FileNotFoundError:  # superseded meanwhile
                self._store.refresh()
        raise NotFoundError(
            "the repository is changed faster than it can be looked at", hint="try again"
        )

    def _read_links(self, front: set[bytes], nearer: set[bytes]) -> set[bytes]:
        left = set(front)
        for file in self._store.block_files():
            here = left & file.directory.raw_ids()
            left -= here
            for _, _, encoded in file.read_encoded(_linking(file.directory, here)):
                nearer.update(raw_links(encoded))
        loose = self._store.loose()
        here = {raw for raw in left if ObjectId(raw.hex()) in loose}
        for raw in here:
            oid = ObjectId(raw.hex())
            if not loose[oid].is_data:
                nearer.update(map(bytes.fromhex, self._store.read(oid).links))
        return left - here


def raw_links(encoded: bytes) -> Iterator[bytes]:
    """Iterate over the raw ids that an encoded object links.

    Raises:
        CorruptObjectError: It is none.
    """
    header = decode_header(encoded)
    for at in range(header.links_start, header.body_start, _ID_BYTES):
        yield encoded[at : at + _ID_BYTES]


def _linking(directory: Directory, chosen: set[bytes]) -> Iterator[ObjectId]:
    """Those of some objects that may link others."""
    if chosen:
        for oid in directory.ids(*_LINKING):
            if bytes.fromhex(oid) in chosen:
                yield oid
