"""Environment classes that hold values of torch."""

from typing import Any

import numpy as np
import pytest

from tests.codec.env.custom_envs import Walk

torch: Any = pytest.importorskip("torch")
nn: Any = torch.nn


class Tensors(Walk):
    """Tensors of several kinds, and what belongs to them."""

    def __init__(self):
        super().__init__()
        self.terrain = torch.sin(torch.arange(3000, dtype=torch.float32) * 0.1).round(decimals=4)
        self.half = torch.arange(41).to(torch.bfloat16)
        self.mask, self.across = torch.eye(3, dtype=torch.bool), torch.arange(6.0).reshape(2, 3).t()
        self.device, self.kind, self.size = torch.device("cpu"), torch.float64, torch.Size([3, 2])
        self.state = torch.zeros(2)

    def begin(self):
        self.state = torch.tensor(self.np_random.normal(size=2))

    def gain(self, action):
        worth = self.terrain[self.t * 7] + self.half[self.t] + self.across[self.t % 3].sum()
        return float(worth) + float(self.mask[0, 0]) + float(self.state.sum()) + self.size[0]


def weights(shape, seed):
    """Return weights that do not depend on torch's version or the CPU."""
    return torch.from_numpy(np.random.default_rng(seed).integers(-8, 8, shape) / 8).float()


def fill(module):
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter.copy_(weights(tuple(parameter.shape), i))
    return module


class Policy(Walk):
    """An opponent made of torch's own layers; twelve of them, so that their order matters."""

    def __init__(self):
        super().__init__()
        layers = [layer for _ in range(6) for layer in (nn.Linear(2, 2), nn.ReLU())]
        self.opponent = fill(nn.Sequential(*layers)).eval()
        self.bias = nn.Parameter(torch.tensor([0.5]), requires_grad=False)

    def gain(self, action):
        with torch.no_grad():
            return float(self.opponent(torch.tensor([self.place, 1.0])).sum() + self.bias)


class Memory(nn.Module):  # type: ignore[misc]
    def __init__(self, width=3):
        super().__init__()
        self.width = width
        self.inner = nn.ModuleDict({"b": nn.Linear(1, width), "a": nn.Linear(width, 1)})
        self.register_buffer("scale", torch.tensor([2.0]), persistent=False)
        self.unused = None

    def forward(self, x):
        hidden = torch.relu(self.inner["b"](x))
        return self.inner["a"](hidden) * self.scale


class OwnModule(Walk):
    """A module of one's own class, held twice."""

    def __init__(self):
        super().__init__()
        self.net = fill(Memory())
        self.parts = {"net": self.net, "first": self.net.inner["b"].weight}

    def gain(self, action):
        with torch.no_grad():
            return float(self.net(torch.tensor([self.place]))) + float(self.parts["first"].sum())


class Learner(Walk):
    """Learns while it runs, and forgets at a reset."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def begin(self):
        with torch.no_grad():
            self.weight.zero_()
        self.weight.grad = None

    def gain(self, action):
        loss = (self.weight * self.place - 1.0).pow(2).sum()
        self.weight.grad = None
        loss.backward()
        with torch.no_grad():
            self.weight -= 0.01 * self.weight.grad
        return float(loss.detach())


class TorchNoise(Walk):
    """Has torch's generator, which each reset seeds."""

    def __init__(self):
        super().__init__()
        self.noise = torch.Generator().manual_seed(7)

    def begin(self):
        self.noise.manual_seed(int(self.np_random.integers(1 << 30)))

    def gain(self, action):
        return float(torch.rand(1, generator=self.noise))
