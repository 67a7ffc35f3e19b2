"""`nas compare` and `nas bench-strategies` as a person types them."""

from __future__ import annotations

import json
import pickle
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import BUDGET, SPACE, TASK, Known, begin

from nas.comparing import bench_strategies, compare_runs
from nas.recorded import Source
from searchspaces import UserError, load_space
from studies import Study
from studies.settings import Settings

STAND_INS = str(Path(__file__).with_name("studies_stand_ins.py"))
SPACE_TEXT = f"{STAND_INS}:SPACE"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for strategy in ("random", "evolution"):
        for seed in (0, 1):
            made.append(begin(folder / f"{strategy}{seed}", space=SPACE, strategy=strategy, seed=seed, trials=8))
            made[-1].run()
    return made


def test_runs_are_compared_from_their_folders(nas_cli: Any, runs: list[Study], tmp_path: Path) -> None:
    folders = [str(each.folder) for each in runs]
    page = tmp_path / "compare.html"
    said = nas_cli("compare", *folders, "--space", SPACE_TEXT, "--json", "--out", page)
    assert (said.code, said.err) == (0, "")
    document = said.json()
    assert document["plot"] == str(page)
    assert 'data-plot="curves"' in page.read_text()
    means = {each["name"]: each["mean"] for each in document["contestants"]}
    for name in ("random", "evolution"):
        best = [each.best.accuracy for each in runs if each.manifest.strategy["name"] == name]
        assert means[name] == pytest.approx(np.mean(best))
    (pair,) = document["pairs"]
    assert pair["difference"] == pytest.approx(means[pair["first"]] - means[pair["second"]])
    shown = nas_cli("compare", *folders, "--space", SPACE_TEXT, "--trials", 4)
    assert shown.code == 0
    for text in ("Best accuracy after 4 trials", "evolution", "random", "95% interval", "fewer than five seeds"):
        assert text in shown.out
    from_memory = compare_runs(runs)
    assert {each.name: each.mean for each in from_memory.contestants} == pytest.approx(means)


def test_mistakes_are_one_line(nas_cli: Any, runs: list[Study], tmp_path: Path) -> None:
    first = str(runs[0].folder)
    other = begin(tmp_path / "other", space=SPACE, estimator=Known(), seed=7, trials=2, budget=None)
    other.run()
    for arguments, said in (
        ((first, tmp_path / "none"), "no run folder"),
        ((first, tmp_path / "other"), "cannot be compared with"),
        ((first, first), "the same random with the same seed, 0"),
        ((first, "--trials", 9), "has only 8 that finished"),
        ((first, "--out", tmp_path / "no" / "such.html"), "cannot write to"),
        ((first, "--out", tmp_path / "such.png"), "must end in .html"),
    ):
        ended = nas_cli("compare", "--space", SPACE_TEXT, *arguments)
        assert (ended.code, ended.err.count("\n"), ended.out) == (2, 1, ""), arguments
        assert said in ended.err
    told = nas_cli("compare", "--space", SPACE_TEXT, first, tmp_path / "other").err
    assert "the budget is none there and 400K MACs here" in told


def test_runs_on_different_images_are_refused_by_the_names_of_the_images(tmp_path: Path) -> None:
    class On(Known):
        def __init__(self, name: str, fingerprint: str) -> None:
            super().__init__()
            self.data = {"name": name, "fingerprint": fingerprint * 32}

        def describe(self) -> dict[str, Any]:
            return {**super().describe(), "data": self.data}

    several = [
        begin(tmp_path / name, estimator=On(name, digits), trials=1)
        for name, digits in (("pets", "a1"), ("cats", "b2"))
    ]
    for each in several:
        each.run()
    with pytest.raises(UserError, match=r"the data is 'cats' \(#b2b2b2b2\) there and 'pets' \(#a1a1a1a1\) here"):
        compare_runs(several)


def recorded_study(table: Path, run: dict[str, Any], **changes: Any) -> Settings:
    """The settings of a run of a bench."""
    of = {"strategy": run["strategy"], "seed": run["seed"], "estimator": f"table:{table}"}
    return Settings(space=SPACE, task=TASK, budget=BUDGET, **of, **changes)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trainings of each of the 1,728 networks; the more MACs the better, to 0.0005 sd of the mean."""
    rng = np.random.default_rng(0)
    recorded = {
        each.to_json(): (0.5 + each.cost(TASK).macs / 1e7 + rng.normal(0, 0.0005, 3)).tolist()
        for each in SPACE.enumerate()
    }
    path = tmp_path_factory.mktemp("table") / "table.json"
    path.write_text(json.dumps(recorded))
    return path


def test_strategies_are_run_on_a_table_and_compared(nas_cli: Any, table: Path, tmp_path: Path) -> None:
    said = nas_cli(
        "bench-strategies", "--table", table, "--space", SPACE_TEXT, "--budget", "400K", "--task", str(TASK),
        "--trials", 30, "--seeds", 6, "--strategies", "random, evolution", "--out", tmp_path / "bench",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    for text in (
        "run 12 of 12: evolution, seed 5",
        "Best observed accuracy after 30 trials",
        "Regret in percentage points",
    ):
        assert text in said.out
    results = json.loads((tmp_path / "bench" / "results.json").read_text())
    assert 'data-plot="curves"' in (tmp_path / "bench" / "compare.html").read_text()
    assert [(run["strategy"], run["seed"]) for run in results["runs"]] == [
        (strategy, seed) for seed in range(6) for strategy in ("random", "evolution")
    ]
    recorded = {key: np.mean(several) for key, several in json.loads(table.read_text()).items()}
    best = max(recorded[each.to_json()] for each in SPACE.under(BUDGET, TASK).enumerate())
    assert results["regret"]["best"] == pytest.approx(best)
    regrets = {each["name"]: each for each in results["regret"]["contestants"]}
    for run in results["runs"]:  # each against a study of its own
        study = Study.create(None, recorded_study(table, run, trials=30))
        study.run()
        assert run["reached"][-1] == study.best.accuracy
        truth = recorded[study.best.architecture.to_json()]
        place = regrets[run["strategy"]]["seeds"].index(run["seed"])
        assert regrets[run["strategy"]]["values"][place] == pytest.approx(best - truth)


def test_a_function_may_give_the_key_and_names_are_checked_before_anything_runs(
    nas_cli: Any, table: Path, tmp_path: Path
) -> None:
    keyed = tmp_path / "keyed.json"
    keyed.write_text(json.dumps({f"#{key}": np.mean(value) for key, value in json.loads(table.read_text()).items()}))
    (tmp_path / "key.py").write_text("def key(architecture):\n    return '#' + architecture.to_json()\n")
    common = ["--space", SPACE_TEXT, "--trials", 3, "--seeds", 2, "--out", tmp_path / "out", "--task", str(TASK)]
    key = f"{tmp_path / 'key.py'}:key"
    said = nas_cli("bench-strategies", "--table", keyed, "--key", key, *common, "--strategies", "random", "--json")
    assert said.json()["observed"]["contestants"][0]["seeds"] == [0, 1]
    for arguments, text in (
        (["--table", keyed, "--strategies", "random"], "is the key right?"),
        (["--table", keyed, "--key", key, "--strategies", "random,evolutoin"], "did you mean 'evolution'"),
        (["--table", keyed, "--key", key, "--strategies", ","], "--strategies: ',' names none"),
        (["--table", keyed, "--key", key, "--strategies", ""], "--strategies: '' names none"),
        (["--table", keyed, "--key", key, "--seeds", 0], "seeds must be at least 1"),
        (["--table", keyed, "--key", key, "--jobs", 0], "jobs must be at least 1"),
        (["--table", tmp_path / "none.json"], "cannot read the table"),
        (["--table", keyed, "--out", keyed], "is a file, not a folder"),
        (["--table", keyed, "--key", key, "--out", keyed / "sub"], "cannot create the folder"),
    ):
        ended = nas_cli("bench-strategies", *common, *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), arguments
        assert text in ended.err


def test_several_processes_give_the_same_results_confirmed_too(nas_cli: Any, table: Path, tmp_path: Path) -> None:
    (tmp_path / "key.py").write_text(
        "def key(architecture):\n    import key_parts\n    return key_parts.text(architecture)"
    )
    (tmp_path / "key_parts.py").write_text("def text(architecture):\n    return architecture.to_json()\n")
    documents = []
    for jobs in (1, 2):
        said = nas_cli(
            "bench-strategies", "--table", table, "--space", SPACE_TEXT, "--budget", "400K", "--task", str(TASK),
            "--key", f"{tmp_path / 'key.py'}:key", "--trials", 18, "--seeds", 2, "--strategies", "random,evolution",
            "--confirm", 2, "--jobs", jobs, "--out", tmp_path / str(jobs),
        )  # fmt: skip
        assert (said.code, said.err) == (0, "")
        assert "run 4 of 4: evolution, seed 1" in said.out
        documents.append(json.loads((tmp_path / str(jobs) / "results.json").read_text()))
    one, two = documents
    assert [two[each] for each in ("runs", "observed", "regret")] == [
        one[each] for each in ("runs", "observed", "regret")
    ]
    assert all(run["settings"]["confirm"] == 2 for run in one["runs"])
    for run in one["runs"]:  # against a study of its own, whose best is a mean of four
        study = Study.create(None, recorded_study(table, run, trials=18, confirm=2))
        study.run()
        assert len(study.confirmed) == 2
        assert run["reached"][-1] == study.best.accuracy
    refused = nas_cli("bench-strategies", "--table", table, "--space", SPACE_TEXT, "--trials", 11, "--confirm", 2)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "confirm 2 takes 6 trials" in refused.err


def test_several_numbers_of_trials_are_compared_as_searches_of_each(nas_cli: Any, table: Path, tmp_path: Path) -> None:
    common = ["--table", table, "--space", SPACE_TEXT, "--budget", "400K", "--task", str(TASK), "--seeds", 2]
    common += ["--strategies", "random,evolution", "--out", tmp_path / "bench"]
    said = nas_cli("bench-strategies", *common, "--trials", "56,10,40")
    assert (said.code, said.err) == (0, "")
    for text in ("N = 10", "N = 40", "N = 56", "depend on it: random, evolution.", "N = 10, 40: 0; N = 56: auto"):
        assert text in " ".join(said.out.split())
    several = json.loads((tmp_path / "bench" / "results.json").read_text())
    assert [each["regret"]["trials"] for each in [*several["shorter"], several]] == [10, 40, 56]
    read: dict[str, list[list[int]]] = {"random": [], "evolution": []}
    for run in several["runs"]:
        read[run["strategy"]].append(run["trials"])
    assert read == dict.fromkeys(read, [[10, 40], [56]] * 2)  # the last of 56 trials are confirmations
    for after in [*several["shorter"], several]:
        alone = nas_cli("bench-strategies", *common, "--trials", after["regret"]["trials"], "--json").json()
        for measure in ("observed", "regret"):
            values, expected = (
                {each["name"]: each["values"] for each in of[measure]["contestants"]} for of in (after, alone)
            )
            assert values == expected
    for arguments, text in (
        (["--trials", "24,4", "--confirm", "2"], "confirm 2 takes 6 trials"),
        (["--trials", "24,many"], "'24,many' is not a number, or several as in 25,50,100"),
        (["--trials", "24,0"], "trials must be at least 1"),
    ):
        refused = nas_cli("bench-strategies", *common, *arguments)
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1), arguments
        assert text in refused.err


def test_one_run_is_said_to_be_one_where_it_ends_before_the_last_number_as_the_space_is_used_up(
    nas_cli: Any, tmp_path: Path
) -> None:
    (tmp_path / "few.json").write_text(json.dumps({f"{a}-{b}": [(3 * a + b) / 20] for a in range(4) for b in range(3)}))
    common = ["--table", tmp_path / "few.json", "--seeds", 2, "--out", tmp_path / "bench", "--quiet"]
    said = nas_cli("bench-strategies", *common, "--strategies", "random", "--trials", "5,50,100")
    told = " ".join(said.out.split())
    assert "N = 12" in told
    assert "One run per seed, read after its first N trials: random." in told
    assert "Separate runs" not in told


def test_one_run_is_read_at_the_numbers_of_trials_that_begin_alike(table: Path) -> None:
    found = bench_strategies(
        Source(str(table), SPACE), BUDGET, task=TASK, trials=[10, 40, 155], seeds=1, strategies=["random", "evolution"],
        confirm=0,
    )  # fmt: skip
    read = [(each.run.strategy, each.trials) for each in found.played]
    # the population of `evolution` is a fifth of the trials, at least 30
    assert read == [("random", (10, 40, 155)), ("evolution", (10, 40)), ("evolution", (155,))]
    assert found.regret is not None
    assert found.regret.best is not None
    for after in found.after:
        assert after.regret is not None
        for contestant in after.regret.contestants:
            (run,) = (
                each.run for each in found.played
                if each.run.strategy == contestant.name and after.regret.trials in each.trials
            )  # fmt: skip
            assert run.truths is not None
            assert contestant.mean == pytest.approx(found.regret.best - run.truths[after.regret.trials - 1])


@pytest.mark.parametrize(("trials", "noisy", "confirm"), [(49, True, 0), (50, True, "auto"), (50, False, 0)])
def test_a_benchmark_confirms_what_a_search_of_as_many_trials_does(
    nas_cli: Any, table: Path, tmp_path: Path, trials: int, noisy: bool, confirm: object
) -> None:
    if not noisy:
        means = {key: float(np.mean(several)) for key, several in json.loads(table.read_text()).items()}
        table = tmp_path / "means.json"
        table.write_text(json.dumps(means))
    common = ["--space", SPACE_TEXT, "--budget", "400K", "--task", str(TASK), "--trials", trials]
    found = nas_cli(
        "bench-strategies", *common, "--table", table, "--seeds", 1, "--strategies", "random", "--json",
        "--out", tmp_path / "bench",
    ).json()  # fmt: skip
    assert found["runs"][0]["settings"]["confirm"] == confirm
    search = nas_cli(
        "search", *common, "--estimator", f"table:{table}", "--strategy", "random", "--seed", 0, "--name", "run",
        "--out", tmp_path, "--workers", 1, "--quiet", "--json",
    )  # fmt: skip
    assert search.code == 0, search.err
    study = Study.open(tmp_path / "run", space=SPACE)
    assert study.manifest.confirm == confirm
    assert found["runs"][0]["reached"][-1] == study.best.accuracy


def test_what_one_field_chooses_is_judged_by_another(nas_cli: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names = [each.to_json() for each in SPACE.enumerate()]
    recorded = {each: {"val": rng.uniform(), "test": [rng.uniform(), rng.uniform()]} for each in names}
    (tmp_path / "both.json").write_text(json.dumps(recorded))
    common = ["--table", tmp_path / "both.json", "--space", SPACE_TEXT, "--budget", "400K", "--task", str(TASK)]
    common += ["--trials", 12, "--seeds", 2, "--strategies", "random", "--out", tmp_path / "bench"]
    said = nas_cli("bench-strategies", *common, "--field", "val", "--judge", "test")
    assert (said.code, said.err) == (0, "")
    told = " ".join(said.out.split())
    assert "1,728 networks, one accuracy per network; observed by 'val', judged by 'test'" in told
    results = json.loads((tmp_path / "bench" / "results.json").read_text())
    judged = {name: np.mean(each["test"]) for name, each in recorded.items()}
    best = max(judged[each.to_json()] for each in SPACE.under(BUDGET, TASK).enumerate())
    assert results["regret"]["best"] == pytest.approx(best)
    by_val = {each["val"]: name for name, each in recorded.items()}
    for run in results["runs"]:
        assert run["truths"] == pytest.approx([judged[by_val[reached]] for reached in run["reached"]])
    alone = nas_cli("bench-strategies", *common, "--field", "val")
    assert "free of noise, a trial observes the true accuracy" in " ".join(alone.out.split())
    assert (
        "2 accuracies per network; a trial observes one of them"
        in nas_cli("bench-strategies", *common, "--field", "test").out
    )
    (tmp_path / "lists.json").write_text(json.dumps({name: [0.5] for name in names}))
    for arguments, text in (
        (["--field", "val", "--judge", "tets"], "has no 'tets'; did you mean 'test'"),
        (["--table", tmp_path / "lists.json", "--judge", "test"], "judge 'test': not all entries"),
    ):
        refused = nas_cli("bench-strategies", *common, *arguments)
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1), arguments
        assert text in refused.err


FASHION = str(Path(__file__).parents[1] / "benchmarks" / "fashion.json")


def test_a_budget_bounds_the_costs_that_the_table_recorded(nas_cli: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    recorded = {
        each.to_json(): {"test_acc": rng.uniform(), "flops": each.cost(TASK).macs / 1e3} for each in SPACE.enumerate()
    }
    (tmp_path / "table.json").write_text(json.dumps(recorded))
    common = ["--table", tmp_path / "table.json", "--space", SPACE_TEXT, "--trials", 12, "--seeds", 2, "--json"]
    common += ["--strategies", "random,evolution", "--budget", "400K", "--out", tmp_path / "bench"]
    counted = nas_cli("bench-strategies", *common, "--task", str(TASK)).json()
    for jobs in (1, 2):  # on the usual task no network would fit, if its MACs were counted
        by_table = nas_cli("bench-strategies", *common, "--cost", "macs=flops:K", "--jobs", jobs).json()
        assert by_table["regret"]["best"] == counted["regret"]["best"]
        assert by_table["recorded"]["costs"] == {"macs": "flops:K"}
    fits = [each["test_acc"] for each in recorded.values() if each["flops"] <= 400]
    assert max(fits) == counted["regret"]["best"]
    assert all(run["truths"][-1] in fits for run in by_table["runs"])
    for arguments, text in (
        (["--cost", "macs=flosp"], "has no 'flosp'; did you mean 'flops'"),
        (["--cost", "mac=flops"], "unknown cost 'mac'; did you mean 'macs'"),
        (["--cost", "flops"], "'flops' does not look like 'macs=FIELD'"),
        (["--cost", "macs=flops,macs=flops:M"], "macs is given twice"),
        (["--cost", "params=flops"], "macs is not among the recorded costs of small"),
        (["--cost", "macs=flops", "--table", FASHION], "has no 'flops': it is not an object with fields"),
        (["--cost", "macs=flops:G"], "no architecture of small fits"),
    ):
        refused = nas_cli("bench-strategies", *common, *arguments)
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1), arguments
        assert text in refused.err


def test_a_table_without_a_space_is_searched_over_its_own_networks(nas_cli: Any, tmp_path: Path) -> None:
    common = ["--table", FASHION, "--trials", 20, "--seeds", 2, "--out", tmp_path / "bench"]
    said = nas_cli("bench-strategies", *common, "--strategies", "random,local-search")
    assert (said.code, said.err) == (0, "")
    told = " ".join(said.out.split())
    assert "8 fields of their keys differ (3, 2, 2, 2, 3, 2, 2, 2 values); 315 of 576 combinations" in told
    results = json.loads((tmp_path / "bench" / "results.json").read_text())
    means = {key: np.mean(several) for key, several in json.loads(Path(FASHION).read_text()).items()}
    assert results["regret"]["best"] == pytest.approx(max(means.values()))
    assert {round(run["truths"][-1], 9) for run in results["runs"]} <= {round(mean, 9) for mean in means.values()}
    two = nas_cli("bench-strategies", *common, "--strategies", "random,local-search", "--jobs", 2, "--json").json()
    assert two["runs"] == results["runs"]
    named = {name: place / 10 for place, name in enumerate(("resnet18", "vgg11", "alexnet", "densenet121"))}
    (tmp_path / "named.json").write_text(json.dumps(named))
    bare = ["--table", tmp_path / "named.json", "--trials", 4, "--seeds", 2, "--out", tmp_path / "bare"]
    known = nas_cli("bench-strategies", *bare, "--strategies", "random,grid", "--json").json()
    assert [each["mean"] for each in known["regret"]["contestants"]] == [0, 0]  # four trials of four networks
    for arguments, text in (
        ([*bare], "differ in only one field, so networks have nothing in common that evolution could"),
        ([*common, "--budget", "1M"], "macs is not among the recorded costs of table"),
        ([*common, "--strategies", "pareto"], "macs is not among the recorded costs of table"),
        ([*common, "--key", f"{__file__}:FASHION"], "--key gives the key of a network of a space: give --space"),
    ):
        refused = nas_cli("bench-strategies", *arguments)
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1), arguments
        assert text in refused.err


def test_the_example_of_a_table_without_a_space_runs(
    nas_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "strategies.md").read_text(encoding="utf-8")
    written, typed = re.search(r"^```json\n(.*?)^```\n\n```\n(nas bench-strategies .*?)\n", page, re.S | re.M).groups()
    (tmp_path / "nb201.json").write_text(written)
    monkeypatch.chdir(tmp_path)
    found = nas_cli(*shlex.split(typed)[1:], "--json")
    assert found.code == 0
    assert found.json()["recorded"]["options"] == [2, 2]
    assert found.json()["regret"]["best"] == pytest.approx(
        0.8395
    )  # of the two networks of at most 80M: the mean of test


OWN = """
from estimators import Estimate

class Surrogate:
    def describe(self):
        return {"name": "surrogate"}
    def estimate(self, architecture, context):
        return Estimate(len(architecture.to_json()) / 1000 + context.seed % 97 / 1e5, 0.0)

class Known(Surrogate):
    def mean(self, architecture):
        return len(architecture.to_json()) / 1000

silent, known = Surrogate(), Known
"""


def test_an_estimator_of_ones_own_stands_in_for_the_table(nas_cli: Any, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    common = ["--space", SPACE_TEXT, "--budget", "400K", "--task", str(TASK), "--trials", 8, "--seeds", 2]
    common += ["--strategies", "random,evolution", "--out", tmp_path / "bench"]
    known = ["--estimator", f"{tmp_path / 'own.py'}:known"]
    one, two = (nas_cli("bench-strategies", *common, *known, "--jobs", jobs, "--json").json() for jobs in (1, 2))
    assert (one["runs"], one["regret"]) == (two["runs"], two["regret"])
    best = max(len(each.to_json()) / 1000 for each in SPACE.under(BUDGET, TASK).enumerate())
    assert one["regret"]["best"] == best
    for run in one["runs"]:
        assert all(0 <= reached - truth < 97e-5 for reached, truth in zip(run["reached"], run["truths"], strict=True))
    silent = nas_cli("bench-strategies", *common, "--estimator", f"{tmp_path / 'own.py'}:silent")
    assert (silent.code, silent.err) == (0, "")
    assert "has no mean(architecture) that gives true accuracies" in " ".join(silent.out.split())
    assert json.loads((tmp_path / "bench" / "results.json").read_text())["regret"] is None
    for arguments, text in (
        ([*known, "--table", "table.json"], "give either --table or --estimator"),
        ([], "give either --table or --estimator"),
        (["--estimator", "short-training"], "--estimator must be file.py:object, got 'short-training'"),
        ([*known, "--judge", "test"], "key, unit, field, judge and cost are for a table"),
        ([*known, "--cost", "macs=flops"], "key, unit, field, judge and cost are for a table"),
    ):
        refused = nas_cli("bench-strategies", *common, *arguments)
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1), arguments
        assert text in refused.err


def test_where_the_best_is_unknown_what_was_chosen_is_compared_by_its_true_accuracy(
    nas_cli: Any, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    said = nas_cli(
        "bench-strategies", "--estimator", f"{tmp_path / 'own.py'}:known", "--space", "mbconv", "--trials", "4,6",
        "--seeds", 2, "--strategies", "random", "--out", tmp_path / "bench",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    for text in ("True accuracy of the chosen network after 6 trials", "Accuracy after N trials", "too many to list"):
        assert text in " ".join(said.out.split())
    results = json.loads((tmp_path / "bench" / "results.json").read_text())
    assert results["judged"]["contestants"][0]["values"] == [run["truths"][-1] for run in results["runs"]]


def test_a_space_with_a_cell_of_a_file_of_ones_own_is_known_to_several_processes(table: Path, tmp_path: Path) -> None:
    (tmp_path / "cells.py").write_text(
        "from searchspaces import mbconv\ndef cell(c_in, width, stride):\n    return mbconv(c_in, width, stride)"
    )
    (tmp_path / "made.py").write_text(
        "from searchspaces import Space, Stage, choice, conv_head\nfrom cells import cell\n"
        "space = Space('made', stages=Stage(cell, width=choice(8, 16)), head=Stage(conv_head, width=16))"
    )
    space = load_space(f"{tmp_path / 'made.py'}:space")
    (tmp_path / "recorded.json").write_text(json.dumps({each.to_json(): 0.5 for each in space.enumerate()}))
    found = bench_strategies(
        Source(str(tmp_path / "recorded.json"), space),
        task=TASK,
        trials=2,
        seeds=1,
        strategies=["random", "evolution"],
        jobs=2,
    )
    assert [run.reached.tolist() for run in found.runs] == [[0.5, 0.5]] * 2


def test_a_source_opens_its_table_once_in_a_process_and_a_new_one_opens_it_anew(tmp_path: Path) -> None:
    place = tmp_path / "table.json"
    for best in (0.5, 0.9):
        accuracies = {f"[{i}, {j}]": best - i / 10 - j / 20 for i in (0, 1) for j in (0, 1)}
        place.write_text(json.dumps({key: {"test_acc": accuracy} for key, accuracy in accuracies.items()}))
        source = Source(str(place))
        regret = bench_strategies(source, trials=4, seeds=1, strategies=["random"]).regret
        assert regret is not None
        assert regret.best == best
        place.write_text("{}")
        sent = pickle.loads(pickle.dumps(source))  # as each run of another process is given it
        assert sent.opened() is source.opened()
        assert sent.whole() is source.whole()


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_keeps_whole_rounds(table: Path, jobs: int) -> None:
    begun = []

    def impatient(strategy: str, seed: int) -> None:
        begun.append((strategy, seed))
        if len(begun) == 6:
            raise KeyboardInterrupt

    def bench() -> Any:
        return bench_strategies(
            Source(str(table), SPACE), BUDGET, task=TASK, trials=3, seeds=9, strategies=["random", "evolution"],
            jobs=jobs, on_begin=impatient,
        )  # fmt: skip

    found = bench()
    assert found.interrupted
    assert [(run.strategy, run.seed) for run in found.runs] == begun[:4]
    begun[:] = begun[:5]
    with pytest.raises(KeyboardInterrupt):
        bench()
