"""What can be wrong with a drive: names, links, pipes and sizes. Each case spoils an honest hub."""

import json
import os
import socket
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zlib import crc32

from tests.hostile.crafting import EVIL, GIB, TIB, WALK, Hub, bombs
from tests.odb.samples import id_of, overwrite, record
from tests.odb.test_pack_lies import LIES, TOLD_BY_BLOCKS, Lie
from tupli_repo.odb import block, frames
from tupli_repo.odb.objects import Kind, Object, ObjectId, encode
from tupli_repo.odb.pack import FILE_MAGIC, TRAILER_BYTES
from tupli_repo.odb.refs import Record, RefName

Outcome = Literal["told", "passed", "told or whole", "either"]


class Case(NamedTuple):
    """One hostile drive.

    Attributes:
        make: Makes it of an honest one.
        then: ``told``: each verb that reads it says so, in an error or in its report; ``passed``:
            what is honest there arrives as if the rest were not there; ``told or whole``: one of
            both; ``either``: it says so, or what is new is what it seems to be.
        is_slow: Whether only the torture run has it.
    """

    make: Callable[[Hub], None]
    then: Outcome
    is_slow: bool = False


CASES: dict[str, Case] = {}
_Make = Callable[[Hub], None]


def case(sentence: str, then: Outcome, *, is_slow: bool = False) -> Callable[[_Make], _Make]:
    """Note a case under the sentence that is its id."""

    def note(make: _Make) -> _Make:
        assert sentence not in CASES
        CASES[sentence] = Case(make, then, is_slow)
        return make

    return note


# ---- names


@case("names with backslashes and drive letters", "passed")
def _(hub: Hub) -> None:
    for name in ("..\\..\\evil.pack", "C:\\evil.pack", "\\\\server\\share", "a:b"):
        for folder in (hub.packs, hub.objects, hub.root / "refs", hub.folder_of(WALK)):
            (folder / name).write_bytes(b"x")


@case("device names as packs and objects", "passed")
def _(hub: Hub) -> None:
    for name in ("con", "NUL", "aux.pack", "com1.journal", "lpt9"):
        for folder in (hub.packs, hub.objects):
            (folder / name).write_bytes(b"x")


@case("device names as the names of datasets", "passed")
def _(hub: Hub) -> None:
    for name in ("con", "nul.txt", "aux", "lpt1.x"):
        folder = hub.root / "refs" / "global" / "dataset" / name
        folder.mkdir(parents=True)
        (folder / hub.walk.name).write_bytes(hub.walk.read_bytes())


@case("names with line feeds and escape codes", "passed")
def _(hub: Hub) -> None:
    for name in ("a\nb", "\x1b[31mred", "tab\t", "del\x7f", "\u202eevil"):
        (hub.packs / name).write_bytes(b"x")
        (hub.root / "refs" / "global" / name).mkdir()


@case("names that are no Unicode", "passed")
def _(hub: Hub) -> None:
    for folder in (hub.packs, hub.objects, hub.root / "refs" / "global", hub.folder_of(WALK)):
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")).write_bytes(b"x")


@case("names of 255 characters", "passed")
def _(hub: Hub) -> None:
    for folder in (hub.packs, hub.objects, hub.root / "refs" / "global" / "dataset"):
        folder.mkdir(exist_ok=True)
        (folder / ("a" * 255)).mkdir()


@case("names like options, hidden ones, and those of locks", "passed")
def _(hub: Hub) -> None:
    for name in ("--force", ".hidden", "x.lock", "x.", "..x", "x..y", "-"):
        folder = hub.root / "refs" / "global" / "dataset" / name
        folder.mkdir(parents=True)
        (folder / hub.walk.name).write_bytes(hub.walk.read_bytes())


@case("an upper-case twin of each name", "passed")
def _(hub: Hub) -> None:
    (hub.packs / hub.pack.name.upper()).write_bytes(b"x")
    twin = hub.root / "refs" / "global" / "benchmark" / "WALK"
    twin.mkdir()
    (twin / hub.walk.name).write_bytes(b"x")
    path = hub.loose(Kind.RELEASE)
    (path.parent / path.name.upper()).write_bytes(b"x")
    (hub.objects / "AB").mkdir()


@case("composed and decomposed twins", "passed")
def _(hub: Hub) -> None:
    for name in ("caf\u00e9", "cafe\u0301"):
        folder = hub.root / "refs" / "global" / "dataset" / name
        folder.mkdir(parents=True)
        (folder / hub.walk.name).write_bytes(hub.walk.read_bytes())
        (hub.packs / name).write_bytes(b"x")


@case("a name in the group that never leaves", "passed")
def _(hub: Hub) -> None:
    hub.name(hub.dataset(()), RefName("local", "dataset", "secret"))


def _record_fields(**fields: object) -> bytes:
    given = {
        **EVIL._asdict(),
        "generation": 1,
        "parents": [],
        "release": "0" * 64,
        **fields,
    }
    return (json.dumps(given, sort_keys=True, separators=(",", ":")) + "\n").encode()


def _raw(data: bytes) -> _Make:
    def make(hub: Hub) -> None:
        hub.raw_record(data)

    return make


RECORDS: dict[str, dict[str, Any]] = {
    "a record that says '../../x' of itself": {"name": "../../x"},
    "a record of an absolute group": {"group": "/etc"},
    "a record whose name has a NUL": {"name": "ev\0il"},
    "a record of generation 0": {"generation": 0},
    "a record of a generation beyond all": {"generation": 10**30},
    "a record whose release is no id": {"release": "../" * 21 + "x"},
    "a record whose release is a number": {"release": 7},
    "a record whose parent is no hash": {"parents": ["../x"]},
    "a record with more than it may have": {"extra": "x" * 1000},
    "a first record with a parent": {"parents": ["1" * 64]},
}
for sentence, fields in RECORDS.items():
    CASES[sentence] = Case(_raw(_record_fields(**fields)), "told")


@case("a record with duplicate keys", "told")
def _(hub: Hub) -> None:
    hub.raw_record(_record_fields().replace(b"{", b'{"release":"' + b"1" * 64 + b'",', 1))


@case("a record that is not in canonical form", "told")
def _(hub: Hub) -> None:
    hub.raw_record(_record_fields().replace(b",", b", "))


@case("a record of brackets, a million deep", "told")
def _(hub: Hub) -> None:
    hub.raw_record(b"[" * 1_000_000)


@case("a record over its size limit", "told")
def _(hub: Hub) -> None:
    hub.raw_record(_record_fields(extra="x" * (5 << 20)))


@case("a record of a tebibyte", "told")
def _(hub: Hub) -> None:
    hub.sparse(hub.walk, TIB)


@case("a record with 60000 parents that are not there", "either")
def _(hub: Hub) -> None:
    hub.name(
        hub.dataset(()), generation=2, parents=(sha256(b"%d" % n).hexdigest() for n in range(60000))
    )


@case("the last generation there can be", "either")
def _(hub: Hub) -> None:
    first = hub.name(hub.dataset(()))
    hub.name(hub.dataset((), message="x"), generation=99_999_999, parents=[first.hash])


@case("a record whose parent is of a later generation", "either")
def _(hub: Hub) -> None:
    first = hub.name(hub.dataset(()))
    later = hub.name(hub.dataset((), message="x"), generation=7, parents=[first.hash])
    hub.name(hub.dataset((), message="y"), generation=3, parents=[later.hash])


@case("a hundred heads of one name", "either")
def _(hub: Hub) -> None:
    for n in range(100):
        hub.name(hub.dataset((), message=str(n)))


def _many_names(n: int) -> Callable[[Hub], None]:
    def make(hub: Hub) -> None:
        for number in range(n):
            name = RefName("global", "dataset", f"n{number}")
            found = Record(name, 1, (), ObjectId("0" * 64))
            hub.raw_record(found.dump(), name)

    return make


CASES["five hundred names of releases that are not there"] = Case(_many_names(500), "told")
CASES["ten thousand names of releases that are not there"] = Case(
    _many_names(10_000), "told", is_slow=True
)


@case("a yank of a tebibyte", "told")
def _(hub: Hub) -> None:
    hub.sparse(hub.walk.with_name(f"{hub.walk.name}.yank"), TIB)


@case("a yank of nonsense", "told")
def _(hub: Hub) -> None:
    hub.walk.with_name(f"{hub.walk.name}.yank").write_bytes(b"[" * 100_000)


# ---- links, pipes and the like in the place of files and folders


def _pipe(path: Path, _: Hub) -> None:
    os.mkfifo(path)


def _socket(path: Path, _: Hub) -> None:
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)  # a socket's path may have 108 characters only
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"s{len(path.name)}")
        os.rename(f"s{len(path.name)}", path.name)
    finally:
        os.chdir(here)
        os.close(here)


def _link_out(path: Path, hub: Hub) -> None:
    target = hub.outside / "secret"
    target.write_bytes(b"not for others")
    path.symlink_to(target)


def _link_out_folder(path: Path, hub: Hub) -> None:
    path.symlink_to(hub.outside, target_is_directory=True)


def _loop(path: Path, _: Hub) -> None:
    path.symlink_to(path)


def _folder(path: Path, _: Hub) -> None:
    path.mkdir()


PLACES: dict[str, Callable[[Hub], Path]] = {
    "format.json": lambda hub: hub.root / "format.json",
    "a pack": lambda hub: hub.pack,
    "a record": lambda hub: hub.walk,
    "a yank": lambda hub: hub.walk.with_name(f"{hub.walk.name}.yank"),
    "a release": lambda hub: hub.loose(Kind.RELEASE),
    "a benchmark": lambda hub: hub.loose(Kind.BENCHMARK),
    "the packs": lambda hub: hub.packs,
    "the objects": lambda hub: hub.objects,
    "the refs": lambda hub: hub.root / "refs",
    "a folder of objects": lambda hub: hub.loose(Kind.RELEASE).parent,
    "staging": lambda hub: hub.root / "staging",
    "the trash": lambda hub: hub.root / "trash",
    "a group": lambda hub: hub.root / "refs" / "global",
    "a name": lambda hub: hub.folder_of(WALK),
}
SORTS: dict[str, Callable[[Path, Hub], None]] = {
    "a pipe": _pipe,
    "a socket": _socket,
    "a link to somebody's file": _link_out,
    "a link to somebody's folder": _link_out_folder,
    "a link to itself": _loop,
    "a folder": _folder,
}
FOLDERS = ("the packs", "the objects", "the refs", "a folder of objects", "staging", "the trash")
SKIPPED = ("a group", "a name")  # as of names that are no names: what is no folder is not one


def _put(place: str, sort: str) -> Callable[[Hub], None]:
    def make(hub: Hub) -> None:
        path = PLACES[place](hub)
        if path.is_dir():
            path.rename(hub.folder.parent / "moved")
        else:
            path.unlink(missing_ok=True)
        SORTS[sort](path, hub)

    return make


for place in PLACES:
    for sort in SORTS:
        if sort == "a folder" and (place in FOLDERS or place in SKIPPED):
            continue
        is_silent = place in SKIPPED or (sort == "a folder" and place in ("a record", "a yank"))
        CASES[f"{sort} in place of {place}"] = Case(
            _put(place, sort),
            "either" if is_silent else "told",
            is_slow=sort not in ("a pipe", "a link to somebody's folder"),
        )


@case("a journal that is a pipe", "told or whole")
def _(hub: Hub) -> None:
    os.mkfifo(hub.packs / f"{'a' * 32}.journal")


@case("a config that is a pipe", "passed")
def _(hub: Hub) -> None:
    (hub.root / "config.toml").unlink(missing_ok=True)
    os.mkfifo(hub.root / "config.toml")


# ---- packs that lie


def _lied(tell: Callable[[Lie], None]) -> Callable[[Hub], None]:
    def make(hub: Hub) -> None:
        lie = Lie(sorted(hub.packed(), key=lambda obj: obj.kind is Kind.EPISODE))
        tell(lie)
        packs = list(hub.packs.iterdir())
        lie.write(hub.files)
        for path in packs:
            path.unlink()

    return make


for tell in LIES:
    # what is asked for may lie in its block all the same, or be here already
    CASES[f"a pack that lies: {tell.__name__.replace('_', ' ')}"] = Case(
        _lied(tell), "told or whole" if tell in TOLD_BY_BLOCKS else "told"
    )


@case("a pack of the right name and other bytes", "told")
def _(hub: Hub) -> None:
    overwrite(hub.pack, b"nonsense" * 1000)


@case("a pack that is cut off", "told")
def _(hub: Hub) -> None:
    overwrite(hub.pack, hub.pack.read_bytes()[:-40])


@case("a pack of a tebibyte", "told")
def _(hub: Hub) -> None:
    hub.sparse(hub.pack, TIB)


@case("a pack of a tebibyte that ends like one", "told")
def _(hub: Hub) -> None:
    whole = hub.pack.read_bytes()
    hub.sparse(hub.pack, TIB, begin=whole[:4096], end=whole[-TRAILER_BYTES:])


@case("a pack whose directory is said to be a tebibyte", "told")
def _(hub: Hub) -> None:
    end = struct.pack("<QQII32s8s", 8, 8, (1 << 32) - 1, (1 << 32) - 1, bytes(32), b"TUPLIPKE")
    hub.sparse(hub.pack, (1 << 32) + 79, begin=FILE_MAGIC, end=end)


def _directory(hub: Hub, raw: bytes, body: bytes, stored: bytes | None = None) -> None:
    """Replace a pack by one of that directory; its checksums are right."""
    stored = frames.compress(raw) if stored is None else stored
    at = len(FILE_MAGIC) + len(body)
    digest = sha256(raw).digest()
    end = struct.pack("<QQII32s8s", at, at, len(stored), len(raw), digest, b"TUPLIPKE")
    overwrite(hub.pack, FILE_MAGIC + body + stored + end)


@case("a directory that is a bomb", "told")
def _(hub: Hub) -> None:
    for path in hub.packs.iterdir():
        path.unlink()
    for frame in bombs():
        end = struct.pack("<QQII32s8s", 8, 8, len(frame), 64 << 20, bytes(32), b"TUPLIPKE")
        path = hub.packs / f"{sha256(frame).hexdigest()}.pack"
        path.write_bytes(FILE_MAGIC + frame + end)


@case("a directory of four million empty blocks", "told", is_slow=True)
def _(hub: Hub) -> None:
    n = 4_000_000
    rows = b"".join(struct.pack("<QII", 8 + 17 * k, 0, 0) for k in range(n))
    raw = struct.pack("<I", n) + rows + struct.pack("<I", 0)
    stored = frames.compress(raw)
    at = 8 + 17 * n
    digest = sha256(raw).digest()
    end = struct.pack("<QQII32s8s", at, at, len(stored), len(raw), digest, b"TUPLIPKE")
    hub.sparse(hub.pack, at + len(stored) + len(end), begin=FILE_MAGIC, end=stored + end)


@case("a directory of blocks that overlap in a circle", "told")
def _(hub: Hub) -> None:
    raw = struct.pack("<I", 2) + struct.pack("<QII", 8, 1000, 10) + struct.pack("<QII", 8, 900, 10)
    raw += struct.pack("<I", 2)
    raw += struct.pack("<32sBIII", bytes(32), 1, 0, 0, 10)
    raw += struct.pack("<32sBIII", b"1" * 32, 1, 1, 0, 10)
    _directory(hub, raw, bytes(1017))


def _block(data: bytes, frame: bytes, raw: int) -> bytes:
    head = struct.pack("<4sBII", b"BLK1", 0, len(frame), raw)
    return data + head + struct.pack("<I", crc32(head)) + frame


@case("a block that is a bomb, honest or not", "told")
def _(hub: Hub) -> None:
    blob = hub.of_kind(Kind.BLOB)[-1]
    for path in hub.packs.iterdir():
        path.unlink()
    for number, frame in enumerate(bombs()):
        for raw in (GIB & 0xFFFFFFFF, 100, 32 << 20):
            body = _block(b"", frame, raw)
            rows = struct.pack("<I", 1) + struct.pack("<QII", 8, len(frame), raw)
            rows += struct.pack("<I", 1)
            rows += struct.pack("<32sBIII", bytes.fromhex(id_of(blob)), 1, 0, 0, raw)
            stored = frames.compress(rows)
            at = 8 + len(body)
            end = struct.pack(
                "<QQII32s8s",
                at,
                at,
                len(stored),
                len(rows),
                sha256(rows).digest(),
                b"TUPLIPKE",
            )
            name = sha256(b"%d %d" % (number, raw)).hexdigest()
            (hub.packs / f"{name}.pack").write_bytes(FILE_MAGIC + body + stored + end)


@case("a journal that is a bomb", "told")
def _(hub: Hub) -> None:
    for path in hub.packs.iterdir():
        path.unlink()
    for number, frame in enumerate(bombs()):
        (hub.packs / f"{number:032x}.journal").write_bytes(_block(FILE_MAGIC, frame, 32 << 20))


@case("a journal with two million objects in one small block", "told")
def _(hub: Hub) -> None:
    raw = encode(Object(kind=Kind.BLOB)) * 2_000_000
    for path in hub.packs.iterdir():
        path.unlink()
    data = FILE_MAGIC + block.encode(raw, records=False)
    (hub.packs / f"{1:032x}.journal").write_bytes(data)


@case("a journal of a tebibyte", "told or whole")
def _(hub: Hub) -> None:
    hub.sparse(hub.packs / f"{1:032x}.journal", TIB, begin=FILE_MAGIC)


# ---- objects


@case("a loose bomb that says so", "told")
def _(hub: Hub) -> None:
    overwrite(hub.loose(Kind.BENCHMARK), bombs().honest)


@case("a loose bomb that says 100 bytes", "told")
def _(hub: Hub) -> None:
    overwrite(hub.loose(Kind.BENCHMARK), bombs().lying)


@case("a release that is a bomb", "told")
def _(hub: Hub) -> None:
    overwrite(hub.loose(Kind.RELEASE), bombs().lying)


@case("a loose object of a tebibyte", "told")
def _(hub: Hub) -> None:
    hub.sparse(hub.loose(Kind.BENCHMARK), TIB)


@case("a loose object that is empty", "told")
def _(hub: Hub) -> None:
    overwrite(hub.loose(Kind.PROVENANCE), b"")


@case("a loose object that is another one", "told")
def _(hub: Hub) -> None:
    overwrite(hub.loose(Kind.RELEASE), hub.loose(Kind.BENCHMARK).read_bytes())


def _encoded(data: bytes) -> _Make:
    def make(hub: Hub) -> None:
        hub.name(hub.put_encoded(data))

    return make


for sentence, header in {
    "a body that claims two gibibytes": b"tupli release 0 2147483648\n",
    "a body that claims a number without end": b"tupli release 0 " + b"9" * 50 + b"\n",
    "links that claim 10^7": b"tupli release 9999999 0\n",
    "a kind that there is not": b"tupli gadget 0 2\n",
    "a length with a leading zero": b"tupli release 0 02\n",
    "a length below zero": b"tupli release 0 -2\n",
}.items():
    CASES[f"an object with {sentence}"] = Case(_encoded(header + b"{}"), "told")


def _body(kind: Kind, body: bytes, links: tuple[ObjectId, ...] = ()) -> Callable[[Hub], None]:
    return _encoded(encode(Object(kind=kind, links=links, body=body)))


for sentence, body in {
    "deep lists": b"[" * 2_000_000 + b"]" * 2_000_000,
    "deep objects": b'{"a":' * 500_000 + b"1" + b"}" * 500_000,
    "duplicate keys": b'{"name":"a","name":"b"}',
    "a number of a million digits": b'{"n_episodes":' + b"9" * 1_000_000 + b"}",
    "a float without end": b'{"n_episodes":1e999}',
    "NaN": b'{"n_episodes":NaN}',
    "text that is no Unicode": b'{"name":"\xff"}',
    "half a surrogate": b'{"name":"\\ud800"}',
    "three million values": b"[" + b"0," * 3_000_000 + b"0]",
    "more than eight mebibytes": b'"' + b"x" * (9 << 20) + b'"',
    "nothing": b"",
}.items():
    CASES[f"a release whose JSON is {sentence}"] = Case(_body(Kind.RELEASE, body), "told")


def _wrong(**fields: Any) -> _Make:
    def make(hub: Hub) -> None:
        hub.name(hub.dataset((id_of(obj) for obj in hub.of_kind(Kind.EPISODE)), **fields))

    return make


WRONG: dict[str, dict[str, Any]] = {
    "more episodes than there are": {"n_episodes": 10**18},
    "fewer benchmarks than none": {"n_benchmarks": -1},
    "more benchmarks than links": {"n_benchmarks": 10**9},
    "another digest": {"digest": "0" * 64},
    "nobody who made it": {"created_by": ""},
}
for sentence, wrong in WRONG.items():
    CASES[f"a release that says {sentence}"] = Case(_wrong(**wrong), "told")


def _linked(*kinds: Kind, **fields: Any) -> Callable[[Hub], None]:
    def make(hub: Hub) -> None:
        hub.name(hub.release([id_of(hub.of_kind(kind)[0]) for kind in kinds], **fields))

    return make


CASES["a release whose benchmark is a release"] = Case(
    _linked(Kind.RELEASE, n_benchmarks=1), "told"
)
CASES["a release whose benchmark is an episode"] = Case(
    _linked(Kind.EPISODE, n_benchmarks=1), "told"
)
CASES["a release whose artifact is a benchmark"] = Case(
    _linked(Kind.BENCHMARK, n_artifacts=1, kind="artifact"), "told"
)
CASES["a release whose set is a blob"] = Case(_linked(Kind.BLOB), "told")
CASES["a release whose set is a release"] = Case(_linked(Kind.RELEASE), "told")


@case("a release of sets of sets, thirty deep", "told")
def _(hub: Hub) -> None:
    top = hub.release()
    for _ in range(30):
        top = hub.put(Object(kind=Kind.EPISODES, links=(top,)))
    hub.name(hub.release([top]))


def _named(kind: Kind) -> _Make:
    def make(hub: Hub) -> None:
        hub.name(id_of(hub.of_kind(kind)[0]))

    return make


for kind in (Kind.EPISODES, Kind.EPISODE, Kind.BENCHMARK, Kind.BLOB):
    CASES[f"a name of {kind.value}, not of a release"] = Case(_named(kind), "told")


@case("a name of nothing that is there", "told")
def _(hub: Hub) -> None:
    hub.name(ObjectId("1" * 64))


@case("a release that links a tombstone", "told")
def _(hub: Hub) -> None:
    body = json.dumps(
        {
            "created_at": "2026-01-01T00:00:00.000000Z",
            "created_by": "eve",
            "hides": [id_of(obj) for obj in hub.of_kind(Kind.EPISODE)],
            "nonce": "0" * 16,
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
    stone = hub.put(Object(kind=Kind.TOMBSTONE, body=body))
    hub.name(hub.dataset([stone]))


@case("an episode set with benchmarks in it", "told")
def _(hub: Hub) -> None:
    hub.name(hub.dataset([id_of(obj) for obj in hub.of_kind(Kind.BENCHMARK)]))


@case("an episode without links", "told")
def _(hub: Hub) -> None:
    hub.name(hub.dataset([hub.put(record(1))]))


@case("an episode of an episode", "told")
def _(hub: Hub) -> None:
    (first, *_rest) = hub.of_kind(Kind.EPISODE)
    twisted = Object(kind=Kind.EPISODE, links=(id_of(first), *first.links[1:]), body=first.body)
    hub.name(hub.dataset([hub.put(twisted)]))


@case("an episode whose record is deep", "told")
def _(hub: Hub) -> None:
    (first, *_rest) = hub.of_kind(Kind.EPISODE)
    deep = Object(kind=Kind.EPISODE, links=first.links, body=b"[" * 1_000_000)
    hub.name(hub.dataset([hub.put(deep)]))


@case("an episode said to have a billion steps", "told")
def _(hub: Hub) -> None:
    (first, *_rest) = hub.of_kind(Kind.EPISODE)
    body = json.loads(first.body)
    body["n_steps"] = 10**9
    text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    hub.name(hub.dataset([hub.put(Object(kind=Kind.EPISODE, links=first.links, body=text))]))


@case("an episode whose layout is deep", "told")
def _(hub: Hub) -> None:
    (first, *_rest) = hub.of_kind(Kind.EPISODE)
    layout = hub.put(Object(kind=Kind.BLOB, body=b"[" * 1_000_000))
    links = (first.links[0], layout, *first.links[2:])
    hub.name(
        hub.dataset([hub.put(Object(kind=Kind.EPISODE, links=links, body=first.body))]),
    )


@case("a million links to what is not there", "told", is_slow=True)
def _(hub: Hub) -> None:
    halves = [[f"{n:064x}" for n in range(half, half + 500_000)] for half in (1, 500_001)]
    sets = [hub.set_of(map(ObjectId, half)) for half in halves]
    hub.name(hub.release(sets, n_episodes=1_000_000, digest="0" * 64))


@case("half a million links to one thing", "told", is_slow=True)
def _(hub: Hub) -> None:
    one = id_of(hub.of_kind(Kind.EPISODE)[0])
    hub.name(hub.release([hub.set_of([one] * 500_000)], n_episodes=500_000, digest="0" * 64))


@case("what was taken back is a bomb", "told", is_slow=True)
def _(hub: Hub) -> None:
    gone = hub.put(Object(kind=Kind.BLOB, body=bytes(32 * 1_000_000 - 1)))
    hub.name(hub.release([gone], n_withdrawn=1_000_000))


# ---- format.json


def _format(data: bytes) -> Callable[[Hub], None]:
    return lambda hub: overwrite(hub.root / "format.json", data)


for sentence, data in {
    "is empty": b"",
    "is deep": b"[" * 60_000,
    "has a number of many digits": b'{"tupli": ' + b"9" * 60_000 + b"}",
    "has a version that is text": b'{"tupli": "0", "id": "x"}',
    "has a version that is no number": b'{"tupli": NaN, "id": "x"}',
    "wants what nobody has": b'{"tupli": 1, "id": "x", "requires": ["teleport"]}',
    "wants a tree": b'{"tupli": 1, "id": "x", "requires": ' + b"[" * 900 + b"]" * 900 + b"}",
    "wants lines": b'{"tupli": 1, "id": "x", "requires": ["a\\nb\\u001b[31m"]}',
    "is of a later version": b'{"tupli": 99, "id": "x"}',
    "has another hash": b'{"tupli": 1, "id": "x", "hash": "md5"}',
    "has an id that leads out": b'{"tupli": 1, "id": 7}',
}.items():
    CASES[f"a format.json that {sentence}"] = Case(_format(data), "told")


@case("a format.json of a gibibyte", "told")
def _(hub: Hub) -> None:
    hub.sparse(hub.root / "format.json", GIB)


@case("a format.json whose id is a path", "passed")
def _(hub: Hub) -> None:
    data = b'{"hash": "sha256", "id": "../../../x", "requires": [], "role": "bare", "tupli": 1}\n'
    overwrite(hub.root / "format.json", data)
