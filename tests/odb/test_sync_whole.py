"""Packs that are copied as they are: when, and how often they are read."""

import os
from pathlib import Path

import pytest

from tests.faults import HastyFileSystem
from tests.odb.samples import names, reopen, write_pack
from tests.odb.sides import LAYOUT, held, keep, keep_loose, release, rollout, send, side
from tupli_repo.odb.files import FileSystem, RepositoryFiles


class CountingFileSystem(FileSystem):
    """Counts the bytes that are read of each file."""

    def __init__(self) -> None:
        self.bytes_read: dict[int, int] = {}

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        data = super().read(descriptor, size, offset)
        inode = os.fstat(descriptor).st_ino
        self.bytes_read[inode] = self.bytes_read.get(inode, 0) + len(data)
        return data

    def times(self, path: Path) -> float:
        """How often all of a file was read, on average."""
        return self.bytes_read.get(path.stat().st_ino, 0) / path.stat().st_size


@pytest.mark.parametrize("is_own", [False, True], ids=["theirs", "own"])
def test_a_small_pack_is_copied_as_it_is_where_there_is_nothing_else(
    a: Path, b: Path, *, is_own: bool
) -> None:
    made = release(range(5), size=900)
    store = reopen(a)
    keep(store, made)
    store.close()
    report = send(side(a), side(b), made.root, is_own=is_own)
    assert report.packs == tuple(path.name for path in names(a, ".pack"))
    assert held(b) == made.objects


def test_small_packs_are_put_together(a: Path, b: Path) -> None:
    made = release(range(6), size=900)
    store, files = reopen(a), RepositoryFiles(a / ".tupli")
    keep_loose(store, made)
    for numbers in (range(3), range(3, 6)):
        packed = [obj for n in numbers for obj in rollout(n, 900) if obj != LAYOUT]
        write_pack(files, packed if numbers.start else [LAYOUT, *packed])
    store.close()
    files.close()
    report = send(side(a), side(b), made.root)
    assert len(report.packs) == 1
    assert held(b) == made.objects


def test_a_small_pack_does_not_bring_what_is_not_wanted(a: Path, b: Path) -> None:
    made, more = release(range(40), size=9000), release(range(100, 101), size=9000)
    store = reopen(a)
    packed = [obj for n in (*range(40), 100) for obj in rollout(n, 9000)]
    store.append(packed)
    store.seal()
    keep_loose(store, made)
    keep_loose(store, more)
    store.close()
    send(side(a), side(b), made.root)
    assert held(b) == made.objects


def test_the_data_of_a_pack_is_read_once(a: Path, b: Path) -> None:
    made = release(range(20), size=1_000_000)
    store = reopen(a, HastyFileSystem())
    keep(store, made)
    store.close()
    (pack,) = names(a, ".pack")
    fs = CountingFileSystem()
    send(side(a, fs), side(b), made.root)
    assert held(b) == made.objects
    assert fs.times(pack) < 1.1
