"""Folders that PyTupli's FileStorage wrote: benchmarks, artifacts and episodes, in.

PyTupli's wrapper records with each action the observation that the step *returned*. So a tuple's
state is one step late, and the first observation, the one ``reset`` returned, is not in the folder.
As it stands, ``observations[t]`` is what followed ``actions[t]``. With ``shift`` each action stands
beside the observation it was taken in, and the last observation is known; the first action, whose
observation is lost, goes.

Invariant: nothing is moved unless it is asked for, and the report says how the states stand.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tupli_repo.codec.env.document import one_line
from tupli_repo.codec.episode import Steps
from tupli_repo.errors import CorruptObjectError, NotFoundError
from tupli_repo.interop.importing import Source, existing, record_all
from tupli_repo.interop.progress import OnProgress
from tupli_repo.repository import Repository
from tupli_repo.schema import ArtifactMetadata, BenchmarkMetadata, BenchmarkQuery
from tupli_repo.schema.interop import ImportReport

_STATES = "pytupli_states"
_WORDS = ("name", "description", "difficulty", "version")
_ABOUT_ARTIFACT = ".metadata.json"
_LATE = (
    "the first observation of each episode, which PyTupli did not record: states are those after"
    " the action; --shift puts each action beside the observation it was taken in"
)
_SHIFTED = "the first action of each episode, whose observation PyTupli did not record"


def import_pytupli(
    repository: Repository,
    path: str | Path,
    *,
    shift: bool = False,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Take over what is in a folder of PyTupli's FileStorage; durable when this returns.

    Benchmarks keep their text, which is never decoded here, and their words. Their ``extra`` and
    that of artifacts tell the ids they had as ``pytupli_id``, and by whom and when they were made
    as ``pytupli_created_by`` and ``pytupli_created_at``: here it is the user who stored them, now.
    Episodes keep their time, author and metadata; how their states stand is
    ``extra.pytupli_states`` of their benchmark: ``late`` or ``shifted``. Both ways may be imported,
    side by side.

    Args:
        repository: Where it goes.
        path: The folder, with ``benchmarks`` in it.
        shift: Whether to move the states to where they belong; see above.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        NotFoundError: There is no such folder, or an episode is of a benchmark that is not there.
        CorruptObjectError: A file is not as PyTupli writes it.
        EncodingError: Something in it cannot be stored.
        StorageIOError: The disk refused.
    """
    folder = existing(path)
    if not (folder / "benchmarks").is_dir():
        raise NotFoundError(
            f"'{path}' has no folder 'benchmarks'",
            hint="give the folder that was FileStorage's, for example '_local_storage'",
        )
    states = "shifted" if shift else "late"
    artifacts = {
        found["id"]: _store_artifact(repository, file, found)
        for file, found in _read_all(
            folder / "artifacts", f"*{_ABOUT_ARTIFACT}", {"id": str, "name": str}
        )
    }
    benchmarks = {
        found["id"]: _store_benchmark(repository, file, found, states)
        for file, found in _read_all(
            folder / "benchmarks",
            "*.json",
            {"id": str, "hash": str, "serialized": str, "metadata": dict},
        )
    }
    places: dict[str, list[Path]] = {oid: [] for oid in benchmarks}
    for file, found in _read_all(
        folder / "episodes", "*.json", {"id": str, "benchmark_id": str, "tuples": list}
    ):
        if found["benchmark_id"] not in places:
            raise NotFoundError(f"benchmark '{found['benchmark_id']}' of '{file}' is not there")
        places[found["benchmark_id"]].append(file)
    return _record(repository, str(path), benchmarks, places, len(artifacts), shift, on_progress)


def _record(
    repository: Repository,
    path: str,
    benchmarks: Mapping[str, str],
    places: Mapping[str, list[Path]],
    n_artifacts: int,
    shift: bool,  # noqa: FBT001
    on_progress: OnProgress | None,
) -> ImportReport:
    n_all = sum(map(len, places.values()))
    done = 0
    left_out: list[str] = [_SHIFTED if shift else _LATE] if n_all else []
    reports = []
    with repository.batch():
        for old, oid in benchmarks.items():
            before = done

            def tell(n: int, _: int, before: int = before) -> None:
                if on_progress is not None:
                    on_progress(before + n, n_all)

            source = Source(format="pytupli", path=path, benchmark_id=oid)
            steps = _episodes(places[old], left_out, shift=shift)
            reports.append(record_all(repository, steps, source, [], tell))
            done += len(places[old])
    return ImportReport(
        format="pytupli",
        source=path,
        benchmarks=tuple(dict.fromkeys(benchmarks.values())),
        n_artifacts=n_artifacts,
        n_episodes=sum(report.n_episodes for report in reports),
        n_steps=sum(report.n_steps for report in reports),
        n_new=sum(report.n_new for report in reports),
        left_out=(*left_out, *(one for report in reports for one in report.left_out)),
    )


def _episodes(files: list[Path], left_out: list[str], *, shift: bool) -> Iterator[Steps]:
    for file in files:
        found = _read(
            file, {"id": str, "created_at": str, "metadata": (dict, type(None)), "tuples": list}
        )
        tuples = found["tuples"]
        if len(tuples) <= shift:
            left_out.append(f"episode '{found['id']}', of which no step is left")
            continue
        moved = tuples[1:] if shift else tuples
        try:
            yield Steps(
                observations=[step["state"] for step in tuples],
                actions=[step["action"] for step in moved],
                rewards=[step["reward"] for step in moved],
                terminated=[step.get("terminal", False) for step in moved],
                truncated=[step.get("timeout", False) for step in moved],
                infos=[step.get("info") or {} for step in moved],
                metadata=found["metadata"] or {},
                created_at=_time(found["created_at"]),
                created_by=str(found.get("created_by") or ""),
                nonce=found["id"][:16].ljust(16, "0"),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as err:
            raise _malformed(file, err) from None


def _time(text: str) -> str:
    """A time of PyTupli's as ours are written; where it has no zone, it is taken for UTC."""
    time = datetime.fromisoformat(text)
    utc = time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}Z"


def _store_benchmark(repository: Repository, file: Path, found: dict[str, Any], states: str) -> str:
    words = found["metadata"]
    given = {key: words[key] for key in _WORDS if words.get(key) is not None}
    try:
        extra = {**(words.get("extra") or {}), **_origin(found), _STATES: states}
        query = BenchmarkQuery(
            hash=found["hash"] if states == "late" else f"{found['hash']}+{states}",
            serialized=found["serialized"],
            metadata=BenchmarkMetadata(**given, extra=extra),
        )
    except (TypeError, ValueError) as err:
        raise _malformed(file, err) from None
    return repository.store_benchmark(query).id


def _store_artifact(repository: Repository, file: Path, found: dict[str, Any]) -> str:
    """Store what lies beside a file that tells of it; its id is never taken for a path."""
    content = file.with_name(file.name.removesuffix(_ABOUT_ARTIFACT))
    if not content.is_file():
        raise CorruptObjectError("its metadata are there, and the artifact is not", path=content)
    try:
        metadata = ArtifactMetadata(
            name=found["name"],
            description=found.get("description") or "",
            extra={**(found.get("extra") or {}), **_origin(found)},
        )
    except (TypeError, ValueError) as err:
        raise _malformed(file, err) from None
    return repository.store_artifact(content, metadata).id


def _origin(found: Mapping[str, Any]) -> dict[str, str]:
    """What PyTupli said of a thing that it says by itself here."""
    told = {f"pytupli_{key}": found.get(key) for key in ("id", "created_by", "created_at")}
    return {key: str(value) for key, value in told.items() if value is not None}


def _read_all(
    folder: Path, pattern: str, needed: Mapping[str, Any]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in sorted(folder.glob(pattern)):
        yield file, _read(file, needed)


def _read(file: Path, needed: Mapping[str, Any]) -> dict[str, Any]:
    """What a file tells, in which the fields that are needed are of their types."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise _malformed(file, err) from None
    if not isinstance(found, dict):
        raise _malformed(file, "it is no dictionary")
    for key, kind in needed.items():
        if not isinstance(found.get(key), kind):
            why = f"its '{key}' is a '{type(found[key]).__name__}'" if key in found else None
            raise _malformed(file, why or f"it lacks '{key}'")
    return found


def _malformed(file: Path, why: object) -> CorruptObjectError:
    return CorruptObjectError(f"not as PyTupli writes it: {one_line(why)}", path=file)
