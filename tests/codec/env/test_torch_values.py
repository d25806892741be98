"""Tensors, what belongs to them, and modules come back to the bit."""

from typing import Any

import pytest

from tests.codec.env.sample_envs import Holder
from tests.codec.env.values import refusal, sha, through
from tupli_repo.codec.env import encode
from tupli_repo.codec.env.values.tensors import _DTYPES as DTYPES


@pytest.fixture(name="torch", scope="module")
def load_torch() -> Any:
    return pytest.importorskip("torch")


def same_bits(torch, one, other):
    assert type(one) is type(other)
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    assert one.requires_grad == other.requires_grad
    assert one.stride() == other.stride()
    plain = [tensor.detach().contiguous().flatten().view(torch.uint8) for tensor in (one, other)]
    assert torch.equal(*plain)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_a_tensor_of_each_dtype_comes_back(torch, dtype):
    live = torch.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(torch, dtype))
    same_bits(torch, through(live), live)
    same_bits(torch, through(live.t()), live.t())
    same_bits(torch, through(live[0, 0]), live[0, 0])
    assert through(live[:0]).shape == (0, 3)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 4, 5), (2, 3, 1, 5), (2, 3, 4, 1)])
def test_the_memory_order_of_a_tensor_comes_back(torch, shape):
    live = torch.rand(shape).to(memory_format=torch.channels_last)
    assert not live.is_contiguous()
    same_bits(torch, through(live), live)
    turned = torch.rand(4, 3, 2).permute(1, 0, 2)
    same_bits(torch, through(turned), turned)


def test_what_belongs_to_tensors_comes_back(torch):
    odd = torch.tensor([float("nan"), float("-inf"), -0.0], requires_grad=True)
    same_bits(torch, through(odd), odd)
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    same_bits(torch, through(weight), weight)
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    same_bits(torch, through(frozen), frozen)
    assert through(torch.Size([2, 3])) == torch.Size([2, 3])
    assert type(through(torch.Size([]))) is torch.Size
    assert through(torch.bfloat16) is torch.bfloat16
    assert through(torch.device("cpu")) == torch.device("cpu")
    assert type(through(torch.Generator())) is torch.Generator
    one, other = through([weight, weight])
    assert one is other
    assert sha(torch.Generator().manual_seed(1)) == sha(torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert not through(torch.zeros(2)[:1]).requires_grad


def test_what_is_not_stored_of_torch_is_refused_with_a_way_out(torch):
    own = type("Own", (torch.Tensor,), {})
    weight = torch.ones(2, requires_grad=True)
    noted = torch.ones(2)
    noted.note = "mine"
    noted_weight = torch.nn.Parameter(torch.ones(2))
    noted_weight.note = "mine"
    cases = [
        (weight * 2, "midst of a computation"),
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(2, device="meta"), "'meta'"),
        (torch.device("cuda", 0), "'cuda:0'"),
        (torch.ones(2).as_subclass(own), "own kind of a torch.Tensor"),
        (noted, "attributes of its own"),
        (noted_weight, "attributes of its own"),
        (torch.ones(2).to(torch.float8_e5m2), "float8_e5m2"),
    ]
    for value, why in cases:
        assert why in refusal(value).message


def test_modules_come_back_in_their_order(torch):
    live = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(12)], torch.nn.BatchNorm1d(2))
    live.register_buffer("scale", torch.tensor([2.0]), persistent=False)
    live.eval()
    x = torch.ones(3, 2)
    expected = live(x)
    loaded = through(live)
    assert torch.equal(loaded(x), expected)
    assert list(loaded.state_dict()) == list(live.state_dict())
    assert [name for name, _ in loaded.named_modules()] == [n for n, _ in live.named_modules()]
    assert not loaded.training
    loaded.register_forward_hook(lambda *_: None)
    assert torch.equal(loaded(x), expected)
    recurrent = torch.nn.LSTM(2, 3)
    assert torch.equal(through(recurrent)(x)[0], recurrent(x)[0])
    assert "_hooks" not in encode(Holder(live)).text
    live.register_forward_hook(lambda *_: None)
    assert "_forward_hooks" in refusal(live).message


def test_an_optimiser_and_its_module_share_their_parameters(torch):
    net = torch.nn.Linear(2, 1)
    loaded_net, optimiser = through([net, torch.optim.SGD(net.parameters(), lr=0.1)])
    assert optimiser.param_groups[0]["params"][0] is loaded_net.weight
