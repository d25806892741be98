"""What a project does with a drive, from the first record to the last removal."""

from pathlib import Path
from typing import Any

from tests.repository.people import artifact, benchmark, published, record
from tupli_repo.odb.filesystem import FileSystem
from tupli_repo.repository import Repository


def whole_life(folder: Path, fs: FileSystem) -> dict[str, Any]:
    """Live it on a file system; every step is checked.

    Returns:
        The folders, for whoever wants to look at them afterwards.
    """
    hub, one, two = folder / "hub", folder / "one", folder / "two"
    Repository.init(hub, bare=True, shared=True, fs=fs).close()
    with Repository.init(one, fs=fs) as ada:
        ada.add_remote("origin", hub)
        walk = benchmark(ada)
        first = set(record(ada, walk, 3))
        wind = artifact(ada, content=bytes(300_000))
        ada.publish("walk", episodes=True)
        assert ada.push().n_episodes == 3
        with Repository.clone(hub, two, fs=fs) as bob:
            assert published(bob) == first
            more = set(record(bob, walk, 2))
            bob.publish("walk", episodes=True)
            assert bob.push().n_episodes == 2
        assert ada.pull().n_episodes == 2
        assert published(ada) == first | more
        assert {header.id for header in ada.list_episodes()} == first | more
        (gone, *_rest) = sorted(first)
        ada.unpublish("walk", episodes=[gone])
        assert published(ada) == (first | more) - {gone}
        assert ada.push(prune=True).n_pruned == 1
        ada.remove([gone, wind])
        assert gone not in {header.id for header in ada.list_episodes()}
        assert ada.restore([gone])
        assert ada.status().remotes[0].error == ""
    with Repository(two, fs=fs) as bob:
        bob.pull()
        assert published(bob) == (first | more) - {gone}
        assert len(bob.load_episodes(sorted(published(bob))).columns()["rewards"]) == 8
    with Repository(hub, fs=fs) as drive:
        assert {header.id for header in drive.list_episodes()} == (first | more) - {gone}
        for verb in ("gc", "fsck"):  # those there are
            if hasattr(drive, verb):
                getattr(drive, verb)()
        assert {header.id for header in drive.list_episodes()} == (first | more) - {gone}
    return {"hub": hub, "one": one, "two": two}
