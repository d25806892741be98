"""What came of a run: a table of targets, a table of everything, a JSON file, a plot.

Invariant: the JSON file holds every sample; the tables hold nothing that is not in it.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from tests.benchmarks.running import Results
from tests.benchmarks.targets import Verdict, medians, verdicts

_TOLD = (
    "bytes",
    "cpu_in_seconds",
    "settle_s",
    "again_s",
    "peak_bytes",
    "files",
    "modules_in_seconds",
)


def tables(results: Results) -> str:
    """Return both tables, and what went wrong, as Markdown."""
    parts = ["\n".join(_targets(verdicts(results))), "\n".join(_everything(results))]
    parts += ["\n".join(_growth(results))] if "growth" in results.samples else []
    if results.problems:
        told = (f"- {what}: {why}" for what, why in sorted(results.problems.items()))
        parts.append("Left out, or wrong:\n\n" + "\n".join(told))
    return "\n\n".join(part for part in parts if part) + "\n"


def write_json(results: Results, file: Path) -> None:
    """Write all samples, medians, versions and what it ran on."""
    document = asdict(results)
    document["medians"] = {
        workload: {
            operation: {name: medians(samples) for name, samples in contenders.items()}
            for operation, contenders in operations.items()
        }
        for workload, operations in results.samples.items()
    }
    document["targets"] = [
        asdict(verdict) | {"holds": verdict.holds} for verdict in verdicts(results)
    ]
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")


def write_plot(results: Results, file: Path) -> str:
    """Plot what an episode costs against how many there are; returns why not, or nothing."""
    grown = results.samples.get("growth", {})
    if not grown:
        return "growth was not measured"
    try:
        pyplot = import_module("matplotlib.pyplot")
    except ModuleNotFoundError as err:
        return f"'{err.name}' is not installed"
    points = sorted((int(name.partition("-")[2]), medians(n["ours"])) for name, n in grown.items())
    sizes = [size for size, _ in points]
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for metric, label in (
        ("record", "record, per step"),
        ("load", "load, per episode"),
        ("push", "push, per new episode"),
        ("publish", "publish, per new episode"),
    ):
        values = [found[metric] * 1e6 for _, found in points]
        axes.plot(sizes, values, marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel="episodes", ylabel="µs")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)
    return ""


def _targets(found: list[Verdict]) -> Iterator[str]:
    if not found:
        return
    yield "| workload | operation | against | ours | theirs | ratio | wanted | holds | by work |"
    yield "|---|---|---|--:|--:|--:|--:|---|--:|"
    for v in found:
        name = v.operation if v.metric == "seconds" else f"{v.operation} {v.metric}"
        theirs = "" if v.peer is None else _shown(v.metric, v.peer)
        holds = "yes" if v.holds else "**no**"
        work = "" if v.by_work is None else f"{v.by_work:.2f}"
        yield (
            f"| {v.workload} | {name} | {v.against} | {_shown(v.metric, v.ours)} | {theirs} |"
            f" {v.ratio:.2f} | {v.wanted:.2f} | {holds} | {work} |"
        )


def _everything(results: Results) -> Iterator[str]:
    yield "| workload | operation | contender | median | by ours | more |"
    yield "|---|---|---|--:|--:|---|"
    for workload, operations in results.samples.items():
        for operation, contenders in operations.items():
            if operation.startswith("growth-"):
                continue
            metric = "bytes" if operation == "size" else "seconds"
            found = {name: medians(samples) for name, samples in contenders.items()}
            base = found.get("ours", {}).get(metric)
            for name, numbers in found.items():
                ratio = f"{numbers[metric] / base:.2f}" if base else ""
                more = ", ".join(
                    f"{key} {_shown(key, numbers[key])}"
                    for key in _TOLD
                    if key in numbers and key != metric and numbers[key] > 1e-7
                )
                value = _shown(metric, numbers[metric])
                yield f"| {workload} | {operation} | {name} | {value} | {ratio} | {more} |"


def _growth(results: Results) -> Iterator[str]:
    grown = sorted(
        (int(name.partition("-")[2]), medians(found["ours"]))
        for name, found in results.samples["growth"].items()
    )
    names = ("record", "load", "publish", "push", "open", "filter", "rebuild", "files")
    yield f"| episodes | {' | '.join(names)} |"
    yield f"|--:{'|--:' * len(names)}|"
    for size, numbers in grown:
        yield f"| {size} | {' | '.join(_shown(name, numbers[name]) for name in names)} |"


def _shown(metric: str, value: float) -> str:
    if metric.endswith("bytes"):
        return f"{value / 1e6:.2f} MB"
    if metric in ("files", "modules_in_seconds"):
        return f"{value:g}"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"
