"""Train a candidate for a few epochs on the proxy task; its accuracy on the validation images is the estimate, or its
training loss.

The recipe is the usual one for small convolutional networks: SGD with Nesterov momentum, a linear warm-up and a cosine
to zero (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts), label smoothing (Szegedy et al. 2016,
arXiv:1512.00567, sec. 7), weight decay on convolution and linear weights only (He et al. 2019, arXiv:1812.01187,
sec. 3.1), random crops and mirroring, and cutout (DeVries & Taylor 2017, arXiv:1708.04552). The proxy may shrink the
candidate, the images and the data set. `docs/proxy.md` measures the effect on the ranking and explains the defaults.

Left out: weight averaging, mixup and learned augmentation, which only pay off in long trainings.
"""

from __future__ import annotations

import contextlib
import math
import time
import traceback
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from estimators.augmentation import AUGMENTATION_RANGES, Augmentation
from estimators.batches import Batches, channel_statistics
from estimators.core import Core, Halving, accuracy, finished, on_device, recorder_of
from estimators.data import ImageData, train_and_validation
from estimators.epoch_checkpoints import EpochCheckpoints, TrainingProgress
from estimators.estimator import BALANCED, Diverged, Estimate, Pruned, TrialContext, effective_images
from estimators.parent import leave, parent_at
from estimators.rungs import Rung, parse_rungs, passed, step_of
from estimators.steps import (
    DEVICES,
    Range,
    check_ranges,
    decayed,
    find_device,
    give_back,
    has_bf16,
    learning_rates,
    own_globals,
    quick_to_load,
    seed_of,
    trains_in_bf16,
    unknown_device,
)
from searchspaces import Scale, UserError, nearest
from searchspaces.layers import ShapeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from estimators.epoch_checkpoints import Training
    from searchspaces import Architecture, SearchSpace, Task

PRECISIONS: Final = ("fp32", "bf16")
TRAINING_LOSS: Final = "training-loss"
METRICS: Final = ("top-1", "balanced", TRAINING_LOSS)
LIKELIHOOD: Final = "training likelihood, not accuracy"
"""`estimates` in the description where the metric is `TRAINING_LOSS`."""
INHERITED: Final = 0.5
"""Share of the epochs that a child leaves out by default; `docs/proxies.md` has what others save and lose."""
_NEW: Final = {"precision": "fp32", "metric": "top-1", "adjusted": False, "inherited": INHERITED, "rungs": ""}
"""Settings that run folders do not have where they are as they were before there was a choice."""
ENOUGH_IMAGES: Final = 4000
"""Maximum number of images by default, if `data_fraction` is None."""
ENOUGH_MACS: Final = 8e6
"""MACs on the proxy's images up to which candidates are not shrunken; a trial then takes up to a minute of a core."""
ENOUGH_MACS_ON_GPU: Final = 150e6
"""The same on a GPU. With 15 networks of `mbconv` at 20M to 40M MACs on CIFAR-10, against 60 epochs on 10,000 images,
Kendall's tau was 0.69 for 8,000 images in batches of 64, and 0.44 for 3,200 in batches of 32; six epochs both."""
ENOUGH_IMAGES_ON_GPU: Final = 8000
"""Maximum number of images on a GPU, where nobody chose `data_fraction`."""
MEASURED: Final = 4
"""Networks, and steps of each, with which the speed in bfloat16 is measured as a study begins."""
GAIN_OF_BF16: Final = 1.2
"""How many times faster it must be; less is the noise of a measurement."""
JUDGED: Final = 1024
"""Validation images of a forward pass on a GPU, whose memory holds more than a batch."""
SHRUNKEN: Final = ((1.0, 1.0), (0.5, 1.0), (0.5, 0.5), (0.25, 0.5))
"""Factors on width and depth, from no shrinking to the most."""


@dataclass(frozen=True, eq=False, slots=True)
class ShortTraining:
    """A few epochs of training, on shrunken candidates and a part of the data.

    On a CPU, the estimate is a function of the architecture and the seed, independent of global generators and of
    torch's number of threads, both of which are restored. Memory is released however the trial ends.

    Attributes:
        data: the images; only their search part is touched.
        epochs: passes over the training images.
        batch: images per step; the last incomplete batch of an epoch is dropped.
        lr: learning rate at its peak.
        warmup: share of all steps in which the learning rate rises linearly to its peak, in [0, 1).
        weight_decay: on the weights of convolutions and linear layers only, not on biases and norms.
        label_smoothing: probability mass spread over all classes, in [0, 1).
        image_size: side of the training images in pixels; None keeps the size of the data.
        width, depth: multipliers of the candidate's widths and depths. A study that sets neither chooses ones that suit
            its space (`suited`).
        data_fraction: share of the images to use, stratified, before splitting, in (0, 1]; by default up to 4,000.
        val_fraction: share of the used images that are validation images, stratified, in (0, 0.5].
        split_seed: seed for choosing the used images and the validation images.
        crop: random crops after padding by this share of the side; 0 is off.
        cutout: side of the randomly placed hole, as a share of the image's side; 0 is off.
        mirror: mirror half of the images left to right; by default if the names of the classes allow it.
        metric: the estimate: `top-1` accuracy on the validation images; `balanced`, the mean of the accuracies on each
            class, for imbalanced data; or `training-loss`, exp(-the mean loss over an epoch's steps), which is not an
            accuracy but ranks networks (the training speed of Ru et al. 2021, arXiv:2006.04492, of the last epoch
            only). It averages over all training images, of which there are more than validation images, and so is
            less noisy; see `docs/proxies.md` for how well it ranks. Details then have the `likelihood`, and the
            `val_accuracy` at the end.
        adjusted: whether a study adjusts accuracies for luck by the training loss (`studies.adjusting`) where it says
            which networks are best. New studies do, unless this is set or the estimate is not an accuracy.
        threads: CPU cores per training. They change the order of sums and thus the last digits of the result, and are
            part of the description. 1 gives the same result in every engine and does not stall next to other work.
        precision: of training steps on a CPU, `fp32` or `bf16`; the latter leaves grouped convolutions in float32. A
            study on a CPU that has bfloat16 in hardware chooses the faster one. GPUs that have bfloat16 in hardware
            always train in it, and accuracies are those of float32 (of TF32 convolutions from Ampere on).
        inherited: share of the epochs, in [0, 1), that a training from a parent's weights skips: it starts that far
            into the schedule, at the learning rate there, and its first report is of the following epoch.
        rungs: trainings at lower fidelity before this one, after each of which a pruner may stop the trial:
            `images:0.25` (a quarter of the training images), `image_size:16`, `epochs:3`, several of these with `+`,
            several rungs with commas. None by default; see `docs/proxies.md` for what they save and lose.
        device: one of `DEVICES`, used if the trial's context says `auto`. It must be available where trials run. Not
            part of the description.
        save_after_s: minimum seconds of training between two checkpoints, which are written after epochs; in any case
            at least 20 times as long as writing one takes. Not part of the description.

    Raises:
        UserError: a setting is out of range.
    """

    data: ImageData
    epochs: int = 6
    batch: int = 32
    lr: float = 0.1
    warmup: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    image_size: int | None = None
    width: float = 0.25
    depth: float = 0.5
    data_fraction: float | None = None
    val_fraction: float = 0.2
    split_seed: int = 0
    crop: float = 0.125
    mirror: bool | None = None
    cutout: float = 0.0
    metric: str = "top-1"
    adjusted: bool = False
    threads: int = 1
    precision: str = "fp32"
    inherited: float = INHERITED
    rungs: str = ""
    device: str = "auto"
    save_after_s: float = 2.0
    _smaller: tuple[tuple[str, Rung, ShortTraining], ...] = field(default=(), init=False, repr=False)

    inherits: ClassVar[bool] = True
    noisy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self)
        fill_in(self, ENOUGH_IMAGES)
        assert self.image_size is not None
        rungs = parse_rungs(self.rungs, self.image_size, self.epochs)
        smaller = ((name, each, self._at(each)) for name, each in rungs.items())
        object.__setattr__(self, "_smaller", tuple(smaller))

    def _at(self, rung: Rung) -> ShortTraining:
        """The training at a rung, but for its share of the images."""
        return replace(self, rungs="", image_size=rung.image_size, epochs=rung.epochs)

    @property
    def climbs(self) -> int:
        """The number of rungs, which report at steps up to 0."""
        return len(self._smaller)

    def describe(self) -> dict[str, Any]:
        """The settings with defaults resolved, and the data, as plain JSON values."""
        apart = ("data", "device", "save_after_s", "_smaller")
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in apart}
        for name, usual in _NEW.items():
            if settings[name] == usual:
                del settings[name]
        if self.metric == TRAINING_LOSS:
            settings["estimates"] = LIKELIHOOD
        train, val = self.split()
        counts = {"train_images": len(train), "val_images": len(val)}
        return {"name": "short-training", **settings, **counts, "data": self.data.describe()}

    def suited(self, space: SearchSpace) -> dict[str, Any]:
        """The settings for a space on this estimator's device: the least shrinking at which half of its networks are
        cheap enough, and on a GPU, where the same seconds buy ten times the images, larger batches of more images.

        Networks of a few million MACs, shrunken to a quarter of their width, would all have the minimum number of
        channels and look alike; networks of hundreds of millions of MACs cannot be trained whole in a minute of a core.

        Args:
            space: the space under its budget.

        Returns:
            `width` and `depth`, which go together; on a GPU `batch` and `data_fraction` too; `precision` where a CPU
            is faster in bfloat16; `adjusted` where the estimate is an accuracy.
        """
        on_gpu = self.device == "cuda" or (self.device == "auto" and find_device("auto").type == "cuda")
        enough = ENOUGH_MACS_ON_GPU if on_gpu else ENOUGH_MACS
        rng = np.random.default_rng(0)
        drawn = [space.sample(rng) for _ in range(20)]
        for width, depth in SHRUNKEN:
            if np.median([_macs(each, self.data.task, Scale(width, depth)) for each in drawn]) <= enough:
                break
        chosen: dict[str, Any] = {"width": width, "depth": depth}
        if self.metric != TRAINING_LOSS:
            chosen["adjusted"] = True
        if on_gpu:
            chosen |= {"batch": 64, "data_fraction": min(1.0, ENOUGH_IMAGES_ON_GPU / len(self.data.labels))}
        elif has_bf16() and self._gain_of_bf16(drawn[:MEASURED], Scale(width, depth)) >= GAIN_OF_BF16:
            chosen["precision"] = "bf16"
        return chosen

    def _gain_of_bf16(self, drawn: Sequence[Architecture], scale: Scale) -> float:
        """How many times faster the steps of some networks are in bfloat16 than in float32 on this CPU; the median.

        Networks whose training has fewer steps than are measured, or diverges, are left out; 0 if none is left.
        """
        device = find_device("cpu")
        found = []
        for architecture in drawn:
            seconds: dict[str, float] = {}
            for precision in ("fp32", "bf16"):
                training = replace(
                    self, width=scale.width, depth=scale.depth, device="cpu", precision=precision, rungs=""
                )
                steps = training.advance(architecture, TrialContext(0))
                with (
                    own_globals(device, self.threads),
                    contextlib.suppress(ShapeError, Diverged, StopIteration),
                    contextlib.closing(steps),
                ):
                    next(steps)  # what is made on first use
                    began = time.perf_counter()
                    for _ in range(MEASURED):
                        next(steps)
                    seconds[precision] = time.perf_counter() - began
            if len(seconds) == 2:
                found.append(seconds["fp32"] / seconds["bf16"])
        return float(np.median(found)) if found else 0.0

    def split(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Indices into `data.images` of the training and the validation images; a function of the settings alone."""
        assert self.data_fraction is not None
        return train_and_validation(self.data, self.data_fraction, self.val_fraction, self.split_seed)

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """Train one architecture and estimate it after each epoch; before that, at each rung.

        A step that runs out of memory is repeated in two halves whose gradients are added, and so are all later steps;
        batch norm then sees half batches. A report after the last epoch cannot stop the trial.

        An interrupted training continues after the epoch of its last checkpoint and ends as if it had not been
        interrupted, to the last digit on a CPU. A damaged checkpoint, or one of another training, is ignored; a failed
        write is noted in the details. A parent whose weights cannot be read is too, and the training then starts from
        scratch.

        Raises:
            Pruned: `context.report` returned False at a rung or before the last epoch.
            Diverged: the loss or the logits are not finite.
            UserError: the device is unknown or not available.
        """
        device = self._device(context)
        with own_globals(device, self.threads):
            try:
                return finished(self.advance(architecture, context))
            finally:
                give_back(device)

    def advance(self, architecture: Architecture, context: TrialContext) -> Generator[int, None, Estimate]:
        """`estimate` step by step, so that one process keeps several trainings under way on one GPU.

        The result does not depend on what runs between two steps. The caller keeps torch's global generators and its
        number of threads (`own_globals`).

        Yields:
            The number of images of the step that was done, or enqueued on a GPU; 0 where it waits.

        Returns:
            What `estimate` does, which says what is raised.
        """
        device = self._device(context)
        try:
            return (yield from on_device(self._climb(architecture, context, device), device))
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they keep the network alive as long as the error
            raise

    def _device(self, context: TrialContext) -> torch.device:
        return find_device(self.device if context.device == "auto" else context.device)

    def _climb(
        self, architecture: Architecture, context: TrialContext, device: torch.device
    ) -> Generator[int, None, Estimate]:
        """The trainings at the rungs, from scratch even where this one has a parent, and then this one."""
        start = time.perf_counter()
        train, val = self.split()
        rungs = self._smaller if context.stoppable else ()
        whose = self._whose(architecture, context.seed) if context.checkpoint or context.weights else {}
        notes: dict[str, Any] = {}
        known: tuple[float, ...] = ()
        if rungs and context.checkpoint:
            earlier = EpochCheckpoints(context.checkpoint, whose, self.save_after_s)
            known = passed((earlier.found() or ({}, {}))[1], whose, len(rungs))
        accuracies: tuple[float, ...] = ()
        for index, (name, rung, smaller) in enumerate(rungs):
            if index < len(known):
                accuracies += known[index : index + 1]
            else:
                part = rung.part(train, self.data.labels, self.split_seed), val
                own = TrialContext(context.seed, context.device, checkpoint=context.checkpoint, shared=context.shared)
                its = {**whose, "rungs": list(accuracies)}
                try:
                    found = yield from smaller._train(architecture, own, device, part, its, start, index == len(known))
                except Diverged as error:
                    raise Diverged(f"rung {name}: {error}") from None
                if "checkpoint" in found.details:
                    notes["checkpoint"] = f"rung {name}: {found.details['checkpoint']}"
                accuracies += (found.accuracy,)
            if not context.report(step_of(index, len(rungs)), accuracies[-1]):
                raise Pruned(accuracies, time.perf_counter() - start, name)
        its = {**whose, "rungs": list(accuracies)} if rungs else whose
        reads = len(known) == len(rungs)
        found = yield from self._train(architecture, context, device, (train, val), its, start, reads)
        return replace(found, details={**notes, **found.details})

    def _train(
        self,
        architecture: Architecture,
        context: TrialContext,
        device: torch.device,
        positions: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
        whose: dict[str, Any],
        start: float,
        reads: bool,
    ) -> Generator[int, None, Estimate]:
        """One training.

        Args:
            positions: of the training and the validation images.
            whose: identifies it, but for its parent, in its checkpoint and in the weights that it leaves.
            start: when the trial began, by `time.perf_counter`.
            reads: as of `EpochCheckpoints`.
        """
        train, val = positions
        batch = min(self.batch, len(train))
        parent, lineage = parent_at(context.parent, architecture)
        first = 0 if parent is None else min(int(self.inherited * self.epochs), self.epochs - 1)
        if whose and parent is not None:
            whose = {**whose, "parent": parent.fingerprint}
        kept = EpochCheckpoints(context.checkpoint, whose, self.save_after_s, reads)

        def begin() -> Training:
            model, optimizer = self._begin(architecture, context.seed, device)
            if parent is not None:
                scale = Scale(self.width, self.depth)
                lineage["inherited"] = parent.give(model, architecture, self.data.task, scale, context.seed)
            return model, optimizer

        training, done = kept.continued(begin, self.epochs - first, batch)
        batches = self._batches(train, batch, context.seed, device)
        steps = batches.steps
        core = Core(
            *training,
            batches,
            self.lr * learning_rates(self.epochs * steps, self.warmup),
            self.label_smoothing,
            lambda step: seed_of(context.seed, "step", step),
            bf16=trains_in_bf16(device) or (device.type == "cpu" and self.precision == "bf16"),
            recorder=recorder_of(device),
            done=steps * (first + (0 if done is None else len(done.curve))),
            shared=context.shared,
        )
        on_gpu = device.type == "cuda"  # many at once, and no fewer than it learned from at once if those are too many
        most, least = (JUDGED, core.memory.micro) if on_gpu else (batch, None)
        judging = Halving(most, device, least, context.shared)
        validation = self._validation(val, device)

        curve: list[float] = []
        loss = validated = math.nan
        if done is not None:
            core.memory.micro, start = done.micro, start - done.seconds
            for each in done.curve:
                curve.append(each)
                if not context.report(first + len(curve), each):
                    raise Pruned(tuple(curve), time.perf_counter() - start)
        for epoch in range(first + len(curve), self.epochs):
            for _ in range(steps):
                core.step()
                yield batch
            loss = core.take_loss() / steps
            if not math.isfinite(loss):
                raise Diverged(f"the training loss was {loss} in epoch {epoch + 1} of {self.epochs}")
            if self.metric != TRAINING_LOSS or epoch + 1 == self.epochs:
                judging.micro = judging.micro if on_gpu else min(judging.micro, core.memory.micro)
                share = accuracy(core.model, batches.scaled, *validation, judging, self.metric == "balanced")
                if share is None:
                    raise Diverged(f"the logits were not finite after epoch {epoch + 1} of {self.epochs}")
                validated = share
            found = validated if self.metric != TRAINING_LOSS else math.exp(-loss)
            curve.append(found)
            if not context.report(epoch + 1, found) and epoch + 1 < self.epochs:
                raise Pruned(tuple(curve), time.perf_counter() - start)
            if epoch + 1 < self.epochs:
                kept.keep(training, TrainingProgress(tuple(curve), core.memory.micro, time.perf_counter() - start))
        details = {"device": device.type, "train_loss": loss, "batch_halved": core.memory.micro < batch, **kept.details}
        judged_by = len(validation[1])
        if self.metric == "balanced":
            judged_by = details[BALANCED] = effective_images(np.bincount(self.data.labels[val]).tolist())
        if self.adjusted:
            details["val_images"] = judged_by
        if self.metric == TRAINING_LOSS:
            details |= {"likelihood": curve[-1], "val_accuracy": validated}
        epochs = self.epochs - first + (0 if parent is None else parent.epochs)
        details |= {**lineage, **leave(context.weights, core.model, epochs, whose), **core.noted()}
        return Estimate(curve[-1], time.perf_counter() - start, tuple(curve), details)

    def _batches(self, train: np.ndarray[Any, Any], batch: int, seed: int, device: torch.device) -> Batches:
        how = Augmentation.of(self, bool(self.mirror))
        images, labels = self.data.images, self.data.labels
        statistics = channel_statistics(images, train)
        return Batches(
            images, labels, train, how, batch, self.data.task.classes, lambda epoch: seed_of(seed, "epoch", epoch),
            device, statistics,
        )  # fmt: skip

    def _begin(self, architecture: Architecture, seed: int, device: torch.device) -> Training:
        """The model with its initial weights, and its optimizer."""
        import torch

        torch.manual_seed(seed_of(seed, "weights"))
        model = architecture.build(self.data.task, Scale(self.width, self.depth))
        model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sgd = quick_to_load(torch.optim.SGD)
        groups, fused = decayed(model, self.weight_decay), device.type != "mps"
        return model, sgd(groups, lr=self.lr, momentum=0.9, nesterov=True, fused=fused)

    def _whose(self, architecture: Architecture, seed: int) -> dict[str, Any]:
        """Identifies a trial's training, but for its parent."""
        return {"architecture": architecture.to_json(), "seed": seed, "estimator": self.describe(), "draws": "by epoch"}

    def _validation(self, positions: np.ndarray[Any, Any], device: torch.device) -> tuple[Tensor, Tensor]:
        """Images uint8 (N, C, H, W) and labels int64 (N,) on the device."""
        import torch

        images = torch.from_numpy(self.data.images[positions]).permute(0, 3, 1, 2)
        return images.to(device), torch.from_numpy(self.data.labels[positions]).to(device)


def _macs(architecture: Architecture, task: Task, scale: Scale) -> float:
    """MACs on one image; infinite if the images are too small for the network, whose trial then fails."""
    try:
        return architecture.cost(task, scale).macs
    except ShapeError:
        return math.inf


RANGES: Final[tuple[Range, ...]] = (
    ("epochs", 1, math.inf, True, False),
    ("lr", 0, math.inf, False, False),
    ("warmup", 0, 1, True, False),
    ("weight_decay", 0, math.inf, True, False),
    ("label_smoothing", 0, 1, True, False),
    ("image_size", 1, math.inf, True, False),
    ("width", 0, math.inf, False, False),
    ("depth", 0, math.inf, False, False),
    ("data_fraction", 0, 1, False, True),
    ("val_fraction", 0, 0.5, False, True),
    ("split_seed", 0, math.inf, True, False),
    ("threads", 1, math.inf, True, False),
    ("save_after_s", 0, math.inf, True, False),
)
"""Of the settings that a supernet has too."""


def check_settings(who: str, settings: Any, own: Sequence[Range], whole: Collection[str] = ()) -> None:
    """Check the settings of a short training or of a supernet.

    Args:
        who: as of `check_ranges`.
        settings: with those of `RANGES`, and a device.
        own: ranges of others.
        whole: which of these must be whole numbers, besides the batch.

    Raises:
        UserError: one is out of range, or the device is unknown.
    """
    augmentation = (each for each in AUGMENTATION_RANGES if hasattr(settings, each[0]))
    numbers = {"epochs", "batch", "image_size", "split_seed", "threads", *whole}
    check_ranges(who, settings, (*RANGES, *own, *augmentation), numbers, left_open={"image_size", "data_fraction"})
    if settings.device not in DEVICES:
        raise UserError(unknown_device(settings.device))


def fill_in(settings: Any, most: int) -> None:
    """Set what was left open by the data, resized to the image size: that size, their share and their mirroring.

    Args:
        settings: a frozen dataclass with `data`, `image_size`, `data_fraction` and `mirror`.
        most: images that are used by default, at most.
    """
    if settings.image_size is None:
        object.__setattr__(settings, "image_size", settings.data.task.image_size)
    elif settings.image_size != settings.data.task.image_size:
        object.__setattr__(settings, "data", settings.data.resized(settings.image_size))
    if settings.data_fraction is None:
        object.__setattr__(settings, "data_fraction", min(1.0, most / len(settings.data.labels)))
    if settings.mirror is None:
        object.__setattr__(settings, "mirror", settings.data.mirror)


def _check(settings: ShortTraining) -> None:
    """Check the settings."""
    for name, value, known in (
        ("precision", settings.precision, PRECISIONS),
        ("metric", settings.metric, METRICS),
    ):
        if value not in known:
            raise UserError(f"unknown {name} {value!r}{nearest(value, known)}")
    check_settings("short-training", settings, [("batch", 1, math.inf, True, False), ("inherited", 0, 1, True, False)])
