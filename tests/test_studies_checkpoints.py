"""Law: a trial whose process died goes on after the epoch of its last checkpoint, and nothing of it stays behind.

Run as a script, `python test_studies_checkpoints.py RUN LOG DIES [ray]`, it runs the study of these tests, which
kills this process once while its second trial is trained: `DIES` is a file that is made then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from studies_stand_ins import SPACE, Known, begin, story

from estimators import Estimate, ShortTraining, TrialContext, epoch_checkpoints, load_data, short_training
from estimators.checkpoint import remove
from searchspaces import Architecture, UserError
from studies import Study

EPOCHS = 4
CUT = 3
"""The epoch that is trained when the process dies; the checkpoint is that of the one before."""


class Logged:
    """Short training with a line in a file for each epoch that is really trained: the trial's seed.

    Args:
        log: the file.
        dies: a file that is made when a process dies; None lets all live.
        victim: process that is killed as the trial with this seed reports `CUT`; None is its own.
    """

    def __init__(self, log: Path, dies: Path | None = None, victim: int | None = None, cursed: int = -1) -> None:
        self._log, self._dies, self._victim, self._cursed = log, dies, victim, cursed
        self._training = ShortTraining(
            load_data("digits"), epochs=EPOCHS, data_fraction=0.05, image_size=8, save_after_s=0.0
        )

    def describe(self) -> dict[str, Any]:
        return self._training.describe()

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        def line() -> None:
            with self._log.open("a") as log:
                log.write(f"{context.seed}\n")

        judge = short_training.accuracy

        def counted(*given: Any) -> float | None:
            line()
            return judge(*given)

        def report(step: int, accuracy: float) -> bool:
            if step == CUT and context.seed == self._cursed and self._dies is not None:
                with contextlib.suppress(FileExistsError):
                    self._dies.touch(exist_ok=False)
                    os.kill(self._victim or os.getpid(), signal.SIGKILL)
                    signal.pause()  # if it was another's
            return context.report(step, accuracy)

        watched = TrialContext(context.seed, context.device, report, context.checkpoint)
        with patch.object(short_training, "accuracy", counted), patch.object(epoch_checkpoints, "SHARE", 0):
            return self._training.estimate(architecture, watched)


def study(folder: Path | str | None, log: Path, dies: Path | None = None, victim: int | None = None) -> Study:
    settings: dict[str, Any] = {"trials": 3, "pruner": "median"}
    cursed = begin(trials=1).seed_of(1)
    return begin(folder, estimator=Logged(log, dies, victim, cursed), **settings)


def trained(log: Path) -> Counter[int]:
    """Epochs by the seed of their trial."""
    return Counter(map(int, log.read_text().split()))


def drive(tmp_path: Path, *more: str) -> int:
    """The study in a process of its own; gives its exit code."""
    command = [sys.executable, __file__, *(str(tmp_path / name) for name in ("run", "log", "dies")), *more]
    return subprocess.run(command, stdout=subprocess.DEVNULL).returncode


def check_it_went_on(tmp_path: Path) -> None:
    """The study that was driven twice, killed the first time, equals the unbroken one and trained one epoch more."""
    whole = study(None, tmp_path / "whole")
    whole.run()
    found = Study.open(tmp_path / "run", space=SPACE)
    assert story(found) == story(whole)
    assert {trial.state for trial in found.trials} == {"complete"}
    assert found.trials[1].details["checkpoint"] == f"continued after epoch {CUT - 1}"
    seeds = [found.seed_of(number) for number in range(3)]
    found.close()
    assert trained(tmp_path / "whole") == dict.fromkeys(seeds, EPOCHS)
    assert trained(tmp_path / "log") == {**dict.fromkeys(seeds, EPOCHS), seeds[1]: EPOCHS + 1}
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_study_killed_inside_a_training_goes_on_after_its_last_checkpoint(tmp_path: Path) -> None:
    assert drive(tmp_path) == -signal.SIGKILL
    assert [each.name for each in (tmp_path / "run" / "checkpoints").iterdir()] == ["1.safetensors"]
    resumed = study(tmp_path / "run", tmp_path / "log", tmp_path / "dies")
    resumed.run()
    resumed.close()
    check_it_went_on(tmp_path)


class Keeps(Known):
    """Leaves a file where it may keep its training."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str | None] = []

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        from estimators.checkpoint import save

        self.places.append(context.checkpoint)
        if context.checkpoint is not None:
            save(context.checkpoint, {}, {"seed": context.seed})
        return super().estimate(architecture, context)


def fails(architecture: Architecture, seed: int) -> None:
    if seed % 2:
        raise ValueError("odd")


class KeepsAndFails(Keeps):
    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        estimate = super().estimate(architecture, context)
        fails(architecture, context.seed)
        return estimate


@pytest.mark.parametrize("where", ["run folder", "folder", "file URL", "memory URL"])
def test_nothing_stays_of_a_trial_that_ended_well_or_not(tmp_path: Path, where: str) -> None:
    import fsspec

    given = {
        "folder": str(tmp_path / "kept"),
        "file URL": f"file://{tmp_path}/kept",
        "memory URL": f"memory://{tmp_path.name}",
    }.get(where)
    estimator = KeepsAndFails()
    found = begin(tmp_path / "run", estimator=estimator, trials=8, pruner="asha", checkpoints=given)
    found.run()
    assert {trial.state for trial in found.trials} == {"complete", "pruned", "failed"}
    root = str(tmp_path / "run" / "checkpoints") if given is None else given
    for number, place in enumerate(estimator.places):
        assert place is not None
        assert place.startswith(root)
        assert place.endswith(f"/{number}.safetensors")
    assert not [each for each in tmp_path.rglob("*.safetensors*") if each.is_file()]
    assert not fsspec.filesystem("memory").glob(f"/{tmp_path.name}/**/*.safetensors")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_storage_that_does_not_remove_a_checkpoint_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    class HttpError(Exception):
        """No OSError, as that of gcsfs."""

    def unavailable(*_: Any, **__: Any) -> bool:
        raise HttpError("503: backend unavailable")

    found = begin(tmp_path / "run", trials=2, checkpoints=f"memory://{tmp_path.name}")
    monkeypatch.setattr(MemoryFileSystem, "exists", unavailable)
    assert found.run().kind == "trials"
    with pytest.raises(UserError, match=r"cannot remove the checkpoint memory://.*: 503: backend unavailable"):
        remove(str(found.checkpoints.place(0)))


def test_two_studies_of_one_name_share_a_place_and_no_file(tmp_path: Path) -> None:
    kept = [Keeps() for _ in range(3)]
    for folder, seed, estimator in zip("abc", (1, 2, 2), kept, strict=True):  # in the same second, two of the same seed
        place = tmp_path / folder / "run"
        begin(place, seed=seed, estimator=estimator, trials=2, checkpoints=str(tmp_path / "kept")).run()
    assert len({place for each in kept for place in each.places}) == 6


def test_leftovers_of_trials_that_ended_are_removed_at_the_next_start_and_no_others(tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def stop(event: Any) -> None:
        if getattr(event, "number", None) == 2:
            raise Stop

    found = begin(tmp_path / "run", estimator=Keeps(), trials=4)
    with pytest.raises(Stop):
        found.run(on_event=stop)  # in the middle of trial 2
    kept = tmp_path / "run" / "checkpoints"
    names = ["0.safetensors", "1.safetensors.0a1b2c3d.part", "2.safetensors", "9.safetensors", "mine.txt"]
    for name in names:
        (kept / name).touch()
    seen: list[set[str]] = []

    class Looks(Keeps):
        def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
            seen.append({each.name for each in kept.iterdir()})
            return super().estimate(architecture, context)

    Study.open(tmp_path / "run", space=SPACE, estimator=Looks()).run()
    assert seen[0] == {"2.safetensors", "9.safetensors", "mine.txt"}  # 9 may be another driver's
    assert {each.name for each in kept.iterdir()} == {"9.safetensors", "mine.txt"}


def test_where_they_are_is_remembered_and_may_change(tmp_path: Path) -> None:
    estimator = Keeps()
    begin(tmp_path / "run", estimator=estimator, trials=2, checkpoints=str(tmp_path / "kept")).run()
    Study.open(tmp_path / "run", space=SPACE, estimator=estimator).run(3)
    Study.open(tmp_path / "run", space=SPACE, estimator=estimator, checkpoints="none").run(4)
    assert [place and Path(place).parents[1].name for place in estimator.places] == ["kept", "kept", "kept", None]
    in_memory = Keeps()
    begin(estimator=in_memory, trials=1).run()
    assert in_memory.places == [None]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "the location is empty"),
        ("s3://bucket/kept", "written to s3://bucket/kept: .*s3fs"),
        ("nonsense://kept", "nonsense"),
        ("{}/file", "cannot be kept at .*/file"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_any_trial(tmp_path: Path, given: str, message: str) -> None:
    if given.startswith("s3"):
        with contextlib.suppress(ImportError):
            import s3fs  # noqa: F401

            pytest.skip("s3fs is installed here")
    (tmp_path / "file").touch()
    estimator = Keeps()
    with pytest.raises(UserError, match=message):
        begin(tmp_path / "run", estimator=estimator, trials=1, checkpoints=given.format(tmp_path)).run()
    assert not estimator.places
    assert (tmp_path / "run").exists() == given.endswith("file")  # a folder is tried when it is needed


def test_a_folder_that_a_node_does_not_have_is_no_place_there(tmp_path: Path) -> None:
    from studies.checkpoints import reachable

    assert reachable(str(tmp_path / "1.safetensors")) == str(tmp_path / "1.safetensors")
    assert reachable(str(tmp_path / "other" / "1.safetensors")) is None
    assert reachable("memory://x/1.safetensors") == "memory://x/1.safetensors"
    assert reachable(None) is None


if __name__ == "__main__":
    from studies.ray.engine import RayEngine

    engine = RayEngine(workers=1) if sys.argv[4:] == ["ray"] else None
    study(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), os.getpid()).run(engine=engine)
