"""``tupli trust``: what it prints, its JSON, its failures."""

from pathlib import Path

import pytest

from tests.cli.calling import Tupli
from tupli_repo.repository import Repository

WINDY = "my_envs.windy.WindyEnv"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty repository, as the working folder of a user who has granted nothing."""
    Repository.init(tmp_path / "project").close()
    monkeypatch.chdir(tmp_path / "project")


def test_granting_tells_what_is_new_and_what_was_there(tupli: Tupli):
    done = tupli("trust", WINDY)
    assert (done.status, done.out, done.err) == (0, f"granted {WINDY}\n", "")
    done = tupli("trust", "other.*", WINDY, "other.*")
    assert (done.status, done.out) == (0, f"granted other.*\nalready {WINDY}\n")
    assert Repository().trusted() == (WINDY, "other.*")


def test_granting_as_json(tupli: Tupli):
    tupli("trust", WINDY)
    assert tupli("trust", WINDY, "other.*", "--json").json == [
        {"name": WINDY, "new": False},
        {"name": "other.*", "new": True},
    ]


def test_the_list_of_what_is_granted(tupli: Tupli):
    assert tupli("trust").out == "name\tcovers\n"
    assert tupli("trust", "--list", "--json").json == []
    tupli("trust", "other.*", WINDY)
    for arguments in ([], ["--list"]):
        done = tupli("trust", *arguments)
        assert done.out == f"name\tcovers\n{WINDY}\titself\nother.*\tits classes\n"
        assert tupli("trust", *arguments, "--json").json == [{"name": WINDY}, {"name": "other.*"}]


def test_removing_all_or_none(tupli: Tupli):
    tupli("trust", "other.*", WINDY)
    done = tupli("trust", "--remove", WINDY, "third.*")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: 'third.*' is not granted here\nhint: ")
    assert tupli("trust", "--remove", WINDY).out == f"removed {WINDY}\n"
    assert tupli("trust", "--remove", "other.*", "--json").json == [{"name": "other.*"}]
    assert tupli("trust", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["os.system"], "'os.system' can never be trusted"),
        (["no-name"], "'no-name' is not a name to trust"),
        ([""], "'' is not a name to trust"),
        (["a." + "b" * 400], "is not a name to trust"),
        (["numpy.*"], "'numpy.*' is too wide to trust"),
        (["--remove"], "which name to remove is not said"),
        (["--list", WINDY], "'--list' takes no NAME"),
        (["--list", "--remove"], "'--list' takes no NAME"),
    ],
)
def test_what_cannot_be_granted_or_meant_is_exit_2_with_a_hint(
    tupli: Tupli, arguments: list[str], message: str
):
    done = tupli("trust", *arguments)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "hint: " in done.err
    assert tupli("trust", *arguments, "--json").json["error"]["exit_status"] == 2
    assert tupli("trust", "--json").json == []


def test_without_a_repository_it_is_exit_10(
    tupli: Tupli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for arguments in ([], [WINDY], ["--remove", WINDY]):
        assert tupli("trust", *arguments).status == 10


def test_the_help_ends_with_the_exit_statuses(tupli: Tupli):
    text = " ".join(tupli("trust", "--help").out.split())
    assert "--json" in text
    assert "Exit status: 0 done, 1" in text


def test_a_wildcard_that_the_shell_has_put_a_file_in_place_of_is_told(tupli: Tupli):
    Path("my_envs.py").touch()
    done = tupli("trust", "my_envs.py")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: 'my_envs.py' is a file here")
    assert Repository().trusted() == ()
