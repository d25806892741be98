"""``tupli annotate``: say something of episodes that were recorded."""

from collections.abc import Iterable
from typing import Any

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.opening import open_repository
from tupli_repo.cli.progress import count
from tupli_repo.cli.where import parse_value, parse_where, where_option
from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.objects import shown
from tupli_repo.schema import EpisodeHeader

_KEYS = set(EpisodeHeader.model_fields)
_HINT = "for example 'tupli annotate 3f2a91c success=true'"


@click.command(
    "annotate",
    short_help="Add metadata to episodes that were recorded",
    epilog="Exit status: 0 said, 1 an ID is unknown or ambiguous (nothing was said), 2 nothing to"
    " say or nothing to say it of, 10 no repository here",
)
@click.argument("words", metavar="[ID]... [KEY=VALUE]...", nargs=-1)
@where_option
@click.option("--unset", metavar="KEY", multiple=True, help="Take back what was said under KEY.")
@json_option
@click.pass_obj
def annotate_command(
    app: App, words: tuple[str, ...], where: tuple[str, ...], unset: tuple[str, ...]
) -> None:
    """Say KEY=VALUE of the episodes whose ids begin with ID, or that match --where.

    VALUE is a JSON literal or a word. Listings and --where show it at once as metadata.KEY; the
    episodes stay as they are, and so do pins. The next 'tupli publish' carries it to others.

    'tupli annotate --where "metadata.return >= 200" quality=expert' says it of all good ones.
    """
    ids = [word for word in words if "=" not in word]
    said = _said([word for word in words if "=" in word], unset)
    chosen = parse_where(where, keys=_KEYS)
    if bool(ids) == (chosen is not None):
        problem = "ids and --where are both given" if ids else "no episode is named"
        raise InvalidInputError(problem, hint=f"name them by ids or by --where; {_HINT}")
    found = open_repository(app).annotate(ids if chosen is None else chosen, said)
    app.emit({"episodes": found, "metadata": said}, f"annotated {count(len(found), 'episode')}")


def _said(pairs: Iterable[str], unset: Iterable[str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        if not key:
            raise InvalidInputError(f"'{shown(pair)}' has no key", hint=_HINT)
        said[key] = parse_value(pair, text)
        if said[key] is None:
            raise InvalidInputError(
                f"null cannot be said of '{shown(key)}'", hint=f"'--unset {shown(key)}' takes back"
            )
    for key in unset:
        if key in said:
            raise InvalidInputError(f"'{shown(key)}' is both set and unset", hint=_HINT)
        said[key] = None
    if not said:
        raise InvalidInputError("nothing is said", hint=_HINT)
    return said
