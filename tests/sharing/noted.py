"""The model that notes what it is asked, and disks that die or let others act on the way."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import assume

from tests.faults import Call, FailingFileSystem, Killed, RecordingFileSystem
from tests.sharing import model
from tests.sharing.model import Id, Ids, Name, Release, Sharing


class Asked(NamedTuple):
    """Something that somebody asked of the model, and whether it was refused."""

    verb: str
    what: tuple[Any, ...]
    came: Any


class NotedSharing(Sharing):
    """The model, which notes what it is asked, so that the same can be asked of the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.fetching: model.Repository | None = None
        self.already: set[Id] = set()  # what the push under way has put before it was interrupted

    def publish(self, repo: model.Repository, wish: Release, *, as_next: bool = False) -> Id:
        try:
            came = super().publish(repo, wish, as_next=as_next)
        except model.ConflictError:
            self.asked.append(Asked("publish", (wish, as_next), None))
            raise
        self.asked.append(Asked("publish", (wish, as_next), came))
        return came

    def unpublish(self, repo: model.Repository, name: Name, episodes: Ids, who: str) -> list[Id]:
        back = list(episodes)
        self.unite(repo, name)
        heads = self.heads(repo, name)
        having = {r for r in repo.named(name) if repo.content(r) & set(back)}
        # of the sides of a conflict that never had it either one may say so
        assume(len(heads) < 2 or any({h, *self.below(repo, h)} & having for h in heads))
        came = super().unpublish(repo, name, back, who)
        self.asked.append(Asked("unpublish", (name, back), came))
        return came

    def yank(self, repo: model.Repository, record: Id) -> None:
        try:
            super().yank(repo, record)
        except model.RefusedError:
            self.asked.append(Asked("yank", (record,), False))
            raise
        self.asked.append(Asked("yank", (record,), True))

    def unite(self, repo: model.Repository, name: Name) -> None:
        if repo is not self.fetching:
            super().unite(repo, name)

    def put_objects(
        self, source: model.Repository, target: model.Repository, wanted: Ids
    ) -> Iterator[None]:
        already, self.already = self.already, set()
        yield from super().put_objects(source, target, set(wanted) - already)

    def fetch(self, work: model.Repository, bare: model.Repository) -> Iterator[None]:
        """Pull, and unite nothing."""
        self.fetching = work
        yield from self.pull(work, bare)
        self.fetching = None


class InterruptedFileSystem(RecordingFileSystem):
    """Lets somebody else act before the n-th file appears in a folder."""

    def __init__(self, folder: Path, n: int, act: Callable[[], object]) -> None:
        super().__init__()
        self._folder, self._left, self._act = folder, n, act

    def before(self, call: Call) -> None:
        super().before(call)
        if _appears(call, self._folder):
            self._left -= 1
            if self._left == 0:
                self._act()


class DyingFileSystem(FailingFileSystem):
    """Dies before the n-th file appears in a folder, or at the n-th step."""

    def __init__(self, folder: Path, n: int, *, at_steps: bool) -> None:
        super().__init__(0, Killed(), torn=0.5)
        self._folder, self._n, self._at_steps = folder, n, at_steps

    def begin(self) -> None:
        """Begin to count."""
        if self._at_steps:
            self.fail_at(self._n)

    def before(self, call: Call) -> None:
        if not self._at_steps and self.failed is None and _appears(call, self._folder):
            self._n -= 1
            if self._n == 0:
                self.fail_at(1)
        super().before(call)


def _appears(call: Call, folder: Path) -> bool:
    is_there = call.path.is_relative_to(folder / ".tupli") and "staging" not in call.path.parts
    return call.name in ("rename", "link") and is_there
