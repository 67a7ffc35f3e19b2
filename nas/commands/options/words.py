"""What several options say: names that people type, panels of the help, and sentences.

Names stand here as literals, since reading the tables would load NumPy or torch before the help is shown; a test
compares the two.
"""

from __future__ import annotations

from typing import Final

STRATEGIES: Final = ("evolution", "grid", "guided", "local-search", "pareto", "random", "rl", "tpe")
PEERS: Final = (
    *("peer:optuna-tpe", "peer:optuna-tpe-univariate", "peer:pyglove-evolution", "peer:pyglove-evolution-40-20"),
    *("peer:syne-tune-evolution", "peer:syne-tune-evolution-40-20", "peer:nni-evolution", "peer:nni-evolution-40-20"),
    "peer:nni-rl",
)
ESTIMATORS: Final = ("full-training", "short-training", "supernet", "table", "zero-cost")
SCORES: Final = (
    "naswot",
    "swap",
    "synflow",
    "snip",
    "grad-norm",
    "zico",
    "meco",
    "expressivity",
    "progressivity",
    "trainability",
)
PRUNERS: Final = ("none", "asha", "median", "curves")
DEVICES: Final = ("auto", "cpu", "cuda", "mps")
MEASURED_DEVICES: Final = ("cpu", "cuda")
RUNTIMES: Final = ("onnxruntime", "torch")
METRICS: Final = ("top-1", "balanced", "training-loss")
RECIPES: Final = ("auto", "sgd", "adamw", "resnet", "efficientnet")
FORMATS: Final = ("onnx", "torchscript", "torch-export", "python")
UNITS: Final = ("fraction", "percent")
WEIGHTS: Final = ("best", "last")
VIEWS: Final = ("one", "mirror", "ten-crop", "scales")
COST_ROWS: Final = ("stage", "type")
CLASSIC_ORDERS: Final = ("family", "name", "macs", "params", "top1")
TRIAL_ORDERS: Final = ("number", "accuracy", "macs", "params", "time")
LEDGERS: Final = ("sqlite", "journal")


def one_of(names: tuple[str, ...], *more: str) -> str:
    """A list in words.

    >>> one_of(("cpu", "cuda", "mps"))
    'cpu, cuda or mps'
    """
    *first, last = (*names, *more)
    return f"{', '.join(first)} or {last}"


SEARCHED: Final = "What to search"
LENGTH: Final = "How long"
HOW: Final = "How"
KEPT: Final = "Where to save it"
SIZES: Final = "What sizes"
IMAGES: Final = "Image files"
PARALLEL: Final = "Parallel trials"
TRAINED: Final = "What to train"
DATA_PARALLEL: Final = "Distributed training"
TRACKERS: Final = "Experiment trackers"

NETWORK_HELP: Final = "a classic's name; an architecture (JSON or its file)"
DATA_HELP: Final = (
    "Images: digits, a folder with one subfolder per class, an .npz file, or hub:NAME for a dataset on the Hugging "
    "Face Hub."
)
REQUIRED_AGAIN_HELP: Final = "Required again if the run was created with your own file.py:object."
SPACE_HELP: Final = "A name from 'nas spaces', or file.py:object."
COUNTED_BUDGET_HELP: Final = (
    "Upper bound on a network's costs: 400M (MACs), 360M..400M, macs=400M,params=5.3M, or 60% of the space's largest."
)
BUDGET_HELP: Final = (
    "Upper bound on a network's costs: 400M (MACs), 360M..400M, macs=400M,params=5.3M, 60% of the space's largest, or "
    "8ms (with --latency)."
)
LATENCY_HELP: Final = "Latency table made by 'nas measure': latency_ms becomes a cost, as in --budget 8ms."
TASK_FORM: Final = "HxWxC:N"
SIZE_HELP: Final = "Height and width of the images in pixels"
