"""Training on one GPU: whether it is right, and how much of the GPU is used: `python -m benchmarks.gpu`.

Prints PASS or FAIL for each statement, correctness first, then speeds in images per second with those of the eager loop
of before beside them (measured on an NVIDIA H200 with torch 2.11, bfloat16). Takes less than eight minutes on such a
GPU; `--quick` takes one. `--device cpu` goes through the same code where there is no GPU, and checks nothing of speed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import nas
from benchmarks.proxy_speed import networks
from estimators import (
    Diverged,
    ImageData,
    Pruned,
    ShortTraining,
    TrialContext,
    core,
    load_data,
    short_training,
    training,
)
from estimators.batches import Batches
from estimators.core import Core, Recorder, recorder_of
from estimators.optimizers import OPTIMIZERS
from estimators.recipe import make_recipe
from estimators.steps import own_globals
from estimators.trained import Trained
from estimators.training import train
from searchspaces import Scale, Task, classic, load_space
from searchspaces.modules import build
from studies import LocalEngine

BEFORE = {
    ("few-macs, 5.2M MACs", 32): 2575, ("few-macs, 5.2M MACs", 128): 2787, ("few-macs, 5.2M MACs", 512): 2397,
    ("EfficientNet-B0 in mbconv", 32): 345, ("EfficientNet-B0 in mbconv", 128): 579,
    ("ResNet-18", 128): 6983, ("GoogLeNet", 128): 2656,
}  # fmt: skip
"""Images per second of short training when each kernel was launched from Python, by network and batch."""
GOALS = {"few-macs, 5.2M MACs": 30, "EfficientNet-B0 in mbconv": 15}
"""How many times faster: few-macs with eight at once, EfficientNet-B0 alone."""
CLOSE = 0.03
"""Relative difference of losses that bfloat16's rounding explains over an epoch."""


@dataclass
class Report:
    """What was found so far."""

    failed: list[str] = field(default_factory=list)

    def check(self, what: str, holds: bool, found: object = "") -> None:
        """Print a statement and whether it holds."""
        print(f"{'PASS' if holds else 'FAIL'}  {what}{f': {found}' if found != '' else ''}", flush=True)
        if not holds:
            self.failed.append(what)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the report; one that breaks fails, and the next one follows."""
        print(f"\n## {name}", flush=True)
        began = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.check(name, False, f"{type(error).__name__}: {error}")
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)


class Layers:
    """Stands for an architecture: one network of every kind of layer, from the tests."""

    def build(self, task: Task, scale: Scale = Scale()) -> Any:  # noqa: B008 - a frozen value
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from layer_examples import everything

        return build(everything(), task.shape)


class Reads:
    """Stands for an architecture: a network whose step reads a value from the device, and draws at random."""

    def build(self, task: Task, scale: Scale = Scale()) -> Any:  # noqa: B008 - a frozen value
        class Scaled(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x / max(float(x.abs().max()), 1.0)

        flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.1), Scaled())
        return flat.append(torch.nn.Linear(task.channels * task.image_size**2, task.classes))


def optimized(name: str, device: str, recorder: Any) -> float:
    """The training loss of an epoch of full training with an optimizer."""
    recipe = make_recipe("sgd", epochs=1, batch=32, optimizer=name, lr=1.0 if name == "adadelta" else 0.001)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(core, "WORTH_RECORDING", 1),
        patch.object(training, "recorder_of", recorder),
    ):
        trained = train(classic("resnet20"), noise(640), recipe, Path(folder, "x"), 0, device)
    return float(trained.facts["curve"][-1]["train_loss"])


def noise(images: int, side: int = 32, channels: int = 3, classes: int = 10) -> ImageData:
    """Images whose content does not matter."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, side, side, channels), np.uint8)
    return ImageData.of("noise", pixels, np.arange(images) % classes, pixels[:20], np.arange(20) % classes)


def settings(data: ImageData, device: str, **given: Any) -> ShortTraining:
    """Candidates trained whole on all images."""
    return ShortTraining(data, **{"width": 1.0, "depth": 1.0, "data_fraction": 1.0, "device": device, **given})


def loss_of(estimator: ShortTraining, network: Any, recorder: Any, seed: int = 3) -> float:
    """The training loss of the last epoch, with steps recorded by `recorder`, or run one by one without."""
    with patch.object(core, "WORTH_RECORDING", 1), patch.object(short_training, "recorder_of", lambda device: recorder):
        found = estimator.estimate(network, TrialContext(seed)).details
    if "cuda_graph" in found:
        raise RuntimeError(found["cuda_graph"])
    return float(found["train_loss"])


def correctness(report: Report, device: str, quick: bool) -> None:
    """Graph and eager agree; what goes wrong means what it meant; memory comes back."""
    where = torch.device(device)
    with report.part("a captured step is the step"):
        for name, network in networks().items():
            estimator = settings(noise(640), device, epochs=1)
            graph, eager = loss_of(estimator, network, recorder_of(where)), loss_of(estimator, network, None)
            close = abs(graph - eager) <= CLOSE * abs(eager)
            report.check(f"{name}: loss of graph and eager", close, f"{graph:.4f} {eager:.4f}")
        estimator = settings(noise(160, 9, 8, 7), device, epochs=1, lr=0.001, batch=16)
        graph, eager = loss_of(estimator, Layers(), recorder_of(where)), loss_of(estimator, Layers(), None)
        report.check(
            "every layer: loss of graph and eager", abs(graph - eager) <= CLOSE * abs(eager), f"{graph:.4f} {eager:.4f}"
        )
    few = networks()["few-macs, 5.2M MACs"]
    with report.part("a capture leaves no trace"):
        changed: list[str] = []
        record = Core._recording_of

        def watched(self: Core, recorder: Recorder) -> Recorder | None:
            before = {key: each.clone() for key, each in self._state().items()}
            made = record(self, recorder)
            after = self._state()
            changed.extend(str(key) for key, each in before.items() if not torch.equal(each, after[key]))
            return made

        with patch.object(Core, "_recording_of", watched):
            loss_of(settings(noise(320), device, epochs=1), few, recorder_of(where))
        report.check("weights, statistics, momentum and counters are as they were", not changed, ", ".join(changed[:3]))
    with report.part("every optimizer learns the same, captured or not"):
        for name in OPTIMIZERS:
            graph, eager = (optimized(name, device, each) for each in (recorder_of, lambda device: None))
            close = abs(graph - eager) <= CLOSE * abs(eager)
            report.check(f"{name}: loss captured and eager", close, f"{graph:.4f} {eager:.4f}")
    with report.part("a layer that reads a value back runs eagerly, and the next training is as ever"):
        either: tuple[Any, ...] = (Reads(), few)
        for network in either:
            with patch.object(core, "WORTH_RECORDING", 1):
                found = settings(noise(320), device, epochs=1).estimate(network, TrialContext(0)).details
            refused = found.get("cuda_graph")
            wanted = where.type == "cuda" and isinstance(network, Reads)
            report.check(type(network).__name__, bool(refused) == wanted, refused or "nothing was refused")
    with report.part("what goes wrong means what it meant"):
        for what, kind, given, context in (
            ("NaN", Diverged, {"lr": 1e30}, TrialContext(0)),
            ("pruning", Pruned, {}, TrialContext(0, report=lambda step, accuracy: False)),
        ):
            try:
                settings(noise(640), device, epochs=3, **given).estimate(few, context)
                report.check(what, False, "nothing was raised")
            except kind as error:
                report.check(what, True, error)
        if where.type == "cuda":
            memory_runs_out(report, few)
    with report.part("a training that is killed goes on"):
        killed_and_resumed(report, device)
    with report.part("memory is given back"):
        trials = 20 if quick else 200
        estimator, held = settings(noise(320), device, epochs=2, batch=32), 0
        for seed in range(trials):
            with patch.object(core, "WORTH_RECORDING", 1):
                estimator.estimate(few, TrialContext(seed))
            if seed == 9 and where.type == "cuda":
                held = torch.cuda.memory_allocated()
        if where.type == "cuda":
            grown = (torch.cuda.memory_allocated() - held) / 2**20
            report.check(f"after {trials} trials no more is held than after 10", grown < 8, f"{grown:.1f} MiB more")


def memory_runs_out(report: Report, few: Any) -> None:
    """A network that does not fit is halved or fails with the reason, and the next trial is as ever."""
    torch.cuda.empty_cache()
    there = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + 600 * 2**20) / there))
    try:
        large = networks()["EfficientNet-B0 in mbconv"]
        found = settings(noise(1280, 96), "cuda", epochs=1, batch=640).estimate(large, TrialContext(0))
        report.check("out of memory halves the batch", bool(found.details["batch_halved"]), found.details)
    except torch.OutOfMemoryError:
        report.check("out of memory fails the trial, with its reason", True)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    report.check(
        "the next trial is as ever", settings(noise(320), "cuda", epochs=1).estimate(few, TrialContext(0)).seconds > 0
    )


CHILD = """
import sys
from benchmarks.gpu import noise
from estimators.recipe import make_recipe
from estimators.training import train
from searchspaces import classic
folder, device, dies = sys.argv[1:]
def moment(at):
    if dies == "dies" and at.step == 25:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
recipe = make_recipe("sgd", epochs=2, batch=32, randaugment_operations=1)
train(classic("resnet20"), noise(640), recipe, folder, 4, device, checkpoint_s=0, on_moment=moment)
"""


def killed_and_resumed(report: Report, device: str) -> None:
    """A full training under SIGKILL."""
    with tempfile.TemporaryDirectory() as folder:
        losses = []
        for name, ways in (("cut", ("dies", "lives")), ("whole", ("lives",))):
            for way in ways:
                place = str(Path(folder, name))
                subprocess.run([sys.executable, "-c", CHILD, place, device, way], check=way == "lives")
            losses.append(Trained.open(place).facts["curve"][-1]["train_loss"])
        close = abs(losses[0] - losses[1]) <= CLOSE * losses[1]
        report.check("killed and resumed, it ends as the unbroken one", close, f"{losses[0]:.4f} {losses[1]:.4f}")


def speed(report: Report, device: str, quick: bool) -> None:
    """Images per second of whole short trainings, of several at once, and of a full training."""
    on_gpu, found = device == "cuda", {}
    with report.part("images per second of a whole short training, capture and evaluation included"):
        print(f"{'network':28} {'batch':>5} {'before':>8} {'now':>9} {'times':>6}")
        for (name, batch), before in BEFORE.items():
            data = noise(400 if quick or not on_gpu else 20_000 if batch > 32 else 8_000)
            estimator = settings(data, device, epochs=2 if quick or not on_gpu else 6, batch=batch)
            began = time.perf_counter()
            estimator.estimate(networks()[name], TrialContext(0))
            seconds = time.perf_counter() - began
            found[name, batch] = estimator.epochs * len(estimator.split()[0]) / seconds
            now = found[name, batch]
            print(f"{name:28} {batch:5} {before:8,} {now:9,.0f} {now / before:6.1f}", flush=True)
    with report.part("several trainings of few-macs at once, batch 32, images per second together"):
        few = networks()["few-macs, 5.2M MACs"]
        estimator = settings(noise(400 if quick or not on_gpu else 8_000), device, epochs=2, batch=32)
        together = {}
        for count in (1, 2, 4, 8):
            began, images = time.perf_counter(), 0
            with own_globals(torch.device(device), 1):
                under_way = [estimator.advance(few, TrialContext(seed)) for seed in range(count)]
                while under_way:
                    for each in list(under_way):
                        step = next(each, None)
                        if step is None:
                            under_way.remove(each)
                        images += step or 0
            together[count] = images / (time.perf_counter() - began)
            print(f"{count}: {together[count]:,.0f}", flush=True)
        if on_gpu:
            times = together[8] / BEFORE["few-macs, 5.2M MACs", 32]
            report.check(
                "few-macs, eight at once: 30 times the images of before",
                times >= GOALS["few-macs, 5.2M MACs"],
                f"{times:.1f}",
            )
            times = found["EfficientNet-B0 in mbconv", 32] / BEFORE["EfficientNet-B0 in mbconv", 32]
            report.check("EfficientNet-B0: 15 times", times >= GOALS["EfficientNet-B0 in mbconv"], f"{times:.1f}")
    with report.part("nas train against the same steps on one fixed batch"):
        full_training(device, quick or not on_gpu)


def full_training(device: str, quick: bool) -> None:
    """ResNet-18 by the recipe `sgd`, and by the steps of one epoch on a batch that stays."""
    data = noise(1280 if quick else 40_000)
    recipe, moments = make_recipe("sgd", epochs=1 if quick else 3), list[tuple[int, float]]()
    with tempfile.TemporaryDirectory() as folder:
        train(classic("resnet18"), data, recipe, Path(folder, "x"), 0, device,
              on_moment=lambda at: moments.append((at.step, time.perf_counter())))  # fmt: skip
    whole = (moments[-1][0] - moments[0][0]) * recipe.batch / (moments[-1][1] - moments[0][1])
    plain = settings(data, device, epochs=1, batch=recipe.batch, val_fraction=0.1, crop=0.0, mirror=False)
    times, batch, ready = list[float](), 0, Batches.ready

    def stays(self: Batches, step: int) -> None:
        ready(self, 0)
        self.row.zero_()

    with own_globals(torch.device(device), 1), patch.object(Batches, "ready", stays):
        for images in plain.advance(networks()["ResNet-18"], TrialContext(0)):
            if images:
                times.append(time.perf_counter())
                batch = images
    limit = (len(times) - 1) * batch / (times[-1] - times[0])
    print(f"nas train, augmentation, validation and all: {whole:,.0f} images/s; its steps alone: {limit:,.0f} "
          f"({whole / limit:.2f} of them)")  # fmt: skip


@contextlib.contextmanager
def utilisation() -> Iterator[Callable[[], float]]:
    """The mean utilisation of the GPU in percent, as `nvidia-smi` says it twice a second."""
    seen: list[float] = []
    over = threading.Event()

    def look() -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not over.wait(0.5):
            said = subprocess.run(query, capture_output=True, text=True).stdout.split()
            seen.extend(float(each) for each in said[:1])

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield lambda: float(np.mean(seen)) if seen else 0.0
    finally:
        over.set()
        watcher.join()


def searches(report: Report, device: str, data: str | None, quick: bool) -> None:
    """Trials a minute of real searches."""
    on_gpu = device == "cuda"
    images = load_data(data) if data else noise(10_000 if on_gpu else 200)
    ways: dict[str, Any] = {"one at a time": LocalEngine(device, 1), "as many as fill it": LocalEngine(device)}
    if not on_gpu:
        ways["three in turns"] = LocalEngine(device, 3)
    elif importlib.util.find_spec("ray"):
        from studies.ray.engine import RayEngine

        ways["Ray, a quarter of the GPU each"] = RayEngine(workers=4, gpus_per_trial=0.25)
    space = load_space(str(Path(__file__).parents[1] / "examples" / "few_macs.py") + ":space")
    for name, engine in ways.items():
        with report.part(f"a search of few-macs at 5M to 6M MACs: {name}"), tempfile.TemporaryDirectory() as out:
            given: dict[str, Any] = {} if on_gpu else {"epochs": 1}
            began = time.perf_counter()
            with utilisation() if on_gpu else contextlib.nullcontext(lambda: 0.0) as used:
                study = nas.search(
                    space, "5M..6M", task=Task(32, 3, 10), trials=10**4 if on_gpu else 4,
                    time="20s" if quick or not on_gpu else "60s", strategy="random", out=out, engine=engine,
                    device=device, estimator=ShortTraining(images, width=1.0, depth=1.0, device=device, **given),
                )  # fmt: skip
                mean = used()
            minutes = (time.perf_counter() - began) / 60
            done = sum(each.state == "complete" for each in study.trials)
            print(
                f"{done / minutes:.0f} trials a minute, utilisation {mean:.0f} %, {getattr(engine, 'note', None) or ''}"
            )
            if name == "as many as fill it" and on_gpu:
                report.check("at least 100 trials a minute", done / minutes >= 100, f"{done / minutes:.0f}")
                report.check("utilisation of at least 80 %", mean >= 80, f"{mean:.0f} %")


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--data", help="images for the searches; noise by default")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}")
    report = Report()
    correctness(report, given.device, given.quick)
    speed(report, given.device, given.quick)
    searches(report, given.device, given.data, given.quick)
    print(f"\n{len(report.failed)} failed" + "".join(f"\n- {each}" for each in report.failed))
    sys.exit(bool(report.failed))


if __name__ == "__main__":
    main()
