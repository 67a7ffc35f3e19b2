"""Laws of checkpoints: a training put back goes on to the last bit, and a file is whole or not there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from estimators import checkpoint
from searchspaces import UserError

OPTIMIZERS = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "fused sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
    "fused adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01, fused=True),
}


def training(optimizer):
    """A network with a buffer and weights that lie channels-last, and its optimizer, alike each time."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    model = model.to(memory_format=torch.channels_last)
    return model, OPTIMIZERS[optimizer](model)


def steps(model, optimizer, first, count):
    for step in range(first, first + count):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(6, 3, 4, 4)).square().mean().backward()
        optimizer.step()


def bits(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cut", [0, 3])
@pytest.mark.parametrize("place", ["{tmp}/deep/one.safetensors", "file://{tmp}/one.safetensors", "memory://runs/one"])
def test_a_training_put_back_goes_on_to_the_last_bit(tmp_path, optimizer, cut, place):
    place = place.format(tmp=tmp_path)
    model, own = training(optimizer)
    steps(model, own, 0, cut)
    tensors, state = checkpoint.training_state(model, own)
    checkpoint.save(place, tensors, {**state, "epoch": cut, "best": math.nan})
    steps(model, own, cut, 4)
    unbroken = bits(model)

    model, own = training(optimizer)
    steps(model, own, 9, 1)  # elsewhere, so that everything has to be put back
    tensors, state = checkpoint.load(place)
    checkpoint.restore(model, own, tensors, state)
    steps(model, own, cut, 4)
    assert state["epoch"] == cut
    assert math.isnan(state["best"])
    assert all(torch.equal(value, unbroken[name]) for name, value in bits(model).items())
    checkpoint.remove(place)
    assert checkpoint.load(place) is None
    checkpoint.remove(place)


def test_a_write_that_is_cut_leaves_the_file_of_before(tmp_path, monkeypatch):
    place = str(tmp_path / "one[1].safetensors")
    checkpoint.save(place, {"a": torch.ones(2)}, {"epoch": 1})

    def killed(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(place, {"a": torch.zeros(2)}, {"epoch": 2})
    tensors, state = checkpoint.load(place)
    assert state == {"epoch": 1}
    assert torch.equal(tensors["a"], torch.ones(2))
    assert len(list(tmp_path.iterdir())) == 1  # an error takes its part away
    Path(f"{place}.0123abcd.part").write_text("")  # what SIGKILL leaves
    checkpoint.remove(place)
    assert list(tmp_path.iterdir()) == []


def test_tensors_may_share_memory_and_lie_any_way(tmp_path):
    place, shared = str(tmp_path / "one"), torch.arange(6).reshape(2, 3)
    checkpoint.save(place, {"a": shared, "b": shared.T, "c": torch.tensor(2)}, {})
    tensors, _ = checkpoint.load(place)
    assert torch.equal(tensors["b"], shared.T)
    assert tensors["c"] == 2


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_damaged_file_is_a_persons_mistake(tmp_path, keep):
    place = tmp_path / "one"
    checkpoint.save(str(place), {"a": torch.ones(100)}, {"epoch": 1})
    place.write_bytes(place.read_bytes()[:keep])
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(str(place))


def test_weights_without_a_state_are_no_checkpoint(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "one")
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        checkpoint.load(str(tmp_path / "one"))


def test_the_state_of_another_network_is_refused():
    tensors, state = checkpoint.training_state(*training("sgd"))
    other = nn.Linear(2, 2)
    with pytest.raises(UserError, match="another training"):
        checkpoint.restore(other, OPTIMIZERS["sgd"](other), tensors, state)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_state_without_one_of_its_tensors_is_refused(optimizer):
    model, own = training(optimizer)
    steps(model, own, 0, 1)
    tensors, state = checkpoint.training_state(model, own)
    for gone in tensors:
        if gone.endswith("num_batches_tracked"):
            continue  # torch takes a network without it, and with a momentum nothing depends on it
        left = {name: value for name, value in tensors.items() if name != gone}
        with pytest.raises(UserError, match="another training"):
            checkpoint.restore(*training(optimizer), left, state)


def test_a_place_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create the folder"):
        checkpoint.save(str(tmp_path / "file" / "one"), {}, {})
    with pytest.raises(UserError, match="nowhere"):
        checkpoint.save("nowhere://one", {}, {})
