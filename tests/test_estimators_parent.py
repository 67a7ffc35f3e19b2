"""Trained weights from trial to trial: what they preserve, how much less is trained, and what happens without them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import SPACE
from test_studies_resume import Cut

from estimators import Estimate, Pruned, ShortTraining, TrialContext, load_data
from estimators.core import Halving, accuracy
from estimators.parent import Parent, leave
from estimators.steps import find_device
from searchspaces import Architecture, Scale, UserError

DIGITS = load_data("digits")
SETTINGS: dict[str, Any] = {
    "epochs": 4, "data_fraction": 0.2, "width": 0.5, "depth": 0.5, "save_after_s": 0.0, "device": "cpu",
}  # fmt: skip
TRAINING = ShortTraining(DIGITS, **SETTINGS)


def drawn(count: int) -> list[Architecture]:
    rng = np.random.default_rng(1)
    return [SPACE.sample(rng) for _ in range(count)]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Architecture, str, Estimate]:
    """A trained network, where its weights are, and how accurate it is."""
    place = str(tmp_path_factory.mktemp("left") / "0.safetensors")
    (architecture,) = drawn(1)
    return architecture, place, TRAINING.estimate(architecture, TrialContext(3, weights=place))


def outcome(estimate: Estimate) -> tuple[Any, ...]:
    details = {key: value for key, value in estimate.details.items() if key != "checkpoint"}
    return estimate.accuracy, estimate.curve, details


def judged(module: Any, training: ShortTraining = TRAINING) -> float:
    """The accuracy of a module on the validation images."""
    train, val = training.split()
    batches = training._batches(train, 32, 0, find_device("cpu"))
    found = accuracy(
        module, batches.scaled, *training._validation(val, find_device("cpu")), Halving(32, find_device("cpu"))
    )
    assert found is not None
    return found


def test_a_child_that_computes_what_its_parent_computes_is_as_accurate_before_it_is_trained(
    left: tuple[Architecture, str, Estimate],
) -> None:
    parent, place, estimate = left
    read = Parent.read(place, SPACE)
    assert (read.architecture, read.epochs) == (parent, 4)
    preserved = 0
    for child in {SPACE.mutate(parent, np.random.default_rng(seed)) for seed in range(40)}:
        module = child.build(DIGITS.task, Scale(TRAINING.width, TRAINING.depth))
        found = read.give(module, child, DIGITS.task, Scale(TRAINING.width, TRAINING.depth), seed=0)
        if found["preserved"]:
            preserved += 1
            assert judged(module) == estimate.accuracy
    assert preserved >= 3  # larger kernels, wider stages and new blocks


def test_a_child_is_trained_for_the_last_part_of_the_schedule_and_says_what_it_took_over(
    left: tuple[Architecture, str, Estimate],
) -> None:
    parent, place, _ = left
    child = SPACE.mutate(parent, np.random.default_rng(0))
    for share, steps in ((0.0, [1, 2, 3, 4]), (0.5, [3, 4]), (0.99, [4])):
        reported: list[int] = []

        def report(step: int, accuracy: float, reported: list[int] = reported) -> bool:
            reported.append(step)
            return True

        training = ShortTraining(DIGITS, **SETTINGS, inherited=share)
        found = training.estimate(child, TrialContext(5, report=report, parent=place))
        assert reported == steps
        assert len(found.curve) == len(steps)
        assert found.details["inherited"]["epochs"] == 4
        assert 0 < found.details["inherited"]["share"] <= 1
    scratch = training.estimate(child, TrialContext(5))
    assert len(scratch.curve) == 4
    assert found.accuracy != scratch.accuracy


def test_weights_hold_the_epochs_of_the_whole_lineage(left: tuple[Architecture, str, Estimate], tmp_path: Path) -> None:
    parent, place, estimate = left
    assert estimate.details["weights_bytes"] > 0
    own = str(tmp_path / "1.safetensors")
    TRAINING.estimate(parent, TrialContext(5, parent=place, weights=own))
    assert Parent.read(own, SPACE).epochs == 4 + 2
    assert Parent.read(own, SPACE).fingerprint != Parent.read(place, SPACE).fingerprint


def broken(place: Path) -> Sequence[Path]:
    """A file that is not there, one that is no checkpoint, and a checkpoint of something else."""
    module = drawn(1)[0].build(DIGITS.task)
    (place / "text").write_text("no weights")
    leave(str(place / "other"), module, 4, {"whatever": 1})
    return place / "missing", place / "text", place / "other"


def test_a_parent_that_cannot_be_read_is_said_and_the_child_is_trained_from_scratch(tmp_path: Path) -> None:
    (child,) = drawn(1)
    scratch = outcome(TRAINING.estimate(child, TrialContext(5)))
    for place in broken(tmp_path):
        with pytest.raises(UserError):
            Parent.read(str(place), SPACE)
        found = TRAINING.estimate(child, TrialContext(5, parent=str(place)))
        said = found.details["inherited"]
        assert said.startswith("not used: ")
        assert outcome(found) == (*scratch[:2], {**scratch[2], "inherited": said})


def test_weights_that_cannot_be_written_are_said_and_the_estimate_stands(tmp_path: Path) -> None:
    (child,) = drawn(1)
    (tmp_path / "file").write_text("")
    found = TRAINING.estimate(child, TrialContext(5, weights=str(tmp_path / "file" / "0.safetensors")))
    assert found.details["weights"].startswith("not written: ")
    assert "weights_bytes" not in found.details
    assert found.accuracy == TRAINING.estimate(child, TrialContext(5)).accuracy


def test_a_child_cut_between_its_epochs_and_resumed_ends_the_same(
    left: tuple[Architecture, str, Estimate], tmp_path: Path
) -> None:
    parent, place, _ = left
    child, training = SPACE.mutate(parent, np.random.default_rng(0)), ShortTraining(DIGITS, **SETTINGS, inherited=0.25)
    whole = training.estimate(child, TrialContext(5, parent=place))
    kept = str(tmp_path / "kept.safetensors")

    def cut(step: int, accuracy: float) -> bool:
        if step == 4:
            raise Cut
        return True

    with pytest.raises(Cut):
        training.estimate(child, TrialContext(5, report=cut, checkpoint=kept, parent=place))
    reported: list[int] = []
    again = training.estimate(
        child, TrialContext(5, report=lambda step, _: not reported.append(step), checkpoint=kept, parent=place)
    )
    assert again.details["checkpoint"].startswith("continued after epoch ")
    assert reported == [2, 3, 4]
    assert outcome(again) == outcome(whole)
    without = training.estimate(child, TrialContext(5, checkpoint=kept))  # of another training
    assert without.details["checkpoint"] == "not used: from another training"


def test_a_child_that_is_stopped_leaves_no_weights(left: tuple[Architecture, str, Estimate], tmp_path: Path) -> None:
    child, place = SPACE.mutate(left[0], np.random.default_rng(0)), tmp_path / "1.safetensors"
    with pytest.raises(Pruned) as stopped:
        TRAINING.estimate(child, TrialContext(5, report=lambda *_: False, parent=left[1], weights=str(place)))
    assert len(stopped.value.curve) == 1
    assert not place.exists()


@pytest.mark.parametrize("share", [1.0, -0.1])
def test_the_share_of_the_epochs_is_checked(share: float) -> None:
    with pytest.raises(UserError, match="inherited must be"):
        ShortTraining(DIGITS, inherited=share)


def test_only_a_share_that_somebody_chose_is_part_of_the_description() -> None:
    assert "inherited" not in TRAINING.describe()
    assert ShortTraining(DIGITS, inherited=0.25).describe()["inherited"] == 0.25
