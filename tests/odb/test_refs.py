"""Refs: what is put is there, whole and durable; what is damaged or strange is told."""

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import Killed, RecordingFileSystem, each_step, full_disk
from tests.odb.samples import new_files, overwrite
from tupli_repo.errors import CorruptObjectError, InvalidInputError, StorageIOError
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.refs import Record, RefName, RefStore, Yank, is_ref_word, parse_ref_name

NAME = RefName("global", "benchmark", "pendulum")
FIRST = Record(NAME, 1, (), ObjectId("ab" * 32))
YANK = Yank(created_at="2026-01-01T00:00:00.000000Z", created_by="ada", why="wrong wind")


def following(record: Record, release: str = "cd") -> Record:
    return Record(record.name, record.generation + 1, (record.hash,), ObjectId(release * 32))


def opened(root: Path, fs: FileSystem | None = None) -> RefStore:
    """Return the refs of a repository as the next process has them."""
    refs = RefStore(RepositoryFiles(root / ".tupli", fs))
    refs.refresh()
    return refs


def path_of(root: Path, record: Record) -> Path:
    return root / ".tupli" / "refs" / Path(*record.name) / record.file_name


@pytest.fixture
def refs(tmp_path: Path) -> RefStore:
    return RefStore(new_files(tmp_path, only_for=[]))


def test_a_record_is_the_canonical_json_that_its_hash_names(refs: RefStore, tmp_path: Path) -> None:
    refs.put(FIRST)
    data = path_of(tmp_path, FIRST).read_bytes()
    assert data == (
        b'{"generation":1,"group":"global","kind":"benchmark","name":"pendulum","parents":[],'
        b'"release":"' + b"ab" * 32 + b'"}\n'
    )
    assert FIRST.hash == sha256(data).hexdigest()
    assert path_of(tmp_path, FIRST).name == f"00000001-{FIRST.hash[:12]}"


def test_what_is_put_is_there_for_the_next_process(refs: RefStore, tmp_path: Path) -> None:
    second, other = following(FIRST), FIRST._replace(name=NAME._replace(group="lab"))
    for record in (FIRST, second, other, second):
        refs.put(record)
    for found in (refs, opened(tmp_path)):
        assert found.names() == [NAME, other.name]
        assert found.records(NAME) == {FIRST.hash: FIRST, second.hash: second}
        assert found.all() == {NAME: found.records(NAME), other.name: {other.hash: other}}
        assert found.records(NAME._replace(name="nothing")) == {}
        assert found.strangers() == []


def test_what_others_put_is_seen_after_a_refresh_and_known_files_are_not_read_again(
    refs: RefStore, tmp_path: Path
) -> None:
    refs.put(FIRST)
    fs = RecordingFileSystem()
    mine = opened(tmp_path, fs)
    second = following(FIRST)
    refs.put(second)
    assert list(mine.records(NAME)) == [FIRST.hash]
    fs.clear()
    mine.refresh()
    assert set(mine.records(NAME)) == {FIRST.hash, second.hash}
    read = [call.path for call in fs.calls if call.name == "read"]
    assert read == [path_of(tmp_path, second)]


def test_a_yank_stands_beside_its_record_and_the_first_is_kept(
    refs: RefStore, tmp_path: Path
) -> None:
    refs.put(FIRST)
    refs.put_yank(FIRST, YANK)
    refs.put_yank(FIRST, YANK.model_copy(update={"why": "other"}))
    assert refs.yanks(NAME) == opened(tmp_path).yanks(NAME) == {FIRST.hash: YANK}
    path_of(tmp_path, FIRST).unlink()
    assert opened(tmp_path).yanks(NAME) == {}


def test_a_record_that_went_is_forgotten(refs: RefStore, tmp_path: Path) -> None:
    refs.put(FIRST)
    path_of(tmp_path, FIRST).unlink()
    refs.refresh()
    assert refs.names() == []


# ---- names


@pytest.mark.parametrize(
    "text",
    ["a", "9", "pendulum", "v1.2", "a-b_c.d", "x" * 64, "console", "a.con", "nul-x", "locks"],
)
def test_a_name_is_accepted(text: str) -> None:
    assert parse_ref_name("global", "dataset", text).name == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.",
            "-a",
            "_a",
            "A",
            "ä",
            "ß",
            "a b",
            "a/b",
            "a\\b",
            "a\n",
        ),
        *(
            "x" * 65,
            "a.lock",
            "a.yank",
            "con",
            "nul",
            "con.txt",
            "com1",
            "lpt9.x",
            "aux.a.b",
            "a:b",
        ),
        *("\u212a", "a\u0301", "\uff41", "a\0"),
    ],
)
def test_a_name_that_is_not_the_same_everywhere_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be the name"):
        parse_ref_name("global", "dataset", text)
    with pytest.raises(InvalidInputError, match="cannot be the group"):
        parse_ref_name(text, "dataset", "a")
    assert not is_ref_word(text, max_length=64)


def test_a_group_is_shorter_and_a_kind_is_one_of_three() -> None:
    with pytest.raises(InvalidInputError, match="group"):
        parse_ref_name("g" * 25, "dataset", "a")
    with pytest.raises(InvalidInputError, match="cannot be published"):
        parse_ref_name("global", "episode", "a")


@given(st.text(max_size=70))
def test_a_name_that_is_accepted_is_one_part_of_a_path(text: str) -> None:
    if is_ref_word(text, max_length=64):
        assert Path("a", text).name == text == text.lower()
        assert text.isascii()


# ---- damage and strangers


def test_a_damaged_record_is_told_by_its_path(refs: RefStore, tmp_path: Path) -> None:
    refs.put(FIRST)
    path = path_of(tmp_path, FIRST)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        overwrite(path, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CorruptObjectError) as told:
            opened(tmp_path)
        assert told.value.path == path
    with pytest.raises(CorruptObjectError, match="other bytes than its name says"):
        refs.put(FIRST)
    overwrite(path, whole)
    assert list(opened(tmp_path).records(NAME)) == [FIRST.hash]


LIES = [
    {"generation": 0},
    {"generation": 2},
    {"generation": "1"},
    {"generation": 10**8},
    {"group": "lab"},
    {"kind": "dataset"},
    {"name": "other"},
    {"name": "../../x"},
    {"parents": ["cd" * 32]},
    {"parents": ["nonsense"]},
    {"parents": 1},
    {"release": "AB" * 32},
    {"release": "ab"},
    {"more": 1},
    {"release": None},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_record_that_lies_is_damaged(refs: RefStore, tmp_path: Path, lie: dict[str, Any]) -> None:
    fields = json.loads(FIRST.dump()) | lie
    put_bytes(tmp_path, fields)
    with pytest.raises(CorruptObjectError, match="is damaged"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[" * 10**5,
        b"\xff\xfe",
        json.dumps(json.loads(FIRST.dump())).encode(),  # spaces
        FIRST.dump().rstrip(),
        FIRST.dump() + b"\n",
        FIRST.dump().replace(b"[]", b'["' + b"cd" * 32 + b'","' + b"ab" * 32 + b'"]'),  # no order
        b" " * (5 << 20),
    ],
    ids=range(9),
)
def test_a_record_of_other_bytes_is_damaged(refs: RefStore, tmp_path: Path, data: bytes) -> None:
    put_bytes(tmp_path, data)
    with pytest.raises(CorruptObjectError, match="is damaged"):
        opened(tmp_path)


def put_bytes(root: Path, content: dict[str, Any] | bytes) -> None:
    """Put some bytes under the name they would have."""
    data = (
        content
        if isinstance(content, bytes)
        else (json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n").encode()
    )
    folder = path_of(root, FIRST).parent
    folder.mkdir(parents=True)
    (folder / f"00000001-{sha256(data).hexdigest()[:12]}").write_bytes(data)


def test_a_damaged_yank_is_told_by_its_path(refs: RefStore, tmp_path: Path) -> None:
    refs.put(FIRST)
    path = path_of(tmp_path, FIRST)
    path.with_name(f"{path.name}.yank").write_bytes(b'{"created_at":1}')
    with pytest.raises(CorruptObjectError, match=r"\.yank' is damaged"):
        opened(tmp_path)


def test_strangers_are_listed_and_never_read(refs: RefStore, tmp_path: Path) -> None:
    refs.put(FIRST)
    root = tmp_path / ".tupli" / "refs"
    outside = tmp_path / "outside" / "benchmark" / "stolen"
    outside.mkdir(parents=True)
    (outside / FIRST.file_name).write_bytes(FIRST.dump())
    for stranger in (
        "README",
        "Global/benchmark/x/y",
        "global/episode/x/y",
        "global/benchmark/Pendulum/00000001-abcdefabcdef",
        "global/benchmark/.DS_Store",
        f"global/benchmark/pendulum/{FIRST.file_name}.tmp",
        "global/benchmark/pendulum/00000001-ABCDEFABCDEF",
        "global/benchmark/pendulum/x.yank",
    ):
        (root / stranger).parent.mkdir(parents=True, exist_ok=True)
        (root / stranger).write_text("?")
    os.symlink(tmp_path / "outside", root / "linked")
    os.symlink(outside, root / "global" / "benchmark" / "linked")
    found = opened(tmp_path)
    assert found.all() == {NAME: {FIRST.hash: FIRST}}
    assert sorted(found.strangers()) == sorted(
        [
            "Global",
            "README",
            "global/benchmark/.DS_Store",
            "global/benchmark/Pendulum",
            "global/benchmark/linked",
            f"global/benchmark/pendulum/{FIRST.file_name}.tmp",
            "global/benchmark/pendulum/00000001-ABCDEFABCDEF",
            "global/benchmark/pendulum/x.yank",
            "global/episode",
            "linked",
        ]
    )


def test_nothing_is_put_through_a_link(refs: RefStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(outside, tmp_path / ".tupli" / "refs" / "global")
    with pytest.raises(StorageIOError):
        refs.put(FIRST)
    assert list(outside.rglob("*")) == []


def test_a_name_has_an_end(refs: RefStore) -> None:
    with pytest.raises(InvalidInputError, match="too many revisions"):
        refs.put(FIRST._replace(generation=10**8, parents=("ab" * 32,)))


# ---- failures


@pytest.mark.parametrize("fault", [Killed, full_disk])
def test_putting_that_fails_anywhere_leaves_the_record_whole_or_not_there(
    tmp_path: Path, fault
) -> None:
    for attempt in each_step(fault):
        root = tmp_path / str(attempt.step)
        refs = RefStore(new_files(root, attempt.fs, only_for=[]))
        with attempt:
            refs.put(FIRST)
            refs.put_yank(FIRST, YANK)
        left = opened(root)
        assert left.all() in ({}, {NAME: {FIRST.hash: FIRST}})
        assert left.strangers() == []
        left.put(FIRST)
        left.put_yank(FIRST, YANK)
        assert opened(root).yanks(NAME) == {FIRST.hash: YANK}


def test_a_record_is_on_the_disk_before_its_name_and_its_folders_are_durable(
    tmp_path: Path,
) -> None:
    fs = RecordingFileSystem()
    RefStore(new_files(tmp_path, fs, only_for=[])).put(FIRST)
    path = path_of(tmp_path, FIRST)
    changes = fs.changes()
    named = changes.index(("link", path))
    assert "fsync" in [name for name, _ in changes[:named]]
    assert ("fsync_folder", path.parent) in changes[named:]
    for made in (path.parent, path.parent.parent, path.parent.parent.parent):
        assert ("fsync_folder", made.parent) in changes[:named]


def test_one_that_exists_is_made_durable_before_it_is_relied_on(
    refs: RefStore, tmp_path: Path
) -> None:
    refs.put(FIRST)
    fs = RecordingFileSystem()
    RefStore(RepositoryFiles(tmp_path / ".tupli", fs)).put(FIRST)
    assert ("fsync", path_of(tmp_path, FIRST)) in fs.changes()
