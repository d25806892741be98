"""Checking the files of a repository: names, sizes, directories, links."""

import os
from pathlib import Path

import pytest

from tests.faults import HastyFileSystem, RecordingFileSystem
from tests.odb.samples import (
    blob,
    episode,
    id_of,
    loose_path,
    names,
    new_files,
    new_store,
    overwrite,
    record,
)
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.maintenance.check import IN_ORDER, Choice, Survey
from tupli_repo.odb.maintenance.links import Cause, Links
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.store import ObjectStore
from tupli_repo.schema.checks import Finding


def surveyed(root: Path, choice: Choice | None = None) -> Survey:
    found = Survey(RepositoryFiles(root / ".tupli", HastyFileSystem()), choice or Choice())
    found.run()
    return found


def told(root: Path) -> dict[str, Finding]:
    return {one.path: one for one in surveyed(root).told.findings}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two packs of an episode each, a journal, a loose blob."""
    store = new_store(tmp_path, HastyFileSystem())
    for n in range(2):
        store.append(episode(n))
        store.seal()
    store.write(blob(7))
    store.append(episode(3))
    store._close.detach()
    return tmp_path


def test_what_is_whole_is_present_and_nothing_is_told(root: Path):
    for choice in (Choice(), Choice(everything=True), Choice(share=0.5), Choice(turn=(1, 2))):
        found = surveyed(root, choice)
        assert len(found.present) == 7
        assert found.told.damage == []
        assert {one.severity for one in found.told.findings} <= {"info"}


def test_a_check_changes_nothing(root: Path):
    fs = RecordingFileSystem()
    Survey(RepositoryFiles(root / ".tupli", fs), Choice(everything=True)).run()
    assert fs.changes() == []


def test_one_damage_hides_no_other(root: Path):
    first, second = names(root, ".pack")
    overwrite(first, b"")
    data = second.read_bytes()
    overwrite(second, data[:-1])
    loose = loose_path(root, id_of(blob(7)))
    overwrite(loose, b"x" * 50)
    (journal,) = names(root, ".journal")
    journal.write_bytes(b"\xff" + journal.read_bytes()[1:])
    found = surveyed(root)
    assert {one.path for one in found.told.damage} == {first, second, loose, journal}
    assert len(found.present) == 4  # of the second pack and the journal all is whole


def test_quick_reads_the_records_and_data_reads_the_blobs(root: Path):
    pack = names(root, ".pack")[0]
    data = bytearray(pack.read_bytes())
    data[8 + 20] ^= 1  # in the first block, of data
    overwrite(pack, bytes(data))
    assert surveyed(root).told.damage == []
    (damage,) = surveyed(root, Choice(everything=True)).told.damage
    assert damage.path == pack
    assert list(damage.held.values()) == [Kind.BLOB]


def test_a_damaged_record_block_is_met_where_links_are_followed(root: Path):
    pack = names(root, ".pack")[0]
    data = bytearray(pack.read_bytes())
    at = data.rindex(b"BLK1")
    data[at + 30] ^= 1
    overwrite(pack, bytes(data))
    found = surveyed(root)
    assert len(list(found.records(Kind.EPISODE))) == 2
    assert [one.path for one in found.told.damage] == [pack]
    assert len(found.present) == 6


def test_the_parts_of_a_sample_are_all(root: Path):
    for path in names(root, ".pack"):
        data = bytearray(path.read_bytes())
        data[8 + 20] ^= 1
        overwrite(path, bytes(data))
    loose = loose_path(root, id_of(blob(7)))
    data = bytearray(loose.read_bytes())
    data[-1] ^= 1  # in the seal, which a quick look does not reach
    overwrite(loose, bytes(data))
    found: list[Path] = []
    for turn in range(1, 8):
        found += [one.path for one in surveyed(root, Choice(turn=(turn, 7))).told.damage]
    assert sorted(found) == sorted([*names(root, ".pack"), loose])
    everything = surveyed(root, Choice(share=1.0))
    assert {one.path for one in everything.told.damage} == set(found)


@pytest.mark.parametrize(
    ("tail", "severity", "word"),
    [(bytes(5000), "info", "zeros"), (b"BLK1\0", "warning", "no whole block")],
)
def test_what_a_crash_leaves_behind_a_journal_is_told_and_is_no_damage(
    root: Path, tail: bytes, severity: str, word: str
):
    (journal,) = names(root, ".journal")
    with journal.open("ab") as end:
        end.write(tail)
    found = surveyed(root)
    assert found.told.damage == []
    (one,) = [one for one in found.told.findings if one.code == "torn"]
    assert one.severity == severity
    assert f"its last {len(tail)} bytes are {word}" in one.message
    assert len(found.present) == 7


def test_strangers_are_told_and_never_opened(root: Path):
    folder = root / ".tupli"
    for name in (
        "objects/AB",
        "objects/ab/desktop.ini",
        "packs/conflicted copy.pack",
        "refs/Upper",
        "notes.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    (folder / "packs" / ("A" * 64 + ".pack")).write_text("x")
    found = told(root)
    strangers = {path for path, one in found.items() if one.code == "stranger"}
    assert len(strangers) == 6
    assert all(found[path].severity == "warning" for path in strangers)
    assert all(found[path].hint for path in strangers)
    assert "other letters" in found["objects/AB"].message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_links_pipes_and_folders_in_the_place_of_files_are_damage(root: Path):
    folder = root / ".tupli"
    oid = id_of(blob(7))
    loose = loose_path(root, oid)
    loose.unlink()
    loose.symlink_to(root / "elsewhere")
    pipe = folder / "packs" / ("a" * 64 + ".pack")
    os.mkfifo(pipe)
    (folder / "packs" / ("b" * 32 + ".journal")).mkdir()
    (folder / "locks").rmdir()
    (folder / "locks").symlink_to(root)
    found = {one.path: one for one in surveyed(root).told.damage}
    assert found.keys() == {loose, pipe, pipe.with_name("b" * 32 + ".journal"), folder / "locks"}
    assert found[loose].held == {oid: None}


def test_what_the_disk_will_not_read_is_told_and_the_rest_is_looked_at(root: Path):
    class Refusing(HastyFileSystem):
        def open_read(self, path: Path) -> int:
            if path == bad:
                raise OSError(5, "Input/output error")
            return super().open_read(path)

    bad = names(root, ".pack")[0]
    found = Survey(RepositoryFiles(root / ".tupli", Refusing()), Choice(everything=True))
    found.run()
    (finding,) = [one for one in found.told.findings if one.severity == "error"]
    assert finding.code == "unreadable"
    assert finding.path == f"packs/{bad.name}"
    assert finding.hint
    assert len(found.present) == 5


def test_links_tell_what_is_missing_and_what_depends_on_it(tmp_path: Path):
    store = new_store(tmp_path, HastyFileSystem())
    lost = blob(1)
    environment = blob(2)
    benchmark = Object(kind=Kind.BENCHMARK, links=(id_of(environment),), body=b"{}")
    some = [record(n, id_of(benchmark), id_of(lost)) for n in range(3)]
    held = Object(kind=Kind.EPISODES, links=tuple(sorted(map(id_of, some))))
    release = Object(kind=Kind.RELEASE, links=(id_of(benchmark), id_of(held)), body=b"{}")
    for obj in (environment, benchmark, held, release):
        store.write(obj)
    store.append(some)
    store._close.detach()
    found = surveyed(tmp_path)
    links = Links(found.present, [Cause(held={ObjectId("1" * 64): None})])
    for kinds in IN_ORDER:
        for oid, obj in found.records(*kinds):
            links.look(oid, obj)
    links.look_at_name("global/benchmark/walk", id_of(release))
    _, cause = links.causes
    assert cause.missing == id_of(lost)
    assert cause.is_needed
    assert cause.linked_as == {Kind.EPISODE}
    assert cause.episodes == {id_of(benchmark): 3}
    assert cause.records == {Kind.RELEASE: {id_of(release)}}
    assert cause.names == {"global/benchmark/walk"}


def test_what_was_taken_back_or_hidden_is_not_missed(tmp_path: Path):
    files = new_files(tmp_path, HastyFileSystem(), only_for=[])
    gone, hidden = record(1, id_of(blob(1))), record(2, id_of(blob(2)))
    held = Object(kind=Kind.EPISODES, links=(id_of(gone),))
    links = Links(
        set(),
        [],
        taken_back={bytes.fromhex(id_of(gone))},
        hidden={bytes.fromhex(id_of(hidden))},
    )
    for obj in (gone, hidden, held):
        links.look(id_of(obj), obj)
    assert [(cause.missing, cause.is_needed) for cause in links.causes] == [(id_of(blob(2)), False)]
    assert files.root.exists()


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
def test_files_that_the_group_of_a_shared_repository_cannot_read_are_told(root: Path):
    folder = root / ".tupli"
    assert not [one for one in told(root).values() if one.code == "mode"]
    folder.chmod(0o2775)
    for path in folder.iterdir():
        path.chmod(0o2775)
    (folder / "packs").chmod(0o755)
    for path in names(root, ".pack"):
        path.chmod(0o400)
    found = {path: one for path, one in told(root).items() if one.code == "mode"}
    assert len(found) == 2
    assert "0755" in found["packs"].message
    assert "and 1 more" in next(one.message for path, one in found.items() if path != "packs")


def test_a_journal_that_grew_meanwhile_is_looked_at_again(root: Path):
    found = surveyed(root)
    store = new_store_at(root)
    (journal,) = names(root, ".journal")
    whole = journal.read_bytes()
    store.append(episode(9))
    (other,) = [path for path in names(root, ".journal") if path != journal]
    journal.write_bytes(whole + other.read_bytes()[8:])
    store._close.detach()
    found.look_again()
    assert found.contains(id_of(episode(9)[1]))


def new_store_at(root: Path) -> ObjectStore:
    return ObjectStore(RepositoryFiles(root / ".tupli", HastyFileSystem()))
