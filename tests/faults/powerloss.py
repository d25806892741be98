"""What may be left of a disk when the power fails, at each moment of a history.

`PowerLoss` notes what happens on a `MemoryFileSystem`. A state is what one finds after a power
loss at one moment: what was synced is there; of the rest, any part.

- Names (made, renamed, linked, removed) are durable once their folder was synced, and only those in
  that folder: of a rename from one folder to another, either half may be there without the other.
  A folder the name of which was lost takes all in it along.
- Bytes are durable once the file was synced. Of the rest there is nothing, the first half or any
  other beginning, zeros in place of what lacks, or all. One to three zeros are there only where a
  sector begins with them: a page is written or it is not, and it may have been cut off anywhere.

That is more than what any one file system loses: what survives here, survives on all of them.
Modes and times are not part of the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from tests.faults.memory import MemoryFileSystem, _copied, _overlay
from tests.faults.nodes import FileSync, FolderSync, Naming, Node, Writing

TAILS = ("none", "half", "zeros", "full")
"""What may be left of bytes that were not synced."""
_MIXED_TAILS = (*TAILS, "half", "some and zeros", "whole sectors")
_SECTOR_BYTES = 512
FEWEST_ZEROS = 4
"""So many at least stand in place of bytes that lack within a sector."""
_MOST_ALONE = 12
_MOST_IN_VAIN = 500


class CrashState(NamedTuple):
    """A disk after a power loss.

    Attributes:
        position: How many changes had been made.
        disk: What is left.
        story: How it came about, for messages.
    """

    position: int
    disk: MemoryFileSystem
    story: str


class _Choice(NamedTuple):
    """What of the changes that were not synced has persisted; ``tails`` in the order of `TAILS`."""

    position: int
    kept: frozenset[int]
    tail: str  # or "mixed": each file has its own
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """What is certain before the n-th change, and what is not."""

    durable: tuple[int, ...]
    pending: tuple[int, ...]
    bytes: dict[int, tuple[bytes, bytes]]  # by inode: what was synced, and all
    is_torn: bool


class PowerLoss:
    """Notes what happens on a disk from now on.

    Args:
        disk: The disk; all that is there already is durable.
        only: Below which path the power fails; what lies elsewhere is never lost.
    """

    def __init__(self, disk: MemoryFileSystem, *, only: str = "/") -> None:
        self._disk = disk
        self._start = disk.copy()
        self._only = only.rstrip("/") + "/"
        self._marks: list[int] = []
        self._log = disk.log = []

    @property
    def position(self) -> int:
        """How many changes have been made until now."""
        return len(self._log)

    def mark(self) -> int:
        """Return the position: what was acknowledged now holds in each state from there on."""
        self._marks.append(self.position)
        return self.position

    def states(self, limit: int, *, seed: int = 0) -> Iterator[CrashState]:
        """Give states, no two alike between two marks.

        At each moment of what was not synced: nothing has persisted, all, each change alone, all
        but each; with each tail. Where these are more than ``limit``, some of them; where they are
        fewer, random parts are added.
        """
        random = Random(seed)
        moments = self._moments()
        choices = [one for at in range(len(moments)) for one in _plain(moments[at], at, random)]
        random.shuffle(choices)
        seen: set[object] = set()
        in_vain = 0
        while len(seen) < limit and in_vain < _MOST_IN_VAIN:
            choice = choices.pop() if choices else self._random_choice(moments, random)
            disk = self._left(moments[choice.position], choice)
            key = (sum(mark <= choice.position for mark in self._marks), disk.print_of())
            in_vain = in_vain + 1 if key in seen else 0
            if key not in seen:
                seen.add(key)
                yield CrashState(choice.position, disk, self._story(choice))

    def _random_choice(self, moments: list[_Moment], random: Random) -> _Choice:
        at = random.randrange(len(moments))
        share = random.random()
        kept = frozenset(n for n in moments[at].pending if random.random() < share)
        return _Choice(at, kept, "mixed", random.getrandbits(32))

    def _moments(self) -> list[_Moment]:
        durable: list[int] = []
        pending: list[int] = []
        contents: dict[int, tuple[bytes, bytes]] = {}
        sizes = _sizes(self._start.root)
        found = []
        for at in range(len(self._log) + 1):
            found.append(
                _Moment(
                    durable=tuple(durable),
                    pending=tuple(pending),
                    bytes=dict(contents),
                    is_torn=any(synced != full for synced, full in contents.values()),
                )
            )
            if at == len(self._log):
                break
            change = self._log[at]
            match change:
                case Naming(path=path):
                    is_safe = not path.startswith(self._only)
                    (durable if is_safe else pending).append(at)
                case FolderSync(inode=inode):
                    for n in [n for n in pending if self._folder_of(n) == inode]:
                        pending.remove(n)
                        durable.append(n)
                case Writing(path=path, inode=inode, offset=offset, data=data):
                    if inode not in contents:
                        old = sizes.get(inode, b"")
                        contents[inode] = (old, old)
                    synced, full = contents[inode]
                    whole = bytearray(full)
                    _overlay(whole, offset, data)
                    is_safe = not path.startswith(self._only)
                    contents[inode] = (bytes(whole) if is_safe else synced, bytes(whole))
                case FileSync(inode=inode):
                    if inode in contents:
                        contents[inode] = (contents[inode][1],) * 2
        return found

    def _folder_of(self, at: int) -> int:
        change = self._log[at]
        assert isinstance(change, Naming)
        return change.entries[0].folder

    def _left(self, moment: _Moment, choice: _Choice) -> MemoryFileSystem:
        disk = MemoryFileSystem(now_ns=self._disk.now_ns)
        nodes: dict[int, Node] = {}
        disk.root = _copied(self._start.root, nodes)
        disk._next_inode = self._disk._next_inode
        for at in sorted((*moment.durable, *choice.kept)):
            change = self._log[at]
            assert isinstance(change, Naming)
            for entry in change.entries:
                node = nodes.get(entry.node.inode)
                if node is None:
                    node = nodes[entry.node.inode] = entry.node.like(b"")
                folder = nodes.get(entry.folder)
                if folder is None or folder.names is None:
                    continue  # the folder's own name was lost
                if entry.is_there:
                    folder.names[entry.name] = node
                elif folder.names.get(entry.name) is node:
                    del folder.names[entry.name]
        random = Random(choice.seed)
        for inode, (synced, full) in moment.bytes.items():
            if inode in nodes:
                is_mixed = choice.tail == "mixed"
                tail = random.choice(_MIXED_TAILS) if is_mixed else choice.tail
                share = random.random() if is_mixed else 0.5
                nodes[inode].data = bytearray(_torn(synced, full, tail, share))
        return disk

    def _story(self, choice: _Choice) -> str:
        kept = [
            change.path
            for n in sorted(choice.kept)
            for change in [self._log[n]]
            if isinstance(change, Naming)
        ]
        last = self._log[choice.position - 1] if choice.position else "nothing"
        return (
            f"after {choice.position} of {len(self._log)} changes, the last of them {last!r:.200};"
            f" bytes not synced: {choice.tail}; names not synced that were kept: {kept}"
        )


def _plain(moment: _Moment, at: int, random: Random) -> list[_Choice]:
    pending = frozenset(moment.pending)
    alone = list(moment.pending)
    if len(alone) > _MOST_ALONE:
        alone = random.sample(alone, _MOST_ALONE)
    kept = {frozenset[int](), pending, *(frozenset((n,)) for n in alone)}
    kept |= {pending - {n} for n in alone}
    tails = TAILS if moment.is_torn else ("full",)
    ordered = sorted(kept, key=sorted)
    return [_Choice(at, one, tail) for one in ordered for tail in tails]


def _torn(synced: bytes, full: bytes, tail: str, share: float) -> bytes:
    """What is left of a file; ``share`` says how much of what was not synced has arrived."""
    some = full[: len(synced) + int(share * (len(full) - len(synced)))]
    match tail:
        case "none":
            return synced
        case "half":
            return some
        case "zeros":
            return _with_zeros(synced, full)
        case "some and zeros":
            return _with_zeros(some, full)
        case "whole sectors":
            end = len(some) // _SECTOR_BYTES * _SECTOR_BYTES
            return _with_zeros(full[: max(end, len(synced))], full)
    return full


def _with_zeros(some: bytes, full: bytes) -> bytes:
    """Zeros in place of what lacks, or nothing where these zeros cannot be."""
    lacking = len(full) - len(some)
    is_sector = -len(some) % _SECTOR_BYTES < lacking
    return some + bytes(lacking if is_sector or lacking >= FEWEST_ZEROS else 0)


def _sizes(node: Node) -> dict[int, bytes]:
    """The bytes of every file below a node, by inode."""
    if node.names is None:
        return {node.inode: bytes(node.data)}
    return {inode: data for one in node.names.values() for inode, data in _sizes(one).items()}
