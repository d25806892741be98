"""A drive that two honest names are published on, and tools to make it hostile."""

import os
import shutil
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from tests.faults import HastyFileSystem
from tests.odb.samples import id_of
from tests.repository.people import drive, person, record
from tests.test_storage import episode
from tupli_repo.codec.records import ReleaseBody
from tupli_repo.odb import frames
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.objects import Kind, Object, ObjectId, encode, object_id
from tupli_repo.odb.refs import Record, RefName, RefStore
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository import Repository
from tupli_repo.repository.published.sets import digest_of
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery

WALK = RefName("global", "benchmark", "walk")
EVIL = RefName("global", "dataset", "evil")
TRAP = '{"py/object": "trap_lab.Trap", "py/reduce": [{"py/function": "os.system"}]}'
DAY = "2026-01-01T00:00:00.000000Z"
TIB = 1 << 40
GIB = 1 << 30


def publish(who: Repository, name: str, n: int) -> None:
    """Publish a benchmark with some episodes; its environment must never be decoded."""
    query = BenchmarkQuery(hash=name, serialized=TRAP, metadata=BenchmarkMetadata(name=name))
    benchmark = who.store_benchmark(query).id
    record(who, benchmark, n)
    who.publish(name, episodes=True)


def make_world(folder: Path) -> None:
    """Make a drive, and a repository that has published something else and knows the drive."""
    hub = drive(folder / "hub")
    for name, benchmark in (("ada", "walk"), ("bob", "good")):
        with person(folder / name, hub) as who:
            publish(who, benchmark, 3)
            who.push()
        shutil.rmtree(folder / name)
    with person(folder / "me", hub) as who:
        publish(who, "mine", 2)
        who.record_episode(episode(who.list_benchmarks()[0].id, metadata={"unpublished": 1}))
    for name in ("hub", "me"):  # a repository need not have all its fan-out folders
        for path in (folder / name / ".tupli" / "objects").iterdir():
            if not any(path.iterdir()):
                path.rmdir()


class Hub:
    """The drive's files.

    Args:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / ".tupli"
        self.remote = folder
        self.packs = self.root / "packs"
        self.objects = self.root / "objects"
        self.files = RepositoryFiles(self.root, HastyFileSystem())

    @property
    def outside(self) -> Path:
        """A folder of somebody else."""
        path = self.folder.parent / "outside"
        path.mkdir(exist_ok=True)
        return path

    @property
    def pack(self) -> Path:
        """The pack with the episodes of 'walk', or of both."""
        return min(self.packs.glob("*.pack"))

    @property
    def walk(self) -> Path:
        """The record of 'walk'."""
        return next(self.folder_of(WALK).iterdir())

    def folder_of(self, name: RefName) -> Path:
        """The folder of a name."""
        return self.root.joinpath("refs", *name)

    def all_objects(self) -> dict[ObjectId, Object]:
        """Everything there is."""
        store = ObjectStore(self.files)
        store._close.detach()
        store.refresh()
        return dict(store.read_many(list(store.ids())))

    def packed(self) -> list[Object]:
        """What lies in the packs."""
        loose = {path.parent.name + path.name for path in self.objects.glob("??/*")}
        return [obj for oid, obj in self.all_objects().items() if oid not in loose]

    def of_kind(self, kind: Kind) -> list[Object]:
        """The objects of a kind."""
        return [obj for obj in self.all_objects().values() if obj.kind is kind]

    def loose(self, kind: Kind) -> Path:
        """The file of a loose object."""
        (first, *_) = [p for obj in self.of_kind(kind) if (p := self.path_of(id_of(obj))).exists()]
        return first

    def path_of(self, oid: ObjectId) -> Path:
        """Where a loose object lies."""
        return self.objects / oid[:2] / oid[2:]

    def put(self, obj: Object) -> ObjectId:
        """Store an object, whatever is in it."""
        return self.put_encoded(encode(obj))

    def put_encoded(self, data: bytes) -> ObjectId:
        """Store bytes under the name that is right for them."""
        oid = object_id(data)
        self.path_of(oid).parent.mkdir(exist_ok=True)
        self.path_of(oid).write_bytes(frames.compress(data))
        return oid

    def name(
        self,
        release: ObjectId,
        name: RefName = EVIL,
        *,
        generation: int = 1,
        parents: Iterable[str] = (),
    ) -> Record:
        """Put a record."""
        found = Record(name, generation, tuple(sorted(parents)), release)
        RefStore(self.files).put(found)
        return found

    def raw_record(self, data: bytes, name: RefName = EVIL, generation: int = 1) -> Path:
        """Put the bytes of a record under the name that is right for them."""
        folder = self.folder_of(name)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{generation:08d}-{sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        return path

    def release(self, links: Iterable[ObjectId] = (), **fields: Any) -> ObjectId:
        """Store a release."""
        given: dict[str, Any] = {
            "name": "evil",
            "group": "global",
            "kind": "dataset",
            "created_at": DAY,
            "created_by": "eve",
            "digest": digest_of(()),
        }
        body = ReleaseBody.model_construct(**{**given, **fields}).dump()
        return self.put(Object(kind=Kind.RELEASE, links=tuple(links), body=body))

    def set_of(self, ids: Iterable[ObjectId]) -> ObjectId:
        """Store an episode set."""
        return self.put(Object(kind=Kind.EPISODES, links=tuple(ids)))

    def dataset(self, ids: Iterable[ObjectId], **fields: Any) -> ObjectId:
        """Store a release of some episodes."""
        chosen = sorted(ids)
        raw = [bytes.fromhex(oid) for oid in chosen]
        given = {"n_episodes": len(raw), "digest": digest_of(raw), **fields}
        return self.release([self.set_of(chosen)], **given)

    def sparse(self, path: Path, size: int, *, end: bytes = b"", begin: bytes = b"") -> Path:
        """Make a file huge and nearly empty."""
        path.unlink(missing_ok=True)
        with path.open("wb") as out:
            out.write(begin)
            out.truncate(size - len(end))
            out.seek(0, os.SEEK_END)
            out.write(end)
        return path


class Bombs(NamedTuple):
    """Sealed frames of a gibibyte of zeros: one that says so, one that says 100 bytes."""

    honest: bytes
    lying: bytes


@lru_cache(maxsize=1)
def bombs() -> Bombs:
    """Make them; about 32 KiB each."""
    made = zstandard.ZstdCompressor(level=1, write_checksum=True).compressobj(size=GIB)
    frame = b"".join(made.compress(bytes(1 << 20)) for _ in range(1 << 10)) + made.flush()
    at = frame.index(GIB.to_bytes(4, "little"), 4, 20)
    small = frame[:at] + (100).to_bytes(4, "little") + frame[at + 4 :]
    return Bombs(*(part + frames._seal(part) for part in (frame, small)))
