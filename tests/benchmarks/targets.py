"""What is to be reached, and whether it is.

Invariant: a target compares medians of one run; one that was not measured is neither met nor
missed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

from tests.benchmarks.running import Results

_US, _MS = 1e-6, 1e-3
_FLOATS = ("halfcheetah", "pendulum", "cartpole")
_LARGE = ("large", "larger")
_IMAGES = ("images-small", "images")
_BEST = ("pytupli", "minari-hdf5", "minari-arrow", "npz", "hdf5", "parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be reached.

    Attributes:
        workloads: Where.
        operation: Of ours.
        at_least: How many times what the peer needs ours may be fitted in; or, where ``kind`` is
            ``at most``, how much ours may need.
        against: The peers; the best of them counts. ``self`` is ours itself.
        peer_operation: Of the peer; the same where empty.
        metric: Which number.
        kind: A ratio of the peer's to ours, or a number of ours.
    """

    workloads: tuple[str, ...]
    operation: str
    at_least: float
    against: tuple[str, ...] = ()
    peer_operation: str = ""
    metric: str = "seconds"
    kind: Literal["ratio", "at most"] = "ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a target in one workload.

    Attributes:
        ours: The median of ours.
        peer: The median of the best peer; None where there is none.
        ratio: Peer by ours, or what is allowed by ours: 1 is just reached, where ``wanted`` is 1.
        wanted: What the ratio has to be at least.
        by_work: The ratio of processor times, which says more on a busy machine; None where they
            were not measured. Threads count each.
    """

    workload: str
    operation: str
    metric: str
    against: str
    ours: float
    peer: float | None
    ratio: float
    wanted: float
    by_work: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is reached."""
        return self.ratio >= self.wanted

    @property
    def share(self) -> float:
        """How much of it is reached; 1 and more holds."""
        return self.ratio / self.wanted


TARGETS = (
    Target(workloads=("halfcheetah", "pendulum", "cartpole", "short"), operation="record",
           at_least=15, against=("pytupli",)),
    Target(workloads=("halfcheetah", "pendulum", "cartpole", "short"), operation="record",
           at_least=20, against=("minari-hdf5",)),
    Target(workloads=("halfcheetah", "pendulum"), operation="record", at_least=2 * _US,
           kind="at most"),
    Target(workloads=("short", "cartpole"), operation="record", at_least=6 * _US, kind="at most"),
    Target(workloads=_FLOATS, operation="write", at_least=60, against=("pytupli",)),
    Target(workloads=_FLOATS, operation="write", at_least=40, against=("minari-collector",)),
    Target(workloads=_FLOATS, operation="write", at_least=10, against=("minari-hdf5",)),
    Target(workloads=("short", "short-many"), operation="write", at_least=20, against=("pytupli",)),
    Target(workloads=(*_FLOATS, "short", "short-many"), operation="write", at_least=2,
           against=("npz",)),
    Target(workloads=_LARGE, operation="write", at_least=0.8, against=("npz",)),
    Target(workloads=_FLOATS, operation="load", at_least=100, against=("pytupli",)),
    Target(workloads=_FLOATS, operation="load", at_least=20, against=("minari-hdf5",)),
    Target(workloads=_FLOATS, operation="load", at_least=5, against=("npz",)),
    Target(workloads=_FLOATS, operation="load", at_least=1.3, against=("parquet",)),
    Target(workloads=_LARGE, operation="load", at_least=2, against=("npz",)),
    Target(workloads=_LARGE, operation="load", at_least=1, against=("parquet",)),
    Target(workloads=(*_FLOATS, *_LARGE), operation="load-known", at_least=2,
           against=("parquet",), peer_operation="load"),
    Target(workloads=(*_FLOATS, *_LARGE), operation="load-again", at_least=1, against=("hdf5",),
           peer_operation="load"),
    Target(workloads=("short",), operation="load", at_least=60, against=("pytupli",)),
    Target(workloads=("short",), operation="load", at_least=75, against=("minari-hdf5",)),
    Target(workloads=("many",), operation="list", at_least=300, against=("pytupli",)),
    Target(workloads=("many",), operation="list", at_least=100, against=("minari-hdf5",)),
    Target(workloads=(*_FLOATS, "short"), operation="episodes", at_least=1.5, against=_BEST),
    Target(workloads=_IMAGES, operation="transitions", at_least=5, against=_BEST),
    Target(workloads=_IMAGES, operation="transitions-again", at_least=5, against=_BEST,
           peer_operation="transitions"),
    Target(workloads=(*_FLOATS, *_LARGE), operation="size", at_least=1 / 0.93,
           against=("parquet",), metric="bytes"),
    Target(workloads=("short", "short-many"), operation="size", at_least=1, against=("parquet",),
           metric="bytes"),
    Target(workloads=_IMAGES, operation="size", at_least=1, against=("npz-compressed",),
           metric="bytes"),
    Target(workloads=_IMAGES, operation="load", at_least=1, against=("npz-compressed",)),
    Target(workloads=("many",), operation="push", at_least=0.5, against=("copy",)),
    Target(workloads=("many",), operation="clone", at_least=0.5, against=("copy",)),
    Target(workloads=("many",), operation="push-again", at_least=300 * _MS, kind="at most"),
    Target(workloads=("growth",), operation="growth-1000000", at_least=0.3, metric="open",
           kind="at most"),
    Target(workloads=("growth",), operation="growth-1000000", at_least=1.5, metric="filter",
           kind="at most"),
    Target(workloads=("growth",), operation="growth-1000000", at_least=60, metric="rebuild",
           kind="at most"),
)  # fmt: skip
"""The issue's table, but for growth (see `growth_verdicts`) and what is not a number."""

_FLAT_WITHIN = 1.5


def verdicts(results: Results) -> list[Verdict]:
    """Return what became of each target that was measured, the worst first."""
    found = [
        verdict
        for target in TARGETS
        for workload in target.workloads
        for verdict in _verdict(target, workload, results)
    ]
    return sorted([*found, *growth_verdicts(results)], key=lambda verdict: verdict.share)


def growth_verdicts(results: Results) -> Iterator[Verdict]:
    """Yield whether what an episode costs stays as it was from the smallest to the largest size."""
    grown = results.samples.get("growth", {})
    sizes = sorted(grown, key=lambda name: int(name.partition("-")[2]))
    if len(sizes) < 2:
        return
    first, last = (medians(grown[size]["ours"]) for size in (sizes[0], sizes[-1]))
    for metric in ("record", "load", "push"):
        yield Verdict(
            workload="growth",
            operation=sizes[-1],
            metric=metric,
            against=sizes[0],
            ours=last[metric],
            peer=first[metric],
            ratio=first[metric] / last[metric],
            wanted=1 / _FLAT_WITHIN,
        )


def medians(samples: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the median of each list."""
    return {name: median(values) for name, values in samples.items()}


def _verdict(target: Target, workload: str, results: Results) -> Iterator[Verdict]:
    measured = results.samples.get(workload, {})
    mine = medians(measured.get(target.operation, {}).get("ours", {})).get(target.metric)
    if mine is None:
        return
    peer, against, wanted, by_work = None, "", target.at_least, None
    if target.kind == "at most":
        ratio, wanted = target.at_least / max(mine, 1e-12), 1.0
        against = f"≤ {target.at_least:g}"
    else:
        peers = measured.get(target.peer_operation or target.operation, {})
        values = {
            name: medians(peers[name])[target.metric] for name in target.against if name in peers
        }
        if not values:
            return
        against = min(values, key=lambda name: values[name])
        peer = values[against]
        ratio = peer / max(mine, 1e-12)
        works = [peers[against], measured[target.operation]["ours"]]
        is_told = all("cpu_in_seconds" in samples for samples in works)
        if target.metric == "seconds" and is_told and against != "copy":  # others do its work
            theirs, our = (medians(samples)["cpu_in_seconds"] for samples in works)
            by_work = theirs / max(our, 1e-12)
    yield Verdict(
        workload=workload,
        operation=target.operation,
        metric=target.metric,
        against=against,
        ours=mine,
        peer=peer,
        ratio=ratio,
        wanted=wanted,
        by_work=by_work,
    )
