"""Every byte of a small repository damaged, every file cut off, emptied, renamed, swapped.

What is read is right or an error of ours; fsck finds the damage; with a healthy remote a repair
brings everything back. What cannot be found is named here, with why it does no harm.
"""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults import HastyFileSystem
from tests.odb.samples import overwrite
from tests.repository.people import artifact, benchmark, drive, person, record
from tests.strategies import same
from tupli_repo.config import RepositoryFormat, SettingsFile
from tupli_repo.errors import TupliError, UnsupportedFormatError
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.maintenance.check import Choice, Survey
from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.refs import parse_yank
from tupli_repo.repository import Repository
from tupli_repo.repository.checking import fsck_folder, repair_folder
from tupli_repo.schema.checks import FsckReport

CI = 36  # how many damages of a sort are tried each time; the torture run tries all
CI_REPAIRED = 5
FS = HastyFileSystem()


class Lab(NamedTuple):
    """Ada's repository, all of which is on the drive, and what is read there when it is whole."""

    ada: Path
    objects: dict[ObjectId, bytes]
    readings: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """Every file, relative to the project's folder."""
        return [
            path.relative_to(self.ada)
            for path in sorted(self.ada.rglob("*"))
            if path.is_file() and path.name != ".gitignore"
        ]


def objects_in(folder: Path) -> dict[ObjectId, bytes]:
    """Every object that can be read, encoded."""
    survey = Survey(RepositoryFiles(folder / ".tupli", FS), Choice())
    survey.run()
    ids = [ObjectId(raw.hex()) for raw in survey.present]
    return {oid: encoded for oid, _, encoded in survey.read_encoded(ids)}


def readings(folder: Path) -> tuple[dict[str, Any], list[TupliError]]:
    """What a repository says when everything in it is read, and the errors it told."""
    found: dict[str, Any] = {}
    errors: list[TupliError] = []

    def read(what: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return what(*arguments)
        except TupliError as err:
            errors.append(err)
            return None

    who = read(partial(Repository, folder, fs=FS))
    if who is None:
        return found, errors
    for header in read(who.list_benchmarks) or ():
        found[f"benchmark {header.id}"] = header.model_copy(update={"published_in": []})
        found[f"text {header.id}"] = read(who.load_benchmark, header.id)
    for item in read(who.list_artifacts) or ():
        found[f"bytes {item.id}"] = read(who.load_artifact, item.id)
    for header in read(who.episode_headers) or ():
        found[f"episode {header.id}"] = header.model_copy(update={"published_in": []})
        loaded = read(who.load_episodes, [header.id])
        found[f"columns {header.id}"] = None if loaded is None else loaded[0][1].columns
    for name in read(who.names) or ():
        for item in read(who.log, f"{name.group}/{name.kind}/{name.name}") or ():
            found[f"release {item.revision}"] = (item.release, item.digest, item.n_episodes)
    for name in ("walk", "wind"):
        found[f"yanks {name}"] = read(yanked, who, name)
    who._store._close.detach()
    for what, value in found.items():
        if what.startswith("text") and value is not None:
            found[what] = value.serialized
    return {what: value for what, value in found.items() if value is not None}, errors


def yanked(who: Repository, name: str) -> list[str]:
    return [item.revision for item in who.log(name) if item.yanked is not None]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    root = tmp_path_factory.mktemp("lab")
    hub = drive(root / "drive")
    ada = person(root / "ada", hub)
    walk = benchmark(ada)
    record(ada, walk, 2)
    ada.publish("walk", episodes=True)
    ada.publish(artifact(ada))
    record(ada, walk, 1)
    first = ada.publish("walk", episodes=True)
    ada.yank(f"walk@{first.releases[0].revision[:12]}", why="wrong sign")
    ada.close()
    shutil.rmtree(next((root / "ada/.tupli/trash").iterdir()))
    record(ada, walk, 2)
    ada.publish("walk", episodes=True)
    ada.push()
    ada._store._close.detach()
    for folder in ("objects", "staging"):
        for path in (root / "ada/.tupli" / folder).iterdir():
            if not any(path.iterdir()):
                path.rmdir()  # so that copying is quick
    found, errors = readings(root / "ada")
    assert errors == []
    assert len(found) > 15
    assert fsck_folder(root / "ada", "deep").findings == ()
    return Lab(root / "ada", objects_in(root / "ada"), found)


class Case(NamedTuple):
    """One file with other bytes; None: it is gone."""

    path: Path
    data: bytes | None
    what: str


def flips(lab: Lab) -> Iterator[Case]:
    for path in lab.files:
        data = (lab.ada / path).read_bytes()
        for at in range(len(data)):
            for mask in (0x01, 0x80):
                changed = data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]
                yield Case(path, changed, f"byte {at} ^ {mask:#x}")


def cuts(lab: Lab) -> Iterator[Case]:
    for path in lab.files:
        data = (lab.ada / path).read_bytes()
        for length in range(len(data)):
            yield Case(path, data[:length], f"cut to {length}")


def others(lab: Lab) -> Iterator[Case]:
    """Emptied, gone, with something behind it, with the bytes of its neighbour."""
    for n, path in enumerate(lab.files):
        data = (lab.ada / path).read_bytes()
        neighbour = (lab.ada / lab.files[n - 1]).read_bytes()
        yield Case(path, b"", "emptied")
        yield Case(path, None, "gone")
        yield Case(path, data + b"\0", "a byte behind it")
        yield Case(path, data + data, "twice")
        yield Case(path, neighbour, "swapped")
        yield Case(path, bytes(len(data)), "zeros")


def harmless(lab: Lab, case: Case) -> str:
    """Why a damage need not be found: no hash says what the bytes were, and no data hangs on it."""
    name, path = case.path.name, lab.ada / case.path
    if case.data is None:
        if name == "config.toml":
            return "there need be no settings"
        is_ref = case.path.parts[1] == "refs"
        if case.path.suffix == ".yank" or (is_ref and is_last_record(lab, case.path)):
            return "nobody knows that there was one; 'tupli pull' brings it"
        return ""
    if name == "config.toml":
        changed = lab.ada.parent / "changed.toml"
        changed.write_bytes(case.data)
        with suppress(TupliError):
            SettingsFile(changed).read()
            return "the user's own settings, which are edited by hand"
    if name == "format.json":
        with suppress(TupliError):
            found = RepositoryFormat.parse(case.data, path)
            if found.dump() == case.data and found.role == "work":
                return "another id, which only names caches and grants"
    if case.path.suffix == ".yank":
        with suppress(TupliError):
            if parse_yank(case.data, path).dump() == case.data:
                return "the words of a yank: who, when, why"
    if case.path.suffix == ".journal" and case.what.startswith(("cut", "emptied")):
        return "as a crash cuts off what was never acknowledged; fsck warns where a block is torn"
    if case.path.suffix == ".journal" and case.what == "zeros":
        return "as a power loss leaves a journal that was never synced"
    if case.path.suffix == ".journal" and case.what == "a byte behind it":
        return "as a crash leaves the beginning of an append; fsck warns"
    return ""


def is_last_record(lab: Lab, path: Path) -> bool:
    """Whether it is a record that no other follows."""
    others = [lab.ada / one for one in lab.files if one.parent == path.parent and one != path]
    records = [json.loads(one.read_bytes()) for one in others if one.suffix != ".yank"]
    parents = {parent[:12] for record in records for parent in record["parents"]}
    return path.name.partition("-")[2] not in parents


def is_absent(case: Case) -> bool:
    """Whether an object is as if it were not there: a listing does not read whole blobs.

    So a blob under the name of a record is met where the record is read, and by fsck.
    """
    return case.data is None or (case.what == "swapped" and case.path.parts[1] == "objects")


def is_refused(case: Case) -> bool:
    """Whether it looks like the work of a newer version: it is not touched."""
    with suppress(Exception):
        return case.path.name == "format.json" and json.loads(case.data or b"")["tupli"] > 0
    return False


def apply(folder: Path, case: Case) -> None:
    path = folder / case.path
    if case.data is None:
        path.unlink()
    else:
        overwrite(path, case.data)


def undo(lab: Lab, case: Case, original: bytes) -> None:
    path = lab.ada / case.path
    path.unlink(missing_ok=True)
    path.write_bytes(original)


def check(lab: Lab, case: Case) -> None:
    """Hold what is read and found against what was there."""
    original = (lab.ada / case.path).read_bytes()
    apply(lab.ada, case)
    try:
        found, errors = readings(lab.ada)
        for what, value in found.items():
            assert what in lab.readings, (case, what)
            is_shorter = is_absent(case) or harmless(lab, case)
            if what.startswith("benchmark") and is_shorter and value.created_by == "unknown":
                continue  # its provenance is gone: nobody says who stored it
            if not (what.startswith("yanks") and is_shorter):
                assert equal(value, lab.readings[what]), (case, what)
        is_pending = is_absent(case)  # what lacks something is not listed; fsck tells it
        is_all = found.keys() == lab.readings.keys()
        assert errors or is_pending or is_all or harmless(lab, case), case
        if is_refused(case):
            with pytest.raises(UnsupportedFormatError):
                fsck_folder(lab.ada, "data", fs=FS)
            return
        report = fsck_folder(lab.ada, "data", fs=FS)
        assert tells(report, case) or harmless(lab, case), case
        if not tells(report, case):
            assert errors == [] or case.data is None, case
    finally:
        undo(lab, case, original)


def tells(report: FsckReport, case: Case) -> bool:
    """Whether an error speaks of the file, or of what was in it."""
    path = case.path.relative_to(".tupli").as_posix()
    errors = [one for one in report.findings if one.severity == "error"]
    if case.data is None:
        return bool(errors)
    return any(one.path == path for one in errors)


def equal(one: Any, other: Any) -> bool:
    return same(one, other) if isinstance(one, dict) else one == other


def check_repair(lab: Lab, case: Case, folder: Path) -> None:
    """Damage a copy, repair it, and hold it against what was there."""
    shutil.copytree(lab.ada, folder, copy_function=shutil.copyfile)
    try:
        apply(folder, case)
        if is_refused(case):
            with pytest.raises(UnsupportedFormatError):
                repair_folder(folder, fs=FS)
            return
        report = repair_folder(folder, fs=FS)
        assert report.is_whole, (case, report)
        assert fsck_folder(folder, "data", fs=FS).is_clean, case
        assert objects_in(folder) == lab.objects, case
        if case.data is not None and not harmless(lab, case):
            moved = Path(report.folder, *case.path.parts[1:])
            assert moved.read_bytes() == case.data, case
            assert moved.with_name(f"{moved.name}.note").read_text().strip()
        for path in lab.files:
            if path.parts[1] == "refs" and not harmless(lab, case):
                assert (folder / path).read_bytes() == (lab.ada / path).read_bytes(), case
        found, errors = readings(folder)
        assert errors == [] or harmless(lab, case), case
        for what in found.keys() | lab.readings.keys():
            if not harmless(lab, case):
                assert equal(found.get(what), lab.readings.get(what)), (case, what)
    finally:
        shutil.rmtree(folder)


SORTS = {"flips": flips, "cuts": cuts, "others": others}


def some(lab: Lab, sort: str, n: int) -> list[Case]:
    """A few cases, of every file, the same each time."""
    cases = list(SORTS[sort](lab))
    by_file: dict[Path, list[Case]] = {}
    for case in cases:
        by_file.setdefault(case.path, []).append(case)
    draw = random.Random(2026)
    each = max(1, n // len(by_file))
    return [case for held in by_file.values() for case in draw.sample(held, min(each, len(held)))]


@pytest.mark.parametrize("sort", SORTS)
def test_damage_is_found_and_never_read(lab: Lab, sort: str):
    for case in some(lab, sort, CI):
        check(lab, case)


@pytest.mark.parametrize("sort", SORTS)
def test_a_repair_brings_everything_back(lab: Lab, tmp_path: Path, sort: str):
    cases = some(lab, sort, CI)
    for case in cases[:: 1 + len(cases) // CI_REPAIRED]:
        check_repair(lab, case, tmp_path / "copy")


@pytest.mark.torture
@pytest.mark.parametrize("sort", SORTS)
def test_every_damage_is_found_and_never_read(lab: Lab, sort: str):
    for case in SORTS[sort](lab):
        check(lab, case)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("sort", SORTS)
def test_a_repair_mends_every_damage(lab: Lab, tmp_path: Path, sort: str, part: int):
    for case in list(SORTS[sort](lab))[part::8]:
        check_repair(lab, case, tmp_path / "copy")
