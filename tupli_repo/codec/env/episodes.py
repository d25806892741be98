"""Private copies of an environment made to run.

Invariant: whatever an environment raises, what leaves here is an error of ours.
"""

import copy
from typing import Any

import gymnasium

from tupli_repo.codec.env.recipe import AnyEnv
from tupli_repo.errors import EncodingError

LONG_RUN = 9
"""How many steps one long episode of a copy has."""


class EndsOnCue(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Ends an episode when told, so that a short probe sees what the end of an episode changes."""

    ends = False

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and end the episode where that was asked for."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, bool(terminated or self.ends), bool(truncated), info


def play_an_episode(env: AnyEnv, *, seed: int) -> None:
    """Reset and step a private environment.

    Raises:
        EncodingError: It could not be reset or stepped.
    """
    reset(env, seed=seed)
    run(env, seed=seed, steps=LONG_RUN)


def reset(env: AnyEnv, *, seed: int) -> None:
    """Reset a private environment.

    Raises:
        EncodingError: It raised.
    """
    try:
        env.reset(seed=seed)
    except (Exception, SystemExit) as err:
        raise _cannot_probe("reset", err) from err


def run(env: AnyEnv, *, seed: int, steps: int, cue: EndsOnCue | None = None) -> None:
    """Step a private environment, which is reset where it ends.

    Args:
        env: The environment, already reset.
        seed: That of the actions.
        steps: How many.
        cue: A layer of it that shall end the episode with the last step.

    Raises:
        EncodingError: It raised, or its action space did.
    """
    try:
        actions = copy.deepcopy(env.action_space)  # some environments replace theirs in reset
        actions.seed(seed)
    except (Exception, SystemExit) as err:
        raise _cannot_probe("its action space", err) from err
    for step in range(steps):
        if cue is not None:
            cue.ends = step == steps - 1
        try:
            _, _, terminated, truncated, _ = env.step(actions.sample())
            if (terminated or truncated) and step < steps - 1:
                env.reset()
        except (Exception, SystemExit) as err:
            raise _cannot_probe("step", err) from err


def _cannot_probe(verb: str, err: BaseException) -> EncodingError:
    return EncodingError(
        f"a copy of the environment failed in {verb}: {type(err).__name__}: {err}",
        hint="it must run without what was excluded, or without its live handles",
    )
