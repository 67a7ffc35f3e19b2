"""Laws of a study with a latency table: it lies in the run folder, and resuming needs that folder and nothing else."""

import csv
import json
import pickle

import pytest
from latency_stand_ins import made_up
from studies_stand_ins import SPACE, TASK, Known, begin, story

import nas
from searchspaces import Budget, UserError
from strategies import make_strategy
from studies import Study

TABLE = made_up(SPACE, TASK)
TIMED = TABLE.on(TASK)
BUDGET = Budget.parse("400K,0.3..0.45ms")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of 30 trials, unbroken; nobody changes it."""
    study = begin_timed(tmp_path_factory.mktemp("whole") / "run", 30)
    study.run()
    return study


def begin_timed(folder, trials, **changes):
    settings = {"strategy": "pareto", "strategy_settings": {"objectives": ["accuracy", "latency_ms"]}}
    return begin(folder, **{"task": TIMED, "budget": BUDGET, "trials": trials, **settings, **changes})


def test_everything_that_is_trained_fits_in_milliseconds_too(whole):
    for trial in whole.trials:
        assert trial.cost.latency_us == trial.architecture.cost(TIMED).latency_us
        assert 300 <= trial.cost.latency_us <= 450
        assert trial.cost.macs <= 400_000


@pytest.mark.parametrize("cut", [1, 11, 20])
def test_a_study_resumed_from_its_folder_alone_equals_the_unbroken_one(tmp_path, whole, cut):
    begin_timed(tmp_path / "run", 30).run(cut)
    resumed = Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    assert resumed.task == TIMED
    resumed.run(30)
    assert story(resumed) == story(whole)


def test_the_table_of_trials_and_the_best_have_the_latency(whole):
    rows = list(csv.DictReader((whole.folder / "trials.csv").read_text().splitlines()))
    assert [float(row["latency_ms"]) for row in rows] == [trial.cost.latency_ms for trial in whole.trials]
    best = json.loads((whole.folder / "best.json").read_text())
    assert best["costs"]["latency_ms"] == whole.best.cost.latency_ms


def test_the_front_and_the_plot_are_drawn_against_latency(whole, tmp_path):
    front = whole.pareto("latency_ms")
    assert [trial.cost.latency_us for trial in front] == sorted(trial.cost.latency_us for trial in front)
    page = whole.plot(tmp_path / "p.html", "latency_ms").read_text()
    for text in ("latency (ms, predicted by the latency table)", "over the budget of 0.45 ms", '"tickformatstops":'):
        assert text in page


def test_a_study_without_a_table_has_no_such_cost(tmp_path):
    study = begin(tmp_path / "run", trials=2)
    study.run()
    assert "latency_ms" not in study.trials_dataframe().columns
    assert not (study.folder / "latency.json").exists()
    assert "latency_ms" not in json.loads((study.folder / "best.json").read_text())["costs"]
    with pytest.raises(UserError, match="unknown cost 'latency_ms'"):
        study.pareto("latency_ms")
    manifest = json.loads((study.folder / "study.json").read_text())
    del manifest["latency"]  # as an earlier version wrote it
    (study.folder / "study.json").write_text(json.dumps(manifest))
    assert len(Study.open(study.folder, space=SPACE, estimator=Known()).trials) == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "cannot read the latency table"),
        (lambda path: path.write_bytes(pickle.dumps({})), "cannot read the latency table"),
        (lambda path: path.write_text(made_up(SPACE, TASK, slope=2.0).text()), "not the latency table the study"),
    ],
    ids=["gone", "a pickle", "another"],
)
def test_a_run_folder_whose_table_is_damaged_is_one_line(tmp_path, damage, words):
    begin_timed(tmp_path / "run", 2).run()
    damage(tmp_path / "run" / "latency.json")
    with pytest.raises(UserError, match=words) as caught:
        Study.open(tmp_path / "run", space=SPACE, estimator=Known())
    assert "\n" not in str(caught.value)


def test_another_table_is_another_study(tmp_path):
    begin_timed(tmp_path / "run", 2).run()
    with pytest.raises(UserError, match=r"latency table was #\w{8} when the study began and is #\w{8} now"):
        begin_timed(tmp_path / "run", 2, task=made_up(SPACE, TASK, slope=2.0).on(TASK), budget=BUDGET)
    with pytest.raises(UserError, match="latency_ms needs a latency table"):
        begin_timed(tmp_path / "run", 2, task=TASK)


def test_an_objective_in_milliseconds_needs_a_table(monkeypatch):
    monkeypatch.setattr("searchspaces.latency.typed_as", lambda name: None)  # other tests load files with such a space
    settings = {"objectives": ["accuracy", "latency_ms"]}
    with pytest.raises(UserError, match="nas measure --space small --task 32x32x3:10"):
        make_strategy("pareto", SPACE.under(Budget.parse("400K"), TASK), 10, **settings)
    make_strategy("pareto", SPACE.under(Budget.parse("400K"), TIMED), 10, **settings)


@pytest.mark.parametrize("as_file", [True, False])
def test_the_python_api_takes_a_table_or_its_file(tmp_path, as_file):
    (tmp_path / "t.json").write_text(TABLE.text())
    study = nas.search(
        space=SPACE, budget="0.45ms", task=str(TASK), latency=tmp_path / "t.json" if as_file else TABLE,
        strategy="random", estimator=Known(), trials=3, name="a", out=tmp_path,
    )  # fmt: skip
    assert study.task == TIMED
    assert all(trial.cost.latency_ms <= 0.45 for trial in study.trials)


def test_a_space_that_has_seen_a_table_travels_to_other_processes():
    drawn = next(iter(SPACE.enumerate()))
    drawn.cost(TIMED)
    there = pickle.loads(pickle.dumps(SPACE))
    assert there.architecture(drawn.choices).cost(TASK) == drawn.cost(TASK)
    assert there.architecture(drawn.choices).cost(TIMED) == drawn.cost(TIMED)
