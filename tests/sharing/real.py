"""Three people with real repositories and a drive, beside those of the model.

Whatever somebody does is done to both, and what then is in the repositories, what a reader gets and
what is refused must be the same. `SharingMachine` holds the model against what people meant.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.faults import HastyFileSystem, Killed
from tests.sharing import model
from tests.sharing.machine import (
    NAMES,
    PEOPLE,
    PIN,
    SHARED_PIN,
    SharingMachine,
    copied,
    finish,
    people,
    picks,
    some,
)
from tests.sharing.model import LOCAL, Id, Item, Name, Release
from tests.sharing.noted import DyingFileSystem, InterruptedFileSystem, NotedSharing
from tests.sharing.told import (
    Place,
    Told,
    differences,
    expected,
    files_of,
    forget,
    needing,
)
from tests.test_storage import episode
from tupli_repo.errors import ConflictError, InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind
from tupli_repo.odb.refs import RefName
from tupli_repo.repository import Repository
from tupli_repo.schema import ArtifactMetadata
from tupli_repo.schema.transfers import TransferReport

DRIVE = len(PEOPLE)
FOLDERS = (*PEOPLE, "drive")
_KEPT = (
    "sharing", "bare", "works", "recorded", "hidden", "world", "added", "taken", "published", "told"
)  # fmt: skip
NEWS = [
    (), ("add",), ("add",), ("add", "take_back"), ("add", "take_back"), ("take_back", "add"),
    ("take_back",), ("make_known",), ("add", "yank"), ("start_anew", "add"), ("hide",),
]  # fmt: skip
DEEDS = [
    *("push", "push", "pull", "pull", "fetch", "visit", "visit", "prune", "sweep", "sync"),
    *("die", "die", "die", "push_meanwhile", "push_meanwhile", "pull_meanwhile", "clone"),
    *("clean", "clean", "die_cleaning", "damage"),
]
_AT_ONCE = timedelta(0)


class RealMachine(SharingMachine):
    """The same, done to real repositories, too.

    Attributes:
        folder: Where they lie; given by the test.
    """

    flaw = NotedSharing
    folder: Path
    start = go_on = collect = None  # type: ignore[assignment]

    sharing: NotedSharing

    def __init__(self) -> None:
        super().__init__()
        self.told = Told()
        self.places: list[Place] = []
        self.touched: set[int] = set()
        self.settles = False

    # how it begins and ends ---------------------------------------------------------------------

    @initialize(known=st.booleans(), settles=st.sampled_from([True, False, False, False, False]))
    def everybody_has_something(self, known: bool, settles: bool) -> None:
        """Begin with copies of repositories that were made once: making them takes time."""
        self.settles = settles
        template, here = self.folder / f"known-{known}", self.folder / "run"
        if template not in _TEMPLATES:
            _TEMPLATES[template] = _made(type(self), template, known=known)
        shutil.copytree(template, here)
        for name, kept in deepcopy(_TEMPLATES[template]).items():
            setattr(self, name, kept)
        self.places = [Place(here / name, name) for name in FOLDERS]
        self.touched = set(range(len(FOLDERS)))

    def teardown(self) -> None:
        if not self.places:
            return
        try:
            if self.settles:
                self.settle()
        finally:
            forget(self.places)
            shutil.rmtree(self.folder / "run")

    def settle(self) -> None:
        """Let everybody sync twice; then nothing is left to be done, whoever asks."""
        for who in (0, 1, 2, 1, 0, 2):
            self.sync(who)
        for place in self.places:
            place.leave()
        self.places = [Place(here.folder, here.user) for here in self.places]
        self.touched = set(range(len(FOLDERS)))
        self.both_agree()
        drive = files_of(self.places[DRIVE].folder)
        for who in range(len(PEOPLE)):
            for verb in ("pull", "push"):
                report = self.real(who, verb)
                assert (report.n_objects, report.names, report.bytes_written) == (0, (), 0), report
        assert files_of(self.places[DRIVE].folder) == drive
        for work in self.works:
            records = {r: one for r, one in work.records.items() if one.name.group != LOCAL}
            assert records == self.bare.records

    @rule(
        who=people,
        other=people,
        deed=st.sampled_from(DEEDS),
        news=st.sampled_from(NEWS),
        verb=st.sampled_from(["push", "push", "pull", "prune", "sweep"]),
        pick=picks,
        n=st.integers(1, 14),
    )
    def act(
        self, who: int, other: int, deed: str, news: tuple[str, ...], verb: str, pick: int, n: int
    ) -> None:
        """Let somebody do something, most often with something new to tell."""
        for one in news:
            getattr(self, one)(who, pick)
        match deed:
            case "visit":
                self.visit(who, other)
            case "die":
                ends = "push" if verb in ("prune", "sweep") else verb
                self.die(who, ends, n if pick % 4 else 5 * n, at_steps=not pick % 4)
            case "push_meanwhile":
                self.push_meanwhile(who, other, verb, n)
            case "pull_meanwhile":
                self.pull_meanwhile(who, other, verb, n)
            case "push" | "pull" | "fetch":
                self.send_or_fetch(who, deed)
            case "die_cleaning":
                self.die_cleaning(who if pick % 2 else DRIVE, n)
            case "damage":
                self.damage(who if pick % 3 else DRIVE, pick, n)
            case "clone" | "sweep":
                getattr(self, deed)()
            case _:
                getattr(self, deed)(who)

    def publish(self, who: int, name: Name, pick: int, as_next: bool) -> None:
        super().publish(who, name, pick, as_next)  # no rule of its own

    def add(self, who: int, pick: int) -> None:
        name = NAMES[pick % 8 == 0]
        self.publish(who, name, pick | 2 << pick % 3, not pick % 5)

    def take_back(self, who: int, pick: int) -> None:
        work = self.works[who]
        anything = pick % 3 == 0
        names = [
            name
            for name in (*NAMES, SHARED_PIN)
            if any(work.content(r) for r in self.sharing.heads(work, name))
        ]
        if names:
            first = (5, 5, 6, 7)[pick % 4]  # one of the first few
            self.unpublish(who, names[pick % len(names)], first, anything)

    def make_known(self, who: int, pick: int) -> None:
        self.pin(who, pick | 2, not pick % 2)

    def start_anew(self, who: int, pick: int) -> None:
        self.record(who, pick % 2)

    def hide(self, who: int, pick: int) -> None:
        (self.restore if pick % 2 else self.remove)(who, pick | 1)

    # what people do -----------------------------------------------------------------------------

    def record(self, who: int, which: int) -> None:
        repo, work = self.places[who].repo, self.works[who]
        table = repo.store_artifact(b"%d" % which, ArtifactMetadata(name=f"a{which}"))
        walk = repo.store_benchmark(needing(f"b{which}", table.id))
        header = repo.record_episode(episode(walk.id, 1))
        links: tuple[Id, ...] = ()
        for oid, kind in ((table.id, "artifact"), (walk.id, "benchmark"), (header.id, "episode")):
            label = f"{PEOPLE[who]} {len(self.told.real)}" if kind == "episode" else f"{which}"
            item = Item(kind, label, links[-1:])
            self.told.learn_item(oid, item)
            links += (self.sharing.store(work, item),)
        made = set(links)
        self.recorded[who] |= made
        self.hidden[who] -= made
        self.touched.add(who)

    def pin(self, who: int, pick: int, shared: bool) -> None:
        work = self.works[who]
        for benchmark in self.sharing.listed(work, "benchmark")[:1]:
            held = some(self.episodes_of(work, benchmark), pick)
            if held:  # there is no dataset without episodes
                self.publish_as(who, PIN, benchmark, held, as_next=False)
                if shared:
                    self.publish_as(who, SHARED_PIN, benchmark, held, as_next=False)

    def publish_as(self, who: int, *wish: Any, as_next: bool) -> None:
        super().publish_as(who, *wish, as_next=as_next)
        self.ask_the_same(who)

    def unpublish(self, who: int, name: Name, pick: int, anything: bool) -> None:
        super().unpublish(who, name, pick, anything)
        self.ask_the_same(who)

    def yank(self, who: int, pick: int) -> None:
        super().yank(who, pick)
        self.ask_the_same(who)

    def remove(self, who: int, pick: int) -> None:
        before = set(self.works[who].tombstones)
        super().remove(who, pick)
        self.ask_to_hide(who, self.works[who].tombstones - before, "remove")

    def restore(self, who: int, pick: int) -> None:
        work, gone = self.works[who], self.hidden[who] - self.works[who].objects.keys()
        before = set(work.tombstones)
        self.hidden[who] -= gone  # what was cleaned away nobody restores
        super().restore(who, pick)
        self.hidden[who] |= gone
        self.ask_to_hide(who, before - self.works[who].tombstones, "restore")

    def ask_to_hide(self, who: int, items: set[Id], verb: str) -> None:
        if items:
            getattr(self.places[who].repo, verb)(sorted(self.told.real[one] for one in items))
            self.touched.add(who)

    def ask_the_same(self, who: int) -> None:
        """Ask of the real repository what was asked of the model; the same must come of it."""
        while self.sharing.asked:
            asked = self.sharing.asked.pop(0)
            getattr(self, f"ask_to_{asked.verb}")(who, *asked.what, came=asked.came)
            self.touched.add(who)

    def ask_to_publish(self, who: int, wish: Release, as_next: bool, *, came: Id | None) -> None:
        repo, name = self.places[who].repo, wish.name
        real = [self.told.real[one] for one in wish.episodes]
        if name == PIN:
            ask: Callable[[], Any] = partial(repo.pin, name.text, real)
        elif name == SHARED_PIN:
            ask = partial(repo.publish, "/".join(PIN), as_next=as_next)
        else:
            walk = self.told.real[wish.benchmark]
            ask = partial(repo.publish, walk, as_name=name.text, episodes=real, as_next=as_next)
        if came is None:
            with pytest.raises(ConflictError):
                ask()
            return
        report = ask()
        self.told.learn_revisions(self.places[who], self.works[who])
        self.told.repository(self.places[who])
        item = report if name == PIN else report.releases[0]
        assert item.revision == self.told.hashes[came]

    def ask_to_unpublish(self, who: int, name: Name, back: list[Id], *, came: list[Id]) -> None:
        place, work = self.places[who], self.works[who]
        real = [self.told.real[one] for one in back]
        parents = {parent for one in came for parent in work.records[one].parents}
        counted = (one for one in parents if self.sharing.counts(work, one))
        held = set().union(*map(work.content, counted))
        if held >= set(back):
            place.repo.unpublish("/".join(name), episodes=real)
        else:  # what a name does not lead to any more has no verb
            place.repo.names()
            raw = frozenset(map(bytes.fromhex, real))
            place.repo._publisher.unpublish(RefName(*name), episodes=raw, user=PEOPLE[who])
        self.told.learn_revisions(place, work)

    def ask_to_yank(self, who: int, record: Id, *, came: bool) -> None:
        repo, revision = self.places[who].repo, self.told.hashes[record]
        if came:
            repo.yank(revision)
        else:
            with pytest.raises(InvalidInputError):
                repo.yank(revision)

    # what goes over the wire --------------------------------------------------------------------

    def send_or_fetch(self, who: int, verb: str) -> None:
        work = self.works[who]
        taken_back = self.sharing.withdrawn(self.sharing.joined(work, self.bare))
        before, incomplete = set(self.bare.objects), self.incomplete(work, verb)
        finish(getattr(self.sharing, verb)(work, self.bare))
        assert not (self.bare.objects.keys() - before) & taken_back
        report = self.real(who, verb)
        if verb != "push":
            assert report.diverged == self.diverged(work)
        assert set(report.incomplete) == incomplete

    def incomplete(self, work: model.Repository, verb: str) -> set[str]:
        """Find the names of which the sender itself has not all."""
        if verb == "push":
            plan = self.sharing.joined(work, self.bare)
            ours = {plan.records[r].name for r in plan.records.keys() - plan.foreign}
            for name in plan.names():
                self.sharing.unite(plan, name)
            torn = self.sharing.torn(plan) - plan.foreign
            return {"/".join(plan.records[r].name) for r in torn} & set(map("/".join, ours))
        seen = self.sharing.shared(self.bare)
        self.sharing.leave_out_torn(seen)
        left_out = self.bare.records.keys() - seen.records.keys()
        return {"/".join(self.bare.records[r].name) for r in left_out}

    def do(self, who: int, verb: str) -> None:
        """Let somebody push, pull, prune or sweep."""
        match verb:
            case "prune":
                self.prune(who)
            case "sweep":
                self.sweep()
            case _:
                self.send_or_fetch(who, verb)

    def sweep(self) -> None:
        """Remove from the drive what no record leads to."""
        self.sharing.sweep(self.bare)
        self.places[DRIVE].repo.gc(grace=_AT_ONCE)
        self.touched.add(DRIVE)

    def clean(self, who: int) -> None:
        """Remove what somebody hid, and what nothing leads to."""
        work = self.works[who]
        self.sharing.clean(work)
        self.places[who].repo.gc(grace=_AT_ONCE)
        self.touched.add(who)

    def die_cleaning(self, who: int, n: int) -> None:
        """Somebody dies while they clean: what is to stay is there, and something may be gone."""
        place, repo = self.places[who], self.bare if who == DRIVE else self.works[who]
        after = copied(repo)
        (self.sharing.sweep if who == DRIVE else self.sharing.clean)(after)
        fs = DyingFileSystem(place.folder, n, at_steps=True)
        dying = Place(place.folder, place.user, fs)
        fs.begin()
        with suppress(Killed):
            dying.repo.gc(grace=_AT_ONCE)
        dying.leave()
        fs.release()
        there = self.told.repository(place)
        assert after.objects.items() <= there.objects.items() <= repo.objects.items()
        repo.objects = there.objects
        self.touched.add(who)

    def sync(self, who: int) -> None:
        for verb in ("pull", "push"):
            self.send_or_fetch(who, verb)

    def visit(self, who: int, other: int) -> None:
        super().visit(who, other)
        if who != other:
            self.real(who, "pull", other)

    def prune(self, who: int) -> None:
        """Push, and remove from the drive what was taken back."""
        finish(self.sharing.push(self.works[who], self.bare))
        self.sharing.prune(self.bare)
        self.real(who, "push", prune=True)

    def die(self, who: int, verb: str, n: int, *, at_steps: bool) -> None:
        """Another process of somebody dies on the way: some of what was to come has come."""
        drive, home = self.places[DRIVE].folder, self.places[who].folder
        fs = DyingFileSystem(drive if verb == "push" else home, n, at_steps=at_steps)
        dying = Place(home, PEOPLE[who], fs)
        fs.begin()
        with suppress(Killed):
            getattr(dying.repo, verb)(str(drive))
        dying.leave()
        fs.release()
        self.catch_up(who, verb, is_done=fs.failed is None)

    def catch_up(self, who: int, verb: str, *, is_done: bool = False) -> set[Id]:
        """Let the model have what has come of a push or pull; returns the objects that have."""
        work, bare = copied(self.works[who]), copied(self.bare)
        finish(getattr(self.sharing, verb)(work, bare))
        target, before, after = who, self.works[who], work
        if verb == "push":
            target, before, after = DRIVE, self.bare, bare
        there = self.told.repository(self.places[target])
        assert before.objects.items() <= there.objects.items() <= after.objects.items()
        assert before.records.items() <= there.records.items() <= after.records.items()
        assert before.yanks <= there.yanks <= after.yanks
        there.tombstones = before.tombstones
        assert not is_done or there == after
        self.check_order(before, there, after)
        new = there.objects.keys() - before.objects.keys()
        before.objects, before.records, before.yanks = there.objects, there.records, there.yanks
        self.touched |= {who, DRIVE}
        return new

    def push_meanwhile(self, who: int, other: int, verb: str, n: int) -> None:
        """Somebody else does something in the middle of a push."""
        pushing = self.sharing.push(self.works[who], self.bare)
        next(pushing)

        def act() -> None:
            already = self.catch_up(who, "push")
            self.do(other, verb)
            self.sharing.already = already

        folder = self.places[DRIVE].folder
        fs = InterruptedFileSystem(folder, n, act)
        pusher = Place(self.places[who].folder, PEOPLE[who], fs)
        pusher.repo.push(str(folder))
        pusher.leave()
        finish(pushing)
        self.touched |= {who, DRIVE}

    def pull_meanwhile(self, who: int, other: int, verb: str, n: int) -> None:
        """Somebody else does something in the middle of a pull; what has gone may be missed."""
        if who == other or verb == "pull":
            return
        work, bare = self.works[who], copied(self.bare)
        done = list[str]()

        def act() -> None:
            done.append(verb)
            self.do(other, verb)

        fs = InterruptedFileSystem(self.places[who].folder, n, act)
        puller = Place(self.places[who].folder, PEOPLE[who], fs)
        try:
            puller.repo.pull(str(self.places[DRIVE].folder))
        except NotFoundError:
            assert done in (["prune"], ["sweep"])
            known = work.records
            now, self.bare = self.bare, bare
            self.catch_up(who, "pull")
            self.bare = now
            assert work.records == known, "a name has changed"
        else:
            finish(self.sharing.pull(work, bare))
        puller.leave()
        self.touched |= {who, DRIVE}

    def clone(self) -> None:
        super().clone()
        new, folder = model.Repository(), self.folder / "run" / "clone"
        finish(self.sharing.pull(new, self.bare))
        Repository.clone(self.places[DRIVE].folder, folder, fs=HastyFileSystem()).close()
        place = Place(folder, "dan")
        assert self.told.repository(place) == new
        assert self.told.seen(place) == expected(self.sharing, new, is_bare=False)
        forget([place])
        shutil.rmtree(folder)

    def damage(self, who: int, pick: int, n: int) -> None:
        """A file is damaged; a repair brings back what was in it, as there is a copy elsewhere."""
        place, copy = self.places[who], self.folder / "run" / "copy"
        inside = place.folder / ".tupli"
        tombstones = {
            inside / "objects" / oid[:2] / oid[2:] for oid in place.store.ids(Kind.TOMBSTONE)
        }
        found = [path for folder in ("packs/*.pack", "objects/*/*") for path in inside.glob(folder)]
        records = (path for path in inside.glob("refs/global/*/*/*") if path.suffix != ".yank")
        files = sorted({*found, *records} - tombstones)
        if not files:
            return
        shutil.copytree(place.folder, copy)
        lacked = wrong(place)  # of a push that died on the way
        path = files[pick % len(files)]
        data = path.read_bytes()
        at = pick * n % len(data)
        bad = {0: data[:at], 1: b"", 2: data + b"\0"}.get(n % 5, flipped(data, at))
        path.chmod(0o644)
        path.write_bytes(bad)
        assert wrong(place) - lacked, "the damage was not found"
        report = place.repo.repair(remotes=[str(copy)])
        assert {one.object_id for one in report.lost} <= {one for _, one in lacked}
        assert wrong(place) == lacked
        forget([Place(copy, "")])
        shutil.rmtree(copy)
        place.whole.clear()
        self.touched.add(who)

    def check_order(
        self, before: model.Repository, there: model.Repository, after: model.Repository
    ) -> None:
        """Check that of what was to come what is named has come before what names it."""
        new = there.records.keys() - before.records.keys()
        for one in new:
            assert there.records.keys() >= set(there.records[one].parents)
        named = self.sharing.reach(there, new)
        for i in there.objects.keys() - before.objects.keys():
            named.update(there.objects[i].links)
        assert named & after.objects.keys() <= there.objects.keys()

    def real(self, who: int, verb: str, other: int = DRIVE, **words: bool) -> TransferReport:
        self.touched |= {who, other}
        path = str(self.places[other].folder)
        report: TransferReport = getattr(self.places[who].repo, verb)(path, **words)
        return report

    def diverged(self, repo: model.Repository) -> tuple[str, ...]:
        return tuple(
            "/".join(name)
            for name in repo.names()
            if name.group != LOCAL
            and len({repo.release(r).subject for r in self.sharing.heads(repo, name)}) > 1
        )

    # what always holds --------------------------------------------------------------------------

    @invariant()
    def both_agree(self) -> None:
        for number in sorted(self.touched):
            place, is_bare = self.places[number], number == DRIVE
            repo = self.bare if is_bare else self.works[number]
            there = self.told.repository(place)
            there.tombstones = set(repo.tombstones)
            assert there == repo, differences(there, repo)
            seen, told = self.told.seen(place), expected(self.sharing, repo, is_bare=is_bare)
            assert seen == told, (seen, told)
            if is_bare:
                self.told.look_for_secrets(place, self.published)
            else:
                removed = self.told.items(oid for _, oid in place.repo.removed())
                assert removed & repo.objects.keys() == repo.tombstones & repo.objects.keys()
                assert removed <= repo.tombstones  # what was cleaned away lies in the trash
        self.touched.clear()


def wrong(place: Place) -> set[tuple[str, str]]:
    """What a check of all bytes finds damaged or missing: paths, and ids."""
    findings = place.repo.fsck("data").findings
    return {(one.path, one.object_id) for one in findings if one.severity == "error"}


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


_TEMPLATES: dict[Path, dict[str, Any]] = {}


def _made(machine: type[RealMachine], folder: Path, *, known: bool) -> dict[str, Any]:
    """Make repositories in which everybody has something; returns what the model says of them."""
    one = machine()
    for number, name in enumerate(FOLDERS):
        here = folder / name
        Repository.init(here, bare=number == DRIVE, fs=HastyFileSystem()).close()
        for path in (here / ".tupli" / "objects").iterdir():
            path.rmdir()  # so that copying is quick; they are made again when they are needed
        one.places.append(Place(here, name))
    for who in range(len(PEOPLE)):
        for which in (0, 0, 1):
            one.record(who, which)
    if known:
        one.publish(0, NAMES[0], 2**12 - 2, False)
        for who in range(len(PEOPLE)):
            one.sync(who)
    for place in one.places:
        place.repo.close()
    forget(one.places)
    return {name: getattr(one, name) for name in _KEPT}
