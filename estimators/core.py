"""The core of every training: a step as a function of buffers that never move, run as it is or recorded and replayed.

What is learned in which order, at which rate and altered how is made before the steps (`estimators.batches`, and the
rates as a table on the device). A step reads its batch and its rate by counters that lie on the device, so nothing in
it depends on Python, and a recording of one step is good for all. On a GPU a step of a small network is a thousand
launches of a few microseconds each; as one CUDA graph it is a single launch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np

from estimators.freezing import to_training_mode

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from estimators.batches import Batches

T = TypeVar("T")

WORTH_RECORDING: Final = 200
"""Steps from which a recording pays: it takes as long as some tens of eager steps."""


class Recorder(Protocol):
    """Records work on a device once and repeats it: a CUDA graph (`estimators.cuda`), or a stand-in in tests."""

    def warm_up(self, work: Callable[[], object]) -> None:
        """Run the work where it will be recorded, so that what is made on first use is there."""
        ...

    def record(self, work: Callable[[], object]) -> None:
        """Record the work without doing it.

        Raises:
            RuntimeError: the work holds an operation that cannot be recorded.
        """
        ...

    def replay(self) -> None:
        """Do again what was recorded, on the same memory."""
        ...


def recorder_of(device: torch.device) -> Callable[[torch.Generator], Recorder] | None:
    """What makes a recorder for the trainings on a device, if it has any."""
    if device.type != "cuda":
        return None
    from estimators.cuda import Graph

    return Graph


class Halving:
    """Work in parts of a batch: whole until memory runs out, then in halves.

    Args:
        batch: images of a batch.
        device: whose memory it is.
        least: images of the smallest part; by default half of a batch.
        shared: whether others use the memory now. Then it is not this batch that is too large, and the error is raised.

    Attributes:
        micro: images in a part.
    """

    def __init__(
        self, batch: int, device: torch.device, least: int | None = None, shared: Callable[[], bool] = lambda: False
    ) -> None:
        self.micro = self.batch = batch
        self._least = (batch + 1) // 2 if least is None else least
        self._device, self._shared = device, shared

    def parts(self, images: int) -> list[slice]:
        """Parts of so many images."""
        return [slice(start, min(start + self.micro, images)) for start in range(0, images, self.micro)]

    def attempt(self, work: Callable[[], T], clear: Callable[[], object] = lambda: None) -> T:
        """Do the work; if memory runs out, `clear`, and do it in smaller parts."""
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or self.micro <= max(self._least, 1) or self._shared():
                    raise
            self.micro = max((self.micro + 1) // 2, self._least)  # not in the handler, since its error holds the memory
            clear()
            if self._device.type == "cuda":
                import torch

                torch.cuda.empty_cache()


class Core:
    """The steps of one training.

    Args:
        model: on the device, in channels-last format.
        optimizer: its rate is taken from `rates`; fused where the device is a CPU or a GPU.
        batches: what is learned.
        rates: (steps,), the learning rate of each step.
        label_smoothing: probability mass spread over all classes.
        seed: of what a network draws in a step (dropout, drop-path), by the step's number.
        bf16: forward passes in bfloat16 where autocast finds it safe, on a CPU without grouped convolutions.
        recorder: makes what records the step, given the generator that the network draws from; None runs each as it is.
        exchange: called between the backward pass and the optimizer, with the loss, where several processes train
            together; averages over them, in place.
        clip: called between these and the optimizer; changes gradients in place, without a look at their values.
        done: steps that were done before, where a training goes on.
        objective: the loss of images and targets; by default the cross-entropy of the model's logits.
        shared: as of `Halving`.

    Nothing in it refers back to it, so that its memory is free as soon as nothing else does, without a collection of
    garbage; the callables that it is given must not either.

    Attributes:
        done: steps done.
        loss: float (), the sum of the losses of the steps since `take_loss`.
        memory: parts in which a batch is processed.
        unrecorded: why steps run as they are though there is a recorder; None otherwise.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        rates: NDArray[np.float64],
        label_smoothing: float,
        seed: Callable[[int], int],
        bf16: bool = False,
        recorder: Callable[[torch.Generator], Recorder] | None = None,
        exchange: Callable[[Tensor], object] | None = None,
        clip: Callable[[], object] | None = None,
        done: int = 0,
        objective: Callable[[Tensor, Tensor], Tensor] | None = None,
        shared: Callable[[], bool] = lambda: False,
    ) -> None:
        import torch

        from searchspaces.torch_layers import depthwise_in_full_precision, draw_from

        self.model, self.optimizer, self.batches = model, optimizer, batches
        self.device = batches.inputs.device
        self.memory = Halving(batches.share, self.device, shared=shared)
        self.done, self._recording = done, False
        self.unrecorded: str | None = None
        self.loss = torch.zeros((), device=self.device)
        self._smoothing, self._seed, self._bf16 = label_smoothing, seed, bf16
        self._exchange, self._clip, self._objective = exchange, clip, objective
        self._number = torch.tensor([done], device=self.device)  # (1,)
        self._rates = torch.tensor(rates, dtype=torch.float32, device=self.device)
        self._rate = torch.zeros((), device=self.device)
        self._picks = torch.arange(batches.share, device=self.device)
        self._fused = bool(optimizer.defaults.get("fused"))
        for group in optimizer.param_groups if self._fused else ():
            group["lr"] = self._rate
        self._generator = torch.Generator(self.device)
        draw_from(model, self._generator)
        if bf16 and self.device.type == "cpu":
            depthwise_in_full_precision(model)
        records = exchange is None and self._fused  # the rate of other optimizers is no tensor
        worth = recorder is not None and records and len(rates) - done >= WORTH_RECORDING
        self._make_recorder = recorder if worth else None
        self._recorder: Recorder | None = None  # of the steps at the present size, made at the first of them
        self._side = batches.inputs.shape[1]

    def step(self) -> None:
        """Do the next step, or enqueue it where the device works on its own.

        Raises:
            RuntimeError, MemoryError: memory ran out twice, or whatever the network raises.
        """
        import torch

        self.batches.ready(self.done)
        if not self.model.training:
            to_training_mode(self.model)
        if self._make_recorder is not None and self._recorder is None:
            self._recorder = self._recording_of(self._make_recorder(self._generator))
        seed = self._seed(self.done)
        self._generator.manual_seed(seed)
        # for layers of a person's own; torch.manual_seed takes 0.7 ms, for generators of devices that are not used
        seeds = torch.default_generator if self.device.type == "cpu" else torch
        seeds.manual_seed(seed)
        if self._recorder is not None:
            self._recorder.replay()
        else:
            self._once()
        self.done += 1

    def set_rates(self, rates: NDArray[np.float64]) -> None:
        """Replace the learning rates of the steps, (steps,)."""
        import torch

        self._rates.copy_(torch.tensor(rates, dtype=torch.float32))

    def train_at(self, side: int) -> None:
        """Make the images smaller from the next step on, to so many pixels a side; a recorded step is recorded anew."""
        if side == self._side:
            return
        self._side, self._recorder = side, None

    def take_loss(self) -> float:
        """The sum of the losses since the last call; waits for the device."""
        total = float(self.loss)
        self.loss.zero_()
        return total

    def noted(self) -> dict[str, Any]:
        """What a trial's details say of how the steps were run."""
        return {} if self.unrecorded is None else {"cuda_graph": f"not used: {self.unrecorded}"}

    def _once(self) -> None:
        """One step: a function of the buffers, the weights and the counters alone."""
        if self._fused:
            self._rate.copy_(self._rates.index_select(0, self._number)[0])
        else:  # a device without fused optimizers, whose others want the rate as a number
            for group in self.optimizer.param_groups:
                group["lr"] = float(self._rates[self.done])
        loss = self._gradient() if self._recording else self.memory.attempt(self._gradient)
        if self._exchange is not None:
            self._exchange(loss)
        if self._clip is not None:
            self._clip()
        self.optimizer.step()
        self.loss += loss
        self.batches.row += self.batches.share
        self._number += 1

    def _gradient(self) -> Tensor:
        """The gradient of the mean loss over the batch, and that loss."""
        import torch

        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        rows = self._picks + self.batches.row
        for part in self.memory.parts(self.batches.share):
            inputs = self.batches.inputs.index_select(0, rows[part]).permute(0, 3, 1, 2)  # channels-last in memory
            targets = self.batches.targets.index_select(0, rows[part])
            if self._side != inputs.shape[2]:
                inputs = torch.nn.functional.interpolate(inputs, (self._side,) * 2, mode="bilinear", antialias=True)
            # no cache of cast weights: a recording would hold on to those of its first step
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=False):
                loss = (self._objective or self._cross_entropy)(inputs, targets)
            loss = loss * ((part.stop - part.start) / self.batches.share)
            loss.backward()
            total += loss.detach()
        return total

    def _cross_entropy(self, inputs: Tensor, targets: Tensor) -> Tensor:
        import torch

        logits = self.model(inputs)  # (images, classes)
        return torch.nn.functional.cross_entropy(logits, targets, label_smoothing=self._smoothing)

    def _recording_of(self, recorder: Recorder) -> Recorder | None:
        """Record a step, and leave everything as it was; None where that cannot be: steps are then run as they are."""
        kept = {key: tensor.clone() for key, tensor in self._state().items()}

        def warm_up() -> None:  # twice: what the first step makes, the second must find in its place
            for _ in range(2):
                self._once()
                for key, tensor in self._state().items():
                    # what the optimizer made on first use: for momentum and Adam's moments, none yet means zero
                    tensor.copy_(kept[key]) if key in kept else tensor.zero_()

        recorder.warm_up(warm_up)
        self.optimizer.zero_grad(set_to_none=True)  # gradients are to lie in the recording's own memory
        self._recording = True
        try:
            recorder.record(self._once)
        except RuntimeError as error:
            self._make_recorder, self.unrecorded = None, (str(error).strip() or type(error).__name__).splitlines()[0]
            self.optimizer.zero_grad(set_to_none=True)
            return None
        finally:
            self._recording = False
        return recorder

    def _state(self) -> dict[Any, Tensor]:
        """All that a step changes: weights, running statistics, the optimizer's state, counters and the loss."""
        import torch

        found: dict[Any, Tensor] = {("loss",): self.loss, ("row",): self.batches.row, ("number",): self._number}
        found |= {("parameter", name): each.detach() for name, each in self.model.named_parameters()}
        found |= {("buffer", name): each for name, each in self.model.named_buffers()}
        for number, state in enumerate(self.optimizer.state.values()):
            found |= {(number, name): each for name, each in state.items() if isinstance(each, torch.Tensor)}
        return found


def accuracy(
    model: nn.Module,
    scale: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    memory: Halving,
    balanced: bool = False,
) -> float | None:
    """Top-1 accuracy on uint8 (N, channels, side, side), in [0, 1]; None if a logit is not finite.

    In float32, as `nas evaluate` and every exported file judge; on a GPU from Ampere on its convolutions are torch's
    TF32, so that a logit may differ in the fourth digit.

    Args:
        balanced: the mean over the classes that have images of the accuracy on each, instead of that over all images.
    """
    import torch

    def right() -> Tensor | None:
        found = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        finite = torch.ones((), dtype=torch.bool, device=labels.device)
        with torch.inference_mode():
            for part in memory.parts(len(labels)):
                logits = model(scale(images[part]).contiguous(memory_format=torch.channels_last))
                found[part] = logits.argmax(1) == labels[part]
                finite &= logits.isfinite().all()
        return found if bool(finite) else None

    model.eval()
    found = memory.attempt(right)
    if found is None:
        return None
    if not balanced:
        return int(found.sum()) / len(labels)
    of, hit = torch.bincount(labels.cpu()), torch.bincount(labels.cpu(), found.cpu().double())  # MPS has no float64
    return float((hit[of > 0] / of[of > 0]).mean())


def out_of_memory(error: BaseException) -> bool:
    """CUDA raises its own error; on the CPU and on MPS it is a RuntimeError, recognized by its text."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


def on_device(advancing: Generator[int, None, T], device: torch.device) -> Generator[int, None, T]:
    """Advance a training in the way of its device: on a GPU, on a stream of its own."""
    if device.type != "cuda":
        return advancing
    from estimators.cuda import on_own_stream

    return on_own_stream(advancing, device)


def finished(advancing: Generator[int, None, T]) -> T:
    """Advance something to its end: its result."""
    while True:
        try:
            next(advancing)
        except StopIteration as end:
            result: T = end.value
            return result
