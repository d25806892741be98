import hashlib
import subprocess
import sys

import pytest

from tupli_repo.codec.trust import (
    DEFAULT_ENVS,
    DEFAULT_FUNCTIONS,
    DEFAULT_TYPES,
    DEFAULT_WRAPPERS,
    NameKind,
    TrustPolicy,
    checked_names,
    is_never_granted,
    trust_document,
)
from tupli_repo.errors import InvalidInputError

CARTPOLE = "gymnasium.envs.classic_control.cartpole.CartPoleEnv"
SHA = hashlib.sha256(b"a document").hexdigest()


def test_the_defaults_hold_gymnasium_but_not_its_side_effects():
    policy = TrustPolicy()
    assert policy.allows(CARTPOLE, NameKind.ENV)
    assert policy.allows("gymnasium.wrappers.common.TimeLimit", NameKind.WRAPPER)
    for name in (
        "rendering.RecordVideo",
        "rendering.HumanRendering",
        "array_conversion.ArrayConversion",
    ):
        assert not policy.allows(f"gymnasium.wrappers.{name}", NameKind.WRAPPER)


def test_a_default_counts_for_its_kind_only():
    policy = TrustPolicy()
    assert not policy.allows(CARTPOLE, NameKind.WRAPPER)
    assert not policy.allows(CARTPOLE, NameKind.FUNCTION)
    assert not policy.allows("gymnasium.wrappers.common.TimeLimit", NameKind.ENV)
    assert not policy.allows("builtins.abs", NameKind.TYPE)


def test_an_exact_grant_holds_that_name_only():
    policy = TrustPolicy(["my_envs.windy.WindyEnv"])
    assert policy.allows("my_envs.windy.WindyEnv", NameKind.ENV)
    assert not policy.allows("my_envs.windy.WindyEnv2", NameKind.ENV)
    assert not policy.allows("my_envs.windy.WindyEnv.Inner", NameKind.OBJECT)


def test_a_wildcard_holds_classes_but_no_function_and_no_neighbour():
    policy = TrustPolicy(["my_envs.*"])
    for kind in (NameKind.ENV, NameKind.WRAPPER, NameKind.OBJECT, NameKind.TYPE):
        assert policy.allows("my_envs.windy.WindyEnv", kind)
    assert not policy.allows("my_envs.windy.make", NameKind.FUNCTION)
    assert not policy.allows("my_envs_evil.WindyEnv", NameKind.ENV)
    assert TrustPolicy(["my_envs.windy.make"]).allows("my_envs.windy.make", NameKind.FUNCTION)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "*",
        "a*",
        "a.*.b",
        "a..b",
        ".a.b",
        "a.b.",
        "a b.c",
        "a.b\n",
        "my.ünit.X",
        "os/system",
        "my_envs.__class__",
        "my_envs.x:Y",
        "my_envs.**",
        "1a.b",
        "x" * 10_000,
    ],
)
def test_a_malformed_name_is_refused(name):
    with pytest.raises(InvalidInputError) as caught:
        TrustPolicy([name])
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "os.*",
        "subprocess.Popen",
        "builtins.eval",
        "builtins.*",
        "importlib.import_module",
        "pickle.loads",
        "cloudpickle.loads",
        "jsonpickle.decode",
        "numpy.load",
        "numpy.memmap",
        "torch.load",
        "gymnasium.vector.utils.misc.CloudpickleWrapper",
        "gymnasium.envs.registration.make",
        "tupli_repo.*",
        "posix.system",
        "nt.system",
        "_io.open",
        "numpy.lib.npyio.NpzFile",
    ],
)
def test_some_names_can_never_be_granted(name):
    with pytest.raises(InvalidInputError, match="never"):
        TrustPolicy([name])
    assert is_never_granted(name.removesuffix(".*"))


@pytest.mark.parametrize(
    "name", ["numpy.*", "gymnasium.*", "torch.*", "scipy.*", "gymnasium.envs.*"]
)
def test_a_general_library_is_not_granted_whole(name):
    with pytest.raises(InvalidInputError, match="too wide"):
        TrustPolicy([name])


def test_one_text_is_not_taken_for_a_list_of_letters():
    with pytest.raises(InvalidInputError, match="list"):
        TrustPolicy("my_envs.*")


class Windy:
    class Inner: ...


def test_a_class_stands_for_its_exact_name():
    policy = TrustPolicy([Windy, Windy.Inner, "my_envs.*"])
    assert policy.names == ("my_envs.*", f"{__name__}.Windy", f"{__name__}.Windy.Inner")
    assert policy.grants_exactly(f"{__name__}.Windy")
    assert not TrustPolicy([Windy]).allows(f"{__name__}.Windy.Inner", NameKind.OBJECT)
    assert checked_names([Windy, f"{__name__}.Windy", "a.*"]) == [f"{__name__}.Windy", "a.*"]


def test_a_class_that_no_name_stands_for_is_no_grant():
    class Local: ...

    for cls in (Local, subprocess.Popen, int, type("Odd", (), {"__module__": "__main__"})):
        with pytest.raises(InvalidInputError):
            TrustPolicy([cls])


@pytest.mark.parametrize("names", [None, 3, b"my_envs.*", Windy, [None], [b"a.B"], [3], [["a.B"]]])
def test_what_is_no_list_of_names_is_refused_with_what_is(names):
    with pytest.raises(InvalidInputError, match=r"list of names|not a name to trust") as caught:
        TrustPolicy(names)
    assert "pkg.mod.Class" in caught.value.hint
    assert caught.value.message.isprintable()


def test_a_wildcard_lets_no_class_be_called():
    assert not TrustPolicy(["my_envs.*"]).allows("my_envs.Windy", NameKind.CALLED)
    assert TrustPolicy(["my_envs.Windy"]).allows("my_envs.Windy", NameKind.CALLED)
    assert TrustPolicy().allows("builtins.list", NameKind.CALLED)


def test_a_trusted_document_may_name_anything_but_the_never_granted():
    policy = TrustPolicy(documents=[SHA])
    assert policy.allows("some.module.Env", NameKind.ENV, document=SHA)
    assert policy.allows("some.module.make", NameKind.FUNCTION, document=SHA)
    assert not policy.allows("some.module.Env", NameKind.ENV)
    assert not policy.allows("some.module.Env", NameKind.ENV, document="0" * 64)
    assert not policy.allows("os.system", NameKind.FUNCTION, document=SHA)


def test_a_document_of_this_process_is_trusted_by_every_policy():
    sha = hashlib.sha256(b"another document").hexdigest()
    before = TrustPolicy()
    assert not before.trusts_document(sha)
    trust_document(sha)
    assert before.trusts_document(sha)
    assert TrustPolicy().allows("some.module.Env", NameKind.ENV, document=sha)


@pytest.mark.parametrize("sha", [None, b"ab", "", "abc", "Z" * 64, SHA.upper(), SHA + "\n"])
def test_a_document_is_named_by_its_whole_sha(sha):
    with pytest.raises(InvalidInputError):
        TrustPolicy(documents=[sha])
    with pytest.raises(InvalidInputError):
        trust_document(sha)


def test_a_policy_tells_what_was_granted():
    policy = TrustPolicy(["my_envs.*", "a.B"])
    assert policy.names == ("a.B", "my_envs.*")
    assert "my_envs.*" in repr(policy)


def test_no_default_is_a_prefix_or_reaches_the_system():
    for name in DEFAULT_ENVS | DEFAULT_WRAPPERS | DEFAULT_TYPES | DEFAULT_FUNCTIONS:
        assert "*" not in name
        assert name.split(".")[0] in ("gymnasium", "numpy", "builtins", "math", "collections")
    forbidden = {
        "eval",
        "exec",
        "compile",
        "getattr",
        "open",
        "__import__",
        "type",
        "load",
        "object",
    }
    assert not {name.rpartition(".")[2] for name in DEFAULT_FUNCTIONS | DEFAULT_TYPES} & forbidden


def test_judging_a_name_imports_nothing_heavy():
    program = (
        "import sys; import tupli_repo.codec.trust as t; t.TrustPolicy(['my_envs.*']);"
        "print(sorted({'gymnasium', 'numpy', 'jsonpickle', 'my_envs'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
