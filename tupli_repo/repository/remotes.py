"""The repositories one exchanges with: what they are called, where they are, how they are opened.

A remote is a folder that holds a `.tupli`, typically on a shared drive, or a bundle: a bare
repository in one file. Nothing that is found there is believed: bytes are verified on the way, and
`check_incoming` looks whether the floors above can read them. One benchmark that nobody can read
would keep everything else here from being listed.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from platformdirs import user_cache_path

from tupli_repo.codec.episode import decode_record
from tupli_repo.codec.records import ArtifactBody, BenchmarkBody, ProvenanceBody, parse_body
from tupli_repo.config import RepositoryFormat, SettingsFile, remote_key
from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    NotFoundError,
    RepositoryNotFoundError,
    TupliError,
)
from tupli_repo.odb.bundle import BundleTransport, is_bundle
from tupli_repo.odb.files import FileSystem, RepositoryFiles, disk_errors, replace_file
from tupli_repo.odb.objects import Kind, Object, ObjectId, shown
from tupli_repo.odb.refs import RefName, RefStore
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.remote_refs import RemoteRefs
from tupli_repo.odb.transport import DirectoryTransport, Transport
from tupli_repo.repository import location
from tupli_repo.repository.publishing import digest_of
from tupli_repo.repository.releases import ReleaseView
from tupli_repo.repository.transfers import Known, Side
from tupli_repo.schema.transfers import RemoteItem

DEFAULT = "origin"
_FORMAT_NAME = "format.json"
_MAX_FORMAT_BYTES = 1 << 16
_SHOWN_DIGITS = 12
_N_LINKS = {Kind.BENCHMARK: 1, Kind.EPISODE: 2}  # an environment; a benchmark and a layout
_READERS: Mapping[Kind, Callable[[bytes], object]] = {
    Kind.ARTIFACT: lambda body: parse_body(ArtifactBody, body),
    Kind.BENCHMARK: lambda body: parse_body(BenchmarkBody, body),
    Kind.EPISODE: decode_record,
    Kind.PROVENANCE: lambda body: parse_body(ProvenanceBody, body),
}


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
        replace_file(self._file.path, self._file.changed(key, url))


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
                root = location.find(path)
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
    return OpenRemote(
        Side(RemoteObjects(transport, cache, fs=fs), RemoteRefs(transport, known)), found
    )


def check_incoming(theirs: Side, ours: Side, known: Known, names: Collection[RefName]) -> None:
    """Check that what a pull is to bring of some names is what they say, and can be read here.

    Args:
        theirs: Where it is.
        ours: Where it is to go.
        known: What they have published.
        names: The names that are looked at.

    Raises:
        CorruptObjectError: Something of them is not what it should be, or would hide other things.
        NotFoundError: Something has gone meanwhile.
    """
    source, here = theirs.objects, ours.objects
    lacking = [oid for oid in known.lacking(here, names) if source.contains(oid)]
    new = source.closure(lacking, known=here.contains).ids
    kinds = {oid: found.kind for oid, found in source.look_up(new).items()}
    episodes = known.episodes(names)
    for oid, kind in kinds.items():
        if kind is Kind.TOMBSTONE:
            raise _unfit(oid, kind, "it hides things in one place, and is never shared")
        if kind is not Kind.EPISODE and bytes.fromhex(oid) in episodes:
            raise _unfit(oid, Kind.EPISODE, f"it is of kind '{kind}'")
    for oid, obj in source.read_many(oid for oid, kind in kinds.items() if kind in _READERS):
        _check_object(oid, obj)
    for name in names:
        there, heads = ours.refs.records(name), known.releases.heads(name)
        for one, view in known.releases.views(name).items():
            if one not in there:
                _check_kinds(view, [source, here])
                if view in heads and digest_of(known.releases.episodes(view)) != view.body.digest:
                    raise _unfit(view.record.release, Kind.RELEASE, "its digest is wrong")


def _check_object(oid: ObjectId, obj: Object) -> None:
    if len(obj.links) < _N_LINKS.get(obj.kind, 0):
        raise _unfit(oid, obj.kind, "it lacks a link")
    try:
        _READERS[obj.kind](obj.body)
    except CorruptObjectError as err:
        raise _unfit(oid, obj.kind, err.reason) from None


def _check_kinds(view: ReleaseView, sides: Collection[RemoteObjects]) -> None:
    """Check that what a revision is of has the kinds it should have."""
    if view.record.name.kind == "artifact" and len(view.artifacts) != 1:
        raise _unfit(view.record.release, Kind.RELEASE, "it is not of one artifact")
    for kind, ids in (
        (Kind.BENCHMARK, view.benchmarks),
        (Kind.PROVENANCE, view.provenance),
        (Kind.ARTIFACT, view.artifacts),
    ):
        for oid in ids:
            found = {side.kind_of(oid) for side in sides if side.contains(oid)}
            if not found <= {kind}:
                raise _unfit(oid, kind, f"it is of kind '{min(found)}'")


def _unfit(oid: ObjectId, kind: Kind, why: str) -> CorruptObjectError:
    return CorruptObjectError(f"{kind} '{oid[:_SHOWN_DIGITS]}' is damaged: {why}")


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
