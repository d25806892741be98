"""A second reader of repositories, written from `tupli_repo/odb/FORMAT.md` and nothing else."""

import json
import math
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import zstandard

MAGIC = b"TUPLIPK\x01"
RECORDS = ["benchmark", "artifact", "episode", "provenance", "episodes", "release", "tombstone"]
RECORDS += ["annotation"]
KINDS = ["blob", *RECORDS]
SHARED, PIECE = 64 << 10, 512 << 10
JSON: Any = {"sort_keys": True, "separators": (",", ":")}


class Damaged(Exception):  # noqa: N818 - reads better
    """Something is not as the page says."""


class Object(NamedTuple):
    kind: str
    links: list[str]
    body: bytes


def due(holds: object, what: str) -> None:
    if not holds:
        raise Damaged(what)


class Reader:
    """The objects and records of the `.tupli` that is ``root``."""

    def __init__(self, root: Path) -> None:
        self.format = json.loads((root / "format.json").read_bytes())
        due(self.format["tupli"] == 1 and self.format["requires"] == [], "another format")
        self.objects: dict[str, Object] = {}
        for path in root.glob("objects/??/*"):
            encoded = unframe(path.read_bytes())
            (row,) = self._add(encoded, records=not encoded.startswith(b"tupli blob "))
            due(row[0].hex() == path.parent.name + path.name, "a loose object's name")
        for path in root.glob("packs/*.pack"):
            self._read_pack(path)
        for path in root.glob("packs/*.journal"):
            self._read_journal(path.read_bytes())
        self.records = {
            path.relative_to(root / "refs").as_posix(): json.loads(path.read_bytes())
            for path in root.glob("refs/*/*/*/*")
        }
        for name, one in self.records.items():
            data = json.dumps(one, **JSON).encode() + b"\n"
            due((root / "refs" / name).read_bytes() == data, "a record's text")
            if not name.endswith(".yank"):
                file = "{group}/{kind}/{name}/{generation:08d}-".format(**one)
                due(name == file + sha256(data).hexdigest()[:12], "a record's name")

    def of(self, kind: str) -> list[str]:
        return sorted(oid for oid, one in self.objects.items() if one.kind == kind)

    def body(self, oid: str) -> bytes:
        return self.objects[oid].body

    def document(self, oid: str) -> Any:
        return value_of(self.body(oid))

    def episode(self, oid: str) -> tuple[Any, dict[str, np.ndarray]]:
        _, layout, *data = self.objects[oid].links
        record, described = self.document(oid), self.document(layout)
        due(record["format"] == described["format"] == 1, "another format of episodes")
        return record, columns_of(record, described["columns"], list(map(self.body, data)))

    def file(self, oid: str) -> bytes:
        data, told = b"".join(map(self.body, self.objects[oid].links)), self.document(oid)
        due((told["size"], told["hash"]) == (len(data), sha256(data).hexdigest()), "an artifact")
        return data

    def text(self, oid: str) -> str:
        fields, links = self.document(oid), self.objects[oid].links
        text, end = self.body(links[0]).decode(), len(links) - fields.get("n_artifacts", 0)
        if fields["env_format"] == "opaque":
            return text
        pieces = {sha256(one).hexdigest(): one for one in map(self.body, links[1:end])}

        def put_back(names: list[str]) -> dict[str, str]:
            return {"py/b64": b64encode(b"".join(pieces[name] for name in names)).decode()}

        return json.dumps(untagged(json.loads(text), {"py/blob": put_back}), **JSON)

    def _add(self, content: bytes, *, records: bool) -> list[tuple[bytes, int, int, int]]:
        """Note the objects of a block; return id, code, offset and length of each."""
        rows, at = [], 0
        while at < len(content):
            line = content[at : content.index(b"\n", at) + 1]
            word, kind, n_links, size = line.decode().split()
            ends = at + len(line) + 32 * int(n_links)
            links = [content[n : n + 32].hex() for n in range(at + len(line), ends, 32)]
            body, start, at = content[ends : ends + int(size)], at, ends + int(size)
            due((word, at <= len(content)) == ("tupli", True), "an object's header")
            due(kind in (RECORDS if records else ["blob"]), "an object in the other class")
            found = sha256(content[start:at])
            self.objects[found.hexdigest()] = Object(kind, links, body)
            rows.append((found.digest(), 1 + KINDS.index(kind), start, at - start))
        return rows

    def _read_pack(self, path: Path) -> None:
        data = path.read_bytes()
        due(path.stem == sha256(data).hexdigest() and data[:8] == MAGIC, "a pack's name")
        first_record, start, stored, raw, digest, end = struct.unpack("<QQII32s8s", data[-64:])
        due(end == b"TUPLIPKE" and start + stored + 64 == len(data), "a trailer")
        directory = unframe(data[start:-64])
        due(len(directory) == raw and sha256(directory).digest() == digest, "a directory")
        (n_blocks,) = struct.unpack_from("<I", directory)
        blocks = list(struct.iter_unpack("<QII", directory[4 : 4 + 16 * n_blocks]))
        rows = list(struct.iter_unpack("<32sBIII", directory[8 + 16 * n_blocks :]))
        at, found = len(MAGIC), []
        for number, place in enumerate(blocks):
            records, content, end = read_block(data, at)
            due(place == (at, end - at - 17, len(content)), "the place of a block")
            due(records == (at >= first_record), "the first record block")
            for raw_id, code, *where in self._add(content, records=records):
                found.append((raw_id, code, number, *where))
            at = end
        due((at, found) == (start, rows), "the directory of a pack")

    def _read_journal(self, data: bytes) -> None:
        at, written, is_begun = len(MAGIC), len(data.rstrip(b"\0")), data[:8] == MAGIC
        due(is_begun or (written < 8 and MAGIC.startswith(data[:written])), "a journal's magic")
        while is_begun and at < len(data):
            try:
                records, content, after = read_block(data, at)
            except Damaged:
                due(is_torn(data, at, max(0, written - at), written), "damage in a journal")
                return
            self._add(content, records=records)
            at = after


def is_torn(data: bytes, at: int, written: int, end: int) -> bool:
    """Say whether a crash left what does not parse at the end of a journal."""
    head = data[at : at + 17]
    if len(head) == 17 and crc32(head[:13]) == int.from_bytes(head[13:], "little"):
        stored = int.from_bytes(head[5:9], "little")
        if at + 17 + stored > len(data):
            return True
        is_unwritten = -(-end // 512) * 512 < len(data) or len(data) - end >= 4
        return written < 17 + stored and is_unwritten
    return written < 17 and b"BLK1".startswith(head[: min(written, 4)])


def read_block(data: bytes, at: int) -> tuple[bool, bytes, int]:
    """Return whether a block holds records, its content, and where it ends."""
    due(at + 17 <= len(data), "a block's beginning")
    magic, block_class, stored, raw, checksum = struct.unpack_from("<4sBIII", data, at)
    due((magic, checksum) == (b"BLK1", crc32(data[at : at + 13])), "a block's header")
    content = unframe(data[at + 17 : at + 17 + stored])
    due(len(content) == raw, "a block's size")
    return {0: False, 1: True}[block_class], content, at + 17 + stored


def unframe(data: bytes) -> bytes:
    frame, seal = data[:-12], data[-12:]
    due(seal == struct.pack("<III", 0x184D2A54, 4, crc32(frame)), "a seal")
    content = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    due(len(content) == zstandard.frame_content_size(frame), "a frame's size")
    return content


def value_of(data: bytes) -> Any:
    tree = json.loads(data.decode())
    text = json.dumps(tree, **JSON, ensure_ascii=False, allow_nan=False)
    due(text.encode() == data, "JSON that is not canonical")
    return untagged(tree, TAGS)


def untagged(tree: Any, tags: dict[str, Callable[[Any], Any]]) -> Any:
    """Return a tree in which what each tag stands for is in its place."""
    if isinstance(tree, list):
        return [untagged(one, tags) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1 and (tag := next(iter(tree))) in tags:
        return tags[tag](tree[tag])
    return {key: untagged(value, tags) for key, value in tree.items()}


TAGS: dict[str, Callable[[Any], Any]] = {
    "#f": float,
    "#i": int,
    "#b": b64decode,
    "#s": lambda text: b64decode(text).decode("utf-8", "surrogatepass"),
    "#t": lambda items: tuple(untagged(items, TAGS)),
    "#d": lambda pairs: dict(untagged(pairs, TAGS)),
    "#np": lambda one: np.frombuffer(b64decode(one[2]), one[0]).reshape(one[1])[()],
}


def columns_of(record: Any, described: Any, blobs: list[bytes]) -> dict[str, np.ndarray]:
    n_steps, lengths = record["n_steps"], record.get("lengths", {})
    found, at, specs = dict[str, np.ndarray](), 0, []
    for name, dtype, shape in described:
        is_seen = name == "observations" or name.startswith(("observations/", "observations#"))
        more, kind = is_seen and record.get("final_observation", False), np.dtype(dtype)
        rows = lengths.get(name, n_steps + more)
        specs.append((name, kind, shape, rows, math.prod(shape) * kind.itemsize))
    used = int(any(rows * width < SHARED for *_, rows, width in specs))
    shared = b"".join(blobs[:used])
    for name, dtype, shape, rows, width in specs:
        if rows * width < SHARED:
            parts = [(rows, shared[at : at + rows * width])]
            at += rows * width
        else:
            step = max(1, PIECE // width)
            counts = [min(step, rows - start) for start in range(0, rows, step)]
            parts = list(zip(counts, blobs[used:], strict=False))
            used += len(counts)
        found[name] = np.concatenate([from_planes(b, dtype, n, shape) for n, b in parts])
    due((used, at) == (len(blobs), len(shared)), "the blobs of an episode")
    return found


def from_planes(data: bytes, dtype: np.dtype[Any], rows: int, shape: list[int]) -> np.ndarray:
    width, n = dtype.itemsize, math.prod(shape)
    due(len(data) == rows * n * width, "a piece's size")
    planes = np.frombuffer(data, np.uint8)
    planes = planes.reshape(width, n, rows).transpose(2, 1, 0) if width > 1 else planes
    return np.frombuffer(planes.tobytes(), dtype).reshape(rows, *shape)


def infos_of(columns: dict[str, np.ndarray], n_steps: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{} for _ in range(n_steps)]
    for name, column in columns.items():
        if name.startswith("infos/"):
            key = name[6:].replace("%23", "#").replace("%2F", "/").replace("%25", "%")
            is_python = column.dtype.str in ("|b1", "<i8", "<f8") and column.ndim == 1
            for step in range(n_steps):
                found[step][key] = column[step].item() if is_python else column[step]
    start = 0
    for step, end in enumerate(columns.get("infos#json#offsets", ())):
        text, start = columns["infos#json"][start:end].tobytes(), end
        found[step] |= value_of(text) if text else {}
    return found
