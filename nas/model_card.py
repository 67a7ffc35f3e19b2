"""The model card beside exported files: the network, its accuracy, training, origin and limits.

After Mitchell et al. 2019, arXiv:1810.03993, in the order of a user's questions. What is not recorded is "unknown"; the
licence and the intended use are left to the user.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from estimators.freezing import ALL_BUT_HEAD
from nas.documents import strides_document
from nas.predict_script import CHANNELS, SCRIPT, SCRIPTS
from nas.wording import given_and_seen, human, images_text, percent
from searchspaces import Scale
from searchspaces.strides import strides_note
from searchspaces.text_forms import seen_task
from searchspaces.versions import versions

if TYPE_CHECKING:
    from nas.documents import Document
    from nas.formats import Exportable

_USES: Final = {
    "onnx": """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("{file}")
logits = session.run(["logits"], {{"pixels": pixels}})[0]   # pixels: uint8 (batch, {size}, {size}, {channels})
""",
    "torchscript": """
import torch
logits = torch.jit.load("{file}")(pixels)       # torch deprecates TorchScript in favour of torch.export
""",
    "torch-export": """
import torch
logits = torch.export.load("{file}").module()(pixels)
""",
    "python": """
import model                                                # model.py needs only torch
probabilities = model.predict(model.load(), pixels)
""",
}


def model_card(found: Exportable, document: Document) -> str:
    """The card, in Markdown.

    Args:
        found: the network and its training.
        document: what was exported, returned by `nas.exporting.export`.
    """
    parts = [f"# {_line(found.title)}", *(f"> **{note}**" for note in document["notes"])]
    parts += [_summary(found, document), _files(found, document)]
    if found.trained:
        parts += [_accuracy(found, document), _training(found), _origin(found)]
    parts += [_limits(found), _versions(found), _text_form(found)]
    return "\n\n".join(parts) + "\n"


def _summary(found: Exportable, document: Document) -> str:
    task = found.task
    names = found.class_names
    shown = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    strides = strides_note(**strides_document(found.network, task), task=task)
    images = given_and_seen(task, seen_task(found.network, task))
    larger = f"; on {images_text(images)}" if "enlarged" in images else ""
    colours = {1: "grey", 3: "RGB"}.get(task.channels, f"{task.channels} channels")
    return _table(
        {
            "Does": f"classifies images into {task.classes} classes",
            "Input": f"`{document['input'].partition(';')[0].replace(': ', '`: ', 1)}, {colours}, as they are read",
            **({"Image files": _reading(found)} if task.channels in CHANNELS else {}),
            "Output": f"`logits`: float32 (batch, {task.classes}); their softmax gives probabilities",
            "Classes": shown,
            "MACs for one image": f"{document['macs']:,} (1 MAC = 1 multiply + 1 add = 2 FLOPs){larger}",
            **({"Strides": strides.removeprefix("strides ")} if strides else {}),
            "Parameters": f"{document['params']:,}",
            "Licence": "not chosen: to be stated by whoever trained the network and by the owner of the images",
        }
    )


def _reading(found: Exportable) -> str:
    """How an image file becomes pixels."""
    share = "" if found.centre == 1 else f" of {found.centre:g} of the shorter side"
    steps = [
        "turned upright by EXIF",
        "16 and 32 bits scaled to 8",
        "transparent pixels on white",
        f"cropped to the centre square{share}",
        f"resized to {found.task.image_size}x{found.task.image_size} (bilinear, antialiased)",
    ]
    return ", ".join(steps if found.task.channels == 3 else [*steps, "converted to grey (ITU-R 601-2)"])


def _files(found: Exportable, document: Document) -> str:
    rows, uses = [], []
    for each in document["exports"]:
        said = []
        if "max_difference" in each:
            difference = each["max_difference"]
            said.append(
                f"logits differ from torch's by at most {difference:.1e}" if difference else "same logits as torch"
            )
        if "images" in each:
            said.append(f"same class as torch on {each['same_class']} of {each['images']} test images")
        read = f"same pixels as in training from image files of {each.get('image_files')} modes"
        for number, file in enumerate(each["files"]):
            told = "; ".join(said) if number == 0 else "weights"
            if _name(file["file"]) in SCRIPTS and "image_files" in each:
                told = "; ".join([*(said if number == 0 else []), read])
            rows.append(f"| `{_name(file['file'])}` | {each['format']} | {human(file['bytes'])}B | {told} |")
        if each["format"] in _USES:
            file = _name(each["files"][0]["file"])
            size, channels = found.task.image_size, found.task.channels
            uses.append(_USES[each["format"]].format(file=file, size=size, channels=channels).strip())
    table = "\n".join(["| File | Format | Size | Checked |", "|---|---|---|---|", *rows])
    joined = "\n\n".join(uses)
    scripted = any(_name(file["file"]) == SCRIPT for each in document["exports"] for file in each["files"])
    run = f"## Run it\n\n```\n{_RUN}\n```\n\n" if scripted else ""
    return f"{run}## Files\n\n{table}\n\n```python\n{joined}\n```"


_RUN: Final = f"""\
pip install onnxruntime numpy pillow
python {SCRIPT} photo.jpg
python {SCRIPT} photos/ --top 3 --csv classes.csv"""


def _accuracy(found: Exportable, document: Document) -> str:
    facts = found.facts
    rows = {
        "Validation (used to choose the epoch)": _share(facts.get("val_accuracy")),
        "Test (used once, at the end of training)": _share(facts.get("test_accuracy")),
    }
    for each in document["exports"]:
        if "test_accuracy" in each:
            rows[f"Test, {each['format']}, by ONNX Runtime"] = percent(each["test_accuracy"])
    data = facts["data"]
    told = f"Top-1 accuracy; {data.get('test_images', '?')} test images ({_line(data.get('test_part', 'unknown'))})."
    luck = "One training with one seed: the variance between seeds is unknown."
    return f"## Accuracy\n\n{_table(rows)}\n\n{told} {luck}"


def _training(found: Exportable) -> str:
    facts = found.facts
    data, recipe = facts["data"], facts["recipe"]
    rows = {
        "Data": f"{data.get('name')}, at {data.get('task')} (height x width x channels : classes)",
        "Images": f"{facts.get('train_images', data.get('images', '?'))} for training,"
        f" {facts.get('val_images', '?')} for validation",
        **({"Notes on the data": "; ".join(map(str, data["notes"]))} if data.get("notes") else {}),
        "Fingerprint of the data": f"`{data.get('fingerprint')}`",
        "Mirrored left to right": _mirrored(data, recipe),
        "Mean and standard deviation of pixels": f"{_numbers(found.mean)}; {_numbers(found.std)}",
        **({"Started from": _start(facts["weights"])} if facts.get("weights") else {}),
        **({"Frozen": _frozen(facts["weights"]["frozen"])} if (facts.get("weights") or {}).get("frozen") else {}),
        **({"Taught by": _taught(facts["teacher"], recipe)} if facts.get("teacher") else {}),
        "Epochs": f"{recipe.get('epochs', '?')}; the weights are of epoch {facts.get('best_epoch', '?')}",
        "Seed": facts.get("seed", "unknown"),
        "Seconds of training": facts.get("seconds", "unknown"),
        "Device": facts.get("device", "unknown"),
        "When": facts.get("created", "unknown"),
    }
    settings = ", ".join(f"{name} {json.dumps(value)}" for name, value in recipe.items())
    return f"## Training\n\n{_table(rows)}\n\nRecipe: {_line(settings)}."


def _start(weights: Mapping[str, Any]) -> str:
    """The trained weights that the training started from."""
    share = f"{percent(weights['inherited_share'])} of the parameters"
    return f"{share} from {weights['source']}, fingerprint `{weights['fingerprint']}`"


def _frozen(frozen: Mapping[str, Any]) -> str:
    """The layers that kept the weights that the training started from."""
    which = "all layers but the last" if frozen["name"] == ALL_BUT_HEAD else f"all layers up to stage {frozen['name']}"
    return f"{which}: {frozen['params']:,} parameters; {frozen['trained_params']:,} were trained"


def _taught(teacher: list[Mapping[str, Any]], recipe: Mapping[str, Any]) -> str:
    """The trained networks whose probabilities it learned."""
    names = ", ".join(f"{each['source']}, fingerprint `{each['fingerprint']}`" for each in teacher)
    return f"{names}; {percent(recipe['distillation'])} of the loss at temperature {recipe['temperature']:g}"


def _mirrored(data: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """Whether training images were mirrored, and how to train otherwise."""
    on = recipe.get("mirror") if recipe.get("mirror") is not None else data.get("mirror")
    if on is None:
        return "unknown"
    why = f" ({data['mirror_reason']})" if on == data.get("mirror") and "mirror_reason" in data else " (as set)"
    return f"{'at random' if on else 'never'}{why}; `nas train --set mirror={'false' if on else 'true'}` changes it"


def _origin(found: Exportable) -> str:
    facts = found.facts.get("found")
    paper, scale = found.network.paper, found.network.scale
    told = []
    if isinstance(facts, Mapping) and facts:
        told.append(_table({name: _said(value) for name, value in facts.items() if value is not None}))
    else:
        told.append(
            f"A network from the literature: {_line(paper)}." if paper else "Given by hand; no search is recorded."
        )
    if scale != Scale():
        dropout = "" if scale.dropout is None else f", dropout {scale.dropout:g}"
        told.append(f"Then scaled: width times {scale.width:g}, depth times {scale.depth:g}{dropout}.")
    return "\n\n".join(["## How it was found", *told])


def _said(value: Any) -> str:
    """A value as text; of an object its names and values, one level deep."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(each)}" for name, each in value.items() if not isinstance(each, Mapping))
    return value if isinstance(value, str) else json.dumps(value)


def _limits(found: Exportable) -> str:
    limits = [
        "It predicts one of its classes for every image, including images that belong to none of them.",
        "Probabilities are not calibrated.",
    ]
    if found.trained:
        limits.insert(0, "Its accuracy is only known for images like those it was trained on.")
        limits.append("Differences in accuracy between groups of people were not measured.")
    return "## Limits\n\n" + "\n".join(f"- {each}" for each in limits)


def _versions(found: Exportable) -> str:
    rows = versions("python", "nas-toolkit", "torch", "onnx", "onnxruntime", "onnxscript")
    told = ", ".join(f"{name} {version}" for name, version in rows.items())
    trained = found.facts.get("versions")
    before = ", ".join(f"{_line(k)} {_line(v)}" for k, v in trained.items()) if isinstance(trained, Mapping) else ""
    return f"## Versions\n\nExported with {told}." + (f"\n\nTrained with {before}." if before else "")


def _text_form(found: Exportable) -> str:
    told = "Its text form, as `nas cost`, `nas show` and `nas train` take it:"
    return f"## The network\n\n{told}\n\n```json\n{found.described()['network']}\n```"


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {_line(name)} | {_line(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _line(value: Any) -> str:
    """A value as the text of one table cell, or of a line; to be taken once, as it escapes."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _share(value: Any) -> str:
    return percent(value) if isinstance(value, int | float) else "unknown"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]
