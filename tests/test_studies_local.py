"""Laws of the engine of this process: several trials at once are what each is alone, and their number is found."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from studies_stand_ins import Known, begin

from estimators import Estimate, ShortTraining, load_data
from estimators.core import Core
from searchspaces import UserError
from studies import LocalEngine
from studies.engine import Ending, Job
from studies.local import GAIN, MOST, Shares, Width
from studies.trial import SHARE, device_seconds


def short(trials: int = 5, **settings: Any) -> Any:
    return begin(
        estimator=ShortTraining(load_data("digits"), epochs=2, data_fraction=0.1, image_size=8, device="cpu"),
        trials=trials, strategy="random", **settings,
    )  # fmt: skip


def test_a_study_has_the_same_trials_however_many_run_at_once():
    alone, together = short(), short()
    alone.run()
    before = torch.get_rng_state(), torch.get_num_threads()
    together.run(engine=LocalEngine("cpu", at_once=4))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]

    def found(study: Any) -> dict[int, tuple[Any, ...]]:
        return {each.number: (each.architecture, each.curve, each.details["train_loss"]) for each in study.trials}

    assert found(together) == found(alone)


def test_what_several_at_once_took_of_their_device_adds_up_to_the_time_that_passed():
    """Whatever else the machine does: each moment is divided among those under way, and what is on the wall is not."""
    together = short(trials=8, confirm=0)
    began = time.perf_counter()
    together.run(engine=LocalEngine("cpu", at_once=4))
    passed = time.perf_counter() - began
    seconds = sum(each.seconds or 0.0 for each in together.trials)
    shared = sum(map(device_seconds, together.trials))
    assert shared < 1.05 * passed < seconds / 2
    assert all(0.2 < each.details[SHARE] < 1 for each in together.trials)  # of four at most a quarter, at the end more
    alone = short(trials=2, confirm=0)
    alone.run(engine=LocalEngine("cpu", at_once=1))
    assert [device_seconds(each) for each in alone.trials] == [each.seconds for each in alone.trials]


def test_a_share_is_the_time_over_the_number_under_way():
    clock = iter([0.0, 0.0, 0.0, 6.0, 6.0, 8.0, 12.0])
    shares = Shares(lambda: next(clock))
    for number in (1, 2):
        shares.began(number)
    assert shares.ended(1) == 0.5
    shares.began(3)
    assert shares.ended(2) == pytest.approx((6 / 2 + 2 / 2) / 8)
    assert shares.ended(3) == pytest.approx((2 / 2 + 4) / 6)


def test_on_ray_a_trial_has_the_part_of_a_gpu_that_it_reserved():
    from studies.ray.engine import _with_share

    told: dict[int, Ending] = {}
    gpu, cpu = (Ending("complete", 1.0, 0.5, details={"device": device}) for device in ("cuda", "cpu"))
    quarter, whole = _with_share(told.__setitem__, 0.25), _with_share(told.__setitem__, 1.0)
    for number, (tell, ending) in enumerate(((quarter, gpu), (quarter, cpu), (whole, gpu))):
        tell(number, ending)
    assert [each.details.get(SHARE) for each in told.values()] == [0.25, None, None]


@dataclass
class Scripted:
    """Advances so many steps, of which each is logged, and runs out of memory beside others."""

    steps: int = 3
    room: int = 99
    under_way: set[str] = field(default_factory=set)
    most: int = 0
    reports: int = 0
    log: list[str] = field(default_factory=list)
    device: str = "cpu"

    def describe(self) -> dict[str, Any]:
        return {"name": "scripted"}

    def estimate(self, architecture: Any, context: Any) -> Estimate:
        raise AssertionError("it is advanced")

    def advance(self, architecture: Any, context: Any) -> Any:
        self.under_way.add(architecture)
        try:
            for step in range(self.steps):
                context.report(step + 1, step / self.steps)
                self.reports += 1
                if len(self.under_way) > self.room:
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                self.most = max(self.most, len(self.under_way))
                self.log.append(f"{architecture}{step}")
                yield 32
            return Estimate(0.5, 0.0, (0.5,))
        finally:
            self.under_way.discard(architecture)


def drive(
    estimator: Any, names: str, at_once: int, done: Any = None, next_job: Any = None, report: Any = None
) -> dict[int, Ending]:
    jobs = iter([Job(number, name, 0) for number, name in enumerate(names)])  # type: ignore[arg-type]
    endings: dict[int, Ending] = {}
    LocalEngine("cpu", at_once).run(
        estimator, next_job or (lambda: next(jobs, None)), report or (lambda *told: True), done or endings.__setitem__
    )
    return endings


def test_trials_take_turns_and_a_new_one_begins_when_one_ends():
    scripted = Scripted(steps=2)
    endings = drive(scripted, "abc", 2)
    assert scripted.log == ["a0", "b0", "a1", "b1", "c0", "c1"]
    assert [endings[number].state for number in range(3)] == ["complete"] * 3
    assert drive(Scripted(), "", 2) == {}


def test_trials_that_run_out_of_memory_beside_others_run_again_beside_fewer():
    reports: list[tuple[int, int, float]] = []
    scripted = Scripted(steps=4, room=2)
    endings = drive(scripted, "abcdefgh", 4, report=lambda *told: reports.append(told) or True)
    assert scripted.reports > len(reports)  # some began again
    assert sorted(reports) == [
        (number, step + 1, step / 4) for number in range(8) for step in range(4)
    ]  # each told once
    assert {each.state for each in endings.values()} == {"complete"}
    assert len(endings) == 8
    assert scripted.most == 2


def test_a_trial_that_runs_out_of_memory_alone_fails():
    endings = drive(Scripted(room=0), "ab", 2)
    assert {each.state for each in endings.values()} == {"failed"}
    assert {each.reason for each in endings.values()} == {"out of memory: CUDA out of memory."}


def test_what_the_study_raises_stops_all_that_is_under_way():
    def full(number: int, ending: Ending) -> None:
        raise OSError("no space left")

    scripted = Scripted()
    with pytest.raises(OSError, match="no space left"):
        drive(scripted, "abcd", 3, done=full)
    assert scripted.under_way == set()


def lose_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As CUDA does it: after an error of a kernel every call fails with it."""

    def fails(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with `TORCH_USE_CUDA_DSA`.")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", fails)
    monkeypatch.setattr("studies.local.give_back", fails)
    fails()


LOST = "the GPU is unusable in this process: CUDA error: an illegal memory access was encountered; resume the study"


def test_a_gpu_that_is_lost_ends_the_run_and_the_trial_that_lost_it(monkeypatch, tmp_path):
    faulty = begin(trials=4).seed_of(2)

    with monkeypatch.context() as patch:
        lost = Known(fails=lambda _, seed: lose_the_gpu(patch) if seed == faulty else None)
        study = begin(tmp_path / "run", trials=4, estimator=lost)
        with pytest.raises(UserError, match=LOST):
            study.run(engine=LocalEngine("cpu"))
    assert [trial.state for trial in study.trials] == ["complete", "complete", "failed"]
    lost._fails = lambda *_: None  # in a new process
    study.run()
    assert [trial.state for trial in study.trials] == ["complete", "complete", "failed", "complete"]


def test_a_gpu_that_is_lost_ends_none_of_those_that_share_it(monkeypatch):
    class Faulty(Scripted):
        def advance(self, architecture: Any, context: Any) -> Any:
            yield from super().advance(architecture, context)
            lose_the_gpu(monkeypatch)

    ended: list[int] = []
    with pytest.raises(UserError, match=LOST):
        drive(Faulty(), "abc", 2, done=lambda number, ending: ended.append(number))
    assert ended == [0]


def test_it_asks_again_only_after_an_end():
    asked: list[int] = []
    left = [Job(0, "a", 0), None, Job(1, "b", 0), None, None]  # type: ignore[list-item]

    def next_job() -> Job | None:
        asked.append(1)
        return left.pop(0) if left else None

    assert len(drive(Scripted(), "", 3, next_job=next_job)) == 2
    assert len(asked) == 5  # a, none, b when a has ended, none, and none at the end


def test_an_estimator_that_cannot_be_advanced_runs_one_at_a_time():
    class Whole:
        device = "cpu"

        def describe(self) -> dict[str, Any]:
            return {"name": "whole"}

        def estimate(self, architecture: Any, context: Any) -> Estimate:
            return Estimate(0.5, 0.0)

    assert len(drive(Whole(), "abc", 3)) == 3


@pytest.mark.parametrize("at_once", [0, -1])
def test_none_at_once_is_refused(at_once):
    with pytest.raises(UserError, match=f"at_once must be at least 1, got {at_once}"):
        LocalEngine(at_once=at_once)


def measured(speed: Any, has_room: Any = lambda under_way: True) -> int:
    """The number found where so many at once process `speed` images a second together."""
    clock = [0.0]
    width = Width(MOST, measured=True, has_room=has_room, clock=lambda: clock[0])
    for _ in range(2 * 10**5):
        under_way = width.wanted(width.wanted(1))
        width.count(32)
        clock[0] += 32 / speed(under_way)
    return width.wanted(99)


@pytest.mark.parametrize(
    ("speed", "found"),
    [
        (lambda count: 1000, 1),
        (lambda count: 1000 * min(count, 4), 4),
        (lambda count: 1000 * count, MOST),
        (lambda count: {1: 37_900, 2: 51_900, 4: 73_400, 8: 104_200, 16: 105_000}[count], 8),  # an H200, batch 32
        (lambda count: 1000 * (1 + (GAIN - 1.01) * (count - 1)), 1),
    ],
)
def test_twice_as_many_run_at_once_as_long_as_that_is_faster(speed, found):
    assert measured(speed) == found


def test_no_more_are_begun_than_fit():
    width = Width(8, measured=False, has_room=lambda under_way: under_way < 3)
    assert [width.wanted(count) for count in range(5)] == [8, 8, 8, 3, 4]
    width.narrow(2)
    assert [width.wanted(count) for count in range(3)] == [2, 2, 2]


def test_a_trial_is_begun_beside_others_once_they_have_shown_what_memory_they_take():
    asked: list[int] = []
    width = Width(8, measured=False, has_room=lambda under_way: asked.append(under_way) or under_way < 3)
    assert [width.wanted(2, new=True), width.wanted(2), width.wanted(3, new=True)] == [2, 8, 3]
    assert [width.wanted(3), width.wanted(3), width.wanted(3)] == [3, 3, 3]
    assert asked == [2, 3]  # once, as asking makes the device wait
    assert [width.wanted(2), width.wanted(3)] == [8, 3]
    assert asked == [2, 3, 2, 3]


def test_a_batch_is_not_halved_beside_others_but_whole_when_the_trial_runs_again(monkeypatch):
    alone, together, gradients, gradient = short(), short(), list[Core](), Core._gradient

    def runs_out_once(self: Core) -> torch.Tensor:
        gradients.append(self)
        if len(gradients) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return gradient(self)

    alone.run()
    monkeypatch.setattr(Core, "_gradient", runs_out_once)
    together.run(engine=LocalEngine("cpu", at_once=2))
    assert gradients[0] is not gradients[1]
    assert not any(trial.details["batch_halved"] for trial in together.trials)
    assert {each.number: each.curve for each in together.trials} == {each.number: each.curve for each in alone.trials}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--at-once", "0"], "--at-once must be a whole number from 1, got 0"),
        (["--at-once", "2", "--workers", "2"], "--at-once is for trials in one process, and --workers starts several"),
        (["--at-once", "2", "--ray"], "--at-once is for trials in this process; on Ray, --gpus-per-trial 0.25"),
    ],
)
def test_a_mistake_about_trials_at_once_is_one_line(nas_cli, tmp_path, words, message):
    said = nas_cli("search", "--budget", "400M", "--out", tmp_path / "runs", *words)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert message in said.err
    assert not (tmp_path / "runs").exists()


def test_trials_take_turns_from_the_command_line_and_batches_are_as_large(nas_cli, tmp_path):
    cheap = [word for name in ("epochs=1", "data_fraction=0.1") for word in ("--set", f"estimator.{name}")]
    given = ["--space", "mbconv", "--budget", "40M", "--task", "32x32x3:10", "--device", "cpu", "--strategy", "random"]
    common = ["search", *given, *cheap, "--trials", "4", "--out", tmp_path, "--at-once", "2"]
    said = nas_cli(*common, "--name", "turns")
    assert said.code == 0, said.err
    assert "up to 2 trials at once; --at-once 1 or --deterministic reproduces a seed exactly" in said.out
    said = nas_cli(*common, "--name", "again", "--deterministic", "--quiet", "--json")
    assert said.code == 0, said.err
    assert said.json()["trials"]["complete"] == 4
