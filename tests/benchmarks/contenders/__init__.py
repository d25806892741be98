"""Ours and the peers: each a module, imported in the process that measures it alone.

Invariant: importing a contender's module imports everything it needs.
"""

from importlib import import_module

from tests.benchmarks.contender import Contender, NotOfferedError

CONTENDERS = {
    "ours": "ours:Ours",
    "pytupli": "pytupli_files:PyTupli",
    "minari-hdf5": "minari_sets:MinariHdf5",
    "minari-arrow": "minari_sets:MinariArrow",
    "minari-collector": "minari_sets:MinariCollector",
    "npz": "npz:Npz",
    "npz-compressed": "npz:NpzCompressed",
    "hdf5": "hdf5:Hdf5",
    "parquet": "parquet:Parquet",
    "parquet-split": "parquet:ParquetSplit",
    "copy": "copied:Copied",
}


def contender_class(name: str) -> type[Contender]:
    """Return a contender's class.

    Raises:
        NotOfferedError: What it needs is not installed.
    """
    module, _, attribute = CONTENDERS[name].partition(":")
    try:
        found: type[Contender] = getattr(import_module(f"{__name__}.{module}"), attribute)
    except ModuleNotFoundError as err:
        raise NotOfferedError(f"'{err.name}' is not installed") from None
    return found
