"""Cleaning beside everything else: real processes on one repository, with no grace at all."""

from pathlib import Path

import pytest

from tests.programs import finished, start
from tests.repository.people import artifact, benchmark, opened, person, published, record
from tupli_repo.repository import Repository

WRITE = """
    import sys
    from datetime import timedelta
    from time import monotonic
    from tests.repository.people import artifact, benchmark, record
    from tupli_repo.repository import Repository
    folder, walk, me, seconds = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    end, n = monotonic() + seconds, 0
    while monotonic() < end:
        with Repository(folder) as who:
            for _ in range(5):
                n += 1
                for oid in record(who, walk, 2, me=me):
                    print("episode", oid, flush=True)
                print("benchmark", benchmark(who, f"b{n}-{me}", digest=f"{n}{me}"), flush=True)
                print("artifact", artifact(who, content=f"{n}{me}".encode()), flush=True)
                if n % 3 == 0:
                    who.publish(walk, as_name=f"walk-{me}", episodes=True)
                    print("name", f"walk-{me}", flush=True)
"""

CLEAN = """
    import sys
    from contextlib import suppress
    from datetime import timedelta
    from pathlib import Path
    from tupli_repo.errors import LockedError
    from tupli_repo.repository import Repository
    n = 0
    while n < 2 or not Path(sys.argv[2]).exists():
        who = Repository(sys.argv[1])
        (who.root / "locks" / "gc.lock").unlink(missing_ok=True)  # a lock that does not lock
        with suppress(LockedError):
            who.gc(grace=timedelta(0))
            n += 1
    print(n)
"""

READ = """
    import sys
    from pathlib import Path
    from tupli_repo.repository import Repository
    who, seen, n = Repository(sys.argv[1]), set(), 0
    while not n or not Path(sys.argv[2]).exists():
        now = {header.id for header in who.list_episodes()}
        assert seen <= now, f"{len(seen - now)} episodes were lost from sight"
        assert len(list(who.read_episodes(sorted(now)))) == len(now)
        seen, n = now, n + 1
    print(n)
"""


@pytest.mark.parametrize(
    ("n_writers", "n_cleaners", "seconds"),
    [
        pytest.param(2, 2, 1, id="a while"),
        pytest.param(16, 2, 120, id="long", marks=pytest.mark.torture),
    ],
)
def test_writers_cleaners_and_a_reader_lose_nothing(
    tmp_path: Path, n_writers: int, n_cleaners: int, seconds: float
):
    folder, done = tmp_path / "lab", tmp_path / "done"
    with Repository.init(folder) as who:
        walk = benchmark(who)
    writers = [start(WRITE, folder, walk, n, seconds) for n in range(n_writers)]
    cleaners = [start(CLEAN, folder, done) for _ in range(n_cleaners)]
    reader = start(READ, folder, done)
    told = [finished(writer) for writer in writers]
    done.touch()
    cleaned = sum(int(finished(cleaner)) for cleaner in cleaners)
    assert int(finished(reader)) > 0
    assert cleaned >= 2 * n_cleaners
    acknowledged = [line.split() for text in told for line in text.splitlines()]
    again = opened(folder)
    here = {
        "episode": {one.id for one in again.list_episodes()},
        "benchmark": {one.id for one in again.list_benchmarks()},
        "artifact": {one.id for one in again.list_artifacts()},
        "name": {one.name for one in again.names()},
    }
    assert [one for one in acknowledged if one[1] not in here[one[0]]] == []
    assert len(list(again.read_episodes(here["episode"]))) == len(here["episode"])
    for oid in here["benchmark"]:
        assert again.load_benchmark(oid).serialized
    for oid in here["artifact"]:
        assert again.load_artifact(oid)
    for name in here["name"]:
        assert published(again, name) <= here["episode"]
    again.gc()
    assert {one.id for one in again.list_episodes()} == here["episode"]


REWRITE = """
    import sys
    from datetime import timedelta
    from pathlib import Path
    from tupli_repo.repository import Repository
    from tests.repository.people import record
    folder, walk, done, n = sys.argv[1], sys.argv[2], Path(sys.argv[3]), 0
    who = Repository(folder)
    while not done.exists():
        record(who, walk, 1, round=n)
        who.close()
        n += 1
        if n % 2:
            who.remove([record(who, walk, 40)[0]])
        who.gc(grace=timedelta(0))
        print(n, flush=True)
"""


def test_who_reads_much_while_packs_are_replaced_gets_every_byte(tmp_path: Path):
    folder, done = tmp_path / "lab", tmp_path / "done"
    who = person(folder)
    walk = benchmark(who)
    expected = {}
    for k in range(4):
        for oid in record(who, walk, 120, part=k):
            expected[oid] = k
        who.close()
    content = bytes(range(256)) * 40
    wind = artifact(who, content=content)
    cleaner = start(REWRITE, folder, walk, done)
    assert cleaner.stdout is not None
    reader = opened(folder)
    try:
        for _ in range(3):
            found = {h.id: h.metadata["part"] for h, _ in reader.read_episodes(list(expected))}
            assert found == expected
            assert reader.load_artifact(wind) == content
            assert cleaner.stdout.readline()  # packs were replaced meanwhile
    finally:
        done.touch()
    finished(cleaner)
