"""Where else a search can be followed, as a person types it: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from searchspaces.errors import UserError

if TYPE_CHECKING:
    from studies import Engine
    from studies.trackers import Trackers


@dataclass(frozen=True, slots=True)
class Follow:
    """The options by which a person says it.

    Attributes:
        tensorboard: write what TensorBoard reads into the run folder.
        mlflow: tracking URI.
        wandb: project.
    """

    tensorboard: bool = False
    mlflow: str | None = None
    wandb: str | None = None

    def trackers(self, folder: Path, engine: Engine | None) -> Trackers | None:
        """What is to be told of the study in a run folder; None if nobody is.

        Raises:
            UserError: one is not installed, does not answer, or is of no use without `--ray`.
        """
        if self == Follow():
            return None
        from studies.trackers import Trackers

        if self.wandb is None:
            return Trackers(folder, tensorboard=self.tensorboard, mlflow=self.mlflow)
        from studies.ray.engine import RayEngine

        if not isinstance(engine, RayEngine):
            raise UserError("--wandb is for trials on Ray, whose actors do its uploads: add --ray")
        found = Trackers(folder, tensorboard=self.tensorboard, mlflow=self.mlflow, wandb=self.wandb)
        engine.at_end = found.close
        return found

    def words(self) -> str:
        """The same options, to be typed again.

        >>> Follow(tensorboard=True, mlflow="http://host:5000").words()
        ' --tensorboard --mlflow http://host:5000'
        """
        given = {"--mlflow": self.mlflow, "--wandb": self.wandb}
        said = [f"{option} {shlex.quote(value)}" for option, value in given.items() if value is not None]
        return " ".join(["", *(["--tensorboard"] if self.tensorboard else []), *said])
