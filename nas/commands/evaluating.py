"""`nas evaluate` and `nas predict`: what trained networks are worth, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from nas.commands import options
from nas.commands.console import console, print_json, visible, waiting
from nas.commands.running import reading_given
from nas.commands.tables import FAINT, GOOD, WARNING, facts, table
from nas.wording import number_of, percent, within

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from estimators.trained import Trained
    from nas.documents import Document

_CONFUSIONS: Final = 5
"""Confusions on the screen."""


def evaluate(
    trained: options.SeveralTrained,
    data: options.OtherData = None,
    views: options.Views = "one",
    confusion: options.Confusion = None,
    skip_bad: options.SkipBad = False,
    max_pixels: options.MaxPixels = None,
    cache: options.Cache = None,
    weights: options.Weights = "best",
    space: options.SpaceOfNetwork = None,
    json: options.Json = False,
) -> None:
    """Evaluate a trained network, or an ensemble of several, on its test set or on other images.

    [bold]Example:[/]  nas evaluate runs/first-trained
    [bold]Example:[/]  nas evaluate runs/a-trained runs/b-trained --views ten-crop --confusion confusion.html
    """
    if confusion is not None and confusion.suffix.lower() != ".html":
        from searchspaces import UserError

        raise UserError(f"the confusion matrix is an HTML page: {str(confusion)!r} must end in .html")
    with waiting(json):
        from nas.evaluating import evaluate as evaluated
        from searchspaces.files import check_place

        if confusion is not None:
            check_place(confusion)
        several = [_opened(each, space) for each in trained]
        document = evaluated(several, data, weights, reading_given(skip_bad, max_pixels, cache), views)
    if confusion is not None:
        from studies.pages.confusion import write_confusion

        write_confusion(document, confusion)
    if json:
        return print_json(document)
    show_evaluation(document, console(), confusion)


def predict(
    trained: options.Trained,
    images: options.Images,
    top: options.Top = 5,
    views: options.Views = "one",
    skip_bad: options.SkipBad = False,
    max_pixels: options.MaxPixels = None,
    weights: options.Weights = "best",
    csv: options.PredictionsFile = None,
    explain: options.Explain = None,
    space: options.SpaceOfNetwork = None,
    json: options.Json = False,
) -> None:
    """Classify images with a trained network.

    [bold]Example:[/]  nas predict runs/first-trained cat.jpg dog.png --top 3
    [bold]Example:[/]  nas predict runs/first-trained photos/ --csv classes.csv
    [bold]Example:[/]  nas predict runs/first-trained photos/ --explain maps.html
    """
    with waiting(json):
        from estimators.image_folders import named_as_image
        from nas.evaluating import predict as predicted
        from nas.evaluating import prediction_table
        from searchspaces import UserError
        from searchspaces.files import check_place, write_whole

        if csv is not None:
            if named_as_image(csv):  # as in `--csv *.png`, which means the first of the images
                raise UserError(f"--csv {str(csv)!r}: an image would be overwritten; name a table, such as classes.csv")
            check_place(csv)
        reading = reading_given(skip_bad, max_pixels)
        document = predicted(_opened(trained, space), images, top, weights, reading, views, explain)
    if csv is not None:
        write_whole(csv, prediction_table(document))
    if json:
        return print_json(document)
    show_prediction(document, console())
    for written in (csv, explain):
        if written is not None:
            print(visible(str(written)))


def _opened(folder: str, space: str | None) -> Trained:
    """The trained network of a folder."""
    from estimators.trained import Trained
    from searchspaces import load_space

    return Trained.open(folder, load_space(space) if space else None)


def show_evaluation(document: Document, console: Console, confusion: Path | None = None) -> None:
    """`nas evaluate`."""
    made = table("class", "images>", "recall>", "precision>")
    several = sorted(document["classes"], key=lambda one: (one["accuracy"] is None, one["accuracy"]))
    for one in several[:20]:
        shares = ["" if one[key] is None else percent(one[key]) for key in ("accuracy", "precision")]
        made.add_row(Text(one["class"]), f"{one['images']:,}", *shares)
    console.print(made)
    empty = sum(one["accuracy"] is None for one in several)
    more = len(several) - empty - 20
    said = [f"and {more} more class{'es' * (more > 1)} with higher recall"] if more > 0 else []
    said += [f"{empty} class{'es have' if empty > 1 else ' has'} no images"] if empty else []
    if said:
        console.print(Text("; ".join(said), style=FAINT))
    top1 = (percent(document["accuracy"]), GOOD), _error(document, "")
    top5 = "" if document["top5_accuracy"] is None else percent(document["top5_accuracy"]) + _error(document, "top5_")
    balanced = within(document["balanced_accuracy"], document["balanced_standard_error"])
    part = "the test set of" if document["part"] == "test" else "all of"
    rows: list[tuple[str, RenderableType]] = [
        ("top-1 accuracy", Text.assemble(*top1)),
        *([("top-5 accuracy", top5)] if top5 else []),
        ("balanced accuracy", f"{balanced}, the mean recall over classes"),
        (
            "calibration error",
            f"{percent(document['calibration_error'])}, the mean gap between confidence and accuracy",
        ),
        ("images", Text(f"{document['images']:,}: {part} {document['data']}")),
    ]
    for index, one in enumerate(document["confusions"][:_CONFUSIONS]):
        pair = f"{one['class']} classified as {one['taken_for']}"
        words = f"{pair}: {number_of(one['images'], 'image')}, {percent(one['share'])} of the class"
        rows.append(("confusions" if index == 0 else "", Text(words)))
    rows += [("note" if index == 0 else "", Text(each, WARNING)) for index, each in enumerate(document["notes"])]
    if len(document["folders"]) > 1:
        rows.append(("ensemble", f"mean probabilities of {len(document['folders'])} networks"))
    if document["views"] != "one":
        rows.append(("views", f"{document['views']}: mean probabilities over the views of each image"))
    if confusion is not None:
        rows.append(("confusion matrix", Text(str(confusion))))
    console.print(facts(*rows))


def _error(document: Document, name: str) -> str:
    """The standard error and the interval of one of the accuracies of an evaluation."""
    low, high = (f"{100 * bound:.1f}" for bound in document[f"{name}interval"])
    return f" ± {percent(document[f'{name}standard_error'])} (95% interval: {low} to {high}%)"


def show_prediction(document: Document, console: Console) -> None:
    """`nas predict`."""
    made = table("image", "class", "probability>")
    for one in document["images"]:
        for index, each in enumerate(one["classes"]):
            style = "bold" if index == 0 else FAINT
            cells = (Text(one["file"] if index == 0 else ""), Text(each["class"], style=style))
            made.add_row(*cells, Text(percent(each["probability"]), style=style))
    console.print(made)
    for why in document["skipped"]:
        console.print(Text(f"skipped: {why}", style=WARNING))
