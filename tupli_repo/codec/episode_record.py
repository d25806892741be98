"""The record of an episode: the small body of its object, and back.

Invariant: a record that decodes has every field, each of its type.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tupli_repo.codec.values import dump_json, load_json, load_json_list
from tupli_repo.errors import CorruptObjectError

FORMAT = 1
MAX_STEPS = 1 << 32
_DEFAULTS: dict[str, Any] = {
    "abandoned": False,
    "final_observation": False,
    "lengths": {},
    "metadata": {},
    "options": None,
    "reset_info": {},
    "rng": None,
    "seed": None,
    "terminated": False,
    "truncated": False,
}
"""What a record's body leaves out; each is false."""
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "abandoned": bool,
    "created_at": str,
    "created_by": str,
    "final_observation": bool,
    "lengths": dict,
    "metadata": dict,
    "n_steps": int,
    "options": (dict, type(None)),
    "reset_info": dict,
    "rng": (dict, type(None)),
    "seed": (int, type(None)),
    "terminated": bool,
    "truncated": bool,
}
"""The types of a record's fields."""
_RECORD_KEYS = {*_FIELDS, "format", "nonce"}
_PLAIN_TEXT = re.compile(r"[ !#-\[\]-~]*")
_INT64 = range(-(2**63), 2**63)
_DICTIONARIES = ("lengths", "metadata", "reset_info", "options", "rng")


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Return the body of an episode object; what has its default is left out."""
    plain = _plain_record(record) if record.keys() == _RECORD_KEYS else None
    if plain is not None:
        return plain
    kept = {key: value for key, value in record.items() if value or not _is_default(key, value)}
    return dump_json(kept, name="episode")


def _plain_record(record: Mapping[str, Any]) -> bytes | None:
    """The body of a record without dictionaries, in a fifth of the time; None where it has some."""
    at, user, nonce, seed = map(record.get, ("created_at", "created_by", "nonce", "seed"))
    has_more = [record[name] for name in _DICTIONARIES] != [{}, {}, {}, None, None]
    is_number = seed is None or (type(seed) is int and seed in _INT64)
    if has_more or not is_number or not _PLAIN_TEXT.fullmatch(f"{at}{user}{nonce}"):
        return None
    parts = (
        '"abandoned":true' * record["abandoned"],
        f'"created_at":"{at}","created_by":"{user}"',
        '"final_observation":true' * record["final_observation"],
        f'"format":{FORMAT},"n_steps":{record["n_steps"]},"nonce":"{nonce}"',
        "" if seed is None else f'"seed":{seed}',
        '"terminated":true' * record["terminated"],
        '"truncated":true' * record["truncated"],
    )
    return f"{{{','.join(filter(None, parts))}}}".encode()


def decode_record(body: bytes) -> dict[str, Any]:
    """Return the fields of an episode object's body, each present and of its type.

    Raises:
        CorruptObjectError: It is no such body; the caller knows the object.
    """
    return _checked(load_json(body))


def decode_records(bodies: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the fields of many records, each as `decode_record` gives them.

    Raises:
        CorruptObjectError: One is no such body; `decode_record` tells which.
    """
    return [_checked(value) for value in load_json_list(bodies)]


def _checked(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CorruptObjectError("an episode's record is malformed")
    record = {**_DEFAULTS, **value}
    types = tuple(map(type, map(record.get, _FIELDS)))
    if (wrong := _improper_field(types)) is not None:
        raise CorruptObjectError(f"an episode's record has no proper '{wrong}'")
    is_text = _is_unicode(record["created_at"]) and _is_unicode(record["created_by"])
    if not 0 < record["n_steps"] <= MAX_STEPS or not is_format(record) or not is_text:
        raise CorruptObjectError("an episode's record has impossible values")
    return record


@lru_cache(maxsize=1024)  # nearly all have the same
def _improper_field(types: tuple[type, ...]) -> str | None:
    """The first field of a record that has none of its types, by the types of all of them."""
    for found, (key, kind) in zip(types, _FIELDS.items(), strict=True):
        if not issubclass(found, kind):
            return key
    return None


def is_format(fields: Mapping[str, Any]) -> bool:
    """Whether it is of this format; an array, which may stand there, compares as no one value."""
    found = fields.get("format")
    return type(found) is int and found == FORMAT


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _is_default(key: str, value: Any) -> bool:
    if key not in _DEFAULTS or type(value) is not type(_DEFAULTS[key]):
        return False
    return not value
