"""Packs and objects that go away here while they are read or brought; files that never end."""

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults import HastyFileSystem
from tests.repository.people import (
    SECRET,
    benchmark,
    drive,
    ids_in,
    opened,
    person,
    published,
    record,
    tells,
)
from tupli_repo.catalog import catalog_path, remove_catalog
from tupli_repo.errors import CorruptObjectError, NotFoundError, StorageIOError
from tupli_repo.odb.objects import Kind
from tupli_repo.odb.sync import Progress
from tupli_repo.repository import Repository


def pushed(tmp_path: Path) -> tuple[Path, list[str]]:
    """A drive with a name on it, and the episodes that it leads to."""
    hub = drive(tmp_path / "drive")
    with person(tmp_path / "ada", hub) as ada:
        walk = benchmark(ada)
        ids = record(ada, walk, 3)
        ada.publish_benchmark(walk)
        ada.publish_episodes(ids)
        ada.push()
    return hub, ids


def test_a_pull_brings_again_what_a_gc_takes_away_meanwhile(tmp_path: Path):
    hub, ids = pushed(tmp_path)
    is_clean = False

    def clean(progress: Progress) -> None:
        nonlocal is_clean
        if not is_clean and progress.objects_done == progress.objects:
            is_clean = True  # all is here, and nothing leads to it
            with opened(tmp_path / "bob") as beside:
                assert beside.gc(grace=timedelta(0)).files_trashed

    with person(tmp_path / "bob", hub) as bob:
        bob.pull(on_progress=clean)
        assert published(bob) == set(ids)
    assert is_clean


def test_a_pull_that_is_always_cleaned_away_ends_with_an_error(tmp_path: Path):
    hub, _ = pushed(tmp_path)
    with person(tmp_path / "bob", hub) as bob:

        def clean(progress: Progress) -> None:
            for path in (tmp_path / "bob" / ".tupli" / "objects").glob("*/*"):
                path.unlink()

        with pytest.raises(StorageIOError, match="loses objects faster") as told:
            bob.pull(on_progress=clean)
        assert str(tmp_path / "bob") in str(told.value)


def test_a_push_that_loses_a_pack_meanwhile_sends_nothing_that_was_taken_back(tmp_path: Path):
    hub = drive(tmp_path / "drive")
    is_lost = False

    def lose(progress: Progress) -> None:
        nonlocal is_lost
        if not is_lost and progress.objects_done == progress.objects:
            is_lost = True  # so the push has to look at all that the names need
            for path in old_packs:
                path.unlink()

    with person(tmp_path / "ada", hub) as ada:
        walk = benchmark(ada)
        told, kept = record(ada, walk, 1, note=SECRET), record(ada, walk, 2)
        ada.publish(walk, episodes=[*told, *kept])
        ada.push()
        ada.unpublish("walk", episodes=told)
        kept += record(ada, walk, 1, note="more")
        ada.publish(walk, episodes=kept)
        assert tells(hub, SECRET)
        old_packs = list((hub / ".tupli" / "packs").iterdir())
        ada.push(on_progress=lose)
        assert is_lost
        assert published(ada) == set(kept)
    assert ids_in(hub, Kind.EPISODE) == set(kept)
    assert not tells(hub, SECRET)


class Replacing(HastyFileSystem):
    """Packs that go when they are read a second time, and are listed all the same."""

    def __init__(self) -> None:
        self.seen: set[Path] = set()

    def open_read(self, path: Path) -> int:
        if path.suffix == ".pack":
            if path in self.seen:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            self.seen.add(path)
        return super().open_read(path)


def test_packs_that_go_faster_than_they_can_be_read_are_an_error_of_ours(tmp_path: Path):
    with person(tmp_path) as who:
        record(who, benchmark(who), 2)
    remove_catalog(catalog_path(who.root, who.format.id))
    with (
        opened(tmp_path, Replacing()) as who,
        pytest.raises(NotFoundError, match="replaced faster than they can be read"),
    ):
        who.list_episodes()


def test_a_format_file_that_never_ends_is_damage(tmp_path: Path):
    person(tmp_path).close()
    path = tmp_path / ".tupli" / "format.json"
    os.chmod(path, 0o600)
    os.truncate(path, 1 << 40)  # takes no room
    with pytest.raises(CorruptObjectError, match=r"format\.json.*too long"):
        Repository(tmp_path)
