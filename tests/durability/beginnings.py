"""Disks on which something has happened: what is to be cleaned, merged and repaired.

Each is the world's beginning, and more; `Base.more` names what a scenario goes on with.
"""

from datetime import timedelta
from functools import cache
from pathlib import Path

from tests.durability.world import DRIVE, LAB, Base, Fact, base, begun, look, wait, walk_of
from tests.faults import MemoryFileSystem
from tests.odb.samples import abandon
from tests.repository.people import artifact, benchmark, record
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.repository import Repository

AT_ONCE = timedelta(0)
DAY = timedelta(days=1)
LONG = 15 * DAY
"""What has been in the trash for so long is removed for good by the next run."""


@cache
def untidy() -> Base:
    """Ada's repository has all there is to clean; ``more`` is a benchmark that is to come back.

    Live and hidden episodes, small packs and one that is half dead, a dead writer's journal and
    private folder, things nothing leads to, an old run of the trash with something in it that is
    reachable again.
    """
    disk = base().disk.copy()
    ada = Repository(LAB / "ada", fs=disk)
    walk = walk_of(ada)
    lone = benchmark(ada, "lone", digest="lone")
    ada.remove([lone])
    ada._store.write(Object(kind=Kind.BLOB, body=b"old garbage"))
    ada.close()
    wait(disk, 2 * DAY)
    ada.gc()
    ada._shelf.tombstones.reveal([ObjectId(lone)], user="ada")
    wrong = record(ada, walk, 3, junk="x" * 500)
    record(ada, walk, 1)
    ada.close()
    for n in range(2):
        record(ada, walk, 2, small=n)
        ada.close()
    ada.remove([*wrong, artifact(ada, "draft", b"4,5,6")])
    dead = Repository(LAB / "ada", fs=disk)
    record(dead, walk, 2, dead=True)
    abandon(dead._store)
    ada._store.write(Object(kind=Kind.BLOB, body=b"garbage"))
    ada.close()
    private = f"{LAB}/ada/.tupli/staging/{'a' * 32}"
    disk.make_folders(private)
    disk.overwrite(f"{private}/{'b' * 32}", b"half a file")
    wait(disk, LONG)
    found = begun(disk, (lone,))
    # What was removed is no longer told of once it is in the trash; it stays unlisted.
    promises = [
        one._replace(fact=("not", ("episode", one.fact[1]))) if one.fact[0] == "hidden" else one
        for one in found.promises
    ]
    return found._replace(promises=tuple(promises))


@cache
def outdated() -> Base:
    """Ada has taken back what was on the drive, ``more``, and removed it there."""
    disk = base().disk.copy()
    ada = Repository(LAB / "ada", fs=disk)
    walk = walk_of(ada)
    back = record(ada, walk, 3, why="taken back")
    kept = record(ada, walk, 2, why="kept")
    ada.publish("walk", episodes=[*back, *kept])
    ada.push()
    ada.unpublish("walk", episodes=back[:2])
    ada.push(prune=True)
    ada.unpublish("walk", episodes=back[2:])
    ada.push()
    drive = Repository(DRIVE, fs=disk)
    drive._store.write(Object(kind=Kind.BLOB, body=b"of a push that was cut off"))
    drive.close()
    ada.close()
    wait(disk, 2 * DAY)
    return begun(disk, back)


@cache
def scattered() -> Base:
    """Ada has many small packs, some of which hold the same."""
    disk = base().disk.copy()
    ada = Repository(LAB / "ada", fs=disk)
    walk = walk_of(ada)
    for n in range(5):
        record(ada, walk, 1 + n % 3, pack=n)
        ada.close()
    ada.gc(grace=100 * LONG)  # merged; what they were made of lies in the trash
    trash = disk.files(LAB / "ada" / ".tupli" / "trash")
    packs = [Path(path) for path in trash if path.endswith(".pack")]
    assert len(packs) > 3
    for path in packs[:3]:
        disk.overwrite(LAB / "ada" / ".tupli" / "packs" / path.name, trash[str(path)])
    for n in range(3):
        record(ada, walk, 1 + n % 2, later=n)
        ada.close()
    _empty_trash(disk)
    return begun(disk)


@cache
def damaged() -> Base:
    """Ada's repository is damaged; the drive has what is lost, and nothing else of hers has it."""
    disk = base().disk.copy()
    ada = Repository(LAB / "ada", fs=disk)
    known = set(disk.files(LAB / "ada"))
    new = record(ada, walk_of(ada), 4, why="damaged", long="y" * 300)
    ada.publish("walk", episodes=[*new, *base().more])
    ada.publish(artifact(ada, "series", b"7,8,9" * 50))
    ada.push()
    ada.close()
    _empty_trash(disk)
    mended = look(disk, LAB / "ada")
    found = begun(disk)
    for byte in range(256):  # 'init' and 'cloning' make them: here they would be most of the steps
        disk.make_folders(LAB / "ada" / ".tupli" / "objects" / f"{byte:02x}")
    files = {path: data for path, data in disk.files(LAB / "ada").items() if path not in known}
    packs = [path for path in files if path.endswith(".pack")]
    loose = [path for path in files if "/objects/" in path]
    refs = [path for path in files if "/refs/" in path]
    assert packs
    assert len(loose) > 3
    assert refs
    spoilt = []
    for path in (packs[0], loose[0], refs[0]):
        data = bytearray(files[path])
        data[len(data) // 3] ^= 0x10
        disk.overwrite(path, bytes(data))
        spoilt.append(bytes(data))
    disk.overwrite(loose[1], files[loose[1]][:20])
    spoilt.append(files[loose[1]][:20])
    disk.remove(Path(loose[2]))
    promises = tuple(one for one in found.promises if one.where != "ada")
    facts: tuple[Fact, ...] = tuple(mended)
    return found._replace(promises=promises, spoilt=tuple(spoilt), mended=facts)


def _empty_trash(disk: MemoryFileSystem) -> None:
    names = disk._named(LAB / "ada" / ".tupli" / "trash").names
    assert names is not None
    names.clear()
