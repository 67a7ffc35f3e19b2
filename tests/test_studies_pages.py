"""Laws over every page: one file, its title in HTML, no name that becomes code; and what a browser makes of it.

The browser has no network. A page whose script fails says so on its console, and one that loads anything would have to
name it.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
import subprocess
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import Known, begin
from test_studies_plots import CHROMIUM, FLAGS

from nas.comparing import compare_runs
from nas.metrics import metrics
from searchspaces import Architecture, UserError
from strategies import STRATEGIES
from studies import Study
from studies.comparison import Comparison
from studies.importances import FEWEST, decision_importances
from studies.pages import page as template
from studies.pages.comparison import curves_html
from studies.pages.confusion import write_confusion
from studies.pages.family import family_html
from studies.pages.page import linear_ticks, page, table
from studies.pages.proxies import proxies_figure, seconds_figure, write_proxies
from studies.pages.report import decisions_section
from studies.pages.training import training_section

EVIL = "<img src=x onerror=\"document.title='run'\">"
MOST_BYTES = 6_000_000
DARK_PAPER = "rgb(20, 24, 29)"  # DARK[PAPER]


def failing(_: Architecture, seed: int) -> None:
    if seed % 5 == 0:
        raise RuntimeError(EVIL)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = begin(
        tmp_path_factory.mktemp("runs") / "demo", trials=30, confirm=3, pruner="asha", estimator=Known(fails=failing)
    )
    study.run()
    return study


def an_evaluation() -> dict[str, Any]:
    rng, names = np.random.default_rng(0), [EVIL, "Käse & Söhne", "c"]
    labels, probabilities = rng.integers(0, 3, 60), rng.random((60, 3)).astype(np.float32)
    return metrics(probabilities / probabilities.sum(1, keepdims=True), labels, names)


def a_training() -> str:
    curve = [{"epoch": n, "train_loss": 1 / n, "val_accuracy": 0.2 * n, "seconds": n} for n in (1, 2, 3)]
    facts = {"curve": curve, "best_epoch": 3}
    dot = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    )
    mistakes = [{"png": dot, "true": EVIL, "predicted": "c", "confidence": 0.9}]
    return page(
        EVIL,
        [EVIL],
        [training_section(EVIL, facts, [EVIL], an_evaluation(), mistakes), training_section("b", facts, [], None, [])],
    )


def a_family(trained: bool) -> str:
    one = {"depth": 1.2, "width": 1.1, "resolution": 1.15, "formula": 1.9, "macs": 700, "params": 80, "image_size": 40}
    members = [{**one, "phi": phi, "macs": 700 * 2**phi, "ratio": 2.0 if phi else None} for phi in (0, 1, 2)]
    candidates = [
        {**one, "depth": 1.2 + n / 10, "ratio": 2.0, "accuracy": 0.9 - n / 100, "standard_error": 0.01}
        for n in range(3)
    ]
    return family_html(
        {
            "base": {"name": EVIL}, "target": 2.0, "coefficients": {"how": "given", **one}, "members": members,
            "alone": {name: [{**each, "factor": 1.5} for each in members] for name in ("depth", "width", "resolution")},
            **({"trained": candidates} if trained else {}),
        }
    )  # fmt: skip


@functools.cache
def compared() -> Comparison:
    """Two strategies of two seeds each."""
    from dataclasses import replace

    runs = []
    for strategy in ("evolution", "random"):
        for seed in (0, 1):
            runs.append(begin(strategy=strategy, seed=seed, trials=6))
            runs[-1].run()
    found = compare_runs(runs)
    first, *others = found.contestants
    return replace(found, contestants=(replace(first, name=EVIL), *others))


def the_proxies(path: Path) -> str:
    one = {"tau": 0.5, "interval": [0.3, 0.6], "spearman": 0.6, "regret": 0.01, "top": 0.5, "seconds": 2.0}
    reference = {"estimator": EVIL, "trainings": 2, "ceiling": 0.8}
    found = {"space": EVIL, "budget": None, "task": "8x8x1:3", "networks": 9, "level": 0.9, "reference": reference}
    found["counting"] = "macs"
    write_proxies({**found, "proxies": [{**one, "proxy": EVIL}, {**one, "proxy": "macs", "seconds": 0.0}]}, path)
    return path.read_text()


def the_confusion(path: Path) -> str:
    write_confusion(an_evaluation(), path)
    return path.read_text()


def the_report(study: Study, path: Path) -> str:
    import nas

    assert study.folder is not None
    return nas.report(study.folder, path, space=study.space).read_text()


MADE: dict[str, Callable[[Study, Path], str]] = {
    "front": lambda study, path: study.plot(path / "front.html").read_text(),
    "comparison": lambda study, path: curves_html(compared()),
    "family": lambda study, path: a_family(trained=False),
    "candidates": lambda study, path: a_family(trained=True),
    "proxies": lambda study, path: the_proxies(path / "proxies.html"),
    "confusion": lambda study, path: the_confusion(path / "confusion.html"),
    "training": lambda study, path: a_training(),
    "report": lambda study, path: the_report(study, path / "report.html"),
}


@pytest.fixture(scope="module")
def pages(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in MADE.items():
        (folder / f"{name}.html").write_text(make(study, folder))
    return {name: folder / f"{name}.html" for name in MADE}


def elements(text: str) -> tuple[list[str], list[str]]:
    """What the elements of a page name as their source, and which attributes of theirs are code."""
    loaded, handlers = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            loaded.extend(value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action"))
            handlers.extend(name for name, _ in attrs if name.startswith("on"))

    Reader().feed(text)
    return loaded, handlers


@pytest.mark.parametrize("name", MADE)
def test_a_page_is_one_file_with_its_title_in_html_and_names_as_text(pages: dict[str, Path], name: str) -> None:
    text = pages[name].read_text()
    assert len(text.encode()) < MOST_BYTES
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    loaded, handlers = elements(text)
    assert [each for each in loaded if not each.startswith("data:")] == handlers == []
    style = text[text.index("<style>") : text.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert EVIL not in text
    title = re.search(r"<title>(.+?)</title>", text)
    assert title is not None
    assert f"<h1>{title[1]}</h1>" in text
    figures = re.findall(r'<script type="application/json" data-plot="(.+?)">(.*?)</script>', text)
    assert len({element for element, _ in figures}) == len(figures) > 0
    for element, figure in figures:
        layout = json.loads(figure)["layout"]
        assert not layout.get("title")
        assert layout["showlegend"] is False
        assert text.count(f'id="{element}"') == 1  # another one would stay empty


@pytest.mark.parametrize("name", MADE)
def test_the_colours_of_a_page_have_another_in_the_dark(pages: dict[str, Path], name: str) -> None:
    text = pages[name].read_text()
    for _, figure in re.findall(r'<script type="application/json" data-plot="(.+?)">(.*?)</script>', text):
        used = {colour.lower() for colour in re.findall(r'"(#[0-9a-fA-F]{3,6})"', figure)}
        assert used <= template.DARK.keys()
        parts = {template._parts(colour) for colour in template.DARK} | {"0,0,0"}  # what is clear has no colour
        assert set(re.findall(r"rgba\(([\d, ]+),[\d. ]+\)", figure)) <= parts
    assert set(re.findall(r"var\(--c([0-9a-f]{6})\)", text)) <= {key[1:] for key in template.DARK}


Opened = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def opened(pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """What a browser makes of a page in the dark, which is opened once; the front in the light: test_studies_plots."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here to open the page with")

    @functools.cache
    def opened(name: str) -> subprocess.CompletedProcess[str]:
        flags = [*FLAGS, "--enable-logging=stderr", "--blink-settings=preferredColorScheme=0"]
        own = f"--user-data-dir={tmp_path_factory.mktemp('browser')}"
        command = [str(CHROMIUM), *flags, own, "--dump-dom", pages[name].as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    return opened


@pytest.mark.parametrize("name", MADE)
def test_a_browser_draws_every_plot_in_the_dark_and_runs_nothing_of_a_name(
    pages: dict[str, Path], opened: Opened, name: str
) -> None:
    ran = opened(name)
    assert "CONSOLE" not in ran.stderr
    assert "<title>run</title>" not in ran.stdout
    assert '<img src="x"' not in ran.stdout
    drawn = re.findall(r'class="canvas \w+ js-plotly-plot"', ran.stdout)
    assert len(drawn) == pages[name].read_text().count('<script type="application/json" data-plot=')
    assert ran.stdout.count(f"background: {DARK_PAPER}") >= len(drawn)


def told_by(browsed: str, script: str, folder: Path) -> Any:
    """What the body of an asynchronous function returns in a browser that has opened a page."""
    asked = f"(async () => {{ {script} }})().then((told) => {{ document.title = JSON.stringify(told); }})"
    (folder / "asked.html").write_text(browsed.replace("</body>\n</html>", f"<script>{asked}</script></body></html>"))
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", "--dump-dom", (folder / "asked.html").as_uri()]
    title = re.search(r"<title>(.*?)</title>", subprocess.run(command, capture_output=True, text=True).stdout)
    assert title is not None
    return json.loads(html.unescape(title[1]))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open the page with")
def test_a_double_click_shows_all_trials_and_not_all_that_is_over_the_budget(
    pages: dict[str, Path], tmp_path: Path
) -> None:
    script = """
    const plot = document.getElementById("pareto"), view = [...plot.layout.xaxis.range];
    await Plotly.relayout(plot, { "xaxis.autorange": true, "yaxis.autorange": true });
    return [view, plot._fullLayout.xaxis.range];"""
    view, all_of_it = told_by(pages["front"].read_text(), script, tmp_path)
    assert view[0] <= all_of_it[0] < all_of_it[1] <= view[1]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open the page with")
def test_an_entry_of_a_legend_hides_its_traces_keeps_the_zoom_and_draws_no_other_plot(
    pages: dict[str, Path], tmp_path: Path
) -> None:
    script = """
    const plot = document.getElementById("learning"), entry = document.querySelector("button[data-group=other]");
    const drawn = [], plots = document.querySelectorAll(".js-plotly-plot");
    await Plotly.relayout(plot, { "xaxis.range": [2, 3] });
    for (const each of plots) each.on("plotly_afterplot", () => drawn.push(each.id));
    const seen = () => plot.data.map((trace) => trace.visible ?? true);
    const told = [];
    for (const _ of [1, 2]) {
      entry.click();
      await new Promise((done) => setTimeout(done, 100));
      told.push([seen(), entry.ariaPressed, plot.layout.xaxis.range]);
    }
    return [[...new Set(drawn)], ...told];"""
    drawn, hidden, shown = told_by(pages["report"].read_text(), script, tmp_path)
    assert drawn == ["learning"]
    assert hidden == [[False, True], "false", [2, 3]]
    assert shown == [[True, True], "true", [2, 3]]


def test_a_browser_draws_curves_bands_and_tables_of_a_comparison(opened: Opened) -> None:
    page, found = opened("comparison").stdout, compared()
    assert len(re.findall(r'<path class="js-line"[^>]* d="M', page)) >= 2
    assert len(re.findall(r'<path class="js-fill"[^>]* d="M', page)) >= 2
    assert len(re.findall(r'<path class="point[^"]*" transform="translate', page)) == 2 * 2 + 2  # seeds, and means
    written = " ".join(re.findall(r"<(?:t(?:ext|span|d|h)|h1)[^>]*>([^<]+)", page))
    for text in ("small within 400K MACs", "finished trials", f"{found.contestants[0].mean:.2%}", "95% interval"):
        assert text in written


def test_ticks_of_costs_are_few_and_exact_in_one_unit_with_as_many_digits_each() -> None:
    rng = np.random.default_rng(0)
    for most in (4, 7):
        for _ in range(300):
            low = 10 ** rng.uniform(2, 11)
            high = low * (1 + 10 ** rng.uniform(-4, 1))
            ticks = linear_ticks(low, high, most)
            assert 1 <= len(ticks["tickvals"]) <= most
            assert all(low <= each <= high for each in ticks["tickvals"])
            written = set()
            for text, value in zip(ticks["ticktext"], ticks["tickvals"], strict=True):
                number, unit = re.fullmatch(r"([\d.]+)([KMGT]?)", text).groups()
                assert float(number) * 1000 ** " KMGT".index(unit or " ") == pytest.approx(value, rel=1e-9)
                written.add((unit, len(number.partition(".")[2])))
            assert len(written) == 1, ticks


def some_proxies():
    one = {"tau": 0.3, "interval": [0.2, 0.5], "seconds": 0.2, "estimator": {"name": "zero-cost"}}
    beyond = {"macs": None, "naswot": [0.1, 0.3], "snip": [-0.1, 0.1], "zico": [-0.4, -0.1], "params": None}
    rows = [{**one, "proxy": name, "beyond_counting": ends} for name, ends in beyond.items()]
    for row in rows:
        row |= {} if row["beyond_counting"] else {"seconds": 0.0, "estimator": None}
    return {"proxies": rows, "reference": {"ceiling": 0.8}, "counting": "macs", "level": 0.9}


def test_each_proxy_has_a_row_of_its_own_and_the_colour_of_what_was_found_of_it() -> None:
    figure = proxies_figure(some_proxies())  # all in the same place
    assert sorted(figure.layout.yaxis.ticktext) == ["macs", "naswot", "params", "snip", "zico"]
    groups = {trace.name: {figure.layout.yaxis.ticktext[place] for place in trace.y} for trace in figure.data}
    assert groups == {
        "better": {"naswot"}, "alike": {"snip"}, "worse": {"zico"}, "counting": {"macs", "params"},
    }  # fmt: skip
    assert len({trace.marker.color for trace in figure.data}) == 4


def test_agreement_is_drawn_against_seconds_with_whiskers_counting_and_the_ceiling() -> None:
    found = some_proxies()
    found["proxies"] += [
        {**found["proxies"][1], "proxy": "short", "seconds": 60.0, "tau": 0.4, "interval": [0.1, 0.6]},
        {**found["proxies"][1], "proxy": "table:half.json", "estimator": {"name": "table"}},
        {**found["proxies"][1], "proxy": "constant", "tau": None, "interval": [None, None]},
    ]
    figure = seconds_figure(found)
    assert figure.layout.xaxis.type == "log"
    points = {
        name: (x, y, up, down)
        for trace in figure.data
        for name, x, y, up, down in zip(
            trace.text, trace.x, trace.y, trace.error_y.array, trace.error_y.arrayminus, strict=True
        )
    }
    assert points.keys() == {"naswot", "snip", "zico", "short"}  # what takes time, and has a τ
    assert points["short"] == pytest.approx((60.0, 0.4, 0.2, 0.3))
    alike = [points[name][0] for name in ("naswot", "snip", "zico")]
    assert len(set(alike)) == 3  # side by side
    assert alike == pytest.approx([0.2] * 3, rel=0.2)
    lines = {line.y0: line.line.dash for line in figure.layout.shapes}
    assert lines == {0.3: None, 0.8: "dash"}
    assert [each.text for each in figure.layout.annotations] == ["counting macs", "ceiling 0.80"]
    low, high = (10**each for each in figure.layout.xaxis.range)
    assert low < 0.2 < 60 < high


def test_a_strategy_has_one_colour_and_no_two_of_ours_share_it() -> None:
    colours = [template.strategy_colour(name) for name in STRATEGIES]
    assert len(set(colours)) == len(colours)
    assert template._STRATEGIES.keys() == STRATEGIES.keys()
    assert template.strategy_colour("mine.py:strategy") == template.strategy_colour("mine.py:strategy")


def test_equal_curves_are_drawn_so_that_both_are_seen() -> None:
    from studies.pages.comparison import _styles

    runs = [begin(strategy=strategy, trials=7) for strategy in ("evolution", "local-search")]
    for run in runs:
        run.run()
    found = compare_runs(runs)
    assert np.array_equal(found.contestants[0].curve.mean, found.contestants[1].curve.mean)  # both begin at random
    (_, dash, width), (_, other_dash, other_width) = _styles(found)
    assert (dash, other_dash) == ("solid", "dash")
    assert width > other_width


def test_a_confirmed_network_stands_where_the_front_says(study: Study) -> None:
    from studies.pages.pareto import pareto_figure

    traces = {trace.name: trace for trace in pareto_figure(study).data}
    points = dict(zip(traces["trials, early to late"].customdata, traces["trials, early to late"].y, strict=True))
    for each in study.confirmed:
        assert points[each.trial.number] == each.mean
    for trial in study.pareto():
        assert points[trial.number] == trial.accuracy
    bars = dict(zip(points, traces["trials, early to late"].error_y.array, strict=True))
    assert bars[study.best.number] == study.standard_errors[study.best.number]


def test_a_decision_that_alone_makes_the_accuracy_has_all_of_the_importance() -> None:
    class OfOneKernel(Known):
        def estimate(self, architecture: Architecture, context: Any) -> Any:
            from dataclasses import replace

            return replace(
                super().estimate(architecture, context), accuracy=0.1 * architecture.choices["stage1.kernel"]
            )

    study = begin(strategy="random", trials=30, estimator=OfOneKernel())
    study.run(FEWEST - 1)
    assert decision_importances(study) == {}
    study.run(30)
    found = decision_importances(study)
    assert next(iter(found)) == "stage1.kernel"
    assert found["stage1.kernel"] == pytest.approx(1, abs=1e-6)
    assert sum(found.values()) == pytest.approx(1)
    assert "Together these shares are 100%; the remaining 0%" in decisions_section(study, "macs")


def test_what_decisions_explain_only_together_is_no_importance_of_theirs() -> None:
    class OfTwoKernels(Known):
        def estimate(self, architecture: Architecture, context: Any) -> Any:
            from dataclasses import replace

            one, other = (architecture.choices[f"stage{number}.kernel"] for number in (1, 2))
            return replace(super().estimate(architecture, context), accuracy=0.9 if one == other else 0.1)

    study = begin(strategy="random", trials=60, estimator=OfTwoKernels())
    study.run(60)
    found = decision_importances(study)
    # a parity: the mean over either kernel does not depend on the other, so all but chance is an interaction
    assert 0 < sum(found.values()) < 0.5
    left = 1 - sum(found.values())
    assert f"the remaining {left:.0%} is explained only by combinations" in decisions_section(study, "macs")


def test_a_plot_is_what_its_ending_says(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("plot.jpg", "plot", "plot.html.bak"):
        with pytest.raises(UserError, match=r"must end in \.html, \.png, \.svg or \.pdf"):
            study.plot(tmp_path / wrong)
        assert not (tmp_path / wrong).exists()
    if CHROMIUM is not None:
        assert study.plot(tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n")
        drawn = study.plot(tmp_path / "plot.svg").read_text()
        assert drawn.startswith("<svg ")
        assert "small within 400K MACs" in drawn
        assert study.plot(tmp_path / "plot.pdf").read_bytes().startswith(b"%PDF-")
    monkeypatch.setattr("studies.pages.image._BROWSERS", ())
    monkeypatch.setattr("studies.pages.image.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs kaleido"):
        study.plot(tmp_path / "none.png")


def test_a_long_number_that_is_a_name_is_text_at_once() -> None:
    began = time.process_time()
    assert 'class="text"' in table("", ["class"], [["1" * 40 + "x"]])
    assert 'class="text"' not in table("", ["share"], [["1,234.5 ms to 2 s"], ["± 0.5%"], ["–"]])
    assert time.process_time() - began < 1
