"""What can still be read of a damaged `format.json` or `config.toml`.

Invariant: what is written anew says nothing that the damaged file did not say, but what it must.
"""

import json
import re
import tomllib
from contextlib import suppress

from tupli_repo.config import SETTINGS, RepositoryFormat, remote_key
from tupli_repo.errors import InvalidInputError

_ID = re.compile(rb'"([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})"')
_REMOTE = re.compile(r"remote\.([A-Za-z0-9_-]+)\.url")


def salvaged_format(data: bytes) -> bytes:
    """Return a `format.json` with what is left of a damaged one.

    A repository whose role is lost is a work repository: there every record counts, so that
    nothing in it is hidden or cleaned away.
    """
    found = _ID.search(data)
    fields = {"role": "bare" if b'"bare"' in data else "work"}
    if found is not None:
        fields["id"] = found[1].decode()
    return RepositoryFormat.model_validate(fields).dump()


def salvaged_settings(data: bytes) -> bytes:
    """Return a `config.toml` of the lines that can still be read; no settings for no lines."""
    section, lines = "", list[str]()
    seen: set[str] = set()
    for line in data.decode(errors="replace").splitlines():
        if line.startswith("["):
            section = line.strip()
            continue
        key = _setting(section, line)
        if key is not None and key not in seen:
            seen.add(key)
            name, _, value = line.partition("=")
            lines += [f"[{key.rpartition('.')[0]}]", f"{name.strip()} = {value.strip()}", ""]
    return _joined(lines)


def _joined(lines: list[str]) -> bytes:
    """The lines, those of one section together."""
    sections: dict[str, list[str]] = {}
    for section, line in zip(lines[::3], lines[1::3], strict=True):
        sections.setdefault(section, []).append(line)
    text = "\n".join("\n".join([name, *held, ""]) for name, held in sorted(sections.items()))
    return text.encode()


def _setting(section: str, line: str) -> str | None:
    """The dotted key that one line sets; None where it sets none that is known."""
    try:
        tree: object = tomllib.loads(f"{section}\n{line}")
    except tomllib.TOMLDecodeError:
        return None
    key = ""
    while isinstance(tree, dict) and len(tree) == 1:
        ((name, tree),) = tree.items()
        key = f"{key}.{name}" if key else name
    remote = _REMOTE.fullmatch(key)
    if remote is not None:
        with suppress(InvalidInputError):
            is_path = isinstance(tree, str) and tree.strip() and tree.isprintable()
            return remote_key(remote[1]) if is_path else None
    if key not in SETTINGS or not isinstance(tree, SETTINGS[key].kind) or isinstance(tree, bool):
        return None
    is_right = tree >= 0 if isinstance(tree, float) else bool(json.dumps(tree).strip('" '))
    return key if is_right and "\n" not in line else None
