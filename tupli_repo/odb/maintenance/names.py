"""What lies in a repository, by its names alone: what is ours, and what is a stranger's.

Listing code raises at damage; this tells it and goes on.

Invariant: a name outside the grammar is told and never opened; links are never followed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unicodedata import normalize

from tupli_repo.errors import StorageIOError
from tupli_repo.odb.files import (
    FileStatus,
    RepositoryFiles,
    is_block_file_name,
    is_pack_name,
)
from tupli_repo.odb.modes import SHARED
from tupli_repo.odb.objects import Kind, ObjectId, shown
from tupli_repo.odb.refs import (
    KINDS,
    MAX_GROUP,
    MAX_NAME,
    RECORD_NAME,
    YANK_SUFFIX,
    RefName,
    is_ref_word,
)
from tupli_repo.schema.checks import Code, Finding, Severity

FOLDERS = ("objects", "packs", "refs", "staging", "trash", "damaged", "locks")
FILES = ("format.json", "config.toml", ".gitignore")
_FAN_OUT = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{62}")
_BESIDE = re.compile(r"\..+\.[0-9a-f]{32}")
_GROUP_MAY_READ = 0o040


@dataclass(slots=True, kw_only=True)
class Damage:
    """A file that is not what its name says, or a thing in a file's place that is none.

    Attributes:
        path: Where it is.
        reason: What is wrong.
        held: The objects it should hold and does not, as far as that is known.
    """

    path: Path
    reason: str
    held: dict[ObjectId, Kind | None] = field(default_factory=dict)


class Told:
    """Collects what is found.

    Args:
        root: The `.tupli`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.findings: list[Finding] = []
        self.damage: list[Damage] = []

    def tell(
        self, severity: Severity, code: Code, path: Path | None, message: str, hint: str = ""
    ) -> None:
        """Note something that is not damage."""
        self.findings.append(
            Finding(
                severity=severity,
                code=code,
                path=relative(self.root, path) if path is not None else "",
                message=message,
                hint=hint,
            )
        )

    def unreadable(self, path: Path, err: StorageIOError) -> None:
        """Note a file or folder that the operating system does not let us read."""
        why = str(err.__cause__.strerror).lower() if isinstance(err.__cause__, OSError) else ""
        hint = err.hint or "try again; if it stays so, the disk may fail: copy what is left"
        self.tell("error", "unreadable", path, f"it cannot be read: {why or err.message}", hint)


@dataclass(slots=True)
class Names:
    """What is there under names of ours."""

    loose: dict[ObjectId, FileStatus] = field(default_factory=dict)
    packs: dict[str, FileStatus] = field(default_factory=dict)
    journals: dict[str, FileStatus] = field(default_factory=dict)
    records: dict[RefName, list[str]] = field(default_factory=dict)
    yanks: dict[RefName, list[str]] = field(default_factory=dict)


def relative(root: Path, path: Path) -> str:
    """Return a path below the `.tupli` as it is told."""
    return shown(path.relative_to(root).as_posix())


def _is_fan_out(name: str) -> bool:
    return _FAN_OUT.fullmatch(name) is not None


def look(files: RepositoryFiles, told: Told) -> Names:
    """Return what is there; what is not ours, and what is left over, is told."""
    return _Look(files, told).run()


class _Look:
    def __init__(self, files: RepositoryFiles, told: Told) -> None:
        self._files = files
        self._told = told
        self._names = Names()
        self._ungrouped: list[Path] = []

    def run(self) -> Names:
        root = self._files.root
        present = dict(self._entries(root))
        for name, status in present.items():
            if name in FOLDERS:
                continue
            if name not in FILES and not _BESIDE.fullmatch(name):
                self._stranger(root / name, status, (*FOLDERS, *FILES))
            elif not status.is_file:
                self._not_a_file(root / name)
            elif name not in FILES:
                self._told.tell("info", "leftover", root / name, "a writer left it half-way")
        for name in FOLDERS:
            if name not in present:
                self._told.tell(
                    "info", "leftover", root / name, "the folder is missing; it is made when needed"
                )
            elif not present[name].is_folder:
                self._not_a_folder(root / name)
        self._objects({name for name in FOLDERS if name in present and present[name].is_folder})
        self._refs()
        self._private()
        self._modes()
        return self._names

    def _objects(self, folders: set[str]) -> None:
        if "objects" in folders:
            for name, path in self._folders(self._files.objects, _is_fan_out):
                for rest, status in self._entries(path):
                    oid = ObjectId(name + rest)
                    if not _REST.fullmatch(rest):
                        self._stranger(path / rest, status)
                    elif not status.is_file:
                        self._not_a_file(path / rest, {oid: None})
                    else:
                        self._names.loose[oid] = status
                        self._mode(path / rest, status)
        if "packs" in folders:
            for name, status in self._entries(self._files.packs):
                path = self._files.packs / name
                if not is_block_file_name(name):
                    self._stranger(path, status)
                elif not status.is_file:
                    self._not_a_file(path)
                else:
                    found = self._names.packs if is_pack_name(name) else self._names.journals
                    found[name] = status
                    self._mode(path, status)

    def _refs(self) -> None:
        root = self._files.root / "refs"
        status = self._status(root)
        if status is None or not status.is_folder:
            return
        for group, path in self._folders(root, partial(is_ref_word, max_length=MAX_GROUP)):
            for kind, below in self._folders(path, KINDS.__contains__):
                for name, folder in self._folders(below, partial(is_ref_word, max_length=MAX_NAME)):
                    self._records(RefName(group, kind, name), folder)

    def _records(self, name: RefName, folder: Path) -> None:
        for file, status in self._entries(folder):
            record = file.removesuffix(YANK_SUFFIX)
            if not RECORD_NAME.fullmatch(record):
                self._stranger(folder / file, status)
            elif not status.is_file:
                self._not_a_file(folder / file)
            else:
                found = self._names.records if file == record else self._names.yanks
                found.setdefault(name, []).append(file)
                self._mode(folder / file, status)

    def _private(self) -> None:
        """Tell what lies in `staging/`, `trash/` and `damaged/`."""
        for name, what in (
            ("staging", "half-written, by writers at work or dead"),
            ("trash", "'tupli gc' frees it in time"),
            ("damaged", "set aside by a repair; never deleted by us"),
        ):
            n_files = size_bytes = 0
            for status in self._all_below(self._files.root / name):
                n_files += 1
                size_bytes += status.size_bytes
            if n_files:
                files = "1 file" if n_files == 1 else f"{n_files} files"
                told = f"{files}, {size_bytes} bytes: {what}"
                self._told.tell("info", "leftover", self._files.root / name, told)

    def _all_below(self, folder: Path) -> Iterator[FileStatus]:
        folders = [folder]
        while folders:
            folder = folders.pop()
            status = self._status(folder)
            if status is None or not status.is_folder:
                continue
            for name, status in self._entries(folder):
                if status.is_folder:
                    folders.append(folder / name)
                else:
                    yield status

    def _folders(self, folder: Path, is_ours: Callable[[str], bool]) -> Iterator[tuple[str, Path]]:
        """The folders in a folder; what else is in it is told."""
        for name, status in self._entries(folder):
            path = folder / name
            if not is_ours(name) or (status.is_file and folder != self._files.objects):
                self._stranger(path, status, KINDS)
            elif not status.is_folder:
                self._not_a_folder(path)
            else:
                yield name, path

    def _entries(self, folder: Path) -> Iterator[tuple[str, FileStatus]]:
        try:
            names = self._files.list_folder(folder)
        except StorageIOError as err:
            self._told.unreadable(folder, err)
            return
        for name in names:
            status = self._status(folder / name)
            if status is not None:  # it went meanwhile
                yield name, status

    def _status(self, path: Path) -> FileStatus | None:
        try:
            return self._files.status(path)
        except StorageIOError as err:
            self._told.unreadable(path, err)
            return None

    def _stranger(self, path: Path, status: FileStatus, known: tuple[str, ...] = ()) -> None:
        name = path.name
        plain = normalize("NFC", name).casefold()
        if plain != name and (
            plain in known
            or is_block_file_name(plain)
            or _REST.fullmatch(plain)
            or _FAN_OUT.fullmatch(plain)
            or is_ref_word(plain, max_length=MAX_NAME)
        ):
            what = f"no name of ours: '{shown(plain)}' in other letters"
        elif status.is_file or status.is_folder:
            what = "no name of ours: a sync tool or somebody else put it there"
        else:
            what = "neither a file nor a folder, and no name of ours"
        self._told.tell("warning", "stranger", path, what, "move it out of '.tupli'")

    def _not_a_file(self, path: Path, held: dict[ObjectId, Kind | None] | None = None) -> None:
        self._told.damage.append(
            Damage(path=path, reason="it is not a regular file", held=held or {})
        )

    def _not_a_folder(self, path: Path) -> None:
        self._told.damage.append(
            Damage(path=path, reason="it is not a folder; links are not followed")
        )

    def _mode(self, path: Path, status: FileStatus) -> None:
        if self._files.modes is SHARED and not status.mode & _GROUP_MAY_READ:
            self._ungrouped.append(path)

    def _modes(self) -> None:
        if self._files.modes is not SHARED:
            return
        for name in FOLDERS:
            status = self._status(self._files.root / name)
            if (
                status is not None
                and status.is_folder
                and status.mode & SHARED.folder < SHARED.folder
            ):
                self._told.tell(
                    "warning",
                    "mode",
                    self._files.root / name,
                    f"the group cannot write there: its mode is {status.mode:04o}",
                    f"whoever owns it: chmod 2775 '{self._files.root / name}'",
                )
        if self._ungrouped:
            n, first = len(self._ungrouped), self._ungrouped[0]
            self._told.tell(
                "warning",
                "mode",
                first,
                "the group cannot read it" + (f", and {n - 1} more" if n > 1 else ""),
                f"whoever owns it: chmod -R g+r '{self._files.root}'",
            )
