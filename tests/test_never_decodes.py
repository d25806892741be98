"""Whoever lists, shows, compares or reads what is stored runs no code of what is stored.

Their benchmarks name classes of a module that can be found, and is not imported.
"""

import json
from pathlib import Path

import pytest

from tests.watched import store_some, trace_in, watched

PROGRAM = """
import contextlib, io, json, os, sys
one, two, opaque, artifact = sys.argv[1:]
done = []
def ran(name):
    done.append(name)

from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
from tupli_repo.cli import run
from tupli_repo.codec import env as codec
from tupli_repo.schema import FilterEQ

storage = FileStorage("project")
benchmarks = storage.list_benchmarks(); ran("list_benchmarks")
assert len(benchmarks) == 3
storage.list_benchmarks(FilterEQ(key="metadata.name", value="opaque")); ran("filter")
for uri in (one, two, opaque):
    text = storage.load_benchmark(uri).serialized; ran("load_benchmark")
    storage.benchmark(uri)
    if codec.is_document(text):
        assert codec.untrusted_names(text); ran("untrusted_names")
    if hasattr(storage, "provenance"):
        storage.provenance(uri), storage.changed_code(uri); ran("provenance")
storage.read_object(one), storage.load_artifact(artifact), storage.list_artifacts()
ran("read_object")
headers = storage.list_episodes(); ran("list_episodes")
assert len(headers) == 4
storage.list_episodes(include_tuples=True)
ids = [header.id for header in headers]
assert len(storage.load_episodes(ids).columns()["rewards"]) == 16; ran("load_episodes")
storage.load_episode(ids[0]), storage.read_episode(ids[0])
dataset = TupliDataset(storage).with_benchmark_filter(FilterEQ(key="id", value=one))
dataset.load(); ran("dataset")
assert len(dataset.tuples) == 8 and len(dataset.columns()["rewards"]) == 8
storage.status(), storage.usage(), storage.resolve(one[:9]); ran("status")
storage.remove([one]), storage.restore([one]); ran("remove")
if hasattr(storage, "diff"):
    assert storage.diff(one, two) is not None; ran("diff")
for refused in (one, opaque):
    try:
        TupliEnvWrapper.load(storage, refused, wrapper="ignore")
    except Exception as err:
        ran(type(err).__name__)
storage.close()
os.chdir("project")
commands = [
    ["list"], ["list", "episodes"], ["list", "artifacts"], ["show", one], ["show", opaque],
    ["show", ids[0]], ["cat", artifact], ["cat", one], ["status"], ["du"], ["remove", ids[0]],
    ["list", "benchmarks"], ["restore", ids[0]], ["restore"], ["diff", one, two],
    ["diff", one, opaque], ["trust"], ["fsck"], ["verify"],
    ["publish", one, "--episodes"], ["publish", opaque], ["pin", "figure"], ["publish", "figure"],
    ["init", "--bare", "../drive"], ["remote", "add", "origin", "../drive"],
    ["push"], ["clone", "../drive", "../copy"], ["pull"], ["fetch"], ["sync"], ["log"],
    ["bundle", "figure", "../figure.zip"], ["clone", "../figure.zip", "../figure"],
    ["unpublish", opaque], ["push", "--prune"], ["list", "names"], ["show", "figure"],
]
for command in commands:
    for options in ([], ["--json"]):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = run([*command, *options])
        ran(" ".join(command[:1]) + f": {status}")
os.chdir("..")
before = list(seen)
with FileStorage("project") as storage:  # the module is there, and the hook would have seen it
    env = TupliEnvWrapper.load(storage, one, trust=["windy_lab.*"], wrapper="ignore")
print(json.dumps([before, done, seen]))
"""


# fmt: off
COMMANDS = [
    "list", "show", "cat", "status", "du", "remove", "restore", "diff", "trust", "publish",
    "pin", "init", "remote", "push", "clone", "pull", "fetch", "sync", "log", "bundle",
    "unpublish",
]
# fmt: on


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    folder = tmp_path_factory.mktemp("lab")
    return folder, json.loads(watched(PROGRAM, folder, *store_some(folder)))


def test_nothing_of_what_is_stored_is_imported_or_unpickled(looked):
    _, (seen, done, _) = looked
    assert seen == []
    assert {"list_benchmarks", "load_episodes", "dataset", "remove", "untrusted_names"} <= {*done}


def test_every_command_did_its_work(looked):
    _, (_, done, _) = looked
    for command in COMMANDS:
        assert f"{command}: 0" in done
    assert "UntrustedCodeError" in done


def test_the_watch_sees_an_environment_that_is_loaded(looked):
    folder, (_, _, seen) = looked
    assert ["import", "windy_lab"] in seen
    assert trace_in(folder).read_text() == "x"
