"""Many processes on one repository: real ones, each as a user would start it."""

import os
import textwrap
from pathlib import Path

import pytest

from tests.envs import Walk
from tests.programs import finished, start
from tupli_repo import FileStorage, Repository, TupliDataset, TupliEnvWrapper

WRITERS, EPISODES, READERS = 8, 200, 2
SHORT_WRITERS = 64


WRITE = """
    import sys
    from tests.envs import Walk
    from tupli_repo import FileStorage, TupliEnvWrapper
    folder, benchmark, episodes = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with FileStorage(folder) as storage:
        env = TupliEnvWrapper(Walk(), storage, benchmark)
        for seed in range(episodes):
            env.reset(seed=seed)
            while not any(env.step(1)[2:4]):
                pass
        env.close()
"""

READ = """
    import sys
    from pathlib import Path
    from tupli_repo import Repository
    repository, seen, listings = Repository(sys.argv[1]), set(), 0
    while not Path(sys.argv[2]).exists():
        now = {header.id for header in repository.list_episodes()}
        assert seen <= now, f"{len(seen - now)} episodes were lost from sight"
        seen, listings = now, listings + 1
    print(len(repository.list_episodes()), listings)
"""


@pytest.fixture
def shared(tmp_path: Path) -> tuple[Path, str]:
    """A repository with one benchmark."""
    folder = tmp_path / "shared"
    with FileStorage(folder) as storage:
        return folder, TupliEnvWrapper(Walk(), storage).store("counter")


def test_many_writers_and_readers_share_a_repository(shared: tuple[Path, str], tmp_path: Path):
    folder, benchmark = shared
    done = tmp_path / "done"
    readers = [start(READ, folder, done) for _ in range(READERS)]
    writers = [start(WRITE, folder, benchmark, EPISODES) for _ in range(WRITERS)]
    for writer in writers:
        finished(writer)
    done.touch()
    for reader in readers:
        assert int(finished(reader).split()[0]) == WRITERS * EPISODES
    assert list((folder / ".tupli" / "packs").glob("*.journal")) == []
    assert list((folder / ".tupli" / "staging").iterdir()) == []

    dataset = TupliDataset(Repository(folder))
    dataset.load()
    assert len(dataset.episodes) == WRITERS * EPISODES
    columns = dataset.columns()
    assert len(columns["actions"]) == dataset.episode_lengths.sum()


def test_many_short_writers_leave_few_files(shared: tuple[Path, str]):
    folder, benchmark = shared
    pending = [(folder, benchmark, 1)] * SHORT_WRITERS
    while pending:
        batch, pending = pending[:8], pending[8:]
        started = [start(WRITE, *arguments) for arguments in batch]
        for process in started:
            finished(process)
    assert len(list((folder / ".tupli" / "packs").iterdir())) <= 70
    assert len(Repository(folder).list_episodes()) == SHORT_WRITERS


def test_data_is_loaded_without_the_environments_package(tmp_path: Path):
    (tmp_path / "my_package.py").write_text(
        textwrap.dedent("""
        import gymnasium, numpy as np
        from gymnasium import spaces

        class Env(gymnasium.Env):
            observation_space = spaces.Dict(
                {"a/b": spaces.Text(5), "g": spaces.Sequence(spaces.Box(0, 1, (2,)))}
            )
            action_space = spaces.Discrete(3, start=-1)

            def reset(self, *, seed=None, options=None):
                super().reset(seed=seed)
                self.observation_space.seed(seed)
                self.t = 0
                return self.observation_space.sample(), {}

            def step(self, action):
                self.t += 1
                info = {"odd key/#%": self.t}
                return self.observation_space.sample(), 1.0, self.t == 5, False, info
        """)
    )
    record = """
        import json, sys
        sys.path.insert(0, sys.argv[2])
        from my_package import Env
        from tupli_repo import FileStorage, TupliEnvWrapper
        from tupli_repo.schema.plain import plain
        with FileStorage(sys.argv[1]) as storage:
            env = TupliEnvWrapper(Env(), storage)
            env.store("env")
            seen = [plain(env.reset(seed=1)[0])]
            for action in (0, 1, -1, 0, 1):
                seen.append(plain(env.step(action)[0]))
            print(json.dumps(seen))
    """
    load = """
        import json, sys
        from tupli_repo import Repository
        from tupli_repo.schema.plain import plain
        repository = Repository(sys.argv[1])
        (header,) = repository.list_episodes()
        _, data = repository.read_episode(header.id)
        assert "my_package" not in sys.modules
        assert [info["odd key/#%"] for info in data.infos] == [1, 2, 3, 4, 5]
        print(json.dumps([plain(o) for o in data.observations]))
    """
    told = [finished(start(p, tmp_path / "repo", tmp_path)) for p in (record, load)]
    assert told[0]
    assert told[0] == told[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_records_beside_its_parent(shared: tuple[Path, str]):
    program = """
        import os, sys
        from tests.envs import Walk
        from tupli_repo import FileStorage, TupliEnvWrapper
        storage = FileStorage(sys.argv[1])
        env = TupliEnvWrapper(Walk(), storage, sys.argv[2])

        def record():
            env.reset(seed=1)
            while not any(env.step(1)[2:4]):
                pass
            env.flush()

        record()
        child = os.fork()
        record()
        record()
        if child == 0:
            storage.close()
            os._exit(0)
        os.waitpid(child, 0)
        storage.close()
    """
    finished(start(program, *shared))
    assert len(Repository(shared[0]).list_episodes()) == 5
