"""What trainings do about a GPU, as far as it can be told without one: memory, precision, and when to capture."""

from __future__ import annotations

import gc
import types
import weakref
from typing import Any

import pytest
import torch
from garbage import no_collection
from test_estimators_checkpoint import steps
from test_estimators_checkpoint import training as small_training
from test_estimators_supernet import FEW, SETTINGS, TINY
from test_estimators_training import QUICK, SMALL

from estimators import TrialContext, checkpoint, core, cuda, supernet, training
from estimators.core import Halving
from estimators.recipe import make_recipe
from estimators.steps import trains_in_bf16
from estimators.supernet import Supernet

GIB = 2**30


@pytest.mark.parametrize("way", ["train", "estimated", "supernet"])
def test_a_training_is_freed_as_it_ends_and_before_memory_is_given_back(way, monkeypatch, tmp_path):
    made: list[Any] = []
    left: list[int] = []

    def kept(*arguments: Any, **named: Any) -> core.Core:
        made.append(weakref.ref(found := core.Core(*arguments, **named)))
        return found

    def give_back(device: Any) -> None:
        left.append(sum(each() is not None for each in made))

    for module in (training, supernet):
        monkeypatch.setattr(module, "Core", kept)
        monkeypatch.setattr(module, "give_back", give_back)
    recipe = make_recipe("sgd", **QUICK, progressive=2)
    with no_collection():
        if way == "train":
            training.train(SMALL, FEW, recipe, tmp_path / "run")
        elif way == "estimated":
            training.estimated(SMALL, FEW, recipe, TrialContext(0))
        else:
            Supernet(FEW, **SETTINGS).prepared(TINY)
    assert (len(made), left) == (1, [0])


class Card:
    """The memory of a GPU: what trainings hold, what lies in pools of their graphs, and what the allocator keeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: float) -> None:
        self.total, self.held, self.pools, self.kept, self.peak = total, 0.0, 0.0, 0.0, 0.0
        self.emptied = 0
        for name, what in (
            ("mem_get_info", lambda *device: (int(GIB * (total - self.reserved)), int(GIB * total))),
            ("memory_reserved", lambda *device: int(GIB * self.reserved)),
            ("memory_allocated", lambda *device: int(GIB * self.held)),
            ("max_memory_allocated", lambda *device: int(GIB * self.peak)),
            ("reset_peak_memory_stats", lambda *device: setattr(self, "peak", self.held)),
            ("empty_cache", self.empty),
        ):
            monkeypatch.setattr(torch.cuda, name, what)

    @property
    def reserved(self) -> float:
        return self.held + self.pools + self.kept

    def empty(self) -> None:
        self.kept, self.emptied = 0.0, self.emptied + 1

    def begin(self) -> None:
        """A training: a quarter of a GiB of weights, and a graph whose pool holds two of activations."""
        self.held, self.pools, self.peak = self.held + 0.25, self.pools + 2, max(self.peak, self.held + 2.25)


@pytest.mark.parametrize(("total", "most"), [(12.0, 4), (24.0, 10), (4.0, 1)])
def test_no_more_trainings_are_begun_than_fit_beside_the_graphs_of_others(total, most, monkeypatch):
    card, under_way = Card(monkeypatch, total), 1
    card.begin()
    while cuda.room_for_another(torch.device("cuda"), under_way):
        card.begin()
        under_way += 1
        assert card.reserved < total
    assert under_way == most


def test_memory_that_is_only_kept_is_given_back_before_there_is_no_room(monkeypatch):
    card = Card(monkeypatch, 12.0)
    card.begin()
    card.kept = 9.0  # of trainings that ended
    assert cuda.room_for_another(torch.device("cuda"), 1)
    assert card.emptied == 1
    assert cuda.room_for_another(torch.device("cuda"), 1)
    assert card.emptied == 1  # which costs time, and is done where it helps


def test_a_peak_of_trainings_that_ended_does_not_count(monkeypatch):
    card = Card(monkeypatch, 40.0)
    card.held = card.peak = 30.0
    card.held = 0.0
    card.begin()
    assert not cuda.room_for_another(torch.device("cuda"), 1)
    assert cuda.room_for_another(torch.device("cuda"), 1)


class CUDAGraph:
    """Torch's, as far as a capture goes."""

    def __init__(self) -> None:
        self.collects: list[bool] = []

    def capture_begin(self, capture_error_mode: str) -> None:
        self.collects.append(gc.isenabled())

    def capture_end(self) -> None:
        self.collects.append(gc.isenabled())


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_collected_in_a_capture_which_that_may_break(fails, monkeypatch):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", CUDAGraph)
    card = Card(monkeypatch, 12.0)
    graph = cuda.Graph(torch.Generator())

    def work() -> None:
        if fails:
            raise RuntimeError("operation not permitted when stream is capturing")

    try:
        graph.record(work)
        assert not fails
    except RuntimeError:
        assert fails
    assert graph._graph.collects == [False, False]
    assert gc.isenabled()
    assert card.emptied == 0


def test_a_capture_that_finds_little_free_has_what_the_allocator_keeps(monkeypatch):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", CUDAGraph)
    card = Card(monkeypatch, 12.0)
    card.kept = 7.0
    cuda.Graph(torch.Generator()).record(lambda: None)
    assert card.emptied == 1


@pytest.mark.parametrize(("major", "has"), [(7, False), (8, True), (9, True)])
def test_only_gpus_that_have_bfloat16_train_in_it(major, has, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: types.SimpleNamespace(major=major))
    assert trains_in_bf16(torch.device("cuda")) is has
    assert not trains_in_bf16(torch.device("cpu"))


def test_parts_become_as_small_as_they_must_and_as_they_may():
    def work(memory: Halving, room: int) -> Any:
        def attempt() -> int:
            if memory.micro > room:
                raise MemoryError
            return memory.micro

        return memory.attempt(attempt)

    cpu = torch.device("cpu")
    assert work(Halving(1024, cpu, least=64), 300) == 256
    assert work(Halving(1024, cpu, least=300), 300) == 300
    assert work(Halving(64, cpu), 32) == 32
    for memory, room in ((Halving(1024, cpu, least=64), 63), (Halving(64, cpu), 31), (Halving(1, cpu), 0)):
        with pytest.raises(MemoryError):
            work(memory, room)


def test_a_batch_is_not_halved_for_memory_that_others_use():
    shared = True
    memory = Halving(64, torch.device("cpu"), shared=lambda: shared)

    def attempt() -> int:
        if memory.micro > 32:
            raise MemoryError
        return memory.micro

    with pytest.raises(MemoryError):
        memory.attempt(attempt)
    assert memory.micro == 64
    shared = False
    assert memory.attempt(attempt) == 32


def test_a_training_that_changes_its_device_steps_in_the_way_of_the_new_one():
    model, began = small_training("adamw")
    began.param_groups[0]["weight_decay"] = 0.5
    steps(model, began, 0, 1)
    tensors, state = checkpoint.training_state(model, began)
    model, goes_on = small_training("adamw")
    goes_on.param_groups[0].update(capturable=True, foreach=False)  # as made for a GPU
    checkpoint.restore(model, goes_on, tensors, state)
    (group,) = goes_on.param_groups
    assert (group["capturable"], group["foreach"], group["weight_decay"]) == (True, False, 0.5)
