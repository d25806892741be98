"""Checking every file of a repository: what can be read, what is damaged, what is missing.

It reads files, not through `ObjectStore`, which raises at the first damage. Files are read one
after the other and blocks one by one, so that memory holds ids and nothing more.

Invariant: `Survey` counts an object as present only where its file is whole as far as the level
looks; nothing on the disk is changed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError, NotFoundError, StorageIOError
from tupli_repo.odb import block, frames
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.journal import JournalFile
from tupli_repo.odb.maintenance.check_refs import KnownRefs, check_generations, check_refs
from tupli_repo.odb.maintenance.names import Damage, Told, look
from tupli_repo.odb.maintenance.salvage import Scan, check_blocks, is_blank_from, scan
from tupli_repo.odb.objects import Encoded, Kind, Object, ObjectId, decode, decode_header
from tupli_repo.odb.pack import FILE_MAGIC, PackFile
from tupli_repo.odb.trashed import read_loose_encoded

_HEAD_BYTES = 256 << 10  # the first block of any zstd frame is shorter
_PEEK_BYTES = 64
_TRIES = 3
_BATCH_BYTES = 32 << 20
IN_ORDER = (
    (Kind.PROVENANCE, Kind.TOMBSTONE, Kind.ANNOTATION),
    (Kind.ARTIFACT,),
    (Kind.BENCHMARK,),
    (Kind.EPISODE,),
    (Kind.EPISODES,),
    (Kind.RELEASE,),
)
"""The kinds that have links or say something, what is linked first."""


class Progress(NamedTuple):
    """How far a check has come: bytes of files, of those there are."""

    bytes_done: int
    bytes: int


OnProgress = Callable[[Progress], None]


class Choice:
    """Which bytes are held against their hashes.

    Args:
        everything: Whether all are.
        share: Of each hundred percent, 0 to 1, at random: blocks of packs, and loose objects.
        turn: Which of how many parts, by the files' names: ``(3, 30)`` is the third thirtieth.
    """

    def __init__(
        self,
        *,
        everything: bool = False,
        share: float = 0.0,
        turn: tuple[int, int] | None = None,
    ) -> None:
        self._everything = everything
        self._turn = turn
        self.share = share
        self._random = SystemRandom()

    def is_whole(self, name: str) -> bool:
        """Whether all of a file is looked at; ``name`` begins with 8 hex digits."""
        if self._turn is not None:
            number, parts = self._turn
            return int(name[:8], 16) % parts == number - 1
        return self._everything

    def is_drawn(self) -> bool:
        """Whether the next block or loose object is looked at."""
        return self._random.random() < self.share

    def blocks(self, n_blocks: int) -> list[int]:
        """Draw some of a pack's blocks."""
        return [n for n in range(n_blocks) if self.is_drawn()]


class Survey:
    """Everything in a repository that can be read, and what cannot.

    It can stand where an `ObjectStore` is read: damage and all, as if what is damaged were missing.

    Args:
        files: The repository's files.
        choice: Which bytes are held against their hashes.
        on_progress: Told how far it has come.

    Attributes:
        told: The findings, and the damage.
        names: What is there by its name.
        refs: The records that are whole.
        present: The raw ids of the objects that can be read.
        loose: The loose ones, with their kinds.
        block_files: Packs and journals by name; of damaged ones what is whole in them.
        scans: What reading all of the damaged ones has shown.
    """

    def __init__(
        self, files: RepositoryFiles, choice: Choice, on_progress: OnProgress | None = None
    ) -> None:
        self._files = files
        self._choice = choice
        self._on_progress = on_progress
        self._done = self._total = 0
        self.told = Told(files.root)
        self.names = look(files, self.told)
        self.refs: KnownRefs = check_refs(files, self.names, self.told)
        check_generations(files, self.refs, self.told)
        self.present: set[bytes] = set()
        self.loose: dict[ObjectId, Kind] = {}
        self.block_files: dict[str, BlockFile] = {}
        self.scans: dict[str, Scan] = {}
        self.bytes_read = 0

    def run(self) -> None:
        """Look at all files that hold objects."""
        sizes = [*self.names.loose.values(), *self.names.packs.values()]
        self._total = sum(one.size_bytes for one in (*sizes, *self.names.journals.values()))
        for name in (*self.names.journals, *self.names.packs):
            self._look_at(name)
            self._step((self.names.packs.get(name) or self.names.journals[name]).size_bytes)
        for oid, status in self.names.loose.items():
            self._look_at_loose(oid, status.size_bytes)
            self._step(status.size_bytes)

    # ---- files

    def _look_at(self, name: str) -> None:
        path = self._files.packs / name
        try:
            if name in self.names.journals:
                self._look_at_journal(name, path)
            else:
                self._look_at_pack(name, path)
        except FileNotFoundError:  # superseded: what it held is looked for at the end
            self.block_files.pop(name, None)
        except StorageIOError as err:
            self.told.unreadable(path, err)

    def _look_at_journal(self, name: str, path: Path) -> None:
        journal = JournalFile(self._files, path)
        size = self.names.journals[name].size_bytes
        try:
            journal.refresh()
        except CorruptObjectError as err:
            self._give_up(name, err.reason)
            return
        self.bytes_read += size
        self._keep(name, journal)
        blocks = journal.directory.blocks
        end = blocks[-1].end if blocks else len(FILE_MAGIC)
        if size > end:
            self._tell_torn(path, end, size - end)

    def _tell_torn(self, path: Path, end: int, n_bytes: int) -> None:
        """Tell what is behind the last block of a journal."""
        is_blank = is_blank_from(self._files, path, end)
        what = (
            "zeros: nothing was written there, as a power loss leaves it"
            if is_blank
            else "no whole block: a writer is at work, or died, or the file was cut off"
        )
        self.told.tell(
            "info" if is_blank else "warning",
            "torn",
            path,
            f"its last {n_bytes} bytes are {what}",
            "what was acknowledged before is whole; 'tupli gc' tidies up after dead writers",
        )

    def _look_at_pack(self, name: str, path: Path) -> None:
        if self._choice.is_whole(name):
            found = scan(self._files, path)
            self.bytes_read += found.size_bytes
            if found.problems:
                self._note(name, found)
                return
            self._keep(name, PackFile(self._files, path))
            return
        pack = PackFile(self._files, path)
        try:
            chosen = self._choice.blocks(len(pack.directory.blocks))
            self.bytes_read += check_blocks(self._files, pack, chosen)
        except CorruptObjectError as err:
            self._give_up(name, err.reason)
        else:
            self._keep(name, pack)

    def _give_up(self, name: str, reason: str) -> None:
        """Take of a damaged pack or journal what is whole."""
        found = scan(self._files, self._files.packs / name)
        self.bytes_read += found.size_bytes
        if not found.problems:
            found.problems.append(reason)
        self._note(name, found)

    def _note(self, name: str, found: Scan) -> None:
        more = len(found.problems) - 1
        reason = found.problems[0] + (f", and {more} more" if more else "")
        self.told.damage.append(
            Damage(path=found.file.path, reason=reason, held=dict(found.lost.items()))
        )
        self.scans[name] = found
        self._keep(name, found.file)

    def _keep(self, name: str, file: BlockFile) -> None:
        self.block_files[name] = file
        self.present.update(file.directory.raw_ids())

    def _look_at_loose(self, oid: ObjectId, size_bytes: int) -> None:
        path = loose_path(self._files, oid)
        try:
            if self._choice.is_whole(oid) or self._choice.is_drawn():
                kind = read_loose(self._files, oid).kind
                self.bytes_read += size_bytes
            else:
                kind = _loose_kind(self._files, path, size_bytes)
                if not kind.is_data:  # its links are needed
                    kind = read_loose(self._files, oid).kind
        except FileNotFoundError:
            return
        except CorruptObjectError as err:
            self.told.damage.append(Damage(path=path, reason=err.reason, held={oid: None}))
        except StorageIOError as err:
            self.told.unreadable(path, err)
            self.present.add(bytes.fromhex(oid))  # it may be whole
        else:
            self.loose[oid] = kind
            self.present.add(bytes.fromhex(oid))

    def _step(self, size_bytes: int) -> None:
        self._done += size_bytes
        if self._on_progress is not None:
            self._on_progress(Progress(min(self._done, self._total), self._total))

    def look_again(self) -> None:
        """Look for what has come since: what was superseded meanwhile is in it."""
        again = look(self._files, Told(self._files.root))
        known, known_loose = set(self.block_files), set(self.names.loose)
        before = dict(self.names.journals)
        self.names.packs.update(again.packs)
        self.names.journals.update(again.journals)
        for name, status in (*again.journals.items(), *again.packs.items()):
            has_grown = name in before and before[name].size_bytes != status.size_bytes
            if name not in known or (has_grown and name not in self.scans):
                self._look_at(name)
        for oid, status in again.loose.items():
            if oid not in known_loose:
                self.names.loose[oid] = status
                self._look_at_loose(oid, status.size_bytes)

    # ---- objects

    def records(self, *kinds: Kind) -> Iterator[tuple[ObjectId, Object]]:
        """Iterate over the objects of some kinds, each once; damage that is met is told."""
        seen: set[ObjectId] = set()
        for oid in [oid for oid, kind in self.loose.items() if kind in kinds]:
            try:
                obj = decode(read_loose(self._files, oid).encoded)
            except (CorruptObjectError, StorageIOError, FileNotFoundError):  # changed just now
                continue
            seen.add(oid)
            yield oid, obj
        for name in list(self.block_files):
            for _ in range(_TRIES):
                file = self.block_files[name]
                wanted = [oid for oid in file.directory.ids(*kinds) if oid not in seen]
                try:
                    for oid, obj in file.read_many(wanted):
                        seen.add(oid)
                        yield oid, obj
                except CorruptObjectError as err:
                    self._lose(name, err.reason)
                except StorageIOError as err:
                    self.told.unreadable(file.path, err)
                    break
                except FileNotFoundError:  # superseded: it comes with its new file
                    break
                else:
                    break

    def _lose(self, name: str, reason: str) -> None:
        """Put what is whole in a file that was thought to be whole in its place."""
        before = self.block_files.pop(name)
        with suppress(FileNotFoundError, StorageIOError):
            self._give_up(name, reason)
        gone = set(before.directory.raw_ids())
        for file in self.block_files.values():
            gone -= file.directory.raw_ids()
        self.present -= {raw for raw in gone if ObjectId(raw.hex()) not in self.loose}

    def contains(self, oid: ObjectId) -> bool:
        """Return whether an object can be read."""
        return bytes.fromhex(oid) in self.present

    def missing(self, raw_ids: Iterable[bytes]) -> set[bytes]:
        """Return which of many ids cannot be read."""
        return set(raw_ids) - self.present

    def read(self, oid: ObjectId) -> Object:
        """Return one object, verified.

        Raises:
            NotFoundError: It cannot be read.
        """
        for _, obj in self.read_many([oid]):
            return obj
        raise NotFoundError(f"object '{oid[:12]}' is not in this repository")

    def read_many(self, ids: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, Object]]:
        """Read objects, verified, file by file; those that cannot be read are left out."""
        for oid, _, encoded in self.read_encoded(ids):
            yield oid, decode(encoded)

    def read_encoded(self, ids: Iterable[ObjectId]) -> Iterator[Encoded]:
        """Read objects as `read_many` does, but leave them encoded."""
        left = dict.fromkeys(ids)
        for oid in [oid for oid in left if oid in self.loose]:
            with suppress(CorruptObjectError, StorageIOError, FileNotFoundError):
                found = read_loose(self._files, oid)
                del left[oid]
                yield oid, found.kind, found.encoded
        for file in self.block_files.values():
            if not left:
                return
            here = [oid for oid in left if oid in file.directory]
            with suppress(CorruptObjectError, StorageIOError, FileNotFoundError):
                for item in file.read_encoded(here):
                    del left[item[0]]
                    yield item

    def kind_of(self, oid: ObjectId) -> Kind | None:
        """Return the kind of an object that can be read."""
        if oid in self.loose:
            return self.loose[oid]
        for file in self.block_files.values():
            entry = file.directory.get(oid)
            if entry is not None:
                return entry.kind
        return None

    def length_of(self, oid: ObjectId) -> int:
        """Return about how long an object is, encoded, in bytes."""
        for file in self.block_files.values():
            entry = file.directory.get(oid)
            if entry is not None:
                return entry.length
        return self.names.loose[oid].size_bytes if oid in self.names.loose else 0

    def write(self, obj: Object) -> ObjectId:
        """Refuse: a check changes nothing."""
        raise AssertionError(f"a check writes a {obj.kind}")

    def refresh(self) -> None:
        """Do nothing: all is as it was found."""

    def missing_of(self, oid: ObjectId, members: Callable[[], Collection[bytes]]) -> set[bytes]:
        """Return which members of a set cannot be read."""
        return self.missing(members())


class LooseObject(NamedTuple):
    """A loose object, verified."""

    kind: Kind
    encoded: bytes


def loose_path(files: RepositoryFiles, oid: ObjectId) -> Path:
    """Return where a loose object lies."""
    return files.objects / oid[:2] / oid[2:]


def read_loose(files: RepositoryFiles, oid: ObjectId, path: Path | None = None) -> LooseObject:
    """Return a loose object, verified.

    Args:
        files: The repository's files.
        oid: Its id.
        path: Where it lies, if not in its place.

    Raises:
        CorruptObjectError: It is damaged.
        FileNotFoundError: It is gone.
        StorageIOError: The operating system refused.
    """
    encoded = read_loose_encoded(files, path or loose_path(files, oid), oid)
    return LooseObject(decode(encoded).kind, encoded)


def _loose_kind(files: RepositoryFiles, path: Path, size_bytes: int) -> Kind:
    """The kind of a loose object whose size is possible."""
    if not 0 < size_bytes <= block.MAX_STORED_BYTES:
        raise CorruptObjectError(f"it has {size_bytes} bytes")
    try:
        head = frames.peek(files.read(path, max_bytes=_HEAD_BYTES), size=_PEEK_BYTES)
    except frames.FrameError as err:
        raise CorruptObjectError(str(err)) from None
    return decode_header(head).kind
