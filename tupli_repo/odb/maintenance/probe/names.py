"""Which names files can have: their letters, and how long they may be.

Invariant: a name that is refused is an answer, not an error.
"""

from unicodedata import normalize

from tupli_repo.odb.maintenance.probe.ground import Found, Ground, reason

_LENGTHS = (64, 128, 255)
_LONGEST_PATH = (
    "g" * 24,
    "k" * 9,
    "n" * 64,
    "r" * 26,
)  # below `refs/`, the deepest of a repository


def case(ground: Ground) -> Found:
    """Return whether upper and lower case are two names."""
    path = ground.make_file("case-of-a-name")
    if ground.is_there(path.with_name(path.name.upper())):
        follows = "nothing: all names in a repository are lower case"
        return Found("ok", "upper and lower case are the same", follows)
    return Found("ok", "upper and lower case differ")


def other_letters(ground: Ground) -> Found:
    """Return what becomes of letters beyond ASCII."""
    follows = "nothing: all names in a repository are ASCII"
    composed = "caf\u00e9"
    try:
        path = ground.make_file(composed)
    except (OSError, UnicodeError):
        return Found("ok", "there are none", follows)
    if ground.is_there(path.with_name(normalize("NFD", composed))):
        return Found("ok", "composed and decomposed are the same", follows)
    return Found("ok", "names stay as they are")


def long_names(ground: Ground) -> Found:
    """Return how long a name may be."""
    longest = 0
    for length in _LENGTHS:
        try:
            ground.make_file("n" * length)
        except OSError:
            break
        longest = length
    if longest < _LENGTHS[0]:
        return Found("unusable", "64 characters are too many", "packs need 69")
    if longest < _LENGTHS[1]:
        return Found("degraded", "64 characters are the most", "packs may need 69")
    return Found("ok", f"{longest} characters")


def long_paths(ground: Ground) -> Found:
    """Return whether the longest path of a repository can be made."""
    path, length = ground.folder, len(str(ground.folder.joinpath(*_LONGEST_PATH)))
    try:
        for part in _LONGEST_PATH:
            path = ground.make_folder(path / part)
    except OSError as err:
        follows = "what has a long name cannot be published; use a folder nearer to the top"
        return Found("degraded", f"{length} characters: {reason(err)}", follows)
    return Found("ok", f"{length} characters")
