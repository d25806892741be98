"""Checking a repository: its files, its links, its names, and what depends on what is wrong.

It works on a folder, not on an open repository: one that is damaged may not be opened.

Invariant: nothing is changed; and one damage hides no other.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from tupli_repo.codec.records import ArtifactBody, BenchmarkBody, TombstoneBody, parse_body
from tupli_repo.config import RepositoryFormat, SettingsFile
from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    NotFoundError,
    RepositoryNotFoundError,
    StorageIOError,
)
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.maintenance.check import IN_ORDER, Choice, OnProgress, Survey
from tupli_repo.odb.maintenance.check_refs import missing_parents
from tupli_repo.odb.maintenance.links import Cause, Links
from tupli_repo.odb.maintenance.names import Damage, relative
from tupli_repo.odb.objects import Kind, ObjectId
from tupli_repo.odb.refs import RefName
from tupli_repo.repository.health.decoding import Decoding
from tupli_repo.repository.location import read_format
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.records import in_force
from tupli_repo.schema.checks import Finding, FsckReport, Level

FORMAT_FILE = "format.json"
SETTINGS_FILE = "config.toml"
REPAIR = "'tupli fsck --repair' sets it aside and brings back what it can"
_PASSES = 3
_GRAVITY = {"error": 0, "warning": 1, "info": 2}
_SPOKEN = {Kind.EPISODES: "set of episodes"}
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_TURN = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


class Checkup:
    """One check of a repository.

    Args:
        files: The repository's files.
        choice: Which bytes are held against their hashes.
        on_progress: Told how far it has come.

    Attributes:
        format: What `format.json` says; None where it is damaged.
        survey: What can be read, and what not.
        links: What is missing, and what depends on it.
        damage: The damaged files; the first of the causes of ``links``, in this order.

    Raises:
        UnsupportedFormatError: A newer version wrote the repository.
    """

    def __init__(
        self, files: RepositoryFiles, choice: Choice, on_progress: OnProgress | None = None
    ) -> None:
        self._files = files
        self.survey = Survey(files, choice, on_progress)
        self.format = self._read_format()
        self._check_settings()
        self.survey.run()
        self.releases = Releases(self.survey, self.survey.refs)
        self.taken_back: set[bytes] = set()
        self.hidden: set[bytes] = set()
        self.links = self._follow()
        self.damage: list[Damage] = self.survey.told.damage
        self._titles: dict[ObjectId, str] = {}

    @property
    def is_bare(self) -> bool:
        """Whether only what is published counts."""
        return self.format is not None and self.format.role == "bare"

    def decode(self) -> None:
        """Read what the bytes of all records and columns say; what cannot be read is told."""
        self.survey.told.findings += Decoding(self.survey, self.releases).run()

    # ---- what is beside the objects

    def _read_format(self) -> RepositoryFormat | None:
        path = self._files.root / FORMAT_FILE
        try:
            found = read_format(self._files)
            written = found.dump()
            data = self._files.read(path, max_bytes=len(written) + 1)
        except (RepositoryNotFoundError, FileNotFoundError):
            self.survey.told.damage.append(Damage(path=path, reason="it is missing"))
        except CorruptObjectError as err:
            self.survey.told.damage.append(Damage(path=path, reason=err.reason))
        except StorageIOError as err:
            self.survey.told.unreadable(path, err)
        else:
            if data == written:
                return found
            self.survey.told.damage.append(Damage(path=path, reason="it is not as it was written"))
        return None

    def _check_settings(self) -> None:
        path = self._files.root / SETTINGS_FILE
        try:
            SettingsFile(path, fs=self._files.fs).read()
        except InvalidInputError as err:
            self.survey.told.damage.append(
                Damage(path=path, reason=err.message.removeprefix(f"'{path}' "))
            )
        except StorageIOError as err:
            self.survey.told.unreadable(path, err)

    # ---- links

    def _follow(self) -> Links:
        """Follow all links; again where a file came or went, or turned out to be damaged."""
        survey = self.survey
        links = self._pass()
        for _ in range(_PASSES):
            n_damaged = len(survey.told.damage)
            missing = {cause.missing for cause in links.causes if cause.missing is not None}
            if missing:
                survey.look_again()
            has_come = any(survey.contains(oid) for oid in missing)
            if not has_come and n_damaged == self._n_damaged:
                break
            links = self._pass()
        return links

    def _pass(self) -> Links:
        survey = self.survey
        self.releases = Releases(survey, survey.refs)
        self.taken_back = self._taken_back()
        self.hidden = self._hidden()
        self._n_damaged = len(survey.told.damage)
        causes = [self._cause(damage) for damage in survey.told.damage]
        links = Links(survey.present, causes, taken_back=self.taken_back, hidden=self.hidden)
        for kinds in IN_ORDER:
            for oid, obj in survey.records(*kinds):
                links.look(oid, obj)
        for name in survey.refs.names():
            for record in survey.refs.records(name).values():
                links.look_at_name(str(name), record.release)
        return links

    def _cause(self, damage: Damage) -> Cause:
        held = {oid: kind for oid, kind in damage.held.items() if not self.survey.contains(oid)}
        cause = Cause(held=held, is_needed=True)
        name = name_of(self._files.root, damage.path)
        if name is not None:
            cause.names.add(str(name))
        return cause

    def _taken_back(self) -> set[bytes]:
        """What was taken back and no name has kept, as far as the names can be read."""
        gone, kept = set[bytes](), set[bytes]()
        for name in self.survey.refs.names():
            try:
                history = self.releases.history(name)
                gone |= history.withdrawn()
                kept |= history.survivors() if history.withdrawn() else history.known()
            except (CorruptObjectError, NotFoundError):  # told where it is decoded
                continue
        return gone - kept

    def _hidden(self) -> set[bytes]:
        bodies: dict[ObjectId, TombstoneBody] = {}
        for oid, obj in self.survey.records(Kind.TOMBSTONE):
            try:
                bodies[oid] = parse_body(TombstoneBody, obj.body)
            except CorruptObjectError:  # told where it is decoded
                continue
        own = "" if self.format is None else self.format.id
        hides = (body.hides for body in in_force(bodies, own).values())
        return {bytes.fromhex(one) for some in hides for one in some if _HEX64.fullmatch(one)}

    # ---- telling

    def report(self, level: Level, sample: str = "") -> FsckReport:
        """Return what was found."""
        survey = self.survey
        return FsckReport(
            root=str(self._files.root),
            level=level,
            sample=sample,
            findings=tuple(self.findings()),
            n_objects=len(survey.present),
            n_files=len(survey.block_files) + len(survey.loose),
            bytes_read=survey.bytes_read,
        )

    def findings(self) -> list[Finding]:
        """Return what was found, the gravest first."""
        found = list(dict.fromkeys(self.survey.told.findings))
        for damage, cause in zip(self.damage, self.links.causes, strict=False):
            found.append(
                Finding(
                    severity="error",
                    code="damaged",
                    path=relative(self._files.root, damage.path),
                    message=damage.reason,
                    hint=REPAIR,
                    affects=self.affects(cause),
                )
            )
        found += [self._missing(cause) for cause in self.links.causes if cause.missing is not None]
        found += [
            Finding(
                severity="error",
                code="missing",
                object_id=parent,
                kind="record",
                message=f"revision '{parent[:12]}' of '{name}' is missing, and others follow it",
                hint="'tupli fsck --repair' fetches it from a remote, if one has it",
                affects=(f"name '{name}'",),
            )
            for (name, parent) in missing_parents(self.survey.refs)
        ]
        return sorted(found, key=lambda one: (_GRAVITY[one.severity], one.path, one.object_id))

    def is_lost(self, cause: Cause) -> bool:
        """Whether what is missing is missed: not taken back, nor part of an unfinished push."""
        return cause.is_needed and (bool(cause.names) or not self.is_bare)

    def _missing(self, cause: Cause) -> Finding:
        assert cause.missing is not None
        needed_by = " or ".join(sorted(_SPOKEN.get(kind, kind) for kind in cause.linked_as))
        needed_by = needed_by or "name"
        message = f"object '{cause.missing[:12]}' is missing, which {_a(needed_by)} needs"
        hint = "'tupli fsck --repair' fetches it from a remote, if one has it"
        if not cause.is_needed:
            message, hint = f"{message} that was removed here", ""
        elif not self.is_lost(cause):
            message = f"{message} that no name leads to"
            hint = "a push to here was cut off: whoever pushed does it again"
        is_lost = self.is_lost(cause)
        return Finding(
            severity="error" if is_lost else "warning" if cause.is_needed else "info",
            code="missing" if is_lost else "pending" if cause.is_needed else "leftover",
            object_id=cause.missing,
            message=message,
            hint=hint,
            affects=self.affects(cause),
        )

    def affects(self, cause: Cause) -> tuple[str, ...]:
        """Return what depends on something that is damaged or missing, in phrases."""
        found = [f"name '{name}'" for name in sorted(cause.names)]
        for kind in (Kind.BENCHMARK, Kind.ARTIFACT):
            titles = sorted({self.title(oid) for oid in cause.records.get(kind, ())})
            found += [f"{kind} '{title}'" for title in titles]
        found += [
            f"{n} episode{'' if n == 1 else 's'} of '{self.title(oid)}'"
            for oid, n in sorted(cause.episodes.items())
        ]
        if cause.held and not cause.missing and not found:
            found.append(_counted(cause.held.values()))
        return tuple(found)

    def title(self, oid: ObjectId) -> str:
        """Return what a benchmark or artifact is called; digits of its id where that is lost."""
        if oid not in self._titles:
            self._titles[oid] = oid[:12]
            try:
                obj = self.survey.read(oid)
                is_artifact = obj.kind is Kind.ARTIFACT
                self._titles[oid] = (
                    parse_body(ArtifactBody, obj.body).name
                    if is_artifact
                    else parse_body(BenchmarkBody, obj.body).name
                )
            except (NotFoundError, CorruptObjectError):
                pass
        return self._titles[oid]


def choice_of(level: Level, sample: str | None) -> Choice:
    """Return which bytes are to be looked at.

    Args:
        level: How deep; a sample is one of ``data`` at least.
        sample: ``1%``: a random part; ``3/30``: the third thirtieth; all where None.

    Raises:
        InvalidInputError: It is no part.
    """
    if sample is None:
        return Choice(everything=level != "quick")
    percent, turn = _PERCENT.fullmatch(sample), _TURN.fullmatch(sample)
    if percent is not None and 0 < float(percent[1]) <= 100:
        return Choice(share=float(percent[1]) / 100)
    if turn is not None and 1 <= int(turn[1]) <= int(turn[2]):
        return Choice(turn=(int(turn[1]), int(turn[2])))
    raise InvalidInputError(
        f"'{sample}' is no part of a repository",
        hint="'1%' at random, or '3/30' for the third of 30",
    )


def name_of(root: Path, path: Path) -> RefName | None:
    """Return the name a file under `refs/` is a record or yank of."""
    parts = path.relative_to(root).parts
    return RefName(*parts[1:4]) if parts[0] == "refs" and len(parts) == 5 else None


def _a(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _counted(kinds: Iterable[Kind | None]) -> str:
    some = list(kinds)
    n = len(some)
    n_episodes = sum(kind is Kind.EPISODE for kind in some)
    told = f", {n_episodes} of them episodes" if n_episodes else ""
    return (
        f"{n} object{'' if n == 1 else 's'} that {'lies' if n == 1 else 'lie'} nowhere else{told}"
    )
