"""What names and sharing mean: a specification that runs, with repositories as dictionaries.

The stateful test of the real repository asks this model what should have happened. Nothing here
knows of bytes, files or locks. What takes several puts (`push`, `pull`) is a generator that stops
before each of them, so a test can kill it, or let others act, between any two. Removing on the
drive is one step: mark, move to trash, look at the refs again; `gcmodel` has shown that safe.

The words. A *record* says "this release is the next revision of this name"; its hash is what one
cites. The *heads* of a name are its records that no other one follows, yanked ones not counted.
An *add event* of an episode is a record that has it while its parents together do not; a *take-back
event* is a record whose release says so. What heads hold together are the episodes with some add
event in their histories that lies below no take-back event of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

Id = str
LOCAL = "local"  # the group that never leaves


class Name(NamedTuple):
    """Where records lie: refs/<group>/<kind>/<text>."""

    group: str
    kind: str
    text: str


class Item(NamedTuple):
    """A benchmark (links its artifacts), an episode (links its benchmark) or an artifact."""

    kind: str
    body: str
    links: tuple[Id, ...] = ()


class Release(NamedTuple):
    """What a name holds at one moment. An automatic union has no author and no message."""

    name: Name
    benchmark: Id
    episodes: tuple[Id, ...]  # sorted
    withdrawn: tuple[Id, ...] = ()  # sorted; what this release takes back on purpose
    message: str = ""
    who: str = ""
    when: int = 0

    @property
    def subject(self) -> tuple[Id, ...]:
        """What the release is of: heads of one subject unite, others are a conflict."""
        return self.episodes if self.name.kind == "dataset" else (self.benchmark,)


class Record(NamedTuple):
    """One revision of a name."""

    name: Name
    generation: int  # 1 + the highest parent's
    parents: tuple[Id, ...]  # sorted
    release: Id


def identify(content: Item | Release | Record) -> Id:
    """Name some content by its hash."""
    return sha256(f"{type(content).__name__}{content!r}".encode()).hexdigest()[:16]


@dataclass(slots=True)
class Repository:
    """A work repository, or the bare one: the same dictionaries, with other roots."""

    objects: dict[Id, Item | Release] = field(default_factory=dict)
    records: dict[Id, Record] = field(default_factory=dict)
    yanks: set[Id] = field(default_factory=set)
    tombstones: set[Id] = field(default_factory=set)  # local: never synced

    def release(self, record: Id) -> Release:
        """Look up what a record names."""
        found = self.objects[self.records[record].release]
        assert isinstance(found, Release)
        return found

    def content(self, record: Id) -> frozenset[Id]:
        """Look up the episodes of a revision."""
        return frozenset(self.release(record).episodes)

    def names(self) -> list[Name]:
        """List the names that have records."""
        return sorted({record.name for record in self.records.values()})


class ConflictError(Exception):
    """A name has heads of different subjects, and nobody said which comes next."""


class RefusedError(Exception):
    """This cannot be yanked."""


class Sharing:
    """The verbs. A flawed variant of the model overrides one of them."""

    def __init__(self) -> None:
        self.clock = 0
        self.puts = 0  # what push and pull have written
        self._below: dict[Id, frozenset[Id]] = {}
        self._added: dict[Id, frozenset[Id]] = {}

    def store(self, repo: Repository, item: Item) -> Id:
        """Keep an item; storing it again brings it back from under a tombstone."""
        repo.objects[identify(item)] = item
        repo.tombstones.discard(identify(item))
        return identify(item)

    def listed(self, repo: Repository, kind: str) -> list[Id]:
        """List the items one sees in a work repository; a pending one's links are not there."""
        return sorted(
            i
            for i, item in repo.objects.items()
            if isinstance(item, Item) and item.kind == kind and i not in repo.tombstones
            if all(link in repo.objects for link in item.links)
        )

    def remove(self, repo: Repository, item: Id) -> None:
        """Hide an item here, whoever brings it again."""
        repo.tombstones.add(item)

    def restore(self, repo: Repository, item: Id) -> None:
        """Show an item again, if gc has not taken it."""
        repo.tombstones.discard(item)

    def collect(self, repo: Repository) -> None:
        """Delete from a work repository what is hidden and in no revision's closure."""
        shown = repo.objects.keys() - repo.tombstones
        linked = {link for i in shown for link in self.links(repo, i)}
        for item in repo.tombstones - self.reach(repo, repo.records) - linked:
            repo.objects.pop(item, None)

    def below(self, repo: Repository, record: Id) -> frozenset[Id]:
        """Find the strict ancestors of a record; its parents came before it."""
        if record not in self._below:
            parents = repo.records[record].parents
            found = frozenset(parents).union(*(self.below(repo, parent) for parent in parents))
            self._below[record] = found
        return self._below[record]

    def counts(self, repo: Repository, record: Id) -> bool:
        """Tell whether a record may be a head: it is not yanked, nor a union with a yanked one.

        So it does not matter whether a union or the yank came first.
        """
        parents = repo.records[record].parents
        return record not in repo.yanks and (
            bool(repo.release(record).who) or all(self.counts(repo, parent) for parent in parents)
        )

    def newest(self, repo: Repository, records: Iterable[Id]) -> list[Id]:
        """Find those of some records that no other one of them follows."""
        some = set(records)
        return sorted(some.difference(*(self.below(repo, r) for r in some)))

    def heads(self, repo: Repository, name: Name) -> list[Id]:
        """Find the records to go on from: those that no other one follows, yanked ones left out.

        A yanked record is as if it were not there: the newest ones below it stand for it.
        """
        here = [r for r, record in repo.records.items() if record.name == name]
        return self.newest(repo, [r for r in here if self.counts(repo, r)])

    def survivors(self, repo: Repository, line: Iterable[Id], histories: Iterable[Id]) -> set[Id]:
        """Find the episodes with an add event in `line` below no take-back in `histories`."""
        takes = [(self.below(repo, r), repo.release(r).withdrawn) for r in histories]
        takes = [(below, gone) for below, gone in takes if gone]
        return {
            episode
            for record in line
            for episode in self.added(repo, record)
            if not any(record in below and episode in gone for below, gone in takes)
        }

    def added(self, repo: Repository, record: Id) -> frozenset[Id]:
        """Find what a record has beyond what its parents hold together of its subject."""
        if record not in self._added:
            parents = repo.records[record].parents
            before = self.union(repo, parents, repo.release(record).subject)
            self._added[record] = repo.content(record) - before
        return self._added[record]

    def union(self, repo: Repository, heads: Iterable[Id], subject: tuple[Id, ...]) -> set[Id]:
        """Find what heads hold together of one subject; a change of subject starts anew."""
        histories = frozenset(heads).union(*(self.below(repo, head) for head in heads))
        line, todo = set[Id](), list(heads)
        while todo:
            record = todo.pop()
            if record not in line and repo.release(record).subject == subject:
                line.add(record)
                todo.extend(repo.records[record].parents)
        return self.survivors(repo, line, histories)

    def unite(self, repo: Repository, name: Name) -> None:
        """Unite the heads of one subject. The union is a function of its parents alone."""
        subjects: dict[tuple[Id, ...], list[Id]] = {}
        for head in self.heads(repo, name):
            subjects.setdefault(repo.release(head).subject, []).append(head)
        for heads in subjects.values():
            if len(heads) > 1:
                first = repo.release(heads[0])
                frozen = name.kind == "dataset"
                held = (
                    first.episodes
                    if frozen
                    else tuple(sorted(self.union(repo, heads, first.subject)))
                )
                self.commit(repo, self.stamp(repo, heads, first.benchmark, held), heads)

    def stamp(
        self, repo: Repository, heads: list[Id], benchmark: Id, episodes: tuple[Id, ...]
    ) -> Release:
        """Make the release of a union: no author, no message, the latest of its heads' times."""
        name = repo.records[heads[0]].name
        when = max(repo.release(head).when for head in heads)
        return Release(name, benchmark, episodes, when=when)

    def commit(self, repo: Repository, release: Release, parents: Iterable[Id]) -> Id:
        """Write a release, then the record that names it."""
        above = sorted(parents)
        generation = 1 + max((repo.records[parent].generation for parent in above), default=0)
        record = Record(release.name, generation, tuple(above), identify(release))
        repo.objects[record.release] = release
        repo.records[identify(record)] = record
        return identify(record)

    def publish(
        self,
        repo: Repository,
        name: Name,
        benchmark: Id,
        episodes: Iterable[Id],
        *,
        who: str,
        as_next: bool = False,
    ) -> Id:
        """Add episodes to a name; another benchmark is its next version and starts anew.

        Nothing new makes no record. A dataset is exactly the episodes given, never more.

        Raises:
            ConflictError: Heads of different subjects, and not told that this is next after all.
        """
        self.unite(repo, name)
        heads = self.heads(repo, name)
        if len(heads) > 1 and not as_next:
            raise ConflictError(name, heads)
        held = frozenset(episodes)
        if name.kind != "dataset":
            held |= self.union(repo, heads, (benchmark,))
        release = self.signed(Release(name, benchmark, tuple(sorted(held))), who)
        if len(heads) == 1 and (release.subject, held) == (
            repo.release(heads[0]).subject,
            repo.content(heads[0]),
        ):
            return heads[0]
        return self.commit(repo, release, heads)

    def unpublish(
        self, repo: Repository, name: Name, episodes: Iterable[Id], *, who: str
    ) -> list[Id]:
        """Take episodes back on every end whose history has them, a conflict's and a yanked one's.

        A head keeps the rest; of a yanked end nothing is kept.
        """
        self.unite(repo, name)
        back = frozenset(episodes)
        heads = self.heads(repo, name)
        here = [r for r, record in repo.records.items() if record.name == name]
        having = [
            h for h in heads if any(repo.content(r) & back for r in {h, *self.below(repo, h)})
        ]
        ends = [end for end in self.newest(repo, here) if not self.counts(repo, end)]
        yanked = [end for end in ends if repo.content(end) & back]
        made = []
        for end in having or heads[:1] or yanked:
            kept = frozenset() if end in ends else repo.content(end) - back
            gone = back.union(*(repo.content(other) for other in yanked)) - kept
            subject = repo.release(end).benchmark
            release = Release(name, subject, tuple(sorted(kept)), tuple(sorted(gone)))
            made.append(self.commit(repo, self.signed(release, who), {end, *yanked}))
        return made

    def signed(self, release: Release, who: str) -> Release:
        """Put author and time on a release."""
        self.clock += 1
        return release._replace(who=who, when=self.clock)

    def yank(self, repo: Repository, record: Id) -> None:
        """Advise against a revision: its hash still works, its name no longer leads to it.

        Raises:
            RefusedError: A union (it would be made again), or a revision that takes back (what it
                took back would be shown again).
        """
        release = repo.release(record)
        if not release.who or release.withdrawn:
            raise RefusedError(record)
        repo.yanks.add(record)

    def links(self, repo: Repository, i: Id) -> tuple[Id, ...]:
        """List what an object links."""
        item = repo.objects[i]
        return item.links if isinstance(item, Item) else (item.benchmark, *item.episodes)

    def reach(self, repo: Repository, records: Iterable[Id]) -> set[Id]:
        """Find all that these records name, here or not."""
        found: set[Id] = set()
        for record in records:
            release = repo.records[record].release
            found |= {release, *self.links(repo, release)}
            found.update(self.links(repo, repo.release(record).benchmark))
        return found

    def withdrawn(self, repo: Repository) -> set[Id]:
        """Find the episodes that were taken back by name, and that no name has kept."""
        kept, known = set[Id](), set[Id]()
        for name in repo.names():
            records = [r for r, record in repo.records.items() if record.name == name]
            known.update(*(repo.content(r) for r in records))
            kept |= self.survivors(repo, records, records)
        return known - kept

    def missing(self, repo: Repository, record: Id) -> set[Id]:
        """Find what a revision lacks here. While it lacks anything, it is pending."""
        return self.reach(repo, [record]) - repo.objects.keys()

    def current(self, repo: Repository, name: Name) -> list[Id]:
        """Find what a reader of the name gets; more than one is a conflict or not yet united."""
        here = [r for r, record in repo.records.items() if record.name == name]
        whole = [r for r in here if self.counts(repo, r) and not self.missing(repo, r)]
        return self.newest(repo, whole)

    def shared(self, repo: Repository) -> Repository:
        """Copy what others may see: no group `local`, no tombstones, no record without a release.

        The last is what gc leaves of a push that took longer than the grace and died late.
        """
        records = {
            r: record
            for r, record in sorted(repo.records.items(), key=lambda pair: pair[1].generation)
            if record.name.group != LOCAL
            if all(repo.records[a].release in repo.objects for a in {r, *self.below(repo, r)})
        }
        return Repository(dict(repo.objects), records, repo.yanks & records.keys())

    def push(self, work: Repository, bare: Repository) -> Iterator[None]:
        """Send what is published and not taken back; write nothing at home.

        The union with what the target has is made on the way, from its records and releases.
        What gc took meanwhile is sent again.
        """
        seen = self.shared(bare)
        yield
        plan = self.shared(work)
        plan.records |= seen.records
        plan.objects |= seen.objects
        plan.yanks |= seen.yanks
        for name in plan.names():
            self.unite(plan, name)
        sent = self.to_send(plan, plan)
        yield from self.transfer(plan, bare, sent - seen.objects.keys())
        yield from self.put_objects(
            plan, bare, self.to_send(plan, self.shared(bare)) - bare.objects.keys()
        )

    def to_send(self, plan: Repository, known: Repository) -> set[Id]:
        """Choose the closure of the records, without what is known to be taken back."""
        return (self.reach(plan, plan.records) & plan.objects.keys()) - self.withdrawn(known)

    def pull(self, work: Repository, bare: Repository) -> Iterator[None]:
        """Fetch what the target's records name, then the records; then unite.

        Of a name that is not whole there, nothing is taken.
        """
        seen = self.shared(bare)
        yield
        wanted = self.reach(seen, seen.records)
        for name in seen.names():
            records = [r for r, record in seen.records.items() if record.name == name]
            if self.reach(seen, records) - self.withdrawn(seen) - seen.objects.keys():
                for record in records:
                    del seen.records[record]
        yield from self.transfer(seen, work, (wanted & seen.objects.keys()) - work.objects.keys())
        for name in work.names():
            self.unite(work, name)

    def transfer(self, source: Repository, target: Repository, wanted: set[Id]) -> Iterator[None]:
        """Copy objects, then records, then yanks."""
        yield from self.put_objects(source, target, wanted)
        yield from self.put_records(source, target)
        for record in sorted(source.yanks & source.records.keys() - target.yanks):
            yield
            self.puts += 1
            target.yanks.add(record)

    def put_objects(
        self, source: Repository, target: Repository, wanted: Iterable[Id]
    ) -> Iterator[None]:
        """Copy loose things, then episodes, then releases."""
        order = {"artifact": 0, "benchmark": 1, "episode": 2}

        def rank(i: Id) -> tuple[int, Id]:
            item = source.objects[i]
            return (order[item.kind] if isinstance(item, Item) else 3), i

        for i in sorted(wanted, key=rank):
            yield
            self.puts += 1
            target.objects[i] = source.objects[i]

    def put_records(self, source: Repository, target: Repository) -> Iterator[None]:
        """Copy records, parents before children."""
        for r, record in sorted(source.records.items(), key=lambda pair: pair[1].generation):
            if r not in target.records:
                yield
                self.puts += 1
                target.records[r] = record

    def prune(self, bare: Repository) -> None:
        """Remove the data of what was taken back; records and releases stay."""
        for episode in self.withdrawn(self.shared(bare)):
            bare.objects.pop(episode, None)

    def sweep(self, bare: Repository) -> None:
        """Remove from the bare repository what no record names: an unfinished push's remains."""
        for i in bare.objects.keys() - self.reach(bare, self.shared(bare).records):
            del bare.objects[i]
