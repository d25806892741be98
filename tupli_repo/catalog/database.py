"""The catalog's SQLite file, checked before it is believed.

Beside the database stands a small file that says what the database looked like when we left it.
Whatever does not look like that (damaged, torn by a power loss, of another version) is thrown away
and made anew from the packs. A lock keeps two processes from working on it at once; who cannot get
it in time works in memory.

Invariant: `select` gives what the packs hold, whatever became of the file.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from tupli_repo.catalog.query import condition_of
from tupli_repo.catalog.rows import EpisodeRow, Stored, fields_of, from_stored, to_stored
from tupli_repo.odb.locks import ThreadLock
from tupli_repo.schema import BaseFilter

VERSION = 1
LOCK_TIMEOUT_S = 5.0
_BUSY_TIMEOUT_S = 1.0
_SCHEMA = """
CREATE TABLE packs (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE episodes (
    no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, benchmark BLOB NOT NULL,
    created_at TEXT NOT NULL, created_by TEXT NOT NULL, n_tuples INTEGER NOT NULL,
    flags INTEGER NOT NULL, seed TEXT NOT NULL, metadata TEXT NOT NULL, missing BLOB NOT NULL,
    crc INTEGER NOT NULL, is_partial INTEGER NOT NULL);
CREATE INDEX in_order ON episodes (created_at, id);
CREATE INDEX of_benchmark ON episodes (benchmark);
CREATE TABLE held (
    pack INTEGER NOT NULL, episode INTEGER NOT NULL, PRIMARY KEY (pack, episode)) WITHOUT ROWID;
CREATE INDEX held_by ON held (episode);
CREATE TABLE fields (
    episode INTEGER NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL, number, text);
CREATE INDEX by_number ON fields (path, kind, number);
CREATE INDEX by_text ON fields (path, kind, text);
CREATE INDEX of_episode ON fields (episode);
"""
_COLUMNS = ", ".join(Stored._fields)
_INSERT = (
    f"INSERT OR IGNORE INTO episodes ({_COLUMNS}, is_partial)"  # noqa: S608 - our own names
    f" VALUES ({', '.join('?' * len(Stored._fields))}, ?)"
)

_Made = TypeVar("_Made")
ReadPack = Callable[[str], Iterable[EpisodeRow]]


class _StaleError(sqlite3.DatabaseError):
    """The database is not what we left."""


def catalog_path(root: Path, repository_id: str) -> Path:
    """Return where the catalog of a repository is, in the user's cache.

    Args:
        root: The real path of the `.tupli`: two copies of a repository have a catalog each.
        repository_id: What `format.json` says.
    """
    key = sha256(f"{root}\n{repository_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return user_cache_path("tupli", appauthor=False) / "catalogs" / f"{key}.sqlite"


class Catalog:
    """The episodes of a set of sealed packs.

    Args:
        path: The database file; it need not exist, and may be damaged.
        read_pack: Gives the rows of a pack, by its file's name.
    """

    def __init__(self, path: Path, read_pack: ReadPack) -> None:
        self._path = path
        self._read_pack = read_pack
        self._lock = ThreadLock()
        self._memory: sqlite3.Connection | None = None

    def select(
        self,
        packs: Collection[str],
        chosen: BaseFilter | None,
        make: Callable[[EpisodeRow], _Made | None],
    ) -> list[_Made]:
        """Return what ``make`` makes of each episode that matches, by time and id.

        Args:
            packs: The names of the packs there are.
            chosen: The filter; all match where None.
            make: Makes the result of a row, or None to leave it out.

        Raises:
            CorruptObjectError: A pack that is not in the catalog yet is damaged.
        """
        with self._lock:
            try:
                with self._locked():
                    return self._from_file(packs, chosen, make)
            except (Timeout, OSError, sqlite3.Error):
                if self._memory is None:  # the cache cannot be used, now at least
                    self._memory = _created(":memory:")
            with self._memory:
                _reconcile(self._memory, packs, self._read_pack)
            return _made(_rows(self._memory, chosen), make)

    def _from_file(
        self,
        packs: Collection[str],
        chosen: BaseFilter | None,
        make: Callable[[EpisodeRow], _Made | None],
    ) -> list[_Made]:
        try:
            return self._ask_file(packs, chosen, make)
        except sqlite3.DatabaseError as err:
            if isinstance(err, sqlite3.OperationalError) and "locked" in str(err):
                raise
            self._discard()
        return self._ask_file(packs, chosen, make)

    def _ask_file(
        self,
        packs: Collection[str],
        chosen: BaseFilter | None,
        make: Callable[[EpisodeRow], _Made | None],
    ) -> list[_Made]:
        is_new = not self._path.exists()
        if not is_new and self._seal_text() != self._read_seal():
            raise _StaleError
        with closing(_created(self._path) if is_new else _opened(self._path)) as database:
            with database:
                changed = _reconcile(database, packs, self._read_pack)
            found = _made(_rows(database, chosen), make)
        if changed or is_new:
            self._seal_path.write_text(self._seal_text())
        return found

    @property
    def _seal_path(self) -> Path:
        return self._path.with_suffix(".seal")

    def _seal_text(self) -> str:
        status = self._path.stat()
        return f"{VERSION} {status.st_size} {status.st_mtime_ns} {status.st_ino}"

    def _read_seal(self) -> str:
        with suppress(OSError, UnicodeDecodeError):
            return self._seal_path.read_text()
        return ""

    def _discard(self) -> None:
        for path in (self._path, Path(f"{self._path}-journal"), self._seal_path):
            path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            yield


def _opened(path: Path | str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    database.execute("PRAGMA synchronous = OFF")  # a torn file is noticed and made anew
    return database


def _created(path: Path | str) -> sqlite3.Connection:
    database = _opened(path)
    try:
        database.executescript(_SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _reconcile(database: sqlite3.Connection, packs: Collection[str], read_pack: ReadPack) -> bool:
    """Make the database hold what ``packs`` hold; returns whether anything changed."""
    known = dict(database.execute("SELECT name, no FROM packs"))
    present = set(packs)
    gone = [name for name in known if name not in present]
    again = _forget_packs(database, [known[name] for name in gone])
    new = sorted(present - known.keys())
    for name in (*new, *again):
        _add_pack(database, name, read_pack)
    return bool(gone or new)


def _forget_packs(database: sqlite3.Connection, gone: list[int]) -> list[str]:
    """Forget packs and their episodes; returns the packs that hold some of those too.

    What an episode lacks depends on the pack it is read from, so the others are read again.
    """
    if not gone:
        return []
    marks = ", ".join("?" * len(gone))
    lost = f"SELECT episode FROM held WHERE pack IN ({marks})"  # noqa: S608 - question marks
    others = database.execute(
        "SELECT DISTINCT packs.no, name FROM packs JOIN held ON pack = packs.no"  # noqa: S608
        f" WHERE episode IN ({lost}) AND packs.no NOT IN ({marks})",
        (*gone, *gone),
    ).fetchall()
    database.execute(f"DELETE FROM fields WHERE episode IN ({lost})", gone)  # noqa: S608
    database.execute(f"DELETE FROM episodes WHERE no IN ({lost})", gone)  # noqa: S608
    for number in (*gone, *(number for number, _ in others)):
        database.execute("DELETE FROM held WHERE pack = ?", (number,))
        database.execute("DELETE FROM packs WHERE no = ?", (number,))
    return sorted(name for _, name in others)


def _add_pack(database: sqlite3.Connection, name: str, read_pack: ReadPack) -> None:
    pack = database.execute("INSERT INTO packs (name) VALUES (?)", (name,)).lastrowid
    for row in read_pack(name):
        fields, is_whole = fields_of(row)
        added = database.execute(_INSERT, (*to_stored(row), not is_whole))
        if added.rowcount:
            number = added.lastrowid
            database.executemany(
                "INSERT INTO fields VALUES (?, ?, ?, ?, ?)", [(number, *field) for field in fields]
            )
        else:  # another pack holds it too
            found = database.execute(
                "SELECT no FROM episodes WHERE id = ?", (bytes.fromhex(row.id),)
            )
            (number,) = found.fetchone()
        database.execute("INSERT OR IGNORE INTO held VALUES (?, ?)", (pack, number))


def _made(rows: Iterable[EpisodeRow], make: Callable[[EpisodeRow], _Made | None]) -> list[_Made]:
    return [made for made in map(make, rows) if made is not None]


def _rows(database: sqlite3.Connection, chosen: BaseFilter | None) -> Iterator[EpisodeRow]:
    condition, values = condition_of(chosen)
    found = database.execute(
        f"SELECT {_COLUMNS} FROM episodes WHERE {condition} ORDER BY created_at, id",  # noqa: S608
        values,
    )
    for stored in found:
        row = from_stored(stored)
        if row is None:
            raise sqlite3.DatabaseError("a row is not what was stored")
        if chosen is None or chosen.matches(row.record()):
            yield row
