"""Repositories made of others: clones, and bundles to make them of.

Invariant: what is cloned is looked at before anything is made, and a bundle is there whole or not
at all.
"""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    NotFoundError,
    RepositoryExistsError,
)
from tupli_repo.odb.bundle import is_bundle, write_bundle
from tupli_repo.odb.files import FileSystem
from tupli_repo.odb.objects import shown
from tupli_repo.odb.refs import LOCAL, RefName
from tupli_repo.repository import location
from tupli_repo.repository.exchange import OnPlan, SharingRepository, report_of
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.sets import digest_of
from tupli_repo.repository.sharing.joined import JoinedObjects, JoinedRefs
from tupli_repo.repository.sharing.known import Side
from tupli_repo.repository.sharing.parcels import OnProgress
from tupli_repo.repository.sharing.remotes import DEFAULT, local_path, open_remote
from tupli_repo.repository.sharing.transfers import Push
from tupli_repo.schema.transfers import RemoteItem, TransferReport

_MIN_DIGITS = 7


class CloningRepository(SharingRepository):
    """A repository that can be made of another, and be put into one file."""

    @classmethod
    def clone(
        cls,
        source: str | Path,
        folder: str | Path | None = None,
        *,
        bare: bool = False,
        expect: str | None = None,
        on_plan: OnPlan | None = None,
        on_progress: OnProgress | None = None,
        on_done: OnPlan | None = None,
        fs: FileSystem | None = None,
    ) -> Self:
        """Make a repository with all that is published in another, which becomes its 'origin'.

        A clone that was cut short is completed by the same call, and one that was not is brought
        up to date.

        Args:
            source: The folder that holds the other, or a bundle.
            folder: Where; by default a folder of the source's name in the working folder.
            bare: Whether the new one is bare, too.
            expect: The digest or the citable revision of something that must be in it; looked for
                before anything is made.
            on_plan: Told what is to be brought before the first byte is.
            on_progress: Told how far it has come.
            on_done: Told what was brought.
            fs: How the disk is reached; another one in tests.

        Raises:
            RepositoryNotFoundError: There is none.
            RepositoryExistsError: There is another one in ``folder`` already.
            CorruptObjectError: Something there is damaged, or what was expected is not in it.
            StorageIOError: One side refused.
        """
        path = local_path(str(source)).resolve()
        target = Path(folder) if folder is not None else _folder_for(path)
        _look_for(expect, path, fs)
        made = cls._for_clone(target, str(path), bare=bare, fs=fs)
        try:
            report = made.pull(
                DEFAULT,
                on_plan=None if on_plan is None else lambda plan: on_plan(_as_clone(plan)),
                on_progress=on_progress,
            )
        except BaseException:
            made.close()
            raise
        if on_done is not None:
            on_done(_as_clone(report))
        return made

    @classmethod
    def plan_clone(
        cls, source: str | Path, *, expect: str | None = None, fs: FileSystem | None = None
    ) -> TransferReport:
        """Return what a clone would bring; nothing is made that stays.

        Args:
            source: The folder that holds the other, or a bundle.
            expect: What must be in it, as for `clone`.
            fs: How the disk is reached; another one in tests.

        Raises:
            RepositoryNotFoundError: There is none.
            CorruptObjectError: What was expected is not in it.
            StorageIOError: It cannot be reached.
        """
        path = local_path(str(source)).resolve()
        _look_for(expect, path, fs)
        with tempfile.TemporaryDirectory() as folder, cls.init(folder, fs=fs) as scratch:
            return _as_clone(scratch.pull(str(path), dry_run=True))

    def bundle(
        self,
        revisions: Iterable[str],
        file: str | Path,
        *,
        dry_run: bool = False,
        on_plan: OnPlan | None = None,
        on_progress: OnProgress | None = None,
    ) -> TransferReport:
        """Write revisions, and those they follow, into one file: a bare repository to clone from.

        Args:
            revisions: ``NAME``, ``NAME@3``, ``NAME@3f2a91c``…; pins of the group ``local`` have to
                be published first.
            file: The file to make.
            dry_run: Whether nothing is done but to tell.
            on_plan: Told what is to be written before the first byte is.
            on_progress: Told how far it has come.

        Raises:
            NotFoundError: There is no such revision.
            InvalidInputError: One is of the group ``local``, or has episodes that were taken back,
                or none is given.
            RepositoryExistsError: The file exists.
            StorageIOError: The disk refused; there is no file then.
        """
        self._releases.refresh()
        taken_back = Releases(self._store, JoinedRefs(self._refs)).taken_back()
        wanted: dict[RefName, set[str]] = {}
        for revision in revisions:
            view = self._revisions.find(revision)
            name = view.record.name
            if name.group == LOCAL:
                raise InvalidInputError(
                    f"'{shown(revision)}' is a pin that is not shared",
                    hint=f"'tupli publish {name.name}' shares it",
                )
            if not taken_back.isdisjoint(self._releases.episodes(view)):
                raise InvalidInputError(
                    f"'{shown(revision)}' has episodes that were taken back",
                    hint=f"a later revision; 'tupli log {name.name}' lists them",
                )
            below = self._releases.history(name).below(view.hash)
            wanted.setdefault(name, set()).update((view.hash, *below))
        if not wanted:
            raise InvalidInputError("a bundle wants a revision", hint="'tupli log' lists them")
        target = Path(file).resolve()
        if target.exists():
            raise RepositoryExistsError(
                f"there is a file '{target}' already", hint="nothing was changed"
            )
        if not target.parent.is_dir():
            raise InvalidInputError(f"there is no folder '{target.parent}'")
        place = None if dry_run else target.parent
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=place))
        try:
            root = location.create(scratch, role="bare", fs=self._files.fs)
            other = open_remote(str(scratch), fs=self._files.fs)
            try:
                push = Push(
                    self._side(),
                    self._store,
                    other.side,
                    lambda name, record: record in wanted.get(name, ()),
                    kept_back=taken_back,
                    sets=self._releases.sets,
                )
                item = RemoteItem(name="", url=str(target))
                report = report_of("bundle", item, push, dry_run=dry_run)
                if report.incomplete:
                    raise NotFoundError(
                        f"'{report.incomplete[0]}' is not here whole",
                        hint="'tupli pull' may bring the rest",
                    )
                if on_plan is not None:
                    on_plan(report)
                if dry_run:
                    return report
                push.run(on_progress)
            finally:
                other.close()
            written = write_bundle(root, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return report.model_copy(update={"bytes_written": written})

    @classmethod
    def _for_clone(cls, folder: Path, url: str, *, bare: bool, fs: FileSystem | None) -> Self:
        """A new repository, or the one that a clone that was cut short has left."""
        try:
            made = cls.init(folder, bare=bare, fs=fs)
        except RepositoryExistsError:
            made = cls(folder, fs=fs)
            known = {item.name: item.url for item in made.remotes()}
            is_begun = known.get(DEFAULT) == url or (not known and made._is_empty())
            if not is_begun or (made.format.role == "bare") is not bare:
                made.close()
                raise
        if DEFAULT not in {item.name for item in made.remotes()}:
            made.add_remote(DEFAULT, url)
        return made

    def _is_empty(self) -> bool:
        self._releases.refresh()
        return not self._releases.names() and next(self._store.ids(), None) is None


def _as_clone(report: TransferReport) -> TransferReport:
    return report.model_copy(update={"verb": "clone"})


def _folder_for(source: Path) -> Path:
    name = source.parent.name if source.name == location.FOLDER else source.name
    return Path(name.rpartition(".")[0] or name) if is_bundle(source) else Path(name)


def _look_for(expect: str | None, source: Path, fs: FileSystem | None) -> None:
    """Look whether a revision, or one of that digest, is there whole; the digest is computed."""
    other = open_remote(str(source), fs=fs)
    try:
        if expect is not None and not _holds(other.side, expect):
            raise CorruptObjectError(
                f"'{source}' does not hold '{shown(expect)}'",
                hint="nothing was cloned; is it the right file?",
            )
    finally:
        other.close()


def _holds(side: Side, expect: str) -> bool:
    wanted = expect.rpartition("@")[2].lower()
    if len(wanted) < _MIN_DIGITS:
        raise InvalidInputError(f"'{shown(expect)}' is too short for a digest or a revision")
    side.refresh()
    releases = Releases(JoinedObjects([side.objects]), JoinedRefs(side.refs))
    return any(
        releases.is_whole(view) and digest_of(releases.episodes(view)) == view.body.digest
        for name in releases.names()
        for view in releases.views(name).values()
        if view.body.digest.startswith(wanted) or view.hash.startswith(wanted)
    )
