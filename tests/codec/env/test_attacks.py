"""Documents that want more than an environment are refused, in one line that says why."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import jsonpickle  # type: ignore[import-untyped]
import pytest

from tests.codec.env import sample_envs
from tests.codec.env.attack_documents import ATTACKS, BY_PATH, TAGS
from tests.codec.env.plain_attacks import (
    ANT,
    CARELESS,
    GADGETS,
    PLAIN_ATTACKS,
    SAMPLES,
    TEXTS,
    array,
    document,
    holding,
    partial,
    recipe,
    snapshot,
    value,
)
from tupli_repo.codec.env import EnvDocument, decode, encode, parse, unpickler, untrusted_names
from tupli_repo.codec.env.document import MAX_NODES, dump_json
from tupli_repo.codec.env.guards import check_arguments
from tupli_repo.codec.env.unpickler import ClosedUnpickler
from tupli_repo.codec.trust import (
    DEFAULT_ENVS,
    DEFAULT_WRAPPERS,
    NameKind,
    TrustPolicy,
    is_default,
)
from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    MissingDependencyError,
    TupliError,
    UntrustedCodeError,
)

decoded: Any = decode

CLIP = "gymnasium.wrappers.transform_reward.ClipReward"


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_in_one_line_of_ours(name):
    text = dump_json(ATTACKS[name])
    with pytest.raises(TupliError) as caught:
        decoded(EnvDocument(text=text), CARELESS)
    message = caught.value.message
    assert message.isprintable()
    assert message[0].islower() or message[0] == "'"
    assert 10 < len(message) < 2000


@pytest.mark.parametrize("name", [*BY_PATH, "path to a model", "model elsewhere"])
def test_a_path_is_refused_before_its_class_is_looked_for(name):
    policy = TrustPolicy([f"{SAMPLES}.*", "tests.codec.env.gadgets.*"])
    with pytest.raises(CorruptObjectError, match="reads like a path"):
        decoded(EnvDocument(text=dump_json(ATTACKS[name])), policy)


@pytest.mark.parametrize("texts", [["/e", *"x" * 20], [*"xy", "/e", *"zw"] * 3])
@pytest.mark.parametrize("hide", [lambda text: SimpleNamespace(a=text), slice])
def test_one_among_many_values_hides_no_path(texts, hide):
    with pytest.raises(CorruptObjectError, match="reads like a path"):
        check_arguments(ANT, {"thing": [hide(text) for text in texts]})


def test_every_tag_of_jsonpickle_is_known():
    ours = {"py/b64", "py/function", "py/id", "py/newargs", "py/object", "py/set", "py/state"}
    ours |= {"py/tuple", "py/type"}
    closed = {"py/b85", "py/bytes", "py/initargs", "py/iterator", "py/mod", "py/newargsex"}
    closed |= {"py/newobj", "py/property", "py/reduce", "py/ref", "py/repr", "py/seq"}
    assert ours | closed == TAGS
    for tag in closed | {"py/blob", "py/enum", "py/anything"}:
        with pytest.raises(CorruptObjectError, match="has no use here"):
            parse(dump_json(holding({tag: [1]})))
        with pytest.raises(CorruptObjectError):
            parse(dump_json(holding({"py/object": f"{SAMPLES}.Engine", tag: [1]})))


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_not_ours_is_damaged(name):
    with pytest.raises(CorruptObjectError):
        parse(TEXTS[name])
    with pytest.raises(CorruptObjectError):
        decoded(EnvDocument(text=TEXTS[name]), CARELESS)


@pytest.mark.parametrize("count", [10_000, pytest.param(300_000, marks=pytest.mark.slow)])
def test_a_document_of_a_million_parts_is_read(count):
    text = dump_json(holding([[1], {"a": "b"}] * count))
    assert len(decoded(EnvDocument(text=text), TrustPolicy()).thing) == 2 * count


@pytest.mark.parametrize("part", ["[" * 90 + "]" * 90, "1"])
def test_a_document_of_too_many_parts_is_refused(part):
    count = MAX_NODES // max(part.count("["), 1) + 1
    text = dump_json(holding(0)).replace('"thing":0', f'"thing":[{",".join([part] * count)}]')
    with pytest.raises(CorruptObjectError, match=f"more than {MAX_NODES} parts"):
        parse(text)


def test_every_untrusted_name_is_listed_at_once():
    wrapped = sample_envs.Counting(sample_envs.Everything(), ["a"])
    text = encode(wrapped).text.replace("one", "uno")  # nobody serialised this one
    names = untrusted_names(text, TrustPolicy())
    assert f"{SAMPLES}.Everything" in names
    assert f"{SAMPLES}.Counting" in names
    assert f"{SAMPLES}.Color" in names
    assert f"{SAMPLES}.shaped" in names
    assert untrusted_names(text, CARELESS) == [f"{SAMPLES}.shaped"]
    with pytest.raises(UntrustedCodeError) as caught:
        decoded(EnvDocument(text=text), TrustPolicy())
    assert caught.value.names == tuple(names)
    assert f"tupli trust {' '.join(names)}" in caught.value.hint


def test_a_class_that_is_called_needs_its_exact_name():
    called = f"{GADGETS}.NoEnv"
    documents = [name for name in ATTACKS if name.endswith("of a wildcard")]
    assert len(documents) == 2
    for name in documents:
        text = dump_json(ATTACKS[name])
        assert untrusted_names(text, CARELESS) == [called]
        with pytest.raises(UntrustedCodeError) as caught:
            decoded(EnvDocument(text=text), CARELESS)
        assert caught.value.names == (called,)
        decoded(EnvDocument(text=text), TrustPolicy([called]))
    held = dump_json(holding({"a": {"py/type": called}}))
    assert decoded(EnvDocument(text=held), CARELESS).thing["a"].__name__ == "NoEnv"
    counted = value("collections.defaultdict", factory=None, items={"a": {"py/type": called}})
    assert untrusted_names(dump_json(holding(counted)), CARELESS) == []
    kept = recipe(overrides={"a": partial({"py/function": "math.sin"}), "b": {"py/type": called}})
    assert untrusted_names(dump_json(document(kept)), CARELESS) == []
    assert decoded(EnvDocument(text=dump_json(document(kept))), CARELESS).b.__name__ == "NoEnv"


def test_the_unpickler_asks_for_what_is_called_by_itself():
    asked = []

    def resolve(name, kind):
        asked.append((name, kind))
        return int

    one, other = {"py/type": "a.One"}, {"py/type": "a.Other"}
    ClosedUnpickler(resolve, lambda name: False, []).restore([partial(one, [one], x=one), other])
    assert asked == [("a.One", NameKind.CALLED)] * 3 + [("a.Other", NameKind.TYPE)]


def test_a_value_refers_to_nothing_outside():
    text = dump_json(ATTACKS["keywords from outside a partial"])
    with pytest.raises(CorruptObjectError, match="shares nothing"):
        decoded(EnvDocument(text=text), CARELESS)


def test_a_class_that_was_renamed_is_missing_and_the_document_is_not_damaged():
    with pytest.raises(MissingDependencyError, match="there is no 'Missing' in") as caught:
        decoded(EnvDocument(text=dump_json(PLAIN_ATTACKS["no such class"])), CARELESS)
    assert "renamed" in caught.value.hint
    assert caught.value.exit_status == 1


@pytest.mark.parametrize("node", ["alias of a class", "alias of another module"])
def test_a_class_that_moved_is_missing_and_the_message_says_where_it_is(node):
    with pytest.raises(MissingDependencyError, match=r"no '.*' here: what has that") as caught:
        decoded(EnvDocument(text=dump_json(ATTACKS[node])), CARELESS)
    assert "store the environment again" in caught.value.hint
    assert caught.value.exit_status == 1


def test_a_constructor_that_lacks_a_package_is_no_damage():
    with pytest.raises(MissingDependencyError, match="MuJoCo is not installed"):
        decoded(EnvDocument(text=dump_json(document(recipe(f"{GADGETS}.Lacking")))), CARELESS)


def test_a_module_of_ones_own_that_is_not_found_says_how_it_is():
    text = dump_json(document(recipe("my_own_envs.Windy")))
    with pytest.raises(MissingDependencyError) as caught:
        decoded(EnvDocument(text=text), TrustPolicy(["my_own_envs.*"]))
    assert "run where 'my_own_envs' can be imported, as with PYTHONPATH=." in caught.value.hint


def test_bytes_are_written_one_way_only():
    text = dump_json(holding({"py/b64": "AA=="}))
    assert decoded(parse(text), TrustPolicy()).thing == b"\0"
    for data in ("AB==", "AAB=", "AAAA=", "AAAAA", "AAAA====", "="):
        with pytest.raises(CorruptObjectError, match="not base64"):
            parse(text.replace("AA==", data))


@pytest.mark.parametrize("text", [None, b"x", 3])
def test_what_is_no_text_holds_no_names(text):
    with pytest.raises(InvalidInputError, match="a document is text"):
        untrusted_names(text)


def test_thousands_of_names_are_not_all_printed():
    text = dump_json(holding([{"py/object": f"evil.mod.C{n}"} for n in range(5000)]))
    with pytest.raises(UntrustedCodeError) as caught:
        decoded(EnvDocument(text=text), TrustPolicy())
    assert len(caught.value.names) == 5000
    assert len(str(caught.value)) < 2000


def test_a_document_is_trusted_by_its_hash_and_no_neighbour_is():
    text = encode(sample_envs.Base()).text.replace('"n":3', '"n":4')
    with pytest.raises(UntrustedCodeError):
        decoded(EnvDocument(text=text), TrustPolicy())
    policy = TrustPolicy(documents=[EnvDocument(text=text).sha256])
    assert decoded(EnvDocument(text=text), policy).action_space.n == 4


@pytest.mark.parametrize("name", ["function of the system", "object of the system", "reduce eval"])
def test_no_hash_makes_the_system_trusted(name):
    text = dump_json(PLAIN_ATTACKS[name])
    policy = TrustPolicy(documents=[EnvDocument(text=text).sha256])
    with pytest.raises(TupliError):
        decoded(EnvDocument(text=text), policy)


def test_the_artifacts_come_from_the_text():
    text = encode(gymnasium.make("CartPole-v1")).text
    lying = EnvDocument(text=text, artifacts=("never-stored",))
    assert decoded(lying, TrustPolicy()).unwrapped.related_artifacts == []


def test_what_a_document_holds_stays_data_when_it_is_encoded_again():
    env = decoded(EnvDocument(text=dump_json(holding(["os:system"]))), TrustPolicy())
    assert env.spec is None
    assert encode(env).text == dump_json(holding(["os:system"]))


@pytest.mark.parametrize(
    "name", ["spec", "env", "_np_random", "_ezpickle_kwargs", "_tupli_recipe", "related_artifacts"]
)
def test_a_layer_states_no_bookkeeping(name):
    for base in (recipe(overrides={name: None}), snapshot(**{name: None})):
        with pytest.raises(CorruptObjectError, match=f"'{name}' is not the name of an attribute"):
            parse(dump_json(document(base)))


def test_a_state_brings_no_spec_to_call():
    base = {"kind": "snapshot", "class": {"py/type": f"{SAMPLES}.Base"}}
    state = {"spec": value("types.SimpleNamespace", items={"entry_point": "os:system"})}
    with pytest.raises(CorruptObjectError, match="a 'spec' that is none"):
        decoded(EnvDocument(text=dump_json(document({**base, "state": state}))), CARELESS)


def test_arguments_and_their_record_share_nothing():
    made = document(recipe(f"{SAMPLES}.Holder", kwargs={"thing": [1]}))
    env = decoded(EnvDocument(text=dump_json(made)), CARELESS)
    env.thing.append(2)
    assert env._tupli_recipe[2] == {"thing": [1]}


def test_a_few_equal_hashes_and_a_short_chain_are_no_attack():
    numbers = {f"json://{n * (2**61 - 1)}": n for n in range(1, 90)}
    chain = [[{"py/id": n}] if n > 2 else [] for n in range(2, 500)]
    thing = decoded(EnvDocument(text=dump_json(holding([numbers, chain]))), TrustPolicy()).thing
    assert len(thing[0]) == 89


def test_an_asset_by_its_name_is_no_path():
    mujoco = pytest.importorskip("mujoco")
    assert mujoco
    text = dump_json(document(recipe(ANT, kwargs={"xml_file": "ant.xml"})))
    assert decoded(EnvDocument(text=text), TrustPolicy()).action_space.shape == (8,)


def test_one_large_array_is_no_attack():
    large = array(shape=[1 << 20], data=None, fill={"py/b64": "AAAAAAAA8D8="})
    env = decoded(EnvDocument(text=dump_json(holding([large] * 3))), TrustPolicy())
    assert env.thing[2].sum() == 1 << 20


def test_many_large_arrays_are_refused_before_memory_is_full():
    large = array(shape=[1 << 25], data=None, fill={"py/b64": "AAAAAAAA8D8="})
    with pytest.raises(CorruptObjectError, match="unfold"):
        decoded(EnvDocument(text=dump_json(holding([large] * 2000))), TrustPolicy())


def test_arrays_in_many_layers_count_together(monkeypatch):
    monkeypatch.setattr(unpickler, "MAX_UNFOLDED_BYTES", 1 << 20)
    large = array(shape=[1 << 14], data=None, fill={"py/b64": "AAAAAAAA8D8="})
    layers = [recipe(CLIP, kwargs={"min_reward": large}) for _ in range(9)]
    with pytest.raises(CorruptObjectError, match="unfold"):
        decoded(EnvDocument(text=dump_json(document(wrappers=layers))), TrustPolicy())
    decoded(EnvDocument(text=dump_json(document(wrappers=layers[:2]))), TrustPolicy())


@pytest.mark.filterwarnings("ignore")  # Box2D's own would end the process
def test_no_default_class_runs_code_at_its_end():
    for name in sorted(DEFAULT_ENVS | DEFAULT_WRAPPERS):
        module, _, qualname = name.rpartition(".")
        try:
            found = vars(__import__(module, fromlist=["x"]))[qualname]
        except (ImportError, gymnasium.error.DependencyNotInstalled):
            continue
        assert is_default(name, NameKind.OBJECT)
        assert not any("__del__" in vars(cls) for cls in found.__mro__), name


def test_every_way_of_the_inherited_unpickler_is_closed():
    ours = vars(ClosedUnpickler)
    kept = {"_refname", "restore", "reset"}
    for name in vars(jsonpickle.Unpickler):
        if name.startswith(("_restore", "_load", "_mk", "_swap", "_process", "register")):
            assert ours[name] is ours["_closed"], name
        elif not name.startswith("__"):
            assert name in kept
    closed = ClosedUnpickler(lambda name, kind: None, lambda name: False, [])
    with pytest.raises(CorruptObjectError):
        closed._classes["os.system"]
    with pytest.raises(CorruptObjectError):
        closed.restore({}, classes=[int])
    with pytest.raises(CorruptObjectError):
        closed._restore_object({"py/object": "os.system"})
