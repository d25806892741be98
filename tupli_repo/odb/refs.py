"""Refs: small files that say "this object is the next revision of this name".

A record is a file ``refs/<group>/<kind>/<name>/<generation>-<hash>``, named by its content and
never changed: two people's records never collide, and putting one takes no lock. The hash of its
bytes is the citable revision. A mark beside it (``.yank``) advises against it.

Invariant: a record that is read is whole, says what its path says, and has one possible text; what
is under another name is a stranger, which is listed and never parsed.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tupli_repo.errors import CorruptObjectError, InvalidInputError, StorageIOError
from tupli_repo.odb.files import RepositoryFiles, disk_errors
from tupli_repo.odb.locks import ThreadLock
from tupli_repo.odb.objects import ObjectId, shown

LOCAL = "local"
"""The group that never leaves a repository."""
KINDS = ("benchmark", "dataset", "artifact")
MAX_GENERATION = 99_999_999
MAX_GROUP = 24
MAX_NAME = 64
YANK_SUFFIX = ".yank"

MAX_RECORD_BYTES = 4 << 20
_WORD = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?")
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)))
)
RECORD_NAME = re.compile(r"([0-9]{8})-([0-9a-f]{12})")
_HASH_DIGITS = 12
_HEX64 = r"^[0-9a-f]{64}$"
_ReadT = TypeVar("_ReadT")


class RefName(NamedTuple):
    """Where the records of a name lie: ``refs/<group>/<kind>/<name>``."""

    group: str
    kind: str
    name: str

    def __str__(self) -> str:
        return "/".join(self)


def is_ref_word(text: str, *, max_length: int) -> bool:
    """Return whether text may be a group or a name: the same on every file system."""
    return (
        len(text) <= max_length
        and _WORD.fullmatch(text) is not None
        and ".." not in text
        and not text.endswith((".lock", YANK_SUFFIX))
        and text.partition(".")[0] not in _DEVICES
    )


def parse_ref_name(group: str, kind: str, name: str) -> RefName:
    """Check the parts of a name; what is wrong is refused, not mended.

    Raises:
        InvalidInputError: A part may not stand in a path that is to be the same everywhere.
    """
    for what, text, longest in (("group", group, MAX_GROUP), ("name", name, MAX_NAME)):
        if not is_ref_word(text, max_length=longest):
            raise InvalidInputError(
                f"'{shown(text)}' cannot be the {what} of something published",
                hint=f"at most {longest} of a-z, 0-9, '.', '_' and '-', beginning with a letter or"
                " digit and not ending in a dot; no 'con', 'nul' or the like",
            )
    if kind not in KINDS:
        raise InvalidInputError(f"'{shown(kind)}' cannot be published", hint=", ".join(KINDS))
    return RefName(group, kind, name)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _RecordFields(_Model):
    generation: int = Field(ge=1, le=MAX_GENERATION)
    group: str
    kind: str
    name: str
    parents: list[str]
    release: str = Field(pattern=_HEX64)


class Yank(_Model):
    """Why a revision is advised against, and who says so when."""

    created_at: str
    created_by: str
    why: str = ""

    def dump(self) -> bytes:
        """Return the bytes of the yank's file."""
        return _canonical(self.model_dump())


class Record(NamedTuple):
    """One revision of a name.

    Attributes:
        name: The name.
        generation: 1 + the highest parent's.
        parents: The hashes of the records it follows, sorted.
        release: The id of the release it names.
    """

    name: RefName
    generation: int
    parents: tuple[str, ...]
    release: ObjectId

    def dump(self) -> bytes:
        """Return the bytes of the record's file."""
        fields = {
            **self.name._asdict(),
            "generation": self.generation,
            "parents": list(self.parents),
            "release": self.release,
        }
        return _canonical(fields)

    @property
    def hash(self) -> str:
        """The citable revision: 64 hex digits."""
        return sha256(self.dump()).hexdigest()

    @property
    def file_name(self) -> str:
        """The name of the record's file."""
        return f"{self.generation:08d}-{self.hash[:_HASH_DIGITS]}"


class RefStore:
    """The records and yanks of one repository, as of its last `refresh`.

    Args:
        files: The repository's files.
    """

    def __init__(self, files: RepositoryFiles) -> None:
        self._files = files
        self._root = files.root / "refs"
        self._lock = ThreadLock()
        self._records: dict[RefName, dict[str, Record]] = {}  # by file name
        self._yanks: dict[RefName, dict[str, Yank]] = {}
        self._strangers: list[str] = []
        self._hashes: dict[Record, str] = {}

    def refresh(self) -> None:
        """Look for what has come and gone since; a file that is known is not read again.

        Raises:
            CorruptObjectError: A record or yank is damaged.
            StorageIOError: The operating system refused.
        """
        with self._lock:
            strangers: list[str] = []
            records: dict[RefName, dict[str, Record]] = {}
            yanks: dict[RefName, dict[str, Yank]] = {}
            for name in self._list_names(strangers):
                known, marks = self._records.get(name, {}), self._yanks.get(name, {})
                found: dict[str, Record] = {}
                marked: dict[str, Yank] = {}
                for file in self._files.list_folder(self._folder(name)):
                    record_name = file.removesuffix(YANK_SUFFIX)
                    if not RECORD_NAME.fullmatch(record_name):
                        strangers.append(f"{name}/{file}")
                    elif file == record_name:
                        self._look(found, file, known, partial(self._read, name))
                    else:
                        self._look(marked, record_name, marks, partial(self._mark, name))
                if found:
                    records[name] = found
                    yanks[name] = marked
            self._records, self._yanks, self._strangers = records, yanks, strangers

    def names(self) -> list[RefName]:
        """Return the names that have records, sorted."""
        return sorted(self._records)

    def records(self, name: RefName) -> dict[str, Record]:
        """Return the records of a name by their hashes."""
        return {self._hash(record): record for record in self._records.get(name, {}).values()}

    def all(self) -> Mapping[RefName, dict[str, Record]]:
        """Return the records of every name by their hashes."""
        return {name: self.records(name) for name in self.names()}

    def yanks(self, name: RefName) -> dict[str, Yank]:
        """Return the yanks of a name by the hashes of their records; others are not told."""
        records = self._records.get(name, {})
        marks = self._yanks.get(name, {})
        return {self._hash(records[file]): yank for file, yank in marks.items() if file in records}

    def strangers(self) -> list[str]:
        """Return the paths under `refs` that no record has, as a copying tool leaves them."""
        return list(self._strangers)

    def put(self, record: Record) -> None:
        """Keep a record; durable when this returns. The same one again is fine.

        Raises:
            InvalidInputError: Its generation is beyond what a name can have.
            CorruptObjectError: A damaged file has its name.
            StorageIOError: The disk refused; nothing half-written is left.
        """
        if not 1 <= record.generation <= MAX_GENERATION:
            raise InvalidInputError(
                f"'{record.name}' has too many revisions", hint="publish it under another name"
            )
        self._put(self._folder(record.name) / record.file_name, record.dump())
        with self._lock:
            known = self._records.get(record.name, {})
            self._records[record.name] = {**known, record.file_name: record}

    def put_yank(self, record: Record, yank: Yank) -> None:
        """Advise against a record; durable when this returns. The first to do so is kept.

        Raises:
            StorageIOError: The disk refused.
        """
        path = self._folder(record.name) / f"{record.file_name}{YANK_SUFFIX}"
        if self._files.status(path) is None:
            self._put(path, yank.dump(), any_content=True)
        with self._lock:
            known = self._yanks.get(record.name, {})
            kept = self._mark(record.name, record.file_name)
            self._yanks[record.name] = {**known, record.file_name: kept}

    def by_file(self, name: RefName) -> Mapping[str, Record]:
        """Return the records of a name by the names of their files."""
        return self._records.get(name, {})

    def path_of(self, record: Record) -> Path:
        """Return the record's file."""
        return self._folder(record.name) / record.file_name

    def _hash(self, record: Record) -> str:
        if record not in self._hashes:
            self._hashes[record] = record.hash
        return self._hashes[record]

    def _list_names(self, strangers: list[str]) -> list[RefName]:
        """The names that have folders; links are not followed."""
        found = []
        for group in self._folders_in("", strangers):
            if not is_ref_word(group, max_length=MAX_GROUP):
                strangers.append(group)
                continue
            for kind in self._folders_in(group, strangers):
                if kind not in KINDS:
                    strangers.append(f"{group}/{kind}")
                    continue
                for name in self._folders_in(f"{group}/{kind}", strangers):
                    if is_ref_word(name, max_length=MAX_NAME):
                        found.append(RefName(group, kind, name))
                    else:
                        strangers.append(f"{group}/{kind}/{name}")
        return found

    def _folders_in(self, path: str, strangers: list[str]) -> list[str]:
        names = []
        for name in self._files.list_folder(self._root / path):
            status = self._files.status(self._root / path / name)
            if status is not None and status.is_folder:
                names.append(name)
            elif status is not None:
                strangers.append(f"{path}/{name}" if path else name)
        return names

    def _look(
        self,
        found: dict[str, _ReadT],
        file: str,
        known: Mapping[str, _ReadT],
        read: Callable[[str], _ReadT],
    ) -> None:
        if file in known:
            found[file] = known[file]
            return
        try:
            found[file] = read(file)
        except FileNotFoundError:  # somebody has just removed it
            return

    def _read(self, name: RefName, file: str) -> Record:
        path = self._folder(name) / file
        data = self._files.read(path, max_bytes=MAX_RECORD_BYTES + 1)
        return parse_record(name, data, path)

    def _mark(self, name: RefName, record_name: str) -> Yank:
        path = self._folder(name) / f"{record_name}{YANK_SUFFIX}"
        return parse_yank(self._files.read(path, max_bytes=MAX_RECORD_BYTES + 1), path)

    def _put(self, path: Path, data: bytes, *, any_content: bool = False) -> None:
        for folder in reversed(path.parents[:3]):  # name, kind, group: none may be a link
            with disk_errors("make", folder):
                self._files.ensure_folder(folder)
                self._files.fs.fsync_folder(folder.parent)
        try:
            self._files.write_new(path, data)
        except StorageIOError as err:
            if not isinstance(err.__cause__, FileExistsError):
                raise
            if not any_content and self._files.read(path, max_bytes=len(data) + 1) != data:
                raise CorruptObjectError(
                    "it has other bytes than its name says", path=path, hint="remove that file"
                ) from None
            self._files.settle(path)

    def _folder(self, name: RefName) -> Path:
        return self._root / name.group / name.kind / name.name


def parse_record(name: RefName, data: bytes, path: Path) -> Record:
    """Return what the bytes of a record's file say.

    Args:
        name: The name in whose folder it lies.
        data: All its bytes.
        path: The file.

    Raises:
        CorruptObjectError: They are not what the file's name or folder says.
    """
    generation, _, digits = path.name.partition("-")
    if not sha256(data).hexdigest().startswith(digits):
        raise CorruptObjectError("it has other bytes than its name says", path=path)
    fields = _parse(_RecordFields, data, path)
    record = Record(
        RefName(fields.group, fields.kind, fields.name),
        fields.generation,
        tuple(fields.parents),
        ObjectId(fields.release),
    )
    if (record.name, record.generation) != (name, int(generation)):
        raise CorruptObjectError("it is the record of something else", path=path)
    parents = fields.parents
    is_set = parents == sorted(set(parents)) and all(re.match(_HEX64, p) for p in parents)
    if record.dump() != data or not is_set:
        raise CorruptObjectError("it is not in canonical form", path=path)
    if (record.generation == 1) != (not parents):
        raise CorruptObjectError("its generation does not follow its parents", path=path)
    return record


def parse_yank(data: bytes, path: Path) -> Yank:
    """Return what the bytes of a yank's file say.

    Raises:
        CorruptObjectError: They are malformed.
    """
    return _parse(Yank, data, path)


def _canonical(fields: Mapping[str, Any]) -> bytes:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode() + b"\n"


_ModelT = TypeVar("_ModelT", bound=_Model)


def _parse(model: type[_ModelT], data: bytes, path: Path) -> _ModelT:
    if len(data) > MAX_RECORD_BYTES:
        raise CorruptObjectError("it is too long", path=path)
    try:
        return model.model_validate_json(data)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"])) or "text"
        raise CorruptObjectError(f"its '{where}' is malformed", path=path) from None
