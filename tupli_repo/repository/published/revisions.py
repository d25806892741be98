"""Revisions as people write them: ``[GROUP/]NAME``, ``NAME@3``, ``NAME@v1.2``, ``NAME@3f2a91c``.

``GROUP/KIND/NAME`` tells a benchmark from a dataset of the same name, ``id:HEX`` an object's id
from a name. A revision's own hash, or its beginning, stands for it too.

Invariant: what is ambiguous is an error that lists what it may be; nothing is guessed.
"""

import re
import unicodedata
from typing import NamedTuple

from tupli_repo.errors import AmbiguousNameError, InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind, ObjectId, is_id_prefix, shown
from tupli_repo.odb.refs import LOCAL, MAX_NAME, RefName, is_ref_word
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.views import ReleaseView

FORCED_ID = "id:"
_SHOWN_DIGITS = 12
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")


class RevisionText(NamedTuple):
    """The parts of a revision; None where it does not say.

    Attributes:
        group: The group.
        kind: The kind.
        name: The name.
        at: What follows the ``@``.
    """

    group: str | None
    kind: str | None
    name: str
    at: str | None

    def matches(self, name: RefName) -> bool:
        """Return whether it speaks of that name, whatever follows the ``@``."""
        return (
            name.name == self.name
            and self.group in (None, name.group)
            and self.kind in (None, name.kind)
        )


def parse_revision(text: object) -> RevisionText:
    """Return the parts of ``[GROUP/[KIND/]]NAME[@REVISION]``; whether there is such a name is open.

    Raises:
        InvalidInputError: It is no text.

    >>> parse_revision("lab/pendulum@v1.2")
    RevisionText(group='lab', kind=None, name='pendulum', at='v1.2')
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"'{shown(text)}' is not an id", hint="ids and names are text")
    path, at_sign, at = text.partition("@")
    *above, name = path.split("/", 2)
    group = above[0] if above else None
    kind = above[1] if len(above) > 1 else None
    return RevisionText(group, kind, name, at if at_sign else None)


def ref_name_of(title: str) -> str:
    """Return the name under which something of that title is published.

    Raises:
        InvalidInputError: Nothing of it can stand in a name.

    >>> ref_name_of("Café Racer (v2)")
    'cafe-racer-v2'
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    name = _NOT_IN_NAMES.sub("-", plain).strip("-._")
    if not is_ref_word(name, max_length=MAX_NAME):
        raise InvalidInputError(
            f"no name can be made of '{shown(title)}'", hint="say under which with '--as NAME'"
        )
    return name


class Revisions:
    """Finds what revisions stand for.

    Args:
        releases: What is published.
    """

    def __init__(self, releases: Releases) -> None:
        self._releases = releases

    def names(self, text: str) -> list[RefName]:
        """Return the names that a text may stand for; what follows an ``@`` does not count."""
        asked = parse_revision(text)
        return [name for name in self._releases.names() if asked.matches(name)]

    def is_named(self, text: str) -> bool:
        """Return whether a text speaks of a name that is here, or can speak of nothing else."""
        asked = parse_revision(text)
        words = [word for word in (asked.group, asked.kind, asked.name) if word is not None]
        is_path = asked.at is not None or len(words) > 1
        is_proper = all(is_ref_word(word, max_length=MAX_NAME) for word in words)
        return (is_path and is_proper) or bool(self.names(text))

    def find(self, text: str) -> ReleaseView:
        """Return the one revision that a text stands for.

        Raises:
            NotFoundError: There is none.
            AmbiguousNameError: There are several; the message lists them.
        """
        names, at = self.names(text), parse_revision(text).at
        found = {view.hash: view for name in names for view in self._of(name, at)}
        if not names and is_id_prefix(text):
            found = {
                one: view
                for name in self._releases.names()
                for one, view in self._releases.views(name).items()
                if one.startswith(text)
            }
        if not found:
            raise self._not_found(text, names)
        shared = {view.body.digest for view in found.values() if view.record.name.group != LOCAL}
        if shared:  # a pin that was published is meant as others know it
            found = {
                one: view
                for one, view in found.items()
                if view.record.name.group != LOCAL or view.body.digest not in shared
            }
        if len(found) > 1:
            candidates = ", ".join(f"'{cited(view)}'" for view in found.values())
            raise AmbiguousNameError(
                f"'{shown(text)}' is ambiguous: {candidates}", hint="use one of these"
            )
        return next(iter(found.values()))

    def object_of(self, text: str, kind: Kind) -> ObjectId | None:
        """Return the benchmark or artifact that a revision is of; None where no name is meant.

        Raises:
            NotFoundError: There is no such revision.
            AmbiguousNameError: There are several.
            InvalidInputError: It is of something else.
        """
        if not self.is_named(text):
            return None
        view = self.find(text)
        ids = {Kind.BENCHMARK: view.benchmarks, Kind.ARTIFACT: view.artifacts}.get(kind, ())
        if kind is Kind.ARTIFACT and view.record.name.kind != "artifact":
            ids = ()
        if len(ids) != 1:
            raise InvalidInputError(
                f"'{shown(text)}' is a {view.record.name.kind}, and one {kind} is asked for",
                hint="'tupli list' shows the ids",
            )
        return ids[0]

    def _of(self, name: RefName, at: str | None) -> list[ReleaseView]:
        """The revisions of a name that a text behind the ``@`` stands for."""
        releases = self._releases
        if at is None:
            return releases.current(name)
        views = releases.views(name)
        found = [view for view in views.values() if str(view.record.generation) == at]
        if found:
            return found
        if at.startswith("v"):
            history = releases.history(name)
            of_version = [v for v in views.values() if v.body.version in (at, at[1:])]
            counting = [v for v in of_version if history.counts(v.hash)] or of_version
            return [views[one] for one in history.newest(view.hash for view in counting)]
        if is_id_prefix(at):
            return [view for one, view in views.items() if one.startswith(at)]
        return []

    def _not_found(self, text: str, names: list[RefName]) -> NotFoundError:
        if names and parse_revision(text).at is None:
            return NotFoundError(
                f"no revision of '{shown(text)}' is here whole",
                hint="all are yanked, or wait for the rest of a copy; 'tupli log' tells",
            )
        return NotFoundError(
            f"there is no revision '{shown(text)}' here", hint="'tupli log' tells what there is"
        )


def cited(view: ReleaseView) -> str:
    """Return how to cite a revision so that it cannot be mistaken here."""
    return f"{view.record.name}@{view.hash[:_SHOWN_DIGITS]}"
