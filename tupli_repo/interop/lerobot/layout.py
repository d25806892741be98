"""How LeRobot's datasets lie in files: features, Arrow columns, and the documents beside them.

A dataset is a folder. ``data/chunk-000/file-000.parquet`` has a row per frame, whole episodes one
after the other; ``meta/episodes/…`` a row per episode, which tells where its frames are and their
stats; ``meta/tasks.parquet`` the texts of the tasks; ``meta/info.json`` the features;
``meta/stats.json`` the stats of all.

Source: lerobot 0.4.4, ``datasets/utils.py`` and ``lerobot_dataset.py``; the same in 0.6.1.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.columns import ColumnSpec
from tupli_repo.codec.episode import Layout
from tupli_repo.codec.infos import INFO_PREFIX
from tupli_repo.codec.samples import escape, unescape
from tupli_repo.codec.spaces import LEAVES, Tree
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.lerobot.stats import Stats

VERSION = "v3.0"
CHUNK_SIZE = 1000
"""How many files a folder has at most."""

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

_INFO_NAMES = {"is_success": "next.success"}
_OBSERVATION, _ACTION = ("observation", "observation.state"), ("action", "action")
_IMAGE_CHANNELS = 3
_MOST_AXES = 5
_VIDEO_FILE_SIZE_IN_MB = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A column of the frames.

    Args:
        name: What LeRobot calls it.
        kind: ``number``, ``text`` or ``image``.
        dtype: Of numbers and images.
        shape: Of an item; ``(1,)`` for a single number, which is how LeRobot says it.
        column: Our column; empty for what LeRobot adds.
    """

    name: str
    kind: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = (1,)
    column: str = ""

    def described(self) -> dict[str, Any]:
        """Return what ``info.json`` says of it."""
        names = ["height", "width", "channels"] if self.kind == "image" else None
        words = {"image": "image", "text": "string"}
        dtype = words.get(self.kind, self.dtype.name)
        return {"dtype": dtype, "shape": list(self.shape), "names": names}


def number(name: str, dtype: str) -> Feature:
    """Return a feature of single numbers that is none of our columns."""
    return Feature(name=name, kind="number", dtype=np.dtype(dtype))


FLAGS = tuple(number(f"next.{name}", "bool") for name in ("terminated", "truncated", "done"))
FRAME = (
    number("timestamp", "float32"),
    *(number(name, "int64") for name in ("frame_index", "episode_index", "index", "task_index")),
)
"""What LeRobot adds to each frame itself."""


def features_of(layout: Layout) -> list[Feature]:
    """Return what episodes of a layout have for LeRobot, their infos excepted.

    Raises:
        InvalidInputError: LeRobot has no place for the observations, actions or rewards.
    """
    specs = {spec.name: spec for spec in layout.columns}
    found = [
        _feature(specs[name], is_text=is_text, names=_OBSERVATION)
        for name, is_text in _leaves(layout.observation, "observations")
    ]
    found += [
        _feature(specs[name], is_text=is_text, names=_ACTION)
        for name, is_text in _leaves(layout.action, "actions")
    ]
    found.append(_feature(specs["rewards"], is_text=False, names=("", "next.reward")))
    names = [feature.name for feature in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInputError(f"two parts of the spaces would be '{name}' for LeRobot")
        if not is_name(name):
            raise InvalidInputError(f"{name!a} is no name for LeRobot")
    return found


def is_name(text: str) -> bool:
    """Return whether a column can be called so: Unicode, and without NUL, where readers end it."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def info_feature(spec: ColumnSpec) -> Feature | None:
    """Return the feature of an info that is a typed column; None if LeRobot has no place for it.

    ``is_success`` is called ``next.success``, as in LeRobot's own datasets, others ``info.KEY``.
    """
    if not _is_plain(spec):
        return None
    key = unescape(spec.name.removeprefix(INFO_PREFIX))
    if not is_name(key):
        return None
    name = _INFO_NAMES.get(key) if spec.shape == () else None
    return Feature(
        name=name or f"info.{_dotted(key)}",
        kind="number",
        dtype=spec.dtype.newbyteorder("="),
        shape=spec.shape or (1,),
        column=spec.name,
    )


def _leaves(tree: Tree, name: str) -> Iterator[tuple[str, bool]]:
    """The columns of a space, and whether they are of texts."""
    if tree["type"] in LEAVES or tree["type"] == "Text":
        yield name, tree["type"] == "Text"
    elif tree["type"] in ("Dict", "Tuple"):
        parts = tree["spaces"] if tree["type"] == "Dict" else enumerate(tree["spaces"])
        for key, sub in parts:
            yield from _leaves(sub, f"{name}/{escape(str(key))}")
    else:
        raise InvalidInputError(
            f"'{name}' is of a {tree['type']} space, for which LeRobot has no place",
            hint="it takes arrays, numbers, texts, and Dict and Tuple of them",
        )


def _feature(spec: ColumnSpec, *, is_text: bool, names: tuple[str, str]) -> Feature:
    """The feature of a column of observations, actions or rewards."""
    first, alone = names
    _, _, path = spec.name.partition("/")
    part = _dotted(path)
    is_image = first == "observation" and _is_image(spec)
    if is_image:
        name = f"observation.images.{part}" if part else "observation.image"
    else:
        name = f"{first}.{part}" if part else alone
    if is_text:
        return Feature(name=name, kind="text", dtype=spec.dtype, column=spec.name)
    if not _is_plain(spec):
        raise InvalidInputError(
            f"'{spec.name}' is {spec.dtype}{list(spec.shape)}, for which LeRobot has no place"
        )
    return Feature(
        name=name,
        kind="image" if is_image else "number",
        dtype=spec.dtype.newbyteorder("="),
        shape=spec.shape or (1,),
        column=spec.name,
    )


def _is_plain(spec: ColumnSpec) -> bool:
    fits = spec.dtype.kind in "biuf" and spec.dtype.itemsize <= np.dtype(np.float64).itemsize
    return fits and len(spec.shape) <= _MOST_AXES and 0 not in spec.shape


def _is_image(spec: ColumnSpec) -> bool:
    has_axes = len(spec.shape) == 3 and spec.shape[-1] == _IMAGE_CHANNELS and 0 not in spec.shape
    return spec.dtype == np.uint8 and has_axes


def _dotted(path: str) -> str:
    """A column's path as LeRobot can have it, which knows no slash."""
    return unescape(path).replace("/", ".")


# ---- Arrow


def arrow_schema(pyarrow: Any, features: Sequence[Feature]) -> Any:
    """Return the schema of the frames, with what the package ``datasets`` reads of it."""
    about = {"info": {"features": {one.name: _for_datasets(one) for one in features}}}
    fields = [pyarrow.field(one.name, arrow_type(pyarrow, one)) for one in features]
    return pyarrow.schema(fields, metadata={"huggingface": json.dumps(about)})


def arrow_type(pyarrow: Any, feature: Feature) -> Any:
    """Return the type of a feature's items: that of LeRobot's own files."""
    if feature.kind == "image":
        return pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    if feature.kind == "text":
        return pyarrow.string()
    found = pyarrow.from_numpy_dtype(feature.dtype)
    if feature.shape == (1,):
        return found
    if len(feature.shape) == 1:
        return pyarrow.list_(found, feature.shape[0])
    for _ in feature.shape:
        found = pyarrow.list_(found)
    return found


def arrow_array(pyarrow: Any, feature: Feature, items: Any) -> Any:
    """Return items of a feature: an array of shape (N, *shape), or N texts or PNG files."""
    if feature.kind == "image":
        parts = [pyarrow.array(items, pyarrow.binary()), pyarrow.nulls(len(items), "string")]
        return pyarrow.StructArray.from_arrays(parts, ["bytes", "path"])
    if feature.kind == "text":
        return pyarrow.array(items, pyarrow.string())
    if feature.shape == (1,):
        return pyarrow.array(items.reshape(-1))
    if len(feature.shape) == 1:
        flat = pyarrow.array(items.reshape(-1))
        return pyarrow.FixedSizeListArray.from_arrays(flat, feature.shape[0])
    return nested(pyarrow, items)


def nested(pyarrow: Any, rows: NDArray[Any]) -> Any:
    """Return the rows of an array as lists (of lists) of numbers.

    Args:
        pyarrow: The package.
        rows: Shape (N, ...), of less than 2**31 numbers.
    """
    found = pyarrow.array(rows.reshape(-1))
    for size in reversed(rows.shape[1:]):
        ends = np.arange(0, len(found) + 1, size, dtype=np.int32)
        found = pyarrow.ListArray.from_arrays(ends, found)
    return found


def _for_datasets(feature: Feature) -> dict[str, Any]:
    if feature.kind == "image":
        return {"_type": "Image"}
    dtype = feature.described()["dtype"]
    value = {"dtype": dtype, "_type": "Value"}
    if feature.shape == (1,):
        return value
    if len(feature.shape) == 1:
        return {"feature": value, "length": feature.shape[0], "_type": "Sequence"}
    n_axes = len(feature.shape)
    return {"shape": list(feature.shape), "dtype": dtype, "_type": f"Array{n_axes}D"}


# ---- documents


def info_document(
    features: Sequence[Feature],
    *,
    n_episodes: int,
    n_frames: int,
    n_tasks: int,
    fps: int,
    robot_type: str | None,
    data_files_size_in_mb: int,
) -> dict[str, Any]:
    """Return ``meta/info.json``."""
    return {
        "codebase_version": VERSION,
        "robot_type": robot_type,
        "total_episodes": n_episodes,
        "total_frames": n_frames,
        "total_tasks": n_tasks,
        "chunks_size": CHUNK_SIZE,
        "data_files_size_in_mb": data_files_size_in_mb,
        "video_files_size_in_mb": _VIDEO_FILE_SIZE_IN_MB,
        "fps": fps,
        "splits": {"train": f"0:{n_episodes}"},
        "data_path": DATA_PATH,
        "video_path": None,
        "features": {feature.name: feature.described() for feature in features},
    }


def stats_shape(feature: Feature, stat: str) -> tuple[int, ...]:
    """Return the shape that a stat of a feature has for LeRobot."""
    if stat == "count":
        return (1,)
    return (_IMAGE_CHANNELS, 1, 1) if feature.kind == "image" else (feature.shape[-1],)


def stats_document(feature: Feature, stats: Stats) -> dict[str, Any]:
    """Return what ``meta/stats.json`` says of a feature."""
    return {name: one.reshape(stats_shape(feature, name)).tolist() for name, one in stats.items()}


def tasks_table(pyarrow: Any, tasks: Sequence[str]) -> Any:
    """Return ``meta/tasks.parquet``, of which pandas takes the texts for the index."""
    index = "__index_level_0__"
    columns = [("task_index", "int64"), (index, "object")]
    about = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [
            {
                "name": None if name == index else name,
                "field_name": name,
                "pandas_type": "unicode" if name == index else dtype,
                "numpy_type": dtype,
                "metadata": None,
            }
            for name, dtype in columns
        ],
        "creator": {"library": "pyarrow", "version": pyarrow.__version__},
        "pandas_version": "2.0.0",
    }
    numbers = pyarrow.array(range(len(tasks)), pyarrow.int64())
    table = pyarrow.table({"task_index": numbers, index: pyarrow.array(tasks, pyarrow.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(about)})
