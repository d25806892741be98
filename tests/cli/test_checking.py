"""fsck: what it prints, its JSON, its exit statuses; and that it brings nothing to life."""

import json
from pathlib import Path

import pytest

from tests.cli.calling import Tupli
from tests.faults import HastyFileSystem
from tests.odb.samples import overwrite
from tests.repository.people import benchmark, drive, opened, person, record
from tests.watched import store_some, trace_in, watched

PROGRAM = """
import contextlib, io, json, pathlib
from tupli_repo.cli import run
(pack,) = pathlib.Path("project/.tupli/packs").glob("*.pack")
statuses = []
for damaged in (False, True):
    if damaged:
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:-1])
    for command in (["--deep"], ["--repair", "--dry-run"], ["--repair"], ["--deep"]):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            statuses.append(run(["-C", "project", "fsck", "--json", *command]))
        assert json.loads(out.getvalue())["root"]
print(json.dumps([seen, statuses]))
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ada's project, which is the working folder; all of it is on the drive."""
    ada = person(tmp_path / "ada", drive(tmp_path / "drive"), fs=HastyFileSystem())
    record(ada, benchmark(ada), 3)
    ada.publish("walk", episodes=True)
    ada.push()
    ada.close()
    for path in (tmp_path / "ada/.tupli/trash").rglob("*.journal"):
        path.unlink()
    monkeypatch.chdir(tmp_path / "ada")
    return tmp_path / "ada"


def damage(lab: Path) -> Path:
    (pack,) = (lab / ".tupli/packs").glob("*.pack")
    data = bytearray(pack.read_bytes())
    data[28] ^= 1
    overwrite(pack, bytes(data))
    return pack


def test_a_whole_repository_is_told_in_one_line(tupli: Tupli, lab: Path):
    for option in ("--data", "--deep", "--sample=1%", "--sample=3/30"):
        done = tupli("fsck", option)
        assert done.status == 0
        assert done.out.splitlines()[-1].endswith(": whole")
        assert "held against their hashes" in done.out
    assert "hashes" not in tupli("fsck").out


def test_damage_is_told_with_what_to_type_and_status_3(tupli: Tupli, lab: Path):
    pack = damage(lab)
    done = tupli("fsck", "--data")
    assert done.status == 3
    (line,) = [line for line in done.out.splitlines() if line.startswith("error:")]
    assert pack.name in line
    assert "3 episodes of 'walk'" in line
    assert "tupli fsck --repair" in line
    assert "1 error: something is damaged or missing" in done.out.splitlines()[-1]
    found = tupli("fsck", "--data", "--json")
    assert found.status == 3
    assert found.json["n_errors"] == 1
    assert found.json["findings"][0]["path"] == f"packs/{pack.name}"


def test_a_stranger_is_a_warning_and_status_0(tupli: Tupli, lab: Path):
    (lab / ".tupli/packs/notes (conflicted copy).txt").write_text("x")
    done = tupli("fsck")
    assert done.status == 0
    assert "warning:" in done.out
    assert "1 warning" in done.out


def test_a_repair_tells_what_it_did(tupli: Tupli, lab: Path):
    pack = damage(lab)
    planned = tupli("fsck", "--repair", "-n")
    assert "would be brought back" in planned.out
    done = tupli("fsck", "--repair")
    assert done.status == 0
    assert f"set aside: 'packs/{pack.name}'" in done.out
    assert "brought back from 'origin'" in done.out
    assert done.out.splitlines()[-1] == "nothing is lost"
    assert tupli("fsck", "--deep").status == 0


def test_a_repair_lists_what_is_lost_and_ends_with_status_3(tupli: Tupli, lab: Path):
    opened(lab).remove_remote("origin")
    damage(lab)
    done = tupli("fsck", "--repair")
    assert done.status == 3
    assert "lost: blob " in done.out
    assert "lost: data of 3 episodes, " in done.out
    assert tupli("list", "benchmarks").status == 0
    again = tupli("fsck", "--repair", "--json")
    assert again.status == 3
    assert again.json["lost"]
    assert not again.json["is_whole"]


def test_of_many_findings_the_first_are_listed(tupli: Tupli, lab: Path):
    for n in range(30):
        (lab / f".tupli/packs/note {n}").write_text("x")
    out = tupli("fsck").out
    assert "10 more of 'stranger'; --json lists them" in out
    assert len(tupli("fsck", "--json").json["findings"]) >= 30


def test_wrong_use_is_told(tupli: Tupli, lab: Path):
    assert tupli("fsck", "--sample", "some").status == 2
    assert tupli("fsck", "--repair", "--data").status == 2
    assert tupli("fsck", "--dry-run").status == 2
    assert tupli("fsck", "--repair", "--from", "nobody").status == 1
    assert tupli("-C", lab.parent, "fsck").status == 10


def test_a_name_that_a_terminal_would_obey_is_escaped(tupli: Tupli, lab: Path):
    (lab / ".tupli/packs/\x1b[31mred").write_text("x")
    assert "\x1b" not in tupli("fsck").out


def test_nothing_that_is_stored_is_brought_to_life(tmp_path: Path):
    store_some(tmp_path)
    seen, statuses = json.loads(watched(PROGRAM, tmp_path))
    assert seen == []
    assert not trace_in(tmp_path).exists()
    assert statuses == [0] * 4 + [3, 3, 0, 0]
