"""Commands between projects: import, export."""

from pathlib import Path
from typing import Any

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.chosen import dataset_of
from tupli_repo.cli.opening import open_repository
from tupli_repo.cli.progress import Counting, count
from tupli_repo.cli.where import parse_where, where_option
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop import (
    export_d4rl,
    export_lerobot,
    export_minari,
    export_parquet,
    import_d4rl,
    import_minari,
    import_parquet,
    import_pytupli,
)
from tupli_repo.interop.minari.layout import FORMATS
from tupli_repo.schema import EpisodeHeader
from tupli_repo.schema.interop import ExportReport, ImportReport

_IMPORTS: dict[str, Any] = {
    "d4rl": import_d4rl,
    "minari": import_minari,
    "parquet": import_parquet,
    "pytupli": import_pytupli,
}
_EXPORTS: dict[str, Any] = {
    "d4rl": export_d4rl,
    "lerobot": export_lerobot,
    "minari": export_minari,
    "parquet": export_parquet,
}
_OPTIONS = {
    "name": {"d4rl", "minari", "parquet"},
    "benchmark_id": {"d4rl", "minari", "parquet"},
    "shift": {"pytupli"},
}
"""Which formats an option goes with."""
_EXPORT_OPTIONS = {
    "data_format": {"minari"},
    "dataset_id": {"minari"},
    "fps": {"lerobot"},
    "task": {"lerobot"},
}
_SHOWN = 10
_ID_DIGITS = 12
_KEYS = set(EpisodeHeader.model_fields)


@click.command(
    "import",
    short_help="Take episodes over from another project's files",
    epilog="Exit status: 0 done, 1 there is no such file, a package is missing or the disk "
    "refused, 2 usage or what it holds cannot be stored, 10 no repository here, 12 the file is "
    "damaged",
)
@click.argument("source_format", metavar="FORMAT", type=click.Choice(sorted(_IMPORTS)))
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--name", help="Not pytupli: what the benchmark is called.")
@click.option(
    "--benchmark", "benchmark_id", metavar="ID|NAME", help="Not pytupli: a benchmark that is here."
)
@click.option(
    "--shift", is_flag=True, help="pytupli: put actions beside the states they were taken in."
)
@json_option
@click.pass_obj
def import_command(app: App, /, source_format: str, path: Path, **options: Any) -> None:  # noqa: ANN401
    """Take over the episodes of PATH, which is of FORMAT; again, and only what is new is added.

    \b
    d4rl      a flat HDF5 file
    minari    the folder of a dataset, in HDF5, Arrow or Parquet
    parquet   a file, or a folder of them, with RLlib's column names
    pytupli   a folder of PyTupli's FileStorage; its states are one step late and lack the first

    A benchmark is made that stands for the data. No code of an environment is run.
    """  # noqa: D301 - click wants the character
    given = _given(options, source_format, _OPTIONS, hint="'tupli import --help'")
    repository = open_repository(app)
    if "benchmark_id" in given:
        given["benchmark_id"] = repository.find_benchmark(given["benchmark_id"]).id
    with Counting(app, "importing") as bar:
        report: ImportReport = _IMPORTS[source_format](
            repository, path, on_progress=bar.progress, **given
        )
    _tell_left_out(app, report.left_out)
    shown = ", ".join(f"'{oid[:_ID_DIGITS]}'" for oid in report.benchmarks) or "none"
    app.emit(
        report,
        f"imported {count(report.n_episodes, 'episode')}, {count(report.n_steps, 'step')} "
        f"({report.n_new} new) of benchmark {shown}",
    )


@click.command(
    "export",
    short_help="Write episodes in the format of another project",
    epilog="Exit status: 0 done, 1 NAME is unknown, a package is missing or the disk refused, 2 "
    "the format has no place for such episodes or there is something at PATH, 10 no repository "
    "here, 12 damaged",
)
@click.argument("name", metavar="NAME")
@click.argument("target_format", metavar="FORMAT", type=click.Choice(sorted(_EXPORTS)))
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option(
    "--data-format",
    type=click.Choice(FORMATS),
    help="minari: how the dataset is stored; hdf5 where it is left out.",
)
@click.option(
    "--dataset", "dataset_id", metavar="ID", help="minari: what it is called, as 'lab/poles-v0'."
)
@click.option("--fps", type=click.IntRange(min=1), help="lerobot: how many steps make a second.")
@click.option("--task", help="lerobot: what is to be done, in words.")
@where_option
@json_option
@click.pass_obj
def export_command(
    app: App,
    /,
    name: str,
    target_format: str,
    path: Path,
    where: tuple[str, ...],
    **options: Any,  # noqa: ANN401
) -> None:
    """Write the episodes of NAME, a benchmark, a pin or a revision, to PATH, in FORMAT.

    \b
    d4rl      a flat HDF5 file: observations and actions are arrays
    lerobot   a folder of Parquet files, v3.0; the last observations are in meta/episodes
    minari    the folder of a dataset; Minari calls it by its name, or by --dataset
    parquet   a folder of files with RLlib's column names

    PATH must not be there yet. What the format has no place for is told.
    """  # noqa: D301 - click wants the character
    given = _given(options, target_format, _EXPORT_OPTIONS, hint="'tupli export --help'")
    repository = open_repository(app)
    chosen = parse_where(where, keys=_KEYS)
    dataset = dataset_of(repository, name).with_episode_filter(chosen)
    with Counting(app, "exporting") as bar:
        report: ExportReport = _EXPORTS[target_format](
            dataset, path, on_progress=bar.progress, **given
        )
    _tell_left_out(app, report.left_out)
    app.emit(
        report,
        f"exported {count(report.n_episodes, 'episode')}, {count(report.n_steps, 'step')} "
        f"to '{report.path}'",
    )


def _given(
    options: dict[str, Any], one: str, formats: dict[str, set[str]], *, hint: str
) -> dict[str, Any]:
    """The options that were given; those that do not go with a format are refused."""
    given = {key: value for key, value in options.items() if value not in (None, False)}
    for key in given:
        if one not in formats[key]:
            option = "--" + key.removesuffix("_id").replace("_", "-")
            raise InvalidInputError(f"'{option}' does not go with '{one}'", hint=hint)
    return given


def _tell_left_out(app: App, left_out: tuple[str, ...]) -> None:
    """Warn of what was left out; with ``--json`` the document has it all."""
    if app.as_json or not left_out:
        return
    for one in left_out[:_SHOWN]:
        app.warn(f"left out: {one}", "")
    if len(left_out) > _SHOWN:
        app.warn(f"left out: {len(left_out) - _SHOWN} other things", "'--json' tells all")
