"""Real processes: forked, killed, ended, and several at once on one folder."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.odb.samples import by_id, episode, everything, id_of, names, new_store, reopen
from tupli_repo.odb.objects import Object, ObjectId

PROJECT = Path(__file__).parents[2]
PRELUDE = """
import os, sys
from pathlib import Path
from tests.odb.samples import episode, everything, by_id, names, reopen
root = Path(sys.argv[1])
store = reopen(root)
"""

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and kill")


@contextmanager
def running(root: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script beside this process; it is gone when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PRELUDE + script, str(root)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(root: Path, script: str) -> str:
    """Run a script to its end and return what it printed."""
    with running(root, script) as process:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert err == ""
        return out


def episodes(*numbers: int) -> dict[ObjectId, Object]:
    return by_id([obj for n in numbers for obj in episode(n)])


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_end_of_the_interpreter_seals(tmp_path: Path) -> None:
    new_store(tmp_path)
    finish(tmp_path, "store.append(episode(1))")
    assert names(tmp_path, ".journal") == []
    assert len(names(tmp_path, ".pack")) == 1
    assert list((tmp_path / ".tupli" / "staging").iterdir()) == []
    assert everything(reopen(tmp_path)) == episodes(1)


def test_an_error_that_ends_the_interpreter_seals_too(tmp_path: Path) -> None:
    new_store(tmp_path)
    with running(tmp_path, "store.append(episode(1)); raise SystemExit(3)") as process:
        assert process.wait(timeout=60) == 3
    assert names(tmp_path, ".journal") == []
    assert everything(reopen(tmp_path)) == episodes(1)


@posix_only
@pytest.mark.parametrize("ending", ["sync", "append"])
def test_kill_minus_nine_loses_nothing_that_was_acknowledged(tmp_path: Path, ending: str) -> None:
    """`append` alone survives it too: the bytes are the kernel's, not the process's."""
    new_store(tmp_path)
    script = """
import time
for n in range(7):
    store.append(episode(n))
if sys.argv[0] and {sync}:
    store.sync()
print("done", flush=True)
time.sleep(60)
""".format(sync=ending == "sync")
    with running(tmp_path, script) as process:
        assert line(process) == "done"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert len(names(tmp_path, ".journal")) == 1
    late = reopen(tmp_path)
    assert everything(late) == episodes(*range(7))
    late.append(episode(8))
    late.close()
    assert len(names(tmp_path, ".journal")) == 1  # the dead one's is not touched
    assert everything(reopen(tmp_path)) == episodes(*range(7), 8)


@posix_only
def test_kill_minus_nine_at_any_moment_leaves_whole_episodes(tmp_path: Path) -> None:
    new_store(tmp_path)
    script = """
store._writer._target_bytes = 4000
print("go", flush=True)
n = 0
while True:
    store.append(episode(n, 400)); store.sync()
    n += 1
    print(n, flush=True)
"""
    for pause in range(4):
        with running(tmp_path, script) as process:
            assert line(process) == "go"
            told = 0
            for _ in range(5 + 9 * pause):
                told = int(line(process))
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
        found = everything(reopen(tmp_path))
        for n in range(told):
            assert by_id(episode(n, 400)).items() <= found.items()
        for obj in found.values():
            assert set(obj.links) <= set(found)


@posix_only
def test_a_forked_child_has_a_journal_of_its_own_and_leaves_its_parents(tmp_path: Path) -> None:
    new_store(tmp_path)
    out = finish(
        tmp_path,
        """
store.append(episode(1))
(parents,) = names(root, ".journal")
child = os.fork()
if child == 0:
    store.append(episode(2))
    assert len(names(root, ".journal")) == 2
    store.sync()
    store.write(episode(5)[0])
    sys.exit(0)                        # runs what is run at exit: seals the child's only
_, status = os.waitpid(child, 0)
assert status == 0, status
assert names(root, ".journal") == [parents]
assert len(names(root, ".pack")) == 1
store.append(episode(3))               # the parent goes on in its own
assert names(root, ".journal") == [parents]
print(len(everything(store)))
""",
    )
    assert out == "7\n"
    assert everything(reopen(tmp_path)) == episodes(1, 2, 3) | by_id([episode(5)[0]])
    assert names(tmp_path, ".journal") == []
    assert list((tmp_path / ".tupli" / "staging").iterdir()) == []


@posix_only
def test_a_forked_child_that_does_nothing_changes_nothing(tmp_path: Path) -> None:
    new_store(tmp_path)
    finish(
        tmp_path,
        """
store.append(episode(1))
store.write(episode(1)[0])
before = sorted(root.rglob("*"))
child = os.fork()
if child == 0:
    store.sync()
    store.close()
    sys.exit(0)
os.waitpid(child, 0)
assert sorted(root.rglob("*")) == before
""",
    )
    assert everything(reopen(tmp_path)) == episodes(1)


def test_two_processes_see_each_other_while_both_write_and_seal(tmp_path: Path) -> None:
    new_store(tmp_path)
    script = """
store._writer._target_bytes = 1500
for n in range(40):
    store.append(episode(n, 200))
    print(n, flush=True)
    if n % 7 == 0:
        store.seal()
print("done", flush=True)
"""
    reader = reopen(tmp_path)
    acknowledged: set[ObjectId] = set()
    with running(tmp_path, script) as process:
        while (told := line(process)) != "done":
            assert told
            acknowledged |= set(by_id(episode(int(told), 200)))
            reader.refresh()
            assert acknowledged <= set(reader.ids())
            assert dict(reader.read_many(acknowledged)).keys() == acknowledged
            reader.append(episode(1000 + int(told), 200))
        assert process.wait(timeout=60) == 0
    reader.close()
    mine = set(by_id([obj for n in range(40) for obj in episode(1000 + n, 200)]))
    assert set(everything(reopen(tmp_path))) == acknowledged | mine


def test_processes_that_write_the_same_objects_do_not_disturb_each_other(tmp_path: Path) -> None:
    new_store(tmp_path)
    script = """
for n in range(60):
    for obj in episode(n % 6):
        store.write(obj)
    store.append(episode(n % 6))
"""
    with running(tmp_path, script) as one, running(tmp_path, script) as other:
        for process in (one, other):
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
    found = everything(reopen(tmp_path))
    assert found == episodes(*range(6))
    assert id_of(episode(0)[0]) in found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_a_thread_works_is_not_stuck(tmp_path: Path) -> None:
    program = """
        import os, sys, threading
        from pathlib import Path
        from tests.odb.samples import episode, reopen
        store = reopen(Path(sys.argv[1]))
        stop = threading.Event()

        def work():
            n = 0
            while not stop.is_set():
                n += 1
                store.append(episode(n))
                store.refresh()

        thread = threading.Thread(target=work)
        thread.start()
        children = []
        for n in range(20):
            child = os.fork()
            if child == 0:
                store.append(episode(10_000 + n))
                store.refresh()
                store.seal()
                os._exit(0)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        stop.set()
        thread.join()
        assert codes == [0] * 20, codes
    """
    new_store(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
