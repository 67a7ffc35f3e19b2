"""What a study tells TensorBoard, MLflow and Weights & Biases, through the callbacks that Ray Tune has for them.

They are told what happens in the study, wherever its trials run: a training that is run again because its worker died
is one run there, and what was reported once is told once. A server that goes away ends its tracking, not the study.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from searchspaces import UserError
from studies.ray.cluster import check_listening
from studies.trial import StudyEnded, TrialEnded, TrialReported, TrialStarted

if TYPE_CHECKING:
    from studies.trial import Event, Trial


@dataclass(eq=False)
class _Shown:
    """A trial with what Tune's callbacks ask of one of Tune's trials."""

    trial_id: str
    name: str
    local_path: str
    experiment_dir_name: str
    config: dict[str, Any]
    checkpoint: None = None
    evaluated_params: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.evaluated_params = self.config

    def __str__(self) -> str:
        return self.name

    def init_local_path(self) -> None:
        """Make the folder, as TensorBoard's callback asks; the others' is the run folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


class Trackers:
    """Call it with a study's events.

    Args:
        folder: the run folder; its name is what the study is called there.
        tensorboard: write what TensorBoard reads into `tensorboard` in the folder.
        mlflow: tracking URI, such as `http://host:5000` or `sqlite:///mlflow.db`.
        wandb: project; its uploads are actors of Ray, so the trials must run on Ray, and `finish_uploads` must be
            called before Ray is left.

    Attributes:
        lost: what is no longer told, and why.

    Raises:
        UserError: what is asked for is not installed or cannot be reached.
    """

    def __init__(
        self, folder: Path, *, tensorboard: bool = False, mlflow: str | None = None, wandb: str | None = None
    ) -> None:
        self.lost: dict[str, str] = {}
        self._folder = folder.resolve()
        self._told: dict[str, Any] = {}
        self._shown: dict[int, _Shown] = {}
        self._project = wandb
        if tensorboard:
            self._told["tensorboard"] = _made("tensorboard", "tensorboardX", _tensorboard)
        if mlflow is not None:
            _check_mlflow(mlflow)
            self._told["mlflow"] = _made("mlflow", "mlflow", lambda: _mlflow(mlflow, self._folder.name))
        if wandb is not None:
            self._told["wandb"] = _made("wandb", "wandb", lambda: _wandb(wandb, self._folder))

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        match event:
            case TrialStarted():
                shown = self._shown[event.trial.number] = self._show(event.trial)
                self._tell(lambda each: each.log_trial_start(shown))
            case TrialReported():
                shown = self._shown[event.number]
                of = ("accuracy", "epoch") if event.step > 0 else ("rung_accuracy", "rung")
                result = {of[0]: event.accuracy, of[1]: event.step, "training_iteration": event.step}
                self._tell(lambda each: each.log_trial_result(event.step, shown, dict(result)))
            case TrialEnded() if event.trial.number in self._shown:  # else another driver tells
                self._end(event.trial)
            case StudyEnded():
                self.close()

    def finish_uploads(self) -> None:
        """End what Weights & Biases has under way and wait until all is sent; trials may follow, on another Ray."""
        self._finish("wandb")
        if "wandb" in self._told:
            self._told["wandb"] = _wandb(self._project, self._folder)  # the old one knows actors of a Ray that is left

    def close(self) -> None:
        """End what is under way and wait until all is sent."""
        self._told.pop("wandb", None)  # which `finish_uploads` ended
        self._finish()
        self._shown.clear()
        self._told.clear()

    def _finish(self, only: str | None = None) -> None:
        for shown in self._shown.values():
            self._tell(lambda each: each.log_trial_end(shown, failed=True), only)  # noqa: B023 - called at once
        self._tell(lambda each: each.on_experiment_end(trials=[]), only)

    def _show(self, trial: Trial) -> _Shown:
        name = f"trial-{trial.number:05d}"
        folder = self._folder / "tensorboard" / name if "tensorboard" in self._told else self._folder
        choices = {key: _plain(value) for key, value in trial.architecture.choices.items()}
        config = {"number": trial.number, **choices}
        if trial.confirms is not None:
            config["confirms"] = trial.confirms
        if trial.parent is not None:
            config["parent"] = trial.parent
        unique = f"{self._folder.name}-{trial.number}-{uuid.uuid4().hex[:8]}"
        return _Shown(unique, name, str(folder), self._folder.name, config)

    def _end(self, trial: Trial) -> None:
        """The last result has the costs, and the accuracy that counts."""
        shown, epochs = self._shown.pop(trial.number), max(trial.reports[-1][0], 0) if trial.reports else 0
        result: dict[str, Any] = {**trial.cost.told(), "seconds": trial.seconds or 0.0, "training_iteration": epochs}
        if trial.accuracy is not None:
            result |= {"accuracy": trial.accuracy, "epoch": epochs}
        result = {name: value for name, value in result.items() if value is not None}
        self._tell(lambda each: each.log_trial_result(epochs, shown, dict(result)))
        self._tell(lambda each: each.log_trial_end(shown, failed=trial.state == "failed"))

    def _tell(self, what: Callable[[Any], object], only: str | None = None) -> None:
        for name, callback in list(self._told.items()):
            if only not in (None, name):
                continue
            try:
                what(callback)
            except Exception as error:
                del self._told[name]
                self.lost[name] = _line(error)


def _made(option: str, module: str, make: Callable[[], Any]) -> Any:
    """One of Tune's callbacks, ready.

    Raises:
        UserError: something is not installed, or it does not work.
    """
    try:
        __import__(module)
        callback = make()
        callback.setup()
    except ImportError as error:
        raise UserError(f"--{option} needs {module}: pip install 'nas-toolkit[{option}]' ({_line(error)})") from error
    except Exception as error:
        raise UserError(f"--{option} does not work: {_line(error)}") from error
    return callback


def _tensorboard() -> Any:
    from ray.tune.logger import TBXLoggerCallback

    return TBXLoggerCallback()


def _mlflow(uri: str, name: str) -> Any:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return MLflowLoggerCallback(tracking_uri=uri, experiment_name=name)


def _wandb(project: str | None, folder: Path) -> Any:
    from ray.air.integrations.wandb import WandbLoggerCallback

    return WandbLoggerCallback(project=project, group=folder.name, dir=str(folder))


def _check_mlflow(uri: str) -> None:
    """Fail at once where no server listens, which MLflow tries to reach for minutes.

    Raises:
        UserError: nothing answers at the address.
    """
    at = urlsplit(uri)
    if at.scheme not in ("http", "https"):
        return
    try:
        port = at.port or {"http": 80, "https": 443}[at.scheme]
        check_listening(at.hostname or "", port)
    except (OSError, ValueError) as error:
        raise UserError(f"--mlflow: no server answers at {uri}: {_line(error)}") from error


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | bool | int | float) else str(value)


def _line(error: Exception) -> str:
    """An error's first words, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()[:40])
