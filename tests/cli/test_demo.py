"""``tupli demo``: what comes back, three people and a drive, and what is left of it to look at."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from platformdirs import user_config_path

from tupli_repo import FileStorage, TupliDataset
from tupli_repo.repository import Repository


class Tour(NamedTuple):
    home: Path
    told: dict[str, Any]

    def of(self, who: str) -> FileStorage:
        return FileStorage(self.home / who)


def demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "tupli_repo", "demo", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    home = tmp_path_factory.mktemp("tour")
    done = demo(home, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return Tour(home, json.loads(done.stdout))


def test_it_prints_what_came_of_it_and_the_commands_one_would_type(tmp_path: Path):
    done = demo(tmp_path / "tour")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("publish windy-car", "push", "clone DRIVE ben", "pin paper-fig3", "sync"):
        assert f"$ tupli {command}" in done.stdout
    same = "the same, bit for bit; the loaded environment replays them exactly"
    assert done.stdout.count(same) == 2
    assert done.stdout.count("the same, bit for bit") == 3
    assert "refused: it wants windy_mountain_car.WindyMountainCar" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_it_leaves_repositories_that_can_be_used(tour: Tour):
    repositories = list(tour.home.rglob(".tupli"))
    assert {found.parent.name for found in repositories} == {"anna", "drive", "ben", "carla"}
    for found in repositories:
        with Repository(found.parent) as repository:
            assert len(found.relative_to(tour.home).parts) <= 3
            assert len(repository.list_episodes()) >= 50
            assert [item.name for item in repository.list_artifacts()] == ["wind.csv"]


def test_a_folder_in_use_is_left_alone(tour: Tour):
    done = demo(tour.home)
    assert (done.returncode, done.stdout.count("Anna")) == (1, 1)
    assert "already" in done.stderr


def test_all_is_equal(tour: Tour):
    assert tour.told["equal"] is True
    assert sum(benchmark["episodes"] for benchmark in tour.told["benchmarks"]) >= 50
    assert all(benchmark["data_equal"] for benchmark in tour.told["benchmarks"])
    assert all(benchmark["environment_equal"] for benchmark in tour.told["benchmarks"])
    facts = ("equal", "digest_equal", "data_equal")
    assert [tour.told["sharing"][fact] for fact in facts] == [True, True, True]


def test_the_code_of_another_is_refused_before_it_is_trusted_and_no_grant_is_left(tour: Tour):
    assert tour.told["sharing"]["refused"] == ["windy_mountain_car.WindyMountainCar"]
    assert tour.of("ben").trusted() == ()
    granted = user_config_path("tupli", appauthor=False).rglob("*")
    assert not [path for path in granted if path.is_file() and b"windy" in path.read_bytes()]


def test_what_two_published_at_the_same_time_is_united(tour: Tour):
    union = tour.told["sharing"]["united"]
    assert union["is_union"] is True
    assert union["episodes"] == 25 + 10 + 10
    anna, drive = tour.of("anna"), Repository(tour.home / "drive")
    assert anna.release("windy-car").revision == union["revision"]
    assert drive.release("windy-car").revision == union["revision"]
    assert {item.created_by for item in drive.log("windy-car")} == {"Anna", "Ben", ""}


def test_what_ben_did_not_publish_stays_with_him(tour: Tour):
    ben, drive = tour.of("ben"), Repository(tour.home / "drive")
    his = {header.id for header in ben.episode_headers() if header.created_by == "Ben"}
    there = {header.id for header in drive.episode_headers()}
    assert len(his) == 20
    assert len(his & there) == 10
    assert {header.terminated for header in drive.episode_headers() if header.id in his} == {True}


def test_the_citable_revision_is_the_same_data_for_everybody(tour: Tour):
    revision, digest = tour.told["sharing"]["revision"], tour.told["sharing"]["digest"]
    anna, carla = (TupliDataset.from_pin(tour.of(who), revision) for who in ("anna", "carla"))
    assert anna.digest == carla.digest == digest
    assert [header.id for header in anna.preview()] == [header.id for header in carla.preview()]
    ours, theirs = anna.columns(), carla.columns()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
