"""The one door to optional packages: imported where they are used, absent told from broken."""

from importlib import import_module
from types import ModuleType

from tupli_repo.errors import MissingDependencyError


def require(package: str, *, needed_for: str) -> ModuleType:
    """Return the imported ``package``.

    Args:
        package: The name to import, for example ``"pandas"``.
        needed_for: What the caller wanted, for the message.

    Raises:
        MissingDependencyError: ``package`` is not installed. An installed but broken package
            raises its own error.

    >>> require("json", needed_for="this example").dumps([1])
    '[1]'
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as err:
        if err.name != package:
            raise
        raise MissingDependencyError(
            f"{needed_for} needs '{package}', which is not installed", hint=f"pip install {package}"
        ) from err
