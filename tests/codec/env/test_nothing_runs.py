"""While a document of an attack is handled, nothing is imported, written, started or compiled.

Python's own audit events are watched, in a process of its own.
"""

import json
import subprocess
import sys

import pytest

from tests.codec.env.attack_documents import ATTACKS, INERT, ODD

WATCHED = """
import faulthandler, gc, json, os, sys
from tests.codec.env.attack_documents import ATTACKS, INERT, ODD
from tests.codec.env.plain_attacks import CARELESS, TEXTS, document, holding
from tests.codec.env import gadgets, sample_envs
from tupli_repo.codec.env import EnvDocument, decode, encode, untrusted_names
from tupli_repo.codec.env.document import dump_json
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import TupliError

faulthandler.enable()
BENIGN = ("builtins.id", "object.__getattr__", "object.__setattr__", "sys._getframe", "gc.")
seen, watching = [], False

def hook(event, args):
    if watching and not event.startswith(BENIGN):
        seen.append((event, str(args)[:100]))

class Looking:
    # sees what is looked for: importlib.import_module raises no audit event
    def find_spec(self, name, path=None, target=None):
        if watching:
            seen.append(("import", name))

sys.meta_path.insert(0, Looking())

def handle(text, policy):
    try:
        untrusted_names(text, policy)
        env = decode(EnvDocument(text=text), policy)
    except TupliError as err:
        caught = type(err).__name__
        str(err), err.hint
    except BaseException as err:
        caught = f"{type(err).__name__}: {err}"
    else:
        caught = "decoded"
        env.close()
    return caught

import gymnasium.envs.classic_control, gymnasium.envs.toy_text.frozen_lake, gymnasium.wrappers
# once for warming up: what a decoder imports late, it has imported then
for warm in ({"thing": 1}, {"thing": {"py/id": 99}}):
    handle(dump_json(holding(warm)), CARELESS)
for name in WARM:
    handle(dump_json({**ATTACKS, **INERT, **ODD}[name]), CARELESS)
sys.addaudithook(hook)
found = {}
for title, documents in (("attack", ATTACKS), ("inert", INERT), ("odd", ODD)):
    for name, tree in documents.items():
        text = dump_json(tree)
        for policy in (TrustPolicy(), CARELESS):
            seen.clear()
            watching = True
            caught = handle(text, policy)
            watching = False
            key = f"{title}: {name}: {'careless' if policy is CARELESS else 'default'}"
            found[key] = [caught, list(seen)]
watching = True
seen.clear()
for text in TEXTS.values():
    handle(text, CARELESS)
gc.collect()
watching = False
found["texts"] = ["", list(seen)]
found["trace"] = ["", [["file", name] for name in os.listdir(".")]]
found["trips"] = ["", [["trip", where] for where in gadgets.TRIPS]]
print(json.dumps(found))
"""
# value types that look up a package or a table of the system when they are first used
LATE = sorted(name for name in ODD if name.startswith(("'pandas.", "'torch.", "'zoneinfo.")))


@pytest.fixture(scope="module")
def handled(tmp_path_factory):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WATCHED.replace("WARM", repr(LATE))],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        cwd=tmp_path_factory.mktemp("empty"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def allowed(key, event):
    """Whether an event is what was granted: a module looked for, or the package of a value."""
    is_import = event[0] == "import" and event[1].startswith("tests.codec.")
    looks_for_it = event[0] in ("open", "os.listdir", "os.scandir") and "codec" in event[1]
    if "no such package: careless" in key:
        return is_import or looks_for_it
    package = key.removeprefix("odd: '").partition(".")[0]
    return package in ("pandas", "torch") and event == ["import", package]


def test_each_is_handled_under_both_policies(handled):
    assert len(handled) == 2 * (len(ATTACKS) + len(INERT) + len(ODD)) + 3
    assert len(ATTACKS) >= 60


def test_nothing_happens_but_a_refusal(handled):
    happened = {
        key: [event for event in events if not allowed(key, event)]
        for key, (_, events) in handled.items()
    }
    assert {key: events for key, events in happened.items() if events} == {}


def test_every_attack_ends_in_one_of_our_errors(handled):
    outcomes = {key: found for key, (found, _) in handled.items() if key.startswith("attack: ")}
    ours = {"CorruptObjectError", "UntrustedCodeError", "MissingDependencyError"}
    assert {key: found for key, found in outcomes.items() if found not in ours} == {}


def test_granted_classes_come_to_life_without_running(handled):
    for name in INERT:
        assert handled[f"inert: {name}: careless"][0] == "decoded", name


def test_odd_values_decode_or_are_refused(handled):
    ours = {"CorruptObjectError", "UntrustedCodeError", "MissingDependencyError", "decoded"}
    outcomes = {key: found for key, (found, _) in handled.items() if key.startswith("odd: ")}
    assert {key: found for key, found in outcomes.items() if found not in ours} == {}
