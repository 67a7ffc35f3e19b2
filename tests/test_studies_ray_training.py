"""Laws of a training by several workers: cut and resumed it ends the same, and mistakes are said as without Ray."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file

from estimators import ImageData, load_data
from estimators.recipe import make_recipe
from estimators.training import Moment
from searchspaces import Scale, Scaled, Task, UserError, space_named
from studies.ray_engine import connected, settings_of_ray
from studies.ray_training import train_on_ray

DIGITS = load_data("digits")
FEW = ImageData.of("few", DIGITS.images[:300], DIGITS.labels[:300], DIGITS.test_images[:60], DIGITS.test_labels[:60])
SMALL = Scaled(space_named("mbconv").references["mobilenetv2_100"], Scale(width=0.25, depth=0.3), Task(224))
RECIPE = make_recipe("sgd", epochs=2, batch=64, data_fraction=0.8)


pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated")  # Ray Train, on import


@pytest.fixture(scope="module")
def ray():
    with settings_of_ray(), connected(None):
        yield


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("ray")
def test_two_workers_cut_and_resumed_end_as_two_that_were_not(tmp_path):
    moments: list[Moment] = []

    def after_step(moment):
        moments.append(moment)
        if moment.step == 2:  # what a kill now would leave
            shutil.copytree(tmp_path / "whole", tmp_path / "cut")

    whole = train_on_ray(
        SMALL, FEW, RECIPE, tmp_path / "whole", seed=4, checkpoint_s=0, on_moment=after_step, workers=2
    )
    assert [each.step for each in moments] == [1, 2, 3, 4, 5, 6]
    assert whole.facts["workers"] == 2
    told = whole.logits(FEW.test_images).argmax(1)
    assert (told == FEW.test_labels).mean() == pytest.approx(whole.facts["test_accuracy"])

    moments.clear()
    cut_one = train_on_ray(SMALL, FEW, RECIPE, tmp_path / "cut", seed=4, on_moment=moments.append, workers=2)
    assert moments[0].step > 2
    for name in ("best", "last"):
        one, other = (load_file(each.folder / f"{name}.safetensors") for each in (whole, cut_one))
        assert all(torch.equal(one[key], other[key]) for key in one)

    (tmp_path / "half").mkdir()
    facts = (tmp_path / "cut" / "training.json").read_text().replace('"finished": true', '"finished": false')
    (tmp_path / "half" / "training.json").write_text(facts)
    with pytest.raises(UserError, match="workers was 2 when the training began and is 1 now"):
        train_on_ray(SMALL, FEW, RECIPE, tmp_path / "half", seed=4, workers=1)


@pytest.mark.usefixtures("ray")
def test_more_gpus_than_there_are_are_refused(tmp_path):
    with pytest.raises(UserError, match="1000 workers need 1000 GPUs; Ray has 0"):
        train_on_ray(SMALL, FEW, RECIPE, tmp_path / "x", gpus=1000)
