"""Settings: what a repository is, and what its user wants.

`RepositoryFormat` is `format.json`, written once. `Settings` are read from two small TOML files,
the repository's own `config.toml` and the user's; the repository's go before the user's.

Invariant: a file that does not parse is an error that names it, never a default in its place.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, Field

from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    StorageIOError,
    UnsupportedFormatError,
)
from tupli_repo.odb.files import FileSystem, RepositoryFiles, disk_errors, replace_file
from tupli_repo.odb.objects import shown

FORMAT = 1


class RepositoryFormat(BaseModel):
    """What `format.json` says: enough for a reader to know whether it can read the rest."""

    model_config = ConfigDict(frozen=True)

    tupli: int = FORMAT
    id: str = Field(default_factory=lambda: str(uuid4()))
    role: Literal["work", "bare"] = "work"
    hash: Literal["sha256"] = "sha256"
    requires: tuple[str, ...] = ()

    def dump(self) -> bytes:
        """Return the file's bytes."""
        return (json.dumps(self.model_dump(mode="json"), sort_keys=True) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes, path: Path) -> "RepositoryFormat":
        """Return what the bytes of `format.json` say.

        Raises:
            UnsupportedFormatError: A newer version wrote the repository, or one from before the
                format was settled.
            CorruptObjectError: They are malformed.
        """
        try:
            fields = json.loads(data)
            version, requires = fields["tupli"], fields.get("requires", [])
            needs = ", ".join(map(shown, requires))
            is_other = version > FORMAT or version < FORMAT or bool(requires)
            found = None if is_other else cls.model_validate(fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CorruptObjectError(
                "it does not describe a repository",
                path=path,
                hint="restore the file from a copy of the repository",
            ) from None
        if found is None:
            more = f"{shown(version)}, which needs {needs}" if needs else shown(version)
            raise UnsupportedFormatError(
                f"'{path.parent}' has format {more}; this version reads format {FORMAT}",
                hint="pip install -U tupli-repo"
                if needs or version > FORMAT
                else "it is from before the first release: record it anew",
            )
        return found


class Setting(NamedTuple):
    """One key that can be set."""

    key: str
    meaning: str
    kind: type


SETTINGS = {
    setting.key: setting
    for setting in (
        Setting("user.name", "who records and stores; else the login", str),
        Setting("record.sync_interval_s", "seconds between fsyncs while a wrapper records", float),
        Setting("read.verify_always", "whether all is hashed each time: true or false", bool),
        Setting("cache.enabled", "whether loaded datasets are kept: true or false", bool),
        Setting("cache.max_bytes", "what kept datasets may take; yours (--user) counts", int),
    )
}
"""Every key there is, beside ``remote.NAME.url``; the only ones that are accepted."""

_BOOLS = {"true": True, "false": False}
_REMOTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Settings(BaseModel):
    """The settings in force.

    Attributes:
        user_name: The author of what is recorded and stored.
        sync_interval_s: While a wrapper records, at most this many seconds pass between fsyncs.
        verify_always: Whether data that is read is held against its SHA-256 each time, not only the
            first time after its file changed.
        cache_enabled: Whether loaded datasets are kept, and those that were kept are used.
        cache_max_bytes: What kept datasets may take; None where the user has set no limit.
    """

    model_config = ConfigDict(frozen=True)

    user_name: str
    sync_interval_s: float = 1.0
    verify_always: bool = False
    cache_enabled: bool = True
    cache_max_bytes: int | None = None


class SettingsFile:
    """One TOML file of settings, as dotted keys.

    Args:
        path: The file; it need not exist.
        fs: The primitives for a file in a repository, where no link is followed; None for the
            user's own, which may be one.
    """

    def __init__(self, path: Path, *, fs: FileSystem | None = None) -> None:
        self.path = path
        self._fs = fs

    def read(self) -> dict[str, Any]:
        """Return the settings that are set, by dotted key.

        Raises:
            InvalidInputError: The file does not parse, or holds a key or value that is not right.
            StorageIOError: It cannot be read.
        """
        try:
            text = self._bytes()
        except FileNotFoundError:
            return {}
        try:
            tree = tomllib.loads(text.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            raise InvalidInputError(
                f"'{self.path}' is not TOML: {err}", hint="mend the file or remove it"
            ) from None
        found: dict[str, Any] = {}
        for key, value in _flat(tree, ""):
            if key not in SETTINGS and _remote_name(key) is None:
                raise InvalidInputError(
                    f"'{self.path}' has '{key}', which is not a setting",
                    hint=f"the settings are {', '.join(SETTINGS)}",
                )
            found[key] = _checked(key, value, f"'{self.path}'")
        return found

    def remotes(self) -> dict[str, str]:
        """Return where each remote is, by its name, sorted.

        Raises:
            InvalidInputError: The file is malformed.
            StorageIOError: It cannot be read.
        """
        found = ((_remote_name(key), url) for key, url in self.read().items())
        return dict(sorted((name, url) for name, url in found if name is not None))

    def changed(self, key: str, value: str | None) -> bytes:
        """Return the file's bytes with ``key`` set to the value of a text, or unset where None.

        Raises:
            InvalidInputError: There is no such key, or the value is not right.
        """
        values = self.read()
        if value is None:
            values.pop(_known(key).key, None)
        else:
            values[key] = _checked(key, _convert(key, value), "the value")
        lines: list[str] = []
        for section in sorted({name.rpartition(".")[0] for name in values}):
            lines.append(f"[{section}]")
            here = sorted(name for name in values if name.rpartition(".")[0] == section)
            lines += [f"{name.rpartition('.')[2]} = {_toml(values[name])}" for name in here]
            lines.append("")
        return "\n".join(lines).encode()

    def set(self, key: str, value: str | None) -> None:
        """Set ``key`` to the value of a text, or unset it where None; durable when this returns.

        Raises:
            InvalidInputError: There is no such key, or the value is not right.
            StorageIOError: The operating system refused; the file is as it was.
        """
        replace_file(self.path, self.changed(key, value), fs=self._fs)

    def _bytes(self) -> bytes:
        if self._fs is not None:
            return RepositoryFiles(self.path.parent, self._fs).read(self.path)
        try:
            with disk_errors("read", self.path):
                return self.path.read_bytes()
        except StorageIOError as err:
            if isinstance(err.__cause__, FileNotFoundError):
                raise err.__cause__ from None
            raise


def user_settings_file() -> SettingsFile:
    """Return the user's own settings."""
    return SettingsFile(user_config_path("tupli", appauthor=False) / "config.toml")


def effective_settings(repository: SettingsFile | None = None) -> Settings:
    """Return the settings in force in a repository, or where there is none.

    The cache is the user's: a repository may stay out of it, and has no say in its size.

    Raises:
        InvalidInputError: A settings file is malformed.
    """
    own = user_settings_file().read()
    here = {} if repository is None else repository.read()
    values = {**own, **here}
    named = {
        "user_name": values.get("user.name") or _login(),
        "sync_interval_s": values.get("record.sync_interval_s", 1.0),
        "verify_always": any(file.get("read.verify_always", False) for file in (own, here)),
        "cache_enabled": all(file.get("cache.enabled", True) for file in (own, here)),
        "cache_max_bytes": own.get("cache.max_bytes"),
    }
    return Settings.model_validate(named)


def _login() -> str:
    try:
        return getuser() or "unknown"
    except (OSError, KeyError, ImportError):  # no such user in the password database
        return "unknown"


def remote_key(name: str) -> str:
    """Return the setting that says where a remote is.

    Raises:
        InvalidInputError: It cannot be the name of a remote.
    """
    if not _REMOTE_NAME.fullmatch(name):
        raise InvalidInputError(
            f"'{name}' cannot be the name of a remote",
            hint="letters, digits, '_' and '-', beginning with a letter or digit",
        )
    return f"remote.{name}.url"


def _remote_name(key: str) -> str | None:
    first, _, rest = key.partition(".")
    name, _, last = rest.rpartition(".")
    is_remote = (first, last) == ("remote", "url") and _REMOTE_NAME.fullmatch(name)
    return name if is_remote else None


def _flat(tree: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    """The values of a tree of tables, by dotted key."""
    for name, value in tree.items():
        key = f"{above}.{name}" if above else name
        if isinstance(value, dict) and value:
            yield from _flat(value, key)
        else:
            yield key, value


def _known(key: str) -> Setting:
    if _remote_name(key) is not None:
        return Setting(key, "the folder or bundle to exchange with", str)
    setting = SETTINGS.get(key)
    if setting is None:
        raise InvalidInputError(
            f"'{key}' is not a setting", hint=f"the settings are {', '.join(SETTINGS)}"
        )
    return setting


def _convert(key: str, text: str) -> Any:  # noqa: ANN401 - of the key's type
    kind = _known(key).kind
    try:
        return _BOOLS[text] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise InvalidInputError(
            f"'{text}' is not a {kind.__name__}, which '{key}' takes", hint=_known(key).meaning
        ) from None


def _toml(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return json.dumps(value)
    return repr(value)


def _checked(key: str, value: object, where: str) -> object:
    kind = _known(key).kind
    number = kind is float and isinstance(value, int) and not isinstance(value, bool)
    is_of_kind = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not is_of_kind and not number:
        raise InvalidInputError(
            f"{where} has a {type(value).__name__} for '{key}'", hint=_known(key).meaning
        )
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidInputError(f"{where} for '{key}' is not Unicode text")
    if isinstance(value, str) and (not value.strip() or not value.isprintable()):
        raise InvalidInputError(f"{where} for '{key}' is empty or not one line")
    if kind in (float, int) and not float(value) >= 0:  # type: ignore[arg-type]  # checked above
        raise InvalidInputError(
            f"'{key}' is {value}, and must be 0 or more", hint=_known(key).meaning
        )
    return value
