"""A few repositories on a disk in memory, and what was promised about them.

`/lab/drive` is bare. `/lab/ada` and `/lab/bob` work with it; each has news for the other, bob's are
on the drive, ada's are not. A **fact** is what a verb acknowledged by returning: an episode is
there, a name leads to it, something is hidden. `World.acked` notes facts; `World.unsure` takes them
back before a verb that may change them; `assert_sound` holds a disk against them.

Fan-out folders that are empty are removed from the disk, as copying tools do.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults import MemoryFileSystem
from tests.faults.nodes import Node
from tests.repository.people import artifact, benchmark, record
from tupli_repo.odb.files import FileSystem
from tupli_repo.odb.objects import encode
from tupli_repo.repository import Repository

LAB = Path("/lab")
DRIVE = LAB / "drive"
Fact = tuple[Any, ...]
_SEEN: dict[tuple[Path, int], set[Fact]] = {}


class Promise(NamedTuple):
    """A fact of one repository, in force from one mark on, and until another."""

    where: str
    fact: Fact
    since: int
    until: int | None = None

    def counts(self, position: int) -> bool:
        return self.since <= position and (self.until is None or position < self.until)


class World:
    """A disk, how verbs reach it, and what they promised.

    Args:
        disk: The disk itself.
        fs: What the verbs get; the disk where None.
        now: Tells at which point of the history a promise is made.
        start: The beginning of the history.
    """

    def __init__(
        self,
        disk: MemoryFileSystem,
        fs: FileSystem | None = None,
        now: Callable[[], int] = lambda: 0,
        start: "Base | None" = None,
    ) -> None:
        self.disk = disk
        self.fs = fs or disk
        self.start = start or base()
        self.promises: list[Promise] = list(self.start.promises)
        self._now = now
        self.opened: list[Repository] = []

    def open(self, name: str) -> Repository:
        """Open one of the repositories, as a process of its own does."""
        return self.keep(Repository(LAB / name, fs=self.fs))

    def keep(self, who: Repository) -> Repository:
        """Remember a repository that was opened."""
        self.opened.append(who)
        return who

    def acked(self, where: str, *facts: Fact) -> None:
        """Note what a verb has just promised."""
        now = self._now()
        self.promises += [Promise(where, fact, now) for fact in facts]

    def unsure(self, where: str, *facts: Fact) -> None:
        """Take facts back, before a verb that may change them."""
        now = self._now()
        self.promises = [
            one._replace(until=now)
            if one.where == where and one.fact in facts and one.until is None
            else one
            for one in self.promises
        ]

    def wait(self, time: timedelta) -> None:
        """Let time pass."""
        wait(self.disk, time)

    def in_force(self, position: int = 0) -> list[Promise]:
        """Return what was promised at a point of the history, and not taken back."""
        return [one for one in self.promises if one.counts(position)]

    def leave(self) -> None:
        """Leave every repository as a killed process does: nothing is run at its end."""
        for who in self.opened:
            who._store._close.detach()
        self.opened.clear()


class Base(NamedTuple):
    """The disk at the beginning, and what holds of it.

    Attributes:
        promises: Everything that is there, for ever.
        more: Two episodes of ada's; the first is published, not pushed. Elsewhere what it says.
        spoilt: The bytes of ada's files that are damaged.
        mended: What holds of ada's repository once it is repaired.
    """

    disk: MemoryFileSystem
    promises: tuple[Promise, ...]
    more: tuple[str, ...]
    spoilt: tuple[bytes, ...] = ()
    mended: tuple[Fact, ...] = ()


@cache
def base() -> Base:
    """Return the disk at the beginning; copy it before use."""
    disk = MemoryFileSystem()
    Repository.init(DRIVE, bare=True, fs=disk).close()
    ada = Repository.init(LAB / "ada", fs=disk)
    ada.add_remote("origin", DRIVE)
    walk = benchmark(ada)
    record(ada, walk, 2, by="ada")
    ada.publish("walk", episodes=True)
    ada.publish(artifact(ada))
    ada.push()
    bob = Repository.clone(DRIVE, LAB / "bob", fs=disk)
    record(bob, walk, 2, by="bob")
    bob.publish("walk", episodes=True)
    bob.push()
    bob.close()
    new = record(ada, walk, 2, by="ada", more=True)
    ada.publish("walk", episodes=new[:1])
    ada.pin("train", new)
    ada.remove([record(ada, walk, 1, by="ada", wrong=True)[0]])
    ada.close()
    return begun(disk, new)


def begun(disk: MemoryFileSystem, more: Iterable[str] = ()) -> Base:
    """Return a beginning: what is on the disk now is promised for ever."""
    for folder in _folders(disk.root):
        for name in [name for name, one in folder.items() if _is_empty_fan_out(name, one)]:
            del folder[name]
    found = {name: look(disk, LAB / name) for name in ("ada", "bob", "drive")}
    promises = [Promise(name, fact, -1) for name, facts in found.items() for fact in facts]
    return Base(disk, tuple(promises), tuple(more))


def wait(disk: MemoryFileSystem, time: timedelta) -> None:
    """Let time pass on a disk."""
    disk.now_ns += round(time.total_seconds()) * 10**9


def walk_of(who: Repository) -> str:
    """Return the id of the benchmark everybody has."""
    return next(one.id for one in who.list_benchmarks() if one.metadata.name == "walk")


def new_world() -> World:
    """Return the repositories as they are at the beginning."""
    return World(base().disk.copy())


def look(disk: MemoryFileSystem, folder: Path) -> set[Fact]:
    """Read all there is in a repository, as a new process, and return what holds of it.

    A repository that is the same to the byte is not read again.

    Raises:
        AssertionError: Some bytes are not those their name says.
        TupliError: Something there cannot be read.
    """
    key = (folder, disk.print_of(folder))
    if key not in _SEEN:
        who = Repository(folder, fs=disk)
        try:
            _SEEN[key] = _facts_of(who)
        finally:
            who._store._close.detach()
    return _SEEN[key]


def _facts_of(who: Repository) -> set[Fact]:
    """What holds of a repository; each object is read and hashed, each episode decoded."""
    facts: set[Fact] = set()
    headers = who.episode_headers()
    for header, data in who.read_episodes(header.id for header in headers):
        assert len(data.rewards) == header.n_tuples
        facts.add(("episode", header.id))
    for one in who.list_benchmarks():
        assert who.load_benchmark(one.id).serialized == '{"py/object": "x"}'
        facts.add(("benchmark", one.id))
    for item in who.list_artifacts():
        who.load_artifact(item.id)
        facts.add(("artifact", item.id))
    facts |= {("hidden", oid) for _, oid in who.removed()}
    facts |= {("remote", item.name, item.url) for item in who.remotes()}
    objects = {}
    for oid, obj in who._store.read_many(list(who._store.ids())):
        assert sha256(encode(obj)).hexdigest() == oid, f"other bytes under '{oid}'"
        objects[oid] = obj
    releases = who._releases
    for name, records in who._refs.all().items():
        for one_record in records.values():
            assert one_record.release in objects, f"{name} names a release that is not there"
            for link in objects[one_record.release].links:
                assert link in objects, f"{name} names '{link}', which is not there"
        for view in releases.current(name):
            held = {raw.hex() for raw in releases.episodes(view)}
            assert held <= objects.keys(), f"{name} has episodes that are not there"
            facts |= {("published", name.name, oid) for oid in (*held, *view.benchmarks)}
        facts |= {("revision", one) for one in releases.views(name)}
        facts |= {("yanked", one) for one in who._refs.yanks(name)}
    return facts


def assert_sound(
    disk: MemoryFileSystem, promises: Iterable[Promise], *, new: Iterable[str] = ()
) -> dict[str, set[Fact]]:
    """Read every repository on a disk; each promise is kept. Returns what was found.

    Args:
        disk: The disk.
        promises: What must hold.
        new: Repositories that need not be there unless something was promised of them.
    """
    needed: dict[str, set[Fact]] = {}
    for one in promises:
        needed.setdefault(one.where, set()).add(one.fact)
    found: dict[str, set[Fact]] = {}
    for where in {*needed, *new}:
        if where not in needed and not _is_there(disk, where):
            continue
        found[where] = look(disk, LAB / where)
        for fact in needed.get(where, ()):
            if fact[0] == "not":
                assert fact[1] not in found[where], f"{where} still has {fact[1]}"
            elif fact[0] != "there":
                assert fact in found[where], f"{where} lost {fact}"
    return found


def assert_usable(disk: MemoryFileSystem) -> None:
    """Record, publish, push and clone on a disk."""
    world = World(disk)
    ada = world.open("ada")
    later = benchmark(ada, "later", digest="later")
    new = record(ada, later, 1)
    ada.publish("later", episodes=True)
    ada.push()
    ada.close()
    eve = world.keep(Repository.clone(DRIVE, LAB / "afterwards", fs=disk))
    for name, ids in (("later", new), ("walk", {header.id for header in ada.episodes_of("walk")})):
        assert {header.id for header in eve.episodes_of(name)} >= set(ids)
    world.leave()


def _is_there(disk: MemoryFileSystem, where: str) -> bool:
    try:
        return disk.status(LAB / where / ".tupli" / "format.json").is_file
    except FileNotFoundError:
        return False


def _folders(node: Node) -> list[dict[str, Node]]:
    if node.names is None:
        return []
    return [node.names, *(one for below in node.names.values() for one in _folders(below))]


def _is_empty_fan_out(name: str, node: Node) -> bool:
    return len(name) == 2 and node.names is not None and not node.names
