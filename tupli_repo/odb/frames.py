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
FAST_LEVEL = -1
"""Of what is mostly noise it takes a few percent more, and half of the time both ways."""
_TRIED_BYTES = 192 << 10  # of less it would save little time: where it is short, it is small
_SAMPLE_BYTES = 16 << 10
_NOISE = 0.6  # so much and more of its size is what the fast level leaves of it
MAX_WINDOW_BYTES = 128 << 20
_SEAL = Struct("<III")  # the magic of a skippable frame, the length of what follows, CRC-32
_SEAL_MAGIC = 0x184D2A54
_IDLE: dict[int, deque[zstandard.ZstdCompressor]] = {
    level: deque(maxlen=8) for level in (LEVEL, FAST_LEVEL)
}
"""Contexts are expensive to make, and not safe to share: one is taken out while it is used."""
_PER_THREAD = local()  # the same for decompressing

# glibc gives back what was freed at the end of a heap, and fresh pages cost more than to decompress
# into them. It keeps twice as much as the largest piece of memory that has been given back so far.
bytes(4 << 20)


class FrameError(ValueError):
    """The bytes are not one whole sealed frame of the stated size; the caller knows the file."""


def compress(data: bytes) -> bytes:
    """Return one frame that states its content's size and carries its checksum, and its seal.

    Args:
        data: At least one byte.
    """
    return b"".join(compress_in_parts(data))


def compress_in_parts(data: bytes, *, is_draft: bool = False) -> tuple[bytes, bytes]:
    """Return the frame and the seal of `compress`, not joined: copying a large one takes time.

    Args:
        data: At least one byte.
        is_draft: Whether it will be compressed anew before long, and so is made fast.
    """
    frame = _at_level(FAST_LEVEL, data) if is_draft else _frame(data)
    return frame, _seal(frame)


def _frame(data: bytes) -> bytes:
    """A zstd frame, made fast where trying harder would gain little: where much of it is noise.

    The beginning tells first. It may tell wrong: a column begins with its noisiest bytes.
    """
    if len(data) >= _TRIED_BYTES:
        sample = memoryview(data)[:_SAMPLE_BYTES]
        if len(_at_level(FAST_LEVEL, sample)) >= _NOISE * len(sample):
            frame = _at_level(FAST_LEVEL, data)
            if len(frame) >= _NOISE * len(data):
                return frame
    return _at_level(LEVEL, data)


def _at_level(level: int, data: bytes | memoryview) -> bytes:
    try:
        context = _IDLE[level].pop()
    except IndexError:
        context = zstandard.ZstdCompressor(
            level=level, write_checksum=True, write_content_size=True
        )
    frame: bytes = context.compress(data)
    _IDLE[level].append(context)
    return frame


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
