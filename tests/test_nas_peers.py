"""Searches of other packages as contestants of `nas bench-strategies`."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import BUDGET, SPACE, TASK

from nas.comparing import Bench, bench_strategies
from nas.peers import catalog
from nas.peers.here import Observed, excess
from nas.recorded import Source
from searchspaces import Architecture, UserError
from studies import Study
from studies.settings import Settings

FASHION = str(Path(__file__).parents[1] / "benchmarks" / "fashion.json")
HERE = [name for name, peer in catalog.PEERS.items() if peer.search is not None]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three accuracies of each of the 1,728 networks."""
    rng = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("table") / "table.json"
    path.write_text(json.dumps({each.to_json(): rng.uniform(0.2, 0.9, 3).tolist() for each in SPACE.enumerate()}))
    return path


def bench(table: Path | str, strategies: list[str], **changes: Any) -> Bench:
    given = {"task": TASK, "trials": 30, "seeds": 2, **changes}
    return bench_strategies(Source(str(table), SPACE), BUDGET, strategies=strategies, **given)


@pytest.mark.parametrize("name", HERE)
def test_a_peer_is_run_as_its_users_run_it_and_judged_as_our_studies_are(table: Path, name: str) -> None:
    pytest.importorskip(catalog.PEERS[name].module)
    found = bench(table, [f"peer:{name}"])
    recorded, feasible = json.loads(table.read_text()), SPACE.under(BUDGET, TASK)
    for played in found.played:
        study = Study.create(
            None,
            Settings(
                space=SPACE, task=TASK, budget=BUDGET, estimator=f"table:{table}", trials=30, seed=played.run.seed
            ),
        )
        tried: list[Architecture] = []
        accuracies: list[float] = []

        def observe(digits: Any, tried: Any = tried, accuracies: Any = accuracies, study: Any = study) -> Observed:
            options = zip(SPACE.decisions, digits, strict=True)
            tried.append(SPACE.architecture({each.name: each.options[digit] for each, digit in options}))
            several = recorded[tried[-1].to_json()]
            luck = np.random.default_rng(study.seed_of(len(tried) - 1)).integers(3)
            accuracies.append(several[luck] if tried[-1] in feasible else 0.0)
            return Observed(accuracies[-1], excess(BUDGET, tried[-1].cost(TASK)))

        catalog.search(name, observe, [len(each.options) for each in SPACE.decisions], 30, played.run.seed)
        assert played.run.reached == pytest.approx(np.maximum.accumulate(accuracies))
        chosen = [tried[int(np.argmax(accuracies[: n + 1]))] for n in range(30)]
        truths = [np.mean(recorded[each.to_json()]) if each in feasible else 0.0 for each in chosen]
        assert played.run.truths == pytest.approx(truths)
        assert played.infeasible == sum(each not in feasible for each in tried) > 0
        assert played.repeated == 30 - len(set(tried))


def test_a_peer_is_compared_with_strategies_seed_by_seed_in_several_processes_too(
    nas_cli: Any, table: Path, tmp_path: Path
) -> None:
    words = ["--table", table, "--space", f"{Path(__file__).with_name('studies_stand_ins.py')}:SPACE"]
    words += ["--budget", "400K", "--task", str(TASK), "--trials", "12,24", "--seeds", 2, "--out", tmp_path / "bench"]
    words += ["--strategies", "random,peer:optuna-tpe"]
    one, two = (nas_cli("bench-strategies", *words, "--jobs", jobs, "--json").json() for jobs in (1, 2))
    assert one["runs"] == two["runs"]
    assert {each["name"]: each["seeds"] for each in one["regret"]["contestants"]} == {
        "random": [0, 1], "peer:optuna-tpe": [0, 1],
    }  # fmt: skip
    runs = [run for run in one["runs"] if run["strategy"] == "peer:optuna-tpe"]
    assert [run["trials"] for run in runs] == [[12, 24]] * 2  # one run read at both numbers
    assert all(run["settings"]["package"].startswith("optuna ") for run in runs)
    outside = sum(run["infeasible"] for run in runs) / 48
    said = " ".join(nas_cli("bench-strategies", *words).out.split())
    assert f"peer:optuna-tpe: {outside:.0%} outside the budget" in said


def test_combinations_that_a_table_lacks_are_trials_spent() -> None:
    strategies = ["random", "peer:optuna-tpe"]
    found = bench_strategies(Source(FASHION), trials=40, seeds=2, strategies=strategies)  # 315 of 576 combinations
    spent = {each.run.strategy: each.infeasible for each in found.played}
    assert spent["random"] == 0 < spent["peer:optuna-tpe"] < 40


def test_a_peer_that_finds_nothing_that_fits_has_an_accuracy_of_0_and_ends_no_benchmark(table: Path) -> None:
    source, least = Source(str(table), SPACE), str(min(each.cost(TASK).macs for each in SPACE.enumerate()))
    found = bench_strategies(source, least, task=TASK, trials=2, seeds=1, strategies=["random", "peer:optuna-tpe"])
    ours, theirs = found.played
    assert (ours.infeasible, theirs.infeasible) == (0, 2)
    assert theirs.run.reached.tolist() == [0.0, 0.0]
    assert found.regret is not None
    regrets = {each.name: each.mean for each in found.regret.contestants}
    assert regrets == {"random": 0.0, "peer:optuna-tpe": found.regret.best}


def test_a_peer_whose_trials_all_fail_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "class Broken:\n"
        "    def describe(self):\n        return {'name': 'broken'}\n"
        "    def estimate(self, architecture, context):\n        raise RuntimeError('no images')\n"
    )
    source = Source(f"{tmp_path / 'own.py'}:Broken", SPACE)
    with pytest.raises(UserError, match="every trial that fits failed, the last one so: no images"):
        bench_strategies(source, task=TASK, trials=3, seeds=1, strategies=["peer:optuna-tpe"])


STAND_IN = '''
class RegularizedEvolution:
    """Proposes the digits of a counter, and writes down what it is told."""

    def __init__(self, space, random_seed, **settings):
        self.space, self.seed, self.settings, self.number = space, random_seed, settings, 0

    def suggest(self):
        left, config = self.number, {}
        for name, options in self.space.items():
            left, digit = divmod(left, len(options))
            config[name] = options[digit]
        self.number += 1
        return config

    def on_trial_complete(self, number, config, metric):
        with open(LOG, "a") as file:
            print(self.seed, number, metric, sorted(self.settings.items()), file=file)
'''


def test_a_peer_of_another_python_is_answered_through_pipes(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searchers, log = tmp_path / "syne_tune" / "optimizer" / "schedulers" / "searchers", tmp_path / "log"
    searchers.mkdir(parents=True)
    (tmp_path / "syne_tune" / "config_space.py").write_text("def choice(options):\n    return options\n")
    (searchers / "regularized_evolution.py").write_text(f"LOG = {str(log)!r}\n{STAND_IN}")
    (tmp_path / "syne_tune-0.16.0.dist-info").mkdir()
    (tmp_path / "syne_tune-0.16.0.dist-info" / "METADATA").write_text("Name: syne-tune\nVersion: 0.16.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = bench(table, ["peer:syne-tune-evolution-40-20"], trials=7, peers_python=sys.executable)
    assert found.runs[0].settings["package"] == "syne-tune 0.16.0"
    lines = [line.split(maxsplit=3) for line in log.read_text().splitlines()]
    assert [line[:2] for line in lines] == [[str(seed), str(number)] for seed in (0, 1) for number in range(7)]
    assert {line[3] for line in lines} == {"[('population_size', 40), ('sample_size', 20)]"}
    for played in found.played:
        accuracies = [-float(line[2]) for line in lines if line[0] == str(played.run.seed)]  # it minimizes
        assert played.run.reached == pytest.approx(np.maximum.accumulate(accuracies))


def test_a_peer_of_another_python_that_breaks_is_one_line(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "syne_tune").mkdir()
    (tmp_path / "syne_tune" / "config_space.py").write_text("raise RuntimeError('an older NumPy is wanted')\n")
    (tmp_path / "syne_tune-0.16.0.dist-info").mkdir()
    (tmp_path / "syne_tune-0.16.0.dist-info" / "METADATA").write_text("Name: syne-tune\nVersion: 0.16.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match="ended before its last trial"):
        bench(table, ["peer:syne-tune-evolution"], trials=7, peers_python=sys.executable)


def test_a_peer_that_is_not_installed_is_refused_with_how_to_install_it(
    nas_cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "pyglove" else find(name))
    common = ["bench-strategies", "--table", FASHION, "--out", tmp_path / "bench", "--strategies"]
    environment = "python3.11 -m venv peers && peers/bin/pip install --no-deps -r benchmarks/peers.txt"
    for arguments, text in (
        (["peer:pyglove-evolution"], "pyglove is not installed; install it with: pip install pyglove"),
        (["random,peer:nni-rl"], f"nni needs older packages than nas and runs in a separate Python: give "
         f"--peers-python peers/bin/python after {environment}"),
        (["peer:nni-rl", "--peers-python", sys.executable], f"nni is not installed for {sys.executable}"),
        (["peer:nni-rl", "--peers-python", tmp_path / "none"], "--peers-python: cannot run"),
        (["peer:optuna-tep"], "unknown peer 'peer:optuna-tep'; did you mean 'peer:optuna-tpe'?"),
        (["syne-tune-evolution"], "unknown strategy 'syne-tune-evolution'; did you mean 'peer:syne-tune-evolution'?"),
    ):  # fmt: skip
        refused = nas_cli(*common, *arguments)
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1), arguments
        assert text in refused.err
    assert not (tmp_path / "bench").exists()


def test_the_benchmark_of_this_repository_runs_the_same_peers() -> None:
    from benchmarks.regret import CONTESTANTS

    assert sorted(filter(None, CONTESTANTS.values())) == sorted(catalog.PEERS)
