"""Kill `nas train` with SIGKILL at random moments: the weights must be those of a training that nobody killed.

    python -m benchmarks.kill_training --kills 10

Trains a small network on digits once in one go, then again in processes that are killed one after the other, each at a
moment drawn at random, until the last is left to end. The folders are compared byte for byte: best and last weights;
and the learning curve and the test accuracy. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

import nas.cli
import nas.training  # all that is imported here need not be imported by each process
from estimators import checkpoint
from searchspaces import Scale, Scaled, Task, classic

RECIPE = (
    *("--set", "batch=32", "--set", "randaugment_operations=1", "--checkpoint-every", "0.1s", "--json", "--quiet"),
    *("--device", "cpu"),  # where a training repeats itself to the last bit, and a process can fork
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="of the moments; the clock has its part in them too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="nas-kill-") as place:
        folder, network = Path(place), Path(place) / "network.json"
        architecture = classic("mobilenetv2_100").architecture
        assert architecture is not None
        network.write_text(Scaled(architecture, Scale(width=0.25, depth=0.3), Task(8, 1, 10)).to_json())
        _run(command(network, folder / "whole", given.epochs))  # here, so that nothing is left to be imported
        began = time.perf_counter()
        assert not killed(network, folder / "whole", given.epochs, None)
        start = time.perf_counter() - began  # of a process that finds its training finished
        took = json.loads((folder / "whole" / "training.json").read_text())["seconds"]
        print(f"unbroken: {took} s, and {start:.1f} s to start", flush=True)
        kills = 0
        while kills < given.kills:
            if not killed(network, folder / "killed", given.epochs, rng.uniform(0.0, start + 1.4 * took / given.kills)):
                sys.exit(f"it came to its end after {kills} kills; more --epochs give more time")
            kills += 1
            print(f"kill {kills}: {where(folder / 'killed')}", flush=True)
        assert not killed(network, folder / "killed", given.epochs, None)
        differ = [name for name in ("best.safetensors", "last.safetensors")
                  if (folder / "whole" / name).read_bytes() != (folder / "killed" / name).read_bytes()]  # fmt: skip
        whole, other = (json.loads((folder / each / "training.json").read_text()) for each in ("whole", "killed"))
        told = [(each["train_loss"], each["val_accuracy"]) for each in whole["curve"]]
        if told != [(each["train_loss"], each["val_accuracy"]) for each in other["curve"]]:
            differ.append("the learning curve")
        if whole["test_accuracy"] != other["test_accuracy"]:
            differ.append("the test accuracy")
        left = sorted(each.name for each in (folder / "killed").iterdir())
        print(f"{kills} kills; test accuracy {whole['test_accuracy']} and {other['test_accuracy']}")
        print(f"left: {', '.join(left)}")
        print("the weights are the same to the last bit" if not differ else f"different: {', '.join(differ)}")
        sys.exit(bool(differ))


def command(network: Path, folder: Path, epochs: int) -> list[str]:
    """What is typed, the same each time."""
    return ["train", str(network), "--data", "digits", "--epochs", str(epochs), "--out", str(folder), *RECIPE]


def killed(network: Path, folder: Path, epochs: int, after_s: float | None) -> bool:
    """Train in a process of its own, and kill that after so many seconds; whether it was killed before its end."""
    process = multiprocessing.get_context("fork").Process(target=_train, args=(command(network, folder, epochs),))
    process.start()
    process.join(after_s)
    if process.exitcode is None and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        sys.exit(f"nas train ended with {process.exitcode}")
    return process.exitcode != 0


def _train(arguments: list[str]) -> None:
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int | str | None:
    """The exit code of a command whose output nobody reads."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            nas.cli.main(arguments)
        except SystemExit as end:
            return end.code


def where(folder: Path) -> str:
    """How far a training that was killed had come when it last wrote that down."""
    held = checkpoint.load(str(folder / "checkpoint.safetensors"))
    return "before its first checkpoint" if held is None else f"its checkpoint is of step {held[1]['step']}"


if __name__ == "__main__":
    main()
