"""Full training of a network: a recipe, averaged weights, and a training that can be interrupted at any step.

All randomness (the order of images, augmentation, dropout) follows from the seed and the number of the epoch or step,
never from earlier draws. A checkpoint between any two steps therefore suffices to continue bit for bit (on a CPU), and
an interruption loses only the steps since the last checkpoint.

If `torch.distributed` is initialized, several processes train together: each takes its share of a batch, and gradients
and batch norm statistics are averaged after each step, so that all hold the same network. One departure from torch's
DistributedDataParallel: gradients are exchanged after the backward pass, not during it; in return, a process that runs
out of memory can halve its share of the batch on its own.

The test images are used once, at the end, with the averaged weights of the epoch that is kept (`schedules.kept`); by a
trial of a study (`estimated`) they are not used at all.
"""

from __future__ import annotations

import itertools
import json
import math
import shlex
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators import checkpoint
from estimators.augmentation import Augmentation, batches_in
from estimators.averaging import WeightAverage
from estimators.batches import Batches, channel_statistics
from estimators.core import Core, Halving, accuracy, finished, on_device, recorder_of
from estimators.data import ImageData, train_and_validation
from estimators.estimator import Diverged, Estimate, Pruned, TrialContext
from estimators.freezing import to_training_mode
from estimators.in_files import InFiles
from estimators.objective import Objective, check_heads_learn, with_auxiliary_heads, without_heads
from estimators.optimizers import make_optimizer
from estimators.process_group import ProcessGroup
from estimators.progressive import share, side_of, strength_of
from estimators.recipe import Recipe
from estimators.regularization import clipper, drop_before_classifier, initialize
from estimators.schedules import DROP, drops, ends_early, kept, rates
from estimators.starting_weights import StartingWeights
from estimators.steps import find_device, give_back, own_globals, seed_of, trains_in_bf16
from estimators.teacher import Teacher
from estimators.trained import (
    CHECKPOINT,
    FACTS,
    FORMAT,
    NETWORK,
    WEIGHTS,
    Trained,
    built,
    network_text,
    read_facts,
)
from searchspaces import UserError
from searchspaces.files import make_folder, write_whole
from searchspaces.layers import ShapeError
from searchspaces.versions import versions

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from searchspaces import Buildable, Cost, Task

__all__ = ["CHECKPOINT_S", "Moment", "Trained", "estimated", "train"]

CHECKPOINT_S: Final = 300.0
"""Seconds between two checkpoints within an epoch; there is always one after each epoch."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The progress of a full training.

    Attributes:
        step, steps: steps done, and steps in total.
        curve: for each finished epoch: `epoch`, `train_loss`, `val_accuracy` (of the averaged weights) and `seconds`.
    """

    step: int
    steps: int
    curve: tuple[Mapping[str, Any], ...]


def train(
    network: Buildable,
    data: ImageData,
    recipe: Recipe,
    folder: str | Path,
    seed: int = 0,
    device: str = "auto",
    found: Mapping[str, Any] | None = None,
    checkpoint_s: float = CHECKPOINT_S,
    on_moment: Callable[[Moment], None] = lambda moment: None,
    weights: StartingWeights | None = None,
    teacher: Teacher | None = None,
) -> Trained:
    """Train a network into a folder, or continue the training in it; a finished training is only opened.

    Args:
        network: a classic, an architecture or a scaled network.
        data: training, validation and test images.
        recipe: the settings of the training.
        folder: see `estimators.trained`.
        seed: of all randomness; at least 0.
        device: `auto`, `cpu`, `cuda` or `mps`.
        found: how the network was found, as plain JSON values, to be recorded.
        checkpoint_s: seconds between two checkpoints within an epoch; 0 writes one after each step.
        on_moment: called after each step. A KeyboardInterrupt that it raises loses no step.
        weights: trained ones that the network starts from; None for random ones.
        teacher: trained networks whose probabilities it learns besides the labels.

    Raises:
        UserError: the folder holds another training, the network cannot take the images, or the batch is too small for
            its batch norm or cannot be divided among the processes.
        Diverged: the loss or the logits are not finite.
    """
    import torch

    folder, group, where = Path(folder), ProcessGroup(), find_device(device)
    if seed < 0:
        raise UserError(f"seed must be at least 0, got {seed}")
    if where.type == "cuda" and group.size > 1:
        where = torch.device("cuda", torch.cuda.current_device())  # chosen by Ray for this process

    def into_folder() -> None:  # with its frame goes the network, before its memory is given back
        training = _Training(network, data, recipe, seed, where, group, str(folder / CHECKPOINT), weights, teacher)
        facts = training.begun(folder, found)
        if not facts["finished"]:
            training.make()
            write = partial(training.finish, folder, facts)
            finished(on_device(training.run(checkpoint_s, on_moment, write), where))

    with own_globals(where, torch.get_num_threads()):
        try:
            into_folder()
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they keep the network alive as long as the error
            if isinstance(error, ValueError) and str(error).startswith("Expected more than 1 value per channel"):
                raise UserError(
                    f"batch norm cannot be trained on one value per channel: a batch of {recipe.batch} is too small "
                    "for this network on one worker; set a larger batch"
                ) from None
            raise
        finally:
            give_back(where)
    return Trained.open(folder, network.architecture.space if network.architecture else None)


def estimated(
    network: Buildable, data: ImageData, recipe: Recipe, context: TrialContext, device: str = "auto", threads: int = 1
) -> Estimate:
    """The validation accuracy of a network after a full training, for a trial of a study: nothing but that is kept.

    It is that of the averaged weights after the last epoch, not the best of all epochs, which would be chosen by the
    images that judge it. The test images are not touched. A checkpoint that cannot be read is ignored.

    Args:
        network, data, recipe: as of `train`.
        context: of the trial.
        device: used if the context says `auto`.
        threads: of torch on a CPU.

    Raises:
        Pruned: `context.report` returned False before the last epoch.
        Diverged: the loss or the logits are not finite.
        UserError: the network cannot take the images, or the device is not available.
    """
    where = find_device(device if context.device == "auto" else context.device)
    told: list[float] = []

    def on_moment(moment: Moment) -> None:
        for each in moment.curve[len(told) :]:
            told.append(each["val_accuracy"])
            if not context.report(len(told), told[-1]) and len(told) < recipe.epochs:
                raise Pruned(tuple(told), each["seconds"])

    def estimate() -> Estimate:  # with its frame goes the network, before its memory is given back
        place = _readable(context.checkpoint)
        training = _Training(network, data, recipe, context.seed, where, ProcessGroup(), place, None, None)
        training.make()
        finished(on_device(training.run(CHECKPOINT_S, on_moment), where))
        on_moment(Moment(training.steps, training.steps, tuple(training.curve)))  # if no step was left to do
        details = {"device": where.type, "train_losses": [each["train_loss"] for each in training.curve]}
        details |= training.core.noted()
        return Estimate(told[-1], training.seconds, tuple(told), details)

    with own_globals(where, threads):
        try:
            return estimate()
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            raise
        finally:
            give_back(where)


def _readable(place: str | None) -> str | None:
    """The place of a checkpoint, if there is none yet or it can be read."""
    try:
        if place is not None:
            checkpoint.load(place)
    except UserError:
        return None
    return place


class _Training:
    """One training: what it is made of, and after `make` its state at the step of its checkpoint.

    Args:
        place: path or URL of the checkpoint; None keeps none.
    """

    def __init__(
        self,
        network: Buildable,
        data: ImageData,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        group: ProcessGroup,
        place: str | None,
        weights: StartingWeights | None,
        teacher: Teacher | None,
    ) -> None:
        self.network, self.data, self.recipe, self.seed = network, data, recipe, seed
        self.device, self.group, self.place = device, group, place
        self.weights, self.teacher = weights, teacher
        self.train, self.val = split(data, recipe)
        self.batch = min(recipe.batch, len(self.train))
        if self.batch % group.size:
            raise UserError(f"a batch of {self.batch} images cannot be divided equally among {group.size} workers")
        self.epoch_steps = batches_in(len(self.train), self.batch, fill=True)
        self.steps = recipe.epochs * self.epoch_steps
        self.statistics = channel_statistics(data.images, self.train)
        self.curve: list[dict[str, Any]] = []
        self.seconds = 0.0

    def make(self) -> None:
        """The model, its optimizer and its batches, as the checkpoint left them or at the beginning."""
        import torch

        network, data, recipe, seed, group = self.network, self.data, self.recipe, self.seed, self.group
        device, weights, teacher = self.device, self.weights, self.teacher
        torch.manual_seed(seed_of(seed, "weights"))
        heads = with_auxiliary_heads(network, data.task, recipe.drop_path) if recipe.auxiliary else None
        model: Any = built(network, data.task, recipe.drop_path) if heads is None else heads.network
        if recipe.initialization is not None:
            initialize(model, recipe.initialization)
        if weights is not None:
            weights.give(model, seed)
        if heads is not None:
            check_heads_learn(model)
        if recipe.progressive:
            self._check_sides(model)
        self.model: nn.Module = model.to(device).to(memory_format=torch.channels_last)
        drop_before_classifier(self.model, recipe.dropout, recipe.drop_connect)
        self.average = WeightAverage(self.model, recipe.ema)
        self.optimizer = make_optimizer(
            self.model, recipe.optimizer, recipe.lr, recipe.momentum, recipe.nesterov, recipe.weight_decay
        )
        self.best: dict[str, Tensor] = {}
        self.kept = 0  # the place in the curve of the epoch that they are of
        held = self._go_back()
        how = Augmentation.of(recipe, data.mirror if recipe.mirror is None else recipe.mirror)
        batches = Batches(
            data.images, data.labels, self.train, how, self.batch, data.task.classes,
            lambda epoch: seed_of(seed, "epoch", epoch), device, self.statistics, group.rank, group.size, fill=True,
            strength=lambda epoch: strength_of(_stage(recipe, epoch)),
        )  # fmt: skip
        self.core = Core(
            self.model,
            self.optimizer,
            batches,
            self._rates(),
            recipe.label_smoothing,
            lambda step: seed_of(seed, "step", step, group.rank),
            bf16=trains_in_bf16(device),
            recorder=recorder_of(device),
            exchange=partial(_exchange, group, self.model) if group.size > 1 else None,
            clip=clipper(self.model, recipe.adaptive_clip, recipe.clip_norm),
            done=held.step,
            objective=Objective(
                heads or self.model,
                recipe,
                None if teacher is None else teacher.on(device, batches.mean, batches.std, recipe.temperature),
            ),
        )
        if held.loss is not None:
            self.core.loss.copy_(held.loss)
        self.core.memory.micro = min(held.micro, self.core.memory.micro)

    def begun(self, folder: Path, found: Mapping[str, Any] | None) -> dict[str, Any]:
        """The record of this training: read from its folder and checked, or new and written there."""
        cost = _cost(self.network, self.data.task)
        text = network_text(self.network, self.data.task)
        facts = {
            "format": FORMAT,
            "finished": False,
            "network": json.loads(text),
            "task": str(self.data.task),
            "cost": {"macs": cost.macs, "params": cost.params},
            "recipe": self.recipe.describe(),
            "seed": self.seed,
            "data": {**self.data.describe(), "source": self.data.name},
            "train_images": len(self.train),
            "val_images": len(self.val),
            "class_names": list(self.data.class_names),
            "mean": self.statistics[0].tolist(),
            "std": self.statistics[1].tolist(),
            "found": None if found is None else dict(found),
            "weights": None if self.weights is None else self.weights.told(),
            "teacher": None if self.teacher is None else self.teacher.told(),
            "device": self.device.type,
            "workers": self.group.size,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": versions("python", "nas-toolkit", "numpy", "torch"),
            "curve": [],
            "best_epoch": None,
            "val_accuracy": None,
            "test_accuracy": None,
            "seconds": 0.0,
        }
        before = read_facts(folder)
        if before is not None:
            recorded = before["data"].get("fingerprint")
            if recorded is not None and self.data.is_recorded_as(recorded):
                facts["data"]["fingerprint"] = recorded
            _refuse_changes(before, facts, folder)
            return before
        if folder.exists() and (not folder.is_dir() or (folder / CHECKPOINT).exists()):
            raise UserError(f"{str(folder)!r} is not a training folder: it has no {FACTS}")
        if self.group.rank == 0:
            make_folder(folder)
            write_whole(folder / NETWORK, text + "\n")
            write_whole(folder / FACTS, json.dumps(facts, indent=1) + "\n")
        return facts

    def run(
        self, checkpoint_s: float, on_moment: Callable[[Moment], None], at_end: Callable[[], None] = lambda: None
    ) -> Generator[int, None, None]:
        """Train to the end, step by step."""
        try:
            yield from self._steps(checkpoint_s, on_moment)
        finally:
            self.core.batches.close()
        at_end()

    def _steps(self, checkpoint_s: float, on_moment: Callable[[Moment], None]) -> Generator[int, None, None]:
        began, kept = time.perf_counter() - self.seconds, time.perf_counter()
        while self.core.done < self.steps and not self._ends_early():
            self.core.train_at(self._side(self.core.done // self.epoch_steps))
            self.core.step()
            self.average.take(self.core.done - 1)
            yield self.batch
            epoch, at = divmod(self.core.done, self.epoch_steps)
            if at == 0:
                self._validate(epoch, time.perf_counter() - began)
            self.seconds = time.perf_counter() - began
            if at == 0 or time.perf_counter() - kept >= checkpoint_s:
                self._keep()
                kept = time.perf_counter()
            try:
                on_moment(Moment(self.core.done, self.steps, tuple(self.curve)))
            except KeyboardInterrupt:
                self._keep()  # between two steps, so nothing is lost
                raise

    def _side(self, epoch: int) -> int:
        """The side of the images in an epoch, counted from 0."""
        return side_of(self.data.task.image_size, _stage(self.recipe, epoch))

    def _check_sides(self, model: nn.Module) -> None:
        """Refuse stages of smaller images than the network can take: some are made for one size (LeNet, VGG)."""
        import torch

        model.eval()
        for side in sorted({self._side(epoch) for epoch in range(self.recipe.epochs)}):
            try:
                with torch.no_grad():
                    model(torch.zeros(1, self.data.task.channels, side, side))
            except RuntimeError as error:
                raise UserError(
                    f"progressive: this network is made for images of {self.data.task.image_size} pixels and cannot "
                    f"take those of {side} pixels of an earlier stage; set progressive=0"
                ) from error
        to_training_mode(model)

    def _ends_early(self) -> bool:
        return self.core.done % self.epoch_steps == 0 and ends_early(self.curve, self.recipe.stop_after)

    def _rates(self) -> NDArray[np.float64]:
        """The learning rate of each step, as far as the curve says it."""
        recipe = self.recipe
        found = recipe.lr * rates(recipe.schedule, self.steps, self.epoch_steps, recipe.warmup)
        return found * DROP ** drops(self.curve, recipe.patience) if recipe.schedule == "plateau" else found

    def _validate(self, epoch: int, seconds: float) -> None:
        """Record the loss of the epoch and the validation accuracy of the averaged weights."""
        loss = self.core.take_loss() / self.epoch_steps
        if not math.isfinite(loss):
            raise Diverged(f"the training loss was {loss} in epoch {epoch} of {self.recipe.epochs}; try a smaller lr")
        accuracy = self._accuracy(self.data.images, self.data.labels, self.val)
        self.curve.append({"epoch": epoch, "train_loss": loss, "val_accuracy": accuracy, "seconds": round(seconds, 1)})
        if self.recipe.schedule == "plateau":
            self.core.set_rates(self._rates())
        if kept(self.curve, len(self.val)) == len(self.curve) - 1:
            self.kept = len(self.curve) - 1
            self.best = {name: value.detach().clone() for name, value in self.average.module.state_dict().items()}

    def _accuracy(self, images: Any, labels: Any, positions: np.ndarray[Any, Any]) -> float:
        """Top-1 accuracy of the averaged weights, in [0, 1]; each process evaluates its share of the images."""
        import torch

        right = 0
        mine = positions[self.group.rank :: self.group.size]
        memory = Halving(max(self.batch, 256), self.device, self.core.memory.micro)
        for part, held in _parts(images, mine):
            pixels = torch.from_numpy(held).to(self.device).permute(0, 3, 1, 2)
            there = torch.from_numpy(labels[part]).to(self.device)
            found = accuracy(self.average.module, self.core.batches.scaled, pixels, there, memory)
            if found is None:
                done = self.core.done
                raise Diverged(f"the logits were not finite after step {done} of {self.steps}; try a smaller lr")
            right += round(found * len(part))
        return self.group.total(right) / len(positions)

    def finish(self, folder: Path, facts: dict[str, Any]) -> None:
        """Evaluate on the test images, and write the result."""
        test = self._test()
        if self.group.rank == 0:
            self._write_all(folder, facts, test)
        self.group.total(0)  # all processes wait until it is written

    def _write_all(self, folder: Path, facts: dict[str, Any], test: float) -> None:
        """Write the weights and the record, and remove the checkpoint."""
        _save_weights(folder / WEIGHTS["best"], without_heads(self.model, self.best))
        _save_weights(folder / WEIGHTS["last"], without_heads(self.model, self.model.state_dict()))
        top = self.curve[self.kept]
        facts |= {
            "finished": True,
            "curve": self.curve,
            "best_epoch": top["epoch"],
            "val_accuracy": top["val_accuracy"],
            "test_accuracy": test,
            "seconds": round(self.seconds, 1),
        }
        write_whole(folder / FACTS, json.dumps(facts, indent=1) + "\n")
        checkpoint.remove(str(folder / CHECKPOINT))

    def _test(self) -> float:
        """Top-1 accuracy of the kept weights on the test images, in [0, 1]; they are used nowhere else."""
        self.average.module.load_state_dict(self.best)
        return self._accuracy(self.data.test_images, self.data.test_labels, np.arange(len(self.data.test_labels)))

    def _keep(self) -> None:
        """Write a checkpoint: everything the next step depends on."""
        if self.group.rank or self.place is None:
            return
        tensors, state = checkpoint.training_state(self.model, self.optimizer)
        tensors |= {f"average.{name}": value for name, value in self.average.module.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()} | {"loss": self.core.loss}
        state |= {"step": self.core.done, "curve": self.curve, "kept": self.kept, "seconds": self.seconds}
        state |= {"micro": self.core.memory.micro}
        checkpoint.save(self.place, tensors, state)

    def _go_back(self) -> _Held:
        """Restore the folder's checkpoint, if there is one; what the steps need to know of it."""
        held = None if self.place is None else checkpoint.load(self.place)
        if held is None:
            return _Held(0, None, self.batch)
        tensors, state = held
        try:
            checkpoint.restore(self.model, self.optimizer, tensors, state)
            self.average.module.load_state_dict(checkpoint.under(tensors, "average."))
            self.best = {name: value.to(self.device) for name, value in checkpoint.under(tensors, "best.").items()}
            self.curve, self.seconds = list(state["curve"]), float(state["seconds"])
            reached = [each["val_accuracy"] for each in self.curve] or [0.0]
            self.kept = int(state.get("kept", reached.index(max(reached))))  # not said where it was the best always
            return _Held(int(state["step"]), tensors["loss"], int(state["micro"]))
        except UserError as error:
            raise UserError(f"{self.place}: {error}") from error
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"the checkpoint {self.place} belongs to another training: {error}") from error


@dataclass(frozen=True, slots=True)
class _Held:
    """What a checkpoint says of the steps: how many were done, the sum of the epoch's losses, images in a part."""

    step: int
    loss: Tensor | None
    micro: int


def _stage(recipe: Recipe, epoch: int) -> float:
    return share(epoch, recipe.epochs, recipe.progressive)


def _exchange(group: ProcessGroup, model: nn.Module, loss: Tensor) -> None:
    """Average the loss, the gradients and the running statistics over the processes."""
    group.average([loss, *(each.grad for each in model.parameters() if each.grad is not None)])
    learning = [each for each in model.modules() if each.training]  # frozen statistics stay to the last bit
    buffers = [buffer for each in learning for buffer in each.buffers(recurse=False)]
    group.average([each for each in buffers if each.is_floating_point()])


def _cost(network: Buildable, task: Task) -> Cost:
    try:
        return network.cost(task)
    except ShapeError as error:
        raise UserError(f"the network cannot take images of {task}: {error}") from error


def split(data: ImageData, recipe: Recipe) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Indices into `data.images` of the training and the validation images."""
    return train_and_validation(data, recipe.data_fraction, recipe.val_fraction, recipe.split_seed)


def _parts(images: Any, rows: np.ndarray[Any, Any]) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Rows some at a time, to bound the memory on the device, with their images."""
    if isinstance(images, InFiles):
        yield from images.parts(rows)
        return
    for start in range(0, len(rows), 4096):
        yield rows[start : start + 4096], images[rows[start : start + 4096]]


def _refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Check that a training is continued with the settings that it began with.

    Raises:
        UserError: a setting differs; the message has its name, its old and its new value.
    """
    pairs = [("task", before["task"], now["task"]), ("network", before.get("network"), now["network"])]
    pairs += [("seed", before["seed"], now["seed"]), ("workers", before.get("workers"), now["workers"])]
    pairs.append(("data", before["data"].get("fingerprint"), now["data"]["fingerprint"]))
    started, starts = ((facts.get("weights") or {}).get("fingerprint") for facts in (before, now))
    pairs.append(("weights", started, starts))
    froze, freezes = (((facts.get("weights") or {}).get("frozen") or {}).get("name") for facts in (before, now))
    pairs.append(("freeze", froze, freezes))
    taught, teaches = ([each["fingerprint"] for each in facts.get("teacher") or []] for facts in (before, now))
    pairs.append(("teacher", taught, teaches))
    pairs.append(("in_files", before["data"].get("in_files", False), now["data"].get("in_files", False)))
    usual = Recipe().describe()  # of a setting that there was not when the training began
    pairs += [(name, before["recipe"].get(name, usual[name]), value) for name, value in now["recipe"].items()]
    for name, old, new in pairs:
        if old != new and not (name == "workers" and before["finished"]):
            raise UserError(
                f"{folder}: {name} was {_shown(old)} when the training began and is {_shown(new)} now; give the old "
                f"value to resume it, or start another one with --out {shlex.quote(str(_free(folder)))}"
            )


def _free(folder: Path) -> Path:
    """A folder beside another one that is not there."""
    several = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    return next(each for each in several if not each.exists())


def _shown(value: Any) -> str:
    text = value[:8] if isinstance(value, str) and len(value) == 64 else json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."


def _save_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save

    write_whole(path, save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}))
