"""What of some episodes a LeRobot dataset shall hold, known before the first is written.

Invariant: an episode that fits the plan is written without loss, but for what `Plan.left_out` says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tupli_repo.codec.columns import ColumnSpec
from tupli_repo.codec.episode import EpisodeData, Layout
from tupli_repo.codec.infos import INFO_PREFIX, INFO_TEXT
from tupli_repo.codec.samples import unescape
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.lerobot.layout import Feature, features_of, info_feature, is_name
from tupli_repo.interop.paths import flattened, unkept
from tupli_repo.schema import BenchmarkHeader, EpisodeHeader

_FPS_KEYS = ("render_fps", "fps")
_NOT_WRITTEN = {
    "options": "the options of reset",
    "reset_info": "what reset returned beside the observation",
    "rng": "the state of the environment's generator",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What shall be written.

    Args:
        features: What of the episodes' columns becomes a column of the frames.
        tasks: The tasks, in words.
        task_of: The number of the task of each benchmark's episodes.
        told: What is said of each episode besides, by name: a value per episode, all of one type,
            or None.
        left_out: What LeRobot has no place for, in phrases.
    """

    features: tuple[Feature, ...]
    tasks: tuple[str, ...]
    task_of: Mapping[str, int]
    told: Mapping[str, Sequence[Any]]
    left_out: tuple[str, ...]


def plan_for(
    headers: Sequence[EpisodeHeader],
    episodes: Iterable[tuple[EpisodeHeader, EpisodeData]],
    benchmarks: Mapping[str, BenchmarkHeader],
    *,
    task: str | None,
) -> Plan:
    """Return what shall be written of some episodes.

    Args:
        headers: The episodes, in order.
        episodes: The same, with their records and layouts; what they hold is not looked at.
        benchmarks: Their benchmarks, by id.
        task: What is to be done in all of them; where None, what their benchmarks say.

    Raises:
        InvalidInputError: They have different shapes or dtypes, or LeRobot has no place for them,
            or for the text of a task.
    """
    survey = _Survey()
    for header, data in episodes:
        survey.see(header.id, data)
    texts = {oid: task or _task_of(benchmark) for oid, benchmark in benchmarks.items()}
    tasks = tuple(dict.fromkeys(texts.values()))
    if not all(map(_is_unicode, tasks)):
        raise InvalidInputError("the text of a task is not Unicode, which LeRobot needs")
    features = survey.features()
    told = _told(headers, survey)
    return Plan(
        features=features,
        tasks=tasks,
        task_of={oid: tasks.index(text) for oid, text in texts.items()},
        told=told,
        left_out=survey.left_out(),
    )


def checked_fps(fps: int | None, benchmarks: Iterable[BenchmarkHeader]) -> int:
    """Return how many steps there are in a second: what was said, else what all benchmarks say.

    Raises:
        InvalidInputError: Nobody says it, they differ, or it is no whole number above 0.
    """
    if fps is not None:
        if fps < 1 or fps != int(fps):
            raise InvalidInputError(f"'{fps}' is no number of frames per second", hint="'fps=30'")
        return int(fps)
    told = {_fps_of(benchmark) for benchmark in benchmarks}
    found = told.pop()
    if found is None or told:
        raise InvalidInputError(
            "how many steps there are in a second is not known, and LeRobot needs it",
            hint="give 'fps' ('--fps N'); many environments tell it: env.metadata['render_fps']",
        )
    return found


def _fps_of(benchmark: BenchmarkHeader) -> int | None:
    extra = benchmark.metadata.extra
    for key in _FPS_KEYS:
        value = extra.get(key)
        if isinstance(value, (int, float)) and value >= 1 and value == int(value):
            return int(value)
    return None


def _task_of(benchmark: BenchmarkHeader) -> str:
    return benchmark.metadata.description or benchmark.metadata.name


class _Survey:
    """What all episodes have alike, and what is lost of each."""

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._features: list[Feature] = []
        self._infos: dict[str, ColumnSpec] = {}
        self._odd_infos: dict[str, str] = {}
        self._lost: dict[str, int] = {}
        self._is_first = True

    def see(self, oid: str, data: EpisodeData) -> None:
        """Take an episode into account."""
        record, layout = data.record, data.layout
        if layout is not self._layout:
            self._compare(oid, layout)
            self._layout = layout
        for key, what in _NOT_WRITTEN.items():
            if record[key]:
                self.lose(what)
        if not record["final_observation"]:
            self.lose("the last observation, which is not known")
        if any(spec.name == INFO_TEXT for spec in layout.columns):
            self.lose("infos that not every step has as a number")

    def _compare(self, oid: str, layout: Layout) -> None:
        features = features_of(layout)
        infos = {spec.name: spec for spec in layout.columns if spec.name.startswith(INFO_PREFIX)}
        if self._is_first:
            self._features, self._infos, self._is_first = features, infos, False
            return
        if features != self._features:
            before = {one.name: one for one in self._features}
            odd = next((one for one in features if before.get(one.name) != one), None)
            what = f"other '{odd.name}'" if odd is not None else "fewer parts"
            raise InvalidInputError(
                f"episode '{oid[:12]}' has {what} than the first",
                hint="choose the episodes of one benchmark",
            )
        for name in self._infos | infos:
            if self._infos.get(name) != infos.get(name):
                self._odd_infos[name] = "which not all episodes have alike"
                self._infos.pop(name, None)

    def features(self) -> tuple[Feature, ...]:
        """What of the columns becomes a column of the frames; others are noted as lost."""
        found = list(self._features)
        names = {one.name for one in found}
        for name, spec in self._infos.items():
            feature = info_feature(spec)
            if feature is None or feature.name in names:
                self._odd_infos[name] = "for which LeRobot has no place"
            else:
                found.append(feature)
                names.add(feature.name)
        return tuple(found)

    def lose(self, what: str) -> None:
        """Note that something of an episode is not written."""
        self._lost[what] = self._lost.get(what, 0) + 1

    def left_out(self) -> tuple[str, ...]:
        """What is not written."""
        infos = (
            f"info '{unescape(name.removeprefix(INFO_PREFIX))}', {why}"
            for name, why in self._odd_infos.items()
        )
        lost = (f"{what}, of {n} episodes" for what, n in self._lost.items())
        return tuple(chain(infos, lost))


def _told(headers: Sequence[EpisodeHeader], survey: _Survey) -> dict[str, list[Any]]:
    """What is said of episodes besides: where they are from, their seeds and metadata."""
    told: dict[str, list[Any]] = {
        "source/episode": [header.id for header in headers],
        "source/benchmark": [header.benchmark_id for header in headers],
    }
    seeds = [header.seed for header in headers]
    if any(seed is not None for seed in seeds):
        told["seed"] = _alike(seeds) or [None if seed is None else str(seed) for seed in seeds]
    for header in headers:
        for key, why in unkept(header.metadata).items():
            survey.lose(f"'{key}' of the metadata, {why}")
    metadata = [flattened(header.metadata) for header in headers]
    for key in dict.fromkeys(chain.from_iterable(metadata)):
        values = _alike([one.get(key) for one in metadata])
        if values is not None and is_name(key):
            told[f"metadata/{key}"] = values
            continue
        for one in metadata:
            if key in one:
                why = "is no number, flag or text in all" if is_name(key) else "is no name"
                survey.lose(f"'{key}' of the metadata, which {why}")
    return told


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _alike(values: list[Any]) -> list[Any] | None:
    """The values as one of Arrow's types, or None; integers and floats together are floats."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str} and not all(_is_unicode(v) for v in values if v is not None):
        return None
    if kinds == {int} and not all(-(2**63) <= v < 2**63 for v in values if v is not None):
        return None
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return values if kinds in ({bool}, {int}, {float}, {str}) else None
