"""Fitted Q-functions: what an agent would expect to gain from where the data has been."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError, UnfitDataError
from tupli_repo.quality_metrics.base import Evaluated, HasSpaces, QualityMetric
from tupli_repo.quality_metrics.data import actions_of, observations_of
from tupli_repo.quality_metrics.encoding import BLOCK_ROWS, ready
from tupli_repo.quality_metrics.networks import torch_for

_Tensor = Any
_Network = Any
_Generator = Any
_D4RL = ("observations", "actions", "rewards", "next_observations", "terminals")


class QFunctionMetric(QualityMetric):
    """The mean of Q(s, a) over the dataset, of a Q-function that was fitted to it.

    Q is fitted to r + gamma * (1 - terminal) * V(s'), by squares, with a target network Q' that
    follows. Without a policy (FQI) V(s') is the greatest Q'(s', a'); with one (FQE) it is
    Q'(s', pi(s')), or for discrete actions the sum of pi(a'|s') Q'(s', a').

    Args:
        env: What has the spaces, an environment for example; it is not stepped.
        network_arch: Makes a network of ``network_kwargs``, such as `MLP`: for discrete actions
            from observations (B, *obs) to (B, number of actions), for others from observations and
            actions side by side to (B, 1). Discrete observations come one-hot.
        network_kwargs: What it is called with.
        gamma: Discount per step, in [0, 1].
        lr: The step size of Adam.
        batch_size: Transitions per iteration.
        iterations: How many.
        target_update_rate: The part of Q that goes into Q' with every iteration, in (0, 1].
        device: Where networks and batches are.
        evaluation_policy: The policy pi, from observations (B, *obs) to actions (B, *act), or to
            probabilities (B, number of actions) where actions are discrete. A torch module is
            copied to the device and runs as in evaluation.
        seed: Of the first weights and of the batches. The same seed, data and machine give the same
            value; torch's own generator is not touched.

    Attributes:
        q_function: The network before it is fitted. `train_q_functions` returns a fitted one.

    Raises:
        MissingDependencyError: torch is not installed.
        InvalidInputError: Actions are continuous and there is no policy, or ``gamma`` lies outside
            [0, 1].
        UnfitDataError: The actions are neither Discrete nor a Box.

    Source: Le, Voloshin & Yue, Batch Policy Learning under Constraints, ICML 2019 (FQE); Ernst,
    Geurts & Wehenkel, Tree-Based Batch Mode Reinforcement Learning, JMLR 2005 (FQI).

    On the same transitions, weights and batches the values are PyTupli's. It differs in this: in
    PyTupli a second `evaluate` goes on with the network of the first; FQE for continuous actions
    fails, as do Discrete observations, spaces that do not begin with 0, and other devices than the
    CPU; a time limit counts as the end, the next observation may be of the next episode, and the
    loss is printed.
    """

    def __init__(
        self,
        env: HasSpaces,
        network_arch: Callable[..., _Network],
        network_kwargs: dict[str, Any] | None = None,
        gamma: float = 0.99,
        lr: float = 3e-4,
        batch_size: int = 256,
        iterations: int = 20000,
        target_update_rate: float = 0.005,
        device: str = "cpu",
        evaluation_policy: Callable[..., Any] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        torch = torch_for("QFunctionMetric")
        if not isinstance(env.action_space, (spaces.Discrete, spaces.Box)):
            raise UnfitDataError(
                f"a Q-function of '{type(env.action_space).__name__}' actions is not supported",
                hint="Discrete actions are, and a Box",
            )
        if isinstance(env.action_space, spaces.Box) and evaluation_policy is None:
            raise InvalidInputError(
                "the actions are continuous, so that none is the best of all",
                hint="give an evaluation_policy",
            )
        if not 0 <= gamma <= 1:
            raise InvalidInputError(
                f"a discount of '{gamma}' is not possible", hint="gamma lies between 0 and 1"
            )
        self.discrete_actions = isinstance(env.action_space, spaces.Discrete)
        self.action_space = env.action_space
        self.observation_space = env.observation_space
        self.gamma = gamma
        self.lr = lr
        self.batch_size = batch_size
        self.iterations = iterations
        self.tau = target_update_rate
        self.evaluation_policy = evaluation_policy
        self.device = device
        self.seed = seed
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.q_function = network_arch(**(network_kwargs or {})).to(device)

    def evaluate(self, data: Evaluated) -> float:
        """Return the mean Q-value of the recorded steps, in the environment's reward unit.

        Raises:
            UnfitDataError: There are no steps, they are no numbers, or the fit diverged.
            InvalidInputError: The spaces are composite, or the episodes have different shapes.
        """
        observations, actions = observations_of(data), actions_of(data)
        torch = torch_for("QFunctionMetric")
        network = self.train_q_functions(data)
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(actions), BLOCK_ROWS):
                rows = slice(start, start + BLOCK_ROWS)
                q = self._q(network, self._states(observations[rows]), self._acts(actions[rows]))
                total += float(q.double().sum())
        mean = total / len(actions)
        if not np.isfinite(mean):
            raise UnfitDataError(
                "the fit of the Q-function diverged", hint="a smaller lr or gamma may help"
            )
        return mean

    def sample_batch(
        self, data: dict[str, NDArray[Any]], generator: _Generator = None
    ) -> tuple[_Tensor, _Tensor, _Tensor, _Tensor, _Tensor]:
        """Return random transitions as tensors on the device.

        Args:
            data: N transitions, as `TupliDataset.convert_to_d4rl_format` gives them.
            generator: A torch generator; torch's own where None.

        Returns:
            For B transitions: observations (B, *obs) float32, actions (int64 where discrete, else
            float32), rewards (B,) float32, next observations, and terminals (B,) bool.
        """
        torch = torch_for("QFunctionMetric")
        n = len(data["observations"])
        chosen = torch.randint(0, n, (self.batch_size,), generator=generator).numpy()
        states, actions, rewards, next_states, ends = (data[name][chosen] for name in _D4RL)
        return (
            self._states(states),
            self._acts(actions),
            torch.as_tensor(rewards, dtype=torch.float32, device=self.device),
            self._states(next_states),
            torch.as_tensor(ends, dtype=torch.bool, device=self.device),
        )

    def train_q_functions(self, data: Evaluated) -> _Network:
        """Return a network that was fitted to the data, beginning with the first weights again.

        Raises:
            UnfitDataError: There are no transitions.
            InvalidInputError: The spaces are composite, or the episodes have different shapes.
        """
        torch = torch_for("QFunctionMetric")
        arrays = data.convert_to_d4rl_format()
        if not len(arrays["rewards"]):
            raise UnfitDataError("there are no transitions to fit a Q-function to")
        network, target = deepcopy(self.q_function), deepcopy(self.q_function)
        policy = self.evaluation_policy
        if policy is not None:
            policy = ready(policy, self.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.lr)
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.iterations):
            s, a, r, s_next, ends = self.sample_batch(arrays, generator)
            with torch.no_grad():
                value = self._value(target, policy, s_next)
                wanted = r.reshape(-1, 1) + self.gamma * (~ends).reshape(-1, 1) * value
            loss = ((self._q(network, s, a) - wanted) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for own, followed in zip(target.parameters(), network.parameters(), strict=True):
                    own.lerp_(followed, self.tau)
        return network

    def _value(
        self, target: _Network, policy: Callable[..., Any] | None, s_next: _Tensor
    ) -> _Tensor:
        """V(s'), shape (B, 1)."""
        if policy is None:
            return target(s_next).max(dim=1, keepdim=True)[0]
        if self.discrete_actions:
            return (policy(s_next) * target(s_next)).sum(dim=1, keepdim=True)
        return self._q(target, s_next, policy(s_next).reshape(len(s_next), -1))

    def _q(self, network: _Network, states: _Tensor, actions: _Tensor) -> _Tensor:
        """Q(s, a), shape (B, 1)."""
        if self.discrete_actions:
            return network(states).gather(1, actions.reshape(-1, 1))
        torch = torch_for("QFunctionMetric")
        return network(torch.cat([states, actions], dim=-1))

    def _states(self, observations: NDArray[Any]) -> _Tensor:
        """Observations as a network takes them: float32 on the device, Discrete ones one-hot."""
        torch = torch_for("QFunctionMetric")
        space = self.observation_space
        if not isinstance(space, spaces.Discrete):
            return torch.as_tensor(observations, dtype=torch.float32, device=self.device)
        states = torch.as_tensor(observations - space.start, dtype=torch.int64, device=self.device)
        return torch.nn.functional.one_hot(states.reshape(-1), int(space.n)).float()

    def _acts(self, actions: NDArray[Any]) -> _Tensor:
        """Actions on the device: int64 counted from 0 where they are Discrete, else (B, A)."""
        torch = torch_for("QFunctionMetric")
        if isinstance(self.action_space, spaces.Discrete):
            numbers = np.asarray(actions - self.action_space.start, dtype=np.int64)
            return torch.as_tensor(numbers, device=self.device)
        flat = actions.reshape(len(actions), -1)
        return torch.as_tensor(flat, dtype=torch.float32, device=self.device)
