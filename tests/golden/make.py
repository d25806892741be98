"""Makes the golden repositories and the list of what must come out of them.

``python -m tests.golden.make FOLDER`` writes ``work.zip``, ``drive.zip``, ``walk.bundle``,
``labels.zip``, ``expected.json`` and ``labels.json`` into a folder. Those beside this file were
made once, when format 1 was settled; they are read for ever and never made again: a new format gets
golden repositories of its own.

Times, nonces and names are fixed, so a second run makes the same objects; the bytes of packs depend
on the version of zstd, the environment's document on that of gymnasium, and who stored it on what
(its provenance) on every byte of ``content.py``.

The story: ada records and publishes, pushes to a drive; ben clones it, records and pushes; both
have published, which is united; ada yanks a revision, takes an episode back, pins, removes, cleans.
"""

import json
import platform
import random
import sys
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from tests.golden.account import account_of, episodes_of
from tests.golden.content import (
    ADA,
    BEN,
    FIELD,
    OPAQUE_TEXT,
    WALK,
    FieldWrapper,
    Golden,
    episodes,
    large_file,
    new_field,
)
from tupli_repo.codec.values import dump_json
from tupli_repo.repository import Repository
from tupli_repo.schema import ArtifactMetadata, BenchmarkMetadata, BenchmarkQuery
from tupli_repo.storage import FileStorage

_OLDEST = (1980, 1, 1, 0, 0, 0)
_OURS = ("format.json", "config.toml", "objects", "packs", "refs", "trash")


def main(folder: Path) -> None:
    """Make everything anew in a folder, which is made, too."""
    folder.mkdir(parents=True)
    _fix_what_differs()
    expected = _play(folder)
    text = json.dumps(expected, indent=0, sort_keys=True, separators=(",", ":"))
    (folder / "expected.json").write_text(text + "\n")
    labels = json.dumps(_annotate(folder), indent=1, sort_keys=True)
    (folder / "labels.json").write_text(labels + "\n")


def _annotate(folder: Path) -> dict[str, Any]:
    """Say something of episodes twice, publish some of it; returns what a drive shows of each."""
    drive, todo = folder / "labels", episodes()
    FileStorage.init(drive, bare=True).close()
    ada = _opened(folder / "labelling", ADA)
    walk = _store_walk(ada)
    ids = [_record(ada, todo[name], walk) for name in ("walk-0", "walk-1")]
    ada.annotate(ids, {"success": True, "quality": "good", "wind": float("nan"), "n": 3})
    ada.publish(walk, episodes=True)
    ada.annotate(ids[:1], {"quality": "散步", "n": None, "seen": [1, {"by": "ben"}]})
    ada.publish(walk)
    ada.push(str(drive))
    _write_zip(drive / ".tupli", folder / "labels.zip")
    with FileStorage(drive) as hub:
        hub.annotate(ids, {"stray": "nothing published leads to it"})
        shown = {header.id: header.metadata for header in hub.list_episodes()}
    told: dict[str, Any] = json.loads(dump_json(shown))
    return told


def _play(folder: Path) -> dict[str, Any]:
    drive, lab = folder / "drive", folder / "work"
    FileStorage.init(drive, bare=True).close()
    todo = episodes()
    called: dict[str, str] = {}
    ada = _opened(lab, ADA)
    benchmarks = {WALK: _store_walk(ada), FIELD: _store_field(ada)}

    def record(who: Repository, *names: str) -> list[str]:
        for name in names:
            called[name] = _record(who, todo[name], benchmarks[todo[name].benchmark])
        return [called[name] for name in names]

    large = ada.store_artifact(large_file(), ArtifactMetadata(name="large", extra={"pieces": 3}))
    spare = ada.store_artifact(b"nobody needs this", ArtifactMetadata(name="spare"))
    kept = ada.store_artifact(b"", ArtifactMetadata(name="empty", description="no bytes"))
    first = record(ada, "box", "walk-0", "walk-1")
    ada.close()
    ada.publish_episodes(first, message="the first")
    ada.publish(benchmarks[FIELD], episodes=record(ada, "pixels"), artifacts=[large.id])
    ada.publish(kept.id, group="lab", licence="CC-BY-4.0", citation="Ada, 2026")
    ada.push(str(drive))

    FileStorage.clone(drive, folder / "ben").close()
    ben = _opened(folder / "ben", BEN)
    ben.publish_episodes(record(ben, "walk-2"))
    ben.push(str(drive))
    ada.publish_episodes(record(ada, "walk-3"))
    ada.pull(str(drive))  # makes the union
    ada.publish(benchmarks[FIELD], episodes=record(ada, "everything"), message="too early")
    ada.yank(f"{FIELD}@2", why="the text is wrong")
    ada.unpublish(WALK, episodes=[called["walk-0"]], message="not ours")
    chosen = [called[name] for name in ("box", "walk-1", "everything")]
    ada.pin("train", chosen, message="mine")
    ada.publish("train", group="lab", as_name="shared")
    ada.push(str(drive))
    ada.bundle([f"{WALK}@{n}" for n in _ends(ada, WALK)], folder / "walk.bundle")

    ada.pin("own", [called["box"]])
    ada.delete_episode(record(ada, "walk-4")[0])
    ada.remove([record(ada, "walk-5")[0], spare.id], why="by mistake")
    ada.restore([called["walk-5"]])
    ada.close()
    ada.gc(grace=timedelta(0))
    record(ada, "floats", "nested", "untold", "shapes")
    ada.flush()  # and its journal stays

    for name in ("work", "drive"):  # before anybody opens the drive
        _write_zip(folder / name / ".tupli", folder / f"{name}.zip")
    with FileStorage.clone(folder / "walk.bundle", folder / "clone") as clone:
        bundle = account_of(clone)
    shared = ("episodes", "names", "revisions")  # the rest is as in ada's
    return {
        "called": called,
        "benchmarks": benchmarks,
        "episodes": episodes_of(ada),
        "work": account_of(ada),
        "drive": {key: account_of(FileStorage(drive))[key] for key in (*shared, "format")},
        "bundle": {key: bundle[key] for key in shared},
    }


def _ends(who: Repository, name: str) -> list[str]:
    return [item.revision for item in who.log(name) if item.is_head]


def _opened(folder: Path, user: str) -> FileStorage:
    with FileStorage(folder) as made:
        made.settings_file.set("user.name", user)
    return FileStorage(folder)


def _store_walk(who: Repository) -> str:
    words = BenchmarkMetadata(name=WALK, description="Ein Spaziergang, 散步", version="1.2")
    query = BenchmarkQuery(hash="0" * 64, metadata=words, serialized=OPAQUE_TEXT)
    return who.store_benchmark(query).id


def _store_field(who: FileStorage) -> str:
    wrapped = FieldWrapper(new_field(), who)
    return wrapped.store(FIELD, difficulty="hard", metadata={"wind": float("nan")})


def _record(who: Repository, one: Golden, benchmark: str) -> str:
    found = who.record(
        one.steps,
        benchmark,
        observation_space=one.observation_space,
        action_space=one.action_space,
        strict=True,
    )
    assert who.settings.user_name == one.user
    return found.id


def _fix_what_differs() -> None:
    """Give every module of ours clocks and generators that tell the same each time."""
    ticks, bits = count(), random.Random(1)
    fixed = {
        "utc_now": lambda: f"2026-01-01T00:00:{next(ticks):02d}.000000Z",
        "token_hex": lambda n: bits.randbytes(n).hex(),
        "uuid4": lambda: UUID(bytes=bits.randbytes(16), version=4),
    }
    for name, module in list(sys.modules.items()):
        for attribute, made in fixed.items():
            if name.startswith("tupli_repo") and hasattr(module, attribute):
                setattr(module, attribute, made)
    platform.python_version = lambda: "3.11.7"
    platform.system = lambda: "Linux"
    platform.machine = lambda: "x86_64"


def _write_zip(root: Path, target: Path) -> None:
    """Write a repository's files into an archive that says nothing of when and where."""
    with ZipFile(target, "w", ZIP_STORED) as archive:
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root)
            if path.is_file() and inside.parts[0] in _OURS:
                info = ZipInfo(f".tupli/{inside.as_posix()}", _OLDEST)
                info.external_attr = 0o644 << 16
                archive.writestr(info, path.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
