"""An environment to evaluate in, kept beside the one a benchmark is of.

It is the text of an environment document in an artifact that the benchmark links. So it is shared,
checked and kept with the benchmark, and one text is kept once.

Invariant: what is read is the text that was stored; nothing is decoded.
"""

import warnings
from typing import Any

from gymnasium import Env

from tupli_repo.codec.env.document import one_line
from tupli_repo.errors import CorruptObjectError, NotFoundError
from tupli_repo.schema import ArtifactMetadata, Benchmark
from tupli_repo.storage import TupliStorage


def store_evaluation(storage: TupliStorage, text: str, *, name: str) -> str:
    """Store the text of an environment to evaluate in; returns the id of its artifact.

    Args:
        storage: Where the benchmark goes.
        text: The environment as text.
        name: The name of the benchmark.

    Raises:
        StorageIOError: The disk refused.
    """
    words = ArtifactMetadata(
        name=f"{name}-eval", description=f"environment to evaluate '{name}' in"
    )
    return storage.store_artifact(text.encode(), words).id


def evaluation_text(storage: TupliStorage, benchmark: Benchmark) -> str:
    """Return the text of the environment to evaluate in that was stored with a benchmark.

    Raises:
        NotFoundError: None was, or it is not here.
        CorruptObjectError: It is damaged.
    """
    if not benchmark.evaluation:
        raise NotFoundError(
            f"benchmark '{benchmark.metadata.name}' has no evaluation environment",
            hint="store(name, eval_env=env) stores one beside it; that is another benchmark",
        )
    try:
        return storage.load_artifact(benchmark.evaluation).decode()
    except UnicodeDecodeError:
        raise CorruptObjectError(
            f"artifact '{benchmark.evaluation[:12]}' is damaged: no text"
        ) from None


def warn_unlike(env: Env[Any, Any], eval_env: Env[Any, Any]) -> None:
    """Warn where a policy of one environment does not fit the other, by its spaces."""
    for name in ("observation_space", "action_space"):
        ours, theirs = getattr(env, name), getattr(eval_env, name)
        if ours != theirs:
            warnings.warn(
                f"the evaluation environment has another {name}: {one_line(theirs)}, where the"
                f" environment has {one_line(ours)}",
                stacklevel=4,
            )
