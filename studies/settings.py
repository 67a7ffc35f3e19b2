"""The settings of a study, as one value: each is declared, documented, given its default and checked here.

`nas.search` spells them out once, for completion and documentation, and fills the value; so does the command line, by
name. Everything inside takes the value, and a variation is `replace(settings, confirm=2)`. A new setting touches three
places: this file, the signature of `nas.search`, and the option of the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from searchspaces import Architecture, Budget, Task, UserError
from searchspaces.latency import LatencyTable
from searchspaces.task import check_sizes
from studies.checkpoints import check_place
from studies.confirming import AUTO, Confirm, confirm_from, confirmations
from studies.ledger import check_spec
from studies.prescreening import parse_prescreen
from studies.pruning import pruner_from

if TYPE_CHECKING:
    from estimators import Estimator
    from searchspaces import SearchSpace
    from strategies import Strategy


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a study is begun with; `parse` makes it from texts.

    Attributes:
        space: a name, `file.py:object`, or a space; the whole of it, not the part that fits the budget.
        budget: what may be trained; None is everything.
        data: what `load_data` understands; for estimators that have a name.
        task: the deployment task, on which costs are counted. By default the classes, the channels and the image size
            of a person's own images, else that of ImageNet.
        image_size: height and width of the images in pixels, on which costs are counted and candidates of
            `short-training` are trained (`zero-cost`: scored). By default costs are counted on the images as they are
            in their files, and candidates are trained on files decoded at 32 pixels.
        latency: a latency table; `latency_ms` is then a cost like any other. A copy is kept in the run folder.
        trials: planned in all; None where time is the only limit.
        strategy: a name, `file.py:object`, a function or class that makes one from a space and settings, or a strategy
            to which nothing was told (it is copied, never changed).
        estimator: a name, `file.py:object`, a function or class that makes one from settings, or an estimator.
        seed: with the other settings, it determines every proposal and the seed of every trial.
        prescreen: a zero-cost score and a number, `zico:8`: for each trial the strategy is asked so many times, and the
            proposal of the highest score is tried.
        pruner: `none`, `asha`, `median` or `curves`; `curves:0.05` stops a trial whose chance of entering the front is
            below 5 % instead of 10 %.
        device: `auto`, `cpu`, `cuda` or `mps`, for estimators that have a name. May change from run to run.
        start_from: networks to evaluate before all others: classics of the space, architectures, their text form or a
            file of it. For strategies that take it.
        objectives: what is optimized, such as `accuracy,macs`. For strategies that take it.
        replicas: allow a network to be trained more than once.
        confirm: number of leading networks that are each trained three more times with fresh seeds, as the last of the
            `trials`; the best is then chosen by the mean over all its trainings. A study that is extended tries new
            networks, and then trains again the leaders that lack such trainings. 0 confirms none. `auto` takes an
            eighth of the `trials` and divides them among leading networks, as the choice between them needs it. None
            is as the study began, and for one that begins `confirming.usual`.
        inherit: start each candidate from the trained weights of the nearest one before it, and train it for fewer
            epochs. For estimators that can.
        wave: proposals in a synchronous batch: the strategy is told of all results of a batch at once, in the order of
            the trials, after its last trial has ended. The trials are then the same in whatever order they end. None
            tells it of each result at once.
        checkpoints: a folder or a URL of fsspec where trials keep their training state while they run; `none` keeps
            none. By default in the run folder. May change from run to run.
        ledger: `sqlite` or `journal` in the run folder, `memory`, or the URL of a database.
        strategy_settings, estimator_settings: by name. Where a study exists already, those not given keep their values.

    Raises:
        UserError: a setting is out of range, or a text cannot be parsed.
    """

    space: str | SearchSpace = "mbconv"
    budget: Budget | None = None
    data: str = "digits"
    task: Task | None = None
    image_size: int | None = None
    latency: LatencyTable | None = None
    trials: int | None = None
    strategy: str | Strategy | Callable[..., Strategy] = "guided"
    estimator: str | Estimator | Callable[..., Estimator] = "short-training"
    seed: int = 0
    prescreen: str | None = None
    pruner: str = "none"
    device: str = "auto"
    start_from: tuple[str | Architecture, ...] = ()
    objectives: tuple[str, ...] | None = None
    replicas: bool = False
    confirm: Confirm | None = None
    inherit: bool = False
    wave: int | None = None
    checkpoints: str | None = None
    ledger: str = "sqlite"
    strategy_settings: Mapping[str, Any] = field(default_factory=dict)
    estimator_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, low in (("seed", 0), ("trials", 1), ("wave", 1)):
            value = getattr(self, name)
            if value is None and name in ("trials", "wave"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise UserError(f"{name} must be a whole number of at least {low}, got {value!r}")
        self._check_confirm()
        check_spec(self.ledger)
        check_place(self.checkpoints)
        object.__setattr__(self, "pruner", pruner_from(self.pruner))
        if self.prescreen is not None:
            name, draws = parse_prescreen(self.prescreen)
            object.__setattr__(self, "prescreen", f"{name}:{draws}")
        check_sizes(self.task, self.image_size)
        if self.image_size is not None and self.estimator in ("short-training", "supernet", "zero-cost"):
            object.__setattr__(self, "estimator_settings", self._at_image_size())

    def _check_confirm(self) -> None:
        if self.confirm is None:
            return
        confirm, trials = confirm_from(self.confirm), self.trials or 0
        object.__setattr__(self, "confirm", confirm)
        again = confirmations(confirm, trials)
        if confirm == AUTO and not again:
            raise UserError(f"confirm auto takes one in eight trials, so it needs at least 8 trials, got {self.trials}")
        if 2 * again > trials:
            raise UserError(
                f"confirm {confirm} takes {again} trials, which must be at most half of all; trials is {self.trials}"
            )

    def _at_image_size(self) -> dict[str, Any]:
        """The estimator's settings, with the image size."""
        size, trained = self.image_size, self.estimator_settings.get("image_size", self.image_size)
        if trained != size:
            raise UserError(
                f"--image-size {size} and estimator.image_size={trained} differ: to count costs at {size} px and train "
                f"candidates at {trained} px, give --task {size}x{size}xCHANNELS:CLASSES instead of --image-size"
            )
        return {**self.estimator_settings, "image_size": size}

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Settings:
        """Settings as a person gives them: in texts, among other things, and some not at all.

        Args:
            given: by name; what is no setting is left out, None stands for the default.

        Raises:
            UserError: a text cannot be parsed, a file cannot be read, or a setting is out of range.

        >>> str(Settings.parse({"budget": "400M", "objectives": "accuracy,params", "quiet": True}).budget)
        'macs=400M'
        """
        names = {each.name for each in fields(cls)}
        found = {name: value for name, value in given.items() if name in names and value is not None}
        texts: dict[str, Callable[[Any], Any]] = {
            "budget": lambda text: Budget.parse(text) if isinstance(text, str) else text,
            "task": lambda text: Task.parse(text) if isinstance(text, str) else text,
            "latency": lambda file: file if isinstance(file, LatencyTable) else LatencyTable.read(file),
            "start_from": lambda one: (one,) if isinstance(one, str | Architecture) else tuple(one),
            "confirm": confirm_from,
            "objectives": lambda text: tuple(text.split(",") if isinstance(text, str) else text),
        }
        return cls(**{name: texts[name](value) if name in texts else value for name, value in found.items()})
