"""A report on searches: one page to send to others, made from run folders and what lies beside them.

Beside a run folder are looked for trainings of its networks (`nas train`) and comparisons of proxies on its space, task
and images (`nas proxy`).
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from estimators.estimator import PREPARED_S, binomial_error
from nas.documents import axis
from nas.next_commands import READING, proxy_command
from nas.reproducing import study_command
from nas.training import estimated
from nas.wording import count, duration, estimate_name, percent, within
from searchspaces import RecipeSpace, SearchSpace, Task, UserError, human
from searchspaces.files import check_place, write_whole
from searchspaces.plural import number_of
from searchspaces.progress import doing
from studies import Study
from studies.folder import REPORT
from studies.origins import whole_path
from studies.proxy_agreement import agreement, comparisons
from studies.results import pooled_variance
from studies.trial import device_seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from estimators.trained import Trained
    from nas.documents import Document

MISTAKES: Final = 12
"""Wrong answers that are shown."""
SIDE: Final = 128
"""Height and width of their pictures in pixels, at most."""


def report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    space: str | SearchSpace | None = None,
) -> Path:
    """Write a report on one or several searches: a page that needs nothing but a browser.

    Of several runs there is a comparison, and the rest is of the best one; where they cannot be compared, of the first.

    Args:
        runs: run folders.
        out: the page; by default `report.html` in the first folder.
        space: of the runs, if it is user-defined.

    Raises:
        UserError: a folder is not a run folder, no trial is complete, or the page cannot be written.
    """
    folders = [Path(each) for each in ([runs] if isinstance(runs, str | Path) else runs)]
    if not folders:
        raise UserError("there is no run to report on")
    path = folders[0] / REPORT if out is None else Path(out)
    if path.suffix.lower() != ".html":
        raise UserError(f"the report is an HTML page: {str(path)!r} must end in .html")
    if out is not None:
        check_place(path)
    with ExitStack() as opened:
        studies = []
        for folder in folders:
            doing(f"reading {folder}")
            studies.append(Study.open(folder, space=space))
            opened.callback(studies[-1].close)
        for study in studies:
            study.best  # noqa: B018 - a search without a complete trial is refused before anything is made
        write_whole(path, _page(studies))
    return path


def _page(studies: Sequence[Study]) -> str:
    """The whole page."""
    from studies.pages import report as parts
    from studies.pages.page import page, section, words
    from studies.pages.pareto import pareto_about, pareto_notes, pareto_title

    chosen, several = _compared(studies)
    folder = chosen.folder
    assert folder is not None
    trained = _trained_of(chosen)
    doing("drawing the plots")
    body = [section("Summary", words(*_summary(chosen, trained))), *several]
    body += [
        parts.front_section(chosen, axis(chosen)),
        parts.progress_section(chosen),
        parts.winner_section(chosen, _drawing(chosen)),
        parts.decisions_section(chosen, axis(chosen)),
        parts.curves_section(chosen, axis(chosen)),
        parts.failures_section(chosen),
    ]
    body += [_training(chosen, each) for each in trained]
    body += [_belief(chosen, trained)]
    costs = [(f"training {each.folder.name}", str(each.facts["device"]), each.facts["seconds"]) for each in trained]
    body += [parts.cost_section(chosen, costs), parts.manifest_section(chosen)]
    body += [parts.commands_section(*_reproduce(chosen, trained))]
    return page(
        f"{folder.name}: {pareto_title(chosen)}", pareto_about(chosen), body, pareto_notes(chosen, axis(chosen))
    )


def _summary(study: Study, trained: Sequence[Trained]) -> Iterator[str]:
    """The search in plain words."""
    from studies.pages.pareto import time_text, told

    manifest, resolved = study.manifest, study.manifest.estimator["resolved"]
    data = resolved.get("data")
    noun, counted = "network", f"Costs are counted on {manifest.task}; one MAC is one multiply and one add."
    within = f" with {study.budget.limits()}" if study.budget else ""
    if isinstance(study.space, RecipeSpace):
        noun, settings = "recipe", ", ".join(one.name for one in study.space.decisions)
        yield (
            f"This search looked for the best training recipe among {count(study.space.size)} recipes that differ in "
            f"{settings}. All trials train one network: {study.space.base.words()}. {counted}"
        )
    else:
        yield (
            f"This search looked for an image classifier{within} among {count(study.space.size)} networks of the space "
            f"{manifest.space['name']}. {counted}"
        )
    ended = [trial for trial in study.trials if trial.state != "running"]
    images = f", on {data['images']:,} images of {data['name']}" if isinstance(data, dict) and "images" in data else ""
    seconds = sum(map(device_seconds, ended))
    seconds += next((float(trial.details[PREPARED_S]) for trial in ended if PREPARED_S in trial.details), 0.0)
    tried = number_of(len({trial.architecture for trial in ended}), noun)
    yield (
        f"The strategy {manifest.strategy['name']} tried {tried} in {number_of(len(ended), 'trial')}{images}, which "
        f"took {time_text(seconds)} in total."
    )
    where = "" if "estimates" in resolved else " on the validation images"
    yield f"The best reaches {told(study.best, study)}{where}."
    alike = study.near_best
    if study.best.number in study.standard_errors:
        yield (
            f"{len(alike)} other {noun}{'s are' if len(alike) != 1 else ' is'} within one standard error of it: their "
            "order is uncertain."
            if alike
            else f"No other {noun} is within one standard error of it."
        )
    for each in trained:
        yield f"Trained in full, {_test(each)}."


def _test(trained: Trained) -> str:
    facts = trained.facts
    error = binomial_error(facts["test_accuracy"], facts["data"]["test_images"])
    found = facts["found"]
    return (
        f"the network of trial {found['trial']} has a top-1 accuracy of {percent(facts['test_accuracy'])} ± "
        f"{percent(error)} on {facts['data']['test_images']:,} test images that neither search nor training used"
    )


def _compared(studies: Sequence[Study]) -> tuple[Study, list[str]]:
    """The study that the report is of, and the comparison of all of them."""
    from nas.comparing import compare_runs
    from studies.pages.comparison import comparison_notes, comparison_parts
    from studies.pages.page import section, table, words
    from studies.pages.pareto import with_error

    if len(studies) == 1:
        return studies[0], []
    rows = [
        [
            str(each.folder), each.manifest.strategy["name"], str(each.manifest.seed), str(len(each.trials)),
            with_error(each.best, each.standard_errors), human(each.best.cost.macs),
            duration(sum(map(device_seconds, each.trials))),
        ] for each in studies
    ]  # fmt: skip
    runs = table("Runs", ("run", "strategy", "seed", "trials", "best", "MACs", "time of trials"), rows)
    try:
        found = compare_runs(studies)
    except UserError as error:
        why = words(f"The runs cannot be compared: {error}. The rest of this report is about {studies[0].folder}.")
        return studies[0], [section("Comparison", runs, why)]
    best = max(studies, key=lambda each: each.best.accuracy or 0.0)
    notes = words(
        *comparison_notes(found), f"The rest of this report is about {best.folder}, which has the highest accuracy."
    )
    return best, [section("Comparison", runs, *comparison_parts(found), notes)]


def _drawing(study: Study) -> str:
    from searchspaces.drawing import svg

    best = study.best
    return svg(best.architecture.network(study.task), study.task, f"trial {best.number}")


def _beside(study: Study, file: str) -> Iterator[Path]:
    """Folders beside that of a study which hold a file."""
    assert study.folder is not None
    for folder in sorted(study.folder.resolve().parent.iterdir()):
        if os.path.isfile(folder / file):  # no error where the folder cannot be read
            yield folder


def _trained_of(study: Study) -> list[Trained]:
    """Finished trainings of the study's networks, of folders beside its own."""
    from estimators.trained import FACTS, Trained, read_facts

    found = []
    for folder in _beside(study, FACTS):
        with contextlib.suppress(UserError):  # another folder's damage is none of this run
            facts = read_facts(folder)
            origin = facts["found"] if facts and facts["finished"] else None
            if isinstance(origin, Mapping) and origin.get("created") == study.manifest.created:
                found.append(Trained.open(folder, study.space))
    return found


def _training(study: Study, trained: Trained) -> str:
    """The section of a training: its curves, and on its test images what it confuses."""
    from estimators.views import probabilities
    from nas.evaluating import evaluated_part
    from nas.metrics import metrics
    from studies.pages.training import training_section

    said = [f"{_test(trained)[:1].upper()}{_test(trained)[1:]}."]
    if trained.facts["found"]["trial"] != study.best.number:
        said.append(f"The best of the search is trial {study.best.number}, a different network.")
    try:
        *_, images, labels = evaluated_part(trained, None, {})
    except UserError as error:
        said.append(f"Its confusion matrix is not shown, since the images cannot be read: {error}.")
        return training_section(trained.folder.name, trained.facts, said, None, [])
    doing(f"classifying {len(labels):,} test images with {trained.folder.name}")
    shares = probabilities(trained, images)
    evaluation = metrics(shares, labels, trained.class_names)
    return training_section(
        trained.folder.name, trained.facts, said, evaluation, _mistakes(trained, images, labels, shares)
    )


def _mistakes(trained: Trained, images: Any, labels: NDArray[np.int64], shares: NDArray[np.float32]) -> list[Document]:
    """The wrong answers with the highest probabilities."""
    import numpy as np

    predicted, names = shares.argmax(1), trained.class_names
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-shares[wrong, predicted[wrong]], kind="stable")][:MISTAKES]
    return [
        {
            "png": _png(np.asarray(images[index : index + 1])[0]),
            "true": names[labels[index]],
            "predicted": names[predicted[index]],
            "confidence": float(shares[index, predicted[index]]),
        }
        for index in worst.tolist()
    ]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """An image (height, width, channels) as a PNG of at most `SIDE` pixels a side; other channels than 1 or 3 as the
    first."""
    from PIL import Image

    grey = pixels.shape[2] not in (3,)
    picture = Image.fromarray(pixels[:, :, 0] if grey else pixels)
    picture.thumbnail((SIDE, SIDE))
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return written.getvalue()


def _belief(study: Study, trained: Sequence[Trained]) -> str:
    """How far the proxy is to be believed: what was measured, and what was not."""
    from studies.pages.page import section, table, words
    from studies.pages.proxies import proxies_notes, proxies_parts

    said, parts = [], []
    several = [each.accuracies for each in study.confirmed if len(each.accuracies) > 1]
    if several:
        spread = math.sqrt(pooled_variance(several))
        trainings = sum(map(len, several))
        said.append(
            f"Over repeated trainings, a network's accuracy has a standard deviation of {100 * spread:.2f} points "
            f"({number_of(len(several), 'network')}, {trainings} trainings): a single training each can only tell "
            f"networks apart that differ by more than about {100 * 2 * spread * 2**0.5:.1f} points."
        )
    else:
        said.append("No network was trained twice, so the variation between trainings was not measured here.")
    command = proxy_command(study)
    ranked, measured = agreement(study), list(comparisons(study))
    if ranked is not None:
        said.append(f"How well this proxy ranks networks was measured by nas proxy: {ranked.told()}.")
    else:
        how = "" if command is None else f"; to measure it: {command}"
        said.append(f"How well this proxy ranks networks was not measured{how}.")
    if measured and ranked is None:
        said.append("On this space and these images, nas proxy has only measured other proxies.")
    for place, document in enumerate(measured):
        parts += [*proxies_parts(document, f"proxies{place or ''}"), words(*proxies_notes(document))]
    rows = [
        [
            each.folder.name, str(each.facts["found"]["trial"]), _by_proxy(study, each.facts["found"]),
            _within(each.facts["val_accuracy"], each.facts["val_images"]),
            _within(each.facts["test_accuracy"], each.facts["data"]["test_images"]),
        ] for each in trained if each.facts["found"].keys() & {"proxy_accuracy", "proxy_score"}
    ]  # fmt: skip
    if rows:
        unit = study.manifest.estimator["resolved"].get("estimates")
        of_full = "that" if unit is None else "the accuracy"
        columns = ("training", "trial", "proxy", "validation", "test")
        parts.append(
            table(f"The proxy's {estimate_name(unit)} compared with {of_full} of full training", columns, rows)
        )
    return section("How far to trust the proxy", words(*said), *parts)


def _by_proxy(study: Study, found: Mapping[str, Any]) -> str:
    """The estimate of a network that was trained: an accuracy, or the number that ranked it, which is no percentage.

    Early versions recorded some of these numbers as `proxy_accuracy`, so it is the trial that says what it is.
    """
    told = estimated(study.trials[found["trial"]])
    return f"{told['proxy_score']:.4g}" if "proxy_score" in told else percent(found["proxy_accuracy"])


def _within(accuracy: float, images: int) -> str:
    return within(accuracy, binomial_error(accuracy, images))


def _reproduce(study: Study, trained: Sequence[Trained]) -> tuple[list[str], list[str]]:
    """The commands that made what is reported, and what they leave open."""
    manifest, folder = study.manifest, study.folder
    assert folder is not None
    space = manifest.own_code("space")
    trainings = [
        [
            *("nas", "train", str(folder), "--trial", str(each.facts["found"]["trial"])),
            *("--seed", str(each.facts["seed"]), "--epochs", str(each.facts["recipe"]["epochs"])),
            *("--out", str(folder.parent / each.folder.name), *_recipe_words(each)),
            *(*_images_words(study, each), *space),
        ]
        for each in trained
    ]
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    notes = [
        f"Versions: {versions}. Trials that run in parallel may finish in a different order, which changes proposals."
    ]
    own = [name for name in ("space", "strategy", "estimator") if getattr(manifest, name)["origin"] != "named"]
    if own:
        notes.append(f"The run folder does not hold your own code ({', '.join(f'--{name}' for name in own)}).")
    if any(each.facts.get("weights") or each.facts.get("teacher") for each in trained):
        notes.append("A training started from trained weights or had a teacher, which its command leaves out.")
    searches = [study_command(study)]
    if manifest.trials is not None and len(study.trials) > manifest.trials:  # it was extended
        searches.append(["nas", "resume", str(folder), "--trials", str(len(study.trials)), *space])
    return [shlex.join(each) for each in (*searches, *trainings, ["nas", "report", str(folder), *space])], notes


def _images_words(study: Study, trained: Trained) -> list[str]:
    """Options that read the images of a training again, at their size; what is as for the run's images is left out."""
    from estimators.sources import Reading, reading_of

    data, of_run = trained.facts["data"], reading_of(study.manifest.estimator["given"])
    source = str(data.get("source", data["name"]))
    words = [] if whole_path(source) == study.manifest.data else ["--data", source]
    words += ["--image-size", str(Task.parse(data["task"]).image_size)]
    read, before = Reading(**reading_of(data)), replace(Reading(**of_run), cache=None)
    words += ["--skip-bad"] if read.skip_bad and not before.skip_bad else []
    for name, option in READING.items():
        if getattr(read, name) != getattr(before, name):
            words += [option, str(getattr(read, name))]
    return words


def _recipe_words(trained: Trained) -> list[str]:
    """Options that make a training's recipe again, beside its epochs, of the one that is fitted to its images."""
    from estimators.recipe import Recipe, make_recipe

    facts, defaults = trained.facts, Recipe().describe()
    recipe, side = {**defaults, **facts["recipe"]}, Task.parse(facts["task"]).image_size
    given = {name: recipe[name] for name in ("data_fraction", "val_fraction") if recipe[name] != defaults[name]}
    images = round(facts["train_images"] / (recipe["data_fraction"] * (1 - recipe["val_fraction"])))
    fit = functools.partial(make_recipe, "auto", images, side, epochs=recipe["epochs"])
    if fit(**given).batch != recipe["batch"]:
        given["batch"] = recipe["batch"]
    fitted = fit(**given).describe()
    given |= {name: value for name, value in recipe.items() if name in fitted and fitted[name] != value}
    if recipe["mirror"] == facts["data"].get("mirror"):  # as the names of the classes allow it
        given.pop("mirror", None)
    return [word for name, value in given.items() for word in ("--set", f"{name}={json.dumps(value).strip(chr(34))}")]
