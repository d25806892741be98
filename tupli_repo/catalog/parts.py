"""What episodes consist of, so that they are loaded without reading their records.

Invariant: `PartsTable` gives back the parts that `encode_parts` was given.
"""

from collections.abc import Sequence
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from tupli_repo.catalog.rows import Parts

_COUNTS = Struct("<II")  # episodes, layouts
_ID_BYTES = 32
_ID_DIGITS = 64
_FINAL, _RAGGED = 1, 2


def encode_parts(found: Sequence[Parts]) -> bytes:
    """Return the parts of episodes as bytes."""
    layouts: dict[str, int] = {}
    codes = [layouts.setdefault(parts.layout, len(layouts)) for parts in found]
    flags = [_FINAL * parts.has_final | _RAGGED * parts.is_ragged for parts in found]
    counts = [len(parts.data) for parts in found]
    return b"".join(
        [
            _COUNTS.pack(len(found), len(layouts)),
            np.array(codes, "<u4").tobytes(),
            np.array(counts, "<u4").tobytes(),
            np.array(flags, "u1").tobytes(),
            bytes.fromhex("".join(layouts)),
            bytes.fromhex("".join(oid for parts in found for oid in parts.data)),
        ]
    )


class PartsTable:
    """The parts of some episodes.

    Args:
        data: What `encode_parts` wrote.

    Raises:
        ValueError: It is not.
    """

    def __init__(self, data: bytes) -> None:
        n, n_layouts = _COUNTS.unpack_from(data)
        at = _COUNTS.size
        self._codes: NDArray[np.uint32] = np.frombuffer(data, "<u4", n, at)
        counts = np.frombuffer(data, "<u4", n, at + 4 * n)
        self._flags: NDArray[np.uint8] = np.frombuffer(data, "u1", n, at + 8 * n)
        at += 9 * n
        self._ends = np.cumsum(counts, dtype=np.int64)
        ids = data[at:].hex()
        cut = [ids[i : i + _ID_DIGITS] for i in range(0, len(ids), _ID_DIGITS)]
        self._layouts, self._data = cut[:n_layouts], cut[n_layouts:]
        if len(self._data) != (int(self._ends[-1]) if n else 0):
            raise ValueError("the parts are not those that were written")

    def __len__(self) -> int:
        return len(self._codes)

    def parts(self, numbers: NDArray[np.int64]) -> list[Parts]:
        """Return the parts of some of the episodes, counted from 0."""
        ends = self._ends[numbers].tolist()
        before = numbers - 1
        starts = np.where(before < 0, 0, self._ends[before]).tolist()
        layouts = [self._layouts[code] for code in self._codes[numbers].tolist()]
        flags = self._flags[numbers]
        final, ragged = (flags & _FINAL > 0).tolist(), (flags & _RAGGED > 0).tolist()
        data = [tuple(self._data[a:b]) for a, b in zip(starts, ends, strict=True)]
        return list(map(Parts, layouts, data, final, ragged))
