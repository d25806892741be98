"""Episodes of rich spaces for LeRobot, and its files as anyone may read them, by pyarrow alone."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from gymnasium import spaces
from numpy.typing import NDArray

from tests.handover.episodes import benchmark
from tupli_repo import Repository, Steps

RICH = spaces.Dict(
    agent_pos=spaces.Box(-1, 1, (3,), np.float32),
    pixels=spaces.Box(0, 255, (24, 17, 3), np.uint8),
    goal=spaces.Discrete(7),
    mission=spaces.Text(20),
    grid=spaces.Box(0, 9, (4, 5), np.int16),
    stack=spaces.Box(0, 255, (2, 6, 5), np.uint8),
    height=spaces.Box(0, 1, (), np.float64),
    arms=spaces.Tuple([spaces.MultiBinary(2), spaces.MultiDiscrete([3, 4, 5])]),
)
ACTION = spaces.Box(-1, 1, (2,), np.float64)
RICH_NAMES = {
    "agent_pos": "observation.agent_pos",
    "pixels": "observation.images.pixels",
    "goal": "observation.goal",
    "mission": "observation.mission",
    "grid": "observation.grid",
    "stack": "observation.stack",
    "height": "observation.height",
}


class Seen(NamedTuple):
    """What the loop saw in an episode."""

    observations: list[Any]
    actions: list[Any]
    rewards: NDArray[np.float64]
    infos: list[dict[str, Any]]


def record_rich(storage: Repository, lengths: tuple[int, ...] = (4, 1, 130)) -> list[Seen]:
    """Record episodes of `RICH` that terminate in their last steps."""
    oid, seen = benchmark(storage, "rich"), []
    RICH.seed(0)
    ACTION.seed(0)
    for episode, n in enumerate(lengths):
        one = Seen(
            [RICH.sample() for _ in range(n + 1)],
            [ACTION.sample() for _ in range(n)],
            np.random.default_rng(episode).normal(size=n),
            [{"is_success": t == n - 1, "dist": t / 3, "pos": np.full(2, t)} for t in range(n)],
        )
        seen.append(one)
        steps = Steps(
            observations=one.observations, actions=one.actions, rewards=one.rewards,
            terminated=np.arange(n) == n - 1, truncated=np.zeros(n, bool), infos=one.infos,
            seed=episode, created_at=f"2026-01-01T00:00:0{episode}.000000Z",
        )  # fmt: skip
        storage.record(steps, oid, observation_space=RICH, action_space=ACTION)
    return seen


def document(root: Path, name: str) -> dict[str, Any]:
    """Return a document of a dataset."""
    found: dict[str, Any] = json.loads((root / "meta" / name).read_text(encoding="utf-8"))
    return found


def frames(root: Path) -> list[dict[str, Any]]:
    """Return the rows of all data files, in the order of their names."""
    return _rows(root / "data")


def episodes(root: Path) -> list[dict[str, Any]]:
    """Return the rows of all files of episodes, in the order of their names."""
    return _rows(root / "meta" / "episodes")


def pixels(image: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a PNG file of 8-bit colours, whichever filters its rows have."""
    at, about, body = 8, b"", b""
    while at < len(image):
        (size,), kind = struct.unpack(">I", image[at : at + 4]), image[at + 4 : at + 8]
        content = image[at + 8 : at + 8 + size]
        (check,) = struct.unpack(">I", image[at + 8 + size : at + 12 + size])
        assert check == zlib.crc32(kind + content)
        about, body = content if kind == b"IHDR" else about, body + content * (kind == b"IDAT")
        at += 12 + size
    width, height, bits, colour = struct.unpack(">IIBB", about[:10])
    assert (bits, colour) == (8, 2)
    raw = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + 3 * width)
    found = np.zeros((height + 1, 3 * width), np.uint8)
    for row in range(height):
        assert raw[row, 0] in (0, 2)
        found[row + 1] = raw[row, 1:] + (found[row] if raw[row, 0] == 2 else 0)
    return found[1:].reshape(height, width, 3)


def _rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("*/*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]
