"""Bundles: a repository in one file, the same bytes each time; and files that only look like it."""

import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults import HastyFileSystem, Killed, RecordingFileSystem, each_step, full_disk
from tests.odb.samples import new_store
from tests.odb.sides import held, keep, release, send, side, tree
from tests.odb.test_transport import BAD
from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    RepositoryExistsError,
    RepositoryNotFoundError,
    StorageIOError,
    TupliError,
)
from tupli_repo.odb.bundle import BundleTransport, is_bundle, write_bundle
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.refs import Record, RefName, RefStore
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.transport import DirectoryTransport, Entry

MADE = release(range(4), size=9_000)
FORMAT = b'{"hash": "sha256", "id": "x", "requires": [], "role": "bare", "tupli": 1}\n'
LOOSE = "objects/ab/" + "c" * 62
PACK = "packs/" + "a" * 64 + ".pack"


def new_repository(root: Path) -> Path:
    """A repository with all that one may have; returns its `.tupli`."""
    store = new_store(root)
    keep(store, MADE)
    store.close()
    inner = root / ".tupli"
    RefStore(RepositoryFiles(inner)).put(
        Record(RefName("global", "dataset", "some"), 1, (), MADE.root)
    )
    (inner / "format.json").write_bytes(FORMAT)
    (inner / "config.toml").write_bytes(b"secret = 'not for others'")
    (inner / "locks" / "gc.lock").write_bytes(b"")
    (inner / "packs" / "NOTES.txt").write_bytes(b"a stranger")
    return inner


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_repository(tmp_path_factory.mktemp("r"))


@pytest.fixture(scope="module")
def bundle(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("b") / "some.bundle"
    assert write_bundle(root, target) == target.stat().st_size
    return target


def all_files(transport: DirectoryTransport | BundleTransport) -> dict[str, bytes]:
    """Every file that a transport lists, and its bytes."""
    folders, found = ["objects", "packs", "refs"], {}
    while folders:
        for entry in transport.list(folders.pop()):
            if entry.is_folder:
                folders.append(entry.name)
            else:
                found[entry.name] = transport.read(entry.name, 0, entry.size)
    return found


def zipped(
    tmp_path: Path,
    members: list[tuple[str, bytes]],
    *,
    method: int = zipfile.ZIP_STORED,
    with_format: bool = True,
) -> Path:
    """A ZIP file with these members, as anybody can make one."""
    target = tmp_path / "made.zip"
    with zipfile.ZipFile(target, "w", method) as archive:
        if with_format:
            archive.writestr(zipfile.ZipInfo(".tupli/format.json"), FORMAT)
        for name, data in members:
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is: the constructor repairs some
            info.compress_type = method
            archive.writestr(info, data)
    return target


def test_a_bundle_holds_what_the_repository_does_and_nothing_else(root: Path, bundle: Path) -> None:
    transport = BundleTransport(bundle)
    there = all_files(transport)
    assert there == all_files(DirectoryTransport(RepositoryFiles(root)))
    assert {name.partition("/")[0] for name in there} == {"objects", "packs", "refs"}
    assert transport.read("format.json", 0, 1000) == FORMAT
    with zipfile.ZipFile(bundle) as archive:
        names = set(archive.namelist())
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
        assert archive.namelist() == sorted(names, key=lambda name: (not name.endswith("/"), name))
    folders = {".tupli/objects/", ".tupli/packs/", ".tupli/refs/"}
    assert names == {f".tupli/{name}" for name in ("format.json", *there)} | folders
    transport.close()


def test_a_bundle_is_read_and_copied_from_as_any_other_side(tmp_path: Path, bundle: Path) -> None:
    new_store(tmp_path / "b").close()
    source = RemoteObjects(BundleTransport(bundle), tmp_path / "cache")
    send(source, side(tmp_path / "b"), MADE.root)
    assert held(tmp_path / "b") == MADE.objects


def test_parts_are_read_without_the_rest(tmp_path: Path, root: Path, bundle: Path) -> None:
    fs = RecordingFileSystem()
    transport = BundleTransport(bundle, fs)
    (pack,) = (entry for entry in transport.list("packs") if entry.name.endswith(".pack"))
    whole = (root / pack.name).read_bytes()
    assert pack == Entry(pack.name, len(whole))
    for offset, size in ((0, 8), (100, 50), (len(whole) - 5, 100), (len(whole), 9), (10**12, 9)):
        fs.clear()
        assert transport.read(pack.name, offset, size) == whole[offset : offset + size]
        assert [call.name for call in fs.calls] == ["read"]
    transport.close()


def test_the_same_repository_makes_the_same_bytes(tmp_path: Path, root: Path, bundle: Path) -> None:
    twin = tmp_path / "twin" / ".tupli"
    shutil.copytree(root, twin)
    for path in twin.rglob("*"):
        os.utime(path, (0, 0))
    (twin / "packs").chmod(0o700)
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    try:
        write_bundle(twin, tmp_path / "again")
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()
    assert (tmp_path / "again").read_bytes() == bundle.read_bytes()
    assert stat.S_IMODE((tmp_path / "again").stat().st_mode) & 0o222 == 0


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip here")
def test_unzip_makes_a_repository_of_it_that_can_be_written_to(
    tmp_path: Path, root: Path, bundle: Path
) -> None:
    subprocess.run(["unzip", "-q", bundle, "-d", tmp_path / "r"], check=True)
    made = tree(tmp_path / "r" / ".tupli")
    whole = tree(root)
    assert {name: whole[name] for name in made} == made
    store = new_store(tmp_path / "other")
    more = release(range(7, 9))
    keep(store, more)
    store.close()
    send(side(tmp_path / "other"), side(tmp_path / "r"), more.root)
    assert held(tmp_path / "r") == MADE.objects | more.objects


def test_progress_is_told_to_the_last_byte(tmp_path: Path, root: Path) -> None:
    told: list[tuple[int, int]] = []
    size = write_bundle(
        RepositoryFiles(root), tmp_path / "b", on_progress=lambda *n: told.append(n)
    )
    assert told == sorted(told)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1] < size


def test_a_bundle_is_never_changed(bundle: Path) -> None:
    before, transport = bundle.read_bytes(), BundleTransport(bundle)
    for act in (lambda: transport.put(PACK, [b""]), lambda: transport.delete(PACK)):
        with pytest.raises(StorageIOError, match="is a bundle, which is never changed") as caught:
            act()
        assert caught.value.hint
    transport.close()
    assert bundle.read_bytes() == before


def test_folders_are_listed_as_on_a_disk(bundle: Path) -> None:
    transport = BundleTransport(bundle)
    assert transport.list("refs") == [Entry("refs/global", -1, True)]
    assert transport.list("refs/global") == [Entry("refs/global/dataset", -1, True)]
    assert transport.list("refs/nothing") == []
    assert all(entry.is_folder for entry in transport.list("objects"))
    assert str(transport.place("packs/x")) == f"{bundle}:.tupli/packs/x"
    with pytest.raises(FileNotFoundError):
        transport.read(LOOSE, 0, 1)
    for name in BAD:
        with pytest.raises(InvalidInputError):
            transport.read(name, 0, 1)
    for name in ("..", "", "staging", "packs/x"):
        with pytest.raises(InvalidInputError):
            transport.list(name)
    transport.close()


def test_a_bundle_is_told_from_other_things(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "text").write_bytes(b"some text")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "link").symlink_to(bundle)
    assert is_bundle(bundle)
    assert is_bundle(tmp_path / "link")
    for name in ("text", "empty", "nothing", "."):
        assert not is_bundle(tmp_path / name)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert not is_bundle(tmp_path / "pipe")
    BundleTransport(tmp_path / "link").close()


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageIOError, match=r"there is no file '.*nothing'"):
        BundleTransport(tmp_path / "nothing")
    with pytest.raises(StorageIOError, match="not a regular file"):
        BundleTransport(tmp_path)
    target = zipped(tmp_path, [("readme.txt", b"hello")], with_format=False)
    with pytest.raises(RepositoryNotFoundError, match="there is no repository in"):
        BundleTransport(target)


# Files that nobody should believe.


def refused(path: Path) -> TupliError:
    """Opening a file, and reading all of it, ends in one line that names it."""

    def use() -> None:
        transport = BundleTransport(path)
        try:
            transport.read("format.json", 0, 1000)
            all_files(transport)
        finally:
            transport.close()

    with pytest.raises((CorruptObjectError, RepositoryNotFoundError)) as caught:
        use()
    assert str(path) in caught.value.message
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", [*BAD, "packs/x\0", "objects"])
def test_names_outside_the_grammar_are_left_out(tmp_path: Path, name: str) -> None:
    outside = [
        (f".tupli/{name}", b"evil"),
        (name, b"evil"),
        (f"/.tupli/{PACK}", b"evil"),
        (PACK, b"evil"),
    ]
    target = zipped(tmp_path, [*outside, (f".tupli/{LOOSE}", b"good")])
    before = tree(tmp_path)
    transport = BundleTransport(target)
    assert all_files(transport) == {LOOSE: b"good"}
    transport.close()
    assert tree(tmp_path) == before


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        target = zipped(tmp_path, [(f".tupli/{LOOSE}", b"one"), (f".tupli/{LOOSE}", b"two")])
    assert f"two files '{LOOSE}'" in refused(target).message


def test_compressed_files_are_refused(tmp_path: Path) -> None:
    target = zipped(tmp_path, [(f".tupli/{LOOSE}", b"x" * 999)], method=zipfile.ZIP_DEFLATED)
    assert "is compressed" in refused(target).message


def patched(tmp_path: Path, offset: int, data: bytes, *, where: str) -> Path:
    """A bundle of one loose object with other bytes in its local or central header."""
    target = zipped(tmp_path, [(f".tupli/{LOOSE}", b"x" * 50)])
    whole = bytearray(target.read_bytes())
    with zipfile.ZipFile(target) as archive:
        at = archive.getinfo(f".tupli/{LOOSE}").header_offset
        if where == "central":
            at = whole.index(b"PK\x01\x02", archive.start_dir + 4)
    whole[at + offset : at + offset + len(data)] = data
    target.write_bytes(whole)
    return target


@pytest.mark.parametrize(
    ("where", "offset", "data", "told"),
    [
        ("local", 6, b"\x01\0", "is encrypted"),
        ("central", 8, b"\x01\0", "is encrypted"),
        ("local", 8, b"\x08\0", "is compressed"),
        ("central", 10, b"\x08\0", "is compressed"),
        ("central", 20, struct.pack("<I", 40), "is compressed"),
        ("central", 20, struct.pack("<II", 10**9, 10**9), "reaches over its end"),
        ("central", 20, struct.pack("<II", 200, 200), "reaches over its end"),
        ("local", 28, b"\xff\xff", "reaches over its end"),
        ("local", 0, b"PK\x07\x08", "is not where its directory says"),
        ("local", 30, b".tupli/packs", "is not where its directory says"),
        ("local", 26, b"\x01\0", "is not where its directory says"),
        ("central", 42, struct.pack("<I", 10), "lies over another file"),
        ("central", 42, struct.pack("<I", 10**9), "reaches over its end"),
        ("central", 42, b"\xff\xff\xff\xff", "is damaged: "),
        ("central", 16, b"abcd", "fails its checksum"),
    ],
)
def test_headers_that_lie_are_refused(
    tmp_path: Path, where: str, offset: int, data: bytes, told: str
) -> None:
    assert told in refused(patched(tmp_path, offset, data, where=where)).message


def test_files_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    """As a ZIP bomb has them: one within the other."""
    inner = zipfile.ZipInfo(f".tupli/{LOOSE}")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(inner, b"x" * 30)
        at = archive.start_dir
    target = zipped(tmp_path, [(f".tupli/{PACK}", buffer.getvalue()[:at])])
    with zipfile.ZipFile(target, "a") as archive:
        outer = archive.getinfo(f".tupli/{PACK}")
        inner.header_offset = outer.header_offset + 30 + len(outer.filename)
        archive.filelist.append(inner)
        archive.comment = b"so that the directory is written"
    assert "lies over another file" in refused(target).message


def test_every_cut_is_refused(tmp_path: Path, bundle: Path) -> None:
    whole, target = bundle.read_bytes(), tmp_path / "cut"
    for size in [0, 1, 3, 4, *range(0, len(whole), len(whole) // 60), len(whole) - 1]:
        target.write_bytes(whole[:size])
        refused(target)
    target.write_bytes(whole)
    transport = BundleTransport(target)
    (pack,) = (entry for entry in transport.list("packs"))
    os.truncate(target, 20_000)  # under an open reader
    with pytest.raises(CorruptObjectError, match="it is cut off"):
        transport.read(pack.name, pack.size - 10, 10)
    transport.close()


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4),
    near_end=st.booleans(),
)
def test_whatever_is_changed_no_other_file_is_read(
    bundle: Path, tmp_path: Path, changes: list[tuple[float, bytes]], near_end: bool
) -> None:
    """Damage is told, or makes files missing; it never makes other bytes of whole ones."""
    whole, target = bytearray(bundle.read_bytes()), tmp_path / "changed"
    start = len(whole) * 9 // 10 if near_end else 0
    for where, data in changes:
        at = start + int(where * (len(whole) - len(data) - start))
        whole[at : at + len(data)] = data
    target.write_bytes(whole)
    original = BundleTransport(bundle)
    files = all_files(original)
    original.close()
    try:
        transport = BundleTransport(target)
    except (CorruptObjectError, RepositoryNotFoundError):
        return
    try:
        with suppress(CorruptObjectError):
            assert all_files(transport).items() <= files.items()
    finally:
        transport.close()


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    target = tmp_path_factory.getbasetemp() / "any"
    target.write_bytes(b"PK\x03\x04" + data)
    refused(target)


def test_large_bundles_have_the_headers_for_it(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a file could have 1000 bytes, and a ZIP file 10 files, before they are large."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)
    write_bundle(root, tmp_path / "large")
    monkeypatch.undo()
    assert b"PK\x06\x06" in (tmp_path / "large").read_bytes()
    transport = BundleTransport(tmp_path / "large")
    assert all_files(transport) == all_files(DirectoryTransport(RepositoryFiles(root)))
    transport.close()


def test_a_file_beyond_four_gigabytes_is_found_and_read(tmp_path: Path) -> None:
    """A sparse one: nothing of it is on the disk."""
    target, size = tmp_path / "huge", (4 << 30) + 100
    info = zipfile.ZipInfo(f".tupli/{PACK}")
    info.file_size = info.compress_size = size
    info.CRC = 0
    with target.open("wb") as file:
        file.write(info.FileHeader(zip64=True))
        file.truncate(file.tell() + size - 3)
        file.seek(0, os.SEEK_END)
        file.write(b"end")
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(zipfile.ZipInfo(".tupli/format.json"), FORMAT)
        info.header_offset = 0
        archive.filelist.append(info)
    transport = BundleTransport(target)
    assert transport.list("packs") == [Entry(PACK, size)]
    assert transport.read(PACK, size - 5, 100) == b"\0\0end"
    assert transport.read("format.json", 0, 1000) == FORMAT
    transport.close()


# Making one.


def small(root: Path) -> Path:
    """A repository of a few files; returns its `.tupli`."""
    files = RepositoryFiles(root / ".tupli", HastyFileSystem())
    for name, data in {"format.json": FORMAT, LOOSE: b"x" * 90, PACK: b"y" * 900}.items():
        (files.root / name).parent.mkdir(parents=True, exist_ok=True)
        (files.root / name).write_bytes(data)
    return files.root


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    root, target = small(tmp_path / "r"), tmp_path / "b"
    target.write_bytes(b"something")
    with pytest.raises(RepositoryExistsError, match=r"there is a file '.*b' already") as caught:
        write_bundle(root, target)
    assert caught.value.hint
    target.unlink()

    def appear(_done: int, _total: int) -> None:
        target.write_bytes(b"of somebody")

    with pytest.raises(RepositoryExistsError, match=r"there is a file '.*b' already"):
        write_bundle(root, target, on_progress=appear)
    assert target.read_bytes() == b"of somebody"
    assert {path.name for path in tmp_path.iterdir()} == {"r", "b"}


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError, match="there is no repository in"):
        write_bundle(tmp_path / "nothing", tmp_path / "b")
    with pytest.raises(InvalidInputError, match=r"there is no folder '.*gone'"):
        write_bundle(small(tmp_path / "r"), tmp_path / "gone" / "b")
    assert {path.name for path in tmp_path.iterdir()} == {"r"}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_in_a_repository_are_refused(tmp_path: Path) -> None:
    root = small(tmp_path / "r")
    (tmp_path / "private").write_bytes(b"of somebody else")
    (root / PACK).unlink()
    (root / PACK).symlink_to(tmp_path / "private")
    with pytest.raises(CorruptObjectError, match="not a regular file"):
        write_bundle(root, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_file_that_goes_meanwhile_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    root = small(tmp_path / "r")
    with pytest.raises(StorageIOError, match="was changed while it was bundled") as caught:
        write_bundle(
            root, tmp_path / "b", on_progress=lambda *_: (root / PACK).unlink(missing_ok=True)
        )
    assert caught.value.hint == "try again"
    assert {path.name for path in tmp_path.iterdir()} == {"r"}


def test_a_link_to_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_bundle(small(tmp_path / "r"), tmp_path / "link" / "b")
    assert is_bundle(tmp_path / "real" / "b")


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("fault", [full_disk, KeyboardInterrupt])
def test_a_fault_at_any_step_leaves_nothing(
    tmp_path: Path, fault: Callable[[], BaseException], *, lasting: bool
) -> None:
    root = small(tmp_path / "r")
    write_bundle(root, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for attempt in each_step(fault, torn=0.5, lasting=lasting):
        folder = tmp_path / str(attempt.step)
        folder.mkdir()
        with attempt:
            write_bundle(RepositoryFiles(root, attempt.fs), folder / "b")
        if isinstance(attempt.fs.fault, OSError) and attempt.error is not None:
            assert isinstance(attempt.error, StorageIOError)
        left = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert left in ({}, {"b": whole})  # whole where only the end of naming it failed
        assert left or attempt.error is not None
        assert not attempt.fs._paths
    assert attempt.step > 20


def test_death_at_any_step_leaves_all_of_it_or_no_file_of_that_name(tmp_path: Path) -> None:
    root = small(tmp_path / "r")
    write_bundle(root, tmp_path / "whole")
    for attempt in each_step(Killed, torn=0.5):
        folder = tmp_path / str(attempt.step)
        folder.mkdir()
        with attempt:
            write_bundle(RepositoryFiles(root, attempt.fs), folder / "b")
        left = {path.name: path.read_bytes() for path in folder.iterdir()}
        if "b" in left:
            assert left["b"] == (tmp_path / "whole").read_bytes()
        assert all(name == "b" or name.startswith(".b.") for name in left)
        if attempt.error is None:
            assert list(left) == ["b"]
