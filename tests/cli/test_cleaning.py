"""tupli gc: what it prints, its JSON, its refusals."""

import json
from pathlib import Path

import pytest

from tests.repository.people import artifact, benchmark, drive, person, record
from tupli_repo.cli import run
from tupli_repo.odb.maintenance.lock import cleaning
from tupli_repo.repository import Repository


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    who = person(tmp_path / "lab")
    walk = benchmark(who)
    for _ in range(3):
        record(who, walk, 2)
        who.close()
    who.remove([artifact(who)])
    monkeypatch.chdir(tmp_path / "lab")
    return who


def test_it_tells_what_was_done(lab: Repository, capsys: pytest.CaptureFixture[str]):
    assert run(["gc"]) == 0
    told, errors = capsys.readouterr()
    assert "3 packs merged into 1" in told
    assert "nothing leads to" not in told  # it is younger than a day
    assert errors == ""
    assert run(["gc", "--grace", "0"]) == 0
    told = capsys.readouterr().out
    assert "nothing leads to 2 objects" in told
    assert "moved to the trash" in told
    assert "0 B freed" in told


def test_a_dry_run_tells_what_would_be(lab: Repository, capsys: pytest.CaptureFixture[str]):
    assert run(["gc", "--dry-run", "--grace", "0"]) == 0
    told = capsys.readouterr().out
    assert "3 packs would be merged into 1" in told
    assert len(list((lab.root / "packs").iterdir())) == 3


def test_json_is_one_document(lab: Repository, capsys: pytest.CaptureFixture[str]):
    assert run(["gc", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["packs_merged"], told["packs_written"], told["grace_hours"]) == (3, 1, 24.0)
    assert told["bytes_freed"] == 0
    assert told["bytes_in_trash"] > 0


def test_who_is_second_is_told(lab: Repository, capsys: pytest.CaptureFixture[str]):
    with cleaning(lab._files):
        assert run(["gc"]) == 11
    assert "is being cleaned by another process" in capsys.readouterr().err


def test_a_negative_grace_is_a_usage_error(lab: Repository, capsys: pytest.CaptureFixture[str]):
    assert run(["gc", "--grace", "-1"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_no_number_is_a_usage_error(lab: Repository, capsys: pytest.CaptureFixture[str]):
    assert run(["gc", "--grace", "nan"]) == 2
    assert "nan is no number of hours" in capsys.readouterr().err


def test_what_a_drive_has_lost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    there = drive(tmp_path / "drive")
    ada = person(tmp_path / "ada", there)
    walk = benchmark(ada)
    record(ada, walk, 2)
    ada.publish("walk", episodes=True)
    ada.push()
    (pack,) = (there / ".tupli" / "packs").iterdir()
    pack.unlink()
    monkeypatch.chdir(there)
    assert run(["gc", "--grace", "0"]) == 0
    told = capsys.readouterr().out
    assert "2 objects that names lead to are missing" in told
    assert "tupli fsck --repair" in told


def test_status_and_restore_tell_of_the_trash(lab: Repository, capsys: pytest.CaptureFixture[str]):
    run(["gc", "--grace", "0"])
    capsys.readouterr()
    assert run(["status"]) == 0
    told = capsys.readouterr().out
    assert "in the trash" in told
    assert "1 removed here" in told
    assert run(["restore", "feedface"]) == 1
    assert "'tupli restore' lists" in capsys.readouterr().err
