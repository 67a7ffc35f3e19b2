"""A supernet as an estimator: one training for all networks of a space, each then judged with its slice of the weights.

Guo et al. 2020, *Single Path One-Shot Neural Architecture Search with Uniform Sampling*, arXiv:1904.00420, sec. 3: each
step trains one network, drawn uniformly from what fits the budget, and the statistics of a network's batch norms are
computed anew before it is judged. How weights are shared is in `estimators.shared_weights`.

An estimate takes a second, however long it would take to train the network. It ranks networks, and is not the accuracy
of a training of their own; `docs/proxies.md` has how well it ranks. Left out: several networks in a step, distillation
from the largest one, and what makes slices good enough to be used as they are (Once-for-All, BigNAS).
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from estimators.augmentation import Augmentation, batches_in
from estimators.batches import Batches, channel_statistics
from estimators.checkpoint import load, save
from estimators.core import Core, Halving, accuracy
from estimators.data import ImageData, train_and_validation
from estimators.epoch_checkpoints import EpochCheckpoints, TrainingProgress
from estimators.estimator import PREPARED_S, Diverged, Estimate, TrialContext
from estimators.short_training import check_settings, fill_in
from estimators.steps import (
    find_device,
    give_back,
    learning_rates,
    own_globals,
    quick_to_load,
    seed_of,
)
from searchspaces import Scale, UserError
from searchspaces.progress import doing

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from estimators.epoch_checkpoints import Training
    from estimators.shared_weights import SharedWeights
    from searchspaces import Architecture, SearchSpace

SHARED: Final = "supernet accuracy, with shared weights"
"""`estimates` in the description."""
ENOUGH_IMAGES: Final = 10_000
"""Maximum number of images by default, if `data_fraction` is None."""
JUDGED: Final = 256
"""Images of a forward pass that judges or measures statistics."""


@dataclass(frozen=True, eq=False, slots=True)
class Supernet:
    """Accuracies with weights that all networks of a space share.

    A study trains the shared weights before its first trial, or finds them in its folder (`prepared`). On a CPU they
    and the estimates are functions of the settings and the space alone.

    Attributes:
        data: the images; only their search part is touched.
        epochs: passes over the training images, in which each batch trains one network.
        batch: images per step; the last incomplete batch of an epoch is dropped.
        lr: learning rate at its peak.
        warmup: share of all steps in which the learning rate rises linearly to its peak, in [0, 1).
        weight_decay: on the weights of convolutions and linear layers only, not on biases and norms.
        label_smoothing: probability mass spread over all classes, in [0, 1).
        image_size: side of the training images in pixels; None keeps the size of the data.
        width, depth: multipliers of the networks' widths and depths.
        data_fraction: share of the images to use, stratified, before splitting, in (0, 1]; by default up to 10,000.
        val_fraction: share of the used images that are validation images, stratified, in (0, 0.5].
        split_seed: seed for choosing the used images and the validation images.
        crop: random crops after padding by this share of the side; 0 is off.
        mirror: mirror half of the images left to right; by default if the names of the classes allow it.
        cutout: side of the randomly placed hole, as a share of the image's side; 0 is off.
        statistics: number of training images for measuring a network's batch-norm statistics.
        draw: seed for the initial weights, the sampled networks and the order of the images.
        threads: CPU cores for the training and for each estimate.
        device: one of `DEVICES`, used if the trial's context says `auto`. Not part of the description.
        save_after_s: minimum seconds of training between two checkpoints. Not part of the description.

    Raises:
        UserError: a setting is out of range.
    """

    data: ImageData
    epochs: int = 100
    batch: int = 64
    lr: float = 0.2
    warmup: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    image_size: int | None = None
    width: float = 1.0
    depth: float = 1.0
    data_fraction: float | None = None
    val_fraction: float = 0.2
    split_seed: int = 0
    crop: float = 0.125
    mirror: bool | None = None
    cutout: float = 0.0
    statistics: int = 1024
    draw: int = 0
    threads: int = 1
    device: str = "auto"
    save_after_s: float = 10.0
    _weights: SharedWeights | None = field(default=None, init=False, repr=False)
    _seconds: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        own = (
            ("batch", 2, math.inf, True, False),
            ("statistics", 2, math.inf, True, False),
            ("draw", 0, math.inf, True, False),
        )
        check_settings("supernet", self, own, {"statistics", "draw"})
        fill_in(self, ENOUGH_IMAGES)

    def describe(self) -> dict[str, Any]:
        """The settings with defaults resolved, and the data, as plain JSON values."""
        apart = ("data", "device", "save_after_s", "_weights", "_seconds")
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in apart}
        train, val = self.split()
        counts = {"train_images": len(train), "val_images": len(val)}
        return {"name": "supernet", **settings, **counts, "estimates": SHARED, "data": self.data.describe()}

    def split(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Indices into `data.images` of the training and the validation images; a function of the settings alone."""
        assert self.data_fraction is not None
        return train_and_validation(self.data, self.data_fraction, self.val_fraction, self.split_seed)

    def prepared(self, space: SearchSpace, place: str | None = None) -> Supernet:
        """This estimator with its weights: read from a file if it has them, else trained, and then written there.

        Killed, it goes on after the epoch of its last checkpoint, which is in the same file, and ends with the weights
        that it would have had, to the last digit on a CPU. A file of another space, budget or setting is not used.

        Args:
            space: what networks are drawn from: what fits the budget.
            place: path or URL of the file; None keeps none.

        Raises:
            UserError: the loss is not finite, the device is not available, or the weights cannot be written.
        """
        device = find_device(self.device)
        with own_globals(device, self.threads):
            try:
                return self._trained(space, place, device)
            finally:
                give_back(device)

    def _trained(self, space: SearchSpace, place: str | None, device: torch.device) -> Supernet:
        train, _ = self.split()
        batches = self._batches(train, device)
        steps = batches.steps * self.epochs
        whose = self._whose(space)

        def begin() -> Training:
            import torch

            weights = self._fresh(space).to(device)
            sgd = quick_to_load(torch.optim.SGD)
            # not fused: torch's fused SGD wants all weights to have gradients, or none of them
            return weights, sgd(weights.decayed(self.weight_decay), lr=self.lr, momentum=0.9, nesterov=True)

        if (found := self._found(space, place)) is not None:
            return found
        kept = EpochCheckpoints(place, whose, self.save_after_s)
        training, done = kept.continued(begin, self.epochs, self.batch)
        weights, optimizer = cast("SharedWeights", training[0]), training[1]

        number = 0  # of the present step; the objective knows it and not the core, which refers to the objective

        def objective(inputs: Tensor, targets: Tensor) -> Tensor:
            import torch

            network = self._build(self._drawn(space, number)).to(device)
            logits = torch.func.functional_call(network, weights.slices(network), (inputs,))
            return torch.nn.functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)

        core = Core(
            weights,
            optimizer,
            batches,
            self.lr * learning_rates(steps, self.warmup),
            self.label_smoothing,
            lambda step: seed_of(self.draw, "step", step),
            done=batches.steps * (0 if done is None else len(done.curve)),
            objective=objective,
        )
        began, before = time.perf_counter(), 0.0
        curve: list[float] = []
        if done is not None:
            core.memory.micro, curve, before = done.micro, [*done.curve], done.seconds
        for epoch in range(len(curve), self.epochs):
            doing(f"training the supernet: epoch {epoch + 1} of {self.epochs}")
            for _ in range(batches.steps):
                number = core.done
                core.step()
            loss = core.take_loss() / batches.steps
            if not math.isfinite(loss):
                raise UserError(
                    f"the loss of the supernet was {loss} in epoch {epoch + 1} of {self.epochs}; "
                    f"try a lower --set estimator.lr than {self.lr:g}"
                )
            curve.append(math.exp(-loss))
            if epoch + 1 < self.epochs:
                seconds = before + time.perf_counter() - began
                kept.keep(training, TrainingProgress(tuple(curve), core.memory.micro, seconds))
        seconds = before + time.perf_counter() - began
        if place is not None:
            save(place, weights.state_dict(), {"whose": whose, "finished": True, "seconds": seconds})
        return self._with(weights, seconds)

    def read(self, space: SearchSpace, place: str) -> Supernet:
        """This estimator with the weights of a file, which it never trains.

        Raises:
            UserError: there are none, or they are not finished, or of another space, budget or setting.
        """
        import torch

        with torch.random.fork_rng([]):
            found = self._found(space, place)
        if found is None:
            raise UserError(f"{place} has no finished weights for this space, budget and settings")
        return found

    def _found(self, space: SearchSpace, place: str | None) -> Supernet | None:
        """With the finished weights of a file, if it has those of this space, budget and these settings."""
        found = _read(place)
        if found is None or found[1].get("whose") != self._whose(space) or not found[1].get("finished"):
            return None
        weights = self._fresh(space)
        with contextlib.suppress(RuntimeError):  # other tensors: cells of one's own are built otherwise than before
            weights.load_state_dict(found[0])
            return self._with(weights, float(found[1].get("seconds", 0.0)))
        return None

    def _whose(self, space: SearchSpace) -> Any:
        """What the weights in a file are of."""
        return json.loads(json.dumps({"estimator": self.describe(), "space": space.describe()}))

    def _drawn(self, space: SearchSpace, step: int) -> Architecture:
        """The network that a step trains."""
        return space.sample(np.random.default_rng([self.draw, step]))

    def _fresh(self, space: SearchSpace) -> SharedWeights:
        """The weights before any training: of all networks that are drawn in it."""
        from estimators.shared_weights import SharedWeights

        doing("creating the weights that all networks share")
        images = len(self.split()[0])
        steps = self.epochs * batches_in(images, min(self.batch, images), fill=False)
        networks = (self._drawn(space, step) for step in range(steps))
        return SharedWeights(self._build, networks, seed_of(self.draw, "weights"))

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """The accuracy of one network with its slice of the weights; the same for any seed.

        Details have the share of its parameters that are among the `shared_weights`, as what none of the networks has
        that were drawn in training stays as it was initialized; and the seconds of that training (`prepared_s`).

        Raises:
            Diverged: the logits are not finite.
            UserError: the weights are not there, or the device is not available.
        """
        if self._weights is None:
            raise UserError("supernet: its weights are trained by a study, or by `prepared`")
        began = time.perf_counter()
        device = find_device(self.device if context.device == "auto" else context.device)
        with own_globals(device, self.threads):
            try:
                network, shared = self.network(architecture, device)
                train, val = self.split()
                images, labels = self._images(val, device)
                scaled = self._scaling(train, device)
                share = accuracy(network, scaled, images, labels, Halving(JUDGED, device))
            finally:
                give_back(device)
        if share is None:
            raise Diverged("the logits were not finite")
        context.report(1, share)
        details = {"device": device.type, "shared_weights": round(shared, 4), PREPARED_S: self._seconds}
        return Estimate(share, time.perf_counter() - began, (share,), details)

    def network(self, architecture: Architecture, device: torch.device) -> tuple[nn.Module, float]:
        """A network with its slice of the weights and statistics of its own, and the share of its parameters in it."""
        import torch
        from torch.optim.swa_utils import update_bn

        assert self._weights is not None
        torch.manual_seed(seed_of(self.draw, "weights"))
        network = self._build(architecture)
        shared = self._weights.give(network)
        network = network.to(device)
        train, _ = self.split()
        scaled = self._scaling(train, device)
        chosen = np.sort(np.random.default_rng(self.draw).permutation(train)[: self.statistics])
        images, _ = self._images(chosen, device)
        parts = images.tensor_split(-(-len(images) // JUDGED))  # of one size, as each counts alike
        update_bn(map(scaled, parts), network)
        return network, shared

    def _build(self, architecture: Architecture) -> nn.Module:
        return architecture.build(self.data.task, Scale(self.width, self.depth))

    def _with(self, weights: SharedWeights, seconds: float) -> Supernet:
        """This estimator with weights, and the seconds that their training took."""
        found = replace(self)
        object.__setattr__(found, "_weights", weights.cpu())
        object.__setattr__(found, "_seconds", seconds)
        return found

    def _batches(self, train: np.ndarray[Any, Any], device: torch.device) -> Batches:
        how = Augmentation.of(self, bool(self.mirror))
        images, labels = self.data.images, self.data.labels
        return Batches(
            images, labels, train, how, min(self.batch, len(train)), self.data.task.classes,
            lambda epoch: seed_of(self.draw, "epoch", epoch), device, channel_statistics(images, train),
        )  # fmt: skip

    def _scaling(self, train: np.ndarray[Any, Any], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Normalizes uint8 (N, channels, side, side) as in training."""
        import torch

        statistics = channel_statistics(self.data.images, train)
        mean, std = (torch.tensor(each, dtype=torch.float32, device=device)[:, None, None] for each in statistics)
        return lambda pixels: (pixels.float() - mean) / std

    def _images(self, positions: np.ndarray[Any, Any], device: torch.device) -> tuple[Tensor, Tensor]:
        """Images uint8 (N, C, H, W) and labels int64 (N,) on the device."""
        import torch

        images = torch.from_numpy(self.data.images[positions]).permute(0, 3, 1, 2)
        return images.to(device), torch.from_numpy(self.data.labels[positions]).to(device)


def _read(place: str | None) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What a file of weights or a checkpoint holds; None where there is none that can be read."""
    if place is None:
        return None
    try:
        return load(place)
    except UserError:
        return None
