"""Bringing back what is damaged or missing, and setting aside what is damaged.

What is lost is looked for in the repository itself (other packs, the trash), then in its remotes.
What is linked is written before what links it, records of names last, and a damaged file leaves
its place when all that is to replace it is durable. So a run that dies loses nothing, and the next
one completes it.

Invariant: nothing is deleted, no content is altered, and what is not brought back is told.
"""

from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path

from tupli_repo.codec.episode_record import decode_record
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import RepositoryFiles, is_block_file_name
from tupli_repo.odb.maintenance.bench import Bench
from tupli_repo.odb.maintenance.check import Choice, OnProgress, loose_path
from tupli_repo.odb.maintenance.check_refs import missing_parents
from tupli_repo.odb.maintenance.links import Cause
from tupli_repo.odb.maintenance.names import Damage, relative
from tupli_repo.odb.objects import Encoded, Kind, ObjectId
from tupli_repo.odb.refs import YANK_SUFFIX, RefName
from tupli_repo.repository.health.checkup import FORMAT_FILE, SETTINGS_FILE, Checkup, name_of
from tupli_repo.repository.health.others import Others
from tupli_repo.repository.health.planning import PACKED, Plan
from tupli_repo.repository.health.settings import salvaged_format, salvaged_settings
from tupli_repo.schema import utc_now
from tupli_repo.schema.checks import Lost, LostEpisodes, RepairReport, Restored

_ROUNDS = 5
_FIRST = (
    Kind.BLOB,
    Kind.PROVENANCE,
    Kind.TOMBSTONE,
    Kind.ANNOTATION,
    Kind.ARTIFACT,
    Kind.BENCHMARK,
)
_LAST = (Kind.EPISODES, Kind.RELEASE)
_MOST_SALVAGED_BYTES = 1 << 20  # what is longer is no settings of ours


class Mending:
    """One repair of a repository.

    Args:
        files: The repository's files.
        remotes: Names or places of the repositories to ask; all that are known here where None.
        dry_run: Whether nothing is done but to tell.
        on_progress: Told how far the first look at all bytes has come.
    """

    def __init__(
        self,
        files: RepositoryFiles,
        *,
        remotes: Iterable[str] | None = None,
        dry_run: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._files = files
        self._asked = None if remotes is None else list(remotes)
        self._dry_run = dry_run
        self._on_progress = on_progress
        self._bench = Bench(files, utc_now())
        self._restored: dict[str, Restored] = {}
        self._rebuilt: list[str] = []
        self._salvaged: set[ObjectId] = set()
        self._lost: dict[str, Lost] = {}
        self._given_up: set[ObjectId] = set()
        self._others: Others | None = None

    def run(self) -> RepairReport:
        """Repair, and tell what is left.

        Raises:
            UnsupportedFormatError: A newer version wrote the repository.
            StorageIOError: The disk refused; nothing is lost by that, and the next run goes on.
        """
        checkup = Checkup(self._files, Choice(everything=True), self._on_progress)
        try:
            self._mend(checkup)
            if not self._dry_run:
                for _ in range(_ROUNDS):
                    before = self._n_changes
                    checkup = Checkup(self._files, Choice())
                    self._mend(checkup)
                    if self._n_changes == before:
                        break
                self._rebuild(checkup)
            return self._report(checkup)
        finally:
            self._files.close()
            if self._others is not None:
                self._others.close()

    def _mend(self, checkup: Checkup) -> None:
        self._mend_settings(checkup)
        others = self._opened()
        others.check_asked()
        plan = Plan(checkup, others.sources() if self._is_wanting(checkup) else [], self._given_up)
        if self._dry_run:
            for oid, kind in plan.kinds.items():
                self._restored[oid] = Restored(object_id=oid, kind=kind, source="")
        else:
            notes = self._notes(checkup)
            is_alone = {oid: not plan.is_packed(oid) for oid in plan.kinds}
            for kind in _FIRST:
                self._write_loose(plan, kind, is_alone, notes)
            self._write_packs(plan, [oid for oid in plan.kinds if not is_alone[oid]])
            self._salvage(checkup)
            for kind in (Kind.EPISODE, *_LAST):
                self._write_loose(plan, kind, is_alone, notes)
            self._mend_names(checkup, others)
            for damage in checkup.damage:
                if self._is_in_place(damage):
                    self._bench.set_aside(damage.path, _note(damage))
        self._note_lost(checkup, plan)

    @property
    def _n_changes(self) -> int:
        return len(self._bench.moved) + len(self._bench.replaced) + len(self._rebuilt)

    def _is_wanting(self, checkup: Checkup) -> bool:
        return any(is_block_file_name(damage.path.name) for damage in checkup.damage) or any(
            cause.held if cause.missing is None else checkup.is_lost(cause)
            for cause in checkup.links.causes
        )

    def _opened(self) -> Others:
        if self._others is None:
            self._others = Others(self._files, self._asked)
        return self._others

    # ---- objects

    def _notes(self, checkup: Checkup) -> dict[Path, str]:
        return {damage.path: _note(damage) for damage in checkup.damage}

    def _write_loose(
        self,
        plan: Plan,
        kind: Kind,
        is_alone: dict[ObjectId, bool],
        notes: dict[Path, str],
    ) -> None:
        wanted = [oid for oid, found in plan.kinds.items() if found is kind and is_alone[oid]]
        with closing(plan.read_from(wanted)) as found:  # no file stays open where the disk fails
            for source, (oid, _, encoded) in found:
                self._bench.write_loose(oid, encoded, notes.get(loose_path(self._files, oid), ""))
                self._note_restored(oid, kind, source)

    def _write_packs(self, plan: Plan, ids: list[ObjectId]) -> None:
        """Write episodes with their blobs; blobs first, so that no record is there before them."""
        restored: list[tuple[ObjectId, Kind, str]] = []

        def found() -> Generator[Encoded, None, None]:
            for kind in PACKED:
                some = [oid for oid in ids if plan.kinds[oid] is kind]
                for source, item in plan.read_from(some):
                    restored.append((item[0], kind, source))
                    yield item

        with closing(found()) as objects:
            self._bench.write_packs(objects)
        for item in restored:
            self._note_restored(*item)

    def _salvage(self, checkup: Checkup) -> None:
        """Copy what is whole in damaged packs and journals into new packs."""
        for name, scan in checkup.survey.scans.items():
            if self._files.status(self._files.packs / name) is None:
                continue  # superseded meanwhile
            ids = list(scan.file.directory.ids())
            damage = next(one for one in checkup.damage if one.path.name == name)
            with closing(_all_of(scan.file, ids)) as objects:
                self._bench.write_packs(objects, _note(damage))
            self._salvaged.update(ids)

    def _note_restored(self, oid: str, kind: str, source: str) -> None:
        self._restored[oid] = Restored(object_id=oid, kind=kind, source=source)
        self._lost.pop(oid, None)

    def _note_lost(self, checkup: Checkup, plan: Plan) -> None:
        taken_back = {raw_id.hex() for raw_id in checkup.taken_back}  # as is known by now
        self._lost = {oid: one for oid, one in self._lost.items() if oid not in taken_back}
        for cause in checkup.links.causes:
            for oid, kind in self._gone(checkup, cause):
                if oid in self._restored or (oid in plan.kinds and self._dry_run):
                    continue
                self._given_up.add(oid)
                known = self._lost.get(oid)
                affects = checkup.affects(cause)
                if known is None or not known.affects:
                    self._lost[oid] = Lost(object_id=oid, kind=kind, affects=affects)

    def _gone(self, checkup: Checkup, cause: Cause) -> list[tuple[ObjectId, str]]:
        if cause.missing is not None:
            return [(cause.missing, _guessed(cause))] if checkup.is_lost(cause) else []
        return [
            (oid, kind or _guessed(cause))
            for oid, kind in cause.held.items()
            if bytes.fromhex(oid) not in checkup.taken_back
        ]

    # ---- names, settings, what is derived

    def _mend_names(self, checkup: Checkup, others: Others) -> None:
        """Bring back records and yanks from whoever has the same, parents before children."""
        records = [damage for damage in checkup.damage if self._name(damage) is not None]
        for damage in records:
            name = name_of(self._files.root, damage.path)
            assert name is not None
            found = others.record_file(name, damage.path.name)
            if found is not None and self._is_in_place(damage):
                self._bench.replace(damage.path, found.data, _note(damage))
                self._note_restored(damage.path.name, found.kind, found.source)
            elif damage.path.name not in self._restored:
                kind = "yank" if damage.path.name.endswith(YANK_SUFFIX) else "record"
                self._lost[damage.path.name] = Lost(
                    object_id=damage.path.name, kind=kind, affects=(f"name '{name}'",)
                )
        for name, parent in sorted(missing_parents(checkup.survey.refs)):
            record = others.record(name, parent)
            if record is not None and record.file in self._restored:
                continue  # its file was damaged, just above
            if record is not None:
                path = self._files.root.joinpath("refs", *name, record.file)
                self._bench.replace(path, record.data, "")
                self._note_restored(parent, record.kind, record.source)
                self._lost.pop(record.file, None)
            elif all(one.partition("-")[2] != parent[:12] for one in self._lost):
                self._lost[parent] = Lost(
                    object_id=parent, kind="record", affects=(f"name '{name}'",)
                )

    def _name(self, damage: Damage) -> RefName | None:
        return name_of(self._files.root, damage.path)

    def _mend_settings(self, checkup: Checkup) -> None:
        """Write what can be read of settings anew: they say where the remotes are."""
        for damage in checkup.damage:
            make = {
                self._files.root / SETTINGS_FILE: salvaged_settings,
                self._files.root / FORMAT_FILE: salvaged_format,
            }.get(damage.path)
            if make is None or self._dry_run:
                continue
            status = self._files.status(damage.path)
            is_file = status is not None and status.is_file
            data = self._files.read(damage.path, max_bytes=_MOST_SALVAGED_BYTES) if is_file else b""
            is_again = damage.path.name in self._rebuilt
            self._bench.replace(damage.path, make(b"" if is_again else data), _note(damage))
            self._rebuilt.append(damage.path.name)

    def _rebuild(self, checkup: Checkup) -> None:
        """Make the folders that are missing; what is derived is made anew when it is needed."""
        folders = [self._files.root / name for name in ("packs", "refs", "staging", "trash")]
        folders += [self._files.objects / f"{byte:02x}" for byte in range(256)]
        missing = [path for path in folders if self._files.status(path) is None]
        if missing:
            self._files.create_folders()
            names = [relative(self._files.root, path) for path in missing]
            self._rebuilt += names if len(names) <= 3 else [f"{len(names)} folders"]
        if self._bench.moved or self._restored:
            self._opened().forget_derived(checkup.format)

    def _is_in_place(self, damage: Damage) -> bool:
        is_new = damage.path in self._bench.replaced
        return not is_new and self._files.status(damage.path) is not None

    # ---- telling

    def _report(self, checkup: Checkup) -> RepairReport:
        return RepairReport(
            root=str(self._files.root),
            dry_run=self._dry_run,
            set_aside=tuple(dict.fromkeys(self._bench.moved)),
            folder=str(self._bench.folder) if self._bench.moved else "",
            n_salvaged=len(self._salvaged),
            restored=tuple(self._restored.values()),
            rebuilt=tuple(dict.fromkeys(self._rebuilt)),
            lost=tuple(sorted(self._lost.values(), key=lambda one: (one.kind, one.object_id))),
            lost_episodes=tuple(self._lost_episodes(checkup)),
            unreachable=tuple(self._opened().unreachable),
            findings=tuple(checkup.findings()),
        )

    def _lost_episodes(self, checkup: Checkup) -> list[LostEpisodes]:
        """How many episodes and steps of each benchmark lack something that is lost."""
        links = checkup.links
        by_benchmark: dict[ObjectId, list[ObjectId]] = {}
        for raw_id, (benchmark, causes) in links.lost_episodes.items():
            if any(self._is_lost_for_good(checkup, links.causes[n]) for n in causes):
                by_benchmark.setdefault(benchmark, []).append(ObjectId(raw_id.hex()))
        found = []
        for benchmark, episodes in sorted(by_benchmark.items()):
            steps = 0
            for _, obj in checkup.survey.read_many(episodes):
                steps += _n_steps(obj.body)
            found.append(
                LostEpisodes(
                    benchmark_id=benchmark,
                    title=checkup.title(benchmark),
                    n_episodes=len(episodes),
                    n_steps=steps,
                )
            )
        n_records = sum(one.kind == Kind.EPISODE for one in self._lost.values())
        return [*found, LostEpisodes(n_episodes=n_records)] if n_records else found

    def _is_lost_for_good(self, checkup: Checkup, cause: Cause) -> bool:
        return any(oid in self._lost for oid, _ in self._gone(checkup, cause))


def _all_of(file: BlockFile, ids: Iterable[ObjectId]) -> Generator[Encoded, None, None]:
    yield from file.read_encoded(ids)


def _note(damage: Damage) -> str:
    held = "".join(f"\nheld: {kind or 'object'} {oid}" for oid, kind in damage.held.items())
    return f"set aside by 'tupli fsck --repair': {damage.reason}{held}"


def _guessed(cause: Cause) -> str:
    """What kind of object something that is lost must have been; empty where it may be several."""
    if cause.linked_as == {Kind.EPISODES}:
        return Kind.EPISODE
    if cause.linked_as and cause.linked_as <= {Kind.ARTIFACT}:
        return Kind.BLOB
    return "" if cause.linked_as or not cause.names or cause.held else Kind.RELEASE


def _n_steps(body: bytes) -> int:
    try:
        n: int = decode_record(body)["n_steps"]
    except CorruptObjectError:
        return 0
    return n
