"""Calling the command line in this process, as a user would in a shell."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document that was printed."""
        return json.loads(self.out)

    @property
    def table(self) -> list[list[str]]:
        """The rows below the heading."""
        return [line.split("\t") for line in self.out.splitlines()[1:]]


Tupli = Callable[..., Outcome]
