"""The workbench of a repair, and where it looks for what is lost."""

import errno
import os
from pathlib import Path

import pytest

from tests.faults import HastyFileSystem, MemoryFileSystem, PowerLoss
from tests.odb.samples import (
    blob,
    encoded,
    episode,
    flipped,
    id_of,
    loose_path,
    names,
    new_files,
    new_store,
    overwrite,
    record,
    write_pack,
)
from tupli_repo.errors import StorageIOError
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.maintenance.bench import Bench
from tupli_repo.odb.maintenance.salvage import scan
from tupli_repo.odb.maintenance.sources import RemoteSource, TrashSource
from tupli_repo.odb.objects import Kind, Object
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.transport import DirectoryTransport

NOW = "2026-11-23T01:02:03.000004Z"


class _NoLinks(HastyFileSystem):
    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=[HastyFileSystem, _NoLinks])
def files(tmp_path: Path, request: pytest.FixtureRequest) -> RepositoryFiles:
    return new_files(tmp_path, request.param(), only_for=[blob(1)])


def test_what_is_replaced_is_kept_with_a_note(files: RepositoryFiles):
    bench = Bench(files, NOW)
    path = files.root / "config.toml"
    path.write_text("bad")
    bench.replace(path, b"good", "because")
    assert path.read_text() == "good"
    assert (bench.folder / "config.toml").read_text() == "bad"
    assert (bench.folder / "config.toml.note").read_text() == "config.toml\nbecause\n"
    assert bench.folder.name.startswith("20261123T010203-")
    assert bench.moved == ["config.toml"]


def test_what_is_set_aside_twice_is_kept_twice(files: RepositoryFiles):
    bench = Bench(files, NOW)
    path = files.root / "config.toml"
    for text in ("one", "two", "three"):
        path.write_text(text)
        bench.set_aside(path, "note")
    bench.set_aside(path, "gone already")
    kept = [one.read_text() for one in bench.folder.iterdir() if not one.name.endswith(".note")]
    assert sorted(kept) == ["one", "three", "two"]
    assert len(bench.moved) == 3


def test_what_is_set_aside_when_the_power_fails_is_in_one_of_both_places():
    disk = MemoryFileSystem()
    path = Path("/lab/.tupli/packs/bad.pack")
    disk.overwrite(path, b"damaged")
    disk.make_folders("/lab/.tupli/staging")
    power = PowerLoss(disk)
    Bench(RepositoryFiles(Path("/lab/.tupli"), disk), NOW).set_aside(path, "note")
    for state in power.states(300):
        assert b"damaged" in state.disk.files("/lab").values(), state.story
    assert disk.files(path.parent) == {}


def test_a_link_is_moved_and_not_what_it_leads_to(files: RepositoryFiles, tmp_path: Path):
    (tmp_path / "outside").write_text("mine")
    path = files.root / "config.toml"
    path.symlink_to(tmp_path / "outside")
    bench = Bench(files, NOW)
    bench.replace(path, b"good", "note")
    assert path.read_text() == "good"
    assert not path.is_symlink()
    assert (tmp_path / "outside").read_text() == "mine"
    assert (bench.folder / "config.toml").is_symlink()


def test_a_pack_that_comes_out_under_the_name_of_the_damaged_one_replaces_it(
    files: RepositoryFiles,
):
    objects = episode(1)
    path = write_pack(files, objects)
    whole = path.read_bytes()
    damaged = whole[:-1] + b"\0"
    overwrite(path, damaged)
    bench = Bench(files, NOW)
    salvaged = scan(files, path).file
    written = bench.write_packs(salvaged.read_encoded(salvaged.directory.ids()), "note")
    assert written == {path}
    assert path.read_bytes() == whole
    assert (bench.folder / "packs" / path.name).read_bytes() == damaged


def test_a_loose_object_is_written_over_the_damaged_one(files: RepositoryFiles):
    oid, _, data = encoded(blob(1))
    path = files.objects / oid[:2] / oid[2:]
    path.write_bytes(b"bad")
    Bench(files, NOW).write_loose(oid, data, "note")
    assert scan_loose(path)


def scan_loose(path: Path) -> bool:
    return path.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"


def test_what_reads_back_otherwise_is_an_error_and_nothing_is_moved(tmp_path: Path):
    class Lying(HastyFileSystem):
        def write(self, descriptor: int, data: bytes) -> None:
            super().write(descriptor, data.replace(b"BLK1", b"BLK2"))

    files = new_files(tmp_path, Lying(), only_for=[])
    with pytest.raises(StorageIOError, match="reads back otherwise"):
        Bench(files, NOW).write_packs([encoded(obj) for obj in episode(1)])


def test_the_trash_gives_what_is_whole_in_it(tmp_path: Path):
    store = new_store(tmp_path, HastyFileSystem())
    store.append(episode(1))
    store.seal()
    store.append(episode(2))
    store.write(blob(7))
    store._close.detach()
    run = tmp_path / ".tupli/trash" / ("a" * 32)
    run.mkdir()
    (run / "stamp").write_text("why")
    for path in (*names(tmp_path, ".pack"), *names(tmp_path, ".journal")):
        path.rename(run / path.name)
    oid = id_of(blob(7))
    loose_path(tmp_path, oid).rename(run / oid)
    source = TrashSource(RepositoryFiles(tmp_path / ".tupli", HastyFileSystem()))
    wanted = {id_of(obj): obj.kind for obj in (*episode(1), *episode(2), blob(7))}
    assert source.kinds([*wanted, id_of(blob(9))]) == wanted
    assert {item[0] for item in source.read_encoded(wanted)} == wanted.keys()
    (pack,) = run.glob("*.pack")
    for _, changed in list(flipped(pack.read_bytes(), 0x40))[20:60:10]:
        overwrite(pack, changed)
        source = TrashSource(RepositoryFiles(tmp_path / ".tupli", HastyFileSystem()))
        found = {item[0]: item[2] for item in source.read_encoded(list(source.kinds(wanted)))}
        assert found.items() <= {encoded(o)[0]: encoded(o)[2] for o in everything()}.items()
        assert {id_of(obj) for obj in (*episode(2), blob(7))} <= found.keys()


def everything() -> list[Object]:
    return [*episode(1), *episode(2), blob(7)]


def test_a_remote_gives_what_is_beside_its_damage(tmp_path: Path):
    store = new_store(tmp_path, HastyFileSystem())
    good, bad = record(1, kind=Kind.PROVENANCE), record(2, kind=Kind.PROVENANCE)
    for obj in (good, bad):
        store.write(obj)
    store._close.detach()
    overwrite(loose_path(tmp_path, id_of(bad)), b"bad")
    files = RepositoryFiles(tmp_path / ".tupli", HastyFileSystem())
    source = RemoteSource("origin", RemoteObjects(DirectoryTransport(files)))
    ids = [id_of(bad), id_of(good)]
    assert source.kinds(ids) == {id_of(good): Kind.PROVENANCE}
    assert [item[0] for item in source.read_encoded(ids)] == [id_of(good)]
