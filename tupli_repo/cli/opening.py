"""The repository a command works on."""

from tupli_repo.cli.app import App
from tupli_repo.cli.progress import Indexing
from tupli_repo.repository import Repository


def open_repository(app: App) -> Repository:
    """Return the repository the user means, closed when the command ends.

    Raises:
        RepositoryNotFoundError: There is none.
    """
    repository = Repository(app.repository_path)
    app.keep(repository)
    indexing = Indexing(app)
    app.keep(indexing)
    repository.on_indexing(indexing.progress)
    return repository
