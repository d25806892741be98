"""Format 1 is kept: what was written when it was settled is read, checked and written alike.

`tests/golden/make.py` has made the repositories; `expected.json` lists what must come out of them.
Where one of these tests fails, the format has changed: then the code is wrong, not the list.
"""

import json
import random
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from tests.golden import content, reader
from tests.golden.account import account_of, episodes_of, missing_from, told_of
from tupli_repo.codec.episode import Steps
from tupli_repo.codec.values import dump_json
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.bundle import write_bundle
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.journal import JournalFile
from tupli_repo.repository import Repository
from tupli_repo.schema import ArtifactMetadata, BenchmarkMetadata, BenchmarkQuery

GOLDEN = Path(__file__).parent / "golden"
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text())
ARCHIVES = {"work": "work.zip", "drive": "drive.zip", "bundle": "walk.bundle"}
LABELS: dict[str, Any] = json.loads((GOLDEN / "labels.json").read_text())
CALLED = EXPECTED["called"]
DAMAGE = frozenset({"damage"})


def copied(name: str, folder: Path) -> Path:
    """The folder of a copy of a golden repository."""
    with ZipFile(GOLDEN / ARCHIVES.get(name, f"{name}.zip")) as archive:
        archive.extractall(folder / name)
    return folder / name


@pytest.fixture
def work(tmp_path):
    with Repository(copied("work", tmp_path)) as repository:
        yield repository


# ---- reading


@pytest.mark.parametrize("name", ["work", "drive"])
def test_everything_that_was_written_comes_out(name, tmp_path):
    with Repository(copied(name, tmp_path)) as repository:
        assert missing_from(account_of(repository), EXPECTED[name]) == []
        found = episodes_of(repository)
    assert found.keys() == EXPECTED[name]["episodes"].keys()
    assert missing_from(found, {oid: EXPECTED["episodes"][oid] for oid in found}) == []


@pytest.mark.parametrize("name", ["drive", "bundle"])
def test_what_is_shared_can_be_cloned(name, tmp_path):
    shutil.copy(GOLDEN / "walk.bundle", tmp_path)
    source = copied(name, tmp_path) if name == "drive" else tmp_path / "walk.bundle"
    with Repository.clone(source, tmp_path / "clone") as clone:
        found = account_of(clone)
        for part in ("names", "revisions", "episodes"):  # older episodes are listed here, too
            assert missing_from(found[part], EXPECTED[name][part]) == []
        contents = episodes_of(clone)
        assert missing_from(contents, {one: EXPECTED["episodes"][one] for one in contents}) == []
        assert clone.fsck("deep").findings == ()


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_deep_check_finds_nothing(name, tmp_path):
    with Repository(copied(name, tmp_path)) as repository:
        report = repository.fsck("deep")
    assert [found for found in report.findings if found.severity != "info"] == []


def test_there_is_something_of_everything(tmp_path):
    root = copied("work", tmp_path) / ".tupli"
    kinds = {path.suffix for path in (root / "packs").iterdir()}
    assert kinds == {".pack", ".journal"}
    reasons = {path.read_text().strip() for path in root.glob("trash/*/stamp")}
    assert reasons == {"sealed", "unreachable"}
    found = reader.Reader(root)
    assert {one.kind for one in found.objects.values()} == {*reader.KINDS} - {"annotation"}
    assert any(name.endswith(".yank") for name in found.records)
    assert any(len(record.get("parents", ())) == 2 for record in found.records.values())
    log = EXPECTED["work"]["log"]
    assert any(item.get("is_union") for item in log)
    assert any(item.get("n_withdrawn") for item in log)
    assert {item["kind"] for item in log} == {"artifact", "benchmark", "dataset"}
    layouts = b"".join(one.body for one in found.objects.values() if b"_space" in one.body)
    types = set(re.findall(rb'"type":"(\w+)"', layouts))
    assert len(types) == 11
    assert sum(path.stat().st_size for path in GOLDEN.glob("*.[zbj]*")) < 150_000


# ---- the page


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_reader_made_of_the_page_alone_reads_the_same(name, tmp_path):
    root = copied(name, tmp_path) / ".tupli"
    theirs = reader.Reader(root)
    with Repository(root.parent) as repository:
        headers = {header.id: header for header in repository.episode_headers()}
        assert headers.keys() <= set(theirs.of("episode"))
        for header, data in repository.read_episodes(headers):
            record, columns = theirs.episode(header.id)
            assert {name: told_of(column) for name, column in columns.items()} == (
                EXPECTED["episodes"][header.id]["columns"]
            )
            defaults = {key: value for key, value in data.record.items() if key not in record}
            assert not any(defaults.values())
            assert dump_json({**defaults, **record}) == dump_json(data.record)
            infos = reader.infos_of(columns, record["n_steps"])
            assert dump_json(infos) == dump_json(list(data.infos))
        for artifact in repository.list_artifacts():
            assert theirs.file(artifact.id) == repository.load_artifact(artifact.id)
        for benchmark in repository.list_benchmarks():
            text = repository.load_benchmark(benchmark.id).serialized
            assert theirs.text(benchmark.id) == text
        revisions = {item.revision for item in repository.log()}
        assert len(revisions) == sum(not one.endswith(".yank") for one in theirs.records)


def test_what_was_said_of_episodes_is_shown_as_the_page_tells(tmp_path):
    root = copied("labels", tmp_path) / ".tupli"
    with Repository(root.parent) as repository:
        shown = {one.id: one.metadata for one in repository.episode_headers()}
        found = repository.fsck("deep").findings
        assert [one for one in found if one.severity != "info"] == []
    assert json.loads(dump_json(shown)) == LABELS
    theirs = reader.Reader(root)
    bodies = sorted((theirs.document(oid)["created_at"], oid) for oid in theirs.of("annotation"))
    for oid, due in LABELS.items():
        said: dict[str, Any] = {}
        for _, one in bodies:
            body = theirs.document(one)
            said |= body["metadata"] if oid in body["subjects"] else {}
        own = theirs.document(oid).get("metadata", {})
        own |= {key: value for key, value in said.items() if value is not None}
        assert json.loads(dump_json(own)) == due
    (release,) = max((theirs.document(oid)["created_at"], oid) for oid in theirs.of("release"))[1:]
    linked = theirs.objects[release].links[1 : 1 + theirs.document(release)["n_provenance"]]
    assert {theirs.objects[oid].kind for oid in linked} == {"annotation", "provenance"}
    assert linked == sorted(linked)


def test_the_reader_is_small_and_imports_nothing_of_the_package():
    text = (GOLDEN / "reader.py").read_text()
    assert len(text.splitlines()) <= 250
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported - sys.stdlib_module_names == {"numpy", "zstandard"}


def test_the_page_tells_where_a_torn_journal_ends_and_what_is_damage(tmp_path):
    root = copied("work", tmp_path) / ".tupli"
    (journal,) = (root / "packs").glob("*.journal")
    data, alone = journal.read_bytes(), tmp_path / "alone"
    shutil.copytree(root, alone, ignore=shutil.ignore_patterns("objects", "*.pack", "trash"))
    (path,) = (alone / "packs").iterdir()
    n_damaged, ends = 0, [found.end for found in _journal(alone, path).directory.blocks]
    for torn in _torn(data, ends):
        path.write_bytes(torn)
        theirs = _read_by_the_page(alone)
        assert theirs == _read_by_us(alone, path)
        n_damaged += theirs == DAMAGE
    assert n_damaged > 25


def _torn(data: bytes, ends: list[int]) -> Iterator[bytes]:
    """A journal cut anywhere, with zeros behind or at the end of a block, or a byte changed."""
    draw = random.Random(5)
    places = [*range(0, 30, 2), *(draw.randrange(len(data)) for _ in range(15)), len(data)]
    for at in places:
        for n_zeros in (0, 1, 3, 4, 600):
            yield data[:at] + bytes(n_zeros)
    for end in ends[-3:]:
        for n_zeros in (1, 2, 3, 4, 5, 600):
            yield data[: end - n_zeros] + bytes(n_zeros)
    for at in places[:-1]:
        yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _read_by_the_page(root: Path) -> frozenset[str]:
    try:
        return frozenset(reader.Reader(root).objects)
    except reader.Damaged:
        return DAMAGE


def _read_by_us(root: Path, path: Path) -> frozenset[str]:
    try:
        return frozenset(_journal(root, path).directory.ids())
    except CorruptObjectError:
        return DAMAGE


def _journal(root: Path, path: Path) -> JournalFile:
    found = JournalFile(RepositoryFiles(root), path)
    found.refresh()
    return found


# ---- writing


@pytest.fixture
def anew(tmp_path, work):
    """Makes an empty repository of some user that has the golden benchmarks."""

    def make(user: str) -> Repository:
        folder = tmp_path / f"anew-{user}"
        with Repository.init(folder) as made:
            made.settings_file.set("user.name", user)
        repository = Repository(folder)
        series = np.asarray(content.new_field().series).tobytes()
        repository.store_artifact(series, ArtifactMetadata(name="series"))
        for header in work.list_benchmarks():
            stored = work.load_benchmark(header.id)
            repository.store_benchmark(
                BenchmarkQuery(
                    hash=stored.hash,
                    metadata=BenchmarkMetadata.model_validate(stored.metadata.model_dump()),
                    serialized=stored.serialized,
                    wrapper=stored.wrapper,
                )
            )
        return repository

    return make


def test_the_same_benchmarks_and_artifacts_have_the_golden_ids(anew, work):
    with anew("somebody") as repository:
        assert [one.id for one in repository.list_benchmarks()] == [
            one["id"] for one in EXPECTED["work"]["benchmarks"]
        ]
        made = repository.store_artifact(
            content.large_file(), ArtifactMetadata(name="large", extra={"pieces": 3})
        )
        repository.store_artifact(b"", ArtifactMetadata(name="empty", description="no bytes"))
        assert {one.id for one in repository.list_artifacts()} == {
            one["id"] for one in EXPECTED["work"]["artifacts"]
        }
        assert len(repository.read_object(made.id)[1].links) == 3


def test_the_same_episodes_have_the_golden_ids(anew):
    made = content.episodes()
    found = {}
    for user in (content.ADA, content.BEN):
        with anew(user) as repository:
            for name, one in made.items():
                if one.user == user:
                    spaces = (one.observation_space, one.action_space)
                    found[name] = recorded(repository, one.steps, one.benchmark, spaces)
    assert found == CALLED


def test_what_is_read_and_recorded_again_has_the_same_id(anew, work):
    with anew(content.ADA) as repository:
        for header, data in work.read_episodes(EXPECTED["work"]["episodes"]):
            record, layout = data.record, data.layout
            if record["created_by"] != content.ADA:
                continue
            names = ("reset_info", "metadata", "seed", "options", "rng", "abandoned")
            steps = Steps(
                observations=data.observations,
                actions=data.actions,
                rewards=data.rewards,
                terminated=data.terminated,
                truncated=data.truncated,
                infos=data.infos,
                **{name: record[name] for name in (*names, "created_at", "nonce")},
            )
            spaces = (layout.observation_space, layout.action_space)
            assert recorded(repository, steps, header.benchmark_id, spaces) == header.id


def recorded(repository: Repository, steps: Steps, benchmark: str, spaces: Any) -> str:
    """The id of an episode that is recorded; the benchmark is told by name or id."""
    oid = EXPECTED["benchmarks"].get(benchmark, benchmark)
    return repository.record(
        steps, oid, observation_space=spaces[0], action_space=spaces[1], strict=True
    ).id


def recorded_again(repository: Repository, name: str) -> str:
    """The id of an episode that went as another one did."""
    one = content.episodes()[name]
    steps = replace(one.steps, created_at="", nonce="")
    spaces = (one.observation_space, one.action_space)
    return recorded(repository, steps, one.benchmark, spaces)


def test_the_same_pin_has_the_golden_digest(work):
    chosen = [CALLED[name] for name in ("box", "walk-1", "everything")]
    (shared,) = (item for item in EXPECTED["work"]["log"] if item["name"] == "shared")
    assert work.pin("again", chosen).digest == shared["digest"]


def test_the_same_heads_make_the_golden_union(tmp_path):
    drive = copied("drive", tmp_path)
    (union,) = (item for item in EXPECTED["work"]["log"] if item.get("is_union"))
    for record in drive.glob(".tupli/refs/global/benchmark/walk/0000000[34]-*"):
        record.unlink()
    with Repository.clone(drive, tmp_path / "clone") as clone:
        assert clone.release("walk").revision == union["revision"]


def test_the_same_files_make_the_golden_bundle(tmp_path):
    root = copied("bundle", tmp_path) / ".tupli"
    write_bundle(root, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (GOLDEN / "walk.bundle").read_bytes()


# ---- going on


def test_one_can_go_on_with_it(tmp_path, work):
    drive = copied("drive", tmp_path)
    before = {header.id for header in work.episode_headers()}
    mine = recorded_again(work, "walk-3")
    assert mine not in before
    work.close()
    assert {header.id for header in work.episode_headers()} == before | {mine}
    (release,) = work.publish_episodes([mine]).releases
    assert (release.generation, release.n_episodes) == (5, 5)
    work.push(str(drive))
    with Repository.clone(drive, tmp_path / "clone") as clone:
        assert mine in {header.id for header in clone.episode_headers()}
        assert clone.fsck("deep").findings == ()
    assert [f for f in work.fsck("deep").findings if f.severity != "info"] == []


def test_what_was_removed_comes_back_from_the_trash(work):
    removed = EXPECTED["work"]["removed"]
    assert [kind for kind, _ in removed] == ["artifact", "episode"]
    work.restore([oid for _, oid in removed])
    (artifact,) = (one for one in work.list_artifacts() if one.name == "spare")
    assert work.load_artifact(artifact.id) == b"nobody needs this"
    assert CALLED["walk-4"] in {header.id for header in work.episode_headers()}
    assert work.removed() == []


def test_cleaning_keeps_what_is_listed(work):
    work.gc()
    assert missing_from(episodes_of(work), EXPECTED["episodes"]) == []
