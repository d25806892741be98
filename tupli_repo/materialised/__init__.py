"""Datasets that were loaded once, kept as arrays in the user's cache and mapped from there.

It lives outside the repository and may vanish at any moment. It knows arrays and the keys of
datasets; which episodes a dataset has is decided elsewhere, each time.

- `entry`: one kept dataset: a folder of `.npy` files, and the manifest that says what they are.
- `making`: one in the making: arrays that are filled in the files they are kept in.
- `mappings`: files mapped, as long as there are not too many of them.
- `places`: where the cache is, and whether files there may be mapped.
- `cache`: all of them: found by key, made, verified, and removed when there is no room.
"""

from tupli_repo.materialised.cache import DatasetCache
from tupli_repo.materialised.entry import Entry
from tupli_repo.materialised.making import Making
from tupli_repo.materialised.places import datasets_folder

__all__ = ["DatasetCache", "Entry", "Making", "datasets_folder"]
