"""Laws of a training by several workers of Ray Train; what they do together is tested where training is."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from estimators import ImageData, load_data
from estimators.recipe import make_recipe
from estimators.training import Moment
from searchspaces import Scale, Scaled, Task, UserError, space_named
from studies.ray.cluster import connected, settings_of_ray
from studies.ray.training import train_on_ray

DIGITS = load_data("digits")
FEW = ImageData.of("few", DIGITS.images[:300], DIGITS.labels[:300], DIGITS.test_images[:60], DIGITS.test_labels[:60])
SMALL = Scaled(space_named("mbconv").references["mobilenetv2_100"], Scale(width=0.25, depth=0.3), Task(224))
RECIPE = make_recipe("sgd", epochs=2, batch=64, data_fraction=0.8)


pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated")  # Ray Train, on import


@pytest.fixture(scope="module")
def ray():
    with settings_of_ray(), connected(None):
        yield


@pytest.mark.usefixtures("ray")
def test_two_workers_share_each_batch_and_tell_each_step(tmp_path):
    moments: list[Moment] = []
    trained = train_on_ray(SMALL, FEW, RECIPE, tmp_path / "two", seed=4, on_moment=moments.append, workers=2)
    assert [each.step for each in moments] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert trained.facts["workers"] == 2
    assert trained.facts["finished"]
    told = trained.logits(FEW.test_images).argmax(1)
    assert (told == FEW.test_labels).mean() == pytest.approx(trained.facts["test_accuracy"])


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_any_worker_is_told(monkeypatch, rank):
    """Only what one worker reads may be damaged; the others wait for it at their next exchange, until it is told."""
    ray = pytest.importorskip("ray.train", reason="needs Ray Train: pip install 'ray[train]'")
    from studies.ray import training

    def damaged(*_):
        raise UserError("cannot read photo.jpg")

    monkeypatch.setattr(training, "train", damaged)
    monkeypatch.setattr(training, "network_from_json", lambda text, space: None)
    monkeypatch.setattr("ray.get", lambda reference: reference)
    monkeypatch.setattr(ray, "get_context", lambda: SimpleNamespace(get_world_rank=lambda: rank))
    told: list[object] = []
    names = ("data", "recipe", "folder", "seed", "found", "checkpoint_s")
    given = {"device": "cpu", "code": {}, "network": ("", None, None, None), **dict.fromkeys(names)}
    training._work({**given, "told": SimpleNamespace(put=told.append)})
    assert told == [("here", None), ("UserError", "cannot read photo.jpg")]


@pytest.mark.usefixtures("ray")
def test_what_workers_tell_is_kept_on_the_drivers_node(tmp_path, monkeypatch):
    """Elsewhere the death of a node that trains nothing would end the training."""
    from ray import get_runtime_context

    asked: list[object] = []

    def queue(actor_options):
        asked.append(actor_options["label_selector"])
        raise InterruptedError

    monkeypatch.setattr("ray.util.queue.Queue", queue)
    with pytest.raises(InterruptedError):
        train_on_ray(SMALL, FEW, RECIPE, tmp_path / "x", workers=2)
    assert asked == [{"ray.io/node-id": get_runtime_context().get_node_id()}]


@pytest.mark.usefixtures("ray")
def test_more_gpus_than_there_are_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"1000 workers need 1000 GPUs; Ray has \d+"):
        train_on_ray(SMALL, FEW, RECIPE, tmp_path / "x", gpus=1000)


@pytest.mark.usefixtures("ray")
def test_workers_that_do_not_come_up_are_waited_for_so_long_and_no_longer(tmp_path, monkeypatch):
    from studies.ray import training

    monkeypatch.setattr(training, "START_S", 0.5)
    before = set(threading.enumerate())
    with pytest.raises(UserError, match=r"0 of 2 workers came up within 0\.5 seconds: each needs a free CPU"):
        train_on_ray(SMALL, FEW, RECIPE, tmp_path / "slow", seed=4, workers=2)
    assert not (tmp_path / "slow").exists()
    assert set(threading.enumerate()) <= before  # one that waits for Ray would end this process with Ray
