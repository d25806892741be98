"""Repositories without the floors above: a store, refs, and what is published."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.faults import HastyFileSystem
from tests.odb.samples import id_of, new_files
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.objects import Kind, Object
from tupli_repo.odb.refs import RefName, RefStore
from tupli_repo.repository.published.publishing import Offer, Publisher
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.stored import PublishedStore

NAMES = [RefName("global", "benchmark", "one"), RefName("global", "dataset", "pin")]
WALK = NAMES[0]
BENCHMARKS = [Object(kind=Kind.BENCHMARK, body=b'{"name":"b%d"}' % n) for n in range(2)]


def episode(number: int, benchmark: int = 0) -> Object:
    """Return an episode that needs nothing but its benchmark."""
    links = (id_of(BENCHMARKS[benchmark]),)
    return Object(kind=Kind.EPISODE, links=links, body=b"%d" % number)


def raw(objects: Iterable[Object]) -> frozenset[bytes]:
    return frozenset(bytes.fromhex(id_of(obj)) for obj in objects)


class Lab:
    """A repository without the floors above."""

    def __init__(self, root: Path, fs: FileSystem | None = None, *, make: bool = True) -> None:
        self.root = root
        fs = fs or HastyFileSystem()
        files = (
            new_files(root, fs, only_for=BENCHMARKS)
            if make
            else RepositoryFiles(root / ".tupli", fs)
        )
        self.store, self.refs = PublishedStore(files), RefStore(files)
        self.releases = Releases(self.store, self.refs)
        self.publisher = Publisher(self.store, self.refs, self.releases)
        if make:
            for benchmark in BENCHMARKS:
                self.store.write(benchmark)
        self.releases.refresh()

    def publish(
        self,
        some: Iterable[Object],
        name: RefName = WALK,
        *,
        user: str = "ada",
        benchmark: int = 0,
        as_next: bool = False,
        message: str = "",
    ) -> str:
        held = list(some)
        for one in held:
            self.store.write(one)
        offer = Offer(
            title=name.name,
            benchmarks=(id_of(BENCHMARKS[benchmark]),),
            episodes=raw(held),
            message=message,
        )
        return self.publisher.publish(name, offer, user=user, as_next=as_next).view.hash

    def unpublish(self, some: Iterable[Object], name: RefName = WALK, *, user: str = "ada") -> None:
        self.publisher.unpublish(name, episodes=raw(some), user=user)

    def held(self, name: RefName = WALK) -> list[frozenset[bytes]]:
        self.releases.refresh()
        return [self.releases.episodes(view) for view in self.releases.current(name)]

    def receive(self, other: "Lab") -> None:
        """Copy files by hand, as rsync does."""
        for folder in ("objects", "packs", "refs"):
            source = other.root / ".tupli" / folder
            shutil.copytree(
                source, self.root / ".tupli" / folder, dirs_exist_ok=True, copy_function=_copy_new
            )
        self.releases.refresh()


def _copy_new(source: str, target: str) -> None:
    if not Path(target).exists():
        shutil.copy(source, target)
