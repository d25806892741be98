"""The catalog of a repository: segments of its packs and members of its sets, made when missed.

Everything is a file that never changes, found by the name of what it was made of, so that any
number of processes use it at once without a lock. Whatever does not look like what was written is
made anew. Where files cannot be written, what would be in them stays in memory.

Invariant: `find` gives what packs, journals and sets hold, whatever became of the files.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

import numpy as np
from platformdirs import user_cache_path

from tupli_repo.catalog.found import Found, Wanted, groups_of
from tupli_repo.catalog.members import ReadSet, SetIds, dump_members, parse_members
from tupli_repo.catalog.rows import EpisodeRow, blocks_of
from tupli_repo.catalog.segment import DAMAGE, MAX_ROWS, Segment, encode_segment
from tupli_repo.odb.locks import ThreadLock

ReadPack = Callable[[str], Iterable[EpisodeRow]]
Groups = Mapping[str, Collection[str]]
"""The ids of the episode sets that are published in each group."""
OnProgress = Callable[[int, int], None]
"""Told how many packs of how many have been read."""
_SET = ".set"
_SCRATCH = ".tmp"
_LEFT_AGE_S = 3600.0  # what is younger may be of a pack that only others have seen so far
_FRESH_ROWS = 4096


def catalog_path(root: Path, repository_id: str) -> Path:
    """Return the folder where the catalog of a repository is, in the user's cache.

    Args:
        root: The real path of the `.tupli`: two copies of a repository have a catalog each.
        repository_id: What `format.json` says.
    """
    key = sha256(f"{root}\n{repository_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return user_cache_path("tupli", appauthor=False) / "catalogs" / key


def remove_catalog(folder: Path) -> None:
    """Remove what is kept of a repository, as far as that is possible; it is made anew."""
    rmtree(folder, ignore_errors=True)


class Catalog:
    """The episodes of a repository's packs and journals, and where they are published.

    Args:
        folder: Where its files are; it need not exist, and they may be damaged.
        read_pack: Gives the rows of a pack, by its file's name.
        read_set: Gives the ids of the episodes of an episode set, 32 bytes each, by its own id.
    """

    def __init__(self, folder: Path, read_pack: ReadPack, read_set: ReadSet) -> None:
        self.on_progress: OnProgress | None = None
        self._folder = folder
        self._read_pack = read_pack
        self._read_set = read_set
        self._lock = ThreadLock()
        self._packs: dict[str, list[Segment]] = {}
        self._sets: dict[str, SetIds] = {}
        self._fresh: dict[tuple[str, int], tuple[tuple[str, ...], Segment]] = {}
        self._is_untidy = False

    def find(
        self,
        packs: Collection[str],
        wanted: Wanted,
        *,
        groups: Groups,
        fresh: Mapping[str, Sequence[EpisodeRow]],
    ) -> Found:
        """Return what is wanted of the episodes there are.

        Args:
            packs: The names of the packs there are.
            wanted: What is asked for.
            groups: What is published.
            fresh: Rows of episodes that are in no pack yet, each once, by the journal they are in.

        Raises:
            CorruptObjectError: A pack or an episode set that is not in the catalog yet is damaged.
        """
        with self._lock:
            self._reconcile_packs(packs)
            self._reconcile_sets(groups)
            if self._is_untidy:  # now that it is known what is needed, and not before
                self._is_untidy = False
                self._tidy()
            segments = [one for name in sorted(packs) for one in self._packs[name]]
            segments += self._fresh_segments(fresh)
            but = [self._set(oid) for oid in wanted.but]
            return Found(segments, self._members(groups), wanted, but)

    def keep(self, packs: Collection[str]) -> None:
        """Have the files of some packs, so that `find` need not make them later.

        Raises:
            CorruptObjectError: A pack is damaged.
        """
        with self._lock:
            for name in packs:
                if name not in self._packs and self._stored_segments(name) is None:
                    for part, data in enumerate(self._made(name)):
                        self._kept(_segment_name(name, part), data)

    def published_in(self, ids: Collection[str], groups: Groups) -> dict[str, tuple[str, ...]]:
        """Return the groups, sorted, in which each of some episodes is published.

        Args:
            ids: Of episodes, in packs or elsewhere; 64 hex digits.
            groups: What is published.

        Raises:
            CorruptObjectError: An episode set that is not in the catalog yet is damaged.
        """
        if not groups:
            return dict.fromkeys(ids, ())
        with self._lock:
            self._reconcile_sets(groups)
            members = self._members(groups)
        raw = np.frombuffer(bytes.fromhex("".join(ids)), np.uint8).reshape(-1, 32)
        return dict(zip(ids, groups_of(raw, members), strict=True))

    def _members(self, groups: Groups) -> dict[str, list[SetIds]]:
        return {group: [self._sets[oid] for oid in sorted(sets)] for group, sets in groups.items()}

    # ---- packs

    def _reconcile_packs(self, packs: Collection[str]) -> None:
        """Have the segments of these packs, and no others."""
        self._packs = {name: self._packs[name] for name in packs if name in self._packs}
        new = [name for name in sorted(packs) if name not in self._packs]
        left = []
        for name in new:
            segments = self._stored_segments(name)
            if segments is None:
                left.append(name)
            else:
                self._packs[name] = segments
        for number, name in enumerate(left):
            self._tell(number, len(left))
            self._packs[name] = [
                self._segment(name, part, self._kept(_segment_name(name, part), data), data)
                for part, data in enumerate(self._made(name))
            ]
        if left:
            self._tell(len(left), len(left))
            self._is_untidy = True

    def _tell(self, done: int, of: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, of)

    def _stored_segments(self, pack: str) -> list[Segment] | None:
        """The segments of a pack that are kept; None where one is not as it was written."""
        found: list[Segment] = []
        try:
            while not found or not found[-1].is_last:
                number = len(found)
                one = self._segment(pack, number, self._folder / _segment_name(pack, number))
                if (one.pack, one.part) != (pack, number):
                    return None
                found.append(one)
        except DAMAGE:
            return None
        return found

    def _segment(
        self, pack: str, part: int, source: Path | bytes, data: bytes | None = None
    ) -> Segment:
        return Segment(source, lambda: self._made_anew(pack, part), data=data)

    def _made_anew(self, pack: str, part: int) -> bytes:
        """A segment that was damaged or removed; all of the pack's are kept again."""
        found = b""
        for number, data in enumerate(self._made(pack)):
            self._kept(_segment_name(pack, number), data)
            found = data if number == part else found
        return found

    def _made(self, pack: str) -> Iterator[bytes]:
        """Read a pack and iterate over its segments."""
        rows: list[EpisodeRow] = []
        part = 0
        for row in self._read_pack(pack):
            if len(rows) == MAX_ROWS:
                yield encode_segment(rows, pack, part=part, is_last=False)
                rows, part = [], part + 1
            rows.append(row)
        yield encode_segment(rows, pack, part=part, is_last=True)

    def _fresh_segments(self, fresh: Mapping[str, Sequence[EpisodeRow]]) -> list[Segment]:
        """Segments of what is in no pack yet; what was made before is not made again."""
        present: dict[tuple[str, int], tuple[tuple[str, ...], Segment]] = {}
        for name, rows in fresh.items():
            for start, end in blocks_of(rows, most=_FRESH_ROWS):
                content = tuple(row.id for row in rows[start:end])
                known = self._fresh.get((name, start))
                if known is None or known[0] != content:
                    data = encode_segment(rows[start:end], name, part=0, is_last=True)
                    known = content, Segment(data, None)
                present[name, start] = known
        self._fresh = present
        return [segment for _, segment in present.values()]

    # ---- sets

    def _reconcile_sets(self, groups: Groups) -> None:
        """Have the members of what is published."""
        wanted = {oid for sets in groups.values() for oid in sets}
        if wanted == self._sets.keys():
            return
        self._sets = {oid: self._set(oid) for oid in sorted(wanted)}
        self._is_untidy = True
        for segment in (one for some in self._packs.values() for one in some):
            for gone in segment.members.keys() - wanted:
                del segment.members[gone]

    def _set(self, oid: str) -> SetIds:
        if oid in self._sets:
            return self._sets[oid]
        path = self._folder / f"{oid}{_SET}"
        with suppress(*DAMAGE):
            return parse_members(oid, path.read_bytes())
        data = dump_members(oid, self._read_set(oid))
        self._kept(path.name, data)
        return parse_members(oid, data)

    # ---- files

    def _kept(self, name: str, data: bytes) -> Path | bytes:
        """Write a file, whole or not at all; returns it, or ``data`` where that is impossible."""
        final, scratch = self._folder / name, self._folder / f"{uuid4().hex}{_SCRATCH}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            scratch.write_bytes(data)
            scratch.replace(final)
        except OSError:
            with suppress(OSError):
                scratch.unlink()
            return data
        return final

    def _tidy(self) -> None:
        """Remove what is of no pack here, and sets that are published no more.

        A set may come back: they stay until they outweigh the others.
        """
        sizes: dict[bool, int] = {True: 0, False: 0}
        unused: list[Path] = []
        with suppress(OSError):
            for path in list(self._folder.iterdir()):
                if path.suffix == _SET:
                    is_used = path.stem in self._sets
                    sizes[is_used] += path.stat().st_size
                    unused += [] if is_used else [path]
                elif self._is_left_over(path):
                    path.unlink()
            if sizes[False] > sizes[True]:
                for path in unused:
                    path.unlink()

    def _is_left_over(self, path: Path) -> bool:
        of = path.name.rpartition(".")[0]
        if path.suffix != _SCRATCH and (of in self._packs or of in self._sets):
            return False
        return path.stat().st_mtime < time.time() - _LEFT_AGE_S


def _segment_name(pack: str, number: int) -> str:
    return f"{pack}.{number}"
