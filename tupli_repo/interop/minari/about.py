"""What Minari is told of a dataset as a whole: its ``metadata.json``.

What Minari said of a dataset that was imported is said again. Of one that was recorded here it is
told what the benchmark says: its description, the specification of its environment where it has
one, and what of its ``metadata.extra`` has Minari's names.

Invariant: every field is of the type that Minari checks for.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import Space

from tupli_repo.codec.env import is_document, specification_of
from tupli_repo.codec.values import load_json
from tupli_repo.curation import REFERENCES
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.interop.minari.layout import FORMATS, has_images, json_of_space, space_of_json
from tupli_repo.schema import Benchmark

_VERSION = "0.5.4"
_DATASET_ID = re.compile(r"(?:[-_\w][-_\w/]*[-_\w]+/)?[-_\w]+?(?:-v\d+)?")
_OPAQUE = "opaque"


def dataset_id_of(text: str) -> str:
    """Check that a text may be the id of a dataset.

    Raises:
        InvalidInputError: It may not.
    """
    if not _DATASET_ID.fullmatch(text):
        raise InvalidInputError(
            f"'{text}' is no name for a Minari dataset", hint="for example 'cartpole/expert-v0'"
        )
    return text


def imported(benchmark: Benchmark) -> dict[str, Any]:
    """Return the metadata of the dataset that a benchmark stands for; none for another one."""
    if benchmark.env_format != _OPAQUE:
        return {}
    try:
        document = load_json(benchmark.serialized.encode())
    except (CorruptObjectError, ValueError):
        return {}
    if not isinstance(document, dict) or document.get("format") != "minari":
        return {}
    found: dict[str, Any] = document["metadata"]
    return found


def metadata_of(
    benchmark: Benchmark | None,
    observation_space: Space[Any],
    action_space: Space[Any],
    *,
    evaluation: str,
    dataset_id: str | None,
    default_id: str,
    data_format: str,
    left_out: list[str],
) -> dict[str, Any]:
    """Return what Minari shall be told; how much there is comes besides.

    Args:
        benchmark: What all the episodes are of; None where they are of several.
        observation_space: The space of the observations.
        action_space: The space of the actions.
        evaluation: The text of the benchmark's environment to evaluate in; empty where it has none.
        dataset_id: What Minari shall call it; what it was called when it was imported where None.
        default_id: What it is called otherwise.
        data_format: One of `FORMATS`.
        left_out: Takes what could not be told.

    Raises:
        InvalidInputError: The id, the format or a space is none of Minari's.
    """
    if data_format not in FORMATS:
        raise InvalidInputError(
            f"'{data_format}' is no format of Minari's", hint=f"it has {', '.join(FORMATS)}"
        )
    kept = imported(benchmark) if benchmark is not None else {}
    told: dict[str, Any] = {}
    if benchmark is None:
        left_out.append("what the benchmarks say of themselves, as there are several")
    elif not kept:
        told = _recorded(benchmark, evaluation, left_out)
    chosen = dataset_id_of(dataset_id or kept.get("dataset_id") or default_id)
    made = {"minari_version": _VERSION, "jpeg_encoding": True, **told}
    found = made | kept | {"dataset_id": chosen, "data_format": data_format}
    for name, space in (("observation_space", observation_space), ("action_space", action_space)):
        if name not in kept or space_of_json(kept[name]) != space:
            found[name] = json_of_space(space)
        if has_images(space):
            found["jpeg_encoding"] = False
    return found


def _recorded(benchmark: Benchmark, evaluation: str, left_out: list[str]) -> dict[str, Any]:
    """What a benchmark says that Minari has a field for."""
    words, found = benchmark.metadata, dict[str, Any]()
    if words.description:
        found["description"] = words.description
    for name, field in _FIELDS.items():
        if name in words.extra:
            value = field(words.extra[name])
            if value is None:
                left_out.append(f"'{name}' of the benchmark, which is not as Minari has it")
            else:
                found[name] = value
    environments = {
        "env_spec": ("the environment", benchmark.serialized),
        "eval_env_spec": ("the evaluation environment", evaluation),
    }
    for name, (what, text) in environments.items():
        try:
            if text:
                found[name] = _specification(text)
        except InvalidInputError as err:
            left_out.append(f"the specification of {what}: {err.message}")
    return found


def _specification(text: str) -> str:
    """The specification of the environment that a benchmark's text describes.

    Raises:
        InvalidInputError: None says it.
    """
    if not is_document(text):
        raise InvalidInputError("it is not known")
    return specification_of(text)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> list[str] | None:
    """One text or several, as Minari keeps them."""
    some = [value] if isinstance(value, str) else value
    if not isinstance(some, list | tuple | set | frozenset):
        return None
    return sorted(some) if all(isinstance(one, str) for one in some) else None


def _number(value: object) -> float | int | None:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return np.asarray(value).item() if is_number else None


_FIELDS: Mapping[str, Callable[[object], object]] = {
    "author": _texts,
    "author_email": _texts,
    "code_permalink": _text,
    "algorithm_name": _text,
    "requirements": _texts,
    "eval_env_spec": _text,
    "num_episodes_average_score": _number,
    **dict.fromkeys(REFERENCES, _number),
}
"""What Minari has a field for, and how it keeps what our benchmarks say of it."""
