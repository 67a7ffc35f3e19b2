"""Options of training a network, and of what is done with a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from nas.commands.options.words import (
    DATA_HELP,
    DATA_PARALLEL,
    FORMATS,
    HOW,
    KEPT,
    LENGTH,
    RECIPES,
    SIZE_HELP,
    TASK_FORM,
    TRAINED,
    VIEWS,
    WEIGHTS,
    one_of,
)

# Training, evaluation and prediction

TrainedData = Annotated[
    str | None,
    Option("--data", metavar="DATA", help=f"{DATA_HELP} By default those of the run.", rich_help_panel=TRAINED),
]
ImageSize = Annotated[
    int | None,
    Option(
        "--image-size",
        metavar="N",
        help=f"{SIZE_HELP}; by default the size at which the run counted costs, that of a scaled network, or that of "
        "the data (at most 224 for image files).",
        rich_help_panel=TRAINED,
    ),
]
Epochs = Annotated[
    int | None, Option("--epochs", metavar="N", help="Training epochs; 100 by default.", rich_help_panel=HOW)
]
Recipe = Annotated[
    str,
    Option(
        "--recipe",
        metavar="NAME",
        help=f"Training recipe: {one_of(RECIPES)}; auto is sgd adapted to the number of images.",
        rich_help_panel=HOW,
    ),
]
RecipeSettings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change a setting of the recipe, as in lr=0.05 or mixup=0; nas settings recipe lists them. Repeatable.",
        rich_help_panel=HOW,
    ),
]
TunedSettings = Annotated[
    str,
    Option(
        "--settings",
        metavar="A,B=X/Y",
        help="Recipe settings to tune, each over its usual options or those given, as in lr=0.05/0.1/0.2,weight_decay.",
        rich_help_panel=HOW,
    ),
]
TunedEpochs = Annotated[int, Option("--epochs", metavar="N", help="Epochs of each training.", rich_help_panel=LENGTH)]
TunedTrials = Annotated[
    int | None,
    Option(
        "--trials",
        metavar="N",
        help="Total number of trials; by default 20 or, with --strategy grid, the number of recipes.",
        rich_help_panel=LENGTH,
    ),
]
TunedName = Annotated[
    str | None,
    Option(
        "--name",
        metavar="NAME",
        help="Name of the run; by default derived from the network and the data. An existing run is resumed.",
        rich_help_panel=KEPT,
    ),
]
StartingWeights = Annotated[
    Path | None,
    Option(
        "--weights",
        metavar="DIR|FILE",
        help="Start from trained weights: the folder of another training, a .safetensors file with its network.json "
        "next to it or, for a network from a supernet search, the run folder. The networks may differ; layers are "
        "matched by position.",
        rich_help_panel=HOW,
    ),
]
Freeze = Annotated[
    str | None,
    Option(
        "--freeze",
        metavar="all-but-head|STAGE|auto",
        help="Freeze trained layers: all but the last, or those up to and including a stage (nas cost lists the "
        "names); auto decides by the number of images. Needs --weights.",
        rich_help_panel=HOW,
    ),
]
Teacher = Annotated[
    str | None,
    Option(
        "--teacher",
        metavar="DIR[,DIR]",
        help="Knowledge distillation: also learn from the predicted probabilities of a trained network, or the mean "
        "of several (folders of trainings on the same classes). --set distillation and temperature control it.",
        rich_help_panel=HOW,
    ),
]
TrainedFolder = Annotated[
    Path | None,
    Option(
        "--out",
        metavar="DIR",
        help="Folder for the trained network. An unfinished training is resumed.",
        rich_help_panel=KEPT,
    ),
]
CheckpointEvery = Annotated[
    str,
    Option("--checkpoint-every", metavar="5m", help="Time between checkpoints within an epoch.", rich_help_panel=KEPT),
]
TrainOnRay = Annotated[
    str | None,
    Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Train with several workers on Ray: on this machine (no address, or local), or on the cluster at an "
        "address: auto or host:6379.",
        rich_help_panel=DATA_PARALLEL,
    ),
]
Gpus = Annotated[
    int | None,
    Option("--gpus", metavar="N", help="GPUs that share each batch; needs --ray.", rich_help_panel=DATA_PARALLEL),
]
TrainWorkers = Annotated[
    int | None,
    Option(
        "--workers", metavar="N", help="CPU workers that share each batch; needs --ray.", rich_help_panel=DATA_PARALLEL
    ),
]
OtherData = Annotated[
    str | None,
    Option(
        "--data",
        metavar="DATA",
        help="Other images of the same classes, all of which are evaluated; or the new location of the training's "
        "own images, of which the test set is.",
    ),
]
Weights = Annotated[
    str,
    Option(
        "--weights",
        metavar="NAME",
        help=f"Weights to use: {one_of(WEIGHTS)}. best are the averaged weights of the last epoch whose validation "
        "accuracy is within one standard error of the highest.",
    ),
]
Views = Annotated[
    str,
    Option(
        "--views",
        metavar="NAME",
        help=f"Test-time augmentation; probabilities are averaged over the views: {one_of(VIEWS)}.",
    ),
]
Confusion = Annotated[
    Path | None, Option("--confusion", metavar="FILE.html", help="Write a page with the confusion matrix to this file.")
]
Explain = Annotated[
    Path | None,
    Option(
        "--explain",
        metavar="FILE.html|DIR",
        help="Highlight the parts of each image that the score of its class comes from (class activation map or "
        "Grad-CAM): in one page, or in one PNG per image.",
    ),
]
PredictionsFile = Annotated[
    Path | None,
    Option("--csv", metavar="FILE.csv", help="Write one line per image: file, class and probability."),
]
Top = Annotated[int, Option("--top", metavar="K", help="Number of classes to show for each image.")]

# Exporting

Formats = Annotated[str, Option("--to", metavar="A,B", help=f"Formats, separated by commas: {', '.join(FORMATS)}.")]
ExportFolder = Annotated[
    Path | None,
    Option("--out", metavar="DIR", help="Folder for the files; by default export in the network's folder."),
]
Int8 = Annotated[
    bool,
    Option(
        "--int8",
        help="Also write ONNX quantized to 8 bits, calibrated on training and validation images, or on noise if the "
        "weights are random.",
    ),
]
CalibrationData = Annotated[
    str | None,
    Option(
        "--data",
        metavar="DATA",
        help="The images that the network was trained on; predictions are then compared on test images.",
    ),
]
RandomTask = Annotated[
    str | None,
    Option(
        "--task",
        metavar=TASK_FORM,
        help="Images and classes of a network with random weights; by default the network's own.",
    ),
]
