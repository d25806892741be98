"""A process that exchanges with whatever it is pointed at, one child for each verb.

It reads orders from its input, one JSON list a line: verb, remote, folder. For each it forks: the
child has its own memory to be measured, and seconds to live. What came of it is a line of output.
"""

import json
import os
import resource
import signal
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from tests.faults import HastyFileSystem
from tupli_repo.errors import TupliError
from tupli_repo.repository import Repository
from tupli_repo.schema import EpisodeHeader
from tupli_repo.schema.transfers import TransferReport

MOST_SECONDS = 30
_MOST_WAITING = 150  # beside others, on a slow machine
_ADDRESS_SPACE = 3 << 30
_IMPORTED: list[str] = []


class _Looking:
    """Sees what is looked for of the module that a hostile environment names."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] == "trap_lab":
            _IMPORTED.append(name)
        return None


def state_of(folder: Path) -> Any:
    """All that a repository shows: names with their episodes, and the values of each episode."""
    with Repository(folder, fs=HastyFileSystem()) as found:
        names = {
            item.name: sorted(header.id for header in found.episodes_of(item.name))
            for item in found.names()
            if len(item.current) == 1
        }
        headers = found.list_episodes()
        return [
            names,
            sorted(_values_of(found, header) for header in headers),
            sorted(header.id for header in found.list_benchmarks()),
        ]


def _values_of(found: Repository, header: EpisodeHeader) -> str:
    """An episode with its values, or why they cannot be read: of what came of others, some."""
    try:
        columns = found.load_episodes([header.id]).columns()
    except TupliError as err:
        return f"{header.id} cannot be read: {type(err).__name__}"
    values = {name: column.tolist() for name, column in sorted(columns.items())}
    return f"{header.model_dump(exclude={'published_in'})} {values}"


def _carry_out(verb: str, remote: str, folder: Path) -> dict[str, Any]:
    fs = HastyFileSystem()
    if verb == "clone":
        done: list[TransferReport] = []
        Repository.clone(remote, folder / "clone", on_done=done.append, fs=fs).close()
        return _of_report(done[0])
    with Repository(folder, fs=fs) as here:
        if verb == "status":
            (other,) = here.status().remotes
            return {"damaged": [other.error] if other.error else []}
        report: TransferReport = getattr(here, verb)("origin")
        return _of_report(report)


def _of_report(report: TransferReport) -> dict[str, Any]:
    return {
        "damaged": [*report.damaged, *report.incomplete],
        "names": [name.name for name in report.names],
    }


def _told(verb: str, remote: str, folder: Path) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    try:
        found = _carry_out(verb, remote, folder)
    except TupliError as err:
        found = {"error": type(err).__name__, "message": str(err), "damaged": []}
    except BaseException as err:  # noqa: BLE001 - that is what is looked for
        found = {"error": "unexpected", "message": f"{type(err).__name__}: {err}"[:500]}
    try:
        found["after"] = state_of(folder / "clone" if verb == "clone" else folder)
    except TupliError as err:
        found["after"] = f"{type(err).__name__}: {err}"
    found["imported"] = _IMPORTED
    return found


def main() -> None:
    """Serve until the input ends."""
    sys.meta_path.insert(0, _Looking())
    for line in sys.stdin:
        verb, remote, folder = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
            signal.alarm(_MOST_WAITING)  # what hangs dies of it
            with open(writing, "w") as out:
                json.dump(_told(verb, remote, Path(folder)), out)
            os._exit(0)
        os.close(writing)
        with open(reading) as answer:
            text = answer.read()
        _, status, used = os.wait4(child, 0)
        found = json.loads(text) if text else {"error": "unexpected", "message": f"died: {status}"}
        found["megabytes"] = used.ru_maxrss / 1024
        found["seconds"] = used.ru_utime + used.ru_stime
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
