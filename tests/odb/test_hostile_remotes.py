"""Remotes that are damaged or lie: a clear error that names the file, and nothing else happens.

Nothing outside the target's `.tupli` changes, nothing that is not what its name says arrives, and
memory stays bounded.
"""

import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest
import zstandard

from tests.odb.samples import (
    blob,
    id_of,
    loose_path,
    names,
    new_files,
    new_store,
    overwrite,
    record,
    reopen,
    write_pack,
)
from tests.odb.sides import (
    BENCHMARK,
    DOCUMENT,
    LAYOUT,
    PIECES,
    held,
    keep,
    keep_loose,
    release,
    rollout,
    send,
    side,
    tree,
)
from tests.odb.test_pack_lies import Lie
from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    NotFoundError,
    StorageIOError,
    TupliError,
)
from tupli_repo.odb import block, frames
from tupli_repo.odb.closure import closure_of
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.objects import Kind, Object, ObjectId, encode
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.sync import copy
from tupli_repo.odb.transport import DirectoryTransport, Entry

MADE = release(range(6), size=40_000)


@pytest.fixture
def a(tmp_path: Path) -> Path:
    store = new_store(tmp_path / "a")
    keep(store, MADE)
    store.close()
    return tmp_path / "a"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    new_files(tmp_path / "b")
    return tmp_path / "b"


def assert_refused(
    a: Path, b: Path, *, naming: str = "", root: ObjectId = MADE.root, is_own: bool = False
) -> TupliError:
    """A copy fails with one line; outside the target's folders nothing changes."""
    outside = {
        name: data
        for name, data in tree(a.parent).items()
        if not name.startswith("b/.tupli/") or name.startswith("b/.tupli/refs")
    }
    with pytest.raises((CorruptObjectError, StorageIOError, NotFoundError)) as told:
        send(side(a), side(b), root, is_own=is_own)
    assert naming in told.value.message
    assert "\n" not in str(told.value)
    after = {name: data for name, data in tree(a.parent).items() if name in outside}
    assert after == outside
    assert {n for n in tree(a.parent) if not n.startswith("b/.tupli/")} <= outside.keys()
    found = held(b)  # all of it reads, and is what its name says
    for obj in found.values():
        assert set(obj.links) <= found.keys()
    assert not list((b / ".tupli" / "staging").rglob("*"))
    return told.value


def every_byte(path: Path, stride: int) -> Iterable[tuple[int, bytes]]:
    data = path.read_bytes()
    for at in range(0, len(data), stride):
        yield at, data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]


def outcome(a: Path, b: Path) -> CorruptObjectError | None:
    try:
        send(side(a), side(b), MADE.root)
    except CorruptObjectError as err:
        return err
    return None


def test_a_damaged_byte_anywhere_in_a_pack_never_arrives(tmp_path: Path, a: Path) -> None:
    (pack,) = names(a, ".pack")
    whole = pack.read_bytes()
    told = 0
    for at, data in every_byte(pack, len(whole) // 15):
        overwrite(pack, data)
        b = tmp_path / f"b{at}"
        new_files(b, only_for=MADE.objects.values())
        error = outcome(a, b)
        told += error is not None
        assert error is None or str(pack) in error.message
        assert held(b).items() <= MADE.objects.items()
        overwrite(pack, whole)
        send(side(a), side(b), MADE.root)
        assert held(b) == MADE.objects
    assert told >= 14  # one byte of the magic is not read where the pack is not copied whole


@pytest.mark.parametrize("size", [0, 7, 8, 40, 1000, -1])
def test_a_pack_that_is_cut_off_is_named(a: Path, b: Path, size: int) -> None:
    (pack,) = names(a, ".pack")
    overwrite(pack, pack.read_bytes()[:size])
    assert_refused(a, b, naming=str(pack))


def test_a_damaged_pack_does_no_harm_where_another_file_holds_the_same(a: Path, b: Path) -> None:
    (pack,) = names(a, ".pack")
    damaged = bytearray(pack.read_bytes())
    damaged[3000] ^= 1
    store = reopen(a)
    for n in range(6):
        store.append(rollout(n, 40_000))
    store.append([blob(5)])
    store.close()
    overwrite(pack, bytes(damaged))
    send(side(a), side(b), MADE.root)
    assert held(b) == MADE.objects


def test_a_damaged_pack_that_is_not_needed_does_no_harm(a: Path, b: Path) -> None:
    files = RepositoryFiles(a / ".tupli")
    other = write_pack(files, [blob(5)])
    files.close()
    overwrite(other, b"nonsense" * 40)
    send(side(a), side(b), MADE.root)
    assert held(b) == MADE.objects


@pytest.mark.parametrize("is_own", [False, True], ids=["theirs", "own"])
def test_a_large_pack_with_a_damaged_byte_is_refused_whole(tmp_path: Path, *, is_own: bool) -> None:
    made = release(range(30), size=600_000)
    a, b = tmp_path / "a", tmp_path / "b"
    store = new_store(a)
    keep(store, made)
    store.close()
    new_files(b)
    (pack,) = names(a, ".pack")
    data = bytearray(pack.read_bytes())
    for at in (3, len(data) // 2):
        data[at] ^= 0xFF
        overwrite(pack, bytes(data))
        assert_refused(a, b, naming=str(pack), root=made.root, is_own=is_own)
        assert names(b, ".pack") == []
        data[at] ^= 0xFF
    overwrite(pack, bytes(data))
    overwrite(pack.rename(pack.with_name("f" * 64 + ".pack")), bytes(data))  # another's name
    error = assert_refused(a, b, naming="f" * 64, root=made.root, is_own=is_own)
    assert "hash" in error.message
    assert names(b, ".pack") == []


def lie_about_ids(lie: Lie) -> None:
    lie.rows[0][0], lie.rows[1][0] = lie.rows[1][0], lie.rows[0][0]


def lie_about_kinds(lie: Lie) -> None:
    lie.rows[-1][1] = Kind.PROVENANCE.code


def lie_about_a_foreign_object(lie: Lie) -> None:
    lie.rows[0][0] = bytes(32)


@pytest.mark.parametrize("tell", [lie_about_ids, lie_about_kinds, lie_about_a_foreign_object])
@pytest.mark.parametrize("size", [40, 600_000], ids=["small", "large"])
def test_a_directory_that_lies_is_found_out(
    tmp_path: Path, tell: Callable[[Lie], None], size: int
) -> None:
    """Its checksums are right, and so is the file's name: the objects are not."""
    made = release(range(29), size=size)
    a, b = tmp_path / "a", tmp_path / "b"
    files = new_files(a)
    store = reopen(a)
    keep_loose(store, made)
    packed = [obj for n in range(29) for obj in rollout(n, size)]
    lie = Lie([LAYOUT, *(obj for obj in packed if obj != LAYOUT)])
    tell(lie)
    path = lie.write(files)
    files.close()
    store.close()
    new_files(b)
    if (tell, size) == (lie_about_ids, 40):  # what is asked for lies in the block all the same
        send(side(a), side(b), made.root)
        assert held(b) == made.objects
    else:
        error = assert_refused(a, b, root=made.root)
        is_missing = tell is lie_about_a_foreign_object
        assert (id_of(LAYOUT)[:12] if is_missing else str(path)) in error.message
        assert names(b, ".pack") == []
    assert path.name not in [found.name for found in names(b, ".pack")]


def test_kinds_that_lie_do_not_hide_what_an_object_links(a: Path, b: Path) -> None:
    """A record passed off as a blob would bring nothing of what it needs."""
    episode = record(500, id_of(BENCHMARK), id_of(blob(501)))
    files = RepositoryFiles(a / ".tupli")
    raw = encode(episode)
    data = block.encode(raw, records=False)
    lie = Lie([blob(7)])
    lie.blocks = [data]
    lie.block_rows = [[8, len(data) - block.HEADER_BYTES, len(raw)]]
    lie.rows = [[bytes.fromhex(id_of(episode)), Kind.BLOB.code, 0, 0, len(raw)]]
    lie.first_record = 8 + len(data)
    path = lie.write(files)
    files.close()
    source = side(a)
    with pytest.raises(CorruptObjectError) as told:
        copy(source, side(b), [id_of(episode)])
    assert str(path) in told.value.message
    assert not side(b).contains(id_of(episode))


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_a_link(path: Path) -> None:
    moved = path.parents[3] / "moved"
    shutil.move(path, moved)
    path.symlink_to(moved)


LOOSE_DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: overwrite(path, b""),
    "nonsense": lambda path: overwrite(path, b"nonsense" * 100),
    "another": lambda path: overwrite(path, frames.compress(encode(blob(4)))),
    "cut off": lambda path: overwrite(path, path.read_bytes()[:-3]),
    "longer": lambda path: overwrite(path, path.read_bytes() + b"\0"),
    "folder": make_a_folder,
    "pipe": make_a_pipe,
    "link": make_a_link,
}


@pytest.mark.parametrize("what", LOOSE_DAMAGE)
@pytest.mark.parametrize("which", [PIECES[0], DOCUMENT, BENCHMARK], ids=["piece", "doc", "record"])
def test_a_loose_object_that_is_damaged_is_named(
    a: Path, b: Path, what: str, which: Object
) -> None:
    path = loose_path(a, id_of(which))
    LOOSE_DAMAGE[what](path)
    error = assert_refused(a, b)
    assert str(path) in error.message or id_of(which)[:12] in error.message
    assert not side(b).contains(id_of(which))
    assert names(b, ".pack") == []


@pytest.mark.parametrize("suffix", [".pack", ".journal"])
@pytest.mark.parametrize("what", ["pipe", "link"])
def test_a_pack_that_is_no_file_is_never_opened(a: Path, b: Path, what: str, suffix: str) -> None:
    (pack,) = names(a, ".pack")
    moved = a / "moved"
    shutil.move(pack, moved)
    if suffix == ".journal":
        pack = pack.with_name("e" * 32 + suffix)
    if what == "pipe":
        os.mkfifo(pack)
    else:
        pack.symlink_to(moved)
    error = assert_refused(a, b, naming=str(pack))
    assert "regular file" in error.message


def test_a_folder_of_objects_that_is_a_link_is_not_followed(a: Path, b: Path) -> None:
    folder = loose_path(a, id_of(BENCHMARK)).parent
    shutil.move(folder, a / "moved")
    folder.symlink_to(a / "moved", target_is_directory=True)
    assert_refused(a, b, naming=str(folder))


def test_a_target_whose_folder_is_a_link_gets_nothing_written_through_it(a: Path, b: Path) -> None:
    outside = b.parent / "outside"
    outside.mkdir()
    folder = loose_path(b, id_of(BENCHMARK)).parent
    folder.rmdir()
    folder.symlink_to(outside, target_is_directory=True)
    with pytest.raises(StorageIOError, match="not a folder"):
        send(side(a), side(b), MADE.root)
    assert not list(outside.iterdir())


def test_case_twins_and_strangers_are_passed_over(a: Path, b: Path) -> None:
    (pack,) = names(a, ".pack")
    for name in (pack.name.upper(), pack.stem.upper() + ".pack", "x.pack", "..pack", "README"):
        with suppress(FileExistsError):
            (pack.parent / name).write_bytes(b"nonsense")
    oid = id_of(DOCUMENT)
    twin = a / ".tupli" / "objects" / oid[:2].upper()
    twin.mkdir(exist_ok=True)
    (twin / oid[2:]).write_bytes(b"nonsense")
    (loose_path(a, oid).parent / oid[2:].upper()).write_bytes(b"nonsense")
    send(side(a), side(b), MADE.root)
    assert held(b) == MADE.objects


class Lying(DirectoryTransport):
    """A server of somebody else's: lists and sends what it likes."""

    def __init__(self, root: Path) -> None:
        super().__init__(RepositoryFiles(root / ".tupli"))
        self.extra: list[Entry] = []
        self.size: Callable[[int], int] = lambda size: size
        self.answer: Callable[[bytes], bytes] = lambda data: data
        self.asked: list[str] = []

    def list(self, folder: str) -> list[Entry]:
        found = super().list(folder)
        return [Entry(one.name, self.size(one.size), one.is_folder) for one in found] + self.extra

    def read(self, name: str, offset: int, size: int) -> bytes:
        self.asked.append(name)
        return self.answer(super().read(name, max(0, offset), max(0, size)))


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "packs/../../x.pack",
        "/etc/passwd",
        "packs/" + "A" * 64 + ".pack",
        "objects/ab/../../../x",
        "refs/x/../../y",
        "",
        "packs/\0",
        "objects/ab/" + "a" * 62 + "\n",
    ],
)
def test_names_that_a_server_makes_up_reach_no_path(
    a: Path, b: Path, tmp_path: Path, name: str
) -> None:
    lying = Lying(a)
    lying.extra = [Entry(name, 100), Entry(name, 100, is_folder=True)]
    cache = tmp_path / "cache"
    source = RemoteObjects(lying, cache)
    copy(source, side(b), closure_of(source, [MADE.root]).ids)
    assert held(b) == MADE.objects
    assert name not in lying.asked
    lying.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "cache"]
    assert {len(path.name) for path in cache.iterdir()} == {64 + len(".tail")}


@pytest.mark.parametrize("size", [0, 1, 71, 1 << 40, 1 << 62, -1, -(1 << 62)])
def test_sizes_that_a_server_makes_up_are_an_error(a: Path, b: Path, size: int) -> None:
    lying = Lying(a)
    lying.size = lambda _: size
    source = RemoteObjects(lying)
    tracemalloc.start()
    with pytest.raises((CorruptObjectError, NotFoundError)):
        copy(source, side(b), closure_of(source, [MADE.root]).ids)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    lying.close()


@pytest.mark.parametrize(
    "answer",
    [lambda data: data + b"\0" * 100, lambda data: data[:-1], lambda _: b"", lambda d: d[::-1]],
    ids=["more", "fewer", "nothing", "backwards"],
)
def test_answers_of_another_size_are_an_error(
    a: Path, b: Path, answer: Callable[[bytes], bytes]
) -> None:
    lying = Lying(a)
    lying.answer = answer
    source = RemoteObjects(lying)
    with pytest.raises((CorruptObjectError, NotFoundError)):
        copy(source, side(b), MADE.objects)
    lying.close()
    assert held(b) == {}


def test_a_server_that_changes_its_answers_between_two_reads_is_found_out(
    tmp_path: Path, b: Path
) -> None:
    a, made = tmp_path / "a", release(range(30), size=600_000)
    store = new_store(a)
    keep(store, made)
    store.close()
    lying = Lying(a)
    source = RemoteObjects(lying)
    ids = closure_of(source, [made.root]).ids
    lying.answer = lambda data: data[:-1] + b"?" if len(data) > 1 << 20 else data
    with pytest.raises(CorruptObjectError):
        copy(source, side(b), ids)
    lying.close()
    assert names(b, ".pack") == []


def bomb(size: int) -> bytes:
    """A sealed zstd frame of nothing but zeros."""
    frame = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(bytes(size))
    return frame + frames._seal(frame)


def test_bombs_are_refused_before_they_go_off(a: Path, b: Path) -> None:
    huge = bomb(256 << 20)
    path = loose_path(a, id_of(DOCUMENT))
    whole = path.read_bytes()
    tracemalloc.start()
    overwrite(path, huge)
    assert_refused(a, b, naming=str(path))
    overwrite(path, whole)
    (pack,) = names(a, ".pack")
    data = pack.read_bytes()
    trailer = struct.pack("<QQII32s8s", 8, 8, len(huge), 256 << 20, bytes(32), b"TUPLIPKE")
    overwrite(pack, data[:8] + huge + trailer)
    assert_refused(a, b, naming=str(pack))
    trailer = struct.pack("<QQII32s8s", 8, 8, len(huge), 16, bytes(32), b"TUPLIPKE")
    overwrite(pack, data[:8] + huge + trailer)
    assert_refused(a, b, naming=str(pack))
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_a_pack_of_blocks_that_swell_is_read_piece_by_piece(tmp_path: Path) -> None:
    """Ten blocks of 16 MiB of zeros lie in one range read, and nobody takes them as fast."""
    files = new_files(tmp_path)
    path = write_pack(
        files,
        [Object(kind=Kind.BLOB, body=bytes([n]) + bytes(16 << 20)) for n in range(10)],
    )
    files.close()
    (file,) = side(tmp_path).files()
    assert file.place == path
    tracemalloc.start()
    for read in file.read_blocks(range(10)):
        if read.number == 0:
            sleep(0.5)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_links_that_go_round_or_too_deep_end(tmp_path: Path) -> None:
    a = tmp_path / "deep"
    store = new_store(a)
    top = store.write(record(0, kind=Kind.RELEASE))
    for n in range(1, 30):
        top = store.write(record(n, top, kind=Kind.RELEASE))
    store.close()
    with pytest.raises(CorruptObjectError, match="deeper"):
        closure_of(side(a), [top])


def test_a_release_that_links_a_tombstone_is_refused(a: Path, b: Path) -> None:
    store = reopen(a)
    stone = store.write(record(9, kind=Kind.TOMBSTONE))
    top = store.write(record(9, stone, kind=Kind.RELEASE))
    store.close()
    with pytest.raises(InvalidInputError, match="tombstone"):
        send(side(a), side(b), top)
    assert held(b) == {}


def test_a_target_with_a_damaged_pack_gets_again_what_was_in_it(a: Path, b: Path) -> None:
    send(side(a), side(b), MADE.root)
    (pack,) = names(b, ".pack")
    overwrite(pack, pack.read_bytes()[:-20])
    target = side(b)
    report = send(side(a), target, MADE.root)
    assert report.copied == 6 * 2 + 1
    assert target.damage == [] or str(pack) in str(target.damage[0])
    again = side(b)
    assert dict(again.read_many(MADE.objects)) == MADE.objects


def test_an_empty_or_linked_loose_file_in_the_target_is_replaced(a: Path, b: Path) -> None:
    send(side(a), side(b), MADE.root)
    secret = b.parent / "secret"
    secret.write_bytes(b"not ours")
    overwrite(loose_path(b, id_of(DOCUMENT)), b"")
    loose_path(b, id_of(BENCHMARK)).unlink()
    loose_path(b, id_of(BENCHMARK)).symlink_to(secret)
    assert send(side(a), side(b), MADE.root).copied == 2
    assert held(b) == MADE.objects
    assert secret.read_bytes() == b"not ours"


def test_an_unsealed_journal_with_a_damaged_block_is_named(tmp_path: Path, b: Path) -> None:
    a = tmp_path / "j"
    store = new_store(a)
    keep(store, MADE, seal=False)
    store._close.detach()
    (journal,) = names(a, ".journal")
    data = bytearray(journal.read_bytes())
    data[1000] ^= 1
    overwrite(journal, bytes(data))
    assert_refused(a, b, naming=str(journal))


def test_a_remote_that_vanishes_is_an_error(a: Path, b: Path) -> None:
    source = side(a)
    ids = closure_of(source, [MADE.root]).ids
    shutil.rmtree(a / ".tupli")
    with pytest.raises((NotFoundError, StorageIOError)):
        copy(source, side(b), ids)
    assert held(b).items() <= MADE.objects.items()
