"""A dataset in the making: its arrays are filled in the very files they are kept in.

The files lie in a folder that nobody looks at. While they are filled they are shared memory; what
the user gets in the end is a private view of the same bytes, so that writing into it changes no
file. Then the files are hashed and made durable, and the folder gets its name.

Invariant: where the disk refuses anything, the arrays are as good as any, and nothing is kept;
whatever has an entry's name is durable to the last byte.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tupli_repo.materialised.entry import (
    MANIFEST,
    KeptArray,
    Manifest,
    array_in,
    file_name,
    hash_of,
)
from tupli_repo.materialised.mappings import map_private, map_shared
from tupli_repo.odb.files import FileSystem

_FILE_MODE = 0o600
_MAX_FILES = 64


@dataclass(slots=True, kw_only=True)
class _Made:
    """An array that was made.

    Attributes:
        number: Of its file.
        kept: What the manifest will say of it.
        array: What is filled, until it is settled.
        descriptor: Its file, while that is open; None where it has none.
    """

    number: int
    kept: KeptArray
    array: NDArray[Any] | None = None
    descriptor: int | None = None


class Making:
    """The arrays of one dataset, and the files they are in.

    Use it as a context while the arrays are filled: an error there leaves nothing behind.

    Args:
        folder: Where the files are made; it exists, and goes where nothing comes of it.
        key: The dataset's key.
        max_bytes: More than that is not kept.
        fs: The primitives.
    """

    def __init__(self, folder: Path, key: str, *, max_bytes: int, fs: FileSystem) -> None:
        self.key = key
        self._folder = folder
        self._fs = fs
        self._left_bytes = max_bytes
        self._is_whole = True
        self._made: list[_Made] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.discard()

    @property
    def size_bytes(self) -> int:
        """The size of all files so far."""
        return sum(made.kept.file_bytes for made in self._made)

    def make(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array to be filled and then to be given to `settle`; see `MakeArray`."""
        made = self._added(KeptArray(label=name, dtype=dtype, shape=shape))
        if made.kept.n_bytes and self._is_whole:
            made.array = self._in_file(made)
            self._is_whole = made.array is not None
        if made.array is None:
            made.array = np.empty(shape, dtype)
        return made.array

    def settle(self, array: NDArray[Any], label: str) -> NDArray[Any]:
        """Return what the user gets in place of an array that has been filled.

        Args:
            array: One that `make` returned; nobody may write to it, or keep it, any more.
            label: What it is called among what is kept.
        """
        made = next(made for made in self._made if made.array is array)
        made.array, made.kept = None, replace(made.kept, label=label)
        if made.descriptor is None:
            return array
        kept = made.kept
        try:
            memory = map_private(self._fs, made.descriptor, kept.file_bytes)
        except (OSError, ValueError):
            self._is_whole = False
            return array.copy()
        return array_in(memory, kept.shape, kept.dtype, len(kept.header))

    def finish(
        self, final: Path, *, title: str, notes: dict[str, Any], more: Mapping[str, NDArray[Any]]
    ) -> bool:
        """Make everything durable, and give it its name; returns whether it is kept.

        Args:
            final: The entry's name; where there is one already, that one stays.
            title: What it is, for people.
            notes: What whoever keeps it wants to know again, as JSON.
            more: Arrays by label that are kept beside.
        """
        try:
            if self._is_whole:
                for label, array in more.items():
                    self._write(label, array)
                arrays = tuple(self._secured(made) for made in self._made)
                manifest = Manifest(key=self.key, title=title, arrays=arrays, notes=notes)
                self._write_manifest(manifest.dump())
                self._fs.fsync_folder(self._folder)
                self._fs.rename(self._folder, final)
                self._fs.fsync_folder(final.parent)
                return True
        except OSError:  # a full disk, or another process was first
            pass
        finally:
            self.discard()
        return False

    def discard(self) -> None:
        """Remove the files, as far as the disk lets us; the arrays stay as they are."""
        self._is_whole = False
        for made in self._made:
            with suppress(OSError):
                self._close(made)
        remove_folder(self._folder, self._fs)

    def _added(self, kept: KeptArray) -> _Made:
        made = _Made(number=len(self._made), kept=kept)
        self._made.append(made)
        return made

    def _create(self, made: _Made) -> int:
        path = self._folder / file_name(made.number)
        made.descriptor = self._fs.create(path, mode=_FILE_MODE)
        return made.descriptor

    def _in_file(self, made: _Made) -> NDArray[Any] | None:
        """An array in a file of its own; None where it cannot be."""
        kept = made.kept
        self._left_bytes -= kept.file_bytes
        if self._left_bytes < 0 or made.number >= _MAX_FILES:
            return None
        try:
            descriptor = self._create(made)
            self._fs.allocate(descriptor, kept.file_bytes)
            memory = map_shared(self._fs, descriptor, kept.file_bytes)
        except (OSError, ValueError, OverflowError):  # a full disk, or no mappings here
            with suppress(OSError):
                self._close(made)
            return None
        header = kept.header
        memory[: len(header)] = header
        return array_in(memory, kept.shape, kept.dtype, len(header))

    def _write(self, label: str, array: NDArray[Any]) -> None:
        made = self._added(KeptArray(label=label, dtype=array.dtype, shape=array.shape))
        if made.kept.n_bytes:
            descriptor = self._create(made)
            self._fs.write(descriptor, made.kept.header)
            self._fs.write(descriptor, array.tobytes())

    def _secured(self, made: _Made) -> KeptArray:
        """What is said of an array whose file, if it has one, is on the disk itself."""
        if made.descriptor is None:
            return made.kept
        digest = hash_of(self._fs, made.descriptor, made.kept.file_bytes)
        self._fs.fsync(made.descriptor)
        self._close(made)
        return replace(made.kept, sha256=digest)

    def _write_manifest(self, data: bytes) -> None:
        descriptor = self._fs.create(self._folder / MANIFEST, mode=_FILE_MODE)
        try:
            self._fs.write(descriptor, data)
            self._fs.fsync(descriptor)
        finally:
            self._fs.close(descriptor)

    def _close(self, made: _Made) -> None:
        if made.descriptor is not None:
            descriptor, made.descriptor = made.descriptor, None
            self._fs.close(descriptor)


def remove_folder(folder: Path, fs: FileSystem) -> bool:
    """Remove a folder of files, as far as the disk lets us; returns whether it is gone."""
    try:
        for name in fs.list_folder(folder):
            with suppress(FileNotFoundError):  # another process removes it, too
                fs.remove(folder / name)
        fs.remove_folder(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
