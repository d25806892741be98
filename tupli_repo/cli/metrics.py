"""`tupli metrics`: how good a dataset is, in a few numbers."""

from typing import Any

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.chosen import dataset_of
from tupli_repo.cli.opening import open_repository
from tupli_repo.cli.where import parse_where, where_option
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import InvalidInputError
from tupli_repo.quality_metrics.summary import METRICS, RecordedSpaces, Settings, summarise
from tupli_repo.repository import Repository
from tupli_repo.schema import EpisodeHeader

_KEYS = set(EpisodeHeader.model_fields)


@click.command(
    "metrics",
    short_help="Tell how good a dataset is for learning from it",
    epilog="Exit status: 0 told, 1 NAME is unknown or a package is missing, 2 a metric asked for "
    "does not go with the data, 10 no repository here, 12 damaged",
)
@click.argument("name", metavar="NAME")
@where_option
@click.option(
    "--metric",
    "metrics",
    type=click.Choice(list(METRICS)),
    multiple=True,
    help="Only this one; may be repeated. Without it, all but q_function, which takes minutes.",
)
@click.option("--reference", metavar="NAME", help="saco: the share of what this one covers.")
@click.option("--bins", type=click.IntRange(min=1), help="saco: per continuous dimension; 10.")
@click.option("--hyperloglog", is_flag=True, help="saco: estimate, in little memory.")
@click.option("--gamma", type=click.FloatRange(0, 1), help="returns: the discount; 0.99.")
@click.option(
    "--return-range",
    type=(float, float),
    metavar="MIN MAX",
    help="average_return: of a random policy and of the best; they become 0 and 1.",
)
@click.option(
    "--min-return", type=float, help="estimated_return_improvement: the least possible return."
)
@click.option("--alpha", type=float, help="behavioral_entropy: Prelec's exponent; 0.7.")
@click.option(
    "--neighbours",
    "num_knn",
    type=click.IntRange(min=2),
    help="behavioral_entropy: which neighbour counts, a point itself being the first; 10.",
)
@click.option(
    "--points",
    "max_points",
    type=click.IntRange(min=2),
    help="behavioral_entropy: at most so many observations, evenly spaced; 20000.",
)
@click.option("--iterations", type=click.IntRange(min=1), help="q_function: of the fit; 20000.")
@json_option
@click.pass_obj
def metrics_command(
    app: App,
    /,
    name: str,
    where: tuple[str, ...],
    metrics: tuple[str, ...],
    reference: str | None,
    hyperloglog: bool,  # noqa: FBT001
    **options: Any,  # noqa: ANN401 - the settings that were given
) -> None:
    """Tell the quality metrics of the episodes of NAME, a benchmark, a pin or a revision.

    \b
    average_return                mean return of an episode
    estimated_return_improvement  how far the best return is above the mean
    saco                          how many state-action pairs there are, or the share of a reference
    behavioral_entropy            how evenly observations fill their space
    q_function                    mean value of the steps, by a fitted Q-function

    What cannot be computed is told, with what would help. No code of the environment is run.
    """  # noqa: D301 - click wants the character
    repository = open_repository(app)
    chosen = parse_where(where, keys=_KEYS)
    dataset = dataset_of(repository, name).with_episode_filter(chosen)
    given = {option: value for option, value in options.items() if value is not None}
    settings = Settings(
        reference=None if reference is None else dataset_of(repository, reference),
        use_hyperloglog=hyperloglog,
        **given,
    )
    report = summarise(dataset, _spaces(repository, dataset, name), settings, only=metrics)
    rows = [[one.metric, f"{one.value:.6g}", one.note] for one in report.metrics]
    rows += [[one.metric, "", _left_out(one.reason, one.hint)] for one in report.left_out]
    app.emit_table(report, ["metric", "value", "note"], rows)


def _spaces(repository: Repository, dataset: TupliDataset, name: str) -> RecordedSpaces:
    headers = dataset.preview()
    if not headers:
        raise InvalidInputError(
            f"no episode of '{name}' matches, so there is nothing to measure",
            hint="'tupli list episodes' shows what there is",
        )
    _, data = repository.read_episode(headers[0].id)
    return RecordedSpaces(data.layout.observation_space, data.layout.action_space)


def _left_out(reason: str, hint: str) -> str:
    """The hint first: a terminal cuts what is long."""
    return f"left out ({hint}): {reason}" if hint else f"left out: {reason}"
