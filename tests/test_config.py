"""Settings: two small files, which goes first, and what is refused."""

import getpass
import tomllib
from pathlib import Path

import pytest

from tests.test_storage import episode, query
from tupli_repo.config import (
    SETTINGS,
    RepositoryFormat,
    SettingsFile,
    effective_settings,
    user_settings_file,
)
from tupli_repo.errors import InvalidInputError, StorageIOError
from tupli_repo.repository import Repository


@pytest.fixture(autouse=True)
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's settings file, which does not exist yet, in a folder that does."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    path = user_settings_file().path
    assert path.is_relative_to(tmp_path)
    path.parent.mkdir(parents=True)
    return path


def repository_file(tmp_path: Path, text: str = "") -> SettingsFile:
    path = tmp_path / "config.toml"
    if text:
        path.write_text(text)
    return SettingsFile(path)


def test_without_files_the_login_is_the_author(tmp_path):
    settings = effective_settings(repository_file(tmp_path))
    assert settings.user_name == getpass.getuser()
    assert settings.sync_interval_s == 1.0


def test_without_a_login_the_author_is_unknown(tmp_path, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    assert effective_settings(repository_file(tmp_path)).user_name == "unknown"


def test_the_repositorys_settings_go_before_the_users(tmp_path, user_file):
    user_file.write_text('[user]\nname = "ada"\n[record]\nsync_interval_s = 5\n')
    assert effective_settings(repository_file(tmp_path)).user_name == "ada"
    settings = effective_settings(repository_file(tmp_path, '[user]\nname = "grace"\n'))
    assert settings.user_name == "grace"
    assert settings.sync_interval_s == 5


def test_the_author_stands_in_what_is_stored(tmp_path, user_file):
    user_file.write_text('[user]\nname = "Ada Lovelace é"\n')
    repository = Repository.init(tmp_path)
    benchmark = repository.store_benchmark(query())
    header = repository.record_episode(episode(benchmark.id))
    assert benchmark.created_by == header.created_by == "Ada Lovelace é"
    assert [h.created_by for h in repository.list_episodes()] == ["Ada Lovelace é"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[user", "TOML"),
        ("user.name = ", "TOML"),
        ("[user]\nname = 1\n", "user.name"),
        ("[user]\nnick = 'ada'\n", "user.nick"),
        ("user = 'ada'\n", "'user'"),
        ("[user.name]\nfirst = 'ada'\n", "user.name"),
        ("[remote.origin]\n", "remote.origin"),
        ("[record]\nsync_interval_s = 'soon'\n", "sync_interval_s"),
        ("[record]\nsync_interval_s = -1\n", "sync_interval_s"),
        ("[record]\nsync_interval_s = nan\n", "sync_interval_s"),
        ("[record]\nsync_interval_s = true\n", "sync_interval_s"),
    ],
)
def test_a_file_that_is_not_right_is_named_and_never_ignored(tmp_path, text, words):
    file = repository_file(tmp_path, text)
    with pytest.raises(InvalidInputError, match=words):
        effective_settings(file)


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError, match=r"config\.toml"):
        repository_file(tmp_path).read()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(StorageIOError, match=r"config\.toml"):
        repository_file(tmp_path).read()


def test_a_repository_with_bad_settings_does_not_open(tmp_path, user_file):
    Repository.init(tmp_path)
    user_file.write_text("[user\n")
    with pytest.raises(InvalidInputError, match=r"config\.toml"):
        Repository(tmp_path)


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\x00", "\x7f", "\x1b[31m"])
def test_a_name_is_one_line_of_text(tmp_path, value):
    with pytest.raises(InvalidInputError, match="is empty or not one line"):
        SettingsFile(tmp_path / "config.toml").changed("user.name", value)


@pytest.mark.parametrize(
    "value",
    ["ada", 'with "quotes" and \\', "é ☃ 🎈", " x ", "'''", "[x]"],
)
def test_any_name_that_is_set_is_read_again(tmp_path, value):
    file = repository_file(tmp_path, "[record]\nsync_interval_s = 2\n")
    file.path.write_bytes(file.changed("user.name", value))
    assert file.read() == {"user.name": value, "record.sync_interval_s": 2}
    tomllib.loads(file.path.read_text(encoding="utf-8"))
    file.path.write_bytes(file.changed("user.name", None))
    assert file.read() == {"record.sync_interval_s": 2}


@pytest.mark.parametrize("text", ["0", "2.5", "1e-7", "1e300", "inf"])
def test_any_number_that_is_set_is_read_again(tmp_path, text):
    file = repository_file(tmp_path)
    file.path.write_bytes(file.changed("record.sync_interval_s", text))
    assert file.read() == {"record.sync_interval_s": float(text)}
    assert effective_settings(file).sync_interval_s == float(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("user.nick", "x"),
        ("user", "x"),
        ("", "x"),
        ("user.nick", None),
        ("record.sync_interval_s", "soon"),
        ("record.sync_interval_s", "-1"),
        ("record.sync_interval_s", "nan"),
        ("user.name", "\ud800"),
    ],
)
def test_what_is_not_a_setting_is_not_set(tmp_path, key, value):
    with pytest.raises(InvalidInputError) as raised:
        repository_file(tmp_path).changed(key, value)
    if key not in SETTINGS:
        assert "user.name" in raised.value.hint


def test_the_format_file_says_what_it_was_given(tmp_path):
    made = RepositoryFormat(role="bare")
    assert RepositoryFormat.parse(made.dump(), tmp_path) == made
    assert made.id != RepositoryFormat().id
