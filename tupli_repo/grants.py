"""What this user granted for one repository: names, and documents they stored themself.

Invariant: a grant counts for its user and for one repository in one place. It is kept in the user's
own configuration folder, under a key made of the repository's real path, its id and the identity of
its `format.json` on the disk; a copy, another repository at the same path, or a `format.json` that
was replaced has another key, and inherits nothing. Nothing inside a repository can grant.

A file is readable JSON, one name a line. One that is malformed is an error that names it, never an
empty default in its place.
"""

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tupli_repo.codec.trust import TrustPolicy, checked_names
from tupli_repo.errors import (
    InvalidInputError,
    LockedError,
    NotFoundError,
    StorageIOError,
    UntrustedCodeError,
)
from tupli_repo.odb.files import FileSystem, RepositoryFiles, disk_errors, replace_file

MAX_NAMES = 1_000
MAX_DOCUMENTS = 10_000
_LOCK_TIMEOUT_S = 20.0
_LOCK_POLL_S = 0.01


class _Place(BaseModel):
    """One repository in one place, as its file of grants tells it.

    ``inode`` and ``mtime_ns`` are those of `format.json`, which is written once. The device is left
    out: a network mount has another one after each boot. A file system without inodes says 0; there
    ``ctime_ns``, when `format.json` came to be or last changed in any way, stands in for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str
    id: str
    inode: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, root: Path, repository_id: str, fs: FileSystem) -> "_Place":
        """Return where a repository is now.

        Raises:
            StorageIOError: Its `format.json` cannot be looked at.
        """
        file = root / "format.json"
        with disk_errors("read", file):
            status = fs.status(file)
        return cls(
            path=_readable(root),
            id=repository_id,
            inode=status.inode,
            mtime_ns=status.mtime_ns,
            ctime_ns=0 if status.inode else status.ctime_ns,
        )


class _Held(BaseModel):
    """What one file holds; documents from the oldest to the newest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["tupli.grants/1"] = "tupli.grants/1"
    repository: _Place
    names: list[str] = Field(default=[], max_length=MAX_NAMES)
    documents: list[str] = Field(default=[], max_length=MAX_DOCUMENTS)


class Grants:
    """What this user granted for one repository; each question reads the file anew.

    Args:
        repository_root: The `.tupli` folder.
        repository_id: What its `format.json` says.
        fs: The primitives; another one in tests.
    """

    def __init__(
        self, repository_root: Path, repository_id: str, *, fs: FileSystem | None = None
    ) -> None:
        self._fs = fs or FileSystem()
        self._root = repository_root.resolve()
        self._id = repository_id
        self._has_warned = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names that were granted, sorted.

        Raises:
            InvalidInputError: The file is malformed.
            StorageIOError: It cannot be read.
        """
        return tuple(sorted(self._read(self._place()).names))

    @property
    def documents(self) -> frozenset[str]:
        """SHA-256 of each document this user stored here; errors as for `names`."""
        return frozenset(self._read(self._place()).documents)

    def policy(self, names: Iterable[str | type] = ()) -> TrustPolicy:
        """Return what may come to life: what was granted, and ``names``.

        Raises:
            InvalidInputError: A name cannot be granted, or the file is malformed.
            StorageIOError: It cannot be read.
        """
        also = checked_names(names)
        held = self._read(self._place())
        return TrustPolicy([*held.names, *also], documents=held.documents)

    def grant(self, names: Iterable[str | type]) -> list[str]:
        """Grant names, all or none; returns those that were not granted before.

        Args:
            names: ``'pkg.mod.Class'`` exactly, or ``'pkg.*'`` for the classes under ``pkg``.

        Raises:
            InvalidInputError: A name is malformed, too wide or can never be granted, there would be
                too many, or the file is malformed.
            StorageIOError: It cannot be read or written.
            LockedError: Another process keeps it locked.
        """
        wanted = checked_names(names)
        place = self._place()
        with self._locked(place):
            held = self._read(place)
            known = set(held.names)
            new = [name for name in wanted if name not in known]
            if len(known) + len(new) > MAX_NAMES:
                raise InvalidInputError(
                    f"'{self._file(place)}' would hold more than {MAX_NAMES} names",
                    hint="'tupli trust --remove NAME' makes room; 'pkg.*' stands for many",
                )
            if new:
                self._write(held.model_copy(update={"names": sorted([*known, *new])}))
        return new

    def revoke(self, names: Iterable[str | type]) -> list[str]:
        """Take grants back, all or none; returns them, each once.

        Raises:
            NotFoundError: One was not granted.
            InvalidInputError: A name could not have been granted, or the file is malformed.
            StorageIOError: It cannot be read or written.
            LockedError: Another process keeps it locked.
        """
        unwanted = checked_names(names)
        place = self._place()
        with self._locked(place):
            held = self._read(place)
            for name in unwanted:
                if name not in held.names:
                    raise NotFoundError(
                        f"'{name}' is not granted here", hint="'tupli trust --list' shows what is"
                    )
            if unwanted:
                left = [name for name in held.names if name not in unwanted]
                self._write(held.model_copy(update={"names": left}))
        return unwanted

    def add_document(self, sha256: str) -> None:
        """Vouch for a document this user stored; beyond `MAX_DOCUMENTS` the oldest are dropped.

        Where it cannot be noted down that is told in one warning, and no error: what was stored is
        stored, and this process goes on trusting it.

        Args:
            sha256: Of the document's text, 64 hex digits.

        Raises:
            InvalidInputError: It is no SHA-256.
        """
        TrustPolicy(documents=[sha256])
        try:
            self._add_document(sha256)
        except (StorageIOError, LockedError, InvalidInputError) as err:
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f"what is stored here must be trusted by name when it is loaded: {err}",
                    stacklevel=3,
                )

    def _add_document(self, sha256: str) -> None:
        place = self._place()
        if sha256 in self._read(place).documents:  # as a rule: no lock, nothing written
            return
        with self._locked(place):
            held = self._read(place)
            if sha256 not in held.documents:
                documents = [*held.documents, sha256][-MAX_DOCUMENTS:]
                self._write(held.model_copy(update={"documents": documents}))

    def _place(self) -> _Place:
        return _Place.of(self._root, self._id, self._fs)

    def _file(self, place: _Place) -> Path:
        """The file for a place.

        Raises:
            InvalidInputError: The configuration folder lies inside the repository.
        """
        folder = user_config_path("tupli", appauthor=False) / "trust"
        if _lies_in(folder.resolve(), self._root):
            raise InvalidInputError(
                f"the configuration folder '{folder}' lies inside the repository",
                hint="a repository cannot grant; set XDG_CONFIG_HOME to a folder of your own",
            )
        parts = [self._id, str(place.inode), str(place.mtime_ns), str(place.ctime_ns)]
        key = "\0".join(parts).encode() + b"\0" + os.fsencode(self._root)
        return folder / f"{sha256_of(key).hexdigest()}.json"

    def _read(self, place: _Place) -> _Held:
        file = self._file(place)
        try:
            with disk_errors("read", file):
                data = file.read_bytes()
        except StorageIOError as err:
            if isinstance(err.__cause__, FileNotFoundError):
                return _Held(repository=place)
            raise
        try:
            held = _Held.model_validate(json.loads(data))
            TrustPolicy(held.names, documents=held.documents)
        except (ValueError, RecursionError) as err:
            raise InvalidInputError(
                f"'{file}' is malformed: {_reason(err)}", hint="mend the file or remove it"
            ) from None
        if held.repository != place:
            raise InvalidInputError(
                f"'{file}' was written for another repository, '{held.repository.path}'",
                hint="remove the file; 'tupli trust NAME' grants anew",
            )
        return held

    def _write(self, held: _Held) -> None:
        text = json.dumps(held.model_dump(), indent=1) + "\n"
        replace_file(self._file(held.repository), text.encode(), fs=self._fs)

    @contextmanager
    def _locked(self, place: _Place) -> Iterator[None]:
        """Keep other processes of this user from changing the file.

        Raises:
            LockedError: One of them does not let go.
            StorageIOError: There can be no file.
        """
        path = self._file(place).with_suffix(".lock")
        RepositoryFiles(path.parent, self._fs).ensure_parents(path)  # not every FileLock does
        lock = FileLock(path)
        with ExitStack() as stack:
            try:
                stack.enter_context(lock.acquire(_LOCK_TIMEOUT_S, _LOCK_POLL_S))
            except Timeout:
                raise LockedError(
                    f"another process has kept '{path}' locked for {_LOCK_TIMEOUT_S:g} s",
                    hint="try again when it has ended",
                ) from None
            except (OSError, NotImplementedError):  # no locks here; the file is whole all the same
                pass
            yield


def check_import_path(repository_root: Path) -> None:
    """Check that Python imports nothing from inside a repository: code could be synced in there.

    Raises:
        UntrustedCodeError: An entry of ``sys.path`` lies inside the `.tupli` folder.
    """
    root = repository_root.resolve()
    for entry in sys.path:
        try:
            folder = Path(entry).resolve()  # '' is the working folder
        except (OSError, ValueError, RuntimeError):  # gone, or a loop: nothing comes from there
            continue
        if _lies_in(folder, root):
            raise UntrustedCodeError(
                f"'{folder}' lies inside the repository, and Python imports from there",
                hint="take it out of sys.path and PYTHONPATH, or work in another folder",
            )


def _lies_in(path: Path, root: Path) -> bool:
    """Say whether a resolved path is a resolved folder, or below it."""
    return path == root or root in path.parents


def _readable(path: Path) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")


def _reason(err: ValueError | RecursionError) -> str:
    if isinstance(err, ValidationError):
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]
    return err.message if isinstance(err, InvalidInputError) else str(err)
