"""The documentation: its commands are ones that there are, its screens what is printed, its links lead somewhere."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from textwrap import dedent

import pytest
import typer
from photographs import photographs

from nas.commands import app
from nas.placement import with_address
from searchspaces import CLASSICS, SPACES, Budget, Task
from strategies import STRATEGIES

ROOT = Path(__file__).parents[1]
PAGES = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
OUTSIDE = re.compile(r"[a-z]+:")
CHEAP = ("space", "spaces", "classics", "cost")


def blocks(page: str) -> list[str]:
    """What stands in the page's code blocks, indented ones and fenced ones that name no language."""
    fenced = re.findall(FENCED, TEXTS[page], re.DOTALL | re.MULTILINE)
    return [*(text for language, text in fenced if language in ("", "sh")), *indented(page)]


FENCED = r"^```(\w*)\n(.*?)^```$"


def indented(page: str) -> list[str]:
    """The lines that are indented by four spaces or more, after an empty line and up to the first that is not."""
    paragraphs = re.split(r"\n\s*\n", re.sub(FENCED, "", TEXTS[page], flags=re.DOTALL | re.MULTILINE))
    code = [takewhile(lambda line: line.startswith("    "), each.splitlines()) for each in paragraphs]
    return [f"{dedent(text)}\n" for text in map("\n".join, code) if text]


def commands(block: str) -> list[list[str]]:
    """The arguments of each `nas` in a block, whether it is a list of commands or a screen after `$ nas`."""
    lines = block.replace("\\\n", " ").splitlines()
    return [
        shlex.split(line.removeprefix("$ "), comments=True)[1:] for line in lines if re.match(r"(\$ )?nas [a-z]", line)
    ]


TYPED = [(page, arguments) for page in PAGES for block in blocks(page) for arguments in commands(block)]


def test_there_is_something_to_check():
    assert len(TYPED) > 100
    in_fences = {"README.md", "docs/ten-minutes.md", "docs/how-do-i.md"}
    in_indented = {"docs/cluster.md", "docs/gpu.md", "docs/proxies.md", "docs/recipes.md", "docs/strategies.md"}
    assert in_fences | in_indented <= {page for page, _ in TYPED}
    tables = [arguments for page, arguments in TYPED if page == "docs/proxies.md" and "--reference" in arguments]
    assert tables
    assert all("--proxies" in each for each in tables)  # further on, after lines that end in a backslash
    assert len(MEASURED) > 30
    assert {name for name, arguments in MEASURED if arguments} >= {"regret", "strides", "zero_cost"}


MEASURED = sorted(
    {
        (name, tuple(shlex.split(arguments, comments=True)))
        for text in TEXTS.values()
        for name, arguments in re.findall(r"python -m benchmarks\.([a-z]\w*)([^`\n]*)", text.replace("\\\n", " "))
    }
)
"""The benchmarks that pages name, each once with its arguments."""


def test_every_benchmark_of_a_page_is_one_that_there_is():
    assert [name for name, _ in MEASURED if not (ROOT / "benchmarks" / f"{name}.py").is_file()] == []


@pytest.mark.parametrize(("name", "arguments"), [each for each in MEASURED if each[1] and each[1][0] != ">"])
def test_every_benchmark_of_a_page_takes_its_arguments(name, arguments, monkeypatch):
    class Parsed(BaseException):
        """The arguments were understood; nothing is to be measured."""

    parse = argparse.ArgumentParser.parse_args

    def stop(*given, **more):
        parse(*given, **more)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr("sys.argv", [name, *arguments])
    with pytest.raises(Parsed):
        import_module(f"benchmarks.{name}").main()


@pytest.fixture(scope="module")
def group():
    return typer.main.get_command(app.make_app(app.COMMANDS))


@pytest.mark.parametrize(("page", "arguments"), TYPED, ids=lambda given: given if isinstance(given, str) else given[0])
def test_every_command_of_a_page_is_one_that_nas_takes(group, page, arguments):
    name, *rest = with_address(arguments)
    given = group.commands[name].make_context(name, rest).params  # an unknown option or a missing argument is an error
    if given.get("budget"):
        assert Budget.parse(given["budget"]) is not None
    if given.get("task"):
        assert Task.parse(given["task"]).classes > 1
    if given.get("strategy"):
        assert given["strategy"] in STRATEGIES or ":" in given["strategy"]
    for file in re.findall(r"examples/\w+\.py", " ".join(rest)):
        assert (ROOT / file).is_file()


SHOWN = [
    (page, block)
    for page in PAGES
    for block in blocks(page)
    if len(commands(block)) == 1 and block.startswith("$ nas ") and commands(block)[0][0] in CHEAP
]


@pytest.mark.parametrize(("page", "block"), SHOWN)
def test_a_screen_in_the_documentation_is_what_the_command_prints(page, block, nas_cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(ROOT)
    said = nas_cli(*commands(block)[0])
    shown = [line.strip() for line in block.splitlines()[1:] if line.strip()]
    assert said.code == 0
    assert [line.strip() for line in said.out.splitlines() if line.strip()] == shown


QUIET = [
    arguments
    for _, arguments in TYPED
    if arguments[0] in CHEAP
    and "--latency" not in arguments  # a table that is measured first
    and (not arguments[1:] or arguments[1] in {*CLASSICS, *SPACES} or arguments[1].startswith("examples/"))
]


@pytest.mark.parametrize("arguments", QUIET, ids=" ".join)
def test_a_command_that_trains_nothing_runs(arguments, nas_cli, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert nas_cli(*arguments).code == 0


SHORT = {
    "search": ["--trials", "2", "--workers", "1", "--set", "estimator.epochs=1", "--set", "estimator.width=0.25"],
    "train": ["--epochs", "1"],
}
"""Options that are added to the commands of the page, or replace theirs, so that they take seconds."""


def test_the_commands_of_the_ten_minutes_lead_from_a_folder_to_classes_in_short_form(tmp_path, monkeypatch, nas_cli):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    photographs(tmp_path / "photos", each=8)
    page = "docs/ten-minutes.md"
    path = [arguments for where, arguments in TYPED if where == page][:6]
    assert [arguments[0] for arguments in path] == ["search", "train", "export", "predict", "predict", "report"]
    said = {}
    for name, *rest in path:
        images = [str(tmp_path / "photos" / "cat") if each.endswith(".jpg") else each for each in rest]
        said[name] = nas_cli(name, *images, *SHORT.get(name, []))
        assert said[name].code == 0, said[name].err
    assert (tmp_path / "runs" / "mine-trained" / "export" / "model.onnx").is_file()
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()
    assert re.search(r",(cat|dog),", (tmp_path / "classes.csv").read_text())
    script = re.search(r"^python (\S+/predict\.py) ", "\n".join(blocks(page)), re.MULTILINE)
    assert script is not None
    answer = [sys.executable, script[1], str(tmp_path / "photos" / "cat")]
    assert re.search(r"\b(cat|dog)\b", subprocess.run(answer, capture_output=True, text=True, check=True).stdout)


def test_the_notebook_runs_in_short_form(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "examples" / "first_search.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(each["source"]) for each in notebook["cells"] if each["cell_type"] == "code"]
    found: dict[str, object] = {}
    short = {
        'budget="400M", data': 'budget="110M", data',
        "trials=12": 'trials=2, estimator_settings={"epochs": 1, "data_fraction": 0.1}',
        "epochs=10": "epochs=1, data_fraction=0.2",
    }
    assert all(sum(cell.count(long) for cell in cells) == 1 for long in short)
    for cell in cells:
        for long, quick in short.items():
            cell = cell.replace(long, quick)
        exec(compile(cell, "cell", "exec"), found)
    assert "architectures of mbconv have at most 400M MACs" in capsys.readouterr().out
    assert (tmp_path / "runs" / "notebook-trained" / "export" / "predict.py").is_file()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page):
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.DOTALL | re.MULTILINE))
    for link in links:
        if OUTSIDE.match(link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.is_file(), link
        assert target.resolve().is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """Of a page's headings, where the site and what shows repositories name them alike."""
    return {
        re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip())
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


def test_every_place_that_contributing_names_is_there():
    places = re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", TEXTS["CONTRIBUTING.md"])
    assert {"PANELS", "STRATEGIES", "_STRATEGIES", "ESTIMATORS", "FORMATS", "SPACES", "RANGES"} <= {
        name for name, _ in places
    }
    for name, file in places:
        assert re.search(rf"^ *(?:class |def )?{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name


@pytest.mark.parametrize("command", app.COMMANDS)
def test_every_command_is_on_a_page(command):
    pages = "\n".join(text for page, text in TEXTS.items() if page.startswith("docs/") and page != "docs/literature.md")
    assert re.search(rf"\bnas {command}\b", pages)


@pytest.mark.parametrize("package", ["nas", "searchspaces", "strategies", "estimators", "studies"])
def test_every_public_name_has_a_docstring_and_its_package_a_page(package):
    assert TEXTS[f"docs/api/{package}.md"] == f"::: {package}\n"
    module = import_module(package)
    given = {name: it.__doc__ or "" for name in module.__all__ if callable(it := getattr(module, name))}
    lacking = [name for name, text in given.items() if not text or text.startswith(f"{name}(")]  # a dataclass's own
    assert lacking == []


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="the extra `docs` is not installed")
def test_the_site_is_built_without_a_warning_and_asks_no_other_host(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) - 3
    loads = partial(re.findall, r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^\s>]*")
    assert [found for page in pages for found in loads(page.read_text(encoding="utf-8"))] == []
    assert "nas.search" in (tmp_path / "site" / "api" / "nas.html").read_text(encoding="utf-8")
