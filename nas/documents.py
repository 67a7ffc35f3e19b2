"""Spaces, studies and trials as plain JSON values: `--json` prints them, the screens of `nas.commands` draw them.

One document, two readers: a number on the screen cannot differ from the number in the JSON. Results of other commands
stand beside what they are of, those of `nas scale` in `nas.scaling_documents`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from estimators.estimator import PREPARED_S, binomial_error
from nas.next_commands import look_commands, proxy_command, resume_command
from searchspaces import COSTS, SPACES, Budget, Classic, Feasible, Scaled, Task, UserError, nearest, space_named
from searchspaces.catalog import RANGES
from searchspaces.drawing import pieces
from searchspaces.files import read_json
from searchspaces.stage import PUBLISHED
from searchspaces.strides import halves, published, rule_of, strides_left_out

if TYPE_CHECKING:
    from searchspaces import Buildable, SearchSpace
    from studies import Study, Trial
    from studies.results import Confirmed

Document = dict[str, Any]


def finite(value: Any) -> Any:
    """A JSON value with null in place of NaN and of infinities, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def space_document(space: SearchSpace, task: Task, budget: Budget | None = None) -> Document:
    """The size of a space, the costs of its networks and, under a budget, the share of them that fits.

    Args:
        space: the whole of it, or what of it fits a budget already.
        task: the images that costs are counted on.
        budget: for a whole space.

    Raises:
        UserError: nothing fits; the message has the nearest budget that something meets.
    """
    bounded = space.budget is not None or budget is not None
    inside = space if isinstance(space, Feasible) else space.under(budget or Budget.parse("100%"), task)
    space = inside.whole
    fits = None
    if bounded:
        count = inside.counted(1 << 16)  # takes a fifth of a second; the bracket is narrower than three digits
        share = [count.low / space.size, count.high / space.size]
        fits = {"low": count.low, "high": count.high, "share": share, "draws": count.draws}
    return {
        "space": space.name,
        "doc": space.doc,
        "size": space.size,
        "task": str(task),
        "budget": str(inside.budget) if bounded else None,
        "strides": rule_of(space),
        "strides_left_out": strides_left_out(space, task),
        "draws": inside.draws,
        "smallest": inside.smallest.told(),
        "largest": inside.largest.told(),
        "fits": fits,
        "references": [
            {"name": name, **each.cost(task).told(), "fits": not bounded or inside.budget.admits(each.cost(task))}
            for name, each in space.references.items()
        ],
        "decisions": [{"name": one.name, "options": list(one.options)} for one in space.decisions],
    }


def strides_document(found: Buildable, task: Task) -> Document:
    """The rule for a network's strides, and the stages that it leaves them out of on a task's images.

    The rule is None where there is none: in spaces of a class of one's own.
    """
    architecture = found.architecture
    if isinstance(found, Classic):
        rule: str | None = found.strides
    else:
        rule = None if architecture is None else rule_of(architecture.space)
    if rule is None or rule == PUBLISHED:
        return {"rule": rule, "left_out": []}
    large = replace(task, image_size=max(task.image_size, Task().image_size), latency=None)  # one that is always taken
    if isinstance(found, Classic):
        whole = found.under(PUBLISHED).network(large)
    else:
        assert architecture is not None
        whole = Scaled(published(architecture), found.scale, large).network()
    both = pieces(whole, large.shape), pieces(found.network(task), task.shape)
    halved, kept = ([piece.label for piece in several if halves(piece)] for several in both)
    return {"rule": rule, "left_out": [label for label in halved if label not in kept]}


def spaces_document() -> Document:
    """Every space that has a name."""
    made = [space_named(name) for name in SPACES]
    return {
        "spaces": [
            {
                "name": each.name,
                "size": each.size,
                "macs": list(RANGES[each.name]),
                "references": list(each.references),
                "doc": each.doc,
            }
            for each in made
        ]
    }


def study_document(study: Study) -> Document:
    """The settings of a study, its progress, and the best networks that it found."""
    from studies.proxy_agreement import agreement
    from studies.results import STATES, state_of
    from studies.trial import device_seconds

    manifest, trials, at_work = study.manifest, study.trials, study.is_running
    states = Counter(state_of(trial, at_work) for trial in trials)
    complete = [trial for trial in trials if trial.state == "complete"]
    files = _files(study)
    prepared_s = next((trial.details[PREPARED_S] for trial in trials if PREPARED_S in trial.details), None)
    return {
        "run": None if study.folder is None else str(study.folder),
        "space": manifest.space["name"],
        "task": manifest.task,
        "budget": manifest.budget,
        "budget_typed": manifest.budget_typed,
        "strategy": {"name": manifest.strategy["name"], "settings": dict(manifest.strategy["resolved"])},
        "estimator": dict(manifest.estimator["resolved"]),
        "prescreen": manifest.prescreen,
        "pruner": manifest.pruner,
        "inheritance": _inheritance(study),
        "extrapolation": _extrapolation(study),
        "wave": manifest.wave,
        "seed": manifest.seed,
        "planned": manifest.total,
        "confirm": manifest.confirm,
        "confirmed": [_confirmed(each) for each in _leaders(study)],
        "confirmations": sum(trial.confirms is not None for trial in trials),
        "trials": {state: states[state] for state in STATES},
        "at_work": at_work,
        "failures": dict(Counter(trial.reason or "no reason given" for trial in trials if trial.state == "failed")),
        "seconds": sum(map(device_seconds, trials)),
        **({} if prepared_s is None else {PREPARED_S: prepared_s}),
        "best": _found(study, [study.best])[0] if complete else None,
        "near_best": [trial.number for trial in study.near_best] if complete else [],
        "proxy_agreement": None if (ranked := agreement(study)) is None else {**asdict(ranked), "told": ranked.told()},
        "proxy_command": proxy_command(study),
        "against": axis(study),
        **({"front_of": list(study.front_of)} if study.front_of else {}),
        "pareto": _found(study, study.pareto(axis(study))) if complete else [],
        "files": files,
        "looks": look_commands(study, files) if complete and files else [],
        "more": _more(study),
    }


def _more(study: Study) -> str | None:
    """The command that makes the trials that are left, else twice as many; None where the space is used up, and where
    a search by time alone has no trial that ended."""
    ended, total = sum(trial.rank is not None for trial in study.trials), study.manifest.total
    to_go = 2 * ended if total is None or ended >= total else total
    return None if _used_up(study) or not to_go else resume_command(study, to_go)


def _used_up(study: Study) -> bool:
    """Whether every network that fits was tried, so that a search finds nothing new: as its strategy said, or as the
    space is small."""
    if study.manifest.used_up_at == len(study.trials):
        return True
    tried = len({trial.architecture for trial in study.trials if trial.confirms is None})
    if study.manifest.replicas or not tried or study.space.size > SMALL:
        return False
    return tried >= (study.feasible.counted(SMALL).high if isinstance(study.feasible, Feasible) else study.space.size)


SMALL: Final = 1 << 16
"""Architectures of a space that is counted whole in an instant."""


def _extrapolation(study: Study) -> Document | None:
    """How far extrapolated curves hold on complete trials, and the pruned trials that may have ended above the best."""
    if (checked := study.extrapolation) is None:
        return None
    named = []
    for each in study.may_exceed:
        low, high = each.final.interval
        expected = {"accuracy": each.final.mean, "deviation": each.final.deviation, "low": low, "high": high}
        named.append({"number": each.number, **expected, "chance": each.chance})
    return {**asdict(checked), "at": [asdict(each) for each in checked.at], "may_exceed": named}


def trials_document(study: Study, order: str = "number") -> Document:
    """Every trial of a study.

    Args:
        study: opened.
        order: a key of `ORDERS`; accuracy, as the best is chosen by, from the highest, everything else from the lowest,
            what has none last.

    Raises:
        UserError: there is no such order.
    """
    from studies.pages.pareto import show_command
    from studies.results import best, complete

    if order not in ORDERS:
        raise UserError(f"unknown order {order!r}{nearest(order, ORDERS)}")
    several = trial_documents(study, study.trials)
    sign = -1 if order == "accuracy" else 1
    decides = {each.number: each.accuracy for each in complete(study.trials)}

    def place(one: Document) -> tuple[bool, float, int]:
        value = one[ORDERS[order]]
        value = decides.get(one["number"], value) if order == "accuracy" else value
        return value is None, 0.0 if value is None else sign * value, one["number"]

    found = best(study.trials)
    return {
        "run": None if study.folder is None else str(study.folder),
        "estimates": study.manifest.estimator["resolved"].get("estimates"),
        "best": None if found is None else found.number,
        "show": None if study.folder is None else show_command(study),
        "trials": sorted(several, key=place),
    }


ORDERS: Final = {"number": "number", "accuracy": "accuracy", "macs": "macs", "params": "params", "time": "seconds"}
"""What trials are listed by, and the key of it in their documents."""


def _found(study: Study, trials: Sequence[Trial]) -> list[Document]:
    """Networks with the accuracies that the study goes by, and as `observed` those of their own trainings."""
    several = trial_documents(study, [study.trials[each.number] for each in trials])
    return [
        {**document, "accuracy": each.accuracy, "observed": document["accuracy"]}
        for each, document in zip(trials, several, strict=True)
    ]


def _inheritance(study: Study) -> Document | None:
    """What trials took over from others, and what is kept for that; None where each is trained from scratch."""
    if not study.manifest.inherit:
        return None
    from studies.inheritance import BYTES, leaders

    kept = leaders(study.trials)
    return {
        "children": sum(isinstance(trial.details.get("inherited"), Mapping) for trial in study.trials),
        "kept": len(kept),
        "bytes": sum(trial.details[BYTES] for trial in kept),
    }


def _files(study: Study) -> dict[str, str]:
    """The files of a run folder that exist, by purpose, and the URL of a ledger that is elsewhere."""
    from studies import folder as names

    ledger = study.manifest.ledger
    known = {
        "plot": names.PLOT,
        "network": names.BEST,
        "family": names.FAMILY,
        "family plot": names.FAMILY_PLOT,
        "table": names.TABLE,
        "ledger": names.LEDGERS.get(ledger, ""),
        "manifest": names.MANIFEST,
        "latency": names.LATENCY,
        "shared weights": names.SUPERNET,
    }
    made = {} if study.folder is None else {name: study.folder / file for name, file in known.items() if file}
    files = {name: str(path) for name, path in made.items() if path.exists()}
    if "family" in files and not _family_is_of(study, Path(files["family"])):
        files = {name: path for name, path in files.items() if name not in ("family", "family plot")}
    return {**files, "ledger": ledger} if "://" in ledger else files


def _family_is_of(study: Study, path: Path) -> bool:
    """Whether a family was made after all trials of its study that have ended; another may have other factors.

    Early versions did not write how many had ended: theirs are shown. After none of them there is only what is wanted.
    """
    try:
        family = read_json(path, "the family")
    except UserError:
        return False
    trials = family.get("trials") if isinstance(family, dict) else None
    ended = trials.get("ended") if isinstance(trials, dict) else None
    return ended is None or (ended > 0 and bool(ended == sum(trial.rank is not None for trial in study.trials)))


def _leaders(study: Study) -> list[Confirmed]:
    """Confirmed networks, the best first."""
    from studies.results import merit

    return sorted(study.confirmed, key=lambda each: merit(each.mean, each.trial.cost.macs, each.trial.number))


def axis(study: Study) -> str:
    """The cost that accuracy is plotted against: the first among the study's objectives, else MACs, or latency if that
    alone is bounded."""
    bounded = [bound.cost for bound in study.budget.bounds] if study.budget else []
    if bounded == ["latency_ms"] and not study.manifest.strategy["resolved"].get("objectives"):
        return "latency_ms"
    return next((name for name in study.objectives if name in COSTS), "macs")


def _confirmed(one: Confirmed) -> Document:
    """A confirmed network with the accuracies of its trainings, in [0, 1]."""
    return {
        "number": one.trial.number,
        "mean": one.mean,
        "standard_error": None if math.isnan(one.standard_error) else one.standard_error,
        "accuracies": list(one.accuracies),
        **one.trial.cost.told(),
    }


def trial_documents(study: Study, trials: Sequence[Trial]) -> list[Document]:
    """Everything recorded about trials of a study, and what it makes of their accuracies.

    `accuracy` is that of a trial's own training, and `observed_standard_error` its standard error; `adjusted` is what
    is believed of it, and `mean` that over all trainings of a confirmed network. `standard_error` is that of the number
    which decides: the mean, else what is believed, else what was observed.
    """
    from studies.results import state_of

    at_work, images, adjusted, errors = study.is_running, study.judged_by, study.adjusted, study.standard_errors
    means = {each.trial.number: each.mean for each in study.confirmed}

    def observed_error(trial: Trial) -> float | None:
        on = images or (trial.details["val_images"] if trial.number in adjusted else None)
        return None if trial.accuracy is None or on is None else binomial_error(trial.accuracy, on)

    return [
        {
            "number": trial.number,
            "state": state_of(trial, at_work),
            "accuracy": trial.accuracy,
            "observed_standard_error": observed_error(trial),
            "adjusted": adjusted.get(trial.number),
            "mean": means.get(trial.number),
            "standard_error": errors.get(trial.number),
            **trial.cost.told(),
            "seconds": trial.seconds,
            "curve": list(trial.curve),
            "rungs": list(trial.rungs),
            "extrapolated": None if (found := study.extrapolated(trial.number)) is None else dict(found),
            "reason": trial.reason,
            "confirms": trial.confirms,
            "parent": trial.parent,
            "words": trial.architecture.words(),
            "architecture": {"space": trial.architecture.space.name, "choices": trial.architecture.choices},
            "details": dict(trial.details),
            "started": None if trial.started is None else trial.started.isoformat(),
            "ended": None if trial.ended is None else trial.ended.isoformat(),
        }
        for trial in trials
    ]


def trial_document(study: Study, trial: Trial) -> Document:
    """One trial of a study, with the unit of its estimates if they are no accuracies."""
    unit = study.manifest.estimator["resolved"].get("estimates")
    return {**trial_documents(study, [trial])[0], **({} if unit is None else {"estimates": unit})}
