"""Repositories on a disk in memory of which a test knows what was recorded, when and by whom."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

from tests.faults import MemoryFileSystem
from tupli_repo import Repository, Steps
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery

TIMES = [f"2026-01-01T00:00:0{n}.000000Z" for n in range(4)]
DAY_NS = 24 * 3600 * 10**9


class Sort(NamedTuple):
    """What episodes of one layout are made of: an observation, its space, the info of a step."""

    observation: Callable[[np.random.Generator], Any]
    info: Callable[[int], dict[str, Any]] = lambda _: {}
    space: Any = None


SORTS = {
    "plain": Sort(lambda rng: rng.normal(size=3).astype("f4"), lambda i: {"at": i}),
    "single": Sort(lambda rng: rng.normal(size=3)),
    "wide": Sort(lambda rng: rng.integers(0, 256, (40, 40, 3)).astype("u1")),
    "double": Sort(lambda rng: rng.normal(size=(50, 40))),
    "empty": Sort(lambda _: np.zeros((0, 2), "f4")),
    "odd": Sort(lambda _: np.zeros(2, "i8"), lambda i: {"k" * (i % 3): "x" * i}),
    "halves": Sort(
        lambda rng: {"a": "x" * (n := int(rng.integers(0, 5))), "b": "y" * (4 - n)},
        space=spaces.Dict({"a": spaces.Text(9), "b": spaces.Text(9)}),
    ),
    "ragged": Sort(lambda rng: "x" * int(rng.integers(0, 5)), space=spaces.Text(9)),
}


class Recorded(NamedTuple):
    """What was recorded."""

    created_at: str
    id: str
    sort: str
    steps: Steps

    @property
    def n_steps(self) -> int:
        return len(self.steps.actions)


class Measuring(MemoryFileSystem):
    """Counts what is read."""

    n_bytes = 0

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        found = super().read(descriptor, size, offset)
        self.n_bytes += len(found)
        return found


class Lab:
    """A repository that several processes write to, each through an opening of its own."""

    def __init__(self) -> None:
        self.disk = Measuring()
        Repository.init("/lab", fs=self.disk).close()
        self.openings = [self.opened() for _ in range(3)]
        words = BenchmarkMetadata(name="walk")
        query = BenchmarkQuery(hash="0" * 64, serialized="{}", metadata=words)
        self.walk = self.openings[0].store_benchmark(query).id
        self.recorded: list[Recorded] = []

    def opened(self) -> Repository:
        return Repository("/lab", fs=self.disk)

    def record(
        self, sort: str, n: int, *, who: int = 0, at: str = TIMES[0], final: bool = True
    ) -> str:
        made, number = SORTS[sort], len(self.recorded)
        rng = np.random.default_rng(number)
        done = np.zeros(n, bool)
        done[-1] = number % 2
        steps = Steps(
            observations=[made.observation(rng) for _ in range(n + final)],
            actions=[rng.normal(size=2) for _ in range(n)],
            rewards=rng.normal(size=n),
            terminated=done,
            truncated=np.zeros(n, bool),
            infos=[made.info(i) for i in range(n)],
            metadata={"sort": sort, "n": n, "noise": rng.bytes(200).hex()},
            created_at=at,
            nonce=f"{number:016x}",
        )
        oid = self.openings[who].record(steps, self.walk, observation_space=made.space).id
        self.recorded.append(Recorded(at, oid, sort, steps))
        return oid

    def tidy(self) -> None:
        """Seal every journal and merge the packs."""
        for _ in range(3):
            self.disk.now_ns += 3 * DAY_NS
            for one in self.openings:
                one.gc()

    def in_order(self, *sorts: str) -> list[Recorded]:
        found = [one for one in self.recorded if one.sort in (sorts or SORTS)]
        return sorted(found, key=lambda one: (one.created_at, one.id))


@st.composite
def labs(draw: st.DrawFn, *sorts: str) -> Lab:
    """Episodes in packs and journals of several writers; their times overlap."""
    lab, who = Lab(), st.integers(0, 2)
    for _ in range(draw(st.integers(0, 8))):
        n, at, final = draw(st.integers(1, 60)), draw(st.sampled_from(TIMES)), draw(st.booleans())
        lab.record(draw(st.sampled_from(sorts)), n, who=draw(who), at=at, final=final)
        match draw(st.integers(0, 5)):
            case 0:
                lab.openings[draw(who)].close()
            case 1:
                lab.disk.now_ns += 3 * DAY_NS
                lab.openings[draw(who)].gc()
    return lab
