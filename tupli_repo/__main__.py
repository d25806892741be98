"""``python -m tupli_repo`` is ``tupli``."""

from tupli_repo.cli import main

main()
