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
        help=f"{SIZE_HELP}; by default those that the run counted costs at, or those of a scaled network, or those "
        "of the data, at most 224 for image files.",
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
        help=f"Training recipe: {one_of(RECIPES)}; auto is sgd, fitted to the number of images.",
        rich_help_panel=HOW,
    ),
]
RecipeSettings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the recipe, as in lr=0.05 or mixup=0; nas settings recipe lists them. Repeatable.",
        rich_help_panel=HOW,
    ),
]
TunedSettings = Annotated[
    str,
    Option(
        "--settings",
        metavar="A,B=X/Y",
        help="Settings of the recipe that are tuned, each among its usual options or those that are named, as in "
        "lr=0.05/0.1/0.2,weight_decay.",
        rich_help_panel=HOW,
    ),
]
TunedEpochs = Annotated[int, Option("--epochs", metavar="N", help="Epochs of each training.", rich_help_panel=LENGTH)]
TunedTrials = Annotated[
    int | None,
    Option(
        "--trials",
        metavar="N",
        help="Trials in all; by default 20, or as many as there are recipes with --strategy grid.",
        rich_help_panel=LENGTH,
    ),
]
TunedName = Annotated[
    str | None,
    Option(
        "--name",
        metavar="NAME",
        help="Name of the run; by default made from the network and the data. An existing run is resumed.",
        rich_help_panel=KEPT,
    ),
]
StartingWeights = Annotated[
    Path | None,
    Option(
        "--weights",
        metavar="DIR|FILE",
        help="Start from trained weights: the folder of another training, a .safetensors file with its network.json "
        "beside it, or, for a network of a search with a supernet, its run folder. The networks may differ; layers are "
        "matched by place.",
        rich_help_panel=HOW,
    ),
]
Freeze = Annotated[
    str | None,
    Option(
        "--freeze",
        metavar="all-but-head|STAGE|auto",
        help="Keep trained weights as they are: those of all layers but the last, or those of a stage (nas cost names "
        "them) and of all before it; auto follows the number of images. Needs --weights.",
        rich_help_panel=HOW,
    ),
]
Teacher = Annotated[
    str | None,
    Option(
        "--teacher",
        metavar="DIR[,DIR]",
        help="Learn the probabilities of a trained network too, or the mean of several: folders of trainings on the "
        "same classes. --set distillation and temperature say how.",
        rich_help_panel=HOW,
    ),
]
TrainedFolder = Annotated[
    Path | None,
    Option(
        "--out",
        metavar="DIR",
        help="Folder of the trained network. An unfinished training is resumed.",
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
        help="Other images of the same classes, all of which are evaluated; of the training's own images, if they have "
        "moved, the test part.",
    ),
]
Weights = Annotated[
    str,
    Option(
        "--weights",
        metavar="NAME",
        help=f"Weights: {one_of(WEIGHTS)}, where best are the averaged weights of the last epoch that validated "
        "within one standard error of the best.",
    ),
]
Views = Annotated[
    str,
    Option(
        "--views",
        metavar="NAME",
        help=f"Test-time augmentation, over which probabilities are averaged: {one_of(VIEWS)}.",
    ),
]
Confusion = Annotated[
    Path | None, Option("--confusion", metavar="FILE.html", help="Draw the confusion matrix into this page.")
]
Explain = Annotated[
    Path | None,
    Option(
        "--explain",
        metavar="FILE.html|DIR",
        help="Show on each image where the score of its class comes from (class activation map, or Grad-CAM): "
        "in one page, or in a PNG for each image.",
    ),
]
PredictionsFile = Annotated[
    Path | None,
    Option("--csv", metavar="FILE.csv", help="Write a line for each image: file, class and probability."),
]
Top = Annotated[int, Option("--top", metavar="K", help="Number of classes to show for each image.")]

# Exporting

Formats = Annotated[str, Option("--to", metavar="A,B", help=f"Formats, separated by commas: {', '.join(FORMATS)}.")]
ExportFolder = Annotated[
    Path | None,
    Option("--out", metavar="DIR", help="Folder for the files; by default export in the network's own folder."),
]
Int8 = Annotated[
    bool,
    Option("--int8", help="Write ONNX quantized to 8 bits too, calibrated on training images."),
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
