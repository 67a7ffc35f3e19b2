"""`nas report`: one page about a search, and what lies beside it."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from studies_stand_ins import SPACE, Known, begin
from test_nas_bad_input import INSTANT
from test_studies_inheritance import Heir

import nas
from estimators import load_data
from estimators.estimator import binomial_error
from estimators.recipe import make_recipe
from estimators.short_training import LIKELIHOOD
from estimators.training import train
from nas.api import open_study
from nas.documents import study_document
from nas.reporting import _images_words
from nas.reproducing import study_command
from nas.training import training_job
from searchspaces import Budget, Scale, Scaled, Task, UserError
from studies import Study
from studies.pages.pareto import pareto_figure, time_text
from studies.pages.report import cost_section, learning_figure, progress_figure
from studies.settings import Settings
from studies.trial import SHARE

SECTIONS = [
    "Summary", "Pareto front", "Best so far", "The best network", "Decisions", "Learning curves", "Failures",
    "How far to trust the proxy", "What it cost", "Manifest", "Reproduce",
]  # fmt: skip


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def text_of(page: str) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]+>", " ", page))


def a_run(folder, **changes):
    study = begin(folder, **{"trials": 30, "confirm": 3, "estimator": Known(), **changes})
    study.run()
    return study


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return a_run(tmp_path_factory.mktemp("runs") / "demo")


def test_it_tells_the_search_in_words_and_shows_all_of_it(run):
    path = nas.report(run.folder, space=SPACE)
    assert path == run.folder / "report.html"
    page = path.read_text()
    assert headings(page) == SECTIONS
    said, best = text_of(page), run.best
    assert f"The best reaches {best.accuracy:.1%} ± {run.standard_errors[best.number]:.1%}" in said
    assert "at most 400K MACs among 1,728 networks of the space small" in said
    assert f"nas report {run.folder}" in said
    assert json.dumps(run.manifest.space["fingerprint"])[1:-1] in said
    for trial in run.pareto():
        assert f"<td>{trial.number}</td>" in page
    assert '<svg xmlns="http://www.w3.org/2000/svg" class="network"' in page
    assert "How well this proxy ranks networks was not measured." in said  # a person's own: there is no command for it
    assert "Energy was not recorded" in said


def test_the_best_so_far_is_that_of_the_study(run):
    from studies.comparison import Run
    from studies.pages.report import _reached

    places, reached, _ = _reached(run)
    expected = Run.of(run).reached
    assert reached == pytest.approx([float(expected[place - 1]) for place in places])
    assert reached[-1] == pytest.approx(run.best.accuracy)


def test_the_band_is_of_validation_images_until_a_network_is_confirmed_and_then_of_its_trainings():
    class OnImages(Known):
        def describe(self):
            return {**super().describe(), "val_images": 200}

    study = begin(trials=30, confirm=3, estimator=OnImages())
    study.run()
    above, below, so_far, *_ = progress_figure(study).data
    errors = (np.array(above.y) - np.array(below.y)) / 2
    first = min(trial.rank for trial in study.trials if trial.confirms is not None)
    alone = [binomial_error(best, 200) for place, best in zip(so_far.x, so_far.y, strict=True) if place <= first]
    assert errors[: len(alone)] == pytest.approx(alone)
    assert errors[-1] == pytest.approx(study.standard_errors[study.best.number])
    assert errors[-1] != pytest.approx(binomial_error(study.best.accuracy, 200), rel=0.05)


@pytest.mark.parametrize("x", ["macs", "params"])
def test_learning_curves_are_two_traces_with_a_gap_between_trials(run, x):
    other, front = learning_figure(run, x).data
    on_front = {trial.number for trial in run.pareto(x)}
    for trace, numbers in ((front, on_front), (other, {trial.number for trial in run.trials} - on_front)):
        assert set(trace.customdata) == numbers
        points = [*zip(trace.customdata, trace.x, trace.y, trace.text, strict=True)]
        for number in numbers:
            *drawn, gap = [point for point in points if point[0] == number][1:]
            assert gap[2] is None
            assert [(step, y) for _, step, y, _ in drawn] == list(run.trials[number].reports)
            for _, step, y, text in drawn:
                assert text.startswith(f"{y:.2%} after step {step}<br><b>trial {number}</b>")


def test_time_is_that_of_the_device_where_trials_share_it():
    class Sharing(Known):
        def estimate(self, architecture, context):
            return replace(super().estimate(architecture, context), details={SHARE: 0.25})

    study = begin(trials=8, estimator=Sharing(seconds=0.05))
    study.run()
    taken = sum(trial.seconds for trial in study.trials) / 4
    assert 0.2 < study_document(study)["seconds"] == pytest.approx(taken)
    assert time_text(taken) in cost_section(study)


def test_what_is_no_accuracy_is_no_percentage():
    class Likelihood(Known):
        def describe(self):
            return {**super().describe(), "estimates": LIKELIHOOD}

        def estimate(self, architecture, context):
            found = super().estimate(architecture, context)
            return replace(found, details={"likelihood": found.accuracy})

    study = begin(trials=24, confirm=2, estimator=Likelihood())
    study.run()
    texts = [each for trace in learning_figure(study, "macs").data for each in trace.text if each]
    single = next(trace.hovertemplate for trace in pareto_figure(study).data if trace.name == "single trainings")
    assert any("±" in each for each in texts)
    assert not any("%" in each for each in [*texts, single.replace("%{", "")])


def test_failures_have_their_reasons(tmp_path):
    def fails(architecture, seed):
        if seed % 3 == 0:
            raise RuntimeError("an odd network")

    study = a_run(tmp_path / "odd", confirm=0, estimator=Known(fails=fails))
    count = sum(trial.state == "failed" for trial in study.trials)
    page = nas.report(study.folder, space=SPACE).read_text()
    assert count > 0
    assert re.search(rf"<td[^>]*>[^<]*an odd network[^<]*</td><td>{count}</td>", page)


def test_several_runs_are_compared_and_what_cannot_be_is_said(tmp_path):
    runs = [a_run(tmp_path / f"s{seed}", seed=seed, trials=12, confirm=0) for seed in (0, 1)]
    page = nas.report([each.folder for each in runs], tmp_path / "both.html", space=SPACE).read_text()
    assert headings(page) == ["Summary", "Comparison", *SECTIONS[1:]]
    assert 'data-plot="curves"' in page
    best = max(runs, key=lambda each: each.best.accuracy)
    assert f"The rest of this report is about {best.folder}" in text_of(page)
    other = a_run(tmp_path / "other", budget=None, trials=12, confirm=0)
    page = nas.report([runs[0].folder, other.folder], tmp_path / "no.html", space=SPACE).read_text()
    assert "cannot be compared" in text_of(page)
    assert 'data-plot="curves"' not in page


def test_trainings_and_comparisons_of_proxies_beside_the_run_are_part_of_it(run, tmp_path):
    folder = tmp_path / "runs" / "demo"
    shutil.copytree(run.folder, folder)
    found = {"run": "runs/demo", "trial": run.best.number, "proxy_accuracy": 0.5, "created": run.manifest.created}
    data, network = load_data("digits"), Scaled(run.best.architecture, Scale(), Task(8, 1, 10))
    recipe = make_recipe("auto", 10, 8, epochs=1, batch=64, data_fraction=0.3)
    train(network, data, recipe, tmp_path / "runs" / "demo-trained", 0, found=found)
    train(network, data, recipe, tmp_path / "runs" / "of-another", 0, found={**found, "created": "another day"})
    (tmp_path / "runs" / "foreign").mkdir()
    (tmp_path / "runs" / "foreign" / "training.json").write_text("{}")  # of another program
    one = {"tau": 0.5, "interval": [0.3, 0.6], "spearman": 0.6, "regret": 0.01, "top": 0.5, "seconds": 2.0}
    measured = {
        "space": "small", "budget": None, "task": str(run.task), "networks": 9, "level": 0.9, "data": None,
        "reference": {"estimator": "long", "trainings": 2, "ceiling": 0.8}, "folder": "runs/proxy",
        "counting": "macs", "proxies": [{**one, "proxy": "known", "estimator": run.manifest.estimator["resolved"]}],
    }  # fmt: skip
    for name, change in (("proxy", {}), ("proxy-of-another", {"space": "large"}), ("proxy-damaged", {"proxies": [1]})):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "proxies.json").write_text(json.dumps({**measured, **change}))
    page = nas.report(folder, space=SPACE).read_text()
    assert headings(page) == [*SECTIONS[:7], "Trained in full: demo-trained", *SECTIONS[7:]]
    facts = json.loads((tmp_path / "runs" / "demo-trained" / "training.json").read_text())
    said = text_of(page)
    assert f"top-1 accuracy of {100 * facts['test_accuracy']:.1f}%" in said
    assert page.count('data-plot="confusion_of_demo-trained"') == page.count('data-plot="proxies"') == 1
    assert 0 < page.count('<img src="data:image/png;base64,') <= 12
    ranked = (
        "Kendall's τ 0.50 (90% interval 0.30 to 0.60) with long, on 9 networks; not distinguishable from counting MACs"
    )
    assert f"ranks networks was measured by nas proxy: {html.escape(ranked)}." in said
    assert len(page.encode()) < 6_000_000
    (command,) = re.findall(r"nas train .*? (?=nas report)", html.unescape(said.partition("Reproduce")[2]))
    words = shlex.split(command)
    assert words[words.index("--trial") + 1] == str(run.best.number)
    given = dict(each.split("=") for at, each in enumerate(words) if words[at - 1] == "--set")
    settings = {name: json.loads(value) for name, value in given.items()}
    assert settings == {"batch": 64, "data_fraction": 0.3}
    assert [words[words.index(option) + 1] for option in ("--data", "--image-size")] == ["digits", "8"]
    again = make_recipe("auto", facts["data"]["images"], 8, epochs=1, **settings)
    assert again.describe() == facts["recipe"]


def test_the_training_that_is_to_be_run_again_reads_the_same_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for kind in ("cats", "dogs"):
        (tmp_path / "my photos" / kind).mkdir(parents=True)
        for index in range(6):
            picture = Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8))
            picture.save(tmp_path / "my photos" / kind / f"{index}.png")
    settings = {"space": "mbconv", "data": "digits", "trials": 1, "estimator_settings": {"max_pixels": 500}}
    with closing(Study.create(tmp_path / "run", Settings.parse(settings))) as study:
        for folder, given in (
            ("my photos", {"centre": 0.5, "skip_bad": True, "max_pixels": 400}),
            ("my photos", {"max_pixels": 500}),
            (str(study.manifest.data), {"max_pixels": 500}),
        ):
            data = load_data(folder, 8, **given)
            words = _images_words(study, SimpleNamespace(facts={"data": {**data.describe(), "source": data.name}}))
            # as `nas train RUN` reads them
            options = dict(pairwise(words))
            typed = {"max_pixels": int(options["--max-pixels"])} if "--max-pixels" in words else {}
            typed |= {"centre": float(options["--centre-crop"])} if "--centre-crop" in words else {}
            typed |= {"skip_bad": True} if "--skip-bad" in words else {}
            read = {**settings["estimator_settings"], **typed}
            again = load_data(options.get("--data", study.manifest.data), int(options["--image-size"]), **read)
            assert (again.fingerprint, again.reading) == (data.fingerprint, data.reading)
            assert ("--data" in words) == (folder == "my photos")


def test_the_search_that_is_to_be_run_again_is_the_same(tmp_path):
    changes = {"inherit": True, "replicas": True, "wave": 2, "confirm": 0, "trials": 6, "estimator": Heir()}
    changes["budget"] = Budget.parse("100K..400K")
    study = a_run(tmp_path / "demo", **changes)
    study.run(8)
    said = text_of(nas.report(study.folder, space=SPACE).read_text())
    assert "an image classifier with 100K to 400K MACs among" in said
    assert f"nas resume {study.folder} --trials 8" in said
    search = said.partition("nas search ")[2].partition("nas report")[0]
    for words in (
        f"--out {tmp_path}",
        "--name demo",
        "--trials 6",
        "--workers 2",
        "--inherit",
        "--replicas",
        "--deterministic",
    ):
        assert words in search


@pytest.mark.parametrize(("trials", "said"), [(None, ["startup=20"]), (12, [])])
def test_a_search_that_only_time_limited_is_run_again_with_the_settings_that_it_had(tmp_path, trials, said):
    """Strategies go by the trials that are planned: by 200 where none are, and not by those that there was time for."""
    settings = {"strategy": "guided", "strategy_settings": {"explore": 0.1}, "estimator": Known(), "confirm": 0}
    study = begin(tmp_path / "demo", trials=trials, **settings)
    study.run(12)
    command = study_command(study)
    assert command[command.index("--trials") + 1] == "12"
    assert [each for each in command if each.startswith("strategy.")] == [
        f"strategy.{each}" for each in [*said, "explore=0.1"]
    ]


def test_the_command_of_a_search_without_a_budget_has_one_that_everything_meets(tmp_path):
    study = a_run(tmp_path / "demo", budget=None, trials=2, confirm=0)
    assert "--budget 100% " in text_of(nas.report(study.folder, space=SPACE).read_text())


def test_a_budget_is_shown_and_typed_again_as_it_was_typed_and_kept_as_it_was_resolved(tmp_path):
    study = a_run(tmp_path / "demo", budget=Budget.parse("60%"), trials=2, confirm=0)
    file, resolved = study.folder / "study.json", str(study.budget)
    kept = json.loads(file.read_text())
    assert (kept["budget"], kept["budget_typed"], "%" in resolved) == (resolved, "60%", False)
    assert "--budget 60% " in text_of(nas.report(study.folder, space=SPACE).read_text())
    number = resolved.removeprefix("macs=")
    for typed in ("10%", "latency_ms=60%", "nonsense", None):  # what does not give the same again is not typed again
        file.write_text(json.dumps({**kept, "budget_typed": typed}))
        assert f"--budget {number} " in text_of(nas.report(study.folder, space=SPACE).read_text())
    del kept["budget_typed"]
    file.write_text(json.dumps(kept))  # as studies before had it
    with closing(open_study(study.folder, space=SPACE)) as opened:
        assert (str(opened.budget), opened.manifest.budget_typed) == (resolved, None)


def test_the_screen_and_the_document_have_the_budget_as_it_was_typed(nas_cli, tmp_path):
    (tmp_path / "instant.py").write_text(INSTANT)
    words = ["--strategy", "random", "--trials", "1", "--estimator", f"{tmp_path / 'instant.py'}:estimator"]
    run = tmp_path / "demo"
    assert nas_cli("search", "--budget", "60%", *words, "--name", "demo", "--out", tmp_path).code == 0
    document = nas_cli("show", run, "--json").json()
    assert (document["budget"], document["budget_typed"]) == ("macs=604526976", "60%")
    assert "mbconv, 605M MACs (60%), counted on" in " ".join(nas_cli("show", run).out.split())
    changed = nas_cli("search", "--budget", "40%", *words, "--name", "demo", "--out", tmp_path).err
    assert "budget was 605M MACs ('60%') when the study began and is 403M MACs ('40%') now" in changed


class Ranking(Known):
    """As a supernet: its numbers rank networks, and are accuracies of none that is trained alone."""

    def describe(self):
        return {**super().describe(), "estimates": "supernet accuracy, not that of a training"}

    def estimate(self, architecture, context):
        return replace(super().estimate(architecture, context), details={"shared_weights": 0.9})


def test_a_number_that_ranks_is_no_accuracy_of_the_network_that_is_trained(tmp_path):
    study = a_run(tmp_path / "runs" / "demo", estimator=Ranking(), trials=3, confirm=0)
    job = training_job(str(study.folder), "digits", space=SPACE)
    assert job.found["proxy_score"] == study.best.accuracy
    assert "proxy_accuracy" not in job.found
    recipe = make_recipe("auto", 10, 8, epochs=1, batch=64, data_fraction=0.3)
    earlier = {**job.found, "proxy_accuracy": job.found["proxy_score"]}  # as it was recorded
    del earlier["proxy_score"]
    network = Scaled(study.best.architecture, Scale(), Task(8, 1, 10))
    trained = train(network, job.data, recipe, tmp_path / "runs" / "demo-trained", 0, found=earlier)
    page = html.unescape(text_of(nas.report(study.folder, space=SPACE).read_text()))
    belief = page.partition("How far to trust the proxy")[2].partition("What it cost")[0]
    assert "The proxy's supernet accuracy compared with the accuracy of full training" in belief
    assert f"{study.best.accuracy:.4g} {trained.facts['val_accuracy']:.1%}" in belief


def test_its_commands_name_a_space_of_ones_own(tmp_path):
    space = "examples/few_macs.py:space"
    given = {"task": "32x32x3:10", "strategy": "random", "trials": 2, "out": str(tmp_path), "name": "demo"}
    study = nas.search(space, "6M", estimator=Known(), **given)
    data, network = load_data("digits"), Scaled(study.best.architecture, Scale(0.25, 0.3), Task(8, 1, 10))
    recipe = make_recipe("auto", 10, 8, epochs=1, batch=64, data_fraction=0.3)
    found = {"run": "demo", "trial": study.best.number, "proxy_accuracy": 0.5, "created": study.manifest.created}
    train(network, data, recipe, tmp_path / "trained", 0, found=found)
    said = text_of(nas.report(study.folder, space=space).read_text())
    for command in ("nas search", "nas train", "nas report"):
        assert re.search(rf"{command} [^$]*?--space {re.escape(space)}", said.partition("Reproduce")[2]), command


def test_mistakes_are_one_line(nas_cli, run, tmp_path):
    begun = begin(tmp_path / "begun")
    with pytest.raises(UserError, match="no trial is complete yet"):
        nas.report(begun.folder, space=SPACE)
    with pytest.raises(UserError, match=r"must end in \.html"):
        nas.report(run.folder, tmp_path / "report.pdf", space=SPACE)
    with pytest.raises(UserError, match="there is no run"):
        nas.report([])
    said = nas_cli("report", str(tmp_path / "nothing"))
    assert (said.code, said.out) == (2, "")
    assert said.err == f"nas: no run folder '{tmp_path / 'nothing'}'\n"


def test_the_command_writes_what_the_function_does(nas_cli, tmp_path):
    made = nas_cli(
        "search", "--space", "mbconv", "--estimator", "zero-cost", "--set", "estimator.score=synflow", "--trials", "2",
        "--budget", "150M", "--out", str(tmp_path), "--name", "run", "--quiet",
    )  # fmt: skip
    assert made.code == 0
    said = nas_cli("report", str(tmp_path / "run"), "--json")
    assert said.json() == {"report": str(tmp_path / "run" / "report.html")}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "reaches score" in text_of(page)  # the estimate is no accuracy, and is not written as one
