"""Checking the records of names: whole, what their paths say, and following what is here.

Invariant: a record in `KnownRefs` is whole, says what its path says, and its name is its hash.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.maintenance.names import Damage, Names, Told
from tupli_repo.odb.refs import (
    MAX_RECORD_BYTES,
    YANK_SUFFIX,
    Record,
    RefName,
    Yank,
    parse_record,
    parse_yank,
)

_ReadT = TypeVar("_ReadT", Record, Yank)


class KnownRefs:
    """The records and yanks of a repository that are whole; nothing can be put."""

    def __init__(self) -> None:
        self._records: dict[RefName, dict[str, Record]] = {}  # by the names of their files
        self._yanks: dict[RefName, dict[str, Yank]] = {}

    def add(self, file: str, record: Record) -> None:
        """Add a record under its file's name."""
        self._records.setdefault(record.name, {})[file] = record

    def add_yank(self, name: RefName, record_file: str, yank: Yank) -> None:
        """Add a yank under the name of its record's file."""
        self._yanks.setdefault(name, {})[record_file] = yank

    def refresh(self) -> None:
        """Do nothing: they are as they were found."""

    def names(self) -> list[RefName]:
        """Return the names that have records, sorted."""
        return sorted(self._records)

    def records(self, name: RefName) -> dict[str, Record]:
        """Return the records of a name by their hashes."""
        return {record.hash: record for record in self._records.get(name, {}).values()}

    def by_file(self, name: RefName) -> Mapping[str, Record]:
        """Return the records of a name by the names of their files."""
        return self._records.get(name, {})

    def yanks(self, name: RefName) -> dict[str, Yank]:
        """Return the yanks of a name by the hashes of their records."""
        records = self._records.get(name, {})
        marks = self._yanks.get(name, {})
        return {records[file].hash: yank for file, yank in marks.items() if file in records}

    def put(self, record: Record) -> NoReturn:
        """Refuse: a check changes nothing."""
        raise AssertionError(f"a check puts the record '{record.file_name}'")

    def put_yank(self, record: Record, yank: Yank) -> NoReturn:
        """Refuse: a check changes nothing."""
        raise AssertionError(f"a check marks the record '{record.file_name}': {yank.why}")


def check_refs(files: RepositoryFiles, names: Names, told: Told) -> KnownRefs:
    """Read all records and yanks; what is wrong with them is told."""
    known = KnownRefs()
    for name, found in names.records.items():
        for file in found:
            path = _path(files, name, file)
            record = _read(files, path, told, partial(parse_record, name))
            if record is not None:
                known.add(file, record)
    for name, found in names.yanks.items():
        for file in found:
            path = _path(files, name, file)
            yank = _read(files, path, told, _parse_yank)
            record_file = file.removesuffix(YANK_SUFFIX)
            if yank is not None:
                known.add_yank(name, record_file, yank)
                if record_file not in names.records.get(name, ()):
                    told.tell("warning", "pending", path, "it marks a record that is not here")
    return known


def missing_parents(known: KnownRefs) -> dict[tuple[RefName, str], list[str]]:
    """Return the parents that are not here, and the records that follow each, by their hashes."""
    found: dict[tuple[RefName, str], list[str]] = {}
    for name in known.names():
        records = known.records(name)
        for one, record in records.items():
            for parent in record.parents:
                if parent not in records:
                    found.setdefault((name, parent), []).append(one)
    return found


def check_generations(files: RepositoryFiles, known: KnownRefs, told: Told) -> None:
    """Tell of records whose generation does not follow those of their parents."""
    for name in known.names():
        records = known.records(name)
        for record in records.values():
            above = [records[parent].generation for parent in record.parents if parent in records]
            is_known = len(above) == len(record.parents)
            highest = max(above, default=0)
            if (is_known and record.generation != highest + 1) or record.generation <= highest:
                told.tell(
                    "error",
                    "malformed",
                    _path(files, name, record.file_name),
                    "its generation does not follow its parents: it was forged, or a program is"
                    " at fault",
                    f"whoever published it under '{name.name}' should be asked",
                )


def _path(files: RepositoryFiles, name: RefName, file: str) -> Path:
    return files.root.joinpath("refs", *name, file)


def _parse_yank(data: bytes, path: Path) -> Yank:
    yank = parse_yank(data, path)
    if yank.dump() != data:
        raise CorruptObjectError("it is not in canonical form", path=path)
    return yank


def _read(
    files: RepositoryFiles, path: Path, told: Told, parse: Callable[[bytes, Path], _ReadT]
) -> _ReadT | None:
    try:
        return parse(files.read(path, max_bytes=MAX_RECORD_BYTES + 1), path)
    except FileNotFoundError:
        return None
    except CorruptObjectError as err:
        told.damage.append(Damage(path=path, reason=err.reason))
    except StorageIOError as err:
        told.unreadable(path, err)
    return None
