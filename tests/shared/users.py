"""A process that becomes somebody else for each order, does it, and tells what came of it.

Orders are JSON lists, one a line: user, umask, what to do, its arguments. All modules are loaded
before: who it becomes may not be able to read them.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.faults import HastyFileSystem
from tests.repository.people import benchmark, published, record
from tests.shared.life import whole_life
from tupli_repo.errors import TupliError
from tupli_repo.odb.maintenance.probe import probe
from tupli_repo.repository import Repository
from tupli_repo.schema import ArtifactMetadata

GROUP = 12_100
FS = HastyFileSystem()


def make(folder: str, *, bare: bool) -> None:
    """Make a shared repository."""
    Repository.init(folder, bare=bare, shared=True, fs=FS).close()


def work(folder: str, drive: str, n: int) -> list[str]:
    """Record in a repository of one's own, and push; returns the episodes."""
    with (
        Repository(folder, fs=FS)
        if Path(folder).exists()
        else Repository.init(folder, fs=FS) as own
    ):
        if not own.remotes():
            own.add_remote("origin", drive)
        made = record(own, benchmark(own), n)
        own.publish("walk", episodes=True)
        own.sync()
        return made


def pull(folder: str) -> list[str]:
    """Pull; returns what is published then."""
    with Repository(folder, fs=FS) as own:
        own.pull()
        return sorted(published(own))


def record_here(folder: str, n: int) -> list[str]:
    """Record in a repository that others record in, too, and publish."""
    with Repository(folder, fs=FS) as both:
        made = record(both, benchmark(both), n)
        both.publish("walk", episodes=True)
        return made


def leave_a_journal(folder: str) -> list[str]:
    """Record, and die."""
    both = Repository(folder, fs=FS)
    made = record(both, benchmark(both), 1)
    both._store._close.detach()
    return made


def remove_here(folder: str, ids: list[str]) -> None:
    """Hide episodes that somebody recorded."""
    with Repository(folder, fs=FS) as both:
        both.remove(ids)


def listed(folder: str) -> list[str]:
    """List, load and look at a repository; returns the episodes."""
    with Repository(folder, fs=FS) as found:
        ids = [header.id for header in found.list_episodes()]
        assert len(found.load_episodes(ids).columns()["rewards"]) == 2 * len(ids)
        assert found.status().episodes == len(ids)
        assert found.list_benchmarks()
        return sorted(ids)


def clone(folder: str, target: str) -> list[str]:
    """Clone a repository; returns the episodes."""
    Repository.clone(folder, target, fs=FS).close()
    return listed(target)


def gc(folder: str) -> None:
    """Clean up."""
    with Repository(folder, fs=FS) as found:
        found.gc()


def fsck(folder: str) -> str:
    """Check."""
    with Repository(folder, fs=FS) as found:
        return str(found.fsck("data"))


def doctor(folder: str) -> Any:
    """Look at the ground."""
    return probe(Path(folder), FS).model_dump(mode="json")


def write_somehow(folder: str) -> list[str]:
    """Try each verb that writes; returns what each was refused with."""
    with Repository(folder, fs=FS) as found:
        ids = [header.id for header in found.list_episodes()]
        verbs: list[Callable[[], object]] = [
            lambda: record(found, found.list_benchmarks()[0].id),
            lambda: found.store_artifact(b"x", ArtifactMetadata(name="x")),
            lambda: found.unpublish("walk"),
            lambda: found.remove(ids[:1]),
            lambda: found.add_remote("other", folder),
            lambda: found.pin("figure", ids[:1]),
        ]
        refused = []
        for verb in verbs:
            try:
                verb()
            except TupliError as err:
                refused.append(str(err))
        return refused


_KNOWN = {
    each.__name__: each
    for each in (
        make, work, pull, record_here, leave_a_journal, remove_here, listed, clone, gc, fsck,
        doctor, write_somehow,
    )
}  # fmt: skip


def _become(user: int, umask: int) -> None:
    os.setgroups([GROUP])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.umask(umask)


def main() -> None:
    """Serve until the input ends."""
    with TemporaryDirectory() as folder:
        whole_life(Path(folder), FS)  # loads what is loaded late
        probe(Path(folder), FS)
    for line in sys.stdin:
        user, umask, home, name, *arguments = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CONFIG_HOME"] = home
            _become(user, umask)
            options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
            try:
                told = {"value": _KNOWN[name](*arguments, **options)}
            except BaseException as err:  # noqa: BLE001 - it is told
                told = {"error": f"{type(err).__name__}: {err}"}
            with open(writing, "w") as out:
                json.dump(told, out)
            os._exit(0)
        os.close(writing)
        with open(reading) as answer:
            sys.stdout.write((answer.read() or '{"error": "died"}') + "\n")
        os.waitpid(child, 0)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
