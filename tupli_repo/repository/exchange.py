"""Exchanging with other repositories: `SharingRepository`, a repository with remotes.

Invariant: `push` writes nothing here, and `fetch` and `pull` write nothing there.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    NotFoundError,
    TupliError,
)
from tupli_repo.odb.block import Directory
from tupli_repo.odb.drop import drop
from tupli_repo.odb.objects import shown
from tupli_repo.odb.refs import LOCAL, RefName
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.transport import DirectoryTransport
from tupli_repo.repository.naming import NamedRepository
from tupli_repo.repository.published.places import ReleaseRefs
from tupli_repo.repository.published.revisions import parse_revision
from tupli_repo.repository.sharing.incoming import Incoming
from tupli_repo.repository.sharing.joined import JoinedRefs
from tupli_repo.repository.sharing.known import Side
from tupli_repo.repository.sharing.parcels import OnProgress
from tupli_repo.repository.sharing.remotes import OpenRemote, Remotes, open_remote
from tupli_repo.repository.sharing.transfers import IsWanted, Pull, Push
from tupli_repo.repository.sharing.transfers import prune as prune_there
from tupli_repo.schema.reports import StatusReport
from tupli_repo.schema.transfers import RemoteItem, RemoteStatus, TransferReport

OnPlan = Callable[[TransferReport], None]
_Verb = Literal["push", "fetch", "pull", "bundle"]
_MIN_DIGITS = 7


class SharingRepository(NamedRepository):
    """A repository that exchanges what is published with others."""

    # ---- remotes

    def remotes(self) -> list[RemoteItem]:
        """Return the repositories this one exchanges with, by name."""
        return self._remotes.all()

    def add_remote(self, name: str, url: str | Path) -> RemoteItem:
        """Give a repository a name here; whether it can be reached is not asked.

        Args:
            name: Letters, digits, ``_`` and ``-``.
            url: The folder that holds it, or a bundle.

        Raises:
            InvalidInputError: It cannot be a name, another remote has it, or it is no path.
        """
        return self._remotes.add(name, str(url))

    def remove_remote(self, name: str) -> RemoteItem:
        """Forget a remote; nothing there is touched.

        Raises:
            NotFoundError: There is none of that name.
        """
        return self._remotes.remove(name)

    def rename_remote(self, old: str, new: str) -> RemoteItem:
        """Give a remote another name.

        Raises:
            NotFoundError: There is none of that name.
            InvalidInputError: It cannot be a name, or another remote has it.
        """
        return self._remotes.rename(old, new)

    # ---- exchanging

    def fetch(
        self,
        remote: str | None = None,
        names: Iterable[str] = (),
        *,
        dry_run: bool = False,
        on_plan: OnPlan | None = None,
        on_progress: OnProgress | None = None,
    ) -> TransferReport:
        """Bring what a remote has published; as `pull`, but no names are united."""
        return self._receive(
            "fetch",
            remote,
            names,
            unite=False,
            dry_run=dry_run,
            on_plan=on_plan,
            on_progress=on_progress,
        )

    def pull(
        self,
        remote: str | None = None,
        names: Iterable[str] = (),
        *,
        dry_run: bool = False,
        on_plan: OnPlan | None = None,
        on_progress: OnProgress | None = None,
    ) -> TransferReport:
        """Bring what a remote has published, and unite it with what is published here.

        Of a name of which they have not all, what is whole comes. What was removed here stays
        hidden.

        Args:
            remote: Its name or path; by default 'origin', or the only one there is.
            names: Only these, ``[GROUP/[KIND/]]NAME``; all where there are none.
            dry_run: Whether nothing is done but to tell.
            on_plan: Told what is to be brought before the first byte is.
            on_progress: Told how far it has come.

        Raises:
            NotFoundError: There is no such remote or name, or something there has gone meanwhile.
            RepositoryNotFoundError: There is no repository where it should be.
            CorruptObjectError: Something there is damaged; no name has changed here.
            StorageIOError: One side refused.
        """
        return self._receive(
            "pull",
            remote,
            names,
            unite=True,
            dry_run=dry_run,
            on_plan=on_plan,
            on_progress=on_progress,
        )

    def push(
        self,
        remote: str | None = None,
        names: Iterable[str] = (),
        *,
        prune: bool = False,
        dry_run: bool = False,
        on_plan: OnPlan | None = None,
        on_progress: OnProgress | None = None,
    ) -> TransferReport:
        """Bring what is published here to a remote, and unite it there with what others have.

        Pins in the group ``local``, and what was taken back, stay here.

        Args:
            remote: Its name or path; by default 'origin', or the only one there is.
            names: Only these, ``[GROUP/[KIND/]]NAME``; all where there are none.
            prune: Whether the episodes that were taken back are removed there, too.
            dry_run: Whether nothing is done but to tell.
            on_plan: Told what is to be brought before the first byte leaves.
            on_progress: Told how far it has come.

        Raises:
            NotFoundError: There is no such remote or name.
            RepositoryNotFoundError: There is no repository where it should be.
            CorruptObjectError: Something here is damaged.
            StorageIOError: One side refused; the remote's names read as before or as after.
        """
        self.flush()
        with self._opened(remote) as (item, other):
            is_wanted = _chosen(names, self._refs)
            sets = self._releases.sets
            push = Push(self._side(), self._store, other.side, is_wanted, sets=sets)
            report = report_of("push", item, push, dry_run=dry_run)
            if prune and dry_run:
                taken_back = push.known.taken_back
                gone = taken_back - other.side.objects.missing(taken_back)
                report = report.model_copy(update={"n_pruned": len(gone)})
            _tell(on_plan, report)
            if dry_run:
                return report
            written = push.run(on_progress)
            pruned = len(prune_there(other.side, drop)) if prune else 0
        self._after_push(report.url)
        return report.model_copy(update={"bytes_written": written, "n_pruned": pruned})

    def sync(
        self,
        remote: str | None = None,
        names: Iterable[str] = (),
        *,
        dry_run: bool = False,
        on_plan: OnPlan | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[TransferReport]:
        """Pull, then push; see there. Of the names, each need be on one side only.

        Returns:
            What the pull brought, and what the push did.
        """
        chosen = tuple(names)
        with self._opened(remote) as (_, other):
            other.side.refs.refresh()
            self._refs.refresh()
            there = _among(chosen, other.side.refs)
            here = _among(chosen, self._refs)
        for name in chosen:
            if name not in (*there, *here):
                raise _unknown(name)
        found = []
        if there or not chosen:
            found.append(
                self.pull(remote, there, dry_run=dry_run, on_plan=on_plan, on_progress=on_progress)
            )
        here = tuple(dict.fromkeys((*here, *there)))
        if dry_run:
            here = _among(here, self._refs)
        if here or not chosen:
            found.append(
                self.push(remote, here, dry_run=dry_run, on_plan=on_plan, on_progress=on_progress)
            )
        return found

    def status(self, *, with_remotes: bool = True) -> StatusReport:
        """Return what the repository holds, and how its names compare with those of its remotes.

        Args:
            with_remotes: Whether remotes are asked; one that cannot be reached is told as such.

        Raises:
            CorruptObjectError: A record is damaged.
        """
        found = super().status()
        if not with_remotes:
            return found
        remotes = tuple(map(self._compare, self.remotes()))
        return found.model_copy(update={"remotes": remotes})

    # ---- the two ways

    def _receive(
        self,
        verb: Literal["fetch", "pull"],
        remote: str | None,
        names: Iterable[str],
        *,
        unite: bool,
        dry_run: bool,
        on_plan: OnPlan | None,
        on_progress: OnProgress | None,
    ) -> TransferReport:
        with self._opened(remote) as (item, other):
            if names:
                other.side.refs.refresh()
            is_wanted = _chosen(names, other.side.refs)
            sets = self._releases.sets
            pull = Pull(other.side, self._side(), self._store, Incoming, is_wanted, sets=sets)
            report = report_of(verb, item, pull, dry_run=dry_run)
            _tell(on_plan, report)
            if dry_run:
                return report
            written = pull.run(on_progress)
        self._releases.refresh()
        diverged = []
        for name in self._releases.names():
            if unite:
                self._publisher.unite(name)
            if name.group != LOCAL and len({h.subject for h in self._releases.heads(name)}) > 1:
                diverged.append(str(name))
        return report.model_copy(update={"bytes_written": written, "diverged": tuple(diverged)})

    def _after_push(self, url: str) -> None:
        """Do what is to be done where something was pushed to: nothing, on this floor."""

    def _side(self) -> Side:
        transport = DirectoryTransport(self._files)
        files = {file.path.name: file for file in self._store.block_files()}

        def directory_of(name: str) -> Directory | None:
            try:
                return files[name].directory if name in files else None
            except (CorruptObjectError, FileNotFoundError):  # whoever reads it hears of it
                return None

        objects = RemoteObjects(transport, fs=self._files.fs, directory_of=directory_of)
        return Side(objects, self._refs)

    @contextmanager
    def _opened(self, remote: str | None) -> Iterator[tuple[RemoteItem, OpenRemote]]:
        """A remote, open while the block runs; this repository is looked at anew first."""
        self._releases.refresh()
        item = self._remotes.find(remote)
        other = open_remote(item.url, known=self._refs, fs=self._files.fs)
        try:
            if other.side.objects.transport.place("packs").parent == self.root:
                raise InvalidInputError(
                    f"'{item.url}' is this repository itself", hint="name another one"
                )
            yield item, other
        finally:
            other.close()

    def _compare(self, item: RemoteItem) -> RemoteStatus:
        try:
            with self._opened(item.name) as (_, other):
                other.side.refs.refresh()
                theirs = JoinedRefs(other.side.refs)
        except TupliError as err:
            return RemoteStatus(**item.model_dump(), error=err.message)
        ours = JoinedRefs(self._refs)
        return RemoteStatus(
            **item.model_dump(), unpushed=_beyond(ours, theirs), unpulled=_beyond(theirs, ours)
        )

    @property
    def _remotes(self) -> Remotes:
        return Remotes(self.settings_file, self.root.parent)


def report_of(verb: _Verb, item: RemoteItem, plan: Push | Pull, *, dry_run: bool) -> TransferReport:
    """Return what there is to tell of a push or a pull before it runs."""
    parcel = plan.parcel
    return TransferReport(
        verb=verb,
        remote=item.name,
        url=item.url,
        dry_run=dry_run,
        names=parcel.names,
        n_objects=len(parcel.found) + len(parcel.made),
        n_bytes=parcel.n_bytes,
        diverged=tuple(map(str, plan.known.diverged())),
        incomplete=tuple(map(str, plan.incomplete)),
        damaged=tuple(plan.known.damaged),
    )


def _chosen(names: Iterable[str], refs: ReleaseRefs) -> IsWanted | None:
    """Which records are meant by some names; all where there are none."""
    texts = [names] if isinstance(names, str) else list(names)
    if not texts:
        return None
    known = [name for name in refs.names() if name.group != LOCAL]
    wanted = set[RefName]()
    for text in texts:
        asked = parse_revision(text)
        found = [name for name in known if asked.matches(name)]
        if found and asked.at is not None:
            raise InvalidInputError(
                f"'{shown(text)}' is one revision, and names are exchanged whole",
                hint=f"'{found[0]}', or 'tupli bundle {shown(text)} FILE' for that revision",
            )
        if not found:
            raise _unknown(text)
        wanted.update(found)
    return lambda name, _: name in wanted


def _tell(on_plan: OnPlan | None, report: TransferReport) -> None:
    if on_plan is not None:
        on_plan(report)


def _beyond(ours: ReleaseRefs, theirs: ReleaseRefs) -> tuple[str, ...]:
    """The names of which one side has a record or a yank that the other has not."""
    return tuple(
        str(name)
        for name in ours.names()
        if ours.records(name).keys() - theirs.records(name).keys()
        or ours.yanks(name).keys() - theirs.yanks(name).keys()
    )


def _among(names: Iterable[str], refs: ReleaseRefs) -> tuple[str, ...]:
    """Those of some names that are there."""
    known = [name for name in refs.names() if name.group != LOCAL]
    return tuple(text for text in names if any(parse_revision(text).matches(n) for n in known))


def _unknown(text: str) -> NotFoundError:
    return NotFoundError(
        f"nothing is published as '{shown(text)}'",
        hint="'tupli log' lists the names here; 'tupli publish NAME' makes one",
    )
