"""Objects, repositories and damage for the tests of the object database."""

import shutil
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from hypothesis import strategies as st

from tests.faults import HastyFileSystem
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.objects import Encoded, Kind, Object, ObjectId, encode, named, object_id
from tupli_repo.odb.pack import PackFile, PackWriter
from tupli_repo.odb.store import ObjectStore

HELLO = Object(kind=Kind.BLOB, body=b"hello")


def blob(number: int, size: int = 40) -> Object:
    """Return a blob of its own; no two numbers make the same."""
    return Object(kind=Kind.BLOB, body=((b"%d " % number) * size)[:size])


def record(number: int, *links: ObjectId, kind: Kind = Kind.EPISODE) -> Object:
    """Return a record of its own."""
    return Object(kind=kind, links=links, body=b'{"n_steps":%d}' % number)


def episode(number: int, size: int = 40) -> list[Object]:
    """Return a blob and the record that links it."""
    data = blob(number, size)
    return [data, record(number, id_of(data))]


def id_of(obj: Object) -> ObjectId:
    """Return the id of an object."""
    return object_id(encode(obj))


def encoded(obj: Object) -> Encoded:
    """Return an object as packs and journals take it."""
    return named(obj)


def by_id(objects: list[Object]) -> dict[ObjectId, Object]:
    """Return objects by their ids."""
    return {id_of(obj): obj for obj in objects}


def ids() -> st.SearchStrategy[ObjectId]:
    """Generate ids."""
    return st.binary(min_size=32, max_size=32).map(lambda raw: ObjectId(raw.hex()))


def objects(max_body: int = 200) -> st.SearchStrategy[Object]:
    """Generate objects of every kind."""
    return st.builds(
        Object,
        kind=st.sampled_from(Kind),
        links=st.lists(ids(), max_size=4).map(tuple),
        body=st.binary(max_size=max_body),
    )


def new_files(
    root: Path, fs: FileSystem | None = None, *, only_for: Iterable[Object] | None = None
) -> RepositoryFiles:
    """Make an empty repository; no fault hits while its folders are made.

    Args:
        root: Its folder.
        fs: The file system the tested code gets.
        only_for: Make only the fan-out folders these objects need (256 cost time); None: all.
    """
    files = RepositoryFiles(root / ".tupli", fs)
    root.mkdir(parents=True, exist_ok=True)
    if only_for is None:
        RepositoryFiles(files.root, HastyFileSystem()).create_folders()
    else:
        for name in ("objects", "packs", "refs", "staging", "trash", "damaged", "locks"):
            (files.root / name).mkdir(parents=True)
        for byte in {id_of(obj)[:2] for obj in only_for}:
            (files.objects / byte).mkdir()
    return files


def new_store(root: Path, fs: FileSystem | None = None) -> ObjectStore:
    """Make an empty repository and return its store."""
    return ObjectStore(new_files(root, fs))


def reopen(root: Path, fs: FileSystem | None = None) -> ObjectStore:
    """Return a new store on a repository, as the next process has it."""
    return ObjectStore(RepositoryFiles(root / ".tupli", fs))


def abandon(store: ObjectStore) -> None:
    """Leave a store as a killed process does: nothing is run at its end."""
    store._close.detach()


def everything(store: ObjectStore) -> dict[ObjectId, Object]:
    """Return all objects of a store after a fresh look."""
    store.refresh()
    return dict(store.read_many(store.ids()))


def loose_path(root: Path, oid: ObjectId) -> Path:
    """Return where a loose object lies."""
    return root / ".tupli" / "objects" / oid[:2] / oid[2:]


def names(root: Path, suffix: str) -> list[Path]:
    """Return the packs or journals of a repository."""
    return sorted((root / ".tupli" / "packs").glob(f"*{suffix}"))


def staged(root: Path) -> list[Path]:
    """Return the files that are left in `staging/`."""
    return [path for path in (root / ".tupli" / "staging").rglob("*") if path.is_file()]


def overwrite(path: Path, data: bytes) -> None:
    """Put other bytes in a finished file, as no writer of ours does."""
    path.chmod(0o644)
    path.write_bytes(data)


def empty_trash(root: Path) -> None:
    """Remove what could be read instead of what a test damages."""
    for run in (root / ".tupli" / "trash").iterdir():
        shutil.rmtree(run)


def flipped(data: bytes, *masks: int) -> Iterator[tuple[int, bytes]]:
    """Generate copies of ``data`` in each of which one byte is changed, with its offset."""
    for at in range(len(data)):
        for mask in masks:
            yield at, data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def read_all(file: BlockFile) -> dict[ObjectId, Object]:
    """Return all objects of a pack or journal."""
    return dict(file.read_many(file.directory.ids()))


def named_like_its_bytes(path: Path) -> bool:
    """Return whether a pack's name is the SHA-256 of its bytes."""
    return path.stem == sha256(path.read_bytes()).hexdigest()


def opened_pack(files: RepositoryFiles, path: Path) -> PackFile:
    """The pack at a path, with its directory read and checked."""
    pack = PackFile(files, path)
    assert pack.directory is not None
    return pack


def write_pack(files: RepositoryFiles, some: list[Object]) -> Path:
    with PackWriter(files) as writer:
        for obj in some:
            writer.add(*encoded(obj))
        return writer.commit()


def scratch_files(files: RepositoryFiles) -> list[Path]:
    return [path for path in (files.root / "staging").rglob("*") if path.is_file()]


def checked(files: RepositoryFiles, path: Path) -> dict[ObjectId, Object] | str:
    """Read everything back: the objects, or the damage that was told."""
    try:
        return read_all(opened_pack(files, path))
    except CorruptObjectError as err:
        damage = err
    assert str(path) in damage.message
    assert damage.path == path
    return damage.reason
