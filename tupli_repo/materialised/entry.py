"""One kept dataset: a folder of `.npy` files, and the manifest that says what they are.

An array without bytes has no file. The name of the folder is the dataset's key.

Invariant: what `open_entry` returns has the key that was asked for and the names, dtypes, shapes
and sizes of the manifest, or it raises. Whether the bytes are those that were written, only
`check_entry` knows.
"""

import json
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tupli_repo.codec.values import dtype_name, parse_dtype
from tupli_repo.errors import CorruptObjectError
from tupli_repo.materialised.mappings import map_private
from tupli_repo.odb.files import FileSystem, RepositoryFiles

FORMAT = 1
MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 64 << 20
_READ_BELOW_BYTES = 64 << 10  # a mapping costs a file descriptor, and a page at least
_CHUNK_BYTES = 1 << 20


class DamagedEntryError(Exception):
    """What is kept is not what its manifest says: it is to be removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptArray:
    """What a manifest says of one array.

    Attributes:
        label: What the array is called.
        dtype: Its dtype, in little-endian byte order.
        shape: Its shape.
        sha256: Of its file, 64 hex digits; empty where it has no bytes, and thus no file.
    """

    label: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    sha256: str = ""

    @property
    def n_bytes(self) -> int:
        """The size of the array, in bytes."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def header(self) -> bytes:
        """What stands before its bytes in the file."""
        return npy_header(self.dtype, self.shape)

    @property
    def file_bytes(self) -> int:
        """The size of its file."""
        return len(self.header) + self.n_bytes if self.n_bytes else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an entry consists of.

    Attributes:
        key: The dataset's key, 64 hex digits.
        title: What it is, for people.
        arrays: Its arrays; the n-th lies in the n-th file.
        notes: What whoever keeps it wants to know again, as JSON.
    """

    key: str
    title: str
    arrays: tuple[KeptArray, ...]
    notes: dict[str, Any]

    def dump(self) -> bytes:
        """Return the file's bytes."""
        arrays = [
            [a.label, dtype_name(a.dtype, name=a.label), list(a.shape), a.sha256]
            for a in self.arrays
        ]
        words = {"tupli_dataset": FORMAT, "key": self.key, "title": self.title}
        return json.dumps({**words, "arrays": arrays, "notes": self.notes}).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Return what the bytes say.

        Raises:
            DamagedEntryError: They are malformed, or of another version.
        """
        try:
            found = json.loads(data)
            arrays = tuple(_parsed(*array) for array in found["arrays"])
            version, key, title, notes = (
                found[word] for word in ("tupli_dataset", "key", "title", "notes")
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            raise DamagedEntryError("its manifest is malformed") from None
        except CorruptObjectError as err:
            raise DamagedEntryError(f"its manifest is malformed: {err.reason}") from None
        words = isinstance(key, str) and isinstance(title, str) and isinstance(notes, dict)
        if version != FORMAT or not words:
            raise DamagedEntryError("its manifest is malformed")
        return cls(key=key, title=title, arrays=arrays, notes=notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A kept dataset that was opened.

    Attributes:
        manifest: What it consists of.
        arrays: By label; they are the caller's, who may write into them: the files stay.
    """

    manifest: Manifest
    arrays: Mapping[str, NDArray[Any]]


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what stands before an array's bytes in a `.npy` file, a multiple of 64 bytes."""
    header = BytesIO()
    words = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(header, words)
    return header.getvalue()


def file_name(number: int) -> str:
    """Return the name of the n-th array's file."""
    return f"{number:03d}.npy"


def read_manifest(folder: Path, fs: FileSystem) -> Manifest:
    """Return the manifest of the entry in a folder.

    Raises:
        FileNotFoundError: There is none.
        DamagedEntryError: It is malformed, or that of another entry.
        StorageIOError: The operating system refused.
    """
    data = RepositoryFiles(folder, fs).read(folder / MANIFEST, max_bytes=_MAX_MANIFEST_BYTES)
    manifest = Manifest.parse(data)
    if manifest.key != folder.name:
        raise DamagedEntryError("its manifest is that of another one")
    return manifest


def open_entry(folder: Path, fs: FileSystem) -> Entry:
    """Return what is kept in a folder, mapped: nothing is read until it is looked at.

    Raises:
        FileNotFoundError: There is none.
        DamagedEntryError: It is not what its manifest says.
        StorageIOError: The operating system refused.
        OSError: It refused the mapping.
    """
    manifest = read_manifest(folder, fs)
    arrays = {
        kept.label: _opened(folder / file_name(number), kept, fs)
        for number, kept in enumerate(manifest.arrays)
    }
    return Entry(manifest=manifest, arrays=arrays)


def check_entry(folder: Path, fs: FileSystem, on_bytes: Callable[[int], None]) -> None:
    """Read a whole entry and hold it against its manifest.

    Args:
        folder: Where it is.
        fs: The primitives.
        on_bytes: Told how much was read.

    Raises:
        FileNotFoundError: There is none.
        DamagedEntryError: It is not what was written.
        StorageIOError: The operating system refused.
    """
    manifest, files = read_manifest(folder, fs), RepositoryFiles(folder, fs)
    for number, kept in enumerate(manifest.arrays):
        name = file_name(number)
        if not kept.n_bytes:
            continue
        try:
            with files.open(folder / name) as (descriptor, size):
                is_right = size == kept.file_bytes
                is_right = is_right and hash_of(fs, descriptor, size, on_bytes) == kept.sha256
        except FileNotFoundError:
            raise DamagedEntryError(f"its file '{name}' is missing") from None
        if not is_right:
            raise DamagedEntryError(f"its file '{name}' holds other bytes than were written")


def hash_of(
    fs: FileSystem, descriptor: int, size: int, on_bytes: Callable[[int], None] = lambda _: None
) -> str:
    """Return the SHA-256 of an open file's first bytes, 64 hex digits."""
    digest = sha256()
    for at in range(0, size, _CHUNK_BYTES):
        data = fs.read(descriptor, min(_CHUNK_BYTES, size - at), at)
        digest.update(data)
        on_bytes(len(data))
    return digest.hexdigest()


def array_in(
    memory: "mmap.mmap | bytearray", shape: tuple[int, ...], dtype: np.dtype[Any], offset: int
) -> NDArray[Any]:
    """Return the array that lies in some memory behind its header."""
    return np.ndarray(shape, dtype, buffer=memory, offset=offset)


def _opened(path: Path, kept: KeptArray, fs: FileSystem) -> NDArray[Any]:
    if not kept.n_bytes:
        return np.zeros(kept.shape, kept.dtype)
    header = kept.header
    memory: mmap.mmap | bytearray
    try:
        with RepositoryFiles(path.parent, fs).open(path) as (descriptor, size):
            if size != kept.file_bytes:
                raise DamagedEntryError(f"its file '{path.name}' has another size")
            if size < _READ_BELOW_BYTES:
                memory = bytearray(fs.read(descriptor, size, 0))
            else:
                memory = map_private(fs, descriptor, size)
    except FileNotFoundError:
        raise DamagedEntryError(f"its file '{path.name}' is missing") from None
    except ValueError:  # it has become shorter meanwhile
        raise DamagedEntryError(f"its file '{path.name}' has another size") from None
    if len(memory) != size or memory[: len(header)] != header:
        raise DamagedEntryError(f"its file '{path.name}' holds another array")
    return array_in(memory, kept.shape, kept.dtype, len(header))


def _parsed(label: object, dtype: object, shape: list[object], digest: object) -> KeptArray:
    if not isinstance(label, str) or not isinstance(digest, str):
        raise TypeError(label)
    lengths = tuple(n for n in shape if type(n) is int and n >= 0)
    if len(lengths) != len(shape):
        raise ValueError(shape)
    return KeptArray(label=label, dtype=parse_dtype(dtype), shape=lengths, sha256=digest)
