"""The command line: parse, call one method of `Repository`, print what it returned.

The only floor that reads the environment, prints, or exits. Each command lives in a module that is
imported when the command is used, so that ``tupli --help`` starts at once.

Exit statuses: 0 done, 1 failed, 2 usage, 3 findings or partly done, 10 no repository, 11 locked,
12 corrupt, 13 untrusted, 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NamedTuple

import click

from tupli_repo.cli.app import App
from tupli_repo.errors import TupliError

_DEBUG = "TUPLI_DEBUG"


class _Home(NamedTuple):
    """Where a command lives, and what the overview says of it."""

    module: str
    short_help: str


_COMMANDS = {
    "annotate": _Home("annotate", "Add metadata to episodes that were recorded"),
    "bundle": _Home("exchange", "Put revisions into one file, to mail or to attach to a paper"),
    "cache": _Home("cache", "Show, check or empty the cache of loaded datasets"),
    "cat": _Home("inspect", "Write an artifact's bytes, or any object's body, to stdout"),
    "clone": _Home("exchange", "Make a repository that has all another one publishes"),
    "completion": _Home("upkeep", "Print what makes a shell complete tupli's commands"),
    "config": _Home("edit", "Show or change settings"),
    "demo": _Home("demo", "Take the tour: real episodes, recorded, loaded back and shared"),
    "diff": _Home("diff", "Tell what differs between two benchmarks"),
    "doctor": _Home("doctor", "Tell what a folder or drive can do, and what follows"),
    "du": _Home("upkeep", "Tell what takes how much space"),
    "export": _Home("interop", "Write episodes in the format of another project"),
    "fetch": _Home("exchange", "Bring what others published, without uniting it"),
    "gc": _Home("cleaning", "Remove what nothing leads to, and merge small packs"),
    "fsck": _Home("checking", "Check that everything is whole, and repair it"),
    "import": _Home("interop", "Take episodes over from another project's files"),
    "init": _Home("edit", "Make a repository"),
    "list": _Home("inspect", "List benchmarks, episodes, artifacts or names"),
    "log": _Home("naming", "Tell what was published, revision by revision"),
    "metrics": _Home("metrics", "Tell how good a dataset is for learning from it"),
    "pin": _Home("naming", "Freeze a set of episodes under a name"),
    "play": _Home("play", "Play a benchmark with the keyboard, recording"),
    "publish": _Home("naming", "Publish a benchmark, its episodes, an artifact or a pin"),
    "pull": _Home("exchange", "Bring what others published"),
    "push": _Home("exchange", "Send what is published to others"),
    "remote": _Home("remotes", "Tell, add, remove or rename the repositories to exchange with"),
    "remove": _Home("edit", "Hide benchmarks, episodes or artifacts here"),
    "replay": _Home("replay", "Run recorded episodes again and compare"),
    "restore": _Home("edit", "Bring back what was removed"),
    "show": _Home("inspect", "Show one benchmark, episode, artifact or revision"),
    "status": _Home("upkeep", "Tell what the repository holds"),
    "sync": _Home("exchange", "Pull, then push"),
    "trust": _Home("trust", "Grant names whose code may run when an environment is loaded"),
    "unpublish": _Home("naming", "Take back what was published"),
    "yank": _Home("naming", "Advise against a revision"),
}


class _Commands(click.Group):
    """A group that knows its commands by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        home = _COMMANDS.get(cmd_name)
        if home is None:
            return None
        module = import_module(f"tupli_repo.cli.{home.module}")
        command: click.Command = vars(module)[f"{cmd_name}_command"]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name].short_help) for name in sorted(_COMMANDS)])


@click.group(
    cls=_Commands,
    name="tupli",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 failed, 2 usage, 3 findings or partly done, 10 no "
    "repository, 11 locked, 12 corrupt, 13 untrusted, 130 interrupted",
)
@click.option(
    "-C",
    "--repo",
    metavar="PATH",
    type=click.Path(),
    help="Work on the repository in PATH instead of the working folder's.",
)
@click.version_option(version("tupli-repo"), "-V", "--version", message="tupli %(version)s")
@click.pass_obj
def tupli(app: App, repo: str | None) -> None:
    """Git for offline reinforcement learning: benchmarks, episodes and artifacts.

    'tupli demo' shows what it does; 'tupli init' starts in a folder of yours.
    """
    app.path = repo


def main() -> None:
    """Run the command of this process's arguments, then exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; every error is told in one line and a hint."""
    app = App(as_json="--json" in arguments)
    try:
        with app:
            result = tupli.main(list(arguments), prog_name="tupli", standalone_mode=False, obj=app)
    except TupliError as err:
        return app.fail(err.message, err.hint, err.exit_status)
    except click.UsageError as err:
        command = err.ctx.command_path if err.ctx else "tupli"
        return app.fail(_sentence(err.format_message()), f"'{command} --help' tells more", 2)
    except click.ClickException as err:
        return app.fail(_sentence(err.format_message()), "", 1)
    except (KeyboardInterrupt, click.Abort):
        return app.fail("interrupted", "what was acknowledged is kept", 130)
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as err:
        subject = err.filename if err.filename is not None else "stdout"
        return app.fail(f"{(err.strerror or str(err)).lower()}: '{subject}'", "", 1)
    except Exception as err:
        if os.environ.get(_DEBUG):  # noqa: TID251 - the command line may
            raise
        what = f"{type(err).__name__}: {err}".splitlines()[0]
        return app.fail(f"something unexpected: {what}", f"{_DEBUG}=1 shows where", 1)
    return result if isinstance(result, int) else 0


def _sentence(text: str) -> str:
    """Click's message in our form: one line, lower case, no full stop, single quotes."""
    line = " ".join(text.split()).rstrip(".").replace("`", "'")
    return line[:1].lower() + line[1:]
