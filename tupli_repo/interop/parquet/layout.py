"""How episodes lie in Parquet: a row per step, in columns with RLlib's names.

``eps_id`` and ``t`` tell the episode and the step, ``obs`` what ``actions`` was taken in,
``new_obs`` what it led to, where that is known of all steps; ``rewards``, ``terminateds``,
``truncateds`` and ``infos`` came with that. So RLlib's reader
(``config.offline_data(input_=[PATH])``) takes the rows as they are. Arrays lie in them as
`values` says.

``infos`` is a struct with a field for each key that has numbers of one dtype and shape in all
episodes that have it in each step; it is missing in the others, or, where it has arrays, in none.
What else infos hold is canonical JSON in the field ``#json``. There is no such column where there
are no infos.

The metadata of a file tells under ``tupli_repo`` the spaces and the words of the benchmark, under
``tupli_repo.episodes`` what no step has: seeds, options, metadata and the like, of each episode in
the file; ``tupli_repo.sha256`` is of both and the columns' names. Pages have checksums.

Source: ray 2.60, ``rllib/core/columns.py`` and ``SCHEMA`` in
``rllib/offline/offline_prelearner.py``.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from tupli_repo.codec.values import dump_json, load_json
from tupli_repo.errors import CorruptObjectError

EPISODE, STEP, OBSERVATION, NEXT = "eps_id", "t", "obs", "new_obs"
ACTION, REWARD, TERMINATED, TRUNCATED = "actions", "rewards", "terminateds", "truncateds"
INFO, AGENT, MODULE, DONE = "infos", "agent_id", "module_id", "dones"
COLUMNS = (
    EPISODE, STEP, OBSERVATION, NEXT, ACTION, REWARD, TERMINATED, TRUNCATED, INFO, AGENT, MODULE,
    DONE,
)  # fmt: skip
OTHER_INFO = "#json"
"""The field of ``infos`` with what has no field of its own."""

SUFFIX = ".parquet"
_ABOUT, _EPISODES, _DIGEST = b"tupli_repo", b"tupli_repo.episodes", b"tupli_repo.sha256"
_FORMAT = 1
_KEPT = {
    "abandoned", "created_at", "created_by", "final_observation", "metadata", "n_steps", "nonce",
    "options", "reset_info", "rng", "seed",
}  # fmt: skip


def about_text(trees: tuple[Any, Any], benchmark: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Return what the metadata of each file tells of all episodes.

    Args:
        trees: The trees of the spaces of observations and actions.
        benchmark: What is said of the benchmark.

    Raises:
        EncodingError: It is too large.
    """
    told = {"format": _FORMAT, "spaces": list(trees), "benchmark": dict(benchmark)}
    return {_ABOUT: dump_json(told, name="benchmark")}


def episode_fields(oid: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the metadata of a file tells of an episode; what is not known is left out."""
    return {"id": oid} | {key: record[key] for key in _KEPT if record[key] is not None}


def episodes_text(
    about: Mapping[bytes, bytes], names: Sequence[str], fields: Sequence[bytes]
) -> dict[bytes, bytes]:
    """Return what the metadata of a file tells at its end.

    Args:
        about: What it tells already.
        names: The names of the file's columns.
        fields: What it shall tell of each episode, already as JSON.
    """
    text = b"[%s]" % b",".join(fields)
    return {_EPISODES: text, _DIGEST: _digest(about[_ABOUT], text, names)}


def read_about(metadata: Mapping[bytes, bytes] | None) -> tuple[Any, Any, dict[str, Any]] | None:
    """Return both trees and the words of the benchmark; None where the file is not one of ours.

    Raises:
        CorruptObjectError: It does not say so properly; the caller knows the file.
    """
    if metadata is None or _ABOUT not in metadata:
        return None
    told = load_json(metadata[_ABOUT])
    try:
        observation, action = told["spaces"]
        if told["format"] == _FORMAT:
            return observation, action, dict(told["benchmark"])
    except (KeyError, TypeError, ValueError):
        pass
    raise CorruptObjectError("its metadata does not tell the spaces")


def read_episodes(
    metadata: Mapping[bytes, bytes] | None, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return what is told of each episode, by its id; nothing where another wrote the file.

    Raises:
        CorruptObjectError: It is not what was written; the caller knows the file.
    """
    if metadata is None or _EPISODES not in metadata:
        return {}
    about, text = metadata.get(_ABOUT, b""), metadata[_EPISODES]
    if metadata.get(_DIGEST) != _digest(about, text, names):
        raise CorruptObjectError("its metadata is not what was written")
    return {one["id"]: one for one in load_json(text)}


def _digest(about: bytes, text: bytes, names: Sequence[str]) -> bytes:
    return sha256(b"\n".join([about, text, *map(str.encode, names)])).hexdigest().encode()
