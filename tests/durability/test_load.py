"""Many processes at once, some of which clean up without any grace: nothing acknowledged is lost.

``pytest -m torture tests/durability/test_load.py`` goes on for ten minutes.
"""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.envs import Walk
from tests.programs import finished, start
from tests.repository.people import drive
from tests.test_storage import episode
from tupli_repo import FileStorage, Repository, TupliEnvWrapper

AT_ONCE = timedelta(0)

WRITE = """
    import sys
    from pathlib import Path
    from tests.test_storage import episode
    from tupli_repo import Repository
    folder, benchmark, acknowledged, end, number = sys.argv[1:]
    with Repository(folder) as repository, open(acknowledged, "w") as told:
        n = 0
        while not Path(end).exists():
            n += 1
            words = {"writer": int(number), "n": n}
            if n % 4:
                ids = [repository.record_episode(episode(benchmark, metadata=words)).id]
            else:
                with repository.batch():
                    ids = [
                        repository.record_episode(episode(benchmark, metadata=words)).id
                        for _ in range(5)
                    ]
            print(*ids, sep="\\n", file=told, flush=True)  # only what has returned
            if n % 50 == 0:
                repository.close()  # its journal becomes a pack
"""

CLEAN = """
    import sys
    from datetime import timedelta
    from pathlib import Path
    from tupli_repo import Repository
    from tupli_repo.errors import LockedError
    folder, end = sys.argv[1:]
    runs = 0
    while not Path(end).exists():
        with Repository(folder) as repository:
            try:
                repository.gc(grace=timedelta(0))
                runs += 1
            except LockedError:
                pass
    print(runs)
"""

READ = """
    import sys
    from pathlib import Path
    from tupli_repo import Repository
    folder, end = sys.argv[1:]
    repository, seen, looks = Repository(folder), set(), 0
    while not Path(end).exists():
        headers = repository.list_episodes()
        now = {header.id for header in headers}
        assert seen <= now, f"{len(seen - now)} episodes were lost from sight"
        for header in headers[:: max(1, len(headers) // 20)]:
            assert repository.load_episode(header.id).metadata == header.metadata
        seen, looks = now, looks + 1
    print(looks)
"""

PUSH = """
    import sys
    from pathlib import Path
    from tupli_repo import Repository
    folder, hub, benchmark, acknowledged, end = sys.argv[1:]
    repository = Repository(folder)
    with open(acknowledged, "w") as told:
        while not Path(end).exists():
            report = repository.publish(benchmark, episodes=True)
            repository.push(hub)
            print(report.releases[-1].revision, file=told, flush=True)
"""


class Lab(NamedTuple):
    """A repository with a benchmark, a drive, and where those who write tell what they have."""

    folder: Path
    hub: Path
    benchmark: str
    told: Path
    end: Path


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    with FileStorage(tmp_path / "lab") as storage:
        benchmark = TupliEnvWrapper(Walk(), storage).store("walk")
    told = tmp_path / "told"
    told.mkdir()
    return Lab(tmp_path / "lab", drive(tmp_path / "drive"), benchmark, told, tmp_path / "end")


def acknowledged(lab: Lab, pattern: str = "writer*") -> set[str]:
    """What was told whole: the last line of one who was killed may be cut off."""
    lines = [line for path in lab.told.glob(pattern) for line in path.read_text().split("\n")[:-1]]
    return set(lines)


def check(lab: Lab) -> int:
    """Check that all that was acknowledged is there, and all bytes are right."""
    expected = acknowledged(lab)
    with Repository(lab.folder) as repository:
        assert expected <= {header.id for header in repository.list_episodes()}
        read = repository.load_episodes(sorted(expected))
        assert {header.id for header in read.headers} == expected
        report = repository.fsck("data")
        assert report.is_clean, report.findings
    with Repository(lab.hub) as hub:
        assert acknowledged(lab, "pusher*") <= {item.revision for item in hub.log()}
        assert hub.fsck("data").is_clean
        assert not any(item.pending for item in hub.log())
    return len(expected)


def load(lab: Lab, seconds: float, *, writers: int) -> None:
    some = [
        start(WRITE, lab.folder, lab.benchmark, lab.told / f"writer{n}", lab.end, n)
        for n in range(writers)
    ]
    some.append(start(PUSH, lab.folder, lab.hub, lab.benchmark, lab.told / "pusher", lab.end))
    readers = [start(READ, lab.folder, lab.end) for _ in range(2)]
    cleaners = [start(CLEAN, lab.folder, lab.end) for _ in range(2)]
    cleaners.append(start(CLEAN, lab.hub, lab.end))
    wait_for_more(lab)  # all have begun, about
    time.sleep(seconds)
    lab.end.touch()
    looked = [int(finished(one)) for one in readers]
    cleaned = [int(finished(one)) for one in cleaners]
    for one in some:
        finished(one)
    assert check(lab) > 0
    assert all(looked)
    assert sum(cleaned)


def test_nothing_is_lost_where_many_write_while_others_clean(lab: Lab) -> None:
    load(lab, 10, writers=6)


@pytest.mark.torture
def test_nothing_is_lost_in_ten_minutes(lab: Lab) -> None:
    load(lab, 600, writers=16)


@pytest.mark.skipif(sys.platform == "win32", reason="no signal stops a process there")
def test_a_writer_that_was_taken_for_dead_loses_nothing_when_it_wakes(lab: Lab) -> None:
    writer = start(WRITE, lab.folder, lab.benchmark, lab.told / "writer0", lab.end, 0)
    for _ in range(3):
        stop_with_a_journal(writer, lab)
        with Repository(lab.folder) as repository:
            assert repository.gc(grace=AT_ONCE).journals_sealed
        os.kill(writer.pid, signal.SIGCONT)
    lab.end.touch()
    finished(writer)
    assert check(lab) > 60


def stop_with_a_journal(writer: "subprocess.Popen[str]", lab: Lab) -> None:
    """Stop a writer when it has a journal; while it closes it has none."""
    while True:
        wait_for_more(lab)
        os.kill(writer.pid, signal.SIGSTOP)
        if list(lab.folder.rglob("packs/*.journal")):
            return
        os.kill(writer.pid, signal.SIGCONT)


def test_where_the_file_server_s_clock_jumps_by_years_nothing_is_lost(lab: Lab) -> None:
    with Repository(lab.folder) as repository:
        for years in (2, -4, 2):
            record_some(lab, repository)
            repository.close()
            for path in lab.folder.rglob("*"):
                if path.is_file():
                    then = path.stat().st_mtime + years * 365 * 86400
                    os.utime(path, (then, then))
            repository.gc(grace=AT_ONCE)
            repository.gc()
    check(lab)


def record_some(lab: Lab, repository: Repository, n: int = 3) -> list[str]:
    ids = [repository.record_episode(episode(lab.benchmark)).id for _ in range(n)]
    with (lab.told / "writer").open("a") as told:
        print(*ids, sep="\n", file=told)
    return ids


def wait_for_more(lab: Lab) -> None:
    enough, deadline = len(acknowledged(lab)) + 20, time.monotonic() + 120
    while len(acknowledged(lab)) < enough:
        assert time.monotonic() < deadline
        time.sleep(0.05)
