"""The Pareto plot read back: from the page, and from what a browser without network draws. And the tables beside it."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from studies_stand_ins import BUDGET, SPACE, TASK, Known, begin

from nas.commands.study_screens import show_result
from nas.documents import study_document
from searchspaces import Architecture, Budget, UserError, architecture_from_json, load_space
from studies import Study
from studies.pages.pareto import pareto_figure as study_figure
from studies.pages.report import front_section
from studies.pareto import front, hypervolume, hypervolumes

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000"),
    "--proxy-server=127.0.0.1:9",  # nothing listens there: no network
]


def failing(architecture: Architecture, seed: int) -> None:
    if seed % 5 == 0:
        raise RuntimeError("</script><script>alert(1)</script>")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = begin(tmp_path_factory.mktemp("runs") / "demo", trials=16, pruner="asha", estimator=Known(fails=failing))
    study.run()
    assert {trial.state for trial in study.trials} == {"complete", "pruned", "failed"}
    return study


def drawn(page: str, name: str = "pareto") -> tuple[dict[str, Any], dict[str, Any]]:
    """The traces by name and the layout, as the page gives them to plotly."""
    start = page.index(f'data-plot="{name}">') + len(f'data-plot="{name}">')
    figure, _ = json.JSONDecoder().raw_decode(page, start)
    return {trace["name"]: trace for trace in figure["data"]}, figure["layout"]


def test_the_page_has_every_trial_where_it_belongs(study: Study) -> None:
    path = study.plot()
    assert path == study.folder / "pareto.html"
    traces, layout = drawn(path.read_text())
    complete = [trial for trial in study.trials if trial.state == "complete"]
    points = traces["trials, early to late"]
    assert points["customdata"] == [trial.number for trial in complete]
    assert points["x"] == [trial.cost.macs for trial in complete]
    assert points["y"] == [trial.accuracy for trial in complete]
    for text, trial in zip(points["text"], complete, strict=True):
        assert f"trial {trial.number}<" in text
        assert all(part.strip() in text for part in trial.architecture.words().split("|"))
    for state in ("pruned", "failed"):
        assert traces[state]["customdata"] == [trial.number for trial in study.trials if trial.state == state]
    pareto = study.pareto()
    assert traces["Pareto front"]["x"] == [*(trial.cost.macs for trial in pareto), 400_000]
    assert traces["Pareto front"]["line"]["shape"] == "hv"
    assert (traces["best"]["x"], traces["best"]["y"]) == ([study.best.cost.macs], [study.best.accuracy])
    assert any(shape["type"] == "rect" and shape["x0"] == 400_000 for shape in layout["shapes"])
    assert any("budget of 400K" in note["text"] for note in layout["annotations"])


def test_the_page_needs_nothing_else_and_runs_nothing_of_a_trial(study: Study) -> None:
    page = study.plot().read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)
    assert "alert(1)</script>" not in page
    assert "<script>alert" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open the page with")
def test_a_browser_without_network_draws_every_point(study: Study, tmp_path: Path) -> None:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", study.plot().as_uri()]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    points = re.findall(r'<path class="point[^"]*" transform="translate', page)
    assert len(points) == len(study.trials) + 1  # each trial, and the star on the best one
    assert "small within 400K MACs" in page[: page.index("<main>")]
    written = " ".join(re.findall(r"<t(?:ext|span)[^>]*>([^<]+)", page))
    for text in ("over the budget of 400K", f"{study.best.accuracy:.1%}", "pruned", "failed"):
        assert text in written


def test_classic_networks_are_marked_at_their_cost_and_given_no_accuracy() -> None:
    mbconv = load_space("mbconv")
    study = begin(space=mbconv, budget=Budget.parse("360M..400M"), task=TASK.parse("224x224x3:1000"), strategy="random")
    study.run(3)
    from studies.pages.pareto import pareto_figure, pareto_notes

    figure = pareto_figure(study)
    marks = next(trace for trace in figure.data if trace.name == "classics")
    costs = {name: found.cost(study.task).macs for name, found in mbconv.references.items()}
    assert costs["efficientnet_b0"] == 385_814_752  # tests/golden, and the EfficientNet paper's 0.39B
    marked = dict(zip(marks.text, marks.x, strict=True))
    low, high = figure.layout.xaxis.range
    assert marked == {name: cost for name, cost in costs.items() if low <= cost <= high}
    (far,) = [note for note in pareto_notes(study) if "Out of view" in note]  # an empty strip would say nothing
    assert {name for name in costs if name in far} == costs.keys() - marked.keys() != set()
    assert "not trained here" in marks.hovertemplate
    said = dict(zip(marks.text, marks.hovertext, strict=True))["efficientnet_b0"]  # of ImageNet, so not on the axis
    assert said.endswith("published top-1 on ImageNet: 75.5% to 78.6%")
    shaded = {(shape.x0, shape.x1) for shape in figure.layout.shapes if shape.type == "rect"}
    assert {end for pair in shaded for end in pair} >= {360e6, 400e6}


def test_a_study_without_a_complete_trial_has_a_plot_and_no_best(tmp_path: Path) -> None:
    study = begin()
    assert "no trial is complete yet" in study.plot(tmp_path / "plot.html").read_text()
    with pytest.raises(UserError, match="no trial is complete yet"):
        _ = study.best
    with pytest.raises(UserError, match="say where"):
        study.plot()
    with pytest.raises(UserError, match="did you mean 'macs'"):
        study.plot(tmp_path / "plot.html", x="mac")
    with pytest.raises(UserError, match="did you mean 'params'"):
        study.pareto("param")
    with pytest.raises(UserError, match="cannot write to"):
        study.plot(tmp_path / "no" / "such" / "plot.html")


def test_the_tables_beside_it(study: Study) -> None:
    folder = study.folder
    assert folder is not None
    best = json.loads((folder / "best.json").read_text())
    assert architecture_from_json((folder / "best.json").read_text(), SPACE) == study.best.architecture
    assert (best["trial"], best["accuracy"]) == (study.best.number, study.best.accuracy)
    assert best["costs"]["macs"] == study.best.cost.macs
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    frame = study.trials_dataframe()
    assert [int(row["number"]) for row in rows] == list(frame["number"]) == list(range(16))
    for row, trial in zip(rows, study.trials, strict=True):
        assert (row["state"], int(row["macs"])) == (trial.state, trial.cost.macs)
        chosen = {each.name: row[each.name] for each in SPACE.decisions if row[each.name]}
        assert chosen == {name: str(value) for name, value in trial.architecture.choices.items()}
    assert frame["accuracy"].max() == study.best.accuracy
    assert list(frame.columns) == list(rows[0])


def test_a_front_is_what_nothing_dominates() -> None:
    points = [(float(i * 7919 % 23), (i * 104729 % 31) / 31) for i in range(200)]
    kept = front(points)
    for index, (cost, accuracy) in enumerate(points):
        beaten = any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in points)
        assert (index in kept) == (not beaten)
    assert front([]) == []


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_hypervolume_is_the_share_of_the_cube_below_the_points(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    points = rng.random((12, objectives)).round(1)  # ties among them
    probes = rng.random((200_000, objectives))
    below = (probes[:, None] <= points[None]).all(-1).any(1)
    standard_error = below.std() / len(below) ** 0.5
    assert hypervolume(points.tolist()) == pytest.approx(below.mean(), abs=5 * standard_error + 1e-9)
    whole = hypervolumes(points.tolist())
    assert whole == pytest.approx([hypervolume(points[: n + 1].tolist()) for n in range(12)])
    assert whole == sorted(whole)
    assert hypervolume([]) == 0
    assert hypervolume([[1.0] * objectives]) == 1


def test_what_trials_dominate_is_kept_beside_them_and_drawn_for_several_objectives(tmp_path: Path) -> None:
    settings = {"objectives": "accuracy,params"}
    study = begin(tmp_path / "run", budget=BUDGET, strategy="pareto", strategy_settings=settings)
    study.run(12)
    assert study.objectives == ("accuracy", "params")
    found, most = study.hypervolumes(), study.feasible.largest.params
    on_front = [(trial.accuracy, 1 - trial.cost.params / most) for trial in study.pareto("params")]
    assert found[-1] == pytest.approx(hypervolume(on_front))
    assert 0 < found[0] <= found[-1] < 1
    assert list(study.trials_dataframe()["hypervolume"]) == found
    page = study.plot().read_text()
    assert 'id="hypervolume"' in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)

    single = begin(budget=BUDGET, strategy="random")
    single.run(5)
    assert single.objectives == ("accuracy", "macs")  # in the table, but no picture that nobody asked for
    assert 'id="hypervolume"' not in single.plot(tmp_path / "plot.html").read_text()


def test_the_front_of_three_objectives_is_that_in_all_of_them(tmp_path: Path) -> None:
    settings = {"objectives": "accuracy,macs,params", "population": 30}
    study = begin(tmp_path / "run", budget=BUDGET, strategy="pareto", strategy_settings=settings)
    study.run(60)
    points = {each.number: (each.accuracy or 0.0, -each.cost.macs, -each.cost.params) for each in study.trials}
    beaten = {
        number
        for number, one in points.items()
        if any(other != one and all(map(float.__ge__, map(float, other), map(float, one))) for other in points.values())
    }
    numbers = [each.number for each in study.pareto()]
    assert set(numbers) == points.keys() - beaten
    assert [points[each][1] for each in numbers] == sorted((points[each][1] for each in numbers), reverse=True)
    of_two = front([(-macs, accuracy) for accuracy, macs, _ in points.values()])
    assert set(of_two) < set(numbers)  # what a study with two objectives shows
    limit = [1.0, study.budget.bounds[0].upper, study.feasible.largest.params] if study.budget else []
    shares = [(points[n][0], *(1 + points[n][i] / float(limit[i]) for i in (1, 2))) for n in numbers]
    assert study.hypervolumes()[-1] == pytest.approx(hypervolume(shares))

    document = study_document(study)
    assert [each["number"] for each in document["pareto"]] == numbers
    said = io.StringIO()
    show_result(document, Console(file=said, width=100))
    assert "Pareto front of accuracy, MACs and parameters" in said.getvalue()
    rings = next(each for each in study_figure(study).data if each.legendgroup == "front")
    assert sorted(rings.x) == [-points[each][1] for each in numbers]
    page = study.plot().read_text()
    assert "small within 400K MACs: Pareto front of accuracy, MACs and parameters" in page
    assert "Hypervolume of accuracy, MACs and parameters" in page
    assert "Pareto front of accuracy, MACs and parameters</h2>" in front_section(study, "macs")


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_a_trial_that_is_asked_for_is_ringed_and_named(study: Study, tmp_path: Path, state: str) -> None:
    trial = min((each for each in study.trials if each.state == state), key=lambda each: each.accuracy or 0.0)
    name = f"trial {trial.number}"
    path = study.plot(trial=trial.number)
    assert path == study.folder / f"pareto-trial-{trial.number}.html"
    traces, layout = drawn(path.read_text())
    y = trial.accuracy if state == "complete" else traces[state]["y"][0]
    assert (traces[name]["x"], traces[name]["y"]) == ([trial.cost.macs], [y])
    assert [note["text"] for note in layout["annotations"]].count(f"<b>{name}</b>") == 1
    if state == "complete":  # the lowest of all is in view
        assert layout["yaxis"]["range"][0] < trial.accuracy
    unringed, _ = drawn(study.plot(tmp_path / "plot.html").read_text())
    assert name not in unringed


def test_a_trial_that_is_not_there_is_not_ringed(study: Study) -> None:
    with pytest.raises(UserError, match=f"has no trial 99; it has {len(study.trials)}, numbered from 0"):
        study.plot(trial=99)
    assert not (study.folder / "pareto-trial-99.html").exists()
