"""Episodes of several agents: PettingZoo's parallel environments, recorded as joint runs.

A joint run is one episode. Its spaces are a Dict with a part for each agent, and each part is a
Sequence that is empty where the agent is absent, so that agents may come and go. ``rewards`` has a
row per step and a column per agent, in the order of the Dict's keys; so have the infos ``present``
(who was given a reward), ``terminated`` and ``truncated``. The agents' own infos are the info
``infos``, where there are any.

What was given to the agents comes back, jointly or for one of them, in the same dtypes.

- `wrapper`: records joint runs.
- `reading`: takes a recorded one apart.
"""

from tupli_repo.multiagent.reading import (
    AgentEpisode,
    JointEpisode,
    agent_episode,
    joint_episode,
)
from tupli_repo.multiagent.wrapper import JointSpaces, TupliParallelEnvWrapper

__all__ = [
    "AgentEpisode",
    "JointEpisode",
    "JointSpaces",
    "TupliParallelEnvWrapper",
    "agent_episode",
    "joint_episode",
]
