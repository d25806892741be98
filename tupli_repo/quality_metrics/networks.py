"""`MLP`, the network a Q-function is fitted with, made when it is asked for.

Its base class is torch's, and torch need not be installed: without it, importing the name works and
making a network tells what is missing.
"""

from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from tupli_repo.optional import require


def torch_for(needed_for: str) -> ModuleType:
    """Return torch.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return require("torch", needed_for=needed_for)


class _Missing:
    """What `MLP` is without torch: making one tells so."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        torch_for("MLP")


@cache
def _mlp_class() -> type[Any]:
    if find_spec("torch") is None:
        return _Missing
    nn = torch_for("MLP").nn

    class MLP(nn.Module):  # type: ignore[misc, name-defined]
        """Layers one after the other, with ReLU between them.

        Args:
            in_dim: The size of what goes in: of the observation, and of the action where actions
                are continuous.
            out_dim: The size of what comes out: the number of actions, or 1.
            hidden: The sizes of the layers between.
        """

        def __init__(self, in_dim: int, out_dim: int, hidden: tuple[int, ...] = (256, 256)) -> None:
            super().__init__()
            layers: list[Any] = []
            size = in_dim
            for width in hidden:
                layers += [nn.Linear(size, width), nn.ReLU()]
                size = width
            self.net = nn.Sequential(*layers, nn.Linear(size, out_dim))

        def forward(self, x: Any) -> Any:  # noqa: ANN401 - a tensor
            """Return (B, out_dim) for (B, in_dim)."""
            return self.net(x)

    MLP.__qualname__ = "MLP"  # so that pickle finds it here
    return MLP


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class that type checkers cannot see
    if name != "MLP":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return _mlp_class()
