"""Recorded episodes run again: whether an environment does now what it did then.

A fresh environment is given an episode's seed (or its generator's state), options and actions; what
it answers goes through the codec of the episode's layout, so that like is compared with like:
observations, rewards, ``terminated`` and ``truncated``. Infos and metadata are not compared.

Invariant: nothing is recorded, and whatever the environment does, the outcome is a report.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, SupportsFloat

import numpy as np
from gymnasium import Env
from gymnasium.wrappers import NormalizeObservation, NormalizeReward

from tupli_repo.benchmark import TupliEnvWrapper, hooks_token
from tupli_repo.codec import env as env_codec
from tupli_repo.codec.arrays import stack
from tupli_repo.codec.buffer import snapshot
from tupli_repo.codec.deviations import Deviation, find_deviations
from tupli_repo.codec.env.names import refusal, resolve
from tupli_repo.codec.env.probing import untouched_randomness
from tupli_repo.codec.env.recipe import layers_of
from tupli_repo.codec.episode import EpisodeData
from tupli_repo.codec.samples import (
    Columns,
    column_names,
    columns_from_samples,
    samples_from_columns,
)
from tupli_repo.codec.spaces import describe_space
from tupli_repo.codec.trust import NameKind, TrustPolicy, is_dotted_name
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError
from tupli_repo.repository import Repository
from tupli_repo.schema import Benchmark, EpisodeHeader
from tupli_repo.schema.plain import plain
from tupli_repo.schema.reports import ReplayReport

AnyEnv = Env[Any, Any]
_WITH_STATISTICS = (NormalizeObservation, NormalizeReward)
_RANK = {"exact": 0, "close": 1, "different": 2}


@untouched_randomness()
def replay(episode: EpisodeData, env: AnyEnv, *, copy: bool = True) -> ReplayReport:
    """Run a recorded episode again and return how it compares with what was recorded.

    Compared are observations, rewards, ``terminated`` and ``truncated``; not infos and metadata.
    That an episode was left in the middle (its last step says truncated, the environment did not)
    is no difference. Statistics and other state that an environment carries from episode to episode
    (`NormalizeObservation`, say) begin anew, so only an episode that was the first of its
    environment comes out alike.

    Args:
        episode: What `Repository.read_episode` returned second.
        env: The environment it was recorded in. Recording wrappers are taken off, with whatever is
            around them.
        copy: Whether to run in fresh copies, so that ``env`` keeps its state. Without it ``env``
            itself is reset and stepped, once, and should be fresh.

    Raises:
        InvalidInputError: ``episode`` is no episode with all its columns, or ``env`` no
            environment.
        EncodingError: The environment cannot be copied.
        CorruptObjectError: The episode is damaged.
    """
    _check_arguments(episode, env)
    bare = _without_recorders(env)
    if not copy:
        return _run_and_compare(episode, bare, _actions(episode, bare))
    try:
        document = env_codec.encode(bare)
    except EncodingError as err:
        raise EncodingError(
            f"no fresh copy of the environment can be made: {err.message}",
            hint="replay(episode, env, copy=False) runs in the environment itself",
        ) from err
    return replay_in(episode, lambda: env_codec.decode(document, TrustPolicy()))


@untouched_randomness()
def replay_in(episode: EpisodeData, make_env: Callable[[], AnyEnv]) -> ReplayReport:
    """Run a recorded episode again in environments that ``make_env`` makes; see `replay`.

    A record does not tell Python's numbers from numpy's, and float32 times the one is not always
    float32 times the other. So where actions are numbers and the outcome is not exact, they are
    tried in both forms, and the better outcome is returned.
    """
    report = _in_fresh(episode, make_env, lambda action: action)
    has_numbers = any(
        not episode.columns[name].shape[1:]
        for name in column_names(episode.layout.action, "actions")
    )
    if report.verdict == "exact" or report.first_step == 0 or not has_numbers:
        return report
    other = _in_fresh(episode, make_env, _with_python_numbers)
    return other if _RANK[other.verdict] < _RANK[report.verdict] else report


def replay_stored(
    repository: Repository, episode_ids: Iterable[str], *, trust: Sequence[str | type] = ()
) -> Iterator[tuple[EpisodeHeader, ReplayReport]]:
    """Run stored episodes again, each in its benchmark's environment, loaded afresh.

    Args:
        repository: Where they are.
        episode_ids: Full ids.
        trust: Names whose code may run, beside what this user granted and stored there.

    Raises:
        UntrustedCodeError: A benchmark wants code that is not trusted; nothing was imported.
        InvalidInputError: A benchmark holds no environment of ours, or its wrapper class no other
            process can import.
        NotFoundError: An episode or its benchmark is not here.
        CorruptObjectError: One is damaged.
    """
    makers: dict[str, Callable[[], AnyEnv]] = {}
    changed: dict[str, list[str]] = {}
    for header, episode in repository.read_episodes(episode_ids):
        benchmark_id = header.benchmark_id
        if benchmark_id not in makers:
            makers[benchmark_id] = _maker(repository, benchmark_id, trust)
        report = replay_in(episode, makers[benchmark_id])
        if benchmark_id not in changed:  # now that its modules are loaded
            changed[benchmark_id] = repository.changed_code(benchmark_id)
        if report.verdict != "exact" and changed[benchmark_id]:
            told = f"stored with other code: {', '.join(changed[benchmark_id][:3])}"
            report = report.model_copy(update={"note": _joined([report.note, told])})
        yield header, report


# ---- the environment


def _maker(
    repository: Repository, benchmark_id: str, trust: Sequence[str | type]
) -> Callable[[], AnyEnv]:
    """Return what makes a benchmark's environment, completed by its wrapper class's hook."""
    stored = repository.load_benchmark(benchmark_id)
    policy = repository.trust_policy(trust)
    wrapper_class = _wrapper_class(stored, policy)
    return lambda: wrapper_class.deserialize_env(stored.serialized, repository, trust=trust)


def _wrapper_class(stored: Benchmark, policy: TrustPolicy) -> type[TupliEnvWrapper]:
    """Return the class whose `_deserialize` completes the environment.

    It has to be granted by name, or to be the one this user stored this document with.
    """
    name = stored.wrapper
    if not name:
        return TupliEnvWrapper
    if not is_dotted_name(name):
        raise InvalidInputError(
            f"benchmark '{stored.metadata.name}' was stored by '{name}', which cannot be imported",
            hint="define the class at the top level of a module, and store it again",
        )
    text_hash = sha256(stored.serialized.encode()).hexdigest()
    token = hooks_token(name, text_hash)
    if not policy.allows(name, NameKind.WRAPPER, document=token):
        is_ours = env_codec.is_document(stored.serialized)
        others = env_codec.untrusted_names(stored.serialized, policy) if is_ours else []
        raise refusal([*others, name])
    found: type[object] = resolve(name, NameKind.WRAPPER, policy, document=token)
    if not issubclass(found, TupliEnvWrapper):
        raise CorruptObjectError(f"'{name}' is no TupliEnvWrapper")
    return found


def _check_arguments(episode: object, env: object) -> None:
    if not isinstance(episode, EpisodeData):
        raise InvalidInputError(
            f"'{type(episode).__qualname__}' is not an episode with its columns",
            hint="replay(repository.read_episode(ID)[1], env)",
        )
    missing = {spec.name for spec in episode.layout.columns if not spec.name.startswith("infos")}
    missing -= episode.columns.keys()
    if missing:
        raise InvalidInputError(
            f"the episode was loaded without '{min(missing)}'", hint="load it with every column"
        )
    if not isinstance(env, Env):
        raise InvalidInputError(
            f"'{type(env).__qualname__}' is not an environment", hint="pass a gymnasium.Env"
        )


def _without_recorders(env: AnyEnv) -> AnyEnv:
    """What the innermost recording wrapper records; the environment itself where there is none."""
    recorded = [layer.env for layer in layers_of(env) if isinstance(layer, TupliEnvWrapper)]
    return recorded[0] if recorded else env


def _in_fresh(
    episode: EpisodeData, make_env: Callable[[], AnyEnv], form: Callable[[Any], Any]
) -> ReplayReport:
    env = make_env()
    try:
        actions = (form(action) for action in _actions(episode, env))
        return _run_and_compare(episode, env, actions)
    finally:
        with suppress(Exception):
            env.close()


def _restore_generator(env: AnyEnv, record: Mapping[str, Any]) -> str:
    """Give the environment's generator its recorded state; returns why that cannot be."""
    bits = getattr(getattr(env.unwrapped, "np_random", None), "bit_generator", None)
    if not isinstance(bits, np.random.PCG64):
        return "the recorded generator state has no place in this environment"
    try:
        bits.state = record["rng"]
    except (KeyError, OverflowError, TypeError, ValueError):
        raise CorruptObjectError("an episode's generator state is malformed") from None
    return ""


# ---- the actions


def _actions(episode: EpisodeData, env: AnyEnv) -> Iterable[Any]:
    """The recorded actions as samples of the action space; ready ones that nobody else holds.

    Where an episode was made of ready tuples, its actions are Python's values and its space is not
    known: then the environment's own tells their form.
    """
    actions: Sequence[Any] = episode.actions
    if episode.layout.action_space is None:
        with suppress(EncodingError):  # no samples of that space: they are tried as they are
            tree = describe_space(env.action_space)
            columns = columns_from_samples(tree, [plain(action) for action in actions], "actions")
            actions = samples_from_columns(tree, columns, "actions", episode.n_steps)
    return (snapshot(action) for action in actions)


def _with_python_numbers(action: object) -> object:
    if isinstance(action, np.generic):
        return action.item()
    if isinstance(action, dict):
        return {key: _with_python_numbers(value) for key, value in action.items()}
    if type(action) is tuple:
        return tuple(_with_python_numbers(value) for value in action)
    return action


# ---- the run


@dataclass(slots=True)
class _Run:
    """What an environment did with an episode's actions."""

    observations: list[Any] = field(default_factory=list)
    rewards: list[Any] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str = ""

    def first(self, n_observations: int) -> "_Run":
        """The beginning of the run, so many observations of it."""
        n_steps = max(0, n_observations - 1)
        return replace(
            self,
            observations=self.observations[:n_observations],
            rewards=self.rewards[:n_steps],
            terminated=self.terminated[:n_steps],
            truncated=self.truncated[:n_steps],
        )


def _run_and_compare(episode: EpisodeData, env: AnyEnv, actions: Iterable[Any]) -> ReplayReport:
    run = _run(episode, env, actions)
    columns, run = _columns(episode, run)
    is_whole = not run.failure and len(run.rewards) == episode.n_steps
    if is_whole and _was_left(episode, run):
        columns["truncated"][-1] = True
        run.notes.append("the episode was left in the middle")
    known = episode.layout.observation_space is not None
    found = find_deviations(
        episode.layout.observation,
        episode.columns,
        columns,
        n_observations=len(episode.observations),
        strict=known and is_whole,
    )
    report = _report(episode, run, found)
    carries = any(isinstance(layer, _WITH_STATISTICS) for layer in layers_of(env))
    if report.verdict != "exact" and carries:
        told = "statistics carry over from episode to episode, only the first comes out alike"
        return report.model_copy(update={"note": _joined([report.note, told])})
    return report


def _run(episode: EpisodeData, env: AnyEnv, actions: Iterable[Any]) -> _Run:
    """Run the episode until it is over, the environment raises, or it says another end."""
    run, record = _Run(), episode.record
    if record["seed"] is None and record["rng"] is not None:
        run.notes += filter(None, [_restore_generator(env, record)])
    elif record["seed"] is None:
        run.notes.append("neither a seed nor a generator state was recorded")
    try:
        observation, _ = env.reset(seed=record["seed"], options=snapshot(record["options"]))
    except (Exception, SystemExit) as err:  # noqa: BLE001 - it may raise anything; that is told
        run.failure = f"reset raised {_named(err)}"
        return run
    run.observations.append(snapshot(observation))
    for step, action in enumerate(actions):
        try:
            observation, reward, terminated, truncated, _ = env.step(action)
            row = (snapshot(observation), _number(reward), bool(terminated), bool(truncated))
        except (Exception, SystemExit) as err:  # noqa: BLE001 - as above
            run.failure = f"step {step + 1} raised {_named(err)}"
            return run
        lists = (run.observations, run.rewards, run.terminated, run.truncated)
        for values, value in zip(lists, row, strict=True):
            values.append(value)
        is_end = row[2] or row[3]
        if is_end and row[2:] != (episode.terminated[step], episode.truncated[step]):
            return run
    return run


def _number(reward: object) -> object:
    """A reward as `EpisodeData` holds it: a Fraction or the like is the float it stands for."""
    reward = snapshot(reward)
    known = isinstance(reward, np.ndarray | np.generic | int | float)
    return float(reward) if isinstance(reward, SupportsFloat) and not known else reward


def _columns(episode: EpisodeData, run: _Run) -> tuple[Columns, _Run]:
    """Return the run as columns, and the run; both cut where it does not fit the layout."""
    low, high = 0, len(run.observations)
    middle, columns, failure = high, _encoded(episode, run.first(0)), ""
    while low < high:
        try:
            columns = _encoded(episode, run.first(middle))
        except EncodingError as err:
            high, failure = middle - 1, err.message
        else:
            low = middle
        middle = (low + high + 1) // 2
    if not failure:
        return columns, run
    return columns, replace(run.first(low), failure=failure)


def _encoded(episode: EpisodeData, run: _Run) -> Columns:
    n_compared = len(episode.observations)
    seen = run.observations[:n_compared]
    columns = columns_from_samples(episode.layout.observation, seen, "observations")
    columns["rewards"] = stack(run.rewards, "rewards")
    columns["terminated"] = np.asarray(run.terminated, dtype=bool)
    columns["truncated"] = np.asarray(run.truncated, dtype=bool)
    return columns


def _was_left(episode: EpisodeData, run: _Run) -> bool:
    """Whether the recorder said truncated, and the environment goes on here as it did there."""
    return bool(episode.record["abandoned"]) and not run.terminated[-1] and not run.truncated[-1]


# ---- the report


def _report(episode: EpisodeData, run: _Run, found: list[Deviation]) -> ReplayReport:
    notes = list(run.notes)
    n_steps = len(run.rewards)
    largest = max((deviation.largest for deviation in found), default=0.0)
    stopped_at = n_steps + 1 if run.observations else 0
    first = min(found, key=lambda deviation: deviation.step, default=None)
    if run.failure:
        notes.append(run.failure)
        if first is None or stopped_at < first.step:
            first = Deviation(step=stopped_at, column="")
    if first is None:
        return ReplayReport(verdict="exact", n_steps=n_steps, note=_joined(notes))
    if first.column in ("terminated", "truncated"):
        notes.append(_about_the_end(episode, run, first.step))
    is_close = not run.failure and all(deviation.is_close for deviation in found)
    return ReplayReport(
        verdict="close" if is_close else "different",
        n_steps=n_steps,
        first_step=first.step,
        column=first.column or None,
        element=first.element,
        max_abs_difference=largest,
        recorded=first.recorded,
        replayed=first.replayed,
        note=_joined([*notes, first.why]),
    )


def _about_the_end(episode: EpisodeData, run: _Run, step: int) -> str:
    ended_then = bool(episode.terminated[step - 1] or episode.truncated[step - 1])
    ends_now = run.terminated[step - 1] or run.truncated[step - 1]
    if ends_now and not ended_then:
        return f"the environment ended after {step} of {episode.n_steps} steps"
    if ended_then and not ends_now:
        return f"the episode ended after {step} steps, the environment did not"
    return "the environment ended in another way"


def _joined(notes: Iterable[str]) -> str:
    return "; ".join(note for note in notes if note)


def _named(err: BaseException) -> str:
    """An exception in one short line."""
    text = " ".join(str(err).split())
    return f"{type(err).__name__}: {text[:200]}" if text else type(err).__name__
