"""``tupli play``: play a benchmark with the keyboard, recording."""

import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from typing import Any

import click
import numpy as np
from gymnasium import Env, Wrapper, spaces

from tupli_repo.benchmark import TupliEnvWrapper
from tupli_repo.callbacks import EpisodeLength, EpisodeReturn, PolicyName, Summaries
from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.opening import open_repository
from tupli_repo.cli.progress import count
from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.objects import shown
from tupli_repo.optional import require
from tupli_repo.repository import Repository
from tupli_repo.schema import EpisodeHeader, FilterEQ

_Keys = dict[tuple[int, ...], Any]
_IMAGES = "rgb_array"
_HINT = "for example --key left=0 --key right=1, or --key 'w=[0, 0.7, 0]'"
_SHOWN_DIGITS = 12
_FPS = 30  # Gymnasium's own, where the environment says nothing
_PLAYER = "human"


@click.command(
    "play",
    short_help="Play a benchmark with the keyboard, recording",
    epilog="Exit status: 0 played, 1 ID|NAME is unknown or pygame is missing, 2 it does not render"
    " or has no keys, 10 no repository here, 13 code is not trusted",
)
@click.argument("uri", metavar="ID|NAME")
@click.option(
    "--key", metavar="KEYS=ACTION", multiple=True, help="What a key does, or several: 'a+d=[0, 1]'."
)
@click.option("--noop", metavar="ACTION", help="What is done while no key is pressed.")
@click.option("--fps", type=click.IntRange(min=1), help="Steps per second.")
@click.option("--zoom", type=click.FloatRange(min=0, min_open=True), help="How large it is shown.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the first episode; the next has +1.")
@click.option("--wait", is_flag=True, help="Step only while a key is pressed.")
@click.option("--trust", metavar="NAME", multiple=True, help="Let this code run, for once.")
@json_option
@click.pass_obj
def play_command(
    app: App,
    uri: str,
    key: tuple[str, ...],
    noop: str | None,
    fps: int | None,
    zoom: float | None,
    seed: int | None,
    wait: bool,  # noqa: FBT001
    trust: tuple[str, ...],
) -> None:
    """Play the benchmark ID or NAME in a window; Escape ends.

    Each episode is recorded with its return, its length and 'policy = human', and one that is
    left in the middle as truncated. Keys are letters, digits, or named as in pygame: left,
    right, up, down, space, return; ACTION is JSON. Without --key they are the environment's own.
    """
    repository = open_repository(app)
    header = repository.find_benchmark(uri)
    require("pygame", needed_for="tupli play")
    before = {one.id for one in _episodes(repository, header.id)}
    notes = Summaries(EpisodeReturn(), EpisodeLength(), PolicyName(_PLAYER))
    env = TupliEnvWrapper.load(repository, header.id, notes, trust=trust, render_mode=_IMAGES)
    try:
        if _IMAGES not in env.metadata.get("render_modes", ()):
            raise InvalidInputError(
                f"'{shown(header.metadata.name)}' does not render as images",
                hint=f"its environment has to know render_mode='{_IMAGES}'",
            )
        keys = _keys(env, key)
        idle = _action(env.action_space, noop) if noop is not None else _idle(env.action_space)
        with redirect_stdout(sys.stderr):  # what pygame says is not our result
            _play(env, keys, idle, fps=fps, zoom=zoom, seed=seed, wait=wait)
    finally:
        env.close()
    made = [one for one in _episodes(repository, header.id) if one.id not in before]
    lines = [f"recorded {count(len(made), 'episode')}", *map(_line, made)]
    app.emit(made, "\n".join(lines))


class _Seeded(Wrapper[Any, Any, Any, Any]):
    """Seeds the first episode, and each next one with 1 more."""

    def __init__(self, env: Env[Any, Any], seed: int) -> None:
        super().__init__(env)
        self._next = seed
        self._has_stepped = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        del seed
        self._next += self._has_stepped  # an episode without steps is none
        self._has_stepped = False
        return self.env.reset(seed=self._next, options=options)

    def step(self, action: Any) -> Any:  # noqa: ANN401 - as the environment's
        self._has_stepped = True
        return self.env.step(action)


def _play(
    env: Env[Any, Any],
    keys: _Keys,
    idle: Any,  # noqa: ANN401 - any action
    *,
    fps: int | None,
    zoom: float | None,
    seed: int | None,
    wait: bool,
) -> None:
    from gymnasium.utils.play import play  # it imports pygame, and matplotlib where there is one

    try:
        play(
            env if seed is None else _Seeded(env, seed),
            fps=fps or max(1, round(env.metadata.get("render_fps") or _FPS)),
            zoom=zoom,
            keys_to_action=keys,
            noop=idle,
            wait_on_player=wait,
        )
    except require("pygame", needed_for="tupli play").error as err:
        raise InvalidInputError(
            f"there is no window: {shown(str(err))}",
            hint="it needs a screen, and a --zoom that fits",
        ) from None


def _keys(env: Env[Any, Any], told: Iterable[str]) -> _Keys:
    """What each combination of keys does, by pygame's codes."""
    found: _Keys = {}
    for one in told:
        names, is_told, text = one.partition("=")
        if not is_told or not names:
            raise InvalidInputError(f"'{shown(one)}' is no key and its action", hint=_HINT)
        codes = tuple(_code(name.strip()) for name in names.split("+"))
        found[codes] = _action(env.action_space, text)
    if found:
        return found
    if not env.has_wrapper_attr("get_keys_to_action"):
        raise InvalidInputError("the environment says of no key what it does", hint=_HINT)
    own: Mapping[Any, Any] = env.get_wrapper_attr("get_keys_to_action")()
    return {_codes(keys): action for keys, action in own.items()}


def _codes(keys: Any) -> tuple[int, ...]:  # noqa: ANN401 - gymnasium takes several forms
    several = (keys,) if isinstance(keys, int) else keys
    return tuple(ord(key) if isinstance(key, str) else int(key) for key in several)


def _code(name: str) -> int:
    pygame = require("pygame", needed_for="tupli play")
    for spelling in (name.lower(), name.upper()):  # K_a, K_LEFT
        code = getattr(pygame, f"K_{spelling}", None)
        if isinstance(code, int):
            return code
    raise InvalidInputError(f"there is no key '{shown(name)}'", hint=_HINT)


def _action(space: spaces.Space[Any], text: str) -> Any:  # noqa: ANN401 - any action
    """The action that a JSON text means, in the dtype of the space."""
    try:
        made = _sample(space, json.loads(text))
        if space.contains(made):
            return made
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        pass
    raise InvalidInputError(f"'{shown(text)}' is no action of '{space}'", hint=_HINT)


def _sample(space: spaces.Space[Any], value: Any) -> Any:  # noqa: ANN401 - any action
    if isinstance(space, spaces.Tuple):
        return tuple(_sample(*pair) for pair in zip(space.spaces, value, strict=True))
    if isinstance(space, spaces.Dict):
        return {key: _sample(space[key], part) for key, part in value.items()}
    if isinstance(space, spaces.Discrete):
        return value
    given = np.asarray(value)
    made = given.astype(space.dtype)
    if made.dtype.kind in "iu" and (given.dtype.kind not in "iu" or (made != given).any()):
        raise ValueError  # it would become another number
    return made


def _idle(space: spaces.Space[Any]) -> Any:  # noqa: ANN401 - any action
    """The action 0, where there is one."""
    zero = int(getattr(space, "start", 0)) if isinstance(space, spaces.Discrete) else None
    is_array = space.shape is not None and space.dtype is not None  # and not composite
    made = zero if zero is not None or not is_array else np.zeros(space.shape or (), space.dtype)
    if made is None or not space.contains(made):
        raise InvalidInputError(
            f"'{space}' has no action 0 to be done while no key is pressed", hint="--noop ACTION"
        )
    return made


def _episodes(repository: Repository, benchmark_id: str) -> list[EpisodeHeader]:
    of_it = FilterEQ(key="benchmark_id", value=benchmark_id)
    by_hand = FilterEQ(key="metadata.policy", value=_PLAYER)  # others may be recording too
    return repository.episode_headers(of_it & by_hand)


def _line(header: EpisodeHeader) -> str:
    said = header.metadata.get("return")
    told = f"{said:g}" if isinstance(said, float) else shown(str(said))  # rewards may be several
    return f"  {header.id[:_SHOWN_DIGITS]}  {count(header.n_tuples, 'step')}, return {told}"
