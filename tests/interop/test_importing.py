"""What is imported is the same for everybody: a shared drive holds it once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.interop.d4rl_files import flat_file
from tests.repository.people import drive, person
from tupli_repo import FileStorage, Repository
from tupli_repo.errors import NotFoundError
from tupli_repo.interop import import_arrays, import_d4rl


def of_arrays(who: Repository, folder: Path) -> Any:
    return import_arrays(
        who, "lake", observations=np.arange(6.0), actions=[0] * 6, rewards=[0.0] * 6,
        terminals=[0, 0, 1, 0, 0, 1],
    )  # fmt: skip


def of_d4rl(who: Repository, folder: Path) -> Any:
    pytest.importorskip("h5py")
    if not (folder / "lake.hdf5").exists():
        flat_file(folder / "lake.hdf5", with_next=True)
    return import_d4rl(who, folder / "lake.hdf5")


@pytest.mark.parametrize("bring", [of_arrays, of_d4rl])
def test_two_users_who_import_the_same_have_the_same(
    bring: Callable[[Repository, Path], Any], tmp_path: Path
):
    hub = drive(tmp_path / "hub")
    ids, pushed = [], []
    for name in ("Ada", "Grace"):
        with person(tmp_path / name, hub) as who:
            who.settings = who.settings.model_copy(update={"user_name": name})
            report = bring(who, tmp_path)
            headers = who.episode_headers()
            ids.append(([header.id for header in headers], report.benchmarks))
            assert {header.created_by for header in headers} == {report.format}
            who.publish("lake", episodes=True)
            who.pull()
            pushed.append(who.push().n_episodes)
    assert ids[0] == ids[1]
    assert pushed == [len(ids[0][0]), 0]
    with Repository(hub) as found:
        assert len(found.episode_headers()) == len(ids[0][0])


def test_a_name_with_slashes_stands_for_what_has_it(tmp_path: Path):
    storage = FileStorage(tmp_path)
    import_arrays(
        storage, "mujoco/hopper/expert-v0", observations=[0.0], actions=[0], rewards=[0.0],
        terminals=[1],
    )  # fmt: skip
    found = storage.find_benchmark("mujoco/hopper/expert-v0")
    assert found.metadata.name == "mujoco/hopper/expert-v0"
    storage.publish("mujoco/hopper/expert-v0", episodes=True)
    assert storage.find_benchmark("global/mujoco-hopper-expert-v0").id == found.id
    with pytest.raises(NotFoundError, match="no revision"):
        storage.find_benchmark("mujoco/hopper/medium-v0")
