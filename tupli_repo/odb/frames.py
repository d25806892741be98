"""Zstandard frames that cannot surprise: sizes are checked before a byte is decompressed.

zstd's own checksum is one of the content, and some bits of a frame mean nothing to its decoder.
So each frame is followed by a seal, a skippable frame that holds the CRC-32 of the frame before
it: every flipped bit is noticed, and `zstd -d` reads on past it.

Invariant: `decompress` returns exactly the number of bytes the frame states, at most the limit
given, or raises `FrameError`; memory stays near that limit whatever the input. A frame of which
up to four bytes in a row were changed is never accepted.
"""

from collections import deque
from struct import Struct
from threading import local
from zlib import crc32

import zstandard

LEVEL = 3
MAX_WINDOW_BYTES = 128 << 20
_SEAL = Struct("<III")  # the magic of a skippable frame, the length of what follows, CRC-32
_SEAL_MAGIC = 0x184D2A54
_IDLE: deque[zstandard.ZstdCompressor] = deque(maxlen=8)
"""Contexts are expensive to make, and not safe to share: one is taken out while it is used."""
_PER_THREAD = local()  # the same for decompressing


class FrameError(ValueError):
    """The bytes are not one whole sealed frame of the stated size; the caller knows the file."""


def compress(data: bytes) -> bytes:
    """Return one frame that states its content's size and carries its checksum, and its seal.

    Args:
        data: At least one byte.
    """
    try:
        context = _IDLE.pop()
    except IndexError:
        context = zstandard.ZstdCompressor(
            level=LEVEL, write_checksum=True, write_content_size=True
        )
    frame: bytes = context.compress(data)
    _IDLE.append(context)
    return frame + _seal(frame)


def max_stored(raw_bytes: int) -> int:
    """Return a bound on what `compress` makes of so many bytes (zstd's own, and the seal)."""
    return raw_bytes + (raw_bytes >> 8) + 1024


def _seal(frame: bytes | memoryview) -> bytes:
    return _SEAL.pack(_SEAL_MAGIC, 4, crc32(frame))


def decompress(frame: bytes | memoryview, *, max_bytes: int) -> bytes:
    """Return the content of exactly one frame.

    Args:
        frame: The whole frame with its seal and nothing behind it.
        max_bytes: The largest content that is acceptable.

    Raises:
        FrameError: It is no such frame, or its content would be larger.
    """
    frame, seal = frame[: -_SEAL.size], frame[-_SEAL.size :]
    if seal != _seal(frame):
        raise FrameError("its checksum is wrong")
    size = content_size(frame)
    if not 0 < size <= max_bytes:  # python-zstandard does not look into a frame of 0 bytes
        raise FrameError(f"it states {size} bytes of content, 1 to {max_bytes} may be")
    context = getattr(_PER_THREAD, "decompressor", None)
    if context is None:
        context = _PER_THREAD.decompressor = zstandard.ZstdDecompressor(
            max_window_size=MAX_WINDOW_BYTES
        )
    try:
        data: bytes = context.decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as err:
        raise FrameError(_one_line(err)) from None
    if len(data) != size:
        raise FrameError(f"it holds {len(data)} bytes of content and states {size}")
    return data


def peek(frame: bytes, *, size: int) -> bytes:
    """Return up to ``size`` bytes from the beginning of a frame that may be cut off."""
    reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).stream_reader(frame)
    try:
        return reader.read(size)
    except zstandard.ZstdError as err:
        raise FrameError(_one_line(err)) from None


def content_size(frame: bytes | memoryview) -> int:
    """Return how many bytes a frame says it holds.

    Raises:
        FrameError: The header is damaged, or is not as `compress` writes it.
    """
    try:
        header = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as err:
        raise FrameError(_one_line(err)) from None
    if not header.has_checksum or header.dict_id or frame[4] & 0b0001_1000:
        raise FrameError("its zstd header is not one this format uses")
    if header.window_size > MAX_WINDOW_BYTES or header.content_size >= 1 << 63:
        raise FrameError("its zstd header states no acceptable size")
    return header.content_size


def _one_line(err: Exception) -> str:
    return str(err).splitlines()[0]
