"""The history of one name: which revisions are its heads, and what they hold together.

Pure arithmetic over revisions; nothing here knows of files. `tests/sharing/model.py` says the same
in fewer words and is the specification.

The words. A revision is *made* by somebody, or is an automatic *union*. An *add event* of an
episode is a revision that has it while its parents together do not; a *take-back event* is one
whose release says so. What heads hold together are the episodes with some add event in their
histories that lies below no take-back event of it. Heads of one *subject* (a benchmark; a dataset's
digest) unite, heads of several are a conflict.

Invariant: what `union` tells depends on the revisions alone, not on the order in which they came.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from tupli_repo.odb.objects import ObjectId

Members = Callable[[ObjectId], frozenset[bytes]]
"""Gives the raw ids of the episodes of a set."""
Lacking = Callable[[str], frozenset[bytes]]
"""Gives the raw ids of what a revision, told by its hash, names and is not here."""


class Revision(NamedTuple):
    """One revision as the arithmetic sees it.

    Attributes:
        hash: The hash of its record.
        parents: The hashes of the records it follows; all of them are in the history.
        is_made: Whether somebody made it; else it is a union.
        subject: What it is of.
        sets: Its episode sets, which have no episode in common.
        withdrawn: The raw ids of the episodes it takes back.
    """

    hash: str
    parents: tuple[str, ...]
    is_made: bool
    subject: Hashable
    sets: tuple[ObjectId, ...]
    withdrawn: frozenset[bytes]


class History:
    """The revisions of one name.

    Sets of revisions are kept as bits of an integer, one for each in topological order: there may
    be ten thousand.

    Args:
        revisions: Parents before children.
        yanked: The hashes of the revisions that are advised against.
        members: Gives the episodes of a set.
    """

    def __init__(
        self, revisions: Iterable[Revision], yanked: Collection[str], members: Members
    ) -> None:
        self._members = members
        self._revisions = list(revisions)
        self._numbers = {revision.hash: n for n, revision in enumerate(self._revisions)}
        self._parents = [[self._numbers[p] for p in r.parents] for r in self._revisions]
        self._below: list[int] = []
        self._counts: list[bool] = []
        self._follows: dict[int, int] = {}
        self._added: dict[int, frozenset[bytes]] = {}
        for n, revision in enumerate(self._revisions):
            parents = self._parents[n]
            below = _bits(parents)
            for parent in parents:
                below |= self._below[parent]
            self._below.append(below)
            self._counts.append(
                revision.hash not in yanked
                and (revision.is_made or all(self._counts[parent] for parent in parents))
            )
        self._made = _bits(n for n, r in enumerate(self._revisions) if r.is_made)
        self._takes = _bits(n for n, r in enumerate(self._revisions) if r.withdrawn)

    def __len__(self) -> int:
        return len(self._revisions)

    def __contains__(self, revision: str) -> bool:
        return revision in self._numbers

    def revision(self, revision: str) -> Revision:
        """Return one revision by its record's hash."""
        return self._revisions[self._numbers[revision]]

    def below(self, revision: str) -> list[str]:
        """Return the strict ancestors of a revision, oldest first."""
        return self._named(self._below[self._numbers[revision]])

    def counts(self, revision: str) -> bool:
        """Return whether a revision may be a head: not yanked, nor a union with a yanked one.

        So it does not matter whether a union or the yank came first.
        """
        return self._counts[self._numbers[revision]]

    def newest(self, revisions: Iterable[str] | None = None) -> list[str]:
        """Return those of some revisions (all where None) that no other of them follows, sorted."""
        some = (
            (1 << len(self._revisions)) - 1
            if revisions is None
            else _bits(self._numbers[revision] for revision in revisions)
        )
        return sorted(self._named(self._newest(some)))

    def ends(self) -> list[str]:
        """Return the newest revisions that count, sorted, whether what they name is here or not.

        A yanked one is as if it were not there: the newest ones below it stand for it. A union is
        one only while something it stands for is followed by nothing that somebody made: it must
        not come up against a next version that has followed all it unites.
        """
        return list(self._ends)

    def heads(self, lacking: Lacking) -> list[str]:
        """Return the revisions to go on from, sorted.

        One that lacks more than what the histories of all of them took back is passed over: a push
        or pull has died on the way, or a part is lost, and what follows it would not be whole.
        """
        heads, left = self._ends, self._candidates
        while missing := {head: gone for head in heads if (gone := lacking(head))}:
            histories = self._history_of(_bits(self._numbers[head] for head in heads))
            gone = frozenset[bytes]()
            if histories & self._takes:
                gone = self._held(histories) - self._survivors(histories, histories)
            torn = [head for head, what in missing.items() if what - gone]
            if not torn:
                break
            left &= ~_bits(self._numbers[head] for head in torn)
            heads = sorted(self._named(self._newest(left)))
        return list(heads)

    def current(self, is_whole: Callable[[Revision], bool]) -> list[str]:
        """Return what a reader of the name gets, sorted; several are a conflict or not yet united.

        Args:
            is_whole: Whether all that a revision names is here; those of which it is not are
                passed over.
        """
        if all(is_whole(self.revision(head)) for head in self._ends):
            return self.ends()
        whole = (n for n in _numbers(self._candidates) if is_whole(self._revisions[n]))
        return sorted(self._named(self._newest(_bits(whole))))

    def content(self, revision: str) -> frozenset[bytes]:
        """Return the raw ids of the episodes of a revision."""
        return self._content(self._numbers[revision])

    def added(self, revision: str) -> frozenset[bytes]:
        """Return what a revision has beyond what its parents hold together of its subject."""
        return self._added_by(self._numbers[revision])

    def union(
        self, heads: Iterable[str], subject: Hashable, beside: Iterable[str] = ()
    ) -> frozenset[bytes]:
        """Return what heads hold together of one subject; a change of subject starts anew.

        Args:
            heads: The hashes of the revisions.
            subject: The subject.
            beside: Others: what was taken back in their histories is left out, too.
        """
        ours = _bits(self._numbers[head] for head in heads)
        return self._union(ours, subject, _bits(self._numbers[other] for other in beside))

    def survivors(self) -> frozenset[bytes]:
        """Return the episodes with some add event below no take-back, in all of the history."""
        if not self._takes:
            return self.known()
        every = (1 << len(self._revisions)) - 1
        return self._survivors(every, every)

    def known(self) -> frozenset[bytes]:
        """Return every episode that some revision has."""
        return self._held((1 << len(self._revisions)) - 1)

    def withdrawn(self) -> frozenset[bytes]:
        """Return every episode that some revision takes back."""
        return frozenset().union(*(revision.withdrawn for revision in self._revisions))

    # ---- the same with numbers and bits

    def _named(self, bits: int) -> list[str]:
        return [self._revisions[n].hash for n in _numbers(bits)]

    def _newest(self, bits: int) -> int:
        """Those of some that no other of them follows."""
        followed = 0
        for n in _numbers(bits):
            followed |= self._below[n]
        return bits & ~followed

    def _followed(self, n: int) -> int:
        """The revisions that one follows and that somebody made: what a union stands for."""
        if n not in self._follows:
            self._follows[n] = self._made_ends(_bits(self._parents[n]))
        return self._follows[n]

    def _made_ends(self, heads: int) -> int:
        """The newest revisions that heads are or follow and that somebody made.

        A head below another counts, too. So a take-back that has a yanked end for a parent, beside
        the head which that end followed, goes on from this head, whatever the end was of.
        """
        below = 0
        for n in _numbers(heads):
            below |= self._below[n]
        found = self._newest((heads | below) & self._made)
        for n in _numbers(heads & below):
            found |= 1 << n if self._revisions[n].is_made else self._followed(n)
        return found

    @cached_property
    def _candidates(self) -> int:
        """What may be a head, if nothing follows it that may be one."""
        counted = _bits(n for n, counts in enumerate(self._counts) if counts)
        tips = self._newest(counted & self._made)
        unions = _numbers(counted & ~self._made)
        return counted & self._made | _bits(n for n in unions if self._followed(n) & tips)

    @cached_property
    def _ends(self) -> list[str]:
        return sorted(self._named(self._newest(self._candidates)))

    def _held(self, bits: int) -> frozenset[bytes]:
        """Every episode that some of these revisions has."""
        sets = {one for n in _numbers(bits) for one in self._revisions[n].sets}
        return frozenset().union(*map(self._members, sets))

    def _content(self, n: int) -> frozenset[bytes]:
        sets = self._revisions[n].sets
        if len(sets) == 1:
            return self._members(sets[0])
        return frozenset().union(*map(self._members, sets))

    def _beyond(self, n: int, parent: int) -> frozenset[bytes]:
        """What a revision has and another has not; sets that both have are not looked at."""
        ours, theirs = set(self._revisions[n].sets), set(self._revisions[parent].sets)
        found = frozenset[bytes]().union(*map(self._members, ours - theirs))
        return found.difference(*map(self._members, theirs - ours)) if found else found

    def _added_by(self, n: int) -> frozenset[bytes]:
        if n not in self._added:
            revision, parents = self._revisions[n], self._parents[n]
            if len(parents) == 1 and self._revisions[parents[0]].subject == revision.subject:
                self._added[n] = self._beyond(n, parents[0])
            else:
                self._added[n] = self._content(n) - self._union(_bits(parents), revision.subject)
        return self._added[n]

    def _union(self, heads: int, subject: Hashable, beside: int = 0) -> frozenset[bytes]:
        mine = self._history_of(heads)
        histories = mine | self._history_of(beside)
        if histories == mine and heads.bit_count() == 1:
            n = heads.bit_length() - 1
            if self._revisions[n].subject == subject:
                return self._content(n)
        line = self._line(heads, subject)
        fork = self._fork(line, histories)
        if fork is None:
            return self._survivors(line, histories)
        above = histories & ~(self._below[fork] | 1 << fork)
        kept = self._content(fork)
        for n in _numbers(above & self._takes):
            kept -= self._revisions[n].withdrawn
        return kept | self._survivors(line & above, histories)

    def _history_of(self, heads: int) -> int:
        found = heads
        for n in _numbers(heads):
            found |= self._below[n]
        return found

    def _line(self, heads: int, subject: Hashable) -> int:
        """What leads to the newest made revisions without a change of subject; unions left out."""
        line, todo = 0, self._made_ends(heads)
        while todo:
            n = todo.bit_length() - 1
            todo &= ~(1 << n)
            if self._revisions[n].subject == subject:
                line |= 1 << n
                todo |= self._followed(n)
        return line

    def _fork(self, line: int, histories: int) -> int | None:
        """The newest revision of the line that all others in the histories follow or precede.

        What it holds is what all below it comes to, so that nothing below it need be looked at.
        """
        for n in reversed(list(_numbers(line))):
            below = self._below[n]
            above = histories & ~(below | 1 << n)
            if all(self._below[m] >> n & 1 for m in _numbers(above)):
                return n
        return None

    def _survivors(self, line: int, histories: int) -> frozenset[bytes]:
        """The episodes with an add event in the line below no take-back in the histories."""
        takes = [
            (self._below[n], self._revisions[n].withdrawn)
            for n in _numbers(histories & self._takes)
        ]
        found: set[bytes] = set()
        for n in _numbers(line):
            added = self._added_by(n)
            for below, gone in takes:
                if added and below >> n & 1 and not gone.isdisjoint(added):
                    added -= gone
            found |= added
        return frozenset(found)


def in_order(parents: Mapping[str, tuple[int, tuple[str, ...]]]) -> list[str]:
    """Return the records whose ancestors are all here, parents before children.

    Args:
        parents: Generation and parents of each record, by its hash.
    """
    found: dict[str, None] = {}
    for one in sorted(parents, key=lambda one: (parents[one][0], one)):
        if all(parent in found for parent in parents[one][1]):
            found[one] = None
    return list(found)


def _bits(numbers: Iterable[int]) -> int:
    found = 0
    for n in numbers:
        found |= 1 << n
    return found


def _numbers(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, from the lowest."""
    text = bin(bits)[:1:-1]  # once through, however many bits there are
    at = text.find("1")
    while at >= 0:
        yield at
        at = text.find("1", at + 1)
