"""What is to be published: found by name or id, given a name, and described.

Invariant: an offer names only what is here, whole and not hidden (a dataset's episodes may be
hidden: a pin holds what it holds).
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from tupli_repo.errors import (
    AmbiguousNameError,
    InvalidInputError,
    NotFoundError,
)
from tupli_repo.odb.objects import Kind, ObjectId, is_id_prefix, parse_object_id, shown
from tupli_repo.odb.refs import LOCAL, RefName, parse_ref_name
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository.published.publishing import Offer
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.revisions import FORCED_ID, Revisions, ref_name_of
from tupli_repo.repository.published.views import ReleaseView
from tupli_repo.repository.shelf import Shelf, matching
from tupli_repo.schema import BaseFilter, FilterAND, FilterEQ

EpisodeChoice = BaseFilter | Iterable[str] | bool
"""Which episodes: those that match, those of some ids, all of them, or none."""

_SHOWN_DIGITS = 12
_ID_DIGITS = 64


class Subject(NamedTuple):
    """One thing that can be published.

    Attributes:
        kind: ``benchmark``, ``artifact`` or ``dataset``.
        id: The id of the benchmark or artifact; of the release of a dataset.
        title: Its name as it is shown.
        name: The name under which it was asked for and is published already; None where by id.
        view: The revision, of a dataset.
        episode: The episode that was asked for, with its benchmark.
    """

    kind: str
    id: ObjectId
    title: str
    name: str | None = None
    view: ReleaseView | None = None
    episode: ObjectId | None = None


class Subjects:
    """Finds and describes what is to be published in one repository.

    Args:
        store: Where it lies.
        shelf: What is visible.
        releases: What is published.
        revisions: What names stand for.
    """

    def __init__(
        self, store: ObjectStore, shelf: Shelf, releases: Releases, revisions: Revisions
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._releases = releases
        self._revisions = revisions

    def find(self, text: str) -> Subject:
        """Return the benchmark, artifact, episode or dataset of a name, id or unique prefix.

        Raises:
            NotFoundError: Nothing here has it.
            AmbiguousNameError: Several things have it; the message lists them.
        """
        named = [] if text.startswith(FORCED_ID) else self._named(text)
        if len(named) > 1:
            listed = ", ".join(f"{one.kind} '{one.id[:_SHOWN_DIGITS]}'" for one in named)
            raise AmbiguousNameError(f"'{shown(text)}' is ambiguous: {listed}", hint="give the id")
        return named[0] if named else self._by_id(text)

    def benchmark(self, oid: ObjectId, *, name: str | None = None) -> Subject:
        """Return a benchmark as a subject."""
        title = self._shelf.benchmarks.all()[oid].body.name
        return Subject("benchmark", oid, title, name)

    def choose(
        self, subject: Subject, episodes: EpisodeChoice, *, but: Collection[ObjectId] = ()
    ) -> frozenset[ObjectId]:
        """Return which of a benchmark's episodes are meant.

        Args:
            subject: The benchmark.
            episodes: Which of them.
            but: Sets of episodes that need not be found again where all that match are meant.

        Raises:
            InvalidInputError: One is of another benchmark, or it is no benchmark that is asked.
            NotFoundError: One is not here.
        """
        own = frozenset([subject.episode] if subject.episode else [])
        if episodes is False:
            return own
        if subject.kind != "benchmark" or own:
            raise InvalidInputError(
                f"'{subject.title}' has no episodes to choose from",
                hint="choose among those of a benchmark",
            )
        if episodes is True or isinstance(episodes, BaseFilter):
            of_it = FilterEQ(key="benchmark_id", value=subject.id)
            chosen = of_it if episodes is True else FilterAND(filters=[of_it, episodes])
            return frozenset(self._shelf.episode_ids(chosen, but=but))
        found = self.visible_episodes(episodes)
        others = sorted(one for one, benchmark in found.items() if benchmark != subject.id)
        if others:
            raise InvalidInputError(
                f"episode '{others[0][:_SHOWN_DIGITS]}' is of another benchmark",
                hint="publish_episodes() publishes episodes of several",
            )
        return frozenset(found)

    def visible_episodes(self, uris: Iterable[str]) -> dict[ObjectId, ObjectId]:
        """Return the ids of visible episodes and of their benchmarks.

        Raises:
            InvalidInputError: One is no id.
            NotFoundError: One is not here.
            AmbiguousNameError: Several begin with one.
        """
        asked = list(uris)
        ids = [parse_object_id(uri) for uri in asked if len(uri) == _ID_DIGITS]
        if len(ids) < len(asked):  # a prefix means to look at them all
            ids = matching(asked, self._shelf.visible(Kind.EPISODE), Kind.EPISODE)
        hidden = self._shelf.tombstones.hidden().intersection(ids)
        if hidden:
            raise _gone("episode", min(hidden), hint="'tupli restore' brings it back")
        return self.read_episodes(ids)

    def read_episodes(self, ids: Collection[ObjectId]) -> dict[ObjectId, ObjectId]:
        """Return the ids of episodes, hidden or not, and of their benchmarks.

        Raises:
            NotFoundError: One, or something it needs, is not here.
            InvalidInputError: One is no episode.
        """
        found: dict[ObjectId, ObjectId] = {}
        needed: set[bytes] = set()
        for oid, obj in self._store.read_many(ids):
            if obj.kind is not Kind.EPISODE:
                raise InvalidInputError(f"'{oid[:_SHOWN_DIGITS]}' is a {obj.kind}, not an episode")
            found[oid] = obj.links[0]
            needed.update(map(bytes.fromhex, obj.links))
        missing = self._store.missing(needed)
        if missing:
            raise _gone("object", min(missing).hex(), hint="a copy may still be under way")
        return found

    def name_for(self, subject: Subject, *, group: str, as_name: str | None) -> RefName:
        """Return the name under which something is to be published.

        Where it is published in the group already it keeps its name; else one is made of its title.

        Raises:
            InvalidInputError: It is no name, none can be made, or something else has it.
        """
        if as_name is not None or subject.name is not None:
            return parse_ref_name(group, subject.kind, as_name or subject.name or "")
        holding = [name for name in self.names_holding(subject.id) if name.group == group]
        made = RefName(group, subject.kind, ref_name_of(subject.title)) if not holding else None
        name = made if made is not None else self._own_name(subject, holding)
        parse_ref_name(*name)
        titles = {head.body.name for head in self._releases.heads(name)}
        if made is not None and titles and subject.title not in titles:
            raise InvalidInputError(
                f"'{name.name}' is the name of '{min(titles)}' already",
                hint="say under which with '--as NAME'",
            )
        return name

    def known_sets(self, subject: Subject, name: RefName) -> tuple[ObjectId, ...]:
        """Return the sets of a benchmark's episodes that its next revision has in any case."""
        heads = self._releases.heads(name)
        if subject.kind != "benchmark" or [head.subject for head in heads] != [(subject.id,)]:
            return ()
        return heads[0].sets

    def names_holding(self, oid: ObjectId) -> list[RefName]:
        """Return the names that have a benchmark or artifact of their own kind in a head."""
        kinds = {"benchmark", "artifact"}
        return [
            name
            for name in self._releases.names()
            if name.kind in kinds
            for head in self._releases.heads(name)
            if not head.body.is_retracted and oid in head.subject
        ]

    def offer(
        self, subject: Subject, episodes: Collection[ObjectId], artifacts: Collection[ObjectId] = ()
    ) -> Offer:
        """Return what is to be published of a subject."""
        if subject.view is not None:
            view = subject.view
            offer = self.dataset_offer(
                view.body.name, self.read_episodes(self._releases.episode_ids(view))
            )
            return offer._replace(licence=view.body.licence, citation=view.body.citation)
        if subject.kind == "artifact":
            return Offer(
                title=subject.title,
                artifacts=(subject.id,),
                provenance=self._provenance([subject.id]),
            )
        links, body = self._shelf.benchmarks.all()[subject.id]
        own = links[len(links) - body.n_artifacts :]
        return Offer(
            title=subject.title,
            version=body.version,
            benchmarks=(subject.id,),
            provenance=self._provenance([subject.id, *own, *artifacts]),
            artifacts=tuple(sorted(artifacts)),
            episodes=frozenset(map(bytes.fromhex, episodes)),
        )

    def dataset_offer(self, title: str, episodes: Mapping[ObjectId, ObjectId]) -> Offer:
        """Return a dataset of episodes, given with their benchmarks."""
        benchmarks = sorted(set(episodes.values()))
        return Offer(
            title=title,
            benchmarks=tuple(benchmarks),
            provenance=self._provenance(benchmarks),
            episodes=frozenset(map(bytes.fromhex, episodes)),
        )

    def _provenance(self, subjects: Collection[str]) -> tuple[ObjectId, ...]:
        notes = self._shelf.provenance.all()
        return tuple(sorted(oid for oid, note in notes.items() if note.body.subject in subjects))

    def _named(self, text: str) -> list[Subject]:
        """What a name may stand for here: what is on the shelf, then what is published."""
        if ("@" in text or "/" in text) and self._revisions.is_named(text):
            known = bool(self._revisions.names(text))
            titled = [] if known else self._titled(text)  # as Minari's: 'mujoco/hopper/expert-v0'
            return titled or [self._of_view(self._revisions.find(text))]
        found = self._titled(text)
        names = self._revisions.names(text)
        pins = [name for name in names if name.kind == "dataset"]
        views = [
            view
            for name in [n for n in pins if n.group == LOCAL] or pins
            for view in self._releases.current(name)
        ]
        if not found and not views:
            views = [v for name in names for v in self._releases.current(name)]
        published = {one.id: one for one in map(self._of_view, views)}
        return found + list(published.values())

    def _titled(self, text: str) -> list[Subject]:
        """The benchmarks and artifacts on the shelf that people may call by a text."""
        found = [
            self.benchmark(oid)
            for oid in self._shelf.visible(Kind.BENCHMARK)
            if text in _names_of(self._shelf.benchmarks.all()[oid].body.name)
        ]
        for oid in self._shelf.visible(Kind.ARTIFACT):
            title = self._shelf.artifacts.all()[oid].body.name
            if text in _names_of(title):
                found.append(Subject("artifact", oid, title))
        return found

    def _of_view(self, view: ReleaseView) -> Subject:
        """What a revision is of."""
        name = view.record.name
        known = self._shelf.artifacts if name.kind == "artifact" else self._shelf.benchmarks
        ids = view.artifacts if name.kind == "artifact" else view.benchmarks
        if name.kind != "dataset" and not (ids and ids[0] in known.all()):
            raise NotFoundError(
                f"revision '{view.hash[:_SHOWN_DIGITS]}' of '{name}' names no {name.kind} that is"
                " here",
                hint=f"'tupli log {name}' tells whether it waits for the rest of a copy",
            )
        if name.kind == "benchmark":
            return self.benchmark(view.benchmarks[0], name=name.name)
        if name.kind == "artifact":
            return Subject("artifact", view.artifacts[0], view.body.name, name.name)
        return Subject("dataset", view.record.release, view.body.name, name.name, view)

    def _by_id(self, text: str) -> Subject:
        uri = text.removeprefix(FORCED_ID)
        if not is_id_prefix(uri):
            raise NotFoundError(
                f"nothing here is called '{shown(text)}'", hint="'tupli list' shows names and ids"
            )
        if len(uri) == _ID_DIGITS:  # most often: no need to look at all episodes
            for kind in (Kind.BENCHMARK, Kind.ARTIFACT):
                if uri in self._shelf.visible(kind):
                    return self._thing(kind, parse_object_id(uri))
        kinds = (Kind.BENCHMARK, Kind.ARTIFACT, Kind.EPISODE)
        visible = {oid: kind for kind in kinds for oid in self._shelf.visible(kind)}
        (oid,) = matching([uri], visible, "benchmark, artifact or episode")
        return self._thing(visible[oid], oid)

    def _thing(self, kind: Kind, oid: ObjectId) -> Subject:
        if kind is Kind.BENCHMARK:
            return self.benchmark(oid)
        if kind is Kind.ARTIFACT:
            return Subject("artifact", oid, self._shelf.artifacts.all()[oid].body.name)
        return self.benchmark(self.read_episodes([oid])[oid])._replace(episode=oid)

    def _own_name(self, subject: Subject, holding: list[RefName]) -> RefName:
        """The name that something has in a group; of several the one made of its title."""
        distinct = sorted(set(holding))
        if len(distinct) == 1:
            return distinct[0]
        fitting = [name for name in distinct if name.name in _names_of(subject.title)]
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(f"'{name.name}'" for name in distinct)
        raise InvalidInputError(
            f"'{subject.title}' is published as {names}", hint="say under which with '--as NAME'"
        )


def _names_of(title: str) -> set[str]:
    """What people may call something of that title."""
    try:
        return {title, ref_name_of(title)}
    except InvalidInputError:
        return {title}


def _gone(what: str, oid: str, *, hint: str) -> NotFoundError:
    return NotFoundError(f"{what} '{oid[:_SHOWN_DIGITS]}' is not in this repository", hint=hint)
