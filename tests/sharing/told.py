"""What real repositories hold, said in the words of the model.

Ids and times differ between the two: which real one stands for which of the model is learned when
something is recorded, published or taken back. A union is nobody's: what it must be follows from
what it unites, so it is translated, never learned.
"""

import shutil
from collections.abc import Collection, Container, Iterable
from pathlib import Path
from typing import NamedTuple

from tests.faults import HastyFileSystem
from tests.sharing import model
from tests.sharing.model import LOCAL, Id, Item, Release, Sharing
from tupli_repo.catalog import catalog_path
from tupli_repo.codec.env.document import FORMAT, dump_json
from tupli_repo.codec.records import ReleaseBody, parse_body
from tupli_repo.odb.files import FileSystem
from tupli_repo.odb.objects import Kind, Object, ObjectId, encode
from tupli_repo.odb.refs import Record, RefName
from tupli_repo.repository import Repository
from tupli_repo.repository.published.views import parse_release
from tupli_repo.repository.sharing.remotes import _cache_folder
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery
from tupli_repo.schema.reports import ReleaseItem

ITEMS = (Kind.EPISODE, Kind.BENCHMARK, Kind.ARTIFACT)


class Seen(NamedTuple):
    """What a reader of one repository gets, in the ids of the model."""

    current: dict[model.Name, set[Id]]
    heads: set[Id]
    pending: set[Id]
    added: dict[Id, int]
    diverged: set[model.Name]
    listed: dict[str, set[Id]]
    published: set[Id]


class Place:
    """One real repository, opened once and looked at anew each time.

    Args:
        folder: Where it is.
        user: Who works there.
        fs: How its disk is reached.
    """

    def __init__(self, folder: Path, user: str, fs: FileSystem | None = None) -> None:
        self.folder, self.user = folder, user
        self.repo = Repository(folder, fs=fs or HastyFileSystem())
        self.repo.settings = self.repo.settings.model_copy(update={"user_name": user})
        self.store, self.refs = self.repo._store, self.repo._refs
        self.whole: set[ObjectId] = set()  # releases whose sets have been seen here
        self.known: set[ObjectId] = set()  # objects that have been looked into here

    def refresh(self) -> None:
        """Look at it anew: first at the refs."""
        self.refs.refresh()
        self.store.refresh()

    def releases(self) -> set[ObjectId]:
        """Return the releases that its records name."""
        names = self.refs.names()
        return {one.release for name in names for one in self.refs.records(name).values()}

    def closure(self, front: set[ObjectId], known: Container[ObjectId] = ()) -> set[ObjectId]:
        """Return objects and what they lead to, here or not; what is known is not followed."""
        found = set[ObjectId]()
        while front:
            found |= front
            here = [oid for oid in front if self.store.contains(oid)]
            links = {link for _, obj in self.store.read_many(here) for link in obj.links}
            front = {link for link in links - found if link not in known}
        return found

    def leave(self) -> None:
        """Leave it as a process that is killed does."""
        self.store._close.detach()


class Told:
    """Which real thing stands for which of the model.

    Attributes:
        real: The ids of episodes, benchmarks and artifacts, by those of the model.
        hashes: The hashes of records, by the ids of the model.
        public: What may leave: all that a release in another group than `local` leads to.
    """

    def __init__(self) -> None:
        self.real: dict[Id, ObjectId] = {}
        self.hashes: dict[Id, str] = {}
        self.public: set[ObjectId] = set()
        self._ids: dict[ObjectId, Id] = {}
        self._objects: dict[Id, Item | Release] = {}
        self._records: dict[str, Id] = {}
        self._when: dict[str, int] = {}
        self._texts: dict[int, str] = {}

    def learn_item(self, oid: str, item: Item) -> None:
        """Note which episode, benchmark or artifact of the model a real one is."""
        one = model.identify(item)
        self.real[one], self._ids[ObjectId(oid)] = ObjectId(oid), one
        self._objects[one] = item

    def learn_revisions(self, place: Place, work: model.Repository) -> None:
        """Note the times of the revisions that somebody has made since on both sides."""
        place.refresh()
        new: list[tuple[object, ...]] = []
        for name in place.refs.names():
            for one, record in place.refs.records(name).items():
                obj = place.store.read(record.release)
                body = parse_body(ReleaseBody, obj.body)
                if one not in self._records and body.created_by:
                    said = self._said(place, record.release, obj, body)
                    above = sorted(self._records.get(parent, "") for parent in record.parents)
                    new.append((name, *said, above, body.created_at))
        expected = []
        for one in work.records.keys() - self.hashes.keys():
            release, parents = work.release(one), work.records[one].parents
            above = sorted(parent if parent in self.hashes else "" for parent in parents)
            if release.who:
                told = release.benchmark, release.episodes, release.withdrawn, above, release.when
                expected.append((RefName(*release.name), *told))
        pairs = list(zip(sorted(new, key=repr), sorted(expected, key=repr), strict=True))
        for real, modelled in pairs:
            assert real[:-1] == modelled[:-1]
            when = modelled[-1]
            assert isinstance(when, int)
            self._when[str(real[-1])] = when
            self._texts[when] = modelled[0].name

    def repository(self, place: Place) -> model.Repository:
        """Return what is in a real repository as one of the model."""
        place.refresh()
        found = model.Repository()
        for oid in place.store.ids(*ITEMS):
            found.objects[self._ids[oid]] = self._objects[self._ids[oid]]
        for oid in place.store.ids(Kind.RELEASE):
            one = self._release(place, oid)
            found.objects[one] = self._objects[one]
        for name in place.refs.names():
            records = place.refs.records(name)
            for one in sorted(records, key=lambda one: records[one].generation):
                record = self._record(records[one])
                found.records[self._learn_record(one, record)] = record
            found.yanks |= {self._records[one] for one in place.refs.yanks(name)}
        return found

    def seen(self, place: Place) -> Seen:
        """Return what a reader of a real repository gets."""
        items: list[ReleaseItem] = place.repo.log()
        names = place.repo.names()
        episodes = place.repo.list_episodes()
        listed = {
            "episode": self.items(header.id for header in episodes),
            "benchmark": self.items(header.id for header in place.repo.list_benchmarks()),
            "artifact": self.items(header.id for header in place.repo.list_artifacts()),
        }
        return Seen(
            {_name(item): self._ones(r.revision for r in item.current) for item in names},
            self._ones(item.revision for item in items if item.is_head),
            self._ones(item.revision for item in items if item.pending),
            {self._records[item.revision]: item.n_added for item in items if not item.is_union},
            {_name(item) for item in names if item.diverged},
            listed,
            self.items(header.id for header in episodes if header.published_in),
        )

    def items(self, ids: Iterable[str]) -> set[Id]:
        """Return which episodes, benchmarks and artifacts of the model some ids stand for."""
        return {self._ids[ObjectId(oid)] for oid in ids}

    def look_for_secrets(self, place: Place, published: Collection[Id]) -> None:
        """Check that a drive has nothing that nobody published, nor a word about it.

        Args:
            place: The drive.
            published: Episodes, and whatever else, that somebody published.
        """
        here = [oid for oid in place.store.ids() if oid not in place.known]
        new = dict(place.store.read_many(here))
        for oid in new.keys() - self.public:
            assert self._is_of_union(new[oid]), "something left that no release leads to"
        secret = [one for one in self.real.keys() - set(published) if self.is_episode(one)]
        words = [word for one in secret for word in _words(self.real[one])]
        for obj in new.values():
            text = encode(obj)
            assert not any(word in text for word in words), "a release tells of what is secret"
        assert not any(name.group == LOCAL for name in place.refs.names())
        place.known |= new.keys()

    def is_episode(self, one: Id) -> bool:
        """Return whether something of the model is an episode."""
        return self._objects[one].kind == "episode"

    def _is_of_union(self, obj: Object) -> bool:
        """Whether it lists only what may leave: a part of a union that was made on the way."""
        raw = [obj.body[at : at + 32].hex() for at in range(0, len(obj.body), 32)]
        named = {Kind.EPISODES: set(obj.links), Kind.BLOB: set(map(ObjectId, raw))}
        return obj.kind in named and named[obj.kind] <= self.public

    def _ones(self, hashes: Iterable[str]) -> set[Id]:
        return {self._records[one] for one in hashes}

    def _release(self, place: Place, oid: ObjectId) -> Id:
        """The release of the model that a real one is; what it is made of must be here, too."""
        if oid not in place.whole:
            obj = place.store.read(oid)
            body = parse_body(ReleaseBody, obj.body)
            when = self._when[body.created_at]
            name = model.Name(body.group, body.kind, self._texts[when])
            benchmark, episodes, withdrawn = self._said(place, oid, obj, body)
            release = Release(name, benchmark, episodes, withdrawn, body.created_by, when)
            one = model.identify(release)
            self._ids[oid], self._objects[one] = one, release
            if body.group != LOCAL:
                self.public |= place.closure({oid}, self.public)
            place.whole.add(oid)
        return self._ids[oid]

    def _said(
        self, place: Place, oid: ObjectId, obj: Object, body: ReleaseBody
    ) -> tuple[Id, tuple[Id, ...], tuple[Id, ...]]:
        """Benchmark, episodes and what is taken back, in the ids of the model."""
        view = parse_release("", Record(RefName(body.group, body.kind, "x"), 1, (), oid), obj)
        (benchmark,) = view.benchmarks
        episodes = [one for part in view.sets for one in place.store.read(part).links]
        assert len(set(episodes)) == body.n_episodes == len(episodes)
        raw = place.store.read(view.withdrawn).body if view.withdrawn else b""
        gone = [raw[at : at + 32].hex() for at in range(0, len(raw), 32)]
        return (
            self._ids[benchmark],
            tuple(sorted(self.items(episodes))),
            tuple(sorted(self.items(gone))),
        )

    def _record(self, record: Record) -> model.Record:
        above = tuple(sorted(self._records[one] for one in record.parents))
        name = model.Name(*record.name)
        return model.Record(name, record.generation, above, self._ids[record.release])

    def _learn_record(self, revision: str, record: model.Record) -> Id:
        """Note which record of the model a real one is: one alone, wherever it is."""
        one = model.identify(record)
        assert self.hashes.setdefault(one, revision) == revision, "the same has two revisions"
        assert self._records.setdefault(revision, one) == one
        return one


def expected(sharing: Sharing, repo: model.Repository, *, is_bare: bool) -> Seen:
    """Return what a reader of a repository of the model gets."""
    names = repo.names()
    heads = {name: sharing.heads(repo, name) for name in names}
    current = {name: set(sharing.heads(repo, name, whole=True)) for name in names}
    shown = [repo.release(r) for name in names if name.group != LOCAL for r in current[name]]
    published = {episode for release in shown for episode in release.episodes}
    listed = {kind: set(sharing.listed(repo, kind)) for kind in ("episode", "benchmark")}
    if is_bare:
        listed = {"episode": published, "benchmark": {release.benchmark for release in shown}}
    needed = {link for one in listed["benchmark"] for link in repo.objects[one].links}
    others = set() if is_bare else set(sharing.listed(repo, "artifact"))
    return Seen(
        current,
        {one for some in heads.values() for one in some},
        {one for one in repo.records if sharing.missing(repo, one)},
        {one: len(sharing.added(repo, one)) for one in repo.records if repo.release(one).who},
        {
            name
            for name, some in heads.items()
            if len({repo.release(one).subject for one in some}) > 1
        },
        {**listed, "artifact": needed | others},
        published & listed["episode"],
    )


def _name(item: object) -> model.Name:
    return model.Name(item.group, item.kind, item.name)  # type: ignore[attr-defined]


def _words(oid: ObjectId) -> tuple[bytes, bytes]:
    return oid.encode(), bytes.fromhex(oid)


def differences(there: model.Repository, repo: model.Repository) -> str:
    """Return what only one of two repositories has."""
    found = []
    for word, one, other in (("really", there, repo), ("in the model", repo, there)):
        items = [one.objects[i] for i in one.objects.keys() - other.objects.keys()]
        records = [one.records[r] for r in one.records.keys() - other.records.keys()]
        found.append(f"only {word}: {items} {records} {one.yanks - other.yanks}")
    return "; ".join(found)


def files_of(folder: Path) -> dict[str, int]:
    """Every file of a repository, and its size."""
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def forget(places: list[Place]) -> None:
    """Leave some repositories, and what is kept of them elsewhere."""
    for place in places:
        place.leave()
        root, number = place.repo.root, place.repo.format.id
        shutil.rmtree(catalog_path(root, number), ignore_errors=True)
        shutil.rmtree(_cache_folder(root, number), ignore_errors=True)


def needing(name: str, artifact: str) -> BenchmarkQuery:
    """An environment that needs an artifact."""
    document = {
        "artifacts": [artifact],
        "base": {"kind": "recipe", "make": {"py/type": "nowhere.Env"}},
        "format": FORMAT,
        "wrappers": [],
    }
    return BenchmarkQuery(
        hash=name, serialized=dump_json(document), metadata=BenchmarkMetadata(name=name)
    )
