"""Experiment trackers that a search reports to, as a person types them: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchspaces import UserError

if TYPE_CHECKING:
    from studies import Engine
    from studies.trackers import Trackers


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """The options that name experiment trackers.

    Attributes:
        tensorboard: write event files into the run folder.
        mlflow: URI of a tracking server.
        wandb: project.
    """

    tensorboard: bool = False
    mlflow: str | None = None
    wandb: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Tracking:
        """The options among all those of a command, by name."""
        return cls(tensorboard=given["tensorboard"], mlflow=given["mlflow"], wandb=given["wandb"])

    def trackers(self, folder: Path, engine: Engine | None) -> Trackers | None:
        """The trackers of the study in a run folder; None if there are none.

        Raises:
            UserError: one is not installed, does not answer, or needs `--ray`.
        """
        if self == Tracking():
            return None
        from studies.trackers import Trackers

        if self.wandb is None:
            return Trackers(folder, tensorboard=self.tensorboard, mlflow=self.mlflow)
        from studies.ray.engine import RayEngine

        if not isinstance(engine, RayEngine):
            raise UserError("--wandb is for trials on Ray, whose actors upload to it: add --ray")
        found = Trackers(folder, tensorboard=self.tensorboard, mlflow=self.mlflow, wandb=self.wandb)
        engine.at_end = found.finish_uploads
        return found

    def typed(self) -> str:
        """The same options, to be typed again.

        >>> Tracking(tensorboard=True, mlflow="http://host:5000").typed()
        ' --tensorboard --mlflow http://host:5000'
        """
        given = {"--mlflow": self.mlflow, "--wandb": self.wandb}
        words = [f"{option} {shlex.quote(value)}" for option, value in given.items() if value is not None]
        return " ".join(["", *(["--tensorboard"] if self.tensorboard else []), *words])
