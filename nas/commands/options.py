"""Every argument and option of the command line, each declared once; a command takes it in one line.

Names that people type stand here as literals, since reading the tables would load NumPy or torch before the help is
shown; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from typer import Argument, Option

STRATEGIES: Final = ("evolution", "grid", "guided", "pareto", "random", "rl", "tpe")
ESTIMATORS: Final = ("short-training", "table")
PRUNERS: Final = ("none", "asha", "median")
DEVICES: Final = ("auto", "cpu", "cuda", "mps")
MEASURED_DEVICES: Final = ("cpu", "cuda")
RUNTIMES: Final = ("onnxruntime", "torch")
METRICS: Final = ("top-1", "balanced")
RECIPES: Final = ("auto", "sgd", "adamw")
FORMATS: Final = ("onnx", "torchscript", "torch-export", "python")
UNITS: Final = ("fraction", "percent")
WEIGHTS: Final = ("best", "last")
VIEWS: Final = ("one", "mirror", "ten-crop", "scales")
LEDGERS: Final = ("sqlite", "journal")


def _one_of(names: tuple[str, ...], *more: str) -> str:
    """A list in words.

    >>> _one_of(("cpu", "cuda", "mps"))
    'cpu, cuda or mps'
    """
    *first, last = (*names, *more)
    return f"{', '.join(first)} or {last}"


SEARCHED: Final = "What to search"
LENGTH: Final = "How long"
HOW: Final = "How"
KEPT: Final = "Where to keep it"
SIZES: Final = "What sizes"
IMAGES: Final = "Image files"
PARALLEL: Final = "Parallel trials"
TRAINED: Final = "What to train"
DATA_PARALLEL: Final = "Several workers for one network"
TRACKERS: Final = "Experiment trackers"

_NETWORK: Final = "a classic's name; an architecture (JSON or its file)"
_DATA: Final = (
    "Images: digits, a folder with one subfolder for each class, an .npz file, or a data set of the Hugging Face Hub."
)
_REQUIRED_AGAIN: Final = "Required again if the run was created with your own file.py:object."
_SPACE: Final = "A name from 'nas spaces', or file.py:object."
_BUDGET: Final = (
    "Upper bound on a network's costs: 400M (MACs), 360M..400M, macs=400M,params=5.3M, 60% of the space's largest, or "
    "8ms (with --latency)."
)
_LATENCY: Final = "Latency table made by 'nas measure': latency_ms becomes a cost, as in --budget 8ms."
_TASK: Final = "HxWxC:N"
_IMAGE_SIZE: Final = "Height and width of the images in pixels"

# Every command

Json = Annotated[bool, Option("--json", metavar="", help="Print one JSON object instead.")]
Quiet = Annotated[bool, Option("--quiet", "-q", metavar="", help="Print nothing but the result.")]

# Runs and networks

Run = Annotated[str, Argument(metavar="RUN", help="Run folder, such as runs/first.")]
Runs = Annotated[list[str], Argument(metavar="RUN", help="Run folders, such as runs/first.")]
RunOrNetwork = Annotated[
    str,
    Argument(metavar="RUN|NETWORK", help=f"Run folder, such as runs/first; {_NETWORK}."),
]
BestOrNetwork = Annotated[
    str,
    Argument(metavar="RUN|NETWORK", help=f"Run folder, such as runs/first, for its best network; {_NETWORK}."),
]
Network = Annotated[
    str,
    Argument(
        metavar="NETWORK",
        help=f"{_NETWORK[0].upper()}{_NETWORK[1:]}; a run folder, for its best network; file.py:object.",
    ),
]
Networks = Annotated[
    list[str] | None,
    Argument(
        metavar="NETWORK",
        help="Names of classics; architectures (JSON or their files); run folders, for their best networks; "
        "file.py:object.",
    ),
]
TrainedOrNetwork = Annotated[
    str,
    Argument(
        metavar="TRAINED|NETWORK",
        help=f"Folder written by 'nas train'; or, with random weights, a run folder; {_NETWORK}.",
    ),
]
Trained = Annotated[str, Argument(metavar="TRAINED", help="Folder written by 'nas train'.")]
SeveralTrained = Annotated[
    list[str],
    Argument(metavar="TRAINED", help="Folders written by 'nas train'; of several the probabilities are averaged."),
]
Images = Annotated[list[str], Argument(metavar="IMAGE", help="Image files.")]
SpaceName = Annotated[str, Argument(metavar="SPACE", help=_SPACE)]
NamePart = Annotated[
    str, Argument(metavar="PART", help="Show only networks with this text in their names.", show_default=False)
]

# What is searched, and on what

Space = Annotated[str, Option("--space", metavar="SPACE", help=_SPACE, rich_help_panel=SEARCHED)]
Budget = Annotated[str, Option("--budget", metavar="BUDGET", help=_BUDGET, rich_help_panel=SEARCHED)]
Data = Annotated[str, Option("--data", metavar="DATA", help=_DATA, rich_help_panel=SEARCHED)]
Task = Annotated[
    str | None,
    Option(
        "--task",
        metavar=_TASK,
        help="Deployment task, on which costs are counted: image height, width and channels, and classes; by default "
        "those of your images; with digits those of the latency table, or 224x224x3:1000.",
        rich_help_panel=SEARCHED,
    ),
]
SearchedImageSize = Annotated[
    int | None,
    Option(
        "--image-size",
        metavar="N",
        help=f"{_IMAGE_SIZE}, for counting costs and for training candidates; by default costs are counted at the size "
        "of your images, at most 224, and image files are decoded at 32 to train candidates.",
        rich_help_panel=SEARCHED,
    ),
]
Strides = Annotated[
    str | None,
    Option(
        "--strides",
        metavar="RULE",
        help="Strides on images too small to be halved as often: small-images leaves the first ones out, as the space "
        "is declared; published keeps all, as --space SPACE@published.",
        show_default="small-images",
        rich_help_panel=SEARCHED,
    ),
]
Latency = Annotated[
    str | None,
    Option("--latency", metavar="FILE.json", help=_LATENCY, rich_help_panel=SEARCHED),
]

SkipBad = Annotated[
    bool,
    Option(
        "--skip-bad",
        metavar="",
        help="Leave out files that cannot be read as images; by default the first of them is an error.",
        rich_help_panel=IMAGES,
    ),
]
MaxPixels = Annotated[
    int | None,
    Option(
        "--max-pixels",
        metavar="N",
        help="Pixels of the largest image that is decoded; 178956970 by default. A JPEG is decoded at a reduced size.",
        rich_help_panel=IMAGES,
    ),
]

Cache = Annotated[
    str | None,
    Option(
        "--cache",
        metavar="DIR|none",
        help="Folder in which decoded images are kept; by default NAS_CACHE, or nas in the user's cache folder.",
        rich_help_panel=IMAGES,
    ),
]
CacheFolder = Annotated[
    str | None,
    Option("--cache", metavar="DIR", help="Folder of the cache; by default NAS_CACHE, or nas in the user's."),
]
Empty = Annotated[bool, Option("--empty", metavar="", help="Remove everything in the cache.")]

# How long

Trials = Annotated[
    int | None,
    Option("--trials", metavar="N", help="Trials in all; 60 unless --time is given.", rich_help_panel=LENGTH),
]
Time = Annotated[
    str | None,
    Option("--time", metavar="30m", help="Start no trial after this time: 90s, 30m, 1h30m.", rich_help_panel=LENGTH),
]

# How

Strategy = Annotated[
    str,
    Option(
        "--strategy",
        metavar="NAME",
        help=f"{_one_of(STRATEGIES, 'optuna:SAMPLER', 'file.py:object')}.",
        rich_help_panel=HOW,
    ),
]
Estimator = Annotated[
    str,
    Option(
        "--estimator",
        metavar="NAME",
        help=f"{_one_of(ESTIMATORS, 'file.py:object')}.".replace("table", "table:FILE.json"),
        rich_help_panel=HOW,
    ),
]
StartFrom = Annotated[
    list[str] | None,
    Option(
        "--start-from",
        metavar="NETWORK",
        help="Evaluate this network first: a classic of the space, an architecture (JSON or its file). Repeatable.",
        rich_help_panel=HOW,
    ),
]
Objectives = Annotated[
    str | None,
    Option(
        "--objectives",
        metavar="A,B",
        help="Objectives of the strategy pareto, such as accuracy,macs.",
        rich_help_panel=HOW,
    ),
]
Confirm = Annotated[
    int,
    Option(
        "--confirm",
        metavar="K",
        help="Train the K best networks three more times each, as the last trials; the mean accuracy decides.",
        rich_help_panel=HOW,
    ),
]
Replicas = Annotated[
    bool,
    Option("--replicas", metavar="", help="Allow a network to be trained more than once.", rich_help_panel=HOW),
]
Metric = Annotated[
    str | None,
    Option(
        "--metric",
        metavar="NAME",
        help=f"What is maximized on the validation images: {_one_of(METRICS)}; balanced is the mean accuracy of the "
        "classes, for classes of uneven size.",
        rich_help_panel=HOW,
    ),
]
Pruner = Annotated[
    str,
    Option("--pruner", metavar="NAME", help=f"Stop unpromising trials early: {_one_of(PRUNERS)}.", rich_help_panel=HOW),
]
StudySettings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="TARGET.NAME=VALUE",
        help="A setting of the strategy or the estimator, as in estimator.epochs=8. Repeatable.",
        rich_help_panel=HOW,
    ),
]
Seed = Annotated[int, Option("--seed", metavar="N", help="Seed of all random numbers.", rich_help_panel=HOW)]
Device = Annotated[
    str,
    Option("--device", metavar="NAME", help=f"Device to train on: {_one_of(DEVICES)}.", rich_help_panel=HOW),
]

# Where it is kept

Name = Annotated[
    str | None,
    Option(
        "--name",
        metavar="NAME",
        help="Name of the run; by default made from space, budget and data. An existing run is resumed.",
        rich_help_panel=KEPT,
    ),
]
RunsFolder = Annotated[Path, Option("--out", metavar="DIR", help="Folder of the run folders.", rich_help_panel=KEPT)]
Ledger = Annotated[
    str,
    Option(
        "--ledger",
        metavar="LEDGER",
        help=f"Where trials are recorded: {_one_of(LEDGERS)}, in the run folder; or postgresql://host/name, which "
        "several drivers can share.",
        rich_help_panel=KEPT,
    ),
]

# Runs that exist

TrialsInAll = Annotated[
    int | None, Option("--trials", metavar="N", help="Trials in all; by default as many as were planned.")
]
OwnSpace = Annotated[str | None, Option("--space", metavar="file.py:object", help=_REQUIRED_AGAIN)]
OwnStrategy = Annotated[str | None, Option("--strategy", metavar="file.py:object", help=_REQUIRED_AGAIN)]
OwnEstimator = Annotated[str | None, Option("--estimator", metavar="file.py:object", help=_REQUIRED_AGAIN)]
MovedData = Annotated[
    str | None, Option("--data", metavar="DATA", help="New place of the run's images, if they have moved.")
]
LedgerUrl = Annotated[
    str | None,
    Option(
        "--ledger", metavar="URL", help="URL of the ledger, required again if it has a password; or set PGPASSWORD."
    ),
]
TrialNumber = Annotated[
    int | None, Option("--trial", metavar="N", help="Show one trial of the run, with all that is known of it.")
]
Svg = Annotated[
    Path | None,
    Option("--svg", metavar="FILE.svg", help="Draw the network too: of a run, its best network or that of the trial."),
]
ParetoPage = Annotated[
    Path | None, Option("--out", metavar="FILE.html", help="Page to write; by default pareto.html in the run folder.")
]
TrialsCompared = Annotated[
    int | None,
    Option("--trials", metavar="N", help="Compare after N trials; by default as many as the shortest run has."),
]
CurvesPage = Annotated[
    Path | None,
    Option("--out", metavar="FILE.html", help="Write the curves to this page."),
]

# Parallel trials

Ray = Annotated[
    str | None,
    Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Run trials on Ray: on this machine, or on the cluster at an address: auto or host:6379.",
        rich_help_panel=PARALLEL,
    ),
]
Workers = Annotated[
    int | None,
    Option(
        "--workers",
        metavar="N",
        help="Number of parallel trials; by default one on each core (of NAS_CORES) or GPU. With 1, a seed repeats a "
        "search exactly.",
        rich_help_panel=PARALLEL,
    ),
]
AtOnce = Annotated[
    int | None,
    Option(
        "--at-once",
        metavar="K",
        help="Trials that take turns in this process, for a GPU that one does not fill; by default as many as raise "
        "the number of images per second, measured as the search begins.",
        rich_help_panel=PARALLEL,
    ),
]
CpusPerTrial = Annotated[
    float | None,
    Option(
        "--cpus-per-trial",
        metavar="N",
        help="CPU cores of each trial; by default the estimator's number of threads.",
        rich_help_panel=PARALLEL,
    ),
]
GpusPerTrial = Annotated[
    float | None,
    Option(
        "--gpus-per-trial",
        metavar="N",
        help="GPUs of each trial, where 0.25 is a quarter of one; by default 1 if there are any.",
        rich_help_panel=PARALLEL,
    ),
]
TrialTimeout = Annotated[
    str | None,
    Option(
        "--trial-timeout",
        metavar="30m",
        help="Kill a trial that takes longer, and record it as failed.",
        rich_help_panel=PARALLEL,
    ),
]
Deterministic = Annotated[
    bool,
    Option(
        "--deterministic",
        metavar="",
        help="Propose in synchronous batches of --workers (or --at-once) trials: the trials then do not depend on the "
        "order in which they end. Workers are idle at the end of a batch.",
        rich_help_panel=PARALLEL,
    ),
]
Checkpoints = Annotated[
    str | None,
    Option(
        "--checkpoints",
        metavar="DIR|URL|none",
        help="Where running trials keep their checkpoints, reachable from all nodes; by default in the run folder.",
        rich_help_panel=PARALLEL,
    ),
]

# Experiment trackers

Tensorboard = Annotated[
    bool,
    Option(
        "--tensorboard", metavar="", help="Write TensorBoard event files into the run folder.", rich_help_panel=TRACKERS
    ),
]
Mlflow = Annotated[
    str | None,
    Option(
        "--mlflow",
        metavar="URI",
        help="Log to the MLflow server at this URI, such as http://host:5000.",
        rich_help_panel=TRACKERS,
    ),
]
Wandb = Annotated[
    str | None,
    Option(
        "--wandb",
        metavar="PROJECT",
        help="Log to this Weights & Biases project; needs --ray.",
        rich_help_panel=TRACKERS,
    ),
]

# Scaling

Target = Annotated[
    float,
    Option("--target", metavar="N", help="Factor of compute of one step of φ.", rich_help_panel=SIZES),
]
Phi = Annotated[
    str, Option("--phi", metavar="A..B", help="Members of the family: 1..7 or 0.5,1,2.", rich_help_panel=SIZES)
]
Coefficients = Annotated[
    str | None,
    Option(
        "--coefficients",
        metavar="α,β,γ",
        help="Factors of depth, width and resolution, such as 1.2,1.1,1.15, instead of a search for them; or "
        "published, for those of EfficientNet-B1 to B7.",
        rich_help_panel=SIZES,
    ),
]
Step = Annotated[float, Option("--step", metavar="N", help="Step of the grid of factors.", rich_help_panel=SIZES)]
Band = Annotated[
    str,
    Option(
        "--band", metavar="5%", help="Tolerance of a candidate's true MACs around the target.", rich_help_panel=SIZES
    ),
]
ScaledTask = Annotated[
    str | None,
    Option(
        "--task",
        metavar=_TASK,
        help="Deployment task, on which costs are counted; by default the network's own, and of a classic that of your "
        "images.",
        rich_help_panel=SIZES,
    ),
]
ScaledImageSize = Annotated[
    int | None,
    Option(
        "--image-size",
        metavar="N",
        help=f"{_IMAGE_SIZE} for the base, for counting costs and for training candidates; by default costs are "
        "counted as without --task, and image files are decoded at 32 to train candidates.",
        rich_help_panel=SIZES,
    ),
]
ScaledTrials = Annotated[
    int | None,
    Option(
        "--trials",
        metavar="N",
        help="Trials in all; by default all candidates that fit, and their confirmations.",
        rich_help_panel=LENGTH,
    ),
]
ScaledConfirm = Annotated[
    int | None,
    Option(
        "--confirm",
        metavar="K",
        help="Train the K best candidates three more times each, as the last trials; by default up to 3.",
        rich_help_panel=HOW,
    ),
]
ScaledName = Annotated[
    str | None,
    Option(
        "--name",
        metavar="NAME",
        help="Name of the run; by default made from the network's. An existing run is resumed.",
        rich_help_panel=KEPT,
    ),
]

# Costs of spaces and networks

BudgetOfSpace = Annotated[str | None, Option("--budget", metavar="BUDGET", help=_BUDGET)]
TaskOfSpace = Annotated[
    str | None,
    Option(
        "--task",
        metavar=_TASK,
        help="Deployment task, on which costs are counted; by default that of the latency table, or 224x224x3:1000.",
    ),
]
TaskOfNetwork = Annotated[
    str | None,
    Option("--task", metavar=_TASK, help="Images and classes; by default the network's own, or 224x224x3:1000."),
]
ImageSizeOfNetwork = Annotated[
    int | None,
    Option("--image-size", metavar="N", help=f"{_IMAGE_SIZE}; otherwise as without --task."),
]
SpaceOfNetwork = Annotated[
    str | None,
    Option("--space", metavar="file.py:object", help="Space of the network; required if it is your own."),
]
LatencyOfNetwork = Annotated[str | None, Option("--latency", metavar="FILE.json", help=_LATENCY)]

# Measuring

MeasuredSpace = Annotated[
    str | None,
    Option(
        "--space",
        metavar="SPACE",
        help="Make the latency table of this space; with networks, the space of the architectures.",
    ),
]
TableFile = Annotated[
    Path | None,
    Option("--out", metavar="FILE.json", help="File of the latency table. An unfinished table is continued."),
]
MeasuredBudget = Annotated[
    str | None,
    Option(
        "--budget",
        metavar="BUDGET",
        help="Budget of the networks that the table is fitted and checked on; by default none.",
    ),
]
Check = Annotated[
    int,
    Option("--check", metavar="N", help="Networks to fit the table on, and as many others to check it on."),
]
Runtime = Annotated[
    str | None,
    Option(
        "--runtime",
        metavar="NAME",
        help=f"Inference runtime: {_one_of(RUNTIMES)}; by default {RUNTIMES[0]} on a CPU if it is installed.",
    ),
]
MeasuredDevice = Annotated[
    str, Option("--device", metavar="NAME", help=f"Device to measure on: {_one_of(MEASURED_DEVICES)}.")
]
Threads = Annotated[int, Option("--threads", metavar="N", help="Threads of the runtime.")]
Batch = Annotated[int, Option("--batch", metavar="N", help="Images in a batch.")]

# Comparing strategies

RecordedTable = Annotated[
    Path,
    Option("--table", metavar="FILE.json", help="Recorded accuracies, by architecture."),
]
RecordedBudget = Annotated[
    str | None, Option("--budget", metavar="BUDGET", help="Upper bound on a network's costs, as in 'nas search'.")
]
RecordedTask = Annotated[str, Option("--task", metavar=_TASK, help="Deployment task, on which costs are counted.")]
RecordedSpace = Annotated[str, Option("--space", metavar="SPACE", help=_SPACE)]
TrialsOfEach = Annotated[int, Option("--trials", metavar="N", help="Trials of each run.")]
Seeds = Annotated[int, Option("--seeds", metavar="K", help="Runs of each strategy, with the seeds 0 to K - 1.")]
Strategies = Annotated[
    str | None,
    Option(
        "--strategies", metavar="A,B,C", help="Strategies to compare; by default all with a single objective but grid."
    ),
]
Key = Annotated[
    str | None,
    Option(
        "--key",
        metavar="file.py:FUNCTION",
        help="Function from an architecture to its key in the table; by default the architecture's text form.",
    ),
]
Unit = Annotated[str, Option("--unit", metavar="NAME", help=f"Unit of the accuracies: {_one_of(UNITS)}.")]
Field = Annotated[
    str, Option("--field", metavar="NAME", help="Field of the accuracies, where the entries are objects.")
]
ConfirmOfEach = Annotated[
    int,
    Option("--confirm", metavar="K", help="Evaluate the K best networks again, within the trials; the mean decides."),
]
Jobs = Annotated[int, Option("--jobs", metavar="N", help="Parallel processes; they do not change the results.")]
BenchFolder = Annotated[Path, Option("--out", metavar="DIR", help="Folder for compare.html and results.json.")]

# Training, evaluation and prediction

TrainedData = Annotated[
    str | None,
    Option("--data", metavar="DATA", help=f"{_DATA} By default those of the run.", rich_help_panel=TRAINED),
]
ImageSize = Annotated[
    int | None,
    Option(
        "--image-size",
        metavar="N",
        help=f"{_IMAGE_SIZE}; by default those that the run counted costs at, or those of a scaled network, or those "
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
        help=f"Training recipe: {_one_of(RECIPES)}; auto is sgd, fitted to the number of images.",
        rich_help_panel=HOW,
    ),
]
RecipeSettings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the recipe, as in lr=0.05 or mixup=0. Repeatable.",
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
        help="Train with several workers on Ray: on this machine, or on the cluster at an address.",
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
    Option("--data", metavar="DATA", help="Other images of the same classes, all of which are evaluated."),
]
Weights = Annotated[
    str,
    Option(
        "--weights",
        metavar="NAME",
        help=f"Weights: {_one_of(WEIGHTS)}, where best are the averaged weights of the epoch with the highest "
        "validation accuracy.",
    ),
]
Views = Annotated[
    str,
    Option(
        "--views",
        metavar="NAME",
        help=f"Test-time augmentation, over which probabilities are averaged: {_one_of(VIEWS)}.",
    ),
]
Confusion = Annotated[
    Path | None, Option("--confusion", metavar="FILE.html", help="Draw the confusion matrix into this page.")
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
    Option("--int8", metavar="", help="Write ONNX quantized to 8 bits too, calibrated on training images."),
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
        metavar=_TASK,
        help="Images and classes of a network with random weights; by default the network's own.",
    ),
]
