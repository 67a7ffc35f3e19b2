"""Training at 224 pixels from image files at full resolution, beside what decoding and training reach alone.

    python -m benchmarks.real_size [--images 20000] [--folder DIR] [--steps 24] [--network mobilenetv1_025]

Makes JPEGs of 500 x 375 in four classes and prints: the time of the first and of the second start; the memory of a
training's process above that of one that only imported torch; images per second of the loader processes alone, of
steps on one batch that stays the same, and of the training. Then a training is killed with SIGKILL, resumed, and its
weights are compared with those of one that was not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from estimators import load_data
from estimators.augmentation import Augmentation
from estimators.batches import Batches, channel_statistics
from estimators.core import Core
from estimators.in_files import PROCESSES, crops_ahead
from estimators.machine import cores
from estimators.recipe import make_recipe
from estimators.steps import decayed, find_device, quick_to_load
from estimators.training import split
from nas.references import named

SIDE = 224
ALONE, LOADERS = "decoding, as many processes as cores", "decoding, the training's processes"
FIXED, WHOLE = "steps on one batch", "training from files"


def make(folder: Path, images: int) -> None:
    """Photograph-like JPEGs: smooth shapes of many sizes with some noise, about 40 KB each."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 6, (16, 375, 500, 1)).astype(np.int8)
    for number in range(images):
        place = folder / f"class{number % 4}" / f"{number:06}.jpg"
        if place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (6 + number % 4 * 6, 8 + number % 4 * 8, 3), np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BILINEAR), np.int16)
        picture = (picture + np.roll(noise[number % 16], number % 499, axis=1)).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(place, quality=90)


def starting(photographs: Path, cache: Path) -> dict[str, Any]:
    """Seconds of a start, and memory above that of a process that only imported torch."""
    before, start, used = _resident(), time.perf_counter(), time.process_time()
    load_data(str(photographs), SIDE, cache=str(cache), in_files=True)
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    return {"seconds": seconds, "cpu": cpu, "memory": _resident() - before}


def _resident() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def rates(photographs: Path, cache: Path, network: str, steps: int) -> dict[str, Any]:
    """Images per second of decoding alone, of steps on one batch, and of a training."""
    data = load_data(str(photographs), SIDE, cache=str(cache), in_files=True)
    recipe = make_recipe("auto", len(data.labels), SIDE, epochs=10)
    train, _ = split(data, recipe)
    device = find_device("auto")
    loaders = max(1, min(PROCESSES, cores() - (device.type == "cpu")))
    found: dict[str, Any] = {"batch": recipe.batch, "device": device.type, "loaders": loaders}

    def rate(work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return steps * recipe.batch / (time.perf_counter() - start)

    def wanted() -> Iterator[Any]:
        rng = np.random.default_rng(0)
        for number in itertools.count():
            yield rng.choice(train, recipe.batch), number, np.arange(recipe.batch)

    for name, processes in ((ALONE, cores()), (LOADERS, loaders)):
        ahead = crops_ahead(data.images, recipe.resized_crop, wanted(), processes, False)
        for _ in range(2 * processes):
            next(ahead)
        found[name] = rate(lambda ahead=ahead: [next(ahead) for _ in range(steps)])  # type: ignore[misc]
        del ahead

    def core() -> Core:
        torch.manual_seed(0)
        model = named(network).build(data.task).to(device).to(memory_format=torch.channels_last)
        how = Augmentation.of(recipe, True)
        statistics = channel_statistics(data.images, train)
        batches = Batches(
            data.images, data.labels, train, how, recipe.batch, 4, lambda epoch: epoch, device, statistics, fill=True
        )
        sgd = quick_to_load(torch.optim.SGD)
        optimizer = sgd(decayed(model, 1e-4), lr=0.01, momentum=0.9, nesterov=True, fused=True)
        some = np.full(10**6, 0.01)
        return Core(model, optimizer, batches, some, 0.1, lambda step: step, bf16=device.type == "cuda")

    def run(made: Core, count: int) -> None:
        for _ in range(count):
            made.step()
        made.take_loss()

    fixed = core()
    fixed.batches.ready(0)
    fixed.batches.ready = lambda step: fixed.batches.row.fill_(0)  # type: ignore[method-assign,assignment]
    run(fixed, 2)
    found[FIXED] = rate(lambda: run(fixed, steps))
    fixed.batches.close()
    whole = core()
    run(whole, 2 + 2 * loaders)  # what was decoded ahead before the first step is used up
    found[WHOLE] = rate(lambda: run(whole, steps))
    whole.batches.close()
    found["largest memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found


def apart(part: str, *given: Any) -> dict[str, Any]:
    """What a part finds in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.real_size", "--part", part, *map(str, given)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def killed_and_resumed(folder: Path, cache: Path) -> str:
    """Train few images twice, once killed in the middle; whether the weights are equal."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "nas", "train", "mobilenetv1_025", "--data", str(folder), "--image-size",
                   "224",
                   "--cache", str(cache), "--device", "cpu", "--set", "epochs=2", "--set", "batch=8", "--set",
                   "data_fraction=0.004", "--checkpoint-every", "1s", "--quiet", "--out"]  # fmt: skip
        subprocess.run([*command, f"{place}/whole"], check=True, capture_output=True)
        cut = subprocess.Popen([*command, f"{place}/cut"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not Path(place, "cut", "checkpoint.safetensors").exists():
            if cut.poll() is not None:
                raise SystemExit("the training ended before it was killed")
            time.sleep(0.05)
        time.sleep(1)
        os.kill(cut.pid, signal.SIGKILL)
        cut.wait()
        subprocess.run([*command, f"{place}/cut"], check=True, capture_output=True)
        same = [Path(place, each, "last.safetensors").read_bytes() for each in ("whole", "cut")]
        return "the same weights" if same[0] == same[1] else "OTHER WEIGHTS"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "nas-real-size"))
    parser.add_argument("--network", default="mobilenetv1_025")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--part", choices=["starting", "rates"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    photographs, cache = given.folder / "photographs", given.folder / "cache"
    if given.part:
        starts = given.part == "starting"
        measured = starting(photographs, cache) if starts else rates(photographs, cache, given.network, given.steps)
        print(json.dumps(measured))
        return
    make(photographs, given.images)
    size = sum(file.stat().st_size for file in photographs.rglob("*.jpg")) / given.images
    print(f"{given.images:,} JPEGs of 500 x 375, {size / 1000:.0f} KB each, read at 224 pixels")
    for entry in cache.glob("*"):
        entry.unlink()
    for name in ("first start", "second start"):
        found = apart("starting", "--folder", given.folder)
        memory = f"{found['memory'] / 2**20:.0f} MiB above torch's own"
        print(f"  {name:38} {found['seconds']:7.1f} s, {found['cpu']:7.1f} s of CPU, {memory}", flush=True)
    found = apart("rates", "--folder", given.folder, "--network", given.network, "--steps", given.steps)
    print(f"{given.network}, batches of {found['batch']} on {found['device']}, {found['loaders']} loader processes")
    for name in (ALONE, LOADERS, FIXED, WHOLE):
        print(f"  {name:38} {found[name]:7.1f} images/s")
    print(f"  largest memory of the process          {found['largest memory'] / 2**20:7.0f} MiB, torch's own included")
    print(f"killed with SIGKILL and resumed: {killed_and_resumed(photographs, cache)}")


if __name__ == "__main__":
    main()
