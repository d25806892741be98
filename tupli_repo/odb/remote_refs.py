"""The refs of a repository on the other side of a transport.

A record that is known here already, by its name in the same folder, is not read again: its name is
the hash of its bytes. A damaged one damages its name alone: that name is left out, and the damage
is kept to be told.

Invariant: a record that is handed out is whole and says what its path says.
"""

from collections.abc import Mapping
from pathlib import Path

from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.refs import (
    KINDS,
    MAX_GROUP,
    MAX_NAME,
    MAX_RECORD_BYTES,
    RECORD_NAME,
    YANK_SUFFIX,
    Record,
    RefName,
    RefStore,
    Yank,
    is_ref_word,
    parse_record,
    parse_yank,
)
from tupli_repo.odb.transport import Entry, Transport


class RemoteRefs:
    """The records on the other side, as of the last `refresh`.

    Args:
        transport: The way to it.
        known: The refs here: what both have is not read there.

    Attributes:
        damage: What is wrong with the names that are left out.
    """

    def __init__(self, transport: Transport, known: RefStore | None = None) -> None:
        self.damage: dict[RefName, CorruptObjectError] = {}
        self._transport = transport
        self._known = known
        self._records: dict[RefName, dict[str, Record]] = {}
        self._yanks: dict[RefName, dict[str, Yank]] = {}

    def refresh(self) -> None:
        """Look for what has come and gone since; what was read is not read again.

        Raises:
            StorageIOError: The other side refused.
        """
        self.damage = {}
        records: dict[RefName, dict[str, Record]] = {}
        yanks: dict[RefName, dict[str, Yank]] = {}
        for name in self._list_names():
            try:
                found, marked = self._look(name)
            except CorruptObjectError as err:
                self.damage[name] = err
                continue
            if found:
                records[name], yanks[name] = found, marked
        self._records, self._yanks = records, yanks

    def names(self) -> list[RefName]:
        """Return the names that have records, sorted."""
        return sorted(self._records)

    def records(self, name: RefName) -> dict[str, Record]:
        """Return the records of a name by their hashes."""
        return {record.hash: record for record in self._records.get(name, {}).values()}

    def yanks(self, name: RefName) -> dict[str, Yank]:
        """Return the yanks of a name by the hashes of their records; others are not told."""
        records = self._records.get(name, {})
        marks = self._yanks.get(name, {})
        return {records[file].hash: yank for file, yank in marks.items() if file in records}

    def put(self, record: Record) -> None:
        """Bring a record there; durable when this returns.

        Raises:
            StorageIOError: The other side refused.
        """
        self._transport.put(_path(record.name, record.file_name), [record.dump()])
        self._records.setdefault(record.name, {})[record.file_name] = record

    def put_yank(self, record: Record, yank: Yank) -> None:
        """Bring a yank there, unless there is one; durable when this returns.

        Raises:
            StorageIOError: The other side refused.
        """
        marks = self._yanks.setdefault(record.name, {})
        if record.file_name not in marks:
            self._transport.put(
                _path(record.name, f"{record.file_name}{YANK_SUFFIX}"), [yank.dump()]
            )
            marks[record.file_name] = yank

    def _list_names(self) -> list[RefName]:
        """The names that have folders, and may be names."""
        return [
            RefName(group, kind, name)
            for group in self._folders("refs")
            if is_ref_word(group, max_length=MAX_GROUP)
            for kind in self._folders(f"refs/{group}")
            if kind in KINDS
            for name in self._folders(f"refs/{group}/{kind}")
            if is_ref_word(name, max_length=MAX_NAME)
        ]

    def _folders(self, folder: str) -> list[str]:
        return [_base(entry) for entry in self._transport.list(folder) if entry.is_folder]

    def _look(self, name: RefName) -> tuple[dict[str, Record], dict[str, Yank]]:
        known = self._records.get(name, {})
        ours: Mapping[str, Record] = self._known.by_file(name) if self._known else {}
        marks = self._yanks.get(name, {})
        found: dict[str, Record] = {}
        marked: dict[str, Yank] = {}
        for entry in self._transport.list(_path(name)):
            file = _base(entry)
            record_name = file.removesuffix(YANK_SUFFIX)
            if not RECORD_NAME.fullmatch(record_name) or entry.is_folder:
                continue
            if file != record_name:
                yank = marks.get(record_name) or parse_yank(*self._read(entry))
                marked[record_name] = yank
                continue
            record = known.get(file) or ours.get(file)
            found[file] = record or parse_record(name, *self._read(entry))
        return found, marked

    def _read(self, entry: Entry) -> tuple[bytes, Path]:
        place = self._transport.place(entry.name)
        try:
            return self._transport.read(entry.name, 0, MAX_RECORD_BYTES + 1), place
        except FileNotFoundError:
            raise CorruptObjectError("it went while it was looked at", path=place) from None


def _path(name: RefName, *file: str) -> str:
    return "/".join(("refs", *name, *file))


def _base(entry: Entry) -> str:
    return entry.name.rpartition("/")[2]
