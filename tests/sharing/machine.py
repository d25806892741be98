"""Three people and a drive, played on the model of names and sharing.

What people mean is kept in a ledger of intents (who added what, who took back what), apart from the
model's own arithmetic: the two must agree on each revision that comes into being anywhere.
"""

from collections.abc import Iterable, Iterator
from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from tests.sharing.model import (
    LOCAL,
    ConflictError,
    Id,
    Item,
    Name,
    RefusedError,
    Release,
    Repository,
    Sharing,
    Subject,
)

NAMES = [Name("global", "benchmark", text) for text in ("one", "two")]
PIN = Name(LOCAL, "dataset", "pin")
SHARED_PIN = PIN._replace(group="global")
PEOPLE = ("ada", "bob", "cyd")

people = st.integers(0, len(PEOPLE) - 1)
picks = st.integers(0, 2**12 - 1)
names = st.sampled_from([NAMES[0], NAMES[0], NAMES[1]])
verbs = st.sampled_from(["push", "pull"])

Held = dict[Name, dict[tuple[Id, ...], frozenset[Id] | None]]


def some(items: Iterable[Id], bits: int) -> list[Id]:
    """Choose the items whose bit is set."""
    return [item for n, item in enumerate(items) if bits >> (n % 12) & 1]


def finish(running: Iterator[None]) -> None:
    for _ in running:
        pass


def in_turn(running: list[Iterator[None]]) -> None:
    while running:
        running = [one for one in running if next(one, running) is not running]


def is_episode(repo: Repository, i: Id) -> bool:
    item = repo.objects[i]
    return isinstance(item, Item) and item.kind == "episode"


def copied(repo: Repository) -> Repository:
    return Repository(dict(repo.objects), dict(repo.records), set(repo.yanks), set(repo.tombstones))


class SharingMachine(RuleBasedStateMachine):
    """Three people and a drive; anyone does anything, and dies at any put."""

    flaw: type[Sharing] = Sharing

    def __init__(self) -> None:
        super().__init__()
        self.sharing = self.flaw()
        self.bare = Repository()
        self.works = [Repository() for _ in PEOPLE]
        self.recorded: list[set[Id]] = [set() for _ in PEOPLE]
        self.hidden: list[set[Id]] = [set() for _ in PEOPLE]
        self.running: dict[int, tuple[str, Iterator[None]]] = {}
        self.listed: dict[int, Repository] = {}  # what their push knew when it began
        self.disturbed: set[int] = set()  # their push was under way when the drive was cleaned
        self.world = Repository()  # every record that ever was, whoever has it
        self.added: set[tuple[Id, Id]] = set()  # (record, episode), as people meant it
        self.taken: set[tuple[Id, Id]] = set()
        self.published: set[Id] = set()
        self.number = count()

    # what people do -----------------------------------------------------------------------------

    @initialize(known=st.booleans())
    def everybody_has_something(self, known: bool) -> None:
        for person in range(len(PEOPLE)):
            self.record(person, 0)
            self.record(person, 0)
        if known:
            self.publish(0, NAMES[0], 2**12 - 2, False)
            for person in range(len(PEOPLE)):
                self.sync(person)

    @rule(who=people, which=st.integers(0, 1))
    def record(self, who: int, which: int) -> None:
        work = self.works[who]
        artifact = self.sharing.store(work, Item("artifact", f"a{which}"))
        benchmark = self.sharing.store(work, Item("benchmark", f"b{which}", (artifact,)))
        episode = Item("episode", f"{PEOPLE[who]} {next(self.number)}", (benchmark,))
        self.recorded[who] |= {artifact, benchmark, self.sharing.store(work, episode)}
        self.hidden[who] -= {artifact, benchmark}

    @rule(who=people, name=names, pick=picks, as_next=st.booleans())
    def publish(self, who: int, name: Name, pick: int, as_next: bool) -> None:
        work = self.works[who]
        benchmarks = self.sharing.listed(work, "benchmark")
        if benchmarks:
            benchmark = benchmarks[0 if pick % 4 else -1]  # a next version now and then
            fitting = self.episodes_of(work, benchmark)
            self.publish_as(who, name, benchmark, some(fitting, pick >> 1), as_next=as_next)

    @rule(who=people, pick=picks, shared=st.booleans())
    def pin(self, who: int, pick: int, shared: bool) -> None:
        work = self.works[who]
        for benchmark in self.sharing.listed(work, "benchmark")[:1]:
            held = some(self.episodes_of(work, benchmark), pick)
            name = SHARED_PIN if shared else PIN
            self.publish_as(who, name, benchmark, held, as_next=False)

    def episodes_of(self, work: Repository, benchmark: Id) -> list[Id]:
        listed = self.sharing.listed(work, "episode")
        return [e for e in listed if work.objects[e].links == (benchmark,)]

    def publish_as(
        self, who: int, name: Name, benchmark: Id, episodes: list[Id], *, as_next: bool
    ) -> None:
        work = self.works[who]
        try:
            wish = Release(name, benchmark, tuple(sorted(episodes)), who=PEOPLE[who])
            made = self.sharing.publish(work, wish, as_next=as_next)
        except ConflictError:
            heads = self.sharing.heads(work, name)
            assert len({work.release(head).subject for head in heads}) > 1
            return
        if name.group != LOCAL:
            self.published |= {benchmark, *work.objects[benchmark].links, *episodes}
        if made not in self.world.records and name.kind != "dataset":
            self.compare_new_revisions(but=[made])
            before = self.meant(work.records[made].parents, benchmark)
            self.added |= {(made, episode) for episode in set(episodes) - before}

    @rule(
        who=people, name=st.one_of(names, st.just(SHARED_PIN)), pick=picks, anything=st.booleans()
    )
    def unpublish(self, who: int, name: Name, pick: int, anything: bool) -> None:
        work = self.works[who]
        sources = work.named(name) if anything else self.sharing.heads(work, name)
        known = sorted(set().union(*(work.content(r) for r in sources)))
        back = some(known, pick) if pick % 4 == 0 else known[pick % 5 :][:1]
        if not back:
            return
        for made in self.sharing.unpublish(work, name, back, PEOPLE[who]):
            gone = set(back)
            for parent in work.records[made].parents:
                if not self.sharing.counts(work, parent):  # of a yanked one nothing is kept
                    gone |= work.content(parent) - work.content(made)
            self.taken |= {(made, episode) for episode in gone}
        held = set().union(*(work.content(head) for head in self.sharing.heads(work, name)))
        assert not held & set(back)

    @rule(who=people, pick=picks)
    def yank(self, who: int, pick: int) -> None:
        work = self.works[who]
        if work.records:
            record = sorted(work.records)[pick % len(work.records)]
            try:
                self.sharing.yank(work, record)
            except RefusedError:
                assert record not in work.yanks

    @rule(who=people, pick=picks)
    def remove(self, who: int, pick: int) -> None:
        work = self.works[who]
        shown = self.sharing.listed(work, "episode") + self.sharing.listed(work, "benchmark")
        for item in some(shown, pick)[:2]:
            work.tombstones.add(item)
            self.hidden[who].add(item)

    @rule(who=people, pick=picks)
    def restore(self, who: int, pick: int) -> None:
        for item in some(sorted(self.hidden[who]), pick)[:2]:
            self.works[who].tombstones.discard(item)
            self.hidden[who].discard(item)
            if item not in self.works[who].objects:
                self.recorded[who].discard(item)

    @rule(who=people)
    def collect(self, who: int) -> None:
        self.sharing.collect(self.works[who])

    # what goes over the wire --------------------------------------------------------------------

    def begin(self, who: int, verb: str, steps: int) -> None:
        """Begin, and list what is there; what this person had under way dies where it stands."""
        work = self.works[who]
        if verb == "push":
            self.listed[who] = self.sharing.joined(work, self.bare)
        self.running[who] = verb, getattr(self.sharing, verb)(work, self.bare)
        next(self.running[who][1])
        self.advance(who, steps)

    def advance(self, who: int, steps: int) -> None:
        verb, generator = self.running[who]
        before, work = set(self.bare.objects), self.works[who]
        home = len(work.objects), len(work.records), len(work.yanks)
        for _ in range(steps):
            if next(generator, self) is self:
                del self.running[who]
                if verb == "push":
                    self.disturbed.discard(who)
                break
        if verb == "push":
            assert home == (len(work.objects), len(work.records), len(work.yanks))
        sent = {i for i in self.bare.objects.keys() - before if is_episode(self.bare, i)}
        if verb == "push" and sent & self.sharing.withdrawn(self.listed[who]):
            known = self.sharing.joined(self.listed[who], self.bare)
            assert not sent & self.sharing.withdrawn(known), "what was taken back was sent"

    @rule(who=people, verb=verbs, steps=st.integers(0, 9))
    def start(self, who: int, verb: str, steps: int) -> None:
        self.begin(who, verb, steps)

    @rule(who=people, steps=st.integers(1, 12))
    def go_on(self, who: int, steps: int) -> None:
        if who in self.running:
            self.advance(who, steps)

    @rule(who=people)
    def sync(self, who: int) -> None:
        for verb in ("pull", "push"):
            self.begin(who, verb, 10**6)

    @rule(who=people, verb=verbs)
    def send_or_fetch(self, who: int, verb: str) -> None:
        self.begin(who, verb, 10**6)

    @rule(who=people, other=people)
    def visit(self, who: int, other: int) -> None:
        """Pull from a colleague: only so do histories criss-cross often."""
        if who != other:
            finish(self.sharing.pull(self.works[who], self.works[other]))

    @rule()
    def prune(self) -> None:
        self.disturbed |= {who for who, (verb, _) in self.running.items() if verb == "push"}
        self.sharing.prune(self.bare)

    @rule()
    def sweep(self) -> None:
        self.disturbed |= {who for who, (verb, _) in self.running.items() if verb == "push"}
        self.sharing.sweep(self.bare)

    @rule()
    def clone(self) -> None:
        """A newcomer sees what the drive's whole names hold, united, and nothing else."""
        new = Repository()
        finish(self.sharing.pull(new, self.bare))
        for name in new.names():
            heads = self.sharing.heads(new, name)
            assert self.sharing.heads(new, name, whole=True) == heads
            subjects = [new.release(head).subject for head in heads]
            assert len(set(subjects)) == len(subjects)
        if not self.disturbed and not self.running:
            assert set(new.names()) >= {
                name
                for name in self.bare.names()
                if self.sharing.heads(self.bare, name, whole=True)
            }

    # what always holds --------------------------------------------------------------------------

    @invariant()
    def each_revision_holds_what_people_meant(self) -> None:
        self.compare_new_revisions()

    def compare_new_revisions(self, but: Iterable[Id] = ()) -> None:
        for repo in (self.bare, *self.works):
            seen = self.sharing.shared(repo) if repo is self.bare else repo  # not what gc has torn
            new = seen.records.keys() - self.world.records.keys() - set(but)
            for r in sorted(new, key=lambda r: repo.records[r].generation):
                record, release = repo.records[r], repo.release(r)
                self.world.records[r] = record
                self.world.objects[record.release] = release
                self.world.objects[release.benchmark] = repo.objects[release.benchmark]
                if not release.who:
                    self.taken |= {(r, e) for e in release.withdrawn if self.is_taken_back(r, e)}
                if record.name.kind == "benchmark":
                    assert repo.content(r) == self.meant([r], release.benchmark)
                elif not release.who:
                    for parent in record.parents:
                        assert repo.content(r) == repo.content(parent) - set(release.withdrawn)
                assert record.generation > max(
                    (repo.records[parent].generation for parent in record.parents), default=0
                )

    def is_taken_back(self, union: Id, episode: Id) -> bool:
        """Tell whether somebody took back all that brought an episode into this history."""
        below = self.sharing.below(self.world, union)
        taken = [self.sharing.below(self.world, r) for r, e in self.taken if e == episode]
        return all(
            any(r in under for under in taken)
            for r, added in self.added
            if added == episode and r in below
        )

    def meant(self, heads: Iterable[Id], benchmark: Id) -> set[Id]:
        """Find what the ledger says these histories hold together of a benchmark."""
        known = self.world
        histories = set(heads).union(*(self.sharing.below(known, head) for head in heads))
        taken = [(self.sharing.below(known, r), e) for r, e in self.taken if r in histories]
        made = {r for r in histories if known.release(r).who}
        line, todo = set(), made.difference(*(self.sharing.below(known, r) for r in made))
        todo |= self.passed_over(heads)
        while todo:
            r = todo.pop()
            if known.release(r).benchmark == benchmark and r not in line:
                line.add(r)
                below = self.sharing.below(known, r) & made  # unions are seen through
                todo |= below.difference(*(self.sharing.below(known, other) for other in below))
                todo |= self.passed_over(known.records[r].parents)
        return {
            episode
            for r, episode in self.added
            if r in line and not any(r in below and episode == gone for below, gone in taken)
        }

    def passed_over(self, parents: Iterable[Id]) -> set[Id]:
        """Find what a take-back goes on from though a yanked one, its other parent, is in between.

        Of a union the newest ones below it that somebody made.
        """
        known, found, seen = self.world, set[Id](), set(parents)
        below = set[Id]().union(*(self.sharing.below(known, r) for r in seen))
        for r in seen & below:
            under = {r, *self.sharing.below(known, r)}
            made = {one for one in under if known.release(one).who}
            found |= made.difference(*(self.sharing.below(known, one) for one in made))
        return found

    @invariant()
    def nothing_unpublished_leaves(self) -> None:
        for i, item in self.bare.objects.items():
            if isinstance(item, Release):
                assert item.name.group != LOCAL
                assert {item.benchmark, *item.episodes} <= self.published
            else:
                assert i in self.published
        assert not any(record.name.group == LOCAL for record in self.bare.records.values())

    @invariant()
    def every_revision_is_whole_or_taken_back(self) -> None:
        for repo in (self.bare, *self.works):
            seen = self.sharing.shared(repo) if repo is self.bare else repo
            missing = self.sharing.reach(seen, seen.records) - repo.objects.keys()
            if repo is self.bare:
                missing = missing.difference(*(self.works[who].objects for who in self.disturbed))
                torn = repo.records.keys() - seen.records.keys()  # their owner sends them again
                assert self.disturbed or not any(torn & work.records.keys() for work in self.works)
            for r in seen.records if missing else ():
                lacking = self.sharing.missing(seen, r) & missing
                if lacking:  # all that brought it into this history was taken back, somewhere
                    history = {r, *self.sharing.below(seen, r)}
                    left = self.sharing.survivors(self.world, history, self.world.records)
                    assert not lacking & left
                    assert lacking <= repo.content(r)

    @invariant()
    def what_is_recorded_stays_and_what_is_hidden_stays_hidden(self) -> None:
        for work, recorded, hidden in zip(self.works, self.recorded, self.hidden, strict=True):
            assert recorded - hidden <= work.objects.keys()
            assert hidden == work.tombstones

    # what holds in the end ----------------------------------------------------------------------

    def teardown(self) -> None:
        one_by_one = [self.settled(order, together=False) for order in ((0, 1, 2), (2, 1, 0))]
        assert one_by_one[0] == one_by_one[1], "the order mattered"
        assert self.settled((1, 2, 0), together=True) == one_by_one[0], "being together mattered"

    def settled(self, order: Iterable[int], *, together: bool) -> Held:
        """Let everybody sync twice, one by one or put by put; return what each name holds then."""
        bare, works = copied(self.bare), [copied(work) for work in self.works]
        pull, push = self.sharing.pull, self.sharing.push
        for sync in range(3):
            puts = self.sharing.puts
            if together:
                for verb in (pull, push):
                    in_turn([verb(works[who], bare) for who in order])
            else:
                for who in order:
                    finish(pull(works[who], bare))
                    finish(push(works[who], bare))
            assert sync < 2 or self.sharing.puts == puts, "a sync with nothing new wrote something"
        held: Held = {}
        bare = self.sharing.shared(bare)  # a union that gc has torn may be pending for ever
        for repo in (bare, *works):
            records = {r: rec for r, rec in repo.records.items() if rec.name.group != LOCAL}
            assert records == bare.records
            assert {r for r in repo.yanks if r in records} == bare.yanks
            for name in bare.names():
                heads = self.sharing.heads(repo, name)
                assert self.sharing.heads(repo, name, whole=True) == heads, "a head is not whole"
                subjects = {repo.release(h).subject: repo.content(h) for h in heads}
                assert len(subjects) == len(heads), "heads of one subject are left apart"
                conflict = len(subjects) > 1  # its sides depend on what was united before
                held[name] = {s: None if conflict else held for s, held in subjects.items()}
        return held


class HistoryMachine(SharingMachine):
    """The same with less going on: histories branch and meet, and nothing else happens."""

    pin = remove = restore = collect = None  # type: ignore[assignment]
    start = go_on = prune = sweep = clone = send_or_fetch = None  # type: ignore[assignment]

    def teardown(self) -> None:
        records = sorted(self.world.records, key=lambda r: (self.world.records[r].generation, r))
        for one, other in zip(records[-6:], records[-7:-1], strict=False):
            subject = self.world.release(one).subject
            if self.world.records[one].name == self.world.records[other].name:
                found = self.sharing.union(self.world, [one, other], subject)
                assert found == walked(self.sharing, self.world, [one, other], subject)
        super().teardown()


class WireMachine(SharingMachine):
    """The same with less going on: pushes and pulls overlap, die, and meet the cleaner."""

    pin = remove = restore = collect = None  # type: ignore[assignment]
    yank = visit = clone = None  # type: ignore[assignment]


def walked(sharing: Sharing, repo: Repository, heads: Iterable[Id], subject: Subject) -> set[Id]:
    """Unite as one would with a long history: down to the first record all the rest is below.

    The content of that record stands for its whole history.
    """
    todo, seen = set(heads), set[Id]()
    while len(todo) > 1:
        record = max(todo, key=lambda r: (repo.records[r].generation, r))
        todo = (todo - {record}) | set(repo.records[record].parents)
        seen.add(record)
    floor, known = todo, seen | todo
    made = {r for r in known if repo.release(r).who} | floor
    line, todo = set[Id](), sharing.newest(repo, made)
    while todo:
        record = todo.pop()
        if record not in line and repo.release(record).subject == subject:
            line.add(record)
            todo |= sharing.newest(repo, made & sharing.below(repo, record))
            todo |= made & sharing.follows(repo, record)
    taken = [(sharing.below(repo, r), repo.release(r).withdrawn) for r in seen]
    return {
        episode
        for r in line
        for episode in (repo.content(r) if r in floor else sharing.added(repo, r))
        if not any(r in below and episode in gone for below, gone in taken)
    }
