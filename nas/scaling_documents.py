"""The results of `nas scale` as plain JSON values: the grid of factors, and the family that `family.json` holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from searchspaces import Architecture, Factors, ScalingSpace
from studies.results import complete, merit
from studies.scaling import PUBLISHED, Candidates, Member, family

if TYPE_CHECKING:
    from nas.documents import Document
    from nas.scaling import Family, ScalingPlan
    from studies import Study


def grid_document(plan: ScalingPlan, found: Candidates) -> Document:
    """The factors in the grid that satisfy the constraint on MACs."""
    space, base = plan.space, plan.space.base.cost()
    published = space.base.larger(PUBLISHED)
    return {
        "base": {"name": plan.name, "task": str(space.base.task), **base.told()},
        "target": space.target,
        "step": space.step,
        "band": space.band,
        "growth": None if space.growth is None else str(space.growth),
        "budget": str(space.target_budget),
        "options": {decision.name: list(decision.options) for decision in space.decisions},
        "triples": found.triples,
        "formula": [asdict(each) for each in found.formula],
        "true": found.true,
        "both": found.both,
        "candidates": [_candidate(space, each, base.macs) for each in found.networks],
        "published": {
            **asdict(PUBLISHED),
            "formula": PUBLISHED.formula,
            "ratio": published.cost().macs / base.macs,
            "place": found.formula.index(PUBLISHED) + 1 if PUBLISHED in found.formula else None,
        },
    }


def _candidate(space: ScalingSpace, architecture: Architecture, macs: int) -> Document:
    factors, network = space.factors(architecture), space.scaled(architecture)
    cost = network.cost()
    return {
        **asdict(factors),
        "formula": factors.formula,
        "ratio": cost.macs / macs,
        "image_size": network.task.image_size,
        **cost.told(),
    }


def base_document(plan: ScalingPlan) -> Document:
    """The base in `family.json`: its name and its text form."""
    return {"name": plan.name, **json.loads(plan.space.base.to_json())}


def family_document(found: Family) -> Document:
    """The contents of `family.json`."""
    plan, study = found.plan, found.study
    base = found.members[0].cost.macs
    rule = plan.settings.coefficients
    published = rule == "published"
    first = plan.settings.factors if study is None else plan.space.factors(study.best.architecture)
    how = "searched" if study is not None else rule if isinstance(rule, str) else "given"
    document: Document = {
        "base": base_document(plan),
        "target": plan.space.target,
        "coefficients": {"how": how, **(_told(first) if isinstance(first, Factors) else {})},
        "data": plan.data if study is None else study.manifest.data,
        "members": [_row(each, before, plan.folder) for each, before in _with_before(found.members)],
        "alone": {
            dimension: [
                {"phi": each.phi, "factor": getattr(each.factors, dimension), "macs_ratio": each.cost.macs / base,
                 "task": str(each.network.task), **each.cost.told()} for each in several
            ] for dimension, several in found.alone.items()
        },
    }  # fmt: skip
    if published:
        powers = family(plan.space.base, PUBLISHED, plan.settings.phi)
        document["powers"] = [_row(each, before, None) for each, before in _with_before(powers)]
    if study is not None:
        document["estimates"] = study.manifest.estimator["resolved"].get("estimates")
        document["trained"] = _trained(plan.space, study)
        ended = sum(trial.rank is not None for trial in study.trials)
        document["trials"] = {"ended": ended, "planned": study.manifest.total}
        best = document["trained"][0]
        for one in document["members"]:
            if one["phi"] == 1:
                one |= {key: best[key] for key in ("accuracy", "standard_error", "trainings")}
    return document


def _told(factors: Factors) -> Document:
    return {**asdict(factors), "formula": factors.formula}


def _with_before(members: Iterable[Member]) -> Iterable[tuple[Member, Member | None]]:
    several = list(members)
    return zip(several, [None, *several[:-1]], strict=True)


def _row(each: Member, before: Member | None, folder: Path | None) -> Document:
    """A member, and its factor of MACs over the one before."""
    return {
        "phi": each.phi,
        **asdict(each.factors),
        "formula": each.factors.formula,
        "task": str(each.network.task),
        "image_size": each.network.task.image_size,
        "dropout": each.network.dropout,
        **each.cost.told(),
        "ratio": None if before is None else each.cost.macs / before.cost.macs,
        **({} if folder is None else {"file": str(folder / "family" / f"phi{each.phi:g}.json")}),
    }


def _trained(space: ScalingSpace, study: Study) -> list[Document]:
    """The candidates that were trained: first the chosen one, then those that were confirmed, by accuracy."""
    confirmed = {each.trial.number: each for each in study.confirmed}
    rows, errors = [], study.standard_errors
    for trial in complete(study.trials):
        again = confirmed.get(trial.number)
        rows.append(
            {
                "trial": trial.number,
                **_candidate(space, trial.architecture, space.base.cost().macs),
                "accuracy": trial.accuracy,
                "standard_error": errors.get(trial.number),
                "trainings": len(again.accuracies) if again else 1,
            }
        )
    best = study.best.number
    return sorted(
        rows,
        key=lambda row: (
            row["trial"] != best,
            row["trainings"] == 1,
            merit(row["accuracy"], row["macs"], row["trial"]),
        ),
    )
