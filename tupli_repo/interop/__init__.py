"""Data from elsewhere and for elsewhere: other projects' datasets, and plain arrays.

- `minari`: Minari's datasets, in and out.
- `d4rl`: D4RL's flat HDF5 files, in and out.
- `lerobot`: LeRobot's datasets, out. `png`: images as files.
- `pytupli`: folders that PyTupli's FileStorage wrote, in.
- `parquet`: Parquet files with RLlib's column names, in and out.
- `rlds`: step dictionaries of RLDS, in; `TupliDataset.to_rlds` gives them.
- `arrays`: arrays and data frames, in; `flat`: cutting them into episodes.
- `importing`, `exporting`: what every import, and every export, shares. `placing`: writing whole
  files or none. `paths`: dictionaries in dictionaries as one. `progress`: telling how
  far it has come.

Another project's package is never imported: its files are read and written as it documents them.
No code that a file names is run. Importing the same thing again adds nothing.

Invariant: an episode that came in has the values and dtypes it has there, or the report says what
was left out.
"""

from tupli_repo.interop.arrays import import_arrays, import_dataframe
from tupli_repo.interop.d4rl import export_d4rl, import_d4rl
from tupli_repo.interop.lerobot.writing import export_lerobot
from tupli_repo.interop.minari.reading import import_minari
from tupli_repo.interop.minari.writing import export_minari
from tupli_repo.interop.parquet.reading import import_parquet
from tupli_repo.interop.parquet.writing import export_parquet
from tupli_repo.interop.pytupli import import_pytupli
from tupli_repo.interop.rlds import import_rlds

__all__ = [
    "export_d4rl",
    "export_lerobot",
    "export_minari",
    "export_parquet",
    "import_arrays",
    "import_d4rl",
    "import_dataframe",
    "import_minari",
    "import_parquet",
    "import_pytupli",
    "import_rlds",
]
