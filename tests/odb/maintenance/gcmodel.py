"""A model of cleaning, small enough that every order of events can be tried.

One object, two packs that both hold it, a writer that finds it there and refers to it, two cleaners
each of which rewrites some pack and then, in a second run, only empties the trash, a crash of
anybody at any moment, and time that may pass at any moment. `explore` goes through all orders and
tells what is lost.

Assumed: nobody takes longer from finding an object to referring to it than the trash is kept.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

N_CLEANERS = 2
_ORIGINALS = (0, 1)
_WRITERS = N_CLEANERS + 2
"""The file of the writer, behind the two packs and one output for each cleaner."""

NONE, HERE, TRASH, AGED, GONE = "none", "here", "trash", "aged", "gone"


class Rules(NamedTuple):
    """How a cleaner goes about it.

    Attributes:
        trusts_copies: Whether it leaves out what another pack has.
        checks_after: Whether it looks again, once the old pack is away, and brings it back.
        looks_again: Whether it looks for what is reachable now before it ends.
        looks_before_removing: Whether it does so before it removes anything for good.
        only_merges: Whether it takes all for reachable, and ends with its pack.
    """

    trusts_copies: bool = False
    checks_after: bool = True
    looks_again: bool = True
    looks_before_removing: bool = True
    only_merges: bool = False


class File(NamedTuple):
    """A file: where it is, and whether the object is in it."""

    where: str
    has_it: bool


class Cleaner(NamedTuple):
    """Where a cleaner is: its next step, its input, whether it saw the object referred to."""

    step: str = "mark"
    input: int = -1
    live: bool = False


class State(NamedTuple):
    """Everything."""

    files: tuple[File, ...]
    cleaners: tuple[Cleaner, ...]
    writer: str = "find"
    has_reused: bool = False
    is_referred: bool = False
    is_acknowledged: bool = False
    has_crashed: bool = False

    def is_here(self, *, but: int = -1) -> bool:
        return any(f.where == HERE and f.has_it for n, f in enumerate(self.files) if n != but)

    def is_left(self) -> bool:
        return any(f.where in (HERE, TRASH, AGED) and f.has_it for f in self.files)

    def with_file(self, n: int, where: str, *, has_it: bool | None = None) -> "State":
        old = self.files[n]
        new = File(where, old.has_it if has_it is None else has_it)
        return self._replace(files=(*self.files[:n], new, *self.files[n + 1 :]))

    def with_cleaner(self, n: int, cleaner: Cleaner) -> "State":
        return self._replace(cleaners=(*self.cleaners[:n], cleaner, *self.cleaners[n + 1 :]))

    def rescued(self) -> "State":
        """Brought back where it is reachable and nowhere but in the trash."""
        if self.is_referred and not self.is_here():
            for n, file in enumerate(self.files):
                if file.has_it and file.where in (TRASH, AGED):
                    return self.with_file(n, HERE)
        return self


class Found(NamedTuple):
    """What exploring has shown: numbers of states.

    Attributes:
        states: All.
        lost: The object is acknowledged, and nowhere.
        out_of_sight: It is acknowledged, nobody has crashed or is at work, and it is in the trash.
        example: One of the worst.
    """

    states: int
    lost: int
    out_of_sight: int
    example: State | None


def explore(rules: Rules) -> Found:
    """Go through every order of events."""
    files = (*(File(HERE, has_it=True) for _ in _ORIGINALS),)
    files += tuple(File(NONE, has_it=False) for _ in range(N_CLEANERS + 1))
    start = State(files, tuple(Cleaner() for _ in range(N_CLEANERS)))
    seen, left = {start}, deque([start])
    lost = out_of_sight = 0
    example = None
    while left:
        state = left.popleft()
        if state.is_acknowledged and not state.is_left():
            lost, example = lost + 1, state
        is_quiet = all(cleaner.step == "end" for cleaner in state.cleaners)
        if state.is_acknowledged and is_quiet and not state.has_crashed and not state.is_here():
            out_of_sight += 1
            example = example or state
        for following in _following(state, rules):
            if following not in seen:
                seen.add(following)
                left.append(following)
    return Found(len(seen), lost, out_of_sight, example)


def _following(state: State, rules: Rules) -> Iterator[State]:
    yield from _writing(state)
    for n, file in enumerate(state.files):  # time passes
        waits = state.has_reused and state.writer in ("refer", "hold")
        if file.where == TRASH and not waits:
            yield state.with_file(n, AGED)
    for n, cleaner in enumerate(state.cleaners):
        if cleaner.step != "end":
            yield from _cleaning(state, n, cleaner, rules)
            yield state.with_cleaner(n, Cleaner("end"))._replace(has_crashed=True)


def _writing(state: State) -> Iterator[State]:
    match state.writer:
        case "find" if state.is_here():
            yield state._replace(writer="refer", has_reused=True)
        case "find":
            yield state.with_file(_WRITERS, HERE, has_it=True)._replace(writer="refer")
        case "refer":
            yield state._replace(writer="hold", is_referred=True)
        case "hold" if state.is_here():
            yield state._replace(writer="done", is_acknowledged=True)
        case "hold":
            yield state.with_file(_WRITERS, HERE, has_it=True)
    if state.writer in ("refer", "hold"):
        yield state._replace(writer="dead")


def _cleaning(state: State, n: int, cleaner: Cleaner, rules: Rules) -> Iterator[State]:
    def then(step: str, after: State = state) -> State:
        return after.with_cleaner(n, cleaner._replace(step=step))

    output = len(_ORIGINALS) + n
    match cleaner.step:
        case "mark":
            for pack, file in enumerate(state.files):
                if file.where == HERE and pack != output:
                    live = rules.only_merges or state.is_referred
                    yield state.with_cleaner(n, Cleaner("write", pack, live))
        case "write":
            source = state.files[cleaner.input]
            if source.where != HERE:  # somebody else took it
                yield then("look")
                return
            is_copied = cleaner.live and source.has_it
            if rules.trusts_copies and state.is_here(but=cleaner.input):
                is_copied = False
            yield then("move", state.with_file(output, HERE, has_it=is_copied))
        case "move":
            was_here = state.files[cleaner.input].where == HERE
            moved = state.with_file(cleaner.input, TRASH) if was_here else state
            yield then("check" if was_here else "look", moved)
        case "check":
            after = state
            is_needed = cleaner.live and state.files[cleaner.input].has_it
            is_away = state.files[cleaner.input].where in (TRASH, AGED)
            if rules.checks_after and is_needed and is_away and not state.is_here():
                after = state.with_file(cleaner.input, HERE)
            yield then("look", after)
        case "look" if rules.only_merges:
            yield then("end")
        case "look":
            yield then("expire", state.rescued() if rules.looks_again else state)
        case "expire":
            # A run removes nothing that it moved itself, and looks only where there is something.
            old = {n for n, f in enumerate(state.files) if f.where == AGED} - {cleaner.input}
            looked = state.rescued() if old and rules.looks_before_removing else state
            for pack in old:
                if looked.files[pack].where == AGED:
                    looked = looked.with_file(pack, GONE)
            is_first = cleaner.input >= 0
            following = Cleaner("look" if is_first else "end")
            yield looked.with_cleaner(n, following)
