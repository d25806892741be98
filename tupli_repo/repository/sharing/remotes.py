"""The repositories one exchanges with: what they are called, where they are, how they are opened.

A remote is a folder that holds a `.tupli`, typically on a shared drive, or a bundle: a bare
repository in one file. Nothing that is found there is believed.
"""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from platformdirs import user_cache_path

from tupli_repo.catalog import SetNotes
from tupli_repo.config import RepositoryFormat, SettingsFile, remote_key
from tupli_repo.errors import (
    InvalidInputError,
    NotFoundError,
    RepositoryNotFoundError,
    TupliError,
)
from tupli_repo.odb.bundle import BundleTransport, is_bundle
from tupli_repo.odb.files import FileSystem, RepositoryFiles, disk_errors
from tupli_repo.odb.objects import shown
from tupli_repo.odb.refs import RefStore
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.remote_refs import RemoteRefs
from tupli_repo.odb.transport import DirectoryTransport, Transport
from tupli_repo.repository import location
from tupli_repo.repository.sharing.known import Side
from tupli_repo.schema.transfers import RemoteItem

DEFAULT = "origin"
_FORMAT_NAME = "format.json"
_MAX_FORMAT_BYTES = 1 << 16


class Remotes:
    """What the other repositories are called here.

    Args:
        file: The settings of this repository.
        project: The folder relative paths start from.
    """

    def __init__(self, file: SettingsFile, project: Path) -> None:
        self._file = file
        self._project = project

    def all(self) -> list[RemoteItem]:
        """Return them by name."""
        return [RemoteItem(name=name, url=url) for name, url in self._file.remotes().items()]

    def add(self, name: str, url: str) -> RemoteItem:
        """Give a repository a name; whether it can be reached is not asked.

        Raises:
            InvalidInputError: It cannot be a name, or another remote has it.
        """
        known = self._file.remotes()
        key = remote_key(name)
        if name in known:
            raise InvalidInputError(
                f"there is a remote '{name}' already: '{known[name]}'",
                hint=f"'tupli remote remove {name}' first, or another name",
            )
        url = str((self._project / local_path(url)).resolve())
        self._set(key, url)
        return RemoteItem(name=name, url=url)

    def remove(self, name: str) -> RemoteItem:
        """Forget a remote; nothing there is touched.

        Raises:
            NotFoundError: There is none of that name.
        """
        found = self._named(name)
        self._set(remote_key(name), None)
        return found

    def rename(self, old: str, new: str) -> RemoteItem:
        """Give a remote another name.

        Raises:
            NotFoundError: There is none of that name.
            InvalidInputError: It cannot be a name, or another remote has it.
        """
        found = self._named(old)
        renamed = self.add(new, found.url)
        self._set(remote_key(old), None)
        return renamed

    def find(self, text: str | None) -> RemoteItem:
        """Return the remote of a name or at a path; where None, 'origin' or the only one.

        Raises:
            NotFoundError: There is none.
            InvalidInputError: It is not said which.
        """
        known = self._file.remotes()
        if text is None:
            name = DEFAULT if DEFAULT in known else next(iter(known), None)
            if name is None:
                raise NotFoundError(
                    "there is no remote here", hint="'tupli remote add origin FOLDER' names one"
                )
            if name != DEFAULT and len(known) > 1:
                raise InvalidInputError(
                    f"there are several remotes: {', '.join(known)}", hint="say which"
                )
            return RemoteItem(name=name, url=known[name])
        if text in known:
            return RemoteItem(name=text, url=known[text])
        path = local_path(text)
        if path.exists() and (path.is_absolute() or len(path.parts) > 1 or is_bundle(path)):
            return RemoteItem(name="", url=str(path.resolve()))
        return self._named(text)

    def _named(self, name: str) -> RemoteItem:
        url = self._file.remotes().get(name)
        if url is None:
            raise NotFoundError(
                f"there is no remote '{shown(name)}' here",
                hint="'tupli remote' lists them; 'tupli remote add NAME FOLDER' adds one",
            )
        return RemoteItem(name=name, url=url)

    def _set(self, key: str, url: str | None) -> None:
        self._file.set(key, url)


class OpenRemote(NamedTuple):
    """A remote that was opened.

    Attributes:
        side: Its objects and records.
        format: What its `format.json` says.
    """

    side: Side
    format: RepositoryFormat

    def close(self) -> None:
        """Let go of it."""
        with suppress(TupliError):
            self.side.objects.transport.close()


def open_remote(
    url: str, *, known: RefStore | None = None, fs: FileSystem | None = None
) -> OpenRemote:
    """Open a repository to exchange with.

    Args:
        url: The folder that holds it, or a bundle.
        known: The refs here: what both have is not read there.
        fs: How the disk is reached; another one in tests.

    Raises:
        RepositoryNotFoundError: There is none.
        UnsupportedFormatError: A newer version wrote it.
        CorruptObjectError: It is damaged.
        StorageIOError: It cannot be reached.
    """
    path = local_path(url)
    transport: Transport
    with disk_errors("read", path):
        is_file = is_bundle(path)
    if is_file:
        transport = BundleTransport(path)
    else:
        try:
            with disk_errors("read", path):
                root = location.find(path, fs=fs)
        except RepositoryNotFoundError as err:
            raise RepositoryNotFoundError(
                f"there is no repository in '{path}'",
                hint=f"is the drive there? 'tupli init --bare {quote(str(path))}' makes one",
            ) from err
        transport = DirectoryTransport(RepositoryFiles(root, fs))
    place = transport.place(_FORMAT_NAME)
    try:
        found = RepositoryFormat.parse(transport.read(_FORMAT_NAME, 0, _MAX_FORMAT_BYTES), place)
    except FileNotFoundError:
        raise RepositoryNotFoundError(f"there is no repository in '{path}'") from None
    cache = _cache_folder(place.parent, found.id)
    objects = RemoteObjects(transport, cache, fs=fs, notes=SetNotes(cache))
    return OpenRemote(Side(objects, RemoteRefs(transport, known)), found)


def local_path(url: str) -> Path:
    """Return the path that a URL stands for.

    Raises:
        InvalidInputError: It is not a path on this machine.
    """
    if url.startswith("file://"):
        return Path(url.removeprefix("file://"))
    scheme, is_url, _ = url.partition("://")
    if is_url:
        raise InvalidInputError(
            f"'{shown(url)}' cannot be reached: there is no way to '{shown(scheme)}' yet",
            hint="the path of a folder, on a drive that is mounted here, or of a bundle",
        )
    if not url.strip():
        raise InvalidInputError("a remote is the path of a folder or of a bundle")
    return Path(url).expanduser()


def _cache_folder(root: Path, repository_id: str) -> Path:
    """Where the directories of a remote's packs are kept; no remote speaks for another."""
    key = sha256(f"{root}\n{repository_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return user_cache_path("tupli", appauthor=False) / "directories" / key
