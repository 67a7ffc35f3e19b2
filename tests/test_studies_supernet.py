"""Studies whose networks share their weights: these are trained once, and a study is the same however it is cut."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studies_stand_ins import begin, story

from estimators import load_data
from estimators.core import Core, Halving, accuracy
from estimators.supernet import Supernet
from studies import Study, StudyPrepares, StudyStarted, TrialStarted
from studies.shared_start import starting_weights

QUICK = {"estimator": "supernet", "estimator_settings": {"epochs": 2, "data_fraction": 0.3, "statistics": 64}}
TYPED = ("--set", "estimator.epochs=2", "--set", "estimator.data_fraction=0.3", "--set", "estimator.statistics=64")
SEARCH = (
    "search", "--space", "resnet-cifar", "--budget", "2M", "--task", "16x16x1:10", "--strategy", "random",
    "--name", "a",
)  # fmt: skip


def test_a_study_that_is_cut_is_the_same_and_trains_its_weights_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = begin(**QUICK, trials=4)
    events: list[Any] = []
    whole.run(on_event=events.append)
    kinds = [type(each) for each in events]
    assert kinds[:2] == [StudyStarted, StudyPrepares]
    assert StudyPrepares not in kinds[kinds.index(TrialStarted) :]
    cut = begin(tmp_path / "run", **QUICK, trials=4)
    cut.run(trials=2)
    cut.close()
    assert (tmp_path / "run" / "supernet.safetensors").exists()
    monkeypatch.setattr(Core, "step", None)  # nothing is trained from here on
    again = Study.open(tmp_path / "run", space=whole.space)
    again.run()
    assert story(again) == story(whole)
    assert [trial.state for trial in again.trials] == ["complete"] * 4
    assert all(0 < trial.details["shared_weights"] <= 1 for trial in again.trials)
    assert again.adjusted == again.standard_errors == {}  # they are no accuracies
    again.close()


def test_it_is_searched_from_the_command_line_and_says_what_its_numbers_are(nas_cli: Any, tmp_path: Path) -> None:
    said = nas_cli(*SEARCH, "--estimator", "supernet", *TYPED, "--trials", "3", "--out", tmp_path)
    assert said.code == 0, said.err
    assert "estimates are a supernet accuracy, with shared weights, and only rank" in said.out
    assert len(re.findall(r"^\d/3  trial \d  supernet accuracy 0\.\d+ ", said.out, re.MULTILINE)) == 3
    assert re.search(r"3 complete; .* in total, after .* for the supernet", said.out)
    assert "--proxies supernet+epochs=2+" in " ".join(said.out.split())
    shown = nas_cli("show", tmp_path / "a", "--json").json()
    assert shown["prepared_s"] > 0
    assert shown["best"]["accuracy"] == shown["best"]["observed"]
    page = (tmp_path / "a" / "pareto.html").read_text()
    assert re.search(r"best supernet accuracy 0\.\d{4} at ", page)
    refused = nas_cli("compare", tmp_path / "a", tmp_path / "a")
    assert refused.code == 2
    assert "its estimates are a supernet accuracy, with shared weights" in refused.err


def test_it_is_a_proxy_that_is_measured_with_its_share_of_the_training(nas_cli: Any, tmp_path: Path) -> None:
    digits = load_data("digits")
    np.savez(tmp_path / "few.npz", train_images=digits.images[:200], train_labels=digits.labels[:200])
    few = ["--data", tmp_path / "few.npz", "--networks", "4", "--trainings", "1", "--reference-epochs", "1"]
    words = ["proxy", *SEARCH[1:7], "--name", "p", *few]
    settings = "+".join(["supernet", *(each.removeprefix("estimator.") for each in TYPED[1::2])])
    said = nas_cli(*words, "--proxies", settings, "--out", tmp_path, "--json")
    assert said.code == 0, said.err
    row = next(each for each in said.json()["proxies"] if each["proxy"] == settings)
    study = Study.open(next(tmp_path.glob("p/proxy-supernet*")))
    took = [trial.seconds or 0.0 for trial in study.trials]
    trained = study.trials[0].details["prepared_s"]
    study.close()
    assert row["seconds"] == pytest.approx(sum(took) / 4 + trained / 4)


def test_the_device_is_no_setting(nas_cli: Any, tmp_path: Path) -> None:
    said = nas_cli(*SEARCH, "--estimator", "supernet", "--set", "estimator.device=cuda", "--out", tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "supernet: 'device' is not a setting; --data and --device choose what and where to train" in said.err


def test_a_network_is_trained_from_the_weights_that_all_networks_share(nas_cli: Any, tmp_path: Path) -> None:
    """It begins with exactly what its trial was judged by; `nas train` is told so, and a resumed training too."""
    said = nas_cli(*SEARCH, "--estimator", "supernet", *TYPED, "--trials", "3", "--out", tmp_path, "--json").json()
    run = tmp_path / "a"
    assert f"nas train {run} --weights {run}" in said["looks"]
    study = Study.open(run)
    trial, estimator = study.trials[1], study.make_estimator()
    assert isinstance(estimator, Supernet)
    start = starting_weights(run, trial.architecture, estimator.data.task)
    assert (start.inherited.share, start.inherited.preserved) == (1.0, True)
    module = trial.architecture.build(estimator.data.task)
    start.give(module, 0)
    _, val = estimator.split()
    images, labels = estimator._images(val, torch.device("cpu"))
    scaled = estimator._scaling(estimator.split()[0], torch.device("cpu"))
    assert accuracy(module, scaled, images, labels, Halving(100, torch.device("cpu"))) == trial.accuracy
    words = ["train", f"{run}:1", "--epochs", "1", "--set", "data_fraction=0.1", "--out", tmp_path / "t", "--quiet"]
    trained = nas_cli(*words, "--weights", run, "--json").json()
    assert trained["weights"] | {"fingerprint": ""} == start.told() | {"source": str(run), "fingerprint": ""}
    assert nas_cli(*words, "--weights", run).code == 0


def test_shared_weights_are_for_the_networks_of_their_search_alone(nas_cli: Any, tmp_path: Path) -> None:
    nas_cli(*SEARCH, "--estimator", "supernet", *TYPED, "--trials", "1", "--out", tmp_path, "--quiet")
    run, words = tmp_path / "a", ["train", "resnet20", "--data", "digits", "--image-size", "16"]
    refused = nas_cli(*words, "--out", tmp_path / "t", "--weights", run)
    assert refused.code == 2
    assert "has shared weights for the networks of resnet-cifar that fit its budget, and this is not one" in refused.err
    content = (run / "supernet.safetensors").read_bytes()
    (run / "supernet.safetensors").write_bytes(content[: len(content) // 2])
    refused = nas_cli("train", run, "--out", tmp_path / "t", "--weights", run)
    assert refused.code == 2
    assert "has no finished weights for this space, budget and settings" in refused.err
