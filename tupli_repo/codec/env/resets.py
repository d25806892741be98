"""What the document leaves at zero because a reset sets it anew: whether the reset really does.

A grid in which a reset moves a mark holds the walls as well, and a price that a reset lets wander
depends on where it was. Zero cannot stand for those.

Invariant: only private copies are reset and stepped; they are reset the same way, with one seed.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from posixpath import commonpath

from tupli_repo.codec.env.attributes import is_named
from tupli_repo.codec.env.episodes import play_an_episode, reset
from tupli_repo.codec.env.leaves import Leaves, differing, leaves_of, path_prefixes
from tupli_repo.codec.env.recipe import AnyEnv, Plan, layers_of, path_of

_SEEDS = (0, 1)


def not_set_anew(
    original: Callable[[], AnyEnv],
    restored: Callable[[], AnyEnv],
    plan: Plan,
    *,
    volatile: Sequence[str],
) -> str:
    """Return where a loaded environment holds something else after a reset; empty if nowhere.

    It is the smallest part that holds all there is of it in one attribute. What two copies of the
    original do not agree about either is not it, nor what no reset takes back.

    Args:
        original: Makes a copy of the original.
        restored: Loads it anew.
        plan: Which layers are told by their attributes: only those can lose something.
        volatile: Globs of what episodes change, as the user names it.
    """
    told = sorted(plan.snapshot_layers())
    if not told:
        return ""
    both = (original, restored)
    first, loaded = ([_after_reset(make, seed, plan) for seed in _SEEDS] for make in both)
    again, loaded_again = (_after_reset(make, _SEEDS[0], plan) for make in both)
    used = _after_reset(original, _SEEDS[0], plan, is_used=True)
    lost: set[str] = set()
    for index in told:
        ours, theirs = ([record[index] for record in records] for records in (first, loaded))
        random = differing(ours[0], again[index]) | differing(theirs[0], loaded_again[index])
        lasting = differing(ours[0], used[index]) - differing(*ours)
        for mine, other in zip(ours, theirs, strict=True):
            unlike = differing(mine, other) - mine.rendering - other.rendering
            for path in unlike - random - lasting:
                if not any(
                    is_named(p, path_of(index), volatile) for p in path_prefixes(path, index)
                ):
                    lost.add(path)
    return _around(lost)


def _around(paths: Iterable[str]) -> str:
    """Return what encloses the paths that lie in the attribute of the first one.

    >>> _around(["/base/deck/0", "/base/deck/1", "/wrappers/0/x"]), _around(["/base/a/@"])
    ('/base/deck', '/base/a')
    """
    parts = [path.removesuffix("/@").split("/") for path in sorted(paths)]
    if not parts:
        return ""
    own = 4 if parts[0][1] == "wrappers" else 3
    return commonpath(["/".join(part) for part in parts if part[:own] == parts[0][:own]])


def _after_reset(
    make: Callable[[], AnyEnv], seed: int, plan: Plan, *, is_used: bool = False
) -> list[Leaves]:
    env = make()
    if is_used:
        play_an_episode(env, seed=len(_SEEDS))
    reset(env, seed=seed)
    found = leaves_of(layers_of(env), plan)
    with suppress(Exception):
        env.close()
    return found
