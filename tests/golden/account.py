"""What a repository holds, as plain JSON: what must come out of a golden one for ever."""

import json
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.values import dump_json
from tupli_repo.repository import Repository


def account_of(repository: Repository) -> dict[str, Any]:
    """Return what a repository tells of everything in it but the content of its episodes."""
    log = repository.log()
    return {
        "format": repository.format.model_dump(mode="json"),
        "benchmarks": [
            {
                **_plain(header.model_dump()),
                "text": _hash(repository.load_benchmark(header.id).serialized.encode()),
                "provenance": [one.model_dump() for one in repository.provenance(header.id)],
            }
            for header in repository.list_benchmarks()
        ],
        "artifacts": [
            {**_plain(item.model_dump()), "bytes": _hash(repository.load_artifact(item.id))}
            for item in repository.list_artifacts()
        ],
        "episodes": {one.id: one.published_in for one in repository.episode_headers()},
        "names": {
            f"{name.group}/{name.kind}/{name.name}": [item.revision for item in name.current]
            for name in repository.names()
        },
        "log": [item.model_dump(mode="json", exclude_defaults=True) for item in log],
        "revisions": {
            item.revision: [header.id for header in repository.episodes_of(item.revision)]
            for item in log
            if not item.pending
        },
        "removed": sorted([kind.value, oid] for kind, oid in repository.removed()),
    }


def episodes_of(repository: Repository) -> dict[str, Any]:
    """Return what a repository tells of the content of its episodes, by their ids."""
    found = {}
    ids = [header.id for header in repository.episode_headers()]
    for header, data in repository.read_episodes(ids):
        found[header.id] = {
            "header": _plain(header.model_dump(exclude={"published_in"})),
            "columns": {name: told_of(column) for name, column in data.columns.items()},
            "infos": _hash(dump_json(list(data.infos))),
            "record": _hash(dump_json(data.record)),
        }
    return found


def told_of(column: NDArray[Any]) -> str:
    """Return dtype, shape and hash of a column."""
    shape = "x".join(map(str, column.shape))
    return f"{column.dtype.str} {shape} {_hash(np.ascontiguousarray(column).tobytes())}"


def missing_from(found: Any, due: Any, path: str = "") -> list[str]:
    """Return where what was found is not what is due; a dictionary may have more keys."""
    if isinstance(due, dict) and isinstance(found, dict):
        return [
            place
            for key, value in due.items()
            for place in missing_from(found.get(key, "nothing"), value, f"{path}/{key}")
        ]
    if isinstance(due, list) and isinstance(found, list) and len(due) == len(found):
        return [
            place
            for n, (one, other) in enumerate(zip(found, due, strict=True))
            for place in missing_from(one, other, f"{path}/{n}")
        ]
    return [] if type(found) is type(due) and found == due else [f"{path}: {found!r}, not {due!r}"]


def _plain(fields: Any) -> Any:
    return json.loads(dump_json(fields))


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
