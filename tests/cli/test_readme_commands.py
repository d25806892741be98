"""The README's commands and Python blocks, played in the order in which they stand there."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import pytest

from tupli_repo import FileStorage, TupliEnvWrapper
from tupli_repo.cli import run
from tupli_repo.schema import ArtifactMetadata

README = Path(__file__).parent.parent.parent / "README.md"
DRIVE = "/mnt/lab"  # what stands for a drive in the README
PIN = "paper-fig3"
SETTING_UP = re.compile(r"python3 -m venv \.venv && \.venv/bin/pip install [^&]+ && \.venv/bin/\w+")


class Block(NamedTuple):
    language: str
    text: str


def blocks() -> Iterator[Block]:
    """The README's blocks of commands and of Python; those that set up a fresh clone aside."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    for language, text in fence.findall(README.read_text(encoding="utf-8")):
        first = text.splitlines()[0]
        if language and not SETTING_UP.match(first):  # .ci/run plays those, each in a fresh clone
            yield Block(language, text)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with the user's settings and a drive beside it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    (tmp_path / "drive").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def another_benchmark() -> str:
    with FileStorage() as storage:
        env = TupliEnvWrapper(gymnasium.make("Pendulum-v1", g=9.0), storage)
        return env.store("lighter pendulum")


def a_benchmark() -> str:
    return FileStorage().list_benchmarks()[0].id


def an_episode() -> str:
    return FileStorage().list_episodes()[0].id


def an_artifact() -> str:
    with FileStorage() as storage:
        return storage.store_artifact(b"wind\n", ArtifactMetadata(name="wind.csv")).id


IDS: dict[str, list[Callable[[], str]]] = {
    "diff": [a_benchmark, another_benchmark],
    "replay": [a_benchmark],
    "show": [an_episode],
    "cat": [an_artifact],
    "remove": [an_episode],
    "restore": [lambda: FileStorage().removed()[0][1]],
}
"""What the README's ID stands for, command by command."""


class Shell:
    """Plays a line of the README as a shell would, with our command line in this process."""

    def __init__(
        self, drive: Path, capfd: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self._drive = drive
        self._capfd = capfd
        self._patch = patch
        self.played: list[str] = []

    def play(self, line: str) -> None:
        words = shlex.split(line.replace(DRIVE, str(self._drive)), comments=True)
        words = [FileStorage().release(PIN).digest if word == "DIGEST" else word for word in words]
        match words:
            case []:
                return
            case ["cd", folder]:
                self._patch.chdir(folder)
            case ["eval", inner] if inner.startswith("$(tupli ") and inner.endswith(")"):
                assert "_TUPLI_COMPLETE" in self.tupli(line, shlex.split(inner[2:-1])[1:])
            case ["tupli", *arguments, ">", file]:
                Path(file).write_text(self.tupli(line, arguments))
            case ["tupli", *arguments]:
                self.tupli(line, arguments)
            case _:
                pytest.fail(f"the README has a command that nothing plays: {line}")

    def tupli(self, line: str, arguments: list[str]) -> str:
        """Run a command, each ID in it being one of its kind; returns what it printed."""
        ids = iter(IDS.get(arguments[0], []))
        arguments = [next(ids)() if word == "ID" else word for word in arguments]
        self._capfd.readouterr()
        status = run(arguments)
        out, err = self._capfd.readouterr()
        assert status == 0, f"{line}: {err}"
        assert "warning:" not in err, line
        self.played.append(line)
        return out


def test_every_command_in_the_readme_works_in_the_order_given(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    shell = Shell(project.parent / "drive", capfd, monkeypatch)
    names: dict[str, Any] = {}
    for block in blocks():
        match block.language:
            case "sh":
                for line in block.text.splitlines():
                    shell.play(line)
            case "python":
                exec(block.text, names)
            case other:
                pytest.fail(f"the README has a block of '{other}', which nothing plays")
    assert len(shell.played) >= 25
    assert (project / "swing" / "wind.csv").read_text() == "wind\n"
    mine, theirs = FileStorage(project), FileStorage(project / "swing")
    revisions = [{item.revision for item in side.log()} for side in (mine, theirs)]
    assert revisions[0] >= revisions[1]
    assert len(revisions[1]) == 3
    assert len(mine.episode_headers()) == 10


def test_a_command_that_nothing_plays_is_told(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    shell = Shell(project, capfd, monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="nothing plays"):
        shell.play("git push")
    with pytest.raises(AssertionError, match="no such command"):
        shell.play("tupli shove")
