"""Datasets for LeRobot, in its format v3.0: Parquet files, by pyarrow alone.

A frame is a step: the observation, the action taken in it, and what came of it (``next.reward``,
``next.terminated``, ``next.truncated``; ``next.done`` is either). LeRobot has no frame for the
last observation, in which no action was taken: it is a column of the episodes, ``final/NAME``.

Invariant: what is written has every step of every episode once and in order, equal in values and
dtypes to what was recorded; what is not written is in the report.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tupli_repo.codec.episode import EpisodeData
from tupli_repo.curation import CuratedEpisodes
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.exporting import outgoing, read_all
from tupli_repo.interop.lerobot.layout import (
    DATA_PATH,
    EPISODES_PATH,
    FLAGS,
    FRAME,
    Feature,
    arrow_schema,
    info_document,
    stats_document,
    tasks_table,
)
from tupli_repo.interop.lerobot.plan import Plan, checked_fps, plan_for
from tupli_repo.interop.lerobot.stats import Total
from tupli_repo.interop.lerobot.tables import Episodes, Frames, NumberedFiles
from tupli_repo.interop.placing import placed
from tupli_repo.interop.progress import OnProgress
from tupli_repo.optional import require
from tupli_repo.schema import EpisodeHeader
from tupli_repo.schema.interop import ExportReport


def export_lerobot(
    dataset: CuratedEpisodes,
    path: str | Path,
    *,
    fps: int | None = None,
    task: str | None = None,
    robot_type: str | None = None,
    data_files_size_in_mb: int = 100,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write the episodes of a dataset as LeRobot does, in canonical order, whole or not at all.

    ``LeRobotDataset("any/name", root=path)`` loads it, offline. Observations are
    ``observation.state``, the parts of a Dict or Tuple ``observation.KEY``; bytes of shape
    (H, W, 3) are images, ``observation.image`` or ``observation.images.KEY``, kept as PNG without
    loss, never as video; texts stay texts. Infos that each step has as a number are ``info.KEY``
    (``is_success`` is ``next.success``). Beside its stats an episode's row in ``meta/episodes`` has
    its seed, its metadata as ``metadata/KEY``, its id and its last observation, ``final/NAME``.

    All is in the dtype it was recorded in; LeRobot itself hands floats out as float32.

    Args:
        dataset: The episodes, all of the same spaces.
        path: A folder that is not there yet.
        fps: How many steps there are in a second; where None, what the benchmark's metadata say in
            ``render_fps`` or ``fps``.
        task: What is to be done, in words; where None, each benchmark's description, else its name.
        robot_type: What kind of robot it was.
        data_files_size_in_mb: How large a file becomes before the next one is begun.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        InvalidInputError: There are no episodes, a step filter is set, they have different shapes
            or dtypes, or such that LeRobot has no place for them; ``fps`` is not known or not
            positive; there is something at ``path``.
        MissingDependencyError: pyarrow is not installed.
        StorageIOError: The disk refused.
    """
    pyarrow = require("pyarrow", needed_for="exporting to LeRobot")
    require("pyarrow.parquet", needed_for="exporting to LeRobot")
    repository, headers = outgoing(dataset)
    if data_files_size_in_mb < 1:
        raise InvalidInputError("'data_files_size_in_mb' is below 1", hint="LeRobot's own is 100")
    ids = [header.id for header in headers]
    benchmark_ids = dict.fromkeys(header.benchmark_id for header in headers)
    benchmarks = {oid: repository.benchmark(oid) for oid in benchmark_ids}
    rate = checked_fps(fps, benchmarks.values())
    with placed(Path(path)) as made:
        described = repository.read_episodes(ids, only=())
        plan = plan_for(headers, described, benchmarks, task=task)
        features = [*plan.features, *FLAGS, *FRAME]
        info = info_document(
            features,
            n_episodes=len(ids),
            n_frames=sum(header.n_tuples for header in headers),
            n_tasks=len(plan.tasks),
            fps=rate,
            robot_type=robot_type,
            data_files_size_in_mb=data_files_size_in_mb,
        )
        episodes = read_all(repository, headers, on_progress)
        totals = _write_tables(pyarrow, made, plan, episodes, info)
        stats = {
            one.name: stats_document(one, totals[one.name].stats())
            for one in features
            if one.name in totals
        }
        _write_json(made / "meta" / "info.json", info)
        _write_json(made / "meta" / "stats.json", stats)
        tasks = tasks_table(pyarrow, plan.tasks)
        pyarrow.parquet.write_table(tasks, str(made / "meta" / "tasks.parquet"))
    return ExportReport(
        format="lerobot",
        path=str(path),
        n_episodes=info["total_episodes"],
        n_steps=info["total_frames"],
        left_out=plan.left_out,
    )


def _write_tables(
    pyarrow: Any,
    root: Path,
    plan: Plan,
    episodes: Iterable[tuple[EpisodeHeader, EpisodeData]],
    info: dict[str, Any],
) -> dict[str, Total]:
    """Write the frames and the episodes; return the stats of all, by feature."""
    features: Sequence[Feature] = [*plan.features, *FLAGS, *FRAME]
    totals = {one.name: Total() for one in features if one.kind != "text"}
    told = {name: pyarrow.array(values) for name, values in plan.told.items()}
    rows = Episodes(pyarrow, features, plan.tasks, told)
    frame_schema = arrow_schema(pyarrow, features)
    limit_bytes = info["data_files_size_in_mb"] << 20
    frame_files = NumberedFiles(pyarrow, root, DATA_PATH, frame_schema, limit_bytes=limit_bytes)
    episode_files = NumberedFiles(
        pyarrow, root, EPISODES_PATH, rows.schema, limit_bytes=limit_bytes
    )
    with closing(frame_files), closing(episode_files):
        frames = Frames(pyarrow, frame_files, plan.features, fps=info["fps"])

        def write() -> None:
            written = frames.write()
            if written is not None:
                rows.write(episode_files, written)
                for name, stats in written.stats.items():
                    totals[name].add(stats)

        for header, data in episodes:
            if frames.add(header.id, data, plan.task_of[header.benchmark_id]):
                write()
        write()
    return totals


def _write_json(path: Path, document: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as text:
        json.dump(document, text, indent=4, ensure_ascii=False)
