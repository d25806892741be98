"""Episodes of RLDS, in: any iterable of dictionaries with steps, also tfds' numpy iterators.

TensorFlow is not needed: values are numpy's. How actions, rewards and flags lie in the steps is
told in `tupli_repo.handover.rlds`.

Invariant: ``actions[t]`` is the action of the step whose observation is ``observations[t]``; what
means nothing in a last step is not taken over.
"""

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
from gymnasium import Space

from tupli_repo.codec.episode import Steps
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.importing import record_all, source_in_memory
from tupli_repo.interop.progress import OnProgress
from tupli_repo.repository import Repository
from tupli_repo.schema.interop import ImportReport

_STEPS, _INFO = "steps", "info"
_FIELDS = {
    "observation", "action", "reward", "discount", "is_first", "is_last", "is_terminal", _INFO,
}  # fmt: skip
_DICTIONARIES = ("options", "reset_info", "metadata")


def import_rlds(
    repository: Repository,
    name: str,
    episodes: Iterable[Mapping[str, Any]],
    *,
    observation_space: Space[Any] | None = None,
    action_space: Space[Any] | None = None,
    description: str = "",
    last_action: bool = False,
    benchmark_id: str | None = None,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Record episodes as RLDS has them; durable when this returns. One is in memory at once.

    An episode of N steps has N-1 actions, and its last observation is known. Where the last step
    lacks ``is_last``, as in a part of an episode, it has an action as the others, and the last
    observation is not known. Other fields of steps, and a discount that is not 1, or 0 before a
    terminal state, become infos; other fields of episodes become metadata. Bytes in observations
    and actions are texts in UTF-8. The same episodes in the same order imported again are the same.

    Args:
        repository: Where they go.
        name: What the benchmark is called that is made for them.
        episodes: Dictionaries with ``steps``: an iterable of dictionaries, or one dictionary of
            arrays with a row per step.
        observation_space: The space of the observations, where it is known.
        action_space: The space of the actions, where it is known.
        description: What the data are.
        last_action: Whether the action, reward and fields of a last step count: against RLDS, many
            robotics datasets write no step after the last action.
        benchmark_id: A benchmark that is here already; none is made then.
        on_progress: Told how many episodes are done, of how many (where ``episodes`` has a length).

    Raises:
        InvalidInputError: An episode is none of RLDS's; the message says which and why.
        EncodingError: Observations, actions or rewards cannot be stored.
        NotFoundError: ``benchmark_id`` is not here.
        StorageIOError: The disk refused.
    """
    source = source_in_memory(
        repository,
        "rlds",
        name,
        benchmark_id=benchmark_id,
        description=description,
        n_episodes=len(episodes) if isinstance(episodes, Sized) else 0,
        observation_space=observation_space,
        action_space=action_space,
    )
    left_out: list[str] = []
    found = _read(episodes, left_out, last_action=last_action)
    return record_all(repository, found, source, left_out, on_progress)


def _read(episodes: Iterable[Any], left_out: list[str], *, last_action: bool) -> Iterator[Steps]:
    tells_terminal = True
    for i, episode in enumerate(episodes):
        if not isinstance(episode, Mapping) or _STEPS not in episode:
            raise InvalidInputError(f"episode {i} is no dictionary with '{_STEPS}'")
        steps = _checked(episode[_STEPS], i)
        if tells_terminal and steps and "is_terminal" not in steps[-1]:
            tells_terminal = False
            left_out.append("whether episodes ended in a terminal state, which not all steps tell")
        has_final = bool(steps) and bool(steps[-1]["is_last"]) and not last_action
        if len(steps) - has_final < 1:
            left_out.append(f"episode {i}, which has no action")
        else:
            yield _episode(episode, steps, i, has_final=has_final)


def _episode(
    episode: Mapping[str, Any], steps: list[Mapping[str, Any]], i: int, *, has_final: bool
) -> Steps:
    n = len(steps) - has_final
    is_terminal = [bool(step.get("is_terminal", False)) for step in steps]
    terminated = np.array(is_terminal[1:] if has_final else is_terminal)
    truncated = np.zeros(n, bool)
    told = episode.get("truncated")
    is_flag = isinstance(told, (bool, np.bool_))
    truncated[-1] = told if is_flag else steps[-1]["is_last"] and not terminated[-1]
    used = {_STEPS, "truncated"} if is_flag else {_STEPS}
    metadata = {key: value for key, value in episode.items() if key not in used}
    known = {
        key: dict(metadata.pop(key))
        for key in _DICTIONARIES
        if isinstance(metadata.get(key), Mapping)
    }
    seed = metadata.get("seed")
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        seed = int(metadata.pop("seed"))
    else:
        seed = None
    with_action = steps[:n]
    return Steps(
        observations=[_plain(_field(step, "observation", i)) for step in steps],
        actions=[_plain(_field(step, "action", i)) for step in with_action],
        rewards=[_field(step, "reward", i) for step in with_action],
        terminated=terminated,
        truncated=truncated,
        infos=_infos(with_action, terminated),
        seed=seed,
        reset_info=known.get("reset_info", {}),
        options=known.get("options"),
        metadata=metadata | known.get("metadata", {}),
    )


def _checked(steps: Any, i: int) -> list[Mapping[str, Any]]:
    """The steps of an episode, in a list.

    Raises:
        InvalidInputError: They are not, or begin or end in the middle.
    """
    if not isinstance(steps, Iterable):
        raise InvalidInputError(f"the steps of episode {i} are a '{type(steps).__name__}'")
    found = _rows(steps, i) if isinstance(steps, Mapping) else list(steps)
    for t, step in enumerate(found):
        if not isinstance(step, Mapping) or not {"is_first", "is_last"} <= step.keys():
            raise InvalidInputError(
                f"step {t} of episode {i} is no dictionary with 'is_first' and 'is_last'"
            )
        if (t and step["is_first"]) or (t < len(found) - 1 and step["is_last"]):
            raise InvalidInputError(f"episode {i} begins or ends in the middle, at step {t}")
    return found


def _rows(columns: Mapping[str, Any], i: int) -> list[Mapping[str, Any]]:
    """Steps that lie in arrays with a row for each.

    Raises:
        InvalidInputError: ``is_last`` is missing, or one has more or fewer rows than it.
    """
    flags = columns.get("is_last")
    if not isinstance(flags, Sized):
        raise InvalidInputError(f"the arrays of episode {i} have no 'is_last' with a row for each")
    n = len(flags)

    def row(part: Any, t: int) -> Any:
        if isinstance(part, Mapping):
            return {key: row(below, t) for key, below in part.items()}
        if isinstance(part, tuple):
            return tuple(row(below, t) for below in part)
        if isinstance(part, (str, bytes)) or not isinstance(part, Sized) or len(part) != n:
            raise InvalidInputError(f"the arrays of episode {i} have not a row for each step")
        return part[t]  # type: ignore[index]

    return [row(columns, t) for t in range(n)]


def _field(step: Mapping[str, Any], name: str, i: int) -> Any:
    try:
        return step[name]
    except KeyError:
        raise InvalidInputError(
            f"a step of episode {i} has no '{name}'", hint=f"it has {', '.join(map(str, step))}"
        ) from None


def _infos(steps: list[Mapping[str, Any]], terminated: Any) -> list[dict[str, Any]]:
    infos = []
    for step in steps:
        info = step.get(_INFO, {})
        others = {key: value for key, value in step.items() if key not in _FIELDS}
        infos.append({**(info if isinstance(info, Mapping) else {_INFO: info}), **others})
    discounts = [step.get("discount", 1) for step in steps]
    if not np.array_equal(discounts, ~terminated) and not np.all(np.equal(discounts, 1)):
        for info, discount in zip(infos, discounts, strict=True):
            info["discount"] = discount
    return infos


def _plain(value: Any) -> Any:
    """A sample whose texts are texts; TensorFlow gives bytes."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(_plain, value))
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
