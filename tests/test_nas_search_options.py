"""`nas search` with networks to start from, leaders trained again, and several objectives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from studies_stand_ins import begin
from test_nas_bad_input import INSTANT, search

from searchspaces import Budget, Space, Stage, Task, choice, conv_head, mbconv, space_named
from strategies import STRATEGIES

FEW_MACS = Path(__file__).parent.parent / "examples" / "few_macs.py"
NOISY = INSTANT.replace("/ 1e9, 1.0)", "/ 1e9, 1.0) + (context.seed % 100) / 1e4")


@pytest.fixture
def words(tmp_path):
    """A search that trains nothing; its accuracies are noisy."""
    (tmp_path / "noisy.py").write_text(NOISY)

    def of(**options: object) -> list[str]:
        more = {"estimator": f"{tmp_path / 'noisy.py'}:estimator", **options}
        return [*search(tmp_path, **{name.replace("_", "-"): value for name, value in more.items()}), "--json", "-q"]

    return of


def choices(nas_cli, run: object, trial: int) -> dict[str, object]:
    return nas_cli("show", str(run), "--trial", str(trial), "--json").json()["architecture"]["choices"]


def test_a_real_search_puts_the_network_to_start_from_first(nas_cli, tmp_path):
    cheap = [
        word for name in ("epochs=1", "data_fraction=0.1", "width=0.25") for word in ("--set", f"estimator.{name}")
    ]
    said = nas_cli(*search(tmp_path), "--start-from", "efficientnet_b0", *cheap)
    assert said.code == 0
    assert re.search(r"starts from +efficientnet_b0", said.out)
    member = space_named("mbconv").references["efficientnet_b0"]
    assert choices(nas_cli, tmp_path / "runs" / "run", 0) == member.choices
    assert choices(nas_cli, tmp_path / "runs" / "run", 1) != member.choices


@pytest.mark.parametrize("strategy", ["evolution", "guided", "pareto"])
def test_every_strategy_that_can_starts_from_what_is_given_in_order(nas_cli, words, tmp_path, strategy):
    space = space_named("mbconv")
    drawn = space.under(Budget.parse("400M"), Task()).sample(np.random.default_rng(7))
    (tmp_path / "best.json").write_text(json.dumps({**json.loads(drawn.to_json()), "accuracy": 0.5}))
    given = ["--start-from", str(tmp_path / "best.json"), "--start-from", "mnasnet_100"]
    assert nas_cli(*words(strategy=strategy), *given).code == 0
    run = tmp_path / "runs" / "run"
    assert choices(nas_cli, run, 0) == drawn.choices
    assert choices(nas_cli, run, 1) == space.references["mnasnet_100"].choices


def test_evolution_goes_on_from_where_it_was_started(nas_cli, words, tmp_path):
    settings = ["--set", "strategy.population=2", "--set", "strategy.tournament=2", "--start-from", "efficientnet_b0"]
    nas_cli(*words(trials=3, strategy="evolution"), *settings, "--start-from", "mobilenetv2_100")
    first, child = (choices(nas_cli, tmp_path / "runs" / "run", number) for number in (0, 2))
    # efficientnet_b0 has more MACs and so wins; its child is one decision away (with what that decision opens)
    assert len({name for name in first if child.get(name) == first[name]}) >= len(first) - 4


def test_leaders_are_trained_again_and_the_winner_of_the_means_is_marked(nas_cli, words, tmp_path):
    document = nas_cli(*words(trials=14, confirm=2)).json()
    assert document["confirm"] == 2
    assert document["confirmations"] == 6  # three fresh trainings of each
    first, second = document["confirmed"]
    assert first["mean"] >= second["mean"]
    assert first["mean"] == pytest.approx(np.mean(first["accuracies"]))
    pooled = np.sqrt(np.mean([np.var(each["accuracies"], ddof=1) for each in (first, second)]))
    assert first["standard_error"] == pytest.approx(pooled / 2)  # of four
    assert (document["best"]["number"], document["best"]["accuracy"]) == (first["number"], first["mean"])
    run = tmp_path / "runs" / "run"
    best = json.loads((run / "best.json").read_text())
    assert (best["accuracy"], best["standard_error"]) == (first["mean"], first["standard_error"])
    said = nas_cli("show", str(run)).out
    confirmed = said[said.index("Confirmed networks") :]
    row = next(line for line in confirmed.splitlines() if line.split()[:1] == [str(first["number"])])
    assert row.rstrip().endswith("best")
    assert f"{100 * first['mean']:.1f}% ± {100 * first['standard_error']:.1f}%" in " ".join(row.split())
    assert "14 complete, 6 of them confirmations" in said
    assert "the last 6 trials train the 2 best networks three more times" in said
    longer = nas_cli("resume", str(run), "--trials", "20", "--estimator", f"{tmp_path / 'noisy.py'}:estimator").out
    assert "the last trials, as far as needed, train the 2 best networks three more times" in longer
    again = nas_cli("show", str(run), "--trial", "13").out
    assert re.search(r"confirms +the network of trial \d+", again)


def test_objectives_choose_what_accuracy_is_listed_and_drawn_against(nas_cli, words, tmp_path):
    document = nas_cli(*words(trials=12, strategy="pareto", objectives="accuracy,params")).json()
    assert document["strategy"]["settings"]["objectives"] == ["accuracy", "params"]
    params = [one["params"] for one in document["pareto"]]
    accuracies = [one["accuracy"] for one in document["pareto"]]
    assert params == sorted(params)
    assert accuracies == sorted(accuracies)
    run = tmp_path / "runs" / "run"
    for command in ([], ["plot", str(run)]):
        if command:
            (run / "pareto.html").unlink()
            nas_cli(*command)
        assert '"title":{"text":"parameters"}' in (run / "pareto.html").read_text()
    assert "Pareto front of accuracy and parameters" in nas_cli("show", str(run)).out


def test_the_api_says_the_same(tmp_path):
    import nas
    from searchspaces import load_object

    (tmp_path / "noisy.py").write_text(NOISY)
    estimator = load_object(f"{tmp_path / 'noisy.py'}:estimator")
    start = nas.classic("efficientnet_b0").architecture
    study = nas.search(trials=8, confirm=1, start_from=start, estimator=estimator, name="demo", out=tmp_path)
    assert study.trials[0].architecture == start
    assert len(study.confirmed) == 1


def test_the_default_strategy_is_the_same_everywhere(nas_cli, words, tmp_path):
    import inspect

    import nas
    from studies.settings import Settings

    assert nas_cli(*words()).code == 0
    begun = json.loads((tmp_path / "runs" / "run" / "study.json").read_text())["strategy"]["name"]
    defaults = [inspect.signature(each).parameters["strategy"].default for each in (nas.search, Settings)]
    assert [begun, *defaults] == ["guided"] * 3


MISTAKES = {
    "random starts anywhere": ({"strategy": "random", "start_from": "efficientnet_b0"}, "guided, local-search, pareto"),
    "so does a sampler": (
        {"strategy": "optuna:GPSampler", "start_from": "efficientnet_b0"},
        "'optuna:GPSampler' does not take start-from",
    ),
    "not in the space": ({"start_from": "efficientnet_b9"}, "did you mean 'efficientnet_b0'?"),
    "not in the budget": ({"start_from": "efficientnet_b0", "budget": "200M"}, "macs=200M"),
    "no such file": ({"start_from": "nowhere.json"}, "cannot read the network nowhere.json"),
    "objectives of one": ({"objectives": "accuracy,macs"}, "'guided' does not take objectives; those that do: pareto"),
    "unknown objective": ({"strategy": "pareto", "objectives": "accuracy,mcas"}, "did you mean 'macs'?"),
    "too many to confirm": ({"confirm": 1, "trials": 5}, "at most half"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(nas_cli, words, tmp_path, mistake):
    options, said = MISTAKES[mistake]
    answer = nas_cli(*words(**options))
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert said in answer.err
    assert not (tmp_path / "runs").exists()


def test_the_best_network_of_a_run_is_drawn_on_its_task(nas_cli, words, tmp_path):
    best = nas_cli(*words(task="64x64x3:10")).json()["best"]
    drawing = tmp_path / "best.svg"
    said = nas_cli("show", str(tmp_path / "runs" / "run"), "--svg", str(drawing))
    assert "best.svg" in re.sub(r"\s", "", said.out)  # long paths are folded
    assert f"run, trial {best['number']}<" in drawing.read_text()
    assert "64x64x3:10 " in drawing.read_text()
    refused = nas_cli("show", str(tmp_path / "runs" / "run"), "--task", "32x32x3:10")
    assert "--task is for a network" in refused.err


TWENTY = Space(
    "twenty",
    stages=Stage(mbconv, width=choice(8, 16, 24, 32, 40), kernel=choice(3, 5), depth=choice(1, 2)),
    head=Stage(conv_head, width=16),
)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_study_of_a_space_of_twenty_ends_before_fifty_trials(strategy):
    study = begin(space=TWENTY, budget=None, trials=50, strategy=strategy)
    ended = study.run()
    assert (ended.kind, len(study.trials)) == ("exhausted", 20)
    assert {trial.architecture for trial in study.trials} == {*TWENTY.enumerate()}


@pytest.mark.parametrize("strategy", ["random", "guided"])
def test_a_search_of_a_space_of_twenty_ends_before_fifty_trials_and_says_so(nas_cli, tmp_path, strategy):
    table = {each.to_json(): 0.5 + number / 100 for number, each in enumerate(TWENTY.enumerate())}
    (tmp_path / "table.json").write_text(json.dumps(table))
    said = nas_cli(
        *search(
            tmp_path, space=f"{__file__}:TWENTY", estimator=f"table:{tmp_path / 'table.json'}", budget="100%",
            trials=50, strategy=strategy, task="32x32x3:10",
        )
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    assert re.search(r"trials +20 complete", said.out)
    assert re.search(
        r"ended +nothing new left to try: all 20 architectures of twenty that fit have been tried", said.out
    )
    assert "nas resume" not in said.out
    shown = nas_cli("show", tmp_path / "runs" / "run", "--space", f"{__file__}:TWENTY")
    assert ("nas cost" in shown.out, "nas resume" in shown.out) == (True, False)
    rows = (tmp_path / "runs" / "run" / "trials.csv").read_text().splitlines()
    assert len(rows) == 1 + 20


def test_a_search_says_where_its_ledger_lies(nas_cli, words, tmp_path):
    url = f"sqlite:///{tmp_path}/all.db"
    for name, ledger, place in [("one", "journal", tmp_path / "runs" / "one" / "ledger.log"), ("two", url, url)]:
        found = nas_cli(*words(name=name, trials=2, ledger=ledger)).json()
        assert found["trials"]["complete"] == 2
        assert found["files"]["ledger"] == str(place)
    refused = nas_cli(*words(name="three", ledger="sqlit"))
    assert (refused.code, "did you mean 'sqlite'" in refused.err) == (2, True)


def test_trials_that_inherit_say_from_which_trial_and_what_is_kept(nas_cli, tmp_path):
    cheap = [word for name in ("epochs=2", "data_fraction=0.1") for word in ("--set", f"estimator.{name}")]
    small = search(tmp_path, space=f"{FEW_MACS}:space", task="8x8x1:10", budget="600K..900K", trials=10)
    said = nas_cli(*small, *cheap, "--inherit", "--confirm", "0", "--workers", "1", "--device", "cpu")
    assert said.code == 0
    text = " ".join(said.out.split())
    assert "inherits after 8 from scratch, each trial starts from the weights of the nearest earlier one" in text
    assert "accuracies are estimates of those from scratch; add --confirm 3 to decide by training from scratch" in text
    assert re.search(r"from trial \d", text)
    assert re.search(r"inherited 2 trials started from the weights of others; those of 10 are kept, [\d.]+[KM]B", text)
    run = tmp_path / "runs" / "run"
    show = ["show", str(run), "--space", f"{FEW_MACS}:space"]
    document = nas_cli(*show, "--json").json()
    weights = [each.stat().st_size for each in (run / "weights").iterdir()]
    assert document["inheritance"]["kept"] == len(weights) == 10
    assert sum(weights) * 0.5 < document["inheritance"]["bytes"] < sum(weights)
    trial = nas_cli(*show, "--trial", "9").out
    assert re.search(r"parent +trial \d: [\d.]+% of the parameters, trained for [23] epochs before", trial)
    assert "trials start from the weights of earlier ones" in " ".join(trial.split())
    assert re.search(r"starts from the weights of trial \d", (run / "pareto.html").read_text())
    few = nas_cli(*small, "--trials", "2", "--name", "few", *cheap, "--inherit", "--workers", "1", "--device", "cpu")
    assert "no trial inherits: all 2 are the first ones" in " ".join(few.out.split())


def test_an_estimator_that_cannot_inherit_is_refused_in_one_line(nas_cli, tmp_path):
    said = nas_cli(*search(tmp_path, estimator="zero-cost"), "--inherit")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "inherit: the estimator 'zero-cost' cannot start from trained weights; short-training can" in said.err
    assert not (tmp_path / "runs").exists()
