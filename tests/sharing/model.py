"""What names and sharing mean: a specification that runs, with repositories as dictionaries.

The stateful test of the real repository asks this model what should have happened. Nothing here
knows of bytes, files or locks. What takes several puts (`push`, `pull`) is a generator that stops
before each of them, so a test can kill it, or let others act, between any two. Removing on the
drive is one step: mark, move to trash, look at the refs again; `gcmodel` has shown that safe.

A *record* says "this release is the next revision of this name"; its hash is what one cites. The
*heads* of a name are its records that no other one follows, yanked ones not counted. An *add event*
of an episode is a record that has it while its parents together do not; a *take-back event* is one
whose release says so. Heads hold together what some add event below them brought, less what a
take-back event above that event took.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple

Id = str
Ids = Iterable[Id]
Subject = tuple[Id, ...]
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
    """What a name holds at one moment. An automatic union has no author (and no message)."""

    name: Name
    benchmark: Id
    episodes: tuple[Id, ...]  # sorted
    withdrawn: tuple[Id, ...] = ()  # sorted; what this release takes back on purpose
    who: str = ""
    when: int = 0

    @property
    def kind(self) -> str:
        """Release, among the kinds of items."""
        return "release"

    @property
    def links(self) -> tuple[Id, ...]:
        """What it names."""
        return (self.benchmark, *self.episodes)

    @property
    def subject(self) -> Subject:
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
    tombstones: set[Id] = field(default_factory=set)  # hidden here; never synced
    foreign: set[Id] = field(default_factory=set)  # records that only the other side of a push has

    def release(self, record: Id) -> Release:
        """Look up what a record names."""
        found = self.objects[self.records[record].release]
        assert isinstance(found, Release)
        return found

    def content(self, record: Id) -> frozenset[Id]:
        """Look up the episodes of a revision."""
        return frozenset(self.release(record).episodes)

    def named(self, name: Name) -> list[Id]:
        """List the records of a name."""
        return [r for r, record in self.records.items() if record.name == name]

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
        self._follows: dict[Id, set[Id]] = {}
        self._added: dict[Id, frozenset[Id]] = {}

    def store(self, repo: Repository, item: Item) -> Id:
        """Keep an item; storing it again brings it back from under a tombstone."""
        repo.objects[identify(item)] = item
        repo.tombstones.discard(identify(item))
        return identify(item)

    def listed(self, repo: Repository, kind: str) -> list[Id]:
        """List the items one sees in a work repository; a pending one's links are not there."""
        shown = repo.objects.keys() - repo.tombstones
        found = {i: item for i in shown if isinstance(item := repo.objects[i], Item)}
        whole = (i for i, item in found.items() if repo.objects.keys() >= set(item.links))
        return sorted(i for i in whole if found[i].kind == kind)

    def collect(self, repo: Repository) -> None:
        """Delete from a work repository what is hidden and in no revision's closure."""
        shown = (repo.objects[i] for i in repo.objects.keys() - repo.tombstones)
        linked = {link for item in shown if isinstance(item, Item) for link in item.links}
        for item in repo.tombstones - self.reach(repo, repo.records) - linked:
            repo.objects.pop(item, None)

    def clean(self, repo: Repository) -> None:
        """Collect, and delete the releases that no record names: an unfinished pull's remains."""
        self.collect(repo)
        named = {record.release for record in repo.records.values()}
        for i in [i for i, item in repo.objects.items() if item.kind == "release"]:
            if i not in named:
                del repo.objects[i]

    def below(self, repo: Repository, record: Id) -> frozenset[Id]:
        """Find the strict ancestors of a record; its parents came before it."""
        if record not in self._below:
            above = repo.records[record].parents
            self._below[record] = frozenset(above).union(*(self.below(repo, r) for r in above))
        return self._below[record]

    def counts(self, repo: Repository, record: Id) -> bool:
        """Tell whether a record is neither yanked nor a union, made whenever, with a yanked one."""
        parents = () if repo.release(record).who else repo.records[record].parents
        return record not in repo.yanks and all(self.counts(repo, parent) for parent in parents)

    def newest(self, repo: Repository, records: Ids) -> set[Id]:
        """Find those of some records that no other one of them follows."""
        some = set(records)
        return some.difference(*(self.below(repo, r) for r in some))

    def follows(self, repo: Repository, record: Id) -> set[Id]:
        """Find the records that one follows and somebody made: what a union stands for."""
        if record not in self._follows:
            self._follows[record] = self.ends(repo, repo.records[record].parents)
        return self._follows[record]

    def ends(self, repo: Repository, heads: Ids) -> set[Id]:
        """Find the newest records that heads are or follow and that somebody made.

        A head below another counts, too. So a take-back that has a yanked end for a parent, beside
        the head which that end followed, goes on from this head, whatever the end was of.
        """
        below = set[Id]().union(*(self.below(repo, head) for head in heads))
        found = self.newest(repo, (r for r in below.union(heads) if repo.release(r).who))
        for head in below.intersection(heads):
            found |= {head} if repo.release(head).who else self.follows(repo, head)
        return found

    def heads(self, repo: Repository, name: Name, *, whole: bool = False) -> list[Id]:
        """Find the records to go on from: the newest that count. A reader wants `whole` ones.

        A yanked record is as if it were not there: the newest ones below it stand for it. A union
        counts only while something it stands for is not followed by what somebody made: it must not
        come up against a next version that has followed all it unites.

        One that lacks more than what the histories of all of them took back is passed over, too:
        its push or pull has died on the way, or a part of it is lost, and who goes on from it makes
        one more that is not whole.
        """
        found = self.candidates(repo, name)
        while True:
            heads = self.newest(repo, found)
            lacking = {r: gone for r in heads if (gone := self.missing(repo, r))}
            histories = heads.union(*(self.below(repo, r) for r in heads if lacking and not whole))
            held = set().union(*(repo.content(r) for r in histories if lacking and not whole))
            gone = held - self.survivors(repo, histories, histories) if held else set[Id]()
            torn = {r for r in lacking if lacking[r] - gone}
            if not torn:
                return sorted(heads)
            found -= torn

    def candidates(self, repo: Repository, name: Name) -> set[Id]:
        """Find the records that are heads where nothing follows them that may be one."""
        counted = [r for r in repo.named(name) if self.counts(repo, r)]
        tips = self.newest(repo, (r for r in counted if repo.release(r).who))
        return {r for r in counted if repo.release(r).who or self.follows(repo, r) & tips}

    def survivors(self, repo: Repository, line: Ids, histories: Ids) -> set[Id]:
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

    def union(self, repo: Repository, heads: Ids, subject: Subject, beside: Ids = ()) -> set[Id]:
        """Find what heads hold of one subject, without what was taken back there or `beside`."""
        ends = {*heads, *beside}
        histories = ends.union(*(self.below(repo, end) for end in ends))
        line, todo = set[Id](), self.ends(repo, heads)
        while todo:
            record = todo.pop()
            if record not in line and repo.release(record).subject == subject:
                line.add(record)
                todo |= self.follows(repo, record)
        return self.survivors(repo, line, histories)

    def unite(self, repo: Repository, name: Name) -> None:
        """Unite the heads of one subject; carry take-backs across a conflict's sides.

        The union is a function of the heads alone, so all who unite them make the same record.
        """
        every = self.heads(repo, name)
        for subject in sorted({repo.release(head).subject for head in every}):
            heads = [head for head in every if repo.release(head).subject == subject]
            held = self.union(repo, heads, subject)
            left = self.union(repo, heads, subject, every)
            if len(heads) > 1 or left != held:
                lists = tuple(sorted(left)), tuple(sorted(held - left))
                made = Release(name, repo.release(heads[0]).benchmark, *lists)
                self.commit(repo, self.stamped(repo, made, heads), heads)
        if self.heads(repo, name) != every:
            self.unite(repo, name)

    def stamped(self, repo: Repository, made: Release, heads: list[Id]) -> Release:
        """Put on a union the latest of its heads' times; no author, no message."""
        return made._replace(when=max(repo.release(head).when for head in heads))

    def commit(self, repo: Repository, release: Release, parents: Ids) -> Id:
        """Write a release, then the record that names it."""
        above = sorted(parents)
        generation = 1 + max((repo.records[parent].generation for parent in above), default=0)
        record = Record(release.name, generation, tuple(above), identify(release))
        repo.objects[record.release] = release
        repo.records[identify(record)] = record
        return identify(record)

    def publish(self, repo: Repository, wish: Release, *, as_next: bool = False) -> Id:
        """Add episodes to a name; another benchmark is its next version and starts anew.

        Nothing new makes no record. A dataset is exactly the episodes given, never more. Over heads
        of different subjects it raises `ConflictError`, unless told that this is next after all.
        """
        self.unite(repo, wish.name)
        heads = self.heads(repo, wish.name)
        if len(heads) > 1 and not as_next:
            raise ConflictError(wish.name, heads)
        held = set(wish.episodes)
        if wish.name.kind != "dataset":
            held |= self.union(repo, heads, wish.subject)
        release = self.dated(wish._replace(episodes=tuple(sorted(held))))
        old = [repo.release(head).links for head in heads]
        return heads[0] if old == [release.links] else self.commit(repo, release, heads)

    def unpublish(self, repo: Repository, name: Name, episodes: Ids, who: str) -> list[Id]:
        """Take episodes back on each head that has them below, whether it is whole here or not.

        Of yanked ends nothing is kept.
        """
        self.unite(repo, name)
        back = frozenset(episodes)
        heads = self.heads(repo, name)
        every = sorted({*heads, *self.newest(repo, self.candidates(repo, name))})
        having = {r for r in repo.named(name) if repo.content(r) & back}
        newest = self.newest(repo, repo.named(name)) & having
        yanked = sorted(r for r in newest if not self.counts(repo, r))
        made, now = [], self.dated(Release(name, "", ())).when  # one deed, one time
        for end in [h for h in every if {h, *self.below(repo, h)} & having] or heads[:1] or yanked:
            kept = frozenset() if end in yanked else repo.content(end) - back
            gone = back.union(*(repo.content(other) for other in yanked)) - kept
            lists = tuple(sorted(kept)), tuple(sorted(gone))
            release = Release(name, repo.release(end).benchmark, *lists, who, now)
            made.append(self.commit(repo, release, {end, *yanked}))
        return made

    def dated(self, release: Release) -> Release:
        """Put the time on a release that somebody makes."""
        self.clock += 1
        return release._replace(when=self.clock)

    def yank(self, repo: Repository, record: Id) -> None:
        """Advise against a revision: its hash still works, its name no longer leads to it.

        Not a union (it would be made again), nor what takes something back (that would return).
        """
        if not repo.release(record).who or repo.release(record).withdrawn:
            raise RefusedError(record)
        repo.yanks.add(record)

    def reach(self, repo: Repository, records: Ids) -> set[Id]:
        """Find all that these records name, here or not."""
        found: set[Id] = set()
        for record in records:
            release = repo.release(record)
            benchmark = repo.objects.get(release.benchmark, release)
            found |= {repo.records[record].release, *release.links, *benchmark.links}
        return found

    def withdrawn(self, repo: Repository) -> set[Id]:
        """Find the episodes that were taken back by name, and that no name has kept."""
        kept, known = set[Id](), set[Id]()
        for name in repo.names():
            records = repo.named(name)
            known.update(*(repo.content(r) for r in records))
            kept |= self.survivors(repo, records, records)
        return known - kept

    def missing(self, repo: Repository, record: Id) -> set[Id]:
        """Find what a revision lacks here. While it lacks anything, it is pending."""
        return self.reach(repo, [record]) - repo.objects.keys()

    def shared(self, repo: Repository) -> Repository:
        """Copy what others may see: no group `local`, no record whose release gc has taken."""
        records = {r: record for r, record in repo.records.items() if record.name.group != LOCAL}
        torn = {r for r, record in records.items() if record.release not in repo.objects}
        whole = {r: records[r] for r in records if not torn & {r, *self.below(repo, r)}}
        return Repository(dict(repo.objects), whole, repo.yanks & whole.keys())

    def joined(self, one: Repository, other: Repository) -> Repository:
        """Put together what two repositories let others see."""
        a, b = self.shared(one), self.shared(other)
        plan = Repository(a.objects | b.objects, a.records | b.records, a.yanks | b.yanks)
        return replace(plan, foreign=b.records.keys() - a.records.keys())

    def push(self, work: Repository, bare: Repository) -> Iterator[None]:
        """Send what is published and not taken back; write nothing at home.

        The union with what the target has is made on the way, from its records and releases.
        What gc took meanwhile is sent again, until nothing is missing.
        """
        plan, there = self.joined(work, bare), set(bare.objects)
        yield
        for name in plan.names():
            self.unite(plan, name)
        yield from self.transfer(plan, bare, self.to_send(plan, plan) - there)
        while gone := self.to_send(plan, self.joined(plan, bare)) - bare.objects.keys():
            yield from self.put_objects(plan, bare, gone)

    def to_send(self, plan: Repository, known: Repository) -> set[Id]:
        """Choose the closure of our records, without what is known to be taken back.

        What only the others' records name is not sent: they may name what they should not know.
        """
        ours = plan.records.keys() - plan.foreign
        return (self.reach(plan, ours) & plan.objects.keys()) - self.withdrawn(known)

    def pull(self, work: Repository, bare: Repository) -> Iterator[None]:
        """Fetch what the target's records name, then the records; unite.

        A record that names what is neither there nor taken back is left out, and so is what follows
        it: what is left is what the target had before.
        """
        seen = self.shared(bare)
        yield
        self.leave_out_torn(seen)
        wanted = self.reach(seen, seen.records)
        yield from self.transfer(seen, work, (wanted & seen.objects.keys()) - work.objects.keys())
        for name in work.names():
            self.unite(work, name)

    def leave_out_torn(self, seen: Repository) -> None:
        """Leave out the records that are torn, and those that follow them, until none is."""
        while torn := self.torn(seen):
            left = (r for r in seen.records if not torn & {r, *self.below(seen, r)})
            seen.records = {r: seen.records[r] for r in left}
            seen.yanks &= seen.records.keys()

    def torn(self, repo: Repository) -> set[Id]:
        """Find the records that name what is neither there nor taken back."""
        gone = self.withdrawn(repo)
        return {r for r in repo.records if self.missing(repo, r) - gone}

    def transfer(self, source: Repository, target: Repository, wanted: set[Id]) -> Iterator[None]:
        """Copy objects, then records, then yanks."""
        yield from self.put_objects(source, target, wanted)
        yield from self.put_records(source, target)
        for record in sorted(source.yanks & source.records.keys() - target.yanks):
            yield
            self.puts += 1
            target.yanks.add(record)

    def put_objects(self, source: Repository, target: Repository, wanted: Ids) -> Iterator[None]:
        """Copy loose things, then episodes, then releases."""
        order = ["artifact", "benchmark", "episode", "release"]
        for i in sorted(wanted, key=lambda i: (order.index(source.objects[i].kind), i)):
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
        """Unite, then remove the data of what was taken back; records and releases stay."""
        plan = self.shared(bare)
        for name in plan.names():
            self.unite(plan, name)
        for _ in self.transfer(plan, bare, plan.objects.keys() - bare.objects.keys()):
            pass
        for episode in self.withdrawn(plan):
            bare.objects.pop(episode, None)

    def sweep(self, bare: Repository) -> None:
        """Remove from the bare repository what no record names: an unfinished push's remains."""
        here = [r for r, record in bare.records.items() if record.release in bare.objects]
        for i in bare.objects.keys() - self.reach(bare, here):
            del bare.objects[i]
