"""Minari's HDF5 storage: one file, with a group for each episode.

A group ``episode_N`` has an array for each of what an episode has: a group for a Dict, with
``_index_N`` for a Tuple, texts for a Text. Its attributes are the episode's metadata, where a part
of a part is ``a/b``: so are its options.

Invariant: what is read of a file that `HDF5Writer` wrote is what was written.

Source: minari 0.5.4, ``dataset/_storages/hdf5_storage.py``.
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items
from tupli_repo.codec.samples import Parted, escape, samples_from_columns
from tupli_repo.codec.spaces import Tree
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.minari.layout import (
    FLAGS,
    Incoming,
    Lose,
    Outgoing,
    decoded,
    hidden,
    is_image,
    is_name,
    malformed,
)
from tupli_repo.interop.paths import flattened, nested, unkept
from tupli_repo.optional import require

DATA = "main_data.hdf5"

_INDEX = "_index_"
_TOLD = {"id", "total_steps"}
_TRUSTED_BYTES = 16 << 20
"""What a dataset may have without a look at whether it is there."""


def read_hdf5(
    folder: Path,
    n_episodes: int,
    observation_space: Space[Any],
    action_space: Space[Any],
    *,
    jpeg: bool,
) -> Generator[Incoming, None, None]:
    """Iterate over the episodes of a dataset.

    Args:
        folder: Where its file is.
        n_episodes: How many there are.
        observation_space: The space of the observations.
        action_space: The space of the actions.
        jpeg: Whether images are JPEG.

    Raises:
        CorruptObjectError: It is not as Minari writes it.
        MissingDependencyError: h5py is not installed; Pillow, where there are images as JPEG.
    """
    h5py = require("h5py", needed_for="reading Minari's HDF5")
    try:
        file = h5py.File(folder / DATA, "r")
    except OSError as err:
        raise malformed(folder / DATA, err) from None
    with file:
        reader = _Reader(h5py, jpeg=jpeg)
        for number in range(n_episodes):
            try:
                group = reader.group(file.id, f"episode_{number}")
                episode = reader.episode(group, observation_space, action_space)
            except (KeyError, OSError, RuntimeError, AttributeError, TypeError, ValueError) as err:
                raise malformed(folder / DATA, err) from None
            yield episode


class _Reader:
    """Reads what lies in groups, by HDF5's own ids: h5py's objects take longer than the data.

    Args:
        h5py: The package.
        jpeg: Whether images are JPEG.
    """

    def __init__(self, h5py: Any, *, jpeg: bool) -> None:
        self._h5py = h5py
        self._jpeg = jpeg

    def episode(
        self, group: Any, observation_space: Space[Any], action_space: Space[Any]
    ) -> Incoming:
        """Return what lies in an episode's group.

        Raises:
            KeyError: It lacks something.
        """
        attributes = self.attributes(group, _TOLD)
        about = nested({key: _plain(value) for key, value in attributes.items()})
        return Incoming(
            observations=self.samples(group, "observations", observation_space),
            actions=self.samples(group, "actions", action_space),
            flags={name: self.array(group, name) for name in FLAGS},
            infos=self.infos(self.group(group, "infos")) if b"infos" in group else {},
            about=about,
        )

    def group(self, parent: Any, name: str) -> Any:
        """Return the id of a group.

        Raises:
            KeyError: There is none.
        """
        return self._h5py.h5g.open(parent, name.encode())

    def array(self, group: Any, name: str) -> NDArray[Any]:
        """Return a dataset of a group, whole.

        Raises:
            KeyError: There is none.
        """
        return self._read(self._h5py.h5d.open(group, name.encode()))

    def attributes(self, group: Any, but: Collection[str]) -> dict[str, Any]:
        """Return the attributes of a group, those that are left out excepted."""
        h5a, found = self._h5py.h5a, {}
        for i in range(h5a.get_num_attrs(group)):
            attribute = h5a.open(group, index=i)
            name = attribute.name.decode()
            if name in but:
                continue
            dtype = attribute.dtype
            if dtype.kind in "biuf" and attribute.shape == ():
                value = np.empty((), dtype)
                attribute.read(value)
                found[name] = value[()]
            else:
                found[name] = self._h5py.Group(group).attrs[name]
        return found

    def samples(self, group: Any, name: str, space: Space[Any]) -> Items:
        """Return the samples of a space that lie in a group, or in groups below it.

        Raises:
            KeyError: A part is missing.
        """
        if isinstance(space, spaces.Dict):
            below = self.group(group, name)
            return Parted({key: self.samples(below, key, s) for key, s in space.spaces.items()})
        if isinstance(space, spaces.Tuple):
            below = self.group(group, name)
            parts = enumerate(space.spaces)
            return Parted([self.samples(below, f"{_INDEX}{i}", part) for i, part in parts])
        values = self.array(group, name)
        if isinstance(space, spaces.Text):
            return [value.decode() for value in values.tolist()]
        if self._jpeg and is_image(space):
            return decoded(value.tobytes() for value in values)
        return values

    def infos(self, group: Any, parent: str = "") -> dict[str, Any]:
        """Return the infos below a group by path, ``a/b`` for a part of a part.

        Arrays are as they are, texts are lists; other things are as h5py gives them.
        """
        found: dict[str, Any] = {}
        for name in group:
            node = self._h5py.h5o.open(group, name)
            path = parent + name.decode()
            if isinstance(node, self._h5py.h5g.GroupID):
                found |= self.infos(node, f"{path}/")
                continue
            value: Any = self._read(node)
            if value.dtype == object and value.ndim == 1:
                items = value.tolist()
                value = [v.decode() for v in items] if {*map(type, items)} <= {bytes} else items
            found[path] = value if np.ndim(value) else value[()]
        return found

    def _read(self, node: Any) -> NDArray[Any]:
        everything = self._h5py.h5s.ALL
        if prod(node.shape) * node.dtype.itemsize > _TRUSTED_BYTES and not self._is_stored(node):
            raise ValueError(f"it has less than the {list(node.shape)} values that it tells of")
        values = np.empty(node.shape, node.dtype)
        if values.size:
            node.read(everything, everything, values)
        return values

    def _is_stored(self, node: Any) -> bool:
        """Whether all of a dataset is in the file: HDF5 makes up what is not, without an end."""
        properties = node.get_create_plist()
        if properties.get_layout() != self._h5py.h5d.CHUNKED:
            return bool(node.get_storage_size() >= prod(node.shape) * node.dtype.itemsize)
        rows = zip(node.shape, properties.get_chunk(), strict=True)
        return bool(node.get_num_chunks() == prod(-(-n // size) for n, size in rows))


class HDF5Writer:
    """Writes a dataset's file.

    Args:
        folder: Where it shall be.

    Raises:
        MissingDependencyError: h5py is not installed.
    """

    def __init__(self, folder: Path) -> None:
        h5py = require("h5py", needed_for="exporting to Minari")
        self._file = h5py.File(folder / DATA, "w", track_order=True)

    def write(self, episode: Outgoing, lose: Lose) -> None:
        """Write one episode; what HDF5 has no place for is told."""
        data = episode.data
        group = self._file.create_group(f"episode_{episode.number}", track_order=True)
        n, final = data.n_steps, data.record["final_observation"]
        if not final:
            lose("the last observation, which is not known")
        try:
            for name, tree, length in (
                ("observations", data.layout.observation, n + final),
                ("actions", data.layout.action, n),
            ):
                _write_samples(group, name, tree, data.columns, name, length)
            for name, column in FLAGS.items():
                _write_array(group, name, data.columns[column])
        except (TypeError, ValueError) as err:
            raise InvalidInputError(
                f"HDF5 has no place for episode {episode.number}: {err}"
            ) from None
        if episode.infos:
            into = group.create_group("infos", track_order=True)
            for key, values in episode.infos.items():
                _write_info(into, key, values, lose)
        self._write_about(group, episode.about, lose)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _write_about(self, group: Any, about: Mapping[str, Any], lose: Lose) -> None:
        told = flattened(about)
        under = hidden(told)
        for key, why in unkept(about).items():
            lose(f"'{key}' of the metadata, {why}")
        for key, value in told.items():
            is_long = key == "seed" and not -(2**63) <= value < 2**64
            if key in under or not is_name(key):
                lose(f"'{key}' of the metadata, which is no name in HDF5")
                continue
            try:  # a seed that no integer of HDF5 holds is a text, which Minari reads
                group.attrs[key] = str(value) if is_long else value
            except (TypeError, ValueError, RuntimeError, OSError, OverflowError):
                lose(f"'{key}' of the metadata, which HDF5 cannot hold")  # None, objects, 64 KiB


def _write_info(group: Any, key: str, values: Any, lose: Lose) -> None:
    try:
        column = np.asarray(values)
        if isinstance(values, list) and {*map(type, values)} == {str}:
            _write_texts(group, key, values)
        elif column.ndim:
            _write_array(group, key, column)
        else:
            group.create_dataset(key, data=column)
    except (TypeError, ValueError, OverflowError):
        lose(f"info '{key}', which HDF5 cannot hold")


def _write_samples(
    group: Any, name: str, tree: Tree, columns: Mapping[str, NDArray[Any]], column: str, length: int
) -> None:
    """Write the samples of columns as a dataset, or a group of datasets.

    Args:
        group: What it becomes a part of.
        name: What it is called there.
        tree: The space's tree, of which `json_of_space` knows every part.
        columns: The columns of the episode.
        column: The name of the samples' column, or what the names of their columns begin with.
        length: How many samples there are.
    """
    match tree["type"]:
        case "Dict":
            for key, _ in tree["spaces"]:
                if "/" in key or not is_name(key):
                    raise ValueError(f"'{key}' cannot be a name")
            part = group.create_group(name, track_order=True)
            for key, sub in tree["spaces"]:
                _write_samples(part, key, sub, columns, f"{column}/{escape(key)}", length)
        case "Tuple":
            part = group.create_group(name, track_order=True)
            for i, sub in enumerate(tree["spaces"]):
                _write_samples(part, f"{_INDEX}{i}", sub, columns, f"{column}/{i}", length)
        case "Text":
            _write_texts(group, name, list(samples_from_columns(tree, columns, column, length)))
        case _:
            _write_array(group, name, columns[column])


def _write_array(group: Any, name: str, values: NDArray[Any]) -> None:
    """Write an array to which rows may be added, as Minari does."""
    group.create_dataset(name, data=values, chunks=True, maxshape=(None, *values.shape[1:]))


def _write_texts(group: Any, name: str, texts: Sequence[str]) -> None:
    """Write texts as UTF-8, to which more may be added."""
    h5py = require("h5py", needed_for="exporting to Minari")
    group.create_dataset(
        name, data=list(texts), dtype=h5py.string_dtype(), chunks=True, maxshape=(None,)
    )


def _plain(value: Any) -> Any:
    """An attribute's value; Python's own where HDF5 made numpy's of it."""
    if isinstance(value, np.ndarray) and value.dtype == object:  # texts
        return value.tolist()
    is_own = isinstance(value, (np.bool_, np.float64, np.int64, np.uint64))
    return value.item() if is_own else value
