"""Law: a short training that is cut after any epoch and goes on ends as the unbroken one does, to the last digit."""

from __future__ import annotations

import errno
import functools
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimators import Estimate, Pruned, ShortTraining, TrialContext, load_data, short_training
from estimators.epoch_checkpoints import SHARE, EpochCheckpoints, TrainingProgress
from searchspaces import SPACES, Architecture, Space, Stage, Task, choice, conv_head, conv_stem, mbconv

DIGITS = load_data("digits")
EPOCHS = 4
QUICK = {"epochs": EPOCHS, "data_fraction": 0.05, "image_size": 8, "width": 0.125, "depth": 0.2, "save_after_s": 0.0}


class Cut(BaseException):
    """Stands for the death of the process: nothing catches it."""


@functools.cache
def member(space: str) -> Architecture:
    """A small one: the fewest parameters of a few draws."""
    rng = np.random.default_rng(1)
    drawn = [SPACES[space]().sample(rng) for _ in range(8)]
    return min(drawn, key=lambda each: each.cost(Task()).params)


NETWORK = Space(
    "small",
    stem=Stage(conv_stem, width=8),
    stages=[Stage(mbconv, width=choice(64, 128), depth=2, kernel=choice(3, 5), stride=2)],
    head=Stage(conv_head, width=64),
).sample(np.random.default_rng(1))  # trained in the blink of an eye
OTHERS = {"seed": {"seed": 1}, "rate": {"lr": 0.05}, "data": {"data_fraction": 0.1}, "network": {"network": "resnet"}}


def train(place: Path | str | None, *, cut: int | None = None, network: Architecture = NETWORK, seed: int = 0,
          report: Callable[[int, float], bool] = lambda step, accuracy: True, **settings: Any) -> Estimate:  # fmt: skip
    """Train; the process dies as epoch `cut` is reported, before a checkpoint of it is written."""

    def watched(step: int, accuracy: float) -> bool:
        if step == cut:
            raise Cut
        return report(step, accuracy)

    estimator = ShortTraining(DIGITS, **{**QUICK, **settings})
    return estimator.estimate(network, TrialContext(seed, "cpu", watched, None if place is None else str(place)))


@functools.cache
def unbroken() -> Estimate:
    """The training of the same network that is not cut, and keeps nothing."""
    return train(None)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after each epoch, however long it takes to write."""
    monkeypatch.setattr("estimators.epoch_checkpoints.SHARE", 0)


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for each epoch that is really trained."""
    trained: list[int] = []
    validate = short_training.accuracy

    def counted(*given: Any) -> float | None:
        trained.append(1)
        return validate(*given)

    monkeypatch.setattr(short_training, "accuracy", counted)
    return trained


def same(one: Estimate, other: Estimate) -> bool:
    details = [{key: value for key, value in each.details.items() if key != "checkpoint"} for each in (one, other)]
    return (one.accuracy, one.curve, details[0]) == (other.accuracy, other.curve, details[1])


@pytest.mark.parametrize("space", ["mbconv", "resnet", "nasnet"])  # squeeze-excite, residuals, free wiring
def test_a_training_cut_after_any_epoch_ends_as_the_unbroken_one(space: str, tmp_path: Path, epochs: list[int]) -> None:
    network, place, told = member(space), tmp_path / "7.safetensors", list[tuple[int, float]]()
    whole = train(None, network=network)
    epochs.clear()
    for cut in (2, 3, EPOCHS):  # the first has no checkpoint to go on from
        with pytest.raises(Cut):
            train(place, network=network, cut=cut)
    assert len(epochs) == 2 + 2 + 2  # each goes on after the epoch before the cut, and trains the one it is cut at
    again = train(place, network=network, report=lambda *step: told.append(step) or True)
    assert same(again, whole)  # the training loss too, which has all digits of the weights
    assert again.details["checkpoint"] == f"continued after epoch {EPOCHS - 1}"
    assert told == list(enumerate(whole.curve, start=1))  # its earlier epochs first
    assert len(epochs) == 7


def test_where_it_is_kept_may_be_a_url(epochs: list[int]) -> None:
    whole, place = unbroken(), "memory://kept/3.safetensors"
    epochs.clear()
    with pytest.raises(Cut):
        train(place, cut=3)
    assert same(train(place), whole)
    assert len(epochs) == 3 + 2


def test_a_continued_training_is_pruned_by_what_it_reported_before(tmp_path: Path, epochs: list[int]) -> None:
    whole, place = unbroken(), tmp_path / "a"
    epochs.clear()
    with pytest.raises(Cut):
        train(place, cut=4)
    with pytest.raises(Pruned) as pruned:
        train(place, report=lambda step, accuracy: step < 2)
    assert pruned.value.curve == whole.curve[:2]
    assert len(epochs) == 4  # none for the pruned one


@pytest.mark.parametrize("what", OTHERS)
def test_the_checkpoint_of_another_training_is_as_good_as_none(tmp_path: Path, what: str) -> None:
    place, other = tmp_path / "a", dict[str, Any](OTHERS[what])
    if "network" in other:
        other["network"] = member(other["network"])
    with pytest.raises(Cut):
        train(place, cut=3, **other)
    again = train(place)
    assert same(again, unbroken())
    assert again.details["checkpoint"] == "not used: from another training"


def damage_nothing(place: Path) -> None:
    place.write_bytes(b"")


def cut_short(place: Path) -> None:
    place.write_bytes(place.read_bytes()[:-100])


def pickled(place: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(place.with_name("ran")),)

    place.write_bytes(pickle.dumps(Evil()))


def is_a_folder(place: Path) -> None:
    place.unlink()
    place.mkdir()


@pytest.mark.parametrize("damage", [damage_nothing, cut_short, pickled, is_a_folder])
def test_a_damaged_checkpoint_is_as_good_as_none_and_runs_nothing(tmp_path: Path, damage: Any) -> None:
    place = tmp_path / "a"
    with pytest.raises(Cut):
        train(place, cut=3)
    damage(place)
    again = train(place)
    assert same(again, unbroken())
    assert again.details["checkpoint"].startswith("not ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("curve", [0.5, 2.0]), ("curve", [0.5] * EPOCHS), ("curve", []), ("micro", 0), ("micro", 1.5), ("seconds", -1.0),
     ("optimizer", {"groups": [], "state": {}}), ("whose", None)],
)  # fmt: skip
def test_numbers_that_cannot_be_are_not_believed(tmp_path: Path, name: str, value: Any) -> None:
    from estimators.checkpoint import load, save

    place = tmp_path / "a"
    with pytest.raises(Cut):
        train(place, cut=3)
    found = load(str(place))
    assert found is not None
    save(str(place), found[0], {**found[1], name: value})
    again = train(place)
    assert same(again, unbroken())
    assert again.details["checkpoint"] == "not used: from another training"


def test_a_full_disk_fails_no_trial_and_no_part_of_a_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    estimate = train(tmp_path / "a")
    assert same(estimate, unbroken())
    assert estimate.details["checkpoint"].startswith("not written: ")
    assert estimate.details["checkpoint"].endswith("No space left on device")
    assert not list(tmp_path.iterdir())


def test_saving_is_worth_its_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = [100.0], list[float]()

    def slow(place: str, tensors: Any, state: Any) -> None:
        written.append(clock[0])
        clock[0] += 3.0  # what it takes

    monkeypatch.setattr("estimators.epoch_checkpoints.SHARE", SHARE)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("estimators.epoch_checkpoints.save", slow)
    import torch

    model = torch.nn.Linear(2, 2)
    training = model, torch.optim.SGD(model.parameters())
    kept = EpochCheckpoints(str(tmp_path / "a"), {}, save_after_s=10.0)
    for _ in range(100):
        clock[0] += 4.0  # an epoch
        kept.keep(training, TrainingProgress((0.5,), 1, 4.0))
    assert written[0] == 112.0  # the third epoch is the first that ends 10 seconds after the beginning
    between = np.diff(written) - 3.0
    assert set(between) == {60.0}  # of training: the first multiple of 4 that is 20 times 3
    assert SHARE == 20


def test_nothing_is_written_after_the_last_epoch_or_before_it_is_worth_it(tmp_path: Path) -> None:
    train(tmp_path / "a", save_after_s=1000.0)
    assert not list(tmp_path.iterdir())
    train(tmp_path / "a", epochs=1)
    assert not list(tmp_path.iterdir())
