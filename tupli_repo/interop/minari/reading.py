"""Minari's datasets in HDF5, Arrow or Parquet, in.

Minari itself is not needed: it asks for versions of other packages. Its metadata is kept with the
benchmark, so that a dataset goes back out as it came in.

Invariant: an episode has the values and dtypes that Minari reads of it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.episode import Steps
from tupli_repo.codec.infos import InfoColumns
from tupli_repo.errors import UnsupportedFormatError
from tupli_repo.interop.importing import (
    Source,
    benchmark_for,
    checked_name,
    existing,
    record_all,
    reference_scores,
    store_source,
)
from tupli_repo.interop.minari.arrow import read_arrow
from tupli_repo.interop.minari.hdf5 import read_hdf5
from tupli_repo.interop.minari.layout import (
    FORMATS,
    METADATA,
    ODD,
    Incoming,
    malformed,
    space_of_json,
    without,
)
from tupli_repo.interop.progress import OnProgress
from tupli_repo.repository import Repository
from tupli_repo.schema.interop import ImportReport

_COUNTS = {"total_episodes", "total_steps", "dataset_size"}
_LARGE = {"observation_space", "action_space", "env_spec", "eval_env_spec", "description"}


def import_minari(
    repository: Repository,
    path: str | Path,
    *,
    name: str | None = None,
    benchmark_id: str | None = None,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Record the episodes of a Minari dataset; durable when this returns.

    The metadata of the dataset and the specification of its environment become the text of a
    benchmark; no environment is made. Infos with T+1 rows are what ``reset`` returned and the T
    infos; infos of infos have keys like ``a/b``. Images that Minari keeps as JPEG are decoded. The
    episodes are by the dataset's authors; reference scores are in the benchmark's ``extra``.

    Args:
        repository: Where they go.
        path: The dataset's folder, with ``data`` in it or ``metadata.json``.
        name: What the benchmark is called; the dataset's id where None.
        benchmark_id: A benchmark that is here already; none is made then, and the dataset's own
            metadata is not kept.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        NotFoundError: There is nothing at ``path``, or ``benchmark_id`` is not here.
        UnsupportedFormatError: It is in another format, or does not tell its spaces.
        CorruptObjectError: It is no such dataset.
        MissingDependencyError: h5py or pyarrow, which its format takes, is not installed; Pillow,
            where there are images as JPEG.
        StorageIOError: The disk refused.
    """
    folder = existing(path)
    folder = folder if (folder / METADATA).exists() else existing(folder / "data")
    raw = _read_metadata(folder)
    observation_space = space_of_json(raw["observation_space"])
    action_space = space_of_json(raw["action_space"])
    kept = {key: value for key, value in raw.items() if key not in _COUNTS}
    oid = benchmark_for(
        repository,
        benchmark_id,
        lambda: store_source(
            repository,
            checked_name(raw["dataset_id"] if name is None else name),
            description=str(raw.get("description", "")),
            extra={
                "source": "minari",
                "minari": without(kept, _LARGE),
                **reference_scores(kept),
            },
            text={"format": "minari", "metadata": kept},
        ),
    )
    source = Source(
        format="minari",
        path=str(path),
        benchmark_id=oid,
        n_episodes=int(raw["total_episodes"]),
        observation_space=observation_space,
        action_space=action_space,
        author=_author(kept),
    )
    left_out: list[str] = []
    if benchmark_id is not None:
        left_out.append("the dataset's metadata, as the episodes are of a benchmark of yours")
    options: dict[str, Any] = {"jpeg": bool(raw.get("jpeg_encoding", True))}
    read = read_hdf5
    if raw["data_format"] != "hdf5":
        read, options["data_format"] = read_arrow, raw["data_format"]
    with closing(
        read(folder, source.n_episodes, observation_space, action_space, **options)
    ) as found:
        return record_all(repository, _episodes(found, left_out), source, left_out, on_progress)


def _episodes(found: Iterable[Incoming], left_out: list[str]) -> Iterator[Steps]:
    """The episodes that have steps, one after the other."""
    for number, episode in enumerate(found):
        if not len(episode.flags["rewards"]):
            left_out.append(f"episode {number}, which has no steps")
            continue
        about = dict(episode.about)
        seed, options = about.pop("seed", None), about.pop("options", None)
        infos, reset_info, odd = _infos(episode.infos, len(episode.flags["rewards"]))
        yield Steps(
            observations=episode.observations,
            actions=episode.actions,
            rewards=episode.flags["rewards"],
            terminated=episode.flags["terminations"],
            truncated=episode.flags["truncations"],
            infos=infos,
            reset_info=reset_info,
            metadata=about | ({ODD: odd} if odd else {}),
            seed=None if seed is None else int(seed),
            options=options,
        )


def _author(metadata: Mapping[str, Any]) -> str:
    """The dataset's authors in one line, in an order that does not depend on how they were kept."""
    author = metadata.get("author") or []
    return ", ".join(sorted(map(str, author if isinstance(author, list) else [author])))


def _read_metadata(folder: Path) -> dict[str, Any]:
    try:
        raw = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        dataset_id, data_format = raw["dataset_id"], raw.get("data_format", "hdf5")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise malformed(folder, err) from None
    if not isinstance(dataset_id, str):
        raise malformed(folder, f"its id is a '{type(dataset_id).__name__}'")
    if data_format not in FORMATS:
        raise UnsupportedFormatError(
            f"dataset '{dataset_id}' is in '{data_format}', which is not known here",
            hint="write it anew with Minari, with data_format='hdf5'",
        )
    if not {"observation_space", "action_space", "total_episodes"} <= raw.keys():
        raise UnsupportedFormatError(
            f"dataset '{dataset_id}' does not tell its spaces",
            hint="write it anew with Minari 0.5",
        )
    if not isinstance(raw["total_episodes"], int):
        raise malformed(folder, "it does not tell how many episodes it has")
    return {**raw, "data_format": data_format}


def _infos(
    flat: Mapping[str, Any], n_steps: int
) -> tuple[list[dict[str, Any]] | InfoColumns, dict[str, Any], dict[str, Any]]:
    """The infos of the steps, what ``reset`` returned, and what has rows for neither."""
    if not flat:
        return [{}] * n_steps, {}, {}
    typed: dict[str, NDArray[Any]] = {}
    texts: dict[str, list[str]] = {}
    reset_info: dict[str, Any] = {}
    odd: dict[str, Any] = {}
    for key, values in flat.items():
        is_array = isinstance(values, np.ndarray) and values.dtype.kind in "biufc"
        is_text = isinstance(values, list) and {*map(type, values)} == {str}
        extra = len(values) - n_steps if np.ndim(values) and (is_array or is_text) else -1
        if extra not in (0, 1):
            odd[key] = values
            continue
        if extra:
            reset_info[key] = values[0]
        if is_array:
            typed[key] = values[extra:]
        else:
            texts[key] = values[extra:]
    keys = list(texts)
    rows = [dict(zip(keys, row, strict=True)) for row in zip(*texts.values(), strict=True)]
    return InfoColumns(typed, rows or [{}] * n_steps), reset_info, odd
