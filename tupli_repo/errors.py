"""The error tree: every error the library raises on purpose.

An error carries one line of message (what went wrong first, the subject in single quotes), a hint
(the next thing to type) and the exit status the command line ends with. A class of its own exists
only where a caller would act differently::

    TupliError                    1   caught by PyTupli's users as TupliStorageError
    ├── InvalidInputError         2   a value or name handed in is wrong (also a ValueError)
    │   ├── EncodingError         2   a value cannot be stored (also a TypeError)
    │   └── UnfitDataError        2   no metric can be computed of this (also an AssertionError)
    ├── RepositoryNotFoundError  10   there is no repository here
    ├── RepositoryExistsError     1   there is one already
    ├── UnsupportedFormatError    1   written by a newer version
    ├── NotFoundError             1   no such benchmark, episode, artifact or object
    ├── AmbiguousNameError        1   a prefix that several objects share
    ├── StorageIOError            1   the disk said no
    ├── LockedError              11   somebody else holds the lock
    ├── CorruptObjectError       12   bytes that are not what their name says
    ├── UntrustedCodeError       13   an environment wants code that was not granted
    ├── ConflictError             1   a name went two ways, and nobody said which comes next
    └── MissingDependencyError    1   an optional package is not installed (also an ImportError)
"""

from collections.abc import Sequence
from pathlib import Path


class TupliError(Exception):
    """The root of the tree.

    Args:
        message: One line: what went wrong first, the subject in single quotes, no full stop.
        hint: The next thing to type or try; empty where there is none.
    """

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidInputError(TupliError, ValueError):
    """A value or a name that was handed in is wrong."""

    exit_status = 2


class EncodingError(InvalidInputError, TypeError):
    """A value cannot be stored without losing something."""


class UnfitDataError(InvalidInputError, AssertionError):
    """A metric cannot be computed of such data, or for such spaces; others may be."""


class RepositoryNotFoundError(TupliError):
    """There is no repository at or above a path."""

    exit_status = 10


class RepositoryExistsError(TupliError):
    """A repository exists where one was to be made."""


class UnsupportedFormatError(TupliError):
    """The repository was written by a version that knows more than this one."""


class NotFoundError(TupliError):
    """No such benchmark, episode, artifact or object is here."""


class AmbiguousNameError(TupliError):
    """A prefix that several objects share; the message lists them."""


class StorageIOError(TupliError):
    """The operating system refused a read or a write."""


class LockedError(TupliError):
    """Somebody else holds the lock."""

    exit_status = 11


class CorruptObjectError(TupliError):
    """Bytes that are not what their name says, or do not parse.

    Args:
        message: What is wrong.
        path: The damaged file; it becomes part of the message.
        hint: What to do about it.
    """

    exit_status = 12

    def __init__(self, message: str, *, path: Path | None = None, hint: str = "") -> None:
        super().__init__(f"'{path}' is damaged: {message}" if path else message, hint=hint)
        self.reason = message
        self.path = path


class UntrustedCodeError(TupliError):
    """An environment names code that the trust policy does not hold; nothing was imported.

    Args:
        message: What was refused.
        names: Every name the document wants and does not get, sorted.
        hint: How to grant them.
    """

    exit_status = 13

    def __init__(self, message: str, *, names: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.names = tuple(names)


class ConflictError(TupliError):
    """A name has diverged: its heads are of different things."""


class MissingDependencyError(TupliError, ImportError):
    """An optional package is not installed."""
