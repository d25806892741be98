"""The model of names and sharing keeps its promises, and flawed ones are found out.

What people mean is kept in a ledger of intents (who added what, who took back what), apart from the
model's own arithmetic: the two must agree on each revision that comes into being anywhere.
"""

from collections.abc import Iterable, Iterator
from itertools import count, permutations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
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
        made = []
        made.append(Item("artifact", f"a{which}"))
        work = self.works[who]
        artifact = self.sharing.store(work, made[0])
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
        return [e for e in listed if self.sharing.links(work, e) == (benchmark,)]

    def publish_as(
        self, who: int, name: Name, benchmark: Id, episodes: list[Id], *, as_next: bool
    ) -> None:
        work = self.works[who]
        try:
            made = self.sharing.publish(
                work, name, benchmark, episodes, who=PEOPLE[who], as_next=as_next
            )
        except ConflictError:
            heads = self.sharing.heads(work, name)
            assert len({work.release(head).subject for head in heads}) > 1
            return
        if name.group != LOCAL:
            self.published |= {benchmark, *self.sharing.links(work, benchmark), *episodes}
        if made not in self.world.records and name.kind != "dataset":
            self.compare_new_revisions(but=[made])
            before = self.meant(work.records[made].parents, benchmark)
            self.added |= {(made, episode) for episode in set(episodes) - before}

    @rule(
        who=people, name=st.one_of(names, st.just(SHARED_PIN)), pick=picks, anything=st.booleans()
    )
    def unpublish(self, who: int, name: Name, pick: int, anything: bool) -> None:
        work = self.works[who]
        here = [r for r, record in work.records.items() if record.name == name]
        sources = here if anything else self.sharing.heads(work, name)
        known = sorted(set().union(*(work.content(r) for r in sources)))
        back = some(known, pick) if pick % 4 == 0 else known[pick % 5 :][:1]
        if not back:
            return
        for made in self.sharing.unpublish(work, name, back, who=PEOPLE[who]):
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
            self.sharing.remove(work, item)
            self.hidden[who].add(item)

    @rule(who=people, pick=picks)
    def restore(self, who: int, pick: int) -> None:
        for item in some(sorted(self.hidden[who]), pick)[:2]:
            self.sharing.restore(self.works[who], item)
            self.hidden[who].discard(item)
            if item not in self.works[who].objects:
                self.recorded[who].discard(item)

    @rule(who=people)
    def collect(self, who: int) -> None:
        self.sharing.collect(self.works[who])

    # what goes over the wire --------------------------------------------------------------------

    def begin(self, who: int, verb: str, steps: int) -> None:
        """Begin; whatever this person had under way dies where it stands."""
        self.running[who] = verb, getattr(self.sharing, verb)(self.works[who], self.bare)
        self.advance(who, steps)

    def advance(self, who: int, steps: int) -> None:
        verb, generator = self.running[who]
        for _ in range(steps):
            if next(generator, self) is self:
                del self.running[who]
                if verb == "push":
                    self.disturbed.discard(who)
                return

    @rule(who=people, verb=verbs, steps=st.integers(0, 12))
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
            assert self.sharing.current(new, name) == heads
            subjects = [new.release(head).subject for head in heads]
            assert len(set(subjects)) == len(subjects)
        if not self.disturbed and not self.running:
            assert set(new.names()) >= {
                name for name in self.bare.names() if self.sharing.current(self.bare, name)
            }

    # what always holds --------------------------------------------------------------------------

    @invariant()
    def each_revision_holds_what_people_meant(self) -> None:
        self.compare_new_revisions()

    def compare_new_revisions(self, but: Iterable[Id] = ()) -> None:
        for repo in (self.bare, *self.works):
            new = repo.records.keys() - self.world.records.keys() - set(but)
            for r in sorted(new, key=lambda r: repo.records[r].generation):
                record, release = repo.records[r], repo.release(r)
                self.world.records[r] = record
                self.world.objects[record.release] = release
                self.world.objects[release.benchmark] = repo.objects[release.benchmark]
                if record.name.kind == "benchmark":
                    assert repo.content(r) == self.meant([r], release.benchmark)
                elif not release.who:
                    assert {repo.content(r)} == {repo.content(parent) for parent in record.parents}
                assert record.generation > max(
                    (repo.records[parent].generation for parent in record.parents), default=0
                )

    def meant(self, heads: Iterable[Id], benchmark: Id) -> set[Id]:
        """Find what the ledger says these histories hold together of a benchmark."""
        known = self.world
        histories = set(heads).union(*(self.sharing.below(known, head) for head in heads))
        taken = [(self.sharing.below(known, r), e) for r, e in self.taken if r in histories]
        line = {h for h in heads if known.release(h).benchmark == benchmark}
        for r in sorted(histories, key=lambda r: -known.records[r].generation):
            if r in line:
                parents = known.records[r].parents
                line |= {p for p in parents if known.release(p).benchmark == benchmark}
        return {
            episode
            for r, episode in self.added
            if r in line and not any(r in below and episode == gone for below, gone in taken)
        }

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
                assert self.disturbed or seen.records == repo.records
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
        outcomes = [self.settled(order) for order in list(permutations(range(3)))[::2]]
        assert all(outcome == outcomes[0] for outcome in outcomes)

    def settled(self, order: Iterable[int]) -> Held:
        """Let everybody sync twice, in this order; return what each name holds then."""
        bare, works = copied(self.bare), [copied(work) for work in self.works]
        for sync in range(3):
            puts = self.sharing.puts
            for who in order:
                finish(self.sharing.pull(works[who], bare))
                finish(self.sharing.push(works[who], bare))
            assert sync < 2 or self.sharing.puts == puts, "a sync with nothing new wrote something"
        held: Held = {}
        for repo in (bare, *works):
            records = {r: rec for r, rec in repo.records.items() if rec.name.group != LOCAL}
            assert records == bare.records
            assert {r for r in repo.yanks if r in records} == bare.yanks
            for name in bare.names():
                heads = self.sharing.heads(repo, name)
                assert self.sharing.current(repo, name) == heads, "a head is not whole"
                subjects = {repo.release(h).subject: repo.content(h) for h in heads}
                assert len(subjects) == len(heads), "heads of one subject are left apart"
                conflict = len(subjects) > 1  # its sides depend on what was united before
                held[name] = {s: None if conflict else held for s, held in subjects.items()}
        return held


class HistoryMachine(SharingMachine):
    """The same with less going on: histories branch and meet, and nothing else happens."""

    pin = remove = restore = collect = start = go_on = prune = sweep = clone = None  # type: ignore[assignment]


class WireMachine(SharingMachine):
    """The same with less going on: pushes and pulls overlap, die, and meet the cleaner."""

    pin = remove = restore = collect = yank = visit = clone = None  # type: ignore[assignment]


def run(machine: type[SharingMachine], profile: settings, flaw: type[Sharing] = Sharing) -> None:
    machine = type("Machine", (machine,), {"flaw": flaw})
    run_state_machine_as_test(machine, settings=profile)


CHECKS = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_the_model_keeps_its_promises() -> None:
    run(SharingMachine, CHECKS)


@pytest.mark.slow
def test_the_model_keeps_its_promises_in_ten_thousand_histories() -> None:
    run(SharingMachine, settings(CHECKS, max_examples=10_000, stateful_step_count=50))


# flawed variants: what the machine must find out -------------------------------------------------


class UnionOnly(Sharing):
    """Unite by adding up the heads."""

    def union(self, repo: Repository, heads: Iterable[Id], subject: tuple[Id, ...]) -> set[Id]:
        same = [head for head in heads if repo.release(head).subject == subject]
        return set().union(*(repo.content(head) for head in same))


class SingleBase(Sharing):
    """Unite three ways, against one newest common ancestor."""

    def union(self, repo: Repository, heads: Iterable[Id], subject: tuple[Id, ...]) -> set[Id]:
        same = [head for head in heads if repo.release(head).subject == subject]
        if not same:
            return set()
        first, *others = same
        held, below = set(repo.content(first)), {first, *self.below(repo, first)}
        for head in others:
            theirs = {head, *self.below(repo, head)}
            base = max(below & theirs, key=lambda r: (repo.records[r].generation, r), default=None)
            old = repo.content(base) if base else frozenset()
            new = repo.content(head)
            held = (held | new) - (old - held) - (old - new)
            below |= theirs
        return held


class SignedUnions(Sharing):
    """Put a time on a union."""

    def stamp(
        self, repo: Repository, heads: list[Id], benchmark: Id, episodes: tuple[Id, ...]
    ) -> Release:
        return self.signed(super().stamp(repo, heads, benchmark, episodes), "somebody")


class RefsFirst(Sharing):
    """Copy records before objects."""

    def transfer(self, source: Repository, target: Repository, wanted: set[Id]) -> Iterator[None]:
        yield from self.put_records(source, target)
        yield from super().transfer(source, target, wanted)


class ChildrenFirst(Sharing):
    """Copy the newest record first."""

    def put_records(self, source: Repository, target: Repository) -> Iterator[None]:
        for r in sorted(source.records, key=lambda r: -source.records[r].generation):
            if r not in target.records:
                yield
                self.puts += 1
                target.records[r] = source.records[r]


class SendNeighbours(Sharing):
    """Send what lies beside what is published."""

    def to_send(self, plan: Repository, known: Repository) -> set[Id]:
        items = {i for i, item in plan.objects.items() if isinstance(item, Item)}
        return super().to_send(plan, known) | items


class SendPins(Sharing):
    """Send the group `local`, too."""

    def shared(self, repo: Repository) -> Repository:
        return copied(repo)


class SendTakenBack(Sharing):
    """Send the whole history, taken back or not; prune is undone by the next push."""

    def to_send(self, plan: Repository, known: Repository) -> set[Id]:
        return self.reach(plan, plan.records) & plan.objects.keys()


class TrustReleases(Sharing):
    """Believe that a release on the target has its closure there."""

    def to_send(self, plan: Repository, known: Repository) -> set[Id]:
        there = [r for r, record in plan.records.items() if record.release in self.seen.objects]
        return super().to_send(plan, known) - self.reach(plan, there)

    def push(self, work: Repository, bare: Repository) -> Iterator[None]:
        self.seen = copied(bare)
        yield from super().push(work, bare)


class NeverLookAgain(Sharing):
    """Do not check, after the records, that what they name is still there."""

    def push(self, work: Repository, bare: Repository) -> Iterator[None]:
        def once(plan: Repository, known: Repository) -> set[Id]:
            return set() if known is not plan else Sharing.to_send(self, plan, known)

        self.to_send = once  # type: ignore[method-assign]
        yield from super().push(work, bare)


class PullReveals(Sharing):
    """Forget a tombstone when its item comes again."""

    def pull(self, work: Repository, bare: Repository) -> Iterator[None]:
        yield from super().pull(work, bare)
        work.tombstones -= bare.objects.keys()


class YankAnything(Sharing):
    """Yank unions and take-backs."""

    def yank(self, repo: Repository, record: Id) -> None:
        repo.yanks.add(record)


class PruneOldVersions(Sharing):
    """Prune what no head has."""

    def prune(self, bare: Repository) -> None:
        heads = [head for name in bare.names() for head in self.heads(bare, name)]
        kept = set().union(*(bare.content(head) for head in heads))
        for i, item in list(bare.objects.items()):
            if isinstance(item, Item) and item.kind == "episode" and i not in kept:
                del bare.objects[i]


FLAWS = [
    UnionOnly,
    SingleBase,
    SignedUnions,
    RefsFirst,
    ChildrenFirst,
    SendNeighbours,
    SendPins,
    SendTakenBack,
    TrustReleases,
    NeverLookAgain,
    PullReveals,
    YankAnything,
    PruneOldVersions,
]


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flawed_model_is_found_out(flaw: type[Sharing]) -> None:
    search = settings(
        CHECKS,
        max_examples=3000,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        print_blob=False,
    )
    with pytest.raises((AssertionError, KeyError)):
        run(machine, search, flaw)
