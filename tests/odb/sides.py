"""Two repositories and the way between them, for the tests of transport and sync."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from tests.odb.samples import blob, id_of, new_files, record, reopen
from tupli_repo.odb.closure import closure_of
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.store import ObjectStore
from tupli_repo.odb.sync import CopyReport, Progress, copy
from tupli_repo.odb.transport import DirectoryTransport

LAYOUT = blob(90_000)
PIECES = [blob(20_000 + n, 500) for n in range(3)]
ARTIFACT = record(1, *map(id_of, PIECES), kind=Kind.ARTIFACT)
DOCUMENT = blob(30_000, 900)
BENCHMARK = record(2, id_of(DOCUMENT), id_of(ARTIFACT), kind=Kind.BENCHMARK)
PROVENANCE = record(3, kind=Kind.PROVENANCE)
LOOSE = [*PIECES, ARTIFACT, DOCUMENT, BENCHMARK, PROVENANCE]


class Release(NamedTuple):
    """A release in the making, and all that it needs."""

    root: ObjectId
    objects: dict[ObjectId, Object]


def noise(number: int, size: int) -> Object:
    """A blob that does not compress."""
    return Object(kind=Kind.BLOB, body=random.Random(number).randbytes(size))


def rollout(number: int, size: int = 40) -> list[Object]:
    """An episode of the benchmark: layout, data, record."""
    data = noise(number, size) if size > 40 else blob(number, size)
    return [LAYOUT, data, record(number, *map(id_of, (BENCHMARK, LAYOUT, data)))]


def release(numbers: Iterable[int], *, size: int = 40, before: Iterable[ObjectId] = ()) -> Release:
    """Sets and the release of some episodes, with everything below."""
    below = [obj for n in numbers for obj in rollout(n, size)]
    members = sorted(id_of(obj) for obj in below if obj.kind is Kind.EPISODE)
    some = Object(kind=Kind.EPISODES, links=tuple(members))
    top = record(
        len(members), id_of(BENCHMARK), id_of(PROVENANCE), *before, id_of(some), kind=Kind.RELEASE
    )
    every = [*LOOSE, *below, some, top]
    return Release(id_of(top), {id_of(obj): obj for obj in every})


def keep(store: ObjectStore, made: Release, *, seal: bool = True) -> None:
    """Store a release as a repository does: episodes packed, the rest loose."""
    for obj in made.objects.values():
        if obj.kind is Kind.EPISODE:
            store.append([*(made.objects[link] for link in obj.links[1:]), obj])
    if seal:
        store.seal()
    keep_loose(store, made)


def keep_loose(store: ObjectStore, made: Release) -> None:
    """Store what of a release is loose; its episodes are there."""
    packed = [obj for obj in made.objects.values() if obj.kind is Kind.EPISODE]
    own = {link for obj in packed for link in obj.links[1:]} | set(map(id_of, packed))
    for oid, obj in made.objects.items():
        if oid not in own:
            store.write(obj)


def new_side(root: Path) -> ObjectStore:
    """Make an empty repository."""
    return ObjectStore(new_files(root))


def side(root: Path, fs: FileSystem | None = None, *, cache: Path | None = None) -> RemoteObjects:
    """Look at a repository as the other side of a copy."""
    return RemoteObjects(DirectoryTransport(RepositoryFiles(root / ".tupli", fs)), cache)


def send(
    source: RemoteObjects,
    target: RemoteObjects,
    *roots: ObjectId,
    on_progress: Callable[[Progress], None] | None = None,
    is_own: bool = False,
) -> CopyReport:
    """Copy a closure, as push and pull do, and let go of both sides' folders."""
    try:
        closure = closure_of(source, roots, known=target.held)
        wanted = [*closure.ids, *closure.missing]
        return copy(source, target, wanted, on_progress=on_progress, is_own=is_own)
    finally:
        source.transport.close()
        target.transport.close()


def held(root: Path) -> dict[ObjectId, Object]:
    """Decode everything a repository holds."""
    store = reopen(root)
    try:
        return dict(store.read_many(list(_all_ids(store))))
    finally:
        store._close.detach()


def _all_ids(store: ObjectStore) -> Iterable[ObjectId]:
    store.refresh()
    return store.ids()


def tree(root: Path) -> dict[str, bytes]:
    """Every file under a folder, with its bytes; links and pipes by their names only."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else b""
        for path in sorted(root.rglob("*"))
    }
