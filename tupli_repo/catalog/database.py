"""The catalog's SQLite file, checked before it is believed.

It holds the episodes of the sealed packs, and the members of the episode sets that are published:
a set is known by its id and never changes, so only a new one is read.

Beside the database stands a small file that says what the database looked like when we left it.
Whatever does not look like that (damaged, torn by a power loss, of another version) is thrown away
and made anew from the packs. A lock keeps two processes from working on it at once; who cannot get
it in time works in memory.

Invariant: `select` gives what packs, journals and sets hold, whatever became of the file.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from hashlib import sha256
from heapq import merge
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from tupli_repo.catalog.query import condition_of
from tupli_repo.catalog.rows import EpisodeRow, Stored, fields_of, from_stored, to_stored
from tupli_repo.odb.locks import ThreadLock
from tupli_repo.schema import BaseFilter

VERSION = 2
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
CREATE TABLE sets (no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, size INTEGER NOT NULL);
CREATE TABLE members (
    episode BLOB NOT NULL, set_no INTEGER NOT NULL, PRIMARY KEY (episode, set_no)) WITHOUT ROWID;
CREATE TABLE published (
    set_no INTEGER NOT NULL, group_name TEXT NOT NULL,
    PRIMARY KEY (set_no, group_name)) WITHOUT ROWID;
"""
_COLUMNS = ", ".join(Stored._fields)
_INSERT = (
    f"INSERT OR IGNORE INTO episodes ({_COLUMNS}, is_partial)"  # noqa: S608 - our own names
    f" VALUES ({', '.join('?' * len(Stored._fields))}, ?)"
)
_GROUPS = (  # a group's name holds no comma
    "(SELECT group_concat(DISTINCT group_name) FROM members JOIN published USING (set_no)"
    " WHERE members.episode = episodes.id)"
)

_Made = TypeVar("_Made")
ReadPack = Callable[[str], Iterable[EpisodeRow]]
ReadSet = Callable[[str], Iterable[bytes]]
_Reconcile = Callable[[sqlite3.Connection], bool]
"""Makes the database hold what is there; tells whether anything changed."""
Groups = Mapping[str, Collection[str]]
"""The ids of the episode sets that are published in each group."""


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
    """The episodes of a set of sealed packs, and where they are published.

    Args:
        path: The database file; it need not exist, and may be damaged.
        read_pack: Gives the rows of a pack, by its file's name.
        read_set: Gives the ids of the episodes of an episode set, 32 bytes each, by its own id.
    """

    def __init__(self, path: Path, read_pack: ReadPack, read_set: ReadSet) -> None:
        self._path = path
        self._read_pack = read_pack
        self._read_set = read_set
        self._lock = ThreadLock()
        self._memory: sqlite3.Connection | None = None

    def select(
        self,
        packs: Collection[str],
        chosen: BaseFilter | None,
        make: Callable[[EpisodeRow], _Made | None],
        *,
        groups: Groups,
        fresh: Iterable[EpisodeRow] = (),
    ) -> list[_Made]:
        """Return what ``make`` makes of each episode that matches, by time and id.

        Args:
            packs: The names of the packs there are.
            chosen: The filter; all match where None.
            make: Makes the result of a row, or None to leave it out.
            groups: What is published.
            fresh: Rows of episodes that are in no pack yet.

        Raises:
            CorruptObjectError: A pack or an episode set that is not in the catalog yet is damaged.
        """
        rows = list(fresh)

        def reconcile(database: sqlite3.Connection) -> bool:
            changed = _reconcile_packs(database, packs, self._read_pack)
            return _reconcile_groups(database, groups, self._read_set) or changed

        return self._ask(reconcile, lambda database: _made(_all_rows(database, chosen, rows), make))

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
        return self._ask(
            lambda database: _reconcile_groups(database, groups, self._read_set),
            lambda database: {oid: _groups_of(database, oid) for oid in ids},
        )

    def _ask(self, reconcile: _Reconcile, answer: Callable[[sqlite3.Connection], _Made]) -> _Made:
        with self._lock:
            try:
                with self._locked():
                    return self._from_file(reconcile, answer)
            except (Timeout, OSError, sqlite3.Error):
                if self._memory is None:  # the cache cannot be used, now at least
                    self._memory = _created(":memory:")
            with self._memory:
                reconcile(self._memory)
            return answer(self._memory)

    def _from_file(
        self, reconcile: _Reconcile, answer: Callable[[sqlite3.Connection], _Made]
    ) -> _Made:
        try:
            return self._ask_file(reconcile, answer)
        except sqlite3.DatabaseError as err:
            if isinstance(err, sqlite3.OperationalError) and "locked" in str(err):
                raise
            self._discard()
        return self._ask_file(reconcile, answer)

    def _ask_file(
        self, reconcile: _Reconcile, answer: Callable[[sqlite3.Connection], _Made]
    ) -> _Made:
        is_new = not self._path.exists()
        if not is_new and self._seal_text() != self._read_seal():
            raise _StaleError
        with closing(_created(self._path) if is_new else _opened(self._path)) as database:
            with database:
                changed = reconcile(database)
            found = answer(database)
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


def _reconcile_packs(
    database: sqlite3.Connection, packs: Collection[str], read_pack: ReadPack
) -> bool:
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


def _reconcile_groups(database: sqlite3.Connection, groups: Groups, read_set: ReadSet) -> bool:
    """Make the database hold what is published; returns whether anything changed."""
    wanted = {(bytes.fromhex(oid), name) for name, sets in groups.items() for oid in sets}
    current = database.execute("SELECT id, group_name FROM published JOIN sets ON no = set_no")
    if wanted == set(current):
        return False
    known: dict[bytes, int] = dict(database.execute("SELECT id, no FROM sets"))
    for oid in sorted({oid for oid, _ in wanted} - known.keys()):
        known[oid] = _add_set(database, oid, read_set)
    database.execute("DELETE FROM published")
    database.executemany(
        "INSERT INTO published VALUES (?, ?)", [(known[oid], name) for oid, name in sorted(wanted)]
    )
    _forget_sets(database)
    return True


def _add_set(database: sqlite3.Connection, oid: bytes, read_set: ReadSet) -> int:
    number = database.execute("INSERT INTO sets (id, size) VALUES (?, 0)", (oid,)).lastrowid
    assert number is not None
    members = ((episode, number) for episode in read_set(oid.hex()))
    added = database.executemany("INSERT OR IGNORE INTO members VALUES (?, ?)", members).rowcount
    database.execute("UPDATE sets SET size = ? WHERE no = ?", (added, number))
    return number


def _forget_sets(database: sqlite3.Connection) -> None:
    """Forget the sets that are published no more, once they outweigh the others.

    Finding their members takes a walk over all there are, and a set may come back.
    """
    unused = "no NOT IN (SELECT set_no FROM published)"
    sizes = database.execute(f"SELECT {unused}, total(size) FROM sets GROUP BY 1")  # noqa: S608
    totals: dict[int, float] = dict(sizes)
    if totals.get(1, 0) > totals.get(0, 0):
        database.execute("DELETE FROM members WHERE set_no NOT IN (SELECT set_no FROM published)")
        database.execute(f"DELETE FROM sets WHERE {unused}")  # noqa: S608 - our own words


def _made(rows: Iterable[EpisodeRow], make: Callable[[EpisodeRow], _Made | None]) -> list[_Made]:
    """What is made of each row; an episode in a pack and a journal comes twice, and counts once."""
    found: list[_Made] = []
    last = ""
    for row in rows:
        if row.id != last and (made := make(row)) is not None:
            found.append(made)
            last = row.id
    return found


def _all_rows(
    database: sqlite3.Connection, chosen: BaseFilter | None, fresh: list[EpisodeRow]
) -> Iterator[EpisodeRow]:
    """The rows that match, of packs and of ``fresh``, by time and id."""
    packed = _packed_rows(database, chosen)
    if not fresh:
        return packed
    labelled = [row._replace(published_in=_groups_of(database, row.id)) for row in fresh]
    found = [row for row in labelled if chosen is None or chosen.matches(row.record())]
    return merge(packed, sorted(found, key=_canonical), key=_canonical)


def _packed_rows(database: sqlite3.Connection, chosen: BaseFilter | None) -> Iterator[EpisodeRow]:
    condition, values = condition_of(chosen)
    found = database.execute(
        f"SELECT {_COLUMNS}, {_GROUPS} FROM episodes"  # noqa: S608 - our own words
        f" WHERE {condition} ORDER BY created_at, id",
        values,
    )
    for *stored, groups in found:
        row = from_stored(tuple(stored))
        if row is None:
            raise sqlite3.DatabaseError("a row is not what was stored")
        if groups:
            row = row._replace(published_in=_sorted_names(groups))
        if chosen is None or chosen.matches(row.record()):
            yield row


def _groups_of(database: sqlite3.Connection, oid: str) -> tuple[str, ...]:
    query = f"SELECT {_GROUPS} FROM (SELECT ? AS id) AS episodes"  # noqa: S608 - our own words
    (groups,) = database.execute(query, (bytes.fromhex(oid),)).fetchone()
    return _sorted_names(groups) if groups else ()


def _canonical(row: EpisodeRow) -> tuple[str, str]:
    return row.created_at, row.id


@lru_cache(maxsize=256)
def _sorted_names(joined: str) -> tuple[str, ...]:
    """The groups of an episode; one object for all that are published alike."""
    return tuple(sorted(joined.split(",")))
