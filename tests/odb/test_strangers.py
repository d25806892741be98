"""What is in the folders and not ours is left alone; what stands in for ours is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.odb.samples import (
    HELLO,
    abandon,
    by_id,
    episode,
    everything,
    id_of,
    loose_path,
    names,
    new_store,
    reopen,
)
from tupli_repo.errors import (
    StorageIOError,
)


def test_names_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.append(episode(1))
    store.seal()
    store.write(HELLO)
    (pack,) = names(tmp_path, ".pack")
    packs, loose = tmp_path / ".tupli" / "packs", tmp_path / ".tupli" / "objects"
    strangers = [
        packs / "notes.txt",
        packs / "README.pack",
        packs / f"{pack.stem[:-1]}.pack",
        packs / f"{pack.stem} (copy).pack",
        packs / f".{pack.name}",
        packs / f"{pack.name}.part",
        packs / f"{pack.stem.upper()}.pack",
        packs / "mine.journal",
        packs / f"{'g' * 32}.journal",
        loose / "README",
        loose / "me",
        loose / "ab" / "notes",
        loose / "ab" / ("A" * 62),
        loose / "ab" / ("a" * 61),
        loose / "ab" / f"{'a' * 62}.tmp",
    ]
    for path in strangers:
        path.write_bytes(b"somebody else's")
    (packs / "folder").mkdir()
    (loose / "folder").mkdir()
    (loose / "zz").mkdir()
    (loose / "zz" / ("a" * 62)).write_bytes(b"no fan-out of ours")
    assert everything(reopen(tmp_path)) == by_id([*episode(1), HELLO])
    assert all(path.read_bytes() == b"somebody else's" for path in strangers)


def as_link(path: Path, target: Path) -> None:
    path.rename(target)
    path.symlink_to(target)


def as_dangling_link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def as_folder(path: Path, _: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("put", [as_link, as_dangling_link, as_folder])
@pytest.mark.parametrize("where", ["pack", "journal", "loose"])
def test_what_stands_in_place_of_a_file_is_refused(
    tmp_path: Path, put: Callable[[Path, Path], None], where: str
) -> None:
    root = tmp_path / "repo"
    store = new_store(root)
    abandon(store)
    if where == "loose":
        path = loose_path(root, store.write(HELLO))
    else:
        store.append([HELLO])
        if where == "pack":
            store.seal()
        (path,) = names(root, f".{where}")
    put(path, tmp_path / "elsewhere")
    late = reopen(root)
    with pytest.raises(StorageIOError, match="not a regular file") as caught:
        everything(late)
    assert str(path) in caught.value.message
    with pytest.raises(StorageIOError, match="not a regular file"):
        late.read(id_of(HELLO))
    if where == "loose":
        with pytest.raises(StorageIOError, match="not a regular file"):
            late.write(HELLO)
