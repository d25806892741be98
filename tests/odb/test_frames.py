"""Frames: sizes are checked first, and not one bit may change unnoticed."""

import json
import platform
import random
import subprocess
import sys
import tracemalloc
from textwrap import dedent
from zlib import crc32

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.odb.samples import flipped
from tupli_repo.odb.frames import (
    FAST_LEVEL,
    LEVEL,
    FrameError,
    compress,
    decompress,
    max_stored,
    peek,
)

RANDOM = random.Random(7)
CONTENTS = {
    "short": b"tupli blob 0 5\nhello",
    "json": json.dumps([{"step": n, "reward": str(n * 7)} for n in range(60)]).encode(),
    "text": " ".join(RANDOM.choices(["quick", "brown", "foxes", "jump", "over"], k=200)).encode(),
    "noise": RANDOM.randbytes(600),
    "bell": bytes(int(RANDOM.gauss(128, 9)) for _ in range(900)),
    "zeros": bytes(5000),
}


def sealed(frame: bytes) -> bytes:
    """Put a right seal behind any bytes, as somebody who means harm can."""
    return frame + b"\x54\x2a\x4d\x18\x04\0\0\0" + crc32(frame).to_bytes(4, "little")


def outcome(frame: bytes, max_bytes: int) -> bytes | None:
    try:
        return decompress(frame, max_bytes=max_bytes)
    except FrameError as err:
        message = str(err)
    assert "\n" not in message
    return None


@given(st.binary(min_size=1, max_size=4000))
@settings(deadline=None)
def test_content_comes_back(data: bytes) -> None:
    frame = compress(data)
    assert decompress(frame, max_bytes=len(data)) == data
    assert decompress(memoryview(frame), max_bytes=1 << 20) == data
    assert len(frame) <= max_stored(len(data))


def test_a_frame_is_zstd_with_its_size_and_checksum_and_then_the_seal() -> None:
    frame = compress(CONTENTS["json"])
    header = zstandard.get_frame_parameters(frame)
    assert (header.content_size, header.has_checksum) == (len(CONTENTS["json"]), True)
    assert frame == sealed(frame[:-12])
    assert zstandard.ZstdDecompressor().decompress(frame) == CONTENTS["json"]


@pytest.mark.parametrize("name", CONTENTS)
def test_no_flipped_bit_passes_unnoticed(name: str) -> None:
    data = CONTENTS[name]
    for at, damaged in flipped(compress(data), 0x01, 0x80, 0xFF):
        assert outcome(damaged, len(data)) is None, at


def test_zstd_alone_would_let_some_bits_pass() -> None:
    """This is why there is a seal."""
    data = CONTENTS["text"]
    unnoticed = [
        at
        for at, damaged in flipped(compress(data)[:-12], 0x80)
        if outcome(sealed(damaged), len(data)) is not None
    ]
    assert unnoticed


@pytest.mark.parametrize("name", ["short", "noise", "text"])
def test_a_cut_frame_is_no_frame(name: str) -> None:
    data = CONTENTS[name]
    frame = compress(data)
    assert all(outcome(frame[:size], len(data)) is None for size in range(len(frame)))


@pytest.mark.parametrize("extra", [b"\0", b"more", compress(b"another"), compress(b"x")[-12:]])
def test_nothing_may_follow_a_frame(extra: bytes) -> None:
    frame = compress(b"content")
    assert outcome(frame + extra, 100) is None
    assert outcome(sealed(frame[:-12] + extra), 100) is None


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_bytes_from_anywhere_raise_nothing_else(data: bytes) -> None:
    assert outcome(data, 1 << 20) is None
    outcome(sealed(data), 1 << 20)
    outcome(sealed(b"\x28\xb5\x2f\xfd" + data), 1 << 20)


@given(data=st.binary(min_size=1, max_size=300), cut=st.integers(0, 60), part=st.binary(max_size=8))
@settings(deadline=None)
def test_a_frame_made_wrong_on_purpose_never_surprises(data: bytes, cut: int, part: bytes) -> None:
    frame = compress(data)[:-12]
    crafted = frame[:cut] + part + frame[cut + len(part) :]
    found = outcome(sealed(crafted), 1 << 16)
    assert found is None or len(found) == zstandard.get_frame_parameters(crafted).content_size


def test_content_over_the_limit_is_refused() -> None:
    assert outcome(compress(bytes(100)), 99) is None
    assert outcome(compress(bytes(100)), 100) == bytes(100)


def test_a_frame_of_nothing_is_refused_whatever_it_hides() -> None:
    empty = compress(b"")
    assert outcome(empty, 100) is None
    assert outcome(sealed(empty[:6] + b"hidden"), 100) is None


@pytest.mark.parametrize(
    ("checksum", "size", "dictionary"),
    [(False, True, False), (True, False, False), (True, True, True)],
    ids=["without a checksum", "without its size", "with a dictionary"],
)
def test_a_frame_of_another_form_is_refused(
    *, checksum: bool, size: bool, dictionary: bool
) -> None:
    samples: list[bytes | bytearray | memoryview] = [
        b"sample %d of something" % (n % 97) * 3 for n in range(3000)
    ]
    words = zstandard.train_dictionary(1024, samples) if dictionary else None
    writer = zstandard.ZstdCompressor(
        write_checksum=checksum, write_content_size=size, dict_data=words
    )
    assert outcome(sealed(writer.compress(b"sample 3 of something")), 1 << 20) is None


def test_the_bits_without_meaning_in_a_header_are_zero() -> None:
    frame = bytearray(compress(b"content")[:-12])
    for bit in (0b1000, 0b1_0000):
        frame[4] ^= bit
        assert outcome(sealed(bytes(frame)), 100) is None
        frame[4] ^= bit


def test_a_huge_window_is_refused() -> None:
    window = (31 - 10) << 3  # 2 GiB
    header = b"\x28\xb5\x2f\xfd" + bytes([0b1100_0100, window]) + (1000).to_bytes(8, "little")
    assert outcome(sealed(header + b"\x01\0\0" + bytes(4)), 1 << 20) is None


@pytest.mark.parametrize("states", [1 << 30, 1 << 20, 100], ids=["1 GiB", "1 MiB", "100 bytes"])
def test_a_bomb_is_refused_before_it_takes_memory(states: int) -> None:
    """32 KiB that become 1 GiB, whatever size the header states."""
    block = b"\x02\0\x10\0"  # one byte, 128 KiB times
    last = b"\x03\0\x10\0"
    header = b"\x28\xb5\x2f\xfd" + bytes([0b1000_0100, 7 << 3]) + states.to_bytes(4, "little")
    bomb = sealed(header + block * 8191 + last + bytes(4))
    assert len(bomb) < 33 << 10
    tracemalloc.start()
    try:
        assert outcome(bomb, 1 << 20) is None
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()


def test_the_bomb_would_go_off_elsewhere() -> None:
    block, last = b"\x02\0\x10\0", b"\x03\0\x10\0"
    header = b"\x28\xb5\x2f\xfd" + bytes([0b1000_0000, 7 << 3]) + (4 << 20).to_bytes(4, "little")
    frame = header + block * 31 + last
    plain = zstandard.ZstdDecompressor().decompress(frame, max_output_size=100)
    assert plain == bytes(4 << 20)  # python-zstandard ignores the limit


def test_the_beginning_can_be_read_without_the_rest() -> None:
    data = b"tupli blob 0 400000\n" + RANDOM.randbytes(400_000)
    head = compress(data)[: 256 << 10]
    assert peek(head, size=64) == data[:64]
    assert peek(compress(b"short"), size=64) == b"short"
    with pytest.raises(FrameError):
        peek(b"not a frame at all", size=64)


def at_level(level: int, data: bytes) -> int:
    """Return how large a sealed frame of some level is."""
    return len(zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data)) + 12


def words(size: int) -> bytes:
    """Return text, of which trying hard makes much less."""
    random_words = RANDOM.choices(
        [b"quick ", b"brown ", b"foxes ", b"jump ", b"over "], k=size // 4
    )
    return b"".join(random_words)[:size]


@pytest.mark.parametrize(
    ("data", "level"),
    [
        (RANDOM.randbytes(300_000) + words(100_000), FAST_LEVEL),
        (RANDOM.randbytes(100_000) + words(300_000), LEVEL),  # it begins with noise only
        (words(20_000) + RANDOM.randbytes(300_000), LEVEL),
        (words(400_000), LEVEL),
        (RANDOM.randbytes(100_000) + words(20_000), LEVEL),  # it is not large
    ],
    ids=["noise", "noise-then-words", "words-then-noise", "words", "less"],
)
def test_only_what_is_large_and_mostly_noise_is_compressed_in_a_hurry(
    data: bytes, level: int
) -> None:
    assert at_level(FAST_LEVEL, data) != at_level(LEVEL, data)
    assert len(compress(data)) == at_level(level, data)
    assert decompress(compress(data), max_bytes=len(data)) == data


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others free memory otherwise")
def test_memory_that_was_freed_is_used_again() -> None:
    script = """
        import resource
        from tupli_repo.odb.frames import compress, decompress
        frame = compress(bytes(512 << 10))
        held = [decompress(frame, max_bytes=1 << 20) for _ in range(5)]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(50):
            held.clear()
            held += [decompress(frame, max_bytes=1 << 20) for _ in range(5)]
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        print((after - before) * resource.getpagesize() >> 20)
    """
    ran = subprocess.run(
        [sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 25  # of 125 MiB
