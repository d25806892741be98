"""The decoders that are fuzzed, each with valid inputs and a way to spoil them.

Checksums would stop most of what is spoilt at the door, so where there are any, a target that
computes them anew stands beside the one that does not.
"""

import json
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from gymnasium import spaces

from tests.faults import HastyFileSystem
from tests.fuzz.mutate import mutated, mutated_json
from tests.odb.samples import blob, encoded, record
from tests.odb.test_bundle import new_repository
from tupli_repo.codec.episode import EncodedEpisode, Steps, decode, decode_layout, encode
from tupli_repo.codec.episode_record import decode_record, encode_record
from tupli_repo.codec.records import (
    ArtifactBody,
    BenchmarkBody,
    Body,
    ProvenanceBody,
    ReleaseBody,
    TombstoneBody,
    parse_body,
)
from tupli_repo.codec.values import dump_json, load_json
from tupli_repo.config import RepositoryFormat
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb import block, frames
from tupli_repo.odb.bundle import BundleTransport, write_bundle
from tupli_repo.odb.files import FileStatus, FileSystem, RepositoryFiles
from tupli_repo.odb.journal import JournalFile
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.objects import decode as decode_object
from tupli_repo.odb.objects import encode as encode_object
from tupli_repo.odb.pack import FILE_MAGIC, TRAILER_BYTES, PackBuilder, parse_tail
from tupli_repo.odb.refs import Record, RefName, Yank, parse_record, parse_yank

PLACE = Path("/somewhere/.tupli/file")
NAME = RefName("global", "dataset", "some")
DAY = "2026-01-01T00:00:00.000000Z"


class Target(NamedTuple):
    """A decoder.

    Attributes:
        valid: Inputs that it takes.
        spoil: Makes one of them another, given a seed.
        read: Calls it.
    """

    valid: Sequence[bytes]
    spoil: Callable[[str, Sequence[bytes]], bytes]
    read: Callable[[bytes], object]


class Memory(FileSystem):
    """One file that lies in memory, under every name.

    Args:
        data: Its bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def status(self, path: Path) -> FileStatus:
        return FileStatus(
            size_bytes=len(self._data),
            mtime_ns=0,
            ctime_ns=0,
            inode=0,
            is_file=True,
            is_folder=False,
        )

    def open_read(self, path: Path) -> int:
        return -1

    def close(self, descriptor: int) -> None:
        pass

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        assert offset >= 0
        assert size >= 0
        return self._data[offset : offset + size]


# ---- valid inputs


def some_objects() -> list[Object]:
    """Objects of several kinds, a large one among them."""
    ids = [ObjectId(f"{n:064x}") for n in range(5)]
    return [
        blob(1),
        blob(2, 300),
        Object(kind=Kind.BLOB, body=bytes(range(256)) * 600),
        record(1, *ids[:3]),
        record(2),
        Object(kind=Kind.EPISODES, links=tuple(ids)),
        Object(kind=Kind.RELEASE, links=tuple(ids[:2]), body=b'{"name":"x"}'),
    ]


@lru_cache(maxsize=1)
def _pack() -> bytes:
    parts: list[bytes] = []
    builder = PackBuilder(parts.append)
    for obj in some_objects():
        builder.add(*encoded(obj))
    builder.finish()
    return b"".join(parts)


def _journal() -> bytes:
    parts = [FILE_MAGIC]
    for number in range(3):
        parts.append(block.encode(encode_object(blob(number)), records=False))
        parts.append(block.encode(encode_object(record(number)), records=True))
    return b"".join(parts)


@lru_cache(maxsize=1)
def _bundle() -> bytes:
    with TemporaryDirectory() as folder:
        root = new_repository(Path(folder) / "r")
        path = Path(folder) / "some.bundle"
        write_bundle(RepositoryFiles(root, HastyFileSystem()), path)
        return path.read_bytes()


@lru_cache(maxsize=1)
def _episodes() -> tuple[EncodedEpisode, ...]:
    box = spaces.Dict({"a": spaces.Box(-1, 1, (3,), np.float32), "b": spaces.Text(9)})
    few = Steps(
        observations=[{"a": np.zeros(3, np.float32), "b": "x" * n} for n in range(4)],
        actions=[0, 1, 1],
        rewards=[0.5, 1.0, float("nan")],
        terminated=[False, False, True],
        truncated=[False] * 3,
        infos=[{"t": 1, "odd": [1]}, {"t": 2}, {"t": 3, "x": np.ones(2)}],
        metadata={"who": "me", "n": 2**70},
        seed=7,
        created_at=DAY,
        nonce="0" * 16,
    )
    large = Steps(
        observations=[np.full((60, 60, 3), n, np.uint8) for n in range(30)],
        actions=[np.ones(2)] * 30,
        rewards=[1.0] * 30,
        terminated=[False] * 30,
        truncated=[False] * 30,
        infos=[{}] * 30,
        created_at=DAY,
        nonce="1" * 16,
    )
    return (
        encode(few, observation_space=box, action_space=spaces.Discrete(2)),
        encode(large, observation_space=spaces.Box(0, 255, (60, 60, 3), np.uint8)),
    )


def _layouts() -> list[bytes]:
    other = [
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(3),
        spaces.Tuple([spaces.Discrete(3, start=1), spaces.Box(0, 1, (2, 2))]),
        spaces.Sequence(spaces.Box(0, 1, (2,))),
        spaces.OneOf([spaces.Discrete(2), spaces.Box(0, 1, (1,))]),
        spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3)),
    ]
    found = [each.layout for each in _episodes()]
    for space in other:
        space.seed(1)
        found.append(
            encode(
                Steps(
                    observations=[space.sample() for _ in range(3)],
                    actions=[0, 1],
                    rewards=[0.0, 1.0],
                    terminated=[False, True],
                    truncated=[False, False],
                    infos=[{}, {}],
                ),
                observation_space=space,
                action_space=spaces.Discrete(2),
            ).layout
        )
    return found


# ---- spoiling what is inside of checksums


def _sealed(raw: bytes) -> bytes:
    return frames.compress(raw or b"\0")


def _respoilt_block(seed: str, valid: Sequence[bytes]) -> bytes:
    """A block whose objects, or whose stated sizes, are spoilt, and whose checksums are right."""
    raw = mutated(seed, [block.decode(data) for data in valid])
    frame = _sealed(raw)
    stated = len(raw) if len(seed) % 3 else len(raw) ^ 1
    head = struct.pack("<4sBII", b"BLK1", len(raw) % 2, len(frame), stated)
    return head + struct.pack("<I", crc32(head)) + frame


def _respoilt_tail(seed: str, valid: Sequence[bytes]) -> bytes:
    """A directory that is spoilt, compressed, with a trailer that is right or nearly so."""
    tail = valid[0]
    first, at, _, _, _, magic = struct.unpack("<QQII32s8s", tail[-TRAILER_BYTES:])
    raw = mutated(seed, [frames.decompress(tail[:-TRAILER_BYTES], max_bytes=1 << 20)])
    stored = _sealed(raw)
    fields = (first, at, len(stored), len(raw or b"\0"), sha256(raw or b"\0").digest(), magic)
    return stored + struct.pack("<QQII32s8s", *fields)


def _rezipped(seed: str, valid: Sequence[bytes]) -> bytes:
    """A bundle whose directory is spoilt."""
    data = valid[0]
    at = data.index(b"PK\x01\x02")
    return data[:at] + mutated(seed, [data[at:]])


# ---- calling


def _read_frame(data: bytes) -> None:
    try:
        frames.decompress(data, max_bytes=1 << 20)
    except frames.FrameError as err:  # each caller adds the file
        raise CorruptObjectError(str(err)) from None


def _read_block(data: bytes) -> None:
    raw = block.decode(data)
    list(block.split(raw, records=block.decode_block_header(data).records))


def _tail_of(data: bytes) -> bytes:
    (at,) = struct.unpack_from("<8xQ", data, len(data) - TRAILER_BYTES)
    return data[at:]


def _read_tail(data: bytes) -> None:
    size = len(_pack()) - len(_tail_of(_pack())) + len(data)
    directory = parse_tail(data, size)
    for oid in directory.ids():
        entry = directory.get(oid)
        assert entry is not None
        assert 0 <= entry.block < len(directory.blocks)


def _read_journal(data: bytes) -> None:
    journal = JournalFile(RepositoryFiles(PLACE.parent, Memory(data)), PLACE)
    journal.refresh()
    list(journal.read_many(journal.directory.ids()))


def _read_ref(data: bytes) -> None:
    said = as_json(data)
    generation = said.get("generation") if isinstance(said, dict) else 1
    generation = generation if isinstance(generation, int) and 0 < generation < 10**8 else 1
    digits = sha256(data).hexdigest()[:12]
    parse_record(NAME, data, PLACE.with_name(f"{generation:08d}-{digits}"))


def _read_bundle(data: bytes) -> None:
    transport = BundleTransport(PLACE, Memory(data))
    folders = ["objects", "packs", "refs"]
    while folders:
        for entry in transport.list(folders.pop()):
            if entry.is_folder:
                folders.append(entry.name)
            else:
                transport.read(entry.name, 0, min(entry.size, 1 << 20))


def _read_episode(data: bytes) -> None:
    """Record and layout of an episode, with data that fitted."""
    at = data.rindex(b"\n") if b"\n" in data else 0
    fields, layout = decode_record(data[:at]), decode_layout(data[at + 1 :])
    is_large = isinstance(fields.get("nonce"), str) and fields["nonce"][:1] == "1"
    found = decode(fields, layout, _episodes()[is_large].data)
    list(found.observations), list(found.infos)


def _read_columns(data: bytes) -> None:
    one = _episodes()[0]
    decode(one.record, decode_layout(one.layout), [data, *one.data[1:]])


def _body(model: type[Body]) -> Callable[[bytes], object]:
    return lambda data: parse_body(model, data)


_ID = "a" * 64
_BODIES: list[Body] = [
    BenchmarkBody(name="b", hash="h", env_format="tupli", extra={"x": [1, 2.5]}, n_artifacts=1),
    BenchmarkBody(name="b", hash="h", env_format="tupli", n_artifacts=1, evaluation=_ID),
    ArtifactBody(name="a", hash=_ID, size=3),
    ProvenanceBody(subject=_ID, created_by="me", created_at=DAY, packages={"numpy": "2"}),
    TombstoneBody(repository="r", hides=[_ID], created_by="me", created_at=DAY, nonce="0" * 16),
    ReleaseBody(name="r", group="global", kind="dataset", created_at=DAY, digest=_ID, n_episodes=2),
]
_RECORDS = [
    Record(NAME, 1, (), ObjectId(_ID)).dump(),
    Record(NAME, 2, ("b" * 64,), ObjectId(_ID)).dump(),
]
_FORMAT = RepositoryFormat(id="x").dump()


def targets() -> dict[str, Target]:
    """Return every decoder by its name."""
    objects = [encode_object(obj) for obj in some_objects()]
    blocks = [
        block.encode(objects[0] + objects[1], records=False),
        block.encode(objects[3] + objects[4], records=True),
        block.encode(objects[2], records=False),
    ]
    tail = _tail_of(_pack())
    records = [
        encode_record({"created_at": DAY, "created_by": "me", "nonce": str(n) * 16, **one.record})
        for n, one in enumerate(_episodes())
    ]
    layouts = [one.layout for one in _episodes()]
    together = [b"\n".join(pair) for pair in zip(records, layouts, strict=True)]
    values = [
        dump_json(
            {
                "a": np.arange(3),
                "b": [float("nan"), 2**80, b"x", (1, 2), "\ud800"],
                "c": {1: 2, "#f": np.float32(1)},
            }
        )
    ]
    found = {
        "object": Target(objects, mutated, decode_object),
        "episode set": Target([objects[5]], mutated, decode_object),
        "frame": Target([frames.compress(o) for o in objects], mutated, _read_frame),
        "block": Target(blocks, mutated, _read_block),
        "block with right checksums": Target(blocks, _respoilt_block, _read_block),
        "pack directory and trailer": Target([tail], mutated, _read_tail),
        "pack directory with right checksums": Target([tail], _respoilt_tail, _read_tail),
        "journal": Target([_journal()], mutated, _read_journal),
        "ref record": Target(_RECORDS, mutated_json, _read_ref),
        "yank": Target(
            [Yank(created_at=DAY, created_by="me", why="wrong").dump()],
            mutated_json,
            lambda data: parse_yank(data, PLACE),
        ),
        "format.json": Target(
            [_FORMAT], mutated_json, lambda data: RepositoryFormat.parse(data, PLACE)
        ),
        "episode record": Target(records, mutated_json, decode_record),
        "layout": Target(_layouts(), mutated_json, _read_layout),
        "episode as a whole": Target(together, _respoilt_episode, _read_episode),
        "columns": Target([_episodes()[0].data[0]], mutated, _read_columns),
        "values": Target(values, mutated_json, load_json),
        "bundle": Target([_bundle()], mutated, _read_bundle),
        "bundle with another directory": Target([_bundle()], _rezipped, _read_bundle),
    }
    for body in _BODIES:
        name = type(body).__name__.removesuffix("Body").lower()
        found[f"{name} body"] = Target([body.dump()], mutated_json, _body(type(body)))
    return found


def _read_layout(data: bytes) -> None:
    layout = decode_layout(data)
    _ = layout.observation_space, layout.action_space


def _respoilt_episode(seed: str, valid: Sequence[bytes]) -> bytes:
    """Record and layout of one episode, either or both spoilt."""
    fields, layout = valid[len(seed) % len(valid)].split(b"\n", 1)
    number = int(sha256(seed.encode()).hexdigest(), 16)
    if number % 3 != 0:
        fields = mutated_json(seed, [fields])
    if number % 3 != 1:
        layout = mutated_json(seed, [layout])
    return fields.replace(b"\n", b" ") + b"\n" + layout.replace(b"\n", b" ")


def as_json(data: bytes) -> Any:
    """Return what JSON says, None where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
