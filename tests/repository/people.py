"""People with repositories of their own, and a drive between them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.faults import HastyFileSystem
from tests.odb.samples import reopen
from tests.test_storage import episode, query
from tupli_repo.odb.files import FileSystem
from tupli_repo.odb.objects import Kind
from tupli_repo.repository import Repository
from tupli_repo.schema import ArtifactMetadata

SECRET = "do not tell anybody"


def drive(folder: Path) -> Path:
    """Make a bare repository."""
    Repository.init(folder, bare=True, fs=HastyFileSystem()).close()
    return folder


def person(folder: Path, *remotes: Path, fs: FileSystem | None = None) -> Repository:
    """Make a repository whose remotes are 'origin' and, where there are more, 'second' …"""
    found = Repository.init(folder, fs=fs or HastyFileSystem())
    for name, remote in zip(("origin", "second"), remotes, strict=False):
        found.add_remote(name, remote)
    return found


def opened(folder: Path, fs: FileSystem | None = None) -> Repository:
    """Open a repository anew, as another process does."""
    return Repository(folder, fs=fs or HastyFileSystem())


def benchmark(who: Repository, name: str = "walk", *, digest: str = "h", **words: Any) -> str:
    """Store a benchmark; the same words make the same one everywhere."""
    return who.store_benchmark(query(name, digest=digest, **words)).id


def artifact(who: Repository, name: str = "wind", content: bytes = b"1,2,3") -> str:
    """Store a file."""
    return who.store_artifact(content, ArtifactMetadata(name=name)).id


def record(who: Repository, benchmark_id: str, n: int = 1, **metadata: Any) -> list[str]:
    """Record some short episodes; returns their ids."""
    with who.batch():
        return [
            who.record_episode(episode(benchmark_id, metadata={"n": k, **metadata})).id
            for k in range(n)
        ]


def published(who: Repository, name: str = "walk") -> set[str]:
    """Return the episodes that a name leads to."""
    return {header.id for header in who.episodes_of(name)}


def ids_in(folder: Path, *kinds: Kind) -> set[str]:
    """Return the ids of all objects in a repository, seen or not."""
    store = reopen(folder)
    try:
        store.refresh()
        return set(store.ids(*kinds))
    finally:
        store._close.detach()


def tells(folder: Path, text: str) -> bool:
    """Return whether any object in a repository, decoded, holds a text."""
    store = reopen(folder)
    try:
        store.refresh()
        return any(text.encode() in obj.body for _, obj in store.read_many(list(store.ids())))
    finally:
        store._close.detach()


def revisions(who: Repository, name: str = "walk") -> set[str]:
    """Return the citable revisions of a name."""
    return {item.revision for item in who.log(name)}


def files_in(folders: Iterable[Path]) -> dict[Path, bytes]:
    """Return every file with its bytes, without what is derived or a process's own."""
    return {
        path: path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "staging" not in path.parts
    }
