"""What is published and was: names, their revisions, and what they lead to.

Invariant: a revision that was cited once is found as long as it is here, yanked or taken back.
"""

from tupli_repo.errors import InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind, ObjectId, shown
from tupli_repo.repository.opening import OpenRepository
from tupli_repo.repository.published.revisions import parse_revision
from tupli_repo.repository.published.views import ReleaseView
from tupli_repo.schema import BenchmarkHeader, EpisodeHeader
from tupli_repo.schema.reports import NameItem, ReleaseItem


class CitedRepository(OpenRepository):
    """A repository whose names and revisions can be looked up."""

    def release(self, revision: str) -> ReleaseItem:
        """Return what there is to tell of a revision.

        Args:
            revision: ``[GROUP/]NAME``, ``NAME@3``, ``NAME@v1.2``, ``NAME@3f2a91c``, or its hash.

        Raises:
            NotFoundError: There is none.
            AmbiguousNameError: There are several; the message lists them.
        """
        return self._releases.item(self._find(revision))

    def log(self, name: str | None = None) -> list[ReleaseItem]:
        """Return the revisions of a name, of all names where None, the newest first.

        Of a revision, ``NAME@3``, it and those it follows.

        Raises:
            NotFoundError: There is no such name.
        """
        self._releases.refresh()
        if name is not None and parse_revision(name).at is not None:
            view = self._revisions.find(name)
            known = self._releases.views(view.record.name)
            below = self._releases.history(view.record.name).below(view.hash)
            views = [view, *(known[one] for one in below)]
        else:
            names = self._releases.names() if name is None else self._revisions.names(name)
            if name is not None and not names:
                raise NotFoundError(
                    f"nothing is published as '{shown(name)}'", hint="'tupli log' lists all names"
                )
            views = [view for one in names for view in self._releases.views(one).values()]
        views.sort(key=lambda v: (v.body.created_at, v.record.generation, v.hash), reverse=True)
        return self._releases.items(views)

    def names(self) -> list[NameItem]:
        """Return the names under which something is or was published, sorted."""
        self._releases.refresh()
        return [
            NameItem(
                **name._asdict(),
                n_revisions=len(self._releases.views(name)),
                current=tuple(map(self._releases.item, self._releases.current(name))),
                diverged=len({head.subject for head in self._releases.heads(name)}) > 1,
            )
            for name in self._releases.names()
        ]

    def find(self, name_or_id: str) -> tuple[Kind, ObjectId]:
        """Return kind and id of the benchmark, artifact or episode of a name, id or unique prefix.

        A name is what is published, or the title that something here was stored with.

        Raises:
            NotFoundError: Nothing here has it.
            AmbiguousNameError: Several things have it; the message lists them.
        """
        self._releases.refresh()
        subject = self._subjects.find(name_or_id)
        if subject.episode:
            return Kind.EPISODE, subject.episode
        return Kind(subject.kind), subject.id

    def find_benchmark(self, name_or_id: str) -> BenchmarkHeader:
        """Return the header of the benchmark of a name, id or unique prefix.

        Raises:
            NotFoundError: Nothing here has it.
            AmbiguousNameError: Several things have it.
            InvalidInputError: It is no benchmark.
        """
        self._releases.refresh()
        subject = self._subjects.find(name_or_id)
        if subject.kind != "benchmark" or subject.episode:
            what = "episode" if subject.episode else subject.kind
            raise InvalidInputError(
                f"'{shown(name_or_id)}' is no benchmark, but the {what} '{subject.title}'",
                hint="'tupli list' shows the benchmarks",
            )
        return self._shelf.benchmark_header(subject.id)

    def benchmarks_of(self, revision: str) -> list[BenchmarkHeader]:
        """Return the benchmarks of a revision, hidden ones too, by name and id.

        Raises:
            NotFoundError: There is no such revision, or one of them is not here.
        """
        found = [self._shelf.benchmark_header(oid) for oid in self._find(revision).benchmarks]
        return sorted(found, key=lambda header: (header.metadata.name, header.id))

    def episodes_of(self, revision: str) -> list[EpisodeHeader]:
        """Return the episodes of a revision, hidden ones too, by time and id.

        Raises:
            NotFoundError: There is no such revision, or one of them is not here.
        """
        ids = self._releases.episode_ids(self._find(revision))
        return self._episodes.headers(ids)

    def _find(self, revision: str) -> ReleaseView:
        self._releases.refresh()
        return self._revisions.find(revision)
