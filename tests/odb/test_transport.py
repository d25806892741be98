"""The directory transport: names by grammar, files whole and durable, links never followed."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import Attempt, Killed, RecordingFileSystem, each_step, full_disk
from tests.odb.samples import HELLO, id_of, new_files, new_store, staged
from tests.odb.sides import tree
from tupli_repo.errors import CorruptObjectError, InvalidInputError, StorageIOError
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.transport import DirectoryTransport, Entry, check_name, is_name

DATA = b"some bytes, as if they were a pack"
PACK = f"packs/{sha256(DATA).hexdigest()}.pack"
LOOSE = "objects/ab/" + "c" * 62
REF = f"refs/global/benchmark/pendulum-v1.2/00000003-{sha256(DATA).hexdigest()[:12]}"
JOURNAL = f"packs/{'d' * 32}.journal"

BAD = [
    "",
    "..",
    "../../x",
    "/etc/passwd",
    "config.toml",
    "packs",
    "packs/",
    "packs/../../x",
    PACK.upper(),
    PACK + "/",
    PACK + "\n",
    "./" + PACK,
    "objects/AB/" + "c" * 62,
    "objects/ab/" + "C" * 62,
    "objects/ab/" + "c" * 61,
    "refs/../benchmark/x/00000001-" + "a" * 12,
    "refs/global/benchmark/a..b/00000001-" + "a" * 12,
    "refs/Global/benchmark/x/00000001-" + "a" * 12,
    "refs/global/benchmark/x/1-" + "a" * 12,
    "staging/x",
    "locks/gc.lock",
    "packs\\" + "a" * 64 + ".pack",
]


@pytest.fixture
def files(tmp_path: Path) -> RepositoryFiles:
    return new_files(tmp_path / "r")


@pytest.fixture
def transport(files: RepositoryFiles) -> DirectoryTransport:
    return DirectoryTransport(files)


@pytest.mark.parametrize("name", [PACK, LOOSE, REF, JOURNAL, REF + ".yank"])
def test_what_is_put_is_listed_and_read_back_in_parts(
    transport: DirectoryTransport, name: str
) -> None:
    transport.put(name, [DATA[:5], b"", DATA[5:]])
    assert transport.list(name.rpartition("/")[0]) == [Entry(name, len(DATA))]
    assert transport.read(name, 0, 1000) == DATA
    assert transport.read(name, 5, 4) == DATA[5:9]
    assert transport.read(name, 1000, 4) == b""
    transport.delete(name)
    transport.delete(name)
    assert transport.list(name.rpartition("/")[0]) == []
    with pytest.raises(FileNotFoundError):
        transport.read(name, 0, 1)


def test_folders_of_refs_are_listed_as_folders(transport: DirectoryTransport) -> None:
    transport.put(REF, [DATA])
    assert transport.list("refs") == [Entry("refs/global", -1, True)]
    assert transport.list("refs/global") == [Entry("refs/global/benchmark", -1, True)]
    assert transport.list("refs/nothing") == []
    assert len(transport.list("objects")) == 256


@pytest.mark.parametrize("name", BAD)
def test_a_name_outside_the_grammar_never_reaches_the_disk(
    files: RepositoryFiles, transport: DirectoryTransport, name: str
) -> None:
    before = tree(files.root.parent.parent)
    for act in (
        lambda: transport.read(name, 0, 1),
        lambda: transport.put(name, [DATA]),
        lambda: transport.delete(name),
        lambda: check_name(name),
    ):
        with pytest.raises(InvalidInputError):
            act()
    if name != "packs":
        assert not is_name(name)
        with pytest.raises(InvalidInputError):
            transport.list(name)
    assert tree(files.root.parent.parent) == before


@given(st.text(alphabet="abf0./-\\ \n\0", max_size=40) | st.text(max_size=20))
def test_no_name_that_is_accepted_leads_out(text: str) -> None:
    for name in (text, f"refs/{text}", f"packs/{text}", f"objects/{text}"):
        if is_name(name):
            assert os.path.normpath(name) == name
            assert not name.startswith(("/", ".."))


def test_strangers_are_left_out_of_a_listing(
    files: RepositoryFiles, transport: DirectoryTransport
) -> None:
    for base in ("NOTES.txt", "x.pack", "A" * 64 + ".pack", ".DS_Store", "a" * 64 + ".pack.part"):
        (files.packs / base).write_bytes(b"")
    assert transport.list("packs") == []


def test_bytes_that_are_not_those_of_the_name_are_refused(
    files: RepositoryFiles, transport: DirectoryTransport
) -> None:
    for name in (PACK, REF):
        with pytest.raises(CorruptObjectError, match="hash"):
            transport.put(name, [DATA, b"!"])
    assert transport.list("packs") == []
    assert not staged(files.root.parent)


def test_a_name_that_exists_is_settled_and_a_damaged_one_replaced(tmp_path: Path) -> None:
    fs = RecordingFileSystem()
    files = new_files(tmp_path, fs)
    transport = DirectoryTransport(files)
    path = files.root / PACK
    path.write_bytes(DATA)
    transport.put(PACK, [DATA])
    names = [(name, at) for name, at in fs.changes() if at in (path, path.parent)]
    assert ("fsync", path) in names
    assert ("fsync_folder", path.parent) in names
    assert ("rename", path) not in names
    path.write_bytes(DATA[:-1])
    transport.put(PACK, [DATA])
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("fault", [Killed, full_disk], ids=["killed", "full"])
def test_a_put_that_fails_at_any_step_leaves_the_name_as_it_was(
    tmp_path: Path, fault: type[BaseException]
) -> None:
    for attempt in each_step(fault, torn=0.5):
        assert_put_is_whole_or_absent(tmp_path / str(attempt.step), attempt)


def assert_put_is_whole_or_absent(root: Path, attempt: Attempt) -> None:
    files = new_files(root, attempt.fs, only_for=[HELLO])
    with attempt:
        DirectoryTransport(files).put(REF, [DATA[:9], DATA[9:]])
    path = files.root / REF
    assert not path.exists() or path.read_bytes() == DATA
    DirectoryTransport(RepositoryFiles(files.root)).put(REF, [DATA])
    assert path.read_bytes() == DATA


def test_chunks_that_fail_leave_nothing(
    files: RepositoryFiles, transport: DirectoryTransport
) -> None:
    def chunks():
        yield DATA
        raise FileNotFoundError("the source is gone")

    with pytest.raises(FileNotFoundError):
        transport.put(PACK, chunks())
    assert transport.list("packs") == []
    assert not staged(files.root.parent)
    transport.close()
    assert not list((files.root / "staging").iterdir())


@pytest.mark.parametrize("folder", ["objects", "packs", "refs", "staging", "objects/ab", "refs/g"])
def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path, folder: str) -> None:
    files = new_files(tmp_path / "r")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ("c" * 62)).write_bytes(b"secret")
    inside = files.root / folder
    if inside.exists():
        for child in inside.iterdir():
            child.rmdir()
        inside.rmdir()
    inside.symlink_to(outside, target_is_directory=True)
    before = tree(outside)
    name = REF.replace("global", "g") if folder == "refs/g" else LOOSE
    name = PACK if folder == "packs" else name
    for act in (
        lambda: DirectoryTransport(files).list(name.rpartition("/")[0]),
        lambda: DirectoryTransport(files).read(name, 0, 10),
        lambda: DirectoryTransport(files).put(name, [DATA]),
        lambda: DirectoryTransport(files).delete(name),
    ):
        with pytest.raises(StorageIOError, match="not a folder"):
            act()
    assert tree(outside) == before


@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_what_is_no_file_is_told_not_opened_and_replaced_by_a_put(
    tmp_path: Path, what: str
) -> None:
    files = new_files(tmp_path / "r")
    path = files.root / LOOSE
    secret = tmp_path / "secret"
    secret.write_bytes(b"not yours")
    if what == "link":
        path.symlink_to(secret)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    transport = DirectoryTransport(files)
    assert transport.list("objects/ab") == [Entry(LOOSE, -1, what == "folder")]
    with pytest.raises(CorruptObjectError, match="regular file"):
        transport.read(LOOSE, 0, 10)
    if what == "folder":
        with pytest.raises(StorageIOError):
            transport.put(LOOSE, [DATA])
    else:
        transport.put(LOOSE, [DATA])
        assert not path.is_symlink()
        assert path.read_bytes() == DATA
    assert secret.read_bytes() == b"not yours"
    assert not staged(tmp_path / "r")


def test_loose_objects_are_read_as_the_store_writes_them(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.write(HELLO)
    oid = id_of(HELLO)
    transport = DirectoryTransport(RepositoryFiles(tmp_path / ".tupli"))
    (entry,) = transport.list(f"objects/{oid[:2]}")
    assert entry.name == f"objects/{oid[:2]}/{oid[2:]}"
    assert transport.place(entry.name).read_bytes() == transport.read(entry.name, 0, entry.size)
