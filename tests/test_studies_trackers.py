"""What TensorBoard, MLflow and Weights & Biases are told of a study, and that none of them can stop it."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from studies_stand_ins import Known, begin
from test_studies_laws import some_fail

from nas.tracking import Tracking
from searchspaces import UserError
from studies import TrialEnded, trackers
from studies.ray.engine import RayEngine
from studies.trackers import Trackers

pytest.importorskip("ray.tune", reason="needs Ray Tune: pip install 'ray[tune]'")


class Recorder:
    """Stands in for one of Tune's callbacks, and writes down how it is called.

    Args:
        breaks: it raises when it is told of this trial.
    """

    def __init__(self, breaks: str | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._breaks = breaks

    def setup(self) -> None:
        self.calls.append(("setup",))

    def log_trial_start(self, trial: Any) -> None:
        if str(trial) == self._breaks:
            raise ConnectionError("no route\nto host")
        self.calls.append(("start", str(trial), trial.config))

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        self.calls.append(("result", str(trial), iteration, result))

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        self.calls.append(("end", str(trial), failed))

    def on_experiment_end(self, trials: list[Any]) -> None:
        self.calls.append(("over",))


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """The stand-ins for W&B's callback, in the order in which they are made."""
    made: list[Recorder] = []

    def make(project: str, folder: Path) -> Recorder:
        made.append(Recorder())
        return made[-1]

    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    monkeypatch.setattr(trackers, "_wandb", make)
    return made


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A stand-in for MLflow and its callback."""
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setattr(trackers, "_mlflow", lambda uri, name: recorder)
    return recorder


def scalars(folder: Path) -> Iterator[tuple[int, str, float]]:
    """Step, name and value of all that is in a folder's event files, as TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event

    for file in sorted(folder.glob("events.*")):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event()
            event.ParseFromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                yield event.step, value.tag, value.simple_value


def test_tensorboard_can_read_every_trial_without_ray(tmp_path: Path) -> None:
    study = begin(tmp_path / "run", trials=3)
    told = Trackers(tmp_path / "run", tensorboard=True)
    study.run(on_event=told)
    for trial in study.trials:
        seen = list(scalars(tmp_path / "run" / "tensorboard" / f"trial-{trial.number:05d}"))
        curve = [value for step, name, value in seen if name == "ray/tune/accuracy"]
        assert curve == pytest.approx([*trial.curve, trial.accuracy], abs=1e-6)
        assert (3, "ray/tune/macs", trial.cost.macs) in seen
        assert any(name == "_hparams_/experiment" for _, name, _ in seen)
    assert told.lost == {}
    study.close()


def test_each_trial_is_told_once_with_its_choices_its_curve_and_its_costs(tmp_path: Path, mlflow: Recorder) -> None:
    study = begin(tmp_path / "run", trials=12, estimator=Known(fails=some_fail), pruner="asha")
    study.run(on_event=Trackers(tmp_path / "run", mlflow="sqlite:///ml.db"))
    assert {trial.state for trial in study.trials} == {"complete", "pruned", "failed"}
    assert (mlflow.calls[0], mlflow.calls[-1]) == (("setup",), ("over",))
    for trial in study.trials:
        name = f"trial-{trial.number:05d}"
        calls = [call for call in mlflow.calls if call[1:2] == (name,)]
        assert calls[0] == ("start", name, {"number": trial.number, **trial.architecture.choices})
        curve = [(call[2], call[3]["accuracy"]) for call in calls[1:-2]]
        assert curve == list(trial.reports)
        last = calls[-2][3]
        assert (last["macs"], last["params"]) == (trial.cost.macs, trial.cost.params)
        assert last.get("accuracy") == trial.accuracy
        assert calls[-1] == ("end", name, trial.state == "failed")
    study.close()


def test_what_is_under_way_at_ctrl_c_is_ended_too(tmp_path: Path, mlflow: Recorder) -> None:
    def interrupt(architecture: Any, seed: int) -> None:
        raise KeyboardInterrupt

    study = begin(tmp_path / "run", trials=2, estimator=Known(fails=interrupt))
    with pytest.raises(KeyboardInterrupt):
        study.run(on_event=Trackers(tmp_path / "run", mlflow="sqlite:///ml.db"))
    assert mlflow.calls[-2:] == [("end", "trial-00000", True), ("over",)]
    study.close()


def test_an_engine_that_runs_again_ends_the_uploads_of_wandb_each_time_and_no_tracking(
    tmp_path: Path, mlflow: Recorder, wandb: list[Recorder]
) -> None:
    """As with several drivers, where one that has nothing left to do takes over what another left behind."""
    study, engine = begin(tmp_path / "run", trials=2), RayEngine()
    told = Tracking(mlflow="sqlite:///ml.db", wandb="mine").trackers(tmp_path / "run", engine)
    assert told is not None

    def look(event: Any) -> None:
        told(event)
        if isinstance(event, TrialEnded):
            engine.at_end()

    study.run(on_event=look)
    names = ["trial-00000", "trial-00001"]
    assert [call[1] for call in mlflow.calls if call[0] == "end"] == names
    assert mlflow.calls.count(("over",)) == 1
    assert [[call[1] for call in each.calls if call[0] == "end"] for each in wandb] == [[names[0]], [names[1]], []]
    assert [each.calls[-1:] for each in wandb] == [[("over",)], [("over",)], []]  # the last one: Ray is left
    assert told.lost == {}
    study.close()


def test_wandb_is_told_once_that_what_was_under_way_at_ctrl_c_has_ended(tmp_path: Path, wandb: list[Recorder]) -> None:
    def interrupt(architecture: Any, seed: int) -> None:
        told.finish_uploads()  # as an engine does, before it leaves Ray
        raise KeyboardInterrupt

    study = begin(tmp_path / "run", trials=2, estimator=Known(fails=interrupt))
    told = Trackers(tmp_path / "run", wandb="mine")
    with pytest.raises(KeyboardInterrupt):
        study.run(on_event=told)
    assert wandb[0].calls[-2:] == [("end", "trial-00000", True), ("over",)]
    assert (wandb[1].calls, told.lost) == ([], {})
    study.close()


def test_one_that_goes_away_stops_nothing_and_is_named(
    tmp_path: Path, mlflow: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "_breaks", "trial-00002")
    study = begin(tmp_path / "run", trials=4)
    told = Trackers(tmp_path / "run", tensorboard=True, mlflow="sqlite:///ml.db")
    assert study.run(on_event=told).kind == "trials"
    assert told.lost == {"mlflow": "ConnectionError: no route to host"}
    assert [call[1] for call in mlflow.calls if call[0] == "start"] == ["trial-00000", "trial-00001"]
    assert list(scalars(tmp_path / "run" / "tensorboard" / "trial-00003"))
    study.close()


def test_a_folder_that_cannot_be_made_ends_tensorboard_alone(tmp_path: Path, mlflow: Recorder) -> None:
    study = begin(tmp_path / "run", trials=2)
    told = Trackers(tmp_path / "run", tensorboard=True, mlflow="sqlite:///ml.db")
    (tmp_path / "run" / "tensorboard").write_text("")  # as a full disk
    assert study.run(on_event=told).kind == "trials"
    assert list(told.lost) == ["tensorboard"]
    assert [call[1] for call in mlflow.calls if call[0] == "start"] == ["trial-00000", "trial-00001"]
    study.close()


@pytest.mark.parametrize("option", ["mlflow", "wandb"])
def test_what_is_not_installed_is_said_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setitem(sys.modules, option, None)
    with pytest.raises(UserError, match=rf"--{option} needs {option}: pip install 'nas-toolkit\[{option}\]'"):
        Trackers(tmp_path, **{option: "somewhere"})


def test_a_server_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    import socket

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # it does not listen
        uri = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no server answers at {uri}: ConnectionRefusedError"):
            Trackers(tmp_path, mlflow=uri)


@pytest.mark.filterwarnings("ignore")  # what MLflow and its database warn each other of is theirs
def test_mlflow_itself_has_every_trial(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="needs MLflow: pip install mlflow-skinny")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/ml.db"
    study = begin(tmp_path / "run", trials=2)
    study.run(on_event=Trackers(tmp_path / "run", mlflow=uri))
    client = MlflowClient(uri)
    (experiment,) = (each for each in client.search_experiments() if each.name == "run")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["trial-00000", "trial-00001"]
    for trial in study.trials:
        found = runs[f"trial-{trial.number:05d}"]
        assert found.info.status == "FINISHED"
        assert found.data.metrics["accuracy"] == trial.accuracy
        assert found.data.metrics["macs"] == trial.cost.macs
    study.close()


def test_the_command_line_takes_them_and_refuses_wandb_without_ray(nas_cli: Any, tmp_path: Path) -> None:
    search = ["search", "--budget", "400M", "--out", tmp_path, "--name", "a"]
    said = nas_cli(*search, "--wandb", "mine")
    assert (said.code, said.err) == (2, "nas: --wandb is for trials on Ray, whose actors upload to it: add --ray\n")
    assert not (tmp_path / "a").exists()
    quick = ["--set", "estimator.epochs=1", "--set", "estimator.data_fraction=0.1", "--quiet"]
    said = nas_cli(*search, "--trials", "1", "--tensorboard", *quick)
    assert said.code == 0, said.err
    assert any(name == "ray/tune/accuracy" for _, name, _ in scalars(tmp_path / "a" / "tensorboard" / "trial-00000"))
    assert not said.err
