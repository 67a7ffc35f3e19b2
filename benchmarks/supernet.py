"""How well does a supernet rank networks, the longer it is trained? `python -m benchmarks.supernet --shared FOLDER`.

On the 315 networks of `fashion_space.py`, whose accuracies after a training of their own are recorded
(`fashion-losses.json`): Kendall's tau of the accuracy with shared weights with that of one long training, over all of
them and among those of 60K to 90K MACs, with a bootstrap interval of 90 % over networks; beside it that of one short
training of each network, by accuracy, and of counting MACs. The images to train on are as many as the long trainings
had, and so are those to judge on. Seconds are of one core, for all 315 networks: the training of the weights and all
estimates; of the short trainings, as `record.py` says, half a second each.

`--few-macs EPOCHS` does the same on the 36 networks of `examples/few_macs.py` at 5M to 6M MACs that were trained in
full twice, on CIFAR-10: ten minutes of a core for 20 epochs.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import fashion_space, zero_cost
from estimators import ImageData, TrialContext, load_data
from estimators.agreement import interval, kendall
from estimators.supernet import Supernet
from searchspaces import Architecture, Budget, SearchSpace, load_space

Values = npt.NDArray[np.float64]

TABLE = Path(__file__).with_name("fashion-losses.json")
AS_LONG: Mapping[str, Any] = {"data_fraction": 0.08, "val_fraction": 0.5, "crop": 0.0, "mirror": False}
SHORT_S = 0.5
LEVEL = 0.9


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder of fashion-mnist.npz and cifar10-small.npz")
    parser.add_argument("--epochs", type=int, nargs="*", default=[25, 100, 400])
    parser.add_argument("--few-macs", type=int, metavar="EPOCHS", help="on these networks instead")
    given = parser.parse_args()
    if given.few_macs:
        few_macs(load_data(str(given.shared / "cifar10-small.npz")), given.few_macs)
    else:
        fashion(load_data(str(given.shared / "fashion-mnist.npz"), fashion_space.TASK.image_size), given.epochs)


def fashion(data: ImageData, several: Sequence[int]) -> None:
    """On the recorded networks, for each number of epochs."""
    table = json.loads(TABLE.read_text())
    space = fashion_space.space.under(fashion_space.BUDGET, fashion_space.TASK)
    members = [each for each in space.enumerate() if fashion_space.key(each) in table]
    long = np.array([table[fashion_space.key(each)]["long"] for each in members])
    once = np.array([table[fashion_space.key(each)]["accuracy"][0] for each in members])
    macs = np.array([float(each.cost(fashion_space.TASK).macs) for each in members])
    band = macs >= 60_000
    print(f"| what ranks | seconds | tau, {len(members)} networks | tau, {band.sum()} of 60K to 90K MACs | regret |")
    print("|---|---|---|---|---|", flush=True)

    def row(what: str, seconds: float, values: Values) -> None:
        chosen = 100 * (long.max() - long[int(np.argmax(values))])
        cells = [what, f"{seconds:.0f}", told(values, long), told(values[band], long[band]), f"{chosen:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)

    row("MACs", 0.0, macs)
    row("one short training of each", SHORT_S * len(members), once)
    for epochs in several:
        row(f"a supernet of {epochs} epochs", *judged(Supernet(data, epochs=epochs, **AS_LONG), space, members))


def few_macs(data: ImageData, epochs: int) -> None:
    """On the networks that were trained in full."""
    found = zero_cost.few_macs()
    space = load_space(f"{zero_cost.ROOT / 'examples' / 'few_macs.py'}:space").under(Budget.parse("5M..6M"), data.task)
    seconds, values = judged(Supernet(data, epochs=epochs), space, found.networks)
    print(f"a supernet of {epochs} epochs: {seconds:.0f} s, tau {told(values, found.truth)}")


def judged(estimator: Supernet, space: SearchSpace, networks: Sequence[Architecture]) -> tuple[float, Values]:
    """Seconds of a core, and the accuracy of each network."""
    began = time.process_time()
    ready = estimator.prepared(space)
    values = np.array([ready.estimate(each, TrialContext(0)).accuracy for each in networks])
    return time.process_time() - began, values


def told(values: Values, truth: Values) -> str:
    """Tau and its interval."""
    low, high = interval(kendall, values, truth, LEVEL)
    return f"{kendall(values, truth):.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
