"""Episodes as PyTupli's tuples, and back.

``RLTuple.state`` is the observation the action was taken in; the observation after the last action
is ``Episode.final_state``.
"""

from typing import Any

from tupli_repo.codec.episode import EpisodeData, Steps
from tupli_repo.codec.views import View
from tupli_repo.schema import Episode, RLTuple
from tupli_repo.schema.plain import plain


def steps_from_tuples(episode: Episode) -> Steps:
    """Return the steps of an episode made of ready tuples."""
    tuples = episode.tuples
    observations = [item.state for item in tuples]
    if episode.final_state is not None:
        observations.append(episode.final_state)
    return Steps(
        observations=observations,
        actions=[item.action for item in tuples],
        rewards=[item.reward for item in tuples],
        terminated=[item.terminal for item in tuples],
        truncated=[item.timeout for item in tuples],
        infos=[item.info for item in tuples],
        reset_info=episode.reset_info,
        metadata=episode.metadata,
        seed=episode.seed,
        options=episode.options,
    )


def tuples_from_steps(steps: Steps | EpisodeData) -> View[RLTuple]:
    """Return the T tuples of an episode, each made when it is asked for.

    They hold Python's own values in place of arrays.
    """
    observations, actions, infos = steps.observations, steps.actions, steps.infos
    rewards, terminated, truncated = steps.rewards, steps.terminated, steps.truncated

    def read(step: int) -> RLTuple:
        return RLTuple.model_construct(
            state=plain(observations[step]),
            action=plain(actions[step]),
            reward=plain(rewards[step]),
            info=dict(infos[step]),
            terminal=bool(terminated[step]),
            timeout=bool(truncated[step]),
        )

    return View(read, len(actions))


def final_state_of(steps: Steps | EpisodeData) -> Any:
    """Return the observation after the last action, None where it is not known."""
    observations = steps.observations
    return plain(observations[-1]) if len(observations) > len(steps.actions) else None
