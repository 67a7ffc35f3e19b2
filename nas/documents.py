"""What each command has to say, as plain JSON values: `--json` prints them, `nas.screens` draws them.

One document, two readers: a number on the screen cannot differ from the number in the JSON.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import (
    SPACES,
    Architecture,
    Budget,
    Classic,
    Feasible,
    Task,
    UserError,
    classic,
    load_object,
    space_named,
)
from searchspaces.layers import Chain, Conv, GlobalPool, Linear, Pool, ShapeError, SqueezeExcite, leaves

if TYPE_CHECKING:
    from searchspaces import Cost, SearchSpace
    from searchspaces.layers import Node
    from searchspaces.task import Shape
    from studies import Study, Trial

Document = dict[str, Any]

FILES: Final = {
    "plot": "pareto.html",
    "network": "best.json",
    "table": "trials.csv",
    "ledger": "ledger.db",
    "manifest": "study.json",
}
"""What may lie in a run folder, by what it is for."""


def space_document(space: SearchSpace, task: Task, budget: Budget | None = None) -> Document:
    """What a space holds, what its networks cost and, under a budget, how many of them fit.

    Args:
        space: the whole of it, or what of it fits a budget already.
        task: the images that costs are counted on.
        budget: for a whole space.

    Raises:
        UserError: nothing fits; the message has the nearest budget that something meets.
    """
    bounded = isinstance(space, Feasible) or budget is not None
    inside = space if isinstance(space, Feasible) else space.under(budget or Budget.parse("100%"), task)
    space = inside.space
    count = inside.counted()
    share = [count.low / space.size, count.high / space.size]
    fits = None if not bounded else {"low": count.low, "high": count.high, "share": share}
    return {
        "space": space.name,
        "doc": getattr(space, "doc", ""),
        "size": space.size,
        "task": str(task),
        "budget": str(inside.budget) if bounded else None,
        "smallest": asdict(inside.smallest),
        "largest": asdict(inside.largest),
        "fits": fits,
        "references": [
            {"name": name, **asdict(each.cost(task)), "fits": not bounded or inside.budget.admits(each.cost(task))}
            for name, each in space.references.items()
        ],
        "decisions": [{"name": one.name, "options": list(one.options)} for one in space.decisions],
    }


def spaces_document() -> Document:
    """Every space that has a name."""
    made = [space_named(name) for name in SPACES]
    return {
        "spaces": [
            {"name": each.name, "size": each.size, "references": list(each.references), "doc": getattr(each, "doc", "")}
            for each in made
        ]
    }


def cost_document(text: str, task: Task | None = None) -> Document:
    """What a network costs, stage by stage.

    Args:
        text: a classic's name, an architecture's text form or a file that holds one, or `file.py:object`: an
            architecture, or a torch module (or a function that returns one), which is counted by tracing.
        task: the images it is for; by default the classic's own, or 224 x 224 x 3 and 1000 classes.

    Raises:
        UserError: the text is none of these, or the network cannot take the task's images.
    """
    found = _named(text)
    task = task or (found.task if isinstance(found, Classic) else Task())
    document: Document = {"name": _title(text), "task": str(task), "paper": None, "architecture": None, "stages": []}
    if isinstance(found, Classic | Architecture):
        try:
            cost = found.cost(task)
            stages = list(_stages(found.network(task), task.shape, cost))
        except ShapeError as error:
            raise UserError(f"{_title(text)} cannot take images of {task}: {error}") from error
        architecture = found.architecture if isinstance(found, Classic) else found
        if architecture is not None:
            document["architecture"] = {"space": architecture.space.name, "choices": architecture.choices}
        document["paper"] = found.paper if isinstance(found, Classic) else None
        return {**document, "counted": "exactly", **asdict(cost), "stages": stages}
    from searchspaces.modules import traced_cost

    cost = traced_cost(found, task)
    # a trace does not tell the peak
    return {**document, "counted": "by tracing", **asdict(cost), "peak_activation_bytes": None}


def study_document(study: Study) -> Document:
    """What a study is, how far it came, and the best that it found."""
    manifest, trials = study.manifest, study.trials
    states = Counter(trial.state for trial in trials)
    complete = [trial for trial in trials if trial.state == "complete"]
    folder, planned = study.folder, manifest.trials or 1
    made = {} if folder is None else {name: folder / file for name, file in FILES.items()}
    return {
        "run": None if folder is None else str(folder),
        "space": manifest.space["name"],
        "task": manifest.task,
        "budget": manifest.budget,
        "strategy": {"name": manifest.strategy["name"], "settings": dict(manifest.strategy["settings"])},
        "estimator": dict(manifest.estimator["describe"]),
        "pruner": manifest.pruner,
        "seed": manifest.seed,
        "planned": manifest.trials,
        "trials": {state: states[state] for state in ("complete", "pruned", "failed", "running")},
        "failures": dict(Counter(trial.reason or "no reason given" for trial in trials if trial.state == "failed")),
        "seconds": sum(trial.seconds or 0.0 for trial in trials),
        "best": trial_document(study.best) if complete else None,
        "pareto": [trial_document(trial) for trial in study.pareto()] if complete else [],
        "files": {name: str(path) for name, path in made.items() if path.exists()},
        "more": resume_command(study, planned if len(trials) < planned else 2 * len(trials)),
    }


def resume_command(study: Study, trials: int | None = None) -> str:
    """What a person types to go on with a study.

    Args:
        study: one with a folder.
        trials: in all; by default as many as were planned.
    """
    words = ["nas", "resume", str(study.folder)]
    if trials is not None and trials != study.manifest.trials:
        words += ["--trials", str(trials)]
    for name in ("space", "strategy", "estimator"):
        origin = getattr(study.manifest, name)["origin"]
        if ".py:" in origin:  # code of one's own, which a run folder never loads by itself
            words += [f"--{name}", origin]
    return shlex.join(words)


def trial_document(trial: Trial) -> Document:
    """All that is known of one trial."""
    return {
        "number": trial.number,
        "state": trial.state,
        "accuracy": trial.accuracy,
        **asdict(trial.cost),
        "seconds": trial.seconds,
        "curve": list(trial.curve),
        "reason": trial.reason,
        "words": trial.architecture.words(),
        "architecture": {"space": trial.architecture.space.name, "choices": trial.architecture.choices},
        "details": dict(trial.details),
        "started": None if trial.started is None else trial.started.isoformat(),
        "ended": None if trial.ended is None else trial.ended.isoformat(),
    }


def _title(text: str) -> str:
    return "architecture" if text.lstrip().startswith("{") else text


def _named(text: str) -> Any:
    """The classic, architecture or torch module that a text means."""
    if text.lstrip().startswith("{"):
        return Architecture.from_json(text)
    if ".py:" in text:
        made = load_object(text)
        if isinstance(made, Classic | Architecture):
            return made
        from torch import nn

        module = made() if callable(made) and not isinstance(made, nn.Module) else made
        if not isinstance(module, nn.Module):
            raise UserError(f"{text} is {type(module).__name__}; not a torch module or a function that makes one")
        return module
    if text.endswith(".json"):
        try:
            return Architecture.from_json(Path(text).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {text}: {error}") from error
    return classic(text)


def _stages(network: Node, given: Shape, total: Cost) -> Iterator[Document]:
    """One row for each piece of the outermost chain."""
    steps = network.steps(given) if isinstance(network, Chain) else [(network, given)]
    for index, (node, shape) in enumerate(steps):
        cost = node.cost(shape)
        yield {
            "name": getattr(node, "label", "") or f"part{index + 1}",
            "blocks": len(node.children()) if isinstance(node, Chain) else 1,
            "layers": _layers(node, shape),
            "output": list(node.shape(shape)),
            **asdict(cost),
            "share_of_macs": cost.macs / max(total.macs, 1),
            "share_of_params": cost.params / max(total.params, 1),
        }


def _layers(node: Node, given: Shape) -> list[str]:
    """The kinds of layers inside that cost something or reduce the map, each once, in order.

    >>> from searchspaces.layers import Chain, Conv, Norm
    >>> _layers(Chain(Conv(8, 3, groups=8), Norm(), Conv(16, 1)), (8, 4, 4))
    ['dw 3x3', '1x1']
    """
    found: dict[str, None] = {}
    for leaf, shape in leaves(node, given):
        match leaf:
            case Conv():
                height, width = leaf.kernel_hw
                depthwise = leaf.groups == shape[0] > 1
                grouped = "dw " if depthwise else f"grouped({leaf.groups}) " if leaf.groups > 1 else ""
                found[f"{grouped}{height}x{width}"] = None
            case SqueezeExcite():
                found["SE"] = None
            case Linear():
                found["linear"] = None
            case Pool():
                found["pool"] = None
            case GlobalPool():
                found["global pool"] = None
            case _:
                pass
    return list(found)
