"""Options on runs and networks that exist: which one, what it costs, how fast it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from nas.commands.options.words import (
    BUDGET_HELP,
    CLASSIC_ORDERS,
    COST_ROWS,
    LATENCY_HELP,
    MEASURED_DEVICES,
    NETWORK_HELP,
    REQUIRED_AGAIN_HELP,
    RUNTIMES,
    SIZE_HELP,
    SPACE_HELP,
    TASK_FORM,
    TRIAL_ORDERS,
    one_of,
)

# Every command

Json = Annotated[bool, Option("--json", help="Print one JSON object instead.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print only the result.")]

# Runs and networks

Run = Annotated[str, Argument(metavar="RUN", help="Run folder, such as runs/first.")]
Runs = Annotated[list[str], Argument(metavar="RUN", help="Run folders, such as runs/first.")]
RunOrNetwork = Annotated[
    str,
    Argument(metavar="RUN|NETWORK", help=f"Run folder, such as runs/first; {NETWORK_HELP}."),
]
BestOrNetwork = Annotated[
    str,
    Argument(metavar="RUN|NETWORK", help=f"Run folder, such as runs/first, for its best network; {NETWORK_HELP}."),
]
Network = Annotated[
    str,
    Argument(
        metavar="NETWORK",
        help=f"{NETWORK_HELP[0].upper()}{NETWORK_HELP[1:]}; a run folder, for its best network; file.py:object.",
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
        help=f"Folder written by 'nas train'; or, with random weights, a run folder; {NETWORK_HELP}.",
    ),
]
Trained = Annotated[str, Argument(metavar="TRAINED", help="Folder written by 'nas train'.")]
SeveralTrained = Annotated[
    list[str],
    Argument(metavar="TRAINED", help="Folders written by 'nas train'; the probabilities of several are averaged."),
]
Images = Annotated[list[str], Argument(metavar="IMAGE", help="Image files or folders of them.")]
SpaceName = Annotated[str, Argument(metavar="SPACE", help=SPACE_HELP)]
SettingsOf = Annotated[
    str | None,
    Argument(metavar="NAME", help="A strategy, an estimator, or recipe; all by default.", show_default=False),
]
NamePart = Annotated[
    str, Argument(metavar="PART", help="Show only networks with this text in their names.", show_default=False)
]

BudgetOfClassics = Annotated[
    str | None, Option("--budget", metavar="BUDGET", help="List only networks within these costs, such as 300M..400M.")
]
TaskOfClassics = Annotated[
    str | None,
    Option("--task", metavar=TASK_FORM, help="Images and classes to count costs on; by default each network's own."),
]
ClassicsSorted = Annotated[
    str, Option("--sort", metavar="COLUMN", help=f"Order of the list: {one_of(CLASSIC_ORDERS)}.")
]
ClassicsPlot = Annotated[
    Path | None,
    Option(
        "--plot",
        metavar="FILE",
        help="Plot published top-1 accuracy on ImageNet against MACs: a page (.html) or a picture (.png, .svg, .pdf).",
    ),
]

# Runs that exist

TrialsInAll = Annotated[
    int | None, Option("--trials", metavar="N", help="Total number of trials; by default as many as were planned.")
]
OwnSpace = Annotated[str | None, Option("--space", metavar="file.py:object", help=REQUIRED_AGAIN_HELP)]
OwnStrategy = Annotated[str | None, Option("--strategy", metavar="file.py:object", help=REQUIRED_AGAIN_HELP)]
OwnEstimator = Annotated[str | None, Option("--estimator", metavar="file.py:object", help=REQUIRED_AGAIN_HELP)]
OwnKey = Annotated[
    str | None,
    Option("--key", metavar="file.py:FUNCTION", help="Required again if the table's key is your own function."),
]
MovedData = Annotated[
    str | None, Option("--data", metavar="DATA", help="New location of the run's images, if they have moved.")
]
LedgerUrl = Annotated[
    str | None,
    Option(
        "--ledger", metavar="URL", help="URL of the ledger, required again if it has a password; or set PGPASSWORD."
    ),
]
TrialNumber = Annotated[
    int | None, Option("--trial", metavar="N", help="Show everything known about one trial of the run.")
]
AllTrials = Annotated[bool, Option("--all", help="List every trial of the run.")]
SortedBy = Annotated[
    str | None,
    Option("--sort", metavar="COLUMN", help=f"Order of the list: {one_of(TRIAL_ORDERS)}; needs --all."),
]
Port = Annotated[int, Option("--port", metavar="N", help="Port on this machine.")]
RunsListed = Annotated[Path, Argument(metavar="DIR", help="Folder that contains the runs.")]
OfTrial = Annotated[
    int | None,
    Option("--trial", metavar="N", help="Trial N of the run instead of its best; RUN:N is the same."),
]
RingedTrial = Annotated[
    int | None,
    Option("--trial", metavar="N", help="Circle and label trial N; the page is pareto-trial-N.html by default."),
]
Svg = Annotated[
    Path | None,
    Option("--svg", metavar="FILE.svg", help="Also draw the network; for a run, its best network or that of --trial."),
]
Filters = Annotated[
    Path | None,
    Option("--filters", metavar="FILE.png", help="Draw the filters of the first convolution of a trained network."),
]
ParetoPage = Annotated[
    Path | None,
    Option(
        "--out",
        metavar="FILE",
        help="File to write: a page (.html) or a picture (.png, .svg, .pdf); by default pareto.html in the run folder.",
    ),
]
ReportPage = Annotated[
    Path | None,
    Option("--out", metavar="FILE.html", help="Page to write; by default report.html in the first run folder."),
]
TrialsCompared = Annotated[
    int | None,
    Option("--trials", metavar="N", help="Compare after N trials; by default as many as the shortest run has."),
]
CurvesPage = Annotated[
    Path | None,
    Option("--out", metavar="FILE.html", help="Write a page with the curves to this file."),
]

# Costs of spaces and networks

BudgetOfSpace = Annotated[str | None, Option("--budget", metavar="BUDGET", help=BUDGET_HELP)]
TaskOfSpace = Annotated[
    str | None,
    Option(
        "--task",
        metavar=TASK_FORM,
        help="Deployment task on which costs are counted; by default that of the latency table, or 224x224x3:1000.",
    ),
]
TaskOfNetwork = Annotated[
    str | None,
    Option("--task", metavar=TASK_FORM, help="Images and classes; by default the network's own, or 224x224x3:1000."),
]
ImageSizeOfNetwork = Annotated[
    int | None,
    Option("--image-size", metavar="N", help=f"{SIZE_HELP}; everything else as without --task."),
]
SpaceOfNetwork = Annotated[
    str | None,
    Option("--space", metavar="file.py:object", help="Space of the network; required if it is your own."),
]
CostsBy = Annotated[
    str, Option("--by", metavar="ROWS", help=f"Rows of the table: one per {one_of(COST_ROWS)} of layer.")
]
LatencyOfNetwork = Annotated[str | None, Option("--latency", metavar="FILE.json", help=LATENCY_HELP)]

# Measuring

MeasuredSpace = Annotated[
    str | None,
    Option(
        "--space",
        metavar="SPACE",
        help="Build the latency table of this space; with networks, the space of the architectures.",
    ),
]
TableFile = Annotated[
    Path | None,
    Option("--out", metavar="FILE.json", help="File for the latency table. An unfinished table is resumed."),
]
MeasuredBudget = Annotated[
    str | None,
    Option(
        "--budget",
        metavar="BUDGET",
        help="Budget for the networks on which the table is fitted and checked; by default none.",
    ),
]
Check = Annotated[
    int,
    Option("--check", metavar="N", help="Number of networks to fit the table on; as many others are used to check it."),
]
Runtime = Annotated[
    str | None,
    Option(
        "--runtime",
        metavar="NAME",
        help=f"Inference runtime: {one_of(RUNTIMES)}; by default {RUNTIMES[0]} on a CPU if it is installed.",
    ),
]
MeasuredDevice = Annotated[
    str, Option("--device", metavar="NAME", help=f"Device to measure on: {one_of(MEASURED_DEVICES)}.")
]
Threads = Annotated[int, Option("--threads", metavar="N", help="Number of threads of the runtime.")]
Batch = Annotated[int, Option("--batch", metavar="N", help="Batch size.")]
