"""One network trained by several processes at once: full training (`estimators.training`) on Ray Train.

Ray Train starts the workers, one for each GPU (or, without GPUs, as many as are asked for), and brings up
torch.distributed among them; the first of them writes the folder, which every machine must therefore see. When one
dies, all are started again and go on from the last checkpoint. Left out: elastic training, in which the number of
workers, and with it the result, would change on the way.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from estimators import ImageData
from estimators.estimator import Diverged
from estimators.recipe import Recipe
from estimators.starting_weights import StartingWeights
from estimators.teacher import Teacher
from estimators.trained import Trained, network_text
from estimators.training import CHECKPOINT_S, Moment, train
from searchspaces import Buildable, UserError, network_from_json, own_code
from studies.ray.cluster import connected, settings_of_ray
from studies.ray.worker import own_files_by_value

RESTARTS: Final = 3
"""How often the workers are started again when one of them dies."""
START_S: Final = 180.0
"""Seconds in which all workers must have been placed, started, and found one another."""
EXCHANGE_S: Final = 600
"""Seconds that a worker waits for the others at an exchange, of gradients or after an evaluation."""


def train_on_ray(
    network: Buildable,
    data: ImageData,
    recipe: Recipe,
    folder: str | Path,
    seed: int = 0,
    found: Mapping[str, Any] | None = None,
    checkpoint_s: float = CHECKPOINT_S,
    on_moment: Callable[[Moment], None] = lambda moment: None,
    *,
    weights: StartingWeights | None = None,
    teacher: Teacher | None = None,
    address: str | None = None,
    gpus: int = 0,
    workers: int | None = None,
) -> Trained:
    """Train a network with several workers, as `estimators.training.train` does with one.

    Args:
        network, data, recipe, folder, seed, found, checkpoint_s, on_moment, weights, teacher: as there; the batch is
            shared by all.
        address: of a Ray cluster; by default this machine.
        gpus: workers with a GPU each.
        workers: without GPUs, how many; 1 by default.

    Raises:
        UserError: as there, there are not so many GPUs or cores, or the workers do not come up within `START_S`.
        Diverged: as there.
    """
    import ray

    count = gpus or workers or 1
    if count < 1 or gpus < 0:
        raise UserError(f"--gpus and --workers must be at least 1, got {count}")
    folder = Path(folder).absolute()
    with settings_of_ray(), connected(address):
        from ray.util.queue import Empty, Queue

        what, there = ("GPU", "CPU")[not gpus], ray.cluster_resources()
        if there.get(what, 0) < count:
            raise UserError(f"{count} workers need {count} {what}s; Ray has {there.get(what, 0):g}")
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}  # the death of no other node ends it
        told = Queue(actor_options={"num_cpus": 0, "label_selector": here})
        with own_files_by_value():
            home = network.architecture.space if network.architecture else None
            sent = ray.put((network_text(network, data.task), home, weights, teacher))
        given = {
            "code": own_code.sources(),
            "network": sent,
            "data": ray.put(data),
            "recipe": recipe,
            "folder": str(folder),
            "seed": seed,
            "device": "cuda" if gpus else "cpu",
            "found": None if found is None else dict(found),
            "checkpoint_s": checkpoint_s,
            "told": told,
        }
        with tempfile.TemporaryDirectory(prefix="nas-ray-train-", ignore_cleanup_errors=True) as storage:
            fit = ray.remote(num_cpus=0, max_retries=0, label_selector=here)(_fit)  # where the folder is
            result = fit.remote(given, count, bool(gpus), storage)
            ended: list[Any] = []
            up, began = 0, time.monotonic()
            try:
                while not (ended := ray.wait([result], timeout=0)[0]) or not told.empty():
                    if up < count and time.monotonic() - began > START_S:
                        raise UserError(_not_up(up, count, what))
                    try:
                        kind, value = told.get(timeout=0.2)
                    except Empty:
                        continue
                    if kind == "moment":
                        on_moment(value)
                    elif kind == "here":
                        up += 1
                    else:
                        raise (Diverged if kind == "Diverged" else UserError)(value)
            finally:
                if not ended:
                    ray.cancel(result, force=True)  # and with it the workers, which it owns
                told.shutdown(force=True)
            if (failure := ray.get(result)) is not None:
                raise UserError(f"the workers died {RESTARTS + 1} times: {failure}")
    return Trained.open(folder, network.architecture.space if network.architecture else None)


def _not_up(here: int, count: int, what: str) -> str:
    """Why a training is given up before its first step."""
    return (
        f"{here} of {count} workers came up within {START_S:g} seconds: each needs a free {what} and must reach the "
        "others; `ray status` shows what is in use"
    )


def _fit(given: dict[str, Any], count: int, gpus: bool, storage: str) -> str | None:
    """Run Ray Train to its end; one line on why it failed.

    In a process of its own: the driver's is where Ctrl-C is to be heard, and a thread of it that still waits for Ray
    when Ray is shut down crashes the process the next time that Ray is started there (ray-project/ray#31145).
    """
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        _work,
        train_loop_config=given,
        scaling_config=ray.train.ScalingConfig(num_workers=count, use_gpu=gpus),
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo", timeout_s=EXCHANGE_S),
        run_config=ray.train.RunConfig(
            name="train", storage_path=storage, failure_config=ray.train.FailureConfig(max_failures=RESTARTS)
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        return str(error).strip().splitlines()[0]
    return None


def _work(given: dict[str, Any]) -> None:
    """What each worker does."""
    import ray
    import ray.train

    if given["device"] == "cuda":
        import torch
        from ray.train.torch import get_device

        torch.cuda.set_device(get_device())  # all of a machine's GPUs are in sight of each worker; this one is its own
    first = ray.train.get_context().get_world_rank() == 0
    own_code.install(given["code"])  # the network may need it to be read
    told, (text, space, weights, teacher) = given["told"], ray.get(given["network"])

    def tell(moment: Moment) -> None:
        if first:
            told.put(("moment", moment))

    try:
        told.put(("here", None))
    except ray.exceptions.RayActorError:
        return  # whom it would be told to has gone
    try:
        train(
            network_from_json(text, space),
            ray.get(given["data"]),
            given["recipe"],
            given["folder"],
            given["seed"],
            given["device"],
            given["found"],
            given["checkpoint_s"],
            tell,
            weights,
            teacher,
        )
    except (UserError, Diverged) as error:  # not for Ray to try again, whichever worker meets it first
        told.put((type(error).__name__, str(error)))
