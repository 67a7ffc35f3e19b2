"""`nas export`: write a network for other tools."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.text import Text

from nas.commands import options
from nas.commands.console import console, print_json, waiting
from nas.commands.tables import FAINT, WARNING, Typed, show_facts, table
from nas.wording import human, percent

if TYPE_CHECKING:
    from rich.console import Console

    from nas.documents import Document


def export(
    network: options.TrainedOrNetwork,
    trial: options.OfTrial = None,
    to: options.Formats = "onnx",
    out: options.ExportFolder = None,
    int8: options.Int8 = False,
    data: options.CalibrationData = None,
    task: options.RandomTask = None,
    space: options.SpaceOfNetwork = None,
    json: options.Json = False,
) -> None:
    """Export a network to files that run without nas, each checked against torch.

    They take raw pixels, uint8 (batch, height, width, channels); normalization
    is part of the network. A model card is written next to them.

    [bold]Example:[/]  nas export trained/first --to onnx,python --int8 --data digits
    """
    with waiting(json):
        from nas.exporting import export as write
        from nas.references import with_trial
        from searchspaces.progress import doing

        network = with_trial(network, trial)
        document = write(network, to, out, int8=int8, data=data, task=task, space=space, on_step=doing)
    if json:
        return print_json(document)
    show_export(document, console())


def show_export(document: Document, console: Console) -> None:
    """`nas export`."""
    from nas.predict_script import SCRIPT

    for note in document["notes"]:
        console.print(Text(note, style=WARNING))
    known = ["same class>"] if any("images" in one for one in document["exports"]) else []
    known += ["test accuracy>"] if any("test_accuracy" in one for one in document["exports"]) else []
    made = table("format", "file", "size>", "difference>", *known)
    for one in document["exports"]:
        difference = one.get("max_difference")
        for number, file in enumerate(one["files"]):
            checked = [
                "" if difference is None else f"{difference:.1e}" if difference else "none",
                f"{one['same_class']} of {one['images']}" if "images" in one else "",
                percent(one["test_accuracy"]) if "test_accuracy" in one else "",
            ]
            words = ["", "", ""] if number else checked
            words = words[: 1 + len(known)]
            made.add_row(
                Text("" if number else one["format"], style="bold"),
                file["file"].replace("\\", "/").rpartition("/")[2],
                f"{human(file['bytes'])}B",
                *words,
            )
    console.print(made)
    scripts = [each["file"] for one in document["exports"] for each in one["files"] if each["file"].endswith(SCRIPT)]
    show_facts(
        console,
        ("network", Text.assemble((document["name"], "bold"), (f"  {document['weights']} weights", FAINT))),
        ("input", document["input"]),
        ("output", document["output"]),
        ("folder", document["out"]),
        ("model card", document["card"]),
        *(("next", Typed(f"python {shlex.quote(each)} IMAGE")) for each in scripts),
    )
    console.print()
    limit = f"difference: the largest absolute difference from torch's logits; above {document['tolerance']:g}"
    console.print(Text(f"{limit} of the largest logit, the export is refused", style=FAINT))
