"""What a vector environment tells of its sub-environments: how they are reset, and which they are.

Invariant: what is not told is an error, never a guess.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from gymnasium import Env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from tupli_repo.errors import InvalidInputError

_MODES = ("NextStep", "SameStep", "Disabled")


def who_ended(terminated: Any, truncated: Any) -> list[int]:
    """Return the numbers of the sub-environments whose episodes ended in a step."""
    over = np.logical_or(terminated, truncated)
    return np.flatnonzero(over).tolist() if b"\1" in over.tobytes() else []


def autoreset_mode(env: VectorEnv[Any, Any, Any]) -> str:
    """Return ``NextStep``, ``SameStep`` or ``Disabled``.

    Raises:
        InvalidInputError: The environment does not tell.
    """
    mode = env.metadata.get("autoreset_mode")
    value = getattr(mode, "value", mode)
    if value not in _MODES:
        raise InvalidInputError(
            f"'{type(env).__name__}' does not tell how its sub-environments are reset",
            hint="set its metadata['autoreset_mode'] to one of gymnasium.vector.AutoresetMode",
        )
    return str(value)


def check_infos(infos: Any) -> None:
    """Check that infos are batched as Gymnasium does it.

    Raises:
        InvalidInputError: They are not.
    """
    if not isinstance(infos, dict):
        raise InvalidInputError(
            f"the infos are a '{type(infos).__name__}', where a dictionary is due",
            hint="put wrappers that change infos around TupliVectorEnvWrapper",
        )


@contextmanager
def sub_environments(env: VectorEnv[Any, Any, Any]) -> Iterator[list[Env[Any, Any]]]:
    """Give each sub-environment, or another that is made as it was made.

    Raises:
        InvalidInputError: None can be had, or they are not what is recorded.
    """
    while isinstance(env, VectorWrapper):
        if not isinstance(env, RecordEpisodeStatistics):
            raise _not_to_be_had(f"'{type(env).__name__}' changes what is recorded of them")
        env = env.env
    if isinstance(env, SyncVectorEnv):
        yield list(env.envs)
    elif isinstance(env, AsyncVectorEnv):
        made = [make() for make in env.env_fns]
        try:
            yield made
        finally:
            for one in made:
                one.close()
    else:
        raise _not_to_be_had(f"'{type(env).__name__}' has none")


def _not_to_be_had(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"no sub-environment can be stored: {why}",
        hint="store the single environment with TupliEnvWrapper, and hand its id in",
    )
