"""Options of a study: what is searched or scaled, how long, how, where it is kept and where its trials run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option

from nas.commands.options.words import (
    BUDGET_HELP,
    COUNTED_BUDGET_HELP,
    DATA_HELP,
    DEVICES,
    ESTIMATORS,
    HOW,
    IMAGES,
    KEPT,
    LATENCY_HELP,
    LEDGERS,
    LENGTH,
    METRICS,
    PARALLEL,
    PEERS,
    PRUNERS,
    SCORES,
    SEARCHED,
    SIZE_HELP,
    SIZES,
    SPACE_HELP,
    STRATEGIES,
    TASK_FORM,
    TRACKERS,
    UNITS,
    one_of,
)

# What is searched, and on what

Space = Annotated[str, Option("--space", metavar="SPACE", help=SPACE_HELP, rich_help_panel=SEARCHED)]
Budget = Annotated[str, Option("--budget", metavar="BUDGET", help=BUDGET_HELP, rich_help_panel=SEARCHED)]
CountedBudget = Annotated[str, Option("--budget", metavar="BUDGET", help=COUNTED_BUDGET_HELP, rich_help_panel=SEARCHED)]
Data = Annotated[str, Option("--data", metavar="DATA", help=DATA_HELP, rich_help_panel=SEARCHED)]
Task = Annotated[
    str | None,
    Option(
        "--task",
        metavar=TASK_FORM,
        help="Deployment task on which costs are counted: image height, width and channels, and number of classes. "
        "By default that of your images; with digits, that of the latency table or 224x224x3:1000.",
        rich_help_panel=SEARCHED,
    ),
]
SearchedImageSize = Annotated[
    int | None,
    Option(
        "--image-size",
        metavar="N",
        help=f"{SIZE_HELP}, for counting costs and for training candidates; by default costs are counted at the size "
        "of your images, at most 224, and image files are decoded at 32 to train candidates.",
        rich_help_panel=SEARCHED,
    ),
]
Strides = Annotated[
    str | None,
    Option(
        "--strides",
        metavar="RULE",
        help="Strides for images too small to be halved that often: small-images, as the space is declared, drops "
        "the first ones; published keeps them all, like --space SPACE@published.",
        show_default="small-images",
        rich_help_panel=SEARCHED,
    ),
]
Latency = Annotated[
    str | None,
    Option("--latency", metavar="FILE.json", help=LATENCY_HELP, rich_help_panel=SEARCHED),
]

SkipBad = Annotated[
    bool,
    Option(
        "--skip-bad",
        help="Skip files that cannot be read as images and class folders without files; by default the first one is "
        "an error.",
        rich_help_panel=IMAGES,
    ),
]
MaxPixels = Annotated[
    int | None,
    Option(
        "--max-pixels",
        metavar="N",
        help="Largest image to decode, in pixels; 178956970 by default. JPEGs are decoded at a reduced size.",
        rich_help_panel=IMAGES,
    ),
]

Cache = Annotated[
    str | None,
    Option(
        "--cache",
        metavar="DIR|none",
        help="Folder where decoded images are cached, or none to cache nothing; by default NAS_CACHE, or nas in the "
        "user's cache folder.",
        rich_help_panel=IMAGES,
    ),
]
CentreCrop = Annotated[
    float | None,
    Option(
        "--centre-crop",
        metavar="SHARE",
        help="Side of the centre crop of an image file, as a fraction of its shorter side; 0.875 is usual on "
        "ImageNet, where 256 pixels are cropped to 224.",
        show_default="1",
        rich_help_panel=IMAGES,
    ),
]
CacheFolder = Annotated[
    str | None,
    Option("--cache", metavar="DIR", help="Cache folder; by default NAS_CACHE, or nas in the user's cache folder."),
]
Empty = Annotated[bool, Option("--empty", help="Remove everything from the cache.")]

# How long

Trials = Annotated[
    int | None,
    Option("--trials", metavar="N", help="Total number of trials; 60 unless --time is given.", rich_help_panel=LENGTH),
]
Time = Annotated[
    str | None,
    Option(
        "--time",
        metavar="30m",
        help="Start no new trials after this much time: 90s, 30m, 1h30m.",
        rich_help_panel=LENGTH,
    ),
]

# How

Strategy = Annotated[
    str,
    Option(
        "--strategy",
        metavar="NAME",
        help=f"Search strategy: {one_of(STRATEGIES, 'optuna:SAMPLER', 'file.py:object')}.",
        rich_help_panel=HOW,
    ),
]
Estimator = Annotated[
    str,
    Option(
        "--estimator",
        metavar="NAME",
        help=f"How networks are judged: {one_of(ESTIMATORS, 'file.py:object')}.".replace("table", "table:FILE.json"),
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
        help="Objectives of the pareto strategy, such as accuracy,macs.",
        rich_help_panel=HOW,
    ),
]
Confirm = Annotated[
    str | None,
    Option(
        "--confirm",
        metavar="K|auto",
        help="Spend the last trials on training the K best networks three more times each; the mean accuracy "
        "decides. auto spends an eighth of the trials on retraining the leaders that are hardest to tell apart. "
        "Default: auto for single-objective searches that train networks, from 50 trials on; 0 disables it.",
        rich_help_panel=HOW,
    ),
]
Replicas = Annotated[
    bool,
    Option("--replicas", help="Allow a network to be trained more than once.", rich_help_panel=HOW),
]
Inherit = Annotated[
    bool,
    Option(
        "--inherit",
        help="Start each candidate, after the first eight, from the trained weights of the nearest earlier one, and "
        "train it for half the epochs (estimator.inherited). Accuracies are corrected for the training of earlier "
        "ones; --confirm trains from scratch.",
        rich_help_panel=HOW,
    ),
]
Metric = Annotated[
    str | None,
    Option(
        "--metric",
        metavar="NAME",
        help=f"Metric to compare networks by: {one_of(METRICS)}. top-1 is accuracy on the validation images; balanced "
        "is its mean over classes, for imbalanced data; training-loss is not an accuracy, but may rank networks "
        "better.",
        rich_help_panel=HOW,
    ),
]
Prescreen = Annotated[
    str | None,
    Option(
        "--prescreen",
        metavar="SCORE:N",
        help="For each trial, ask the strategy for N proposals and train the one with the highest zero-cost score, "
        f"as in zico:8: {one_of(SCORES)}.",
        rich_help_panel=HOW,
    ),
]
Pruner = Annotated[
    str,
    Option(
        "--pruner",
        metavar="NAME",
        help=f"Stop unpromising trials early: {one_of(PRUNERS)}. curves stops those whose chance of becoming the best "
        "(or of joining the Pareto front) is below 10%; curves:0.05 makes it 5%.",
        rich_help_panel=HOW,
    ),
]
StudySettings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="TARGET.NAME=VALUE",
        help="Change a setting of the strategy or the estimator, as in estimator.epochs=8; nas settings lists them. "
        "Repeatable.",
        rich_help_panel=HOW,
    ),
]
Seed = Annotated[int, Option("--seed", metavar="N", help="Random seed.", rich_help_panel=HOW)]
Device = Annotated[
    str,
    Option("--device", metavar="NAME", help=f"Device to train on: {one_of(DEVICES)}.", rich_help_panel=HOW),
]

# Where it is kept

Name = Annotated[
    str | None,
    Option(
        "--name",
        metavar="NAME",
        help="Name of the run; by default derived from space, budget and data. An existing run is resumed.",
        rich_help_panel=KEPT,
    ),
]


def _kept(ledger: str) -> str:
    """The ledger of a run folder, which another command must be able to read."""
    if ledger == "memory":
        raise BadParameter(
            "trials in memory are lost when the command ends, and its run folder could never be opened again: use "
            "sqlite, journal or postgresql://host/name"
        )
    return ledger


RunsFolder = Annotated[
    Path, Option("--out", metavar="DIR", help="Folder that contains the run folders.", rich_help_panel=KEPT)
]
Ledger = Annotated[
    str,
    Option(
        "--ledger",
        metavar="LEDGER",
        help=f"Where trials are recorded: {one_of(LEDGERS)}, in the run folder; or postgresql://host/name, which "
        "several drivers can share.",
        callback=_kept,
        rich_help_panel=KEPT,
    ),
]

# Parallel trials

Ray = Annotated[
    str | None,
    Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Run trials on Ray: on this machine (no address, or local), or on the cluster at an address: auto or "
        "host:6379.",
        rich_help_panel=PARALLEL,
    ),
]
Workers = Annotated[
    int | None,
    Option(
        "--workers",
        metavar="N",
        help="Number of parallel trials; by default one per core (NAS_CORES, if set) or GPU. With 1, a seed "
        "reproduces a search exactly.",
        rich_help_panel=PARALLEL,
    ),
]
AtOnce = Annotated[
    int | None,
    Option(
        "--at-once",
        metavar="K",
        help="Number of trials that take turns in this process, for a GPU that a single trial does not fill; by "
        "default as many as increase throughput in images per second, measured as the search begins.",
        rich_help_panel=PARALLEL,
    ),
]
CpusPerTrial = Annotated[
    float | None,
    Option(
        "--cpus-per-trial",
        metavar="N",
        help="CPU cores per trial; by default the estimator's number of threads.",
        rich_help_panel=PARALLEL,
    ),
]
GpusPerTrial = Annotated[
    float | None,
    Option(
        "--gpus-per-trial",
        metavar="N",
        help="GPUs per trial; 0.25 is a quarter of one. By default 1 if there are any.",
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
        help="Propose trials in synchronous batches of --workers (or --at-once), so that proposals do not depend on "
        "the order in which trials finish. Workers idle at the end of each batch.",
        rich_help_panel=PARALLEL,
    ),
]
Checkpoints = Annotated[
    str | None,
    Option(
        "--checkpoints",
        metavar="DIR|URL|none",
        help="Where running trials save their checkpoints; must be reachable from all nodes. By default in the run "
        "folder.",
        rich_help_panel=PARALLEL,
    ),
]

# Experiment trackers

Tensorboard = Annotated[
    bool,
    Option("--tensorboard", help="Write TensorBoard event files into the run folder.", rich_help_panel=TRACKERS),
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
    Option("--target", metavar="N", help="Compute multiplier per step of φ.", rich_help_panel=SIZES),
]
Phi = Annotated[
    str, Option("--phi", metavar="A..B", help="Members of the family: 1..7 or 0.5,1,2.", rich_help_panel=SIZES)
]
Coefficients = Annotated[
    str | None,
    Option(
        "--coefficients",
        metavar="α,β,γ",
        help="Factors for depth, width and resolution to use instead of searching for them, such as 1.2,1.1,1.15; "
        "published for those of EfficientNet-B1 to B7; or, by the rules of ResNet-RS, resnet-rs (scale depth, for "
        "long training) or resnet-rs-short (scale width).",
        rich_help_panel=SIZES,
    ),
]
Step = Annotated[float, Option("--step", metavar="N", help="Step size of the grid of factors.", rich_help_panel=SIZES)]
Band = Annotated[
    str,
    Option(
        "--band", metavar="5%", help="Tolerance for a candidate's true MACs around the target.", rich_help_panel=SIZES
    ),
]
Growth = Annotated[
    str | None,
    Option(
        "--growth",
        metavar="COST=N,...",
        help="Bounds on a candidate's costs other than MACs, as multiples of the base network's: "
        "params=1.8,activations=1.6, or peak_activation_bytes.",
        rich_help_panel=SIZES,
    ),
]
ScaledData = Annotated[
    str | None,
    Option(
        "--data",
        metavar="DATA",
        help=f"{DATA_HELP} By default those of the run, or digits.",
        rich_help_panel=SEARCHED,
    ),
]
ScaledTask = Annotated[
    str | None,
    Option(
        "--task",
        metavar=TASK_FORM,
        help="Deployment task on which costs are counted; by default the network's own or, for a classic, that of "
        "your images.",
        rich_help_panel=SIZES,
    ),
]
ScaledImageSize = Annotated[
    int | None,
    Option(
        "--image-size",
        metavar="N",
        help=f"{SIZE_HELP} for the base, for counting costs and for training candidates; by default costs are "
        "counted as without --task, and image files are decoded at 32 to train candidates.",
        rich_help_panel=SIZES,
    ),
]
ScaledTrials = Annotated[
    int | None,
    Option(
        "--trials",
        metavar="N",
        help="Total number of trials; by default all candidates that fit, plus confirmations.",
        rich_help_panel=LENGTH,
    ),
]
ScaledConfirm = Annotated[
    str | None,
    Option(
        "--confirm",
        metavar="K|auto",
        help="Spend the last trials on training the K best candidates three more times each, or auto, as in 'nas "
        "search'; by default up to 3.",
        rich_help_panel=HOW,
    ),
]
ScaledName = Annotated[
    str | None,
    Option(
        "--name",
        metavar="NAME",
        help="Name of the run; by default derived from the network's. An existing run is resumed.",
        rich_help_panel=KEPT,
    ),
]

# Comparing strategies

RecordedTable = Annotated[
    Path | None,
    Option("--table", metavar="FILE.json", help="Table of recorded accuracies by architecture."),
]
RecordedEstimator = Annotated[
    str | None,
    Option(
        "--estimator",
        metavar="file.py:OBJECT",
        help="Your own estimator or surrogate in place of the table. Its mean(architecture), if it has one, gives the "
        "true accuracy.",
    ),
]
RecordedBudget = Annotated[
    str | None,
    Option(
        "--budget",
        metavar="BUDGET",
        help="Upper bound on a network's costs, as in 'nas search': on the costs nas counts on --task or, with "
        "--cost, on those recorded in the table.",
    ),
]
RecordedCosts = Annotated[
    str | None,
    Option(
        "--cost",
        metavar="COST=FIELD[:UNIT]",
        help="Table field that holds a cost, as in macs=flops, macs=flops:M for millions (or K, G, T), or "
        "latency_ms=pixel3; separate several with commas. The budget then applies to these recorded numbers only.",
    ),
]
RecordedTask = Annotated[str, Option("--task", metavar=TASK_FORM, help="Deployment task on which costs are counted.")]
RecordedSpace = Annotated[
    str | None,
    Option(
        "--space",
        metavar="SPACE",
        help=f"{SPACE_HELP} By default the networks in the table, with the fields of their keys as decisions.",
    ),
]
TrialsOfEach = Annotated[
    str,
    Option(
        "--trials",
        metavar="N[,N...]",
        help="Trials per run. Several numbers compare searches of these lengths, read from a single run where "
        "settings and confirmations do not depend on the length.",
    ),
]
Seeds = Annotated[int, Option("--seeds", metavar="K", help="Runs per strategy, with seeds 0 to K - 1.")]
Strategies = Annotated[
    str | None,
    Option(
        "--strategies",
        metavar="A,B,C",
        help="Strategies to compare; by default all single-objective ones except grid. Searches from other packages, "
        f"run the way their users run them: {one_of(PEERS)}.",
    ),
]
PeersPython = Annotated[
    str | None,
    Option(
        "--peers-python",
        metavar="PYTHON",
        help="Another Python with Syne Tune or NNI installed, whose dependencies conflict with those of nas.",
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
Unit = Annotated[str, Option("--unit", metavar="NAME", help=f"Unit of the accuracies: {one_of(UNITS)}.")]
Field = Annotated[
    str, Option("--field", metavar="NAME", help="Field that holds the accuracies, if entries are objects.")
]
Judge = Annotated[
    str | None,
    Option(
        "--judge",
        metavar="NAME",
        help="Field that holds the true accuracies, such as test accuracies where --field holds validation "
        "accuracies; by default the same field.",
    ),
]
ConfirmOfEach = Annotated[
    str | None,
    Option(
        "--confirm",
        metavar="K|auto",
        help="Spend some of the trials on evaluating the K best networks again, as in 'nas search'; the mean "
        "decides. By default as in 'nas search': auto from 50 trials on, if a network's accuracies differ.",
    ),
]
Jobs = Annotated[int, Option("--jobs", metavar="N", help="Number of parallel processes; does not affect the results.")]
BenchFolder = Annotated[Path, Option("--out", metavar="DIR", help="Folder for compare.html and results.json.")]

# Comparing proxies

SampledNetworks = Annotated[
    int,
    Option(
        "--networks",
        metavar="N",
        help="Number of networks to draw uniformly from all that fit; a larger number extends an existing comparison.",
        rich_help_panel=HOW,
    ),
]
Proxies = Annotated[
    str | None,
    Option(
        "--proxies",
        metavar="A,B",
        help="Proxies: short (short training as in a search), settings of it such as epochs=2+width=1, supernet, "
        f"zero-cost scores ({one_of(SCORES)}), or table:FILE.json+key=file.py:key. MACs and parameters are always "
        "included.",
        show_default="short,epochs=2,width=1+depth=1,naswot,swap,zico",
        rich_help_panel=HOW,
    ),
]
Reference = Annotated[
    str | None,
    Option(
        "--reference",
        metavar="PROXY",
        help="Reference to compare proxies with, in the same form; by default full-size networks trained for "
        "--reference-epochs on all images.",
        rich_help_panel=HOW,
    ),
]
ReferenceEpochs = Annotated[
    int, Option("--reference-epochs", metavar="N", help="Number of epochs of each long training.", rich_help_panel=HOW)
]
TopOverlap = Annotated[
    int | None,
    Option(
        "--top",
        metavar="K",
        help="Number of networks that count as the best; the overlap with a proxy's own K best is reported. By "
        "default a quarter.",
        rich_help_panel=HOW,
    ),
]
Trainings = Annotated[
    int,
    Option(
        "--trainings",
        metavar="K",
        help="Long trainings per network (with a table, at most as many as it holds); two or more are needed to "
        "measure their noise.",
        rich_help_panel=HOW,
    ),
]
