"""Datasets as Minari's: written once, and opened by Minari itself.

Invariant: what Minari opens was written whole.
"""

from pathlib import Path
from typing import Any

from tupli_repo.curation import CuratedEpisodes
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.minari.about import dataset_id_of
from tupli_repo.interop.minari.writing import export_minari
from tupli_repo.interop.progress import OnProgress
from tupli_repo.optional import require


def minari_dataset(
    chosen: CuratedEpisodes,
    path: str | Path | None,
    dataset_id: str | None,
    data_format: str,
    on_progress: OnProgress | None,
) -> Any:
    """Return a ``minari.MinariDataset``; see `HandedOver.to_minari`."""
    minari = require("minari", needed_for="to_minari()")
    if path is None:
        if dataset_id is None:
            raise InvalidInputError(
                "to_minari() needs an id or a path",
                hint="for example to_minari(dataset_id='cartpole/expert-v0')",
            )
        roots = require("minari.storage.datasets_root_dir", needed_for="to_minari()")
        path = roots.get_dataset_path(dataset_id_of(dataset_id))
    export_minari(
        chosen, path, dataset_id=dataset_id, data_format=data_format, on_progress=on_progress
    )
    return minari.MinariDataset(Path(path) / "data")
