"""Loading what was loaded before: datasets that are kept in the user's cache.

A dataset's key stands for its episodes, in their order, and for the columns; the id of an episode
stands for every byte of it. Beside the columns the places of the episodes are kept, so that nothing
of the repository is read but the listing, and records when they are asked for.

Invariant: what is mapped is what would be decoded, bit for bit; which episodes there are, and that
none of them was removed, the listing has decided.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.catalog import Selection
from tupli_repo.codec.columns import MakeArray, make_array
from tupli_repo.codec.episode import decode_layout
from tupli_repo.config import Settings, effective_settings
from tupli_repo.errors import CorruptObjectError
from tupli_repo.materialised import DatasetCache, Entry, Making, datasets_folder
from tupli_repo.odb.files import FileSystem
from tupli_repo.odb.objects import ObjectId
from tupli_repo.repository.episodes import Episodes
from tupli_repo.repository.loading import LoadedEpisodes, Span, is_asked_for
from tupli_repo.repository.transitions import Numbers, steps_of

_VERSION = b"tupli dataset 2\n"
_MOST_NAMES = 3
Starts = Mapping[str, Sequence[int] | NDArray[np.int64]]


class Keeping:
    """Loads episodes from the cache where they are there, else from the store, and keeps them.

    Args:
        episodes: The episodes of the repository.
        cache: Where datasets are kept.
        name_of: Gives the name of a benchmark, by its id.
    """

    def __init__(
        self, episodes: Episodes, cache: DatasetCache, name_of: Callable[[str], str]
    ) -> None:
        self._episodes = episodes
        self._cache = cache
        self._name_of = name_of

    def load(self, selection: Selection, *, only: Collection[str] | None = None) -> LoadedEpisodes:
        """Return episodes that were found, with their columns, in order.

        Args:
            selection: The episodes.
            only: The columns that are wanted, or parents of them; all where None.

        Raises:
            CorruptObjectError: One is damaged.
            NotFoundError: A part of one is not here.
        """
        wanted = [None] if only is None else [None, only]
        keys = [dataset_key(selection.ids, names) for names in wanted]
        for key in keys:
            found = self._mapped(key, selection, only)
            if found is not None:
                return found
        making: list[Making] = []

        def begin(size_bytes: int) -> MakeArray:
            making.extend(filter(None, [self._cache.begin(keys[-1], size_bytes)]))
            return making[0].make if making else make_array

        try:
            stored = self._episodes.stored(selection)
            loaded = self._episodes.load_stored(stored, only=only, keep=begin)
            return self._kept(making[0], loaded, selection) if making else loaded
        except BaseException:
            for begun in making:
                begun.discard()
            raise

    def read_steps(
        self,
        selection: Selection,
        steps: Numbers,
        *,
        only: Collection[str] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return some steps of episodes, from the cache where they are there; see `read_steps`."""
        mapped = self._mapped(dataset_key(selection.ids, None), selection, None)
        if mapped is not None:
            return steps_of(mapped, steps, only)
        return self._episodes.read_steps(selection, steps, only)

    def _mapped(
        self, key: str, selection: Selection, only: Collection[str] | None
    ) -> LoadedEpisodes | None:
        entry = self._cache.get(key)
        if entry is None:
            return None
        try:
            return _from_entry(entry, selection, only, self._episodes)
        except (CorruptObjectError, KeyError, TypeError, ValueError, IndexError):
            self._cache.remove(key)
            return None

    def _kept(self, making: Making, loaded: LoadedEpisodes, selection: Selection) -> LoadedEpisodes:
        """The same episodes in arrays that are the user's own; the files are kept by and by."""
        spans = [
            span._replace(
                columns={
                    name: making.settle(array, f"{number}/{name}")
                    for name, array in span.columns.items()
                }
            )
            for number, span in enumerate(loaded.spans)
        ]
        layouts = [self._episodes.layout_body(span.layout_id) for span in spans]
        notes = {
            "columns": [list(span.columns) for span in spans],
            "layouts": [body.decode("latin-1") for body in layouts],
            "layout_ids": [span.layout_id for span in spans],
        }
        starts = [(list(span.columns), span.starts) for span in spans]
        more = partial(_beside, loaded.place_table, starts)
        self._cache.keep(making, title=self._title_of(selection), notes=notes, more=more)
        return LoadedEpisodes(
            loaded.ids,
            loaded.n_steps,
            spans=spans,
            places=loaded.places,
            described=self._episodes.describe,
        )

    def _title_of(self, selection: Selection) -> str:
        """What a dataset is, in a few words."""
        ids = sorted(selection.benchmarks)
        names = [self._name_of(oid) for oid in ids[:_MOST_NAMES]] + ["…"] * (len(ids) > _MOST_NAMES)
        steps = sum(selection.n_tuples)
        return f"{', '.join(names)}: {len(selection.ids)} episodes, {steps} steps"


def user_cache(settings: Settings | None = None, *, fs: FileSystem | None = None) -> DatasetCache:
    """Return the cache of this user's datasets.

    Args:
        settings: Those in force; the user's own where None.
        fs: The primitives; other ones in tests.

    Raises:
        InvalidInputError: The user's settings are malformed.
    """
    chosen = settings or effective_settings()
    return DatasetCache(
        datasets_folder(),
        max_bytes=chosen.cache_max_bytes,
        is_enabled=chosen.cache_enabled,
        fs=fs,
    )


def dataset_key(ids: Sequence[str], only: Collection[str] | None) -> str:
    """Return what a dataset is kept under: 64 hex digits.

    Args:
        ids: Its episodes, in order.
        only: The columns that are wanted, or parents of them; all where None.
    """
    names = json.dumps(None if only is None else sorted(set(only))).encode()
    return sha256(b"%s%s\n%s" % (_VERSION, names, bytes.fromhex("".join(ids)))).hexdigest()


def _beside(
    places: NDArray[np.int64],
    starts: Sequence[tuple[Sequence[str], Starts]],
) -> dict[str, NDArray[Any]]:
    """What is kept beside the columns, by label."""
    found: dict[str, NDArray[Any]] = {
        "places": np.array(places, dtype="<i8"),
    }
    for number, (names, at) in enumerate(starts):
        found[f"{number}#starts"] = np.array([at[name] for name in names], dtype="<i8")
    return found


def _from_entry(
    entry: Entry, selection: Selection, only: Collection[str] | None, episodes: Episodes
) -> LoadedEpisodes:
    """The episodes of an entry; raises where it does not fit them."""
    notes, arrays, n = entry.manifest.notes, entry.arrays, len(selection.ids)
    places = arrays["places"]
    if places.shape != (n, 2):
        raise ValueError(n)
    spans: list[Span] = []
    described = zip(notes["layout_ids"], notes["layouts"], notes["columns"], strict=True)
    for number, (layout_id, body, names) in enumerate(described):
        columns = {name: arrays[f"{number}/{name}"] for name in names}
        starts = dict(zip(names, arrays[f"{number}#starts"], strict=True))
        if any(starts[name][-1] != len(column) for name, column in columns.items()):
            raise ValueError(names)
        wanted = {name: column for name, column in columns.items() if is_asked_for(name, only)}
        spans.append(Span(layout_id, decode_layout(body.encode("latin-1")), wanted, starts))
    return LoadedEpisodes(
        [ObjectId(oid) for oid in selection.ids],
        np.array(selection.n_tuples, dtype=np.int64),
        spans=spans,
        places=np.asarray(places),
        described=episodes.describe,
    )
