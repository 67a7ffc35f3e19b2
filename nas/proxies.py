"""What a proxy is worth inside a budget: a sample of networks trained long, and every proxy applied to it.

Each way of estimating is a study of its own in one folder, over the same networks: `random` with the same seed draws
them. So it resumes, runs on Ray and on GPUs, and takes recorded tables as any study does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from estimators.estimator import PREPARED_S
from nas.parsing import parse_values
from searchspaces import UserError, nearest
from searchspaces.progress import doing
from studies.proxy_agreement import verdict
from studies.trial import device_seconds

if TYPE_CHECKING:
    from estimators import TableEstimator
    from nas.documents import Document
    from searchspaces import Architecture
    from studies import Study
    from studies.settings import Settings

COUNTED: Final = ("macs", "params")
"""What ranks networks without looking at an image: the baselines."""
DEFAULT: Final = "short"
"""Short training with its defaults."""
SUPERNET: Final = "supernet"
PROXIES: Final = "short,epochs=2,width=1+depth=1,naswot,swap,zico"
"""What is compared unless told otherwise."""
LONG: Final[Mapping[str, Any]] = {"width": 1.0, "depth": 1.0, "data_fraction": 1.0}
"""The reference: whole networks on all images."""
SPLIT: Final = "split_seed"
"""The setting that chooses the validation images."""
LEVEL: Final = 0.9
"""Of all intervals."""
TOP: Final = 0.25
"""Share of the networks that are the best ones, where no number of them was given."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimated:
    """A way of estimating, as it is typed.

    Attributes:
        name: the text, without what says where a table is and how it is read.
        estimator: its name.
        settings: of the estimator.
    """

    name: str
    estimator: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_recorded(self) -> bool:
        """Whether it reads a table, and trains nothing."""
        return self.estimator.startswith("table:")


def parse_estimated(text: str) -> Estimated:
    """`short`; settings of it, such as `epochs=2+width=1`; `supernet`; a zero-cost score; or `table:FILE+key=...`.

    Raises:
        UserError: it is none of these.

    >>> parse_estimated("epochs=2+width=1").settings, parse_estimated("zico").settings
    ({'epochs': 2, 'width': 1}, {'score': 'zico'})
    """
    from estimators.zero_cost import SCORES

    first, *more = text.split("+")
    settings = parse_values(more, "epochs=2+width=1")
    if first == DEFAULT or "=" in first:
        return Estimated(text, "short-training", settings if first == DEFAULT else parse_values([first]) | settings)
    if first == SUPERNET:
        return Estimated(text, first, settings)
    if first in SCORES:
        return Estimated(text, "zero-cost", {"score": first, **settings})
    if first.startswith("table:"):
        told = [each for each in more if each.partition("=")[0] not in ("key", "unit")]
        return Estimated("+".join([f"table:{Path(first).name.removeprefix('table:')}", *told]), first, settings)
    known = (DEFAULT, SUPERNET, *SCORES, "table:FILE.json")
    raise UserError(
        f"unknown proxy {text!r}{nearest(first, known)}, or settings of short training such as epochs=2+width=1"
    )


@dataclass(frozen=True)
class Step:
    """A study of a comparison.

    Attributes:
        name: what it estimates with: a proxy's name, or `reference` and a number.
        study: begun or opened.
        trials: in all, with which it is complete.
        first: the place of its first network among those that are compared, from 0.
    """

    name: str
    study: Study
    trials: int
    first: int = 0


@dataclass(frozen=True)
class Comparison:
    """The studies of a comparison of proxies.

    Attributes:
        folder: of all of them.
        given: settings of every study: space, budget, data and others, as `Settings.parse` takes them.
        networks: how many are drawn. The same comparison may be continued with more: the first ones stay the same.
        proxies: what is compared, without the baselines.
        reference: how the truth is estimated.
        trainings: how often, for each network; of a table at most as often as it recorded each.
        seed: of the draws; those of the trainings follow from it.
        top: how many networks are the best ones, of which a proxy's best are to hold many; None is a quarter.
    """

    folder: Path
    given: Mapping[str, Any]
    networks: int
    proxies: tuple[Estimated, ...]
    reference: Estimated
    trainings: int
    seed: int
    top: int | None = None

    def __post_init__(self) -> None:
        for name, low in (("networks", 4), ("trainings", 1)):
            if getattr(self, name) < low:
                raise UserError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.top is not None and not 1 <= self.top <= self.networks:
            raise UserError(f"top must be from 1 to the {self.networks} networks, got {self.top}")

    def studies(self) -> Iterator[Step]:
        """The studies one after the other, each begun or opened when the one before it has ended.

        Those of recorded tables come first: they take no time, and what is wrong with them is known before a training.

        Raises:
            UserError: a setting is wrong, or differs from that of a study in the folder.
        """
        among: tuple[str, ...] | None = None
        if self.reference.is_recorded:
            doing("beginning with the reference")
            table = self._table()
            among = self._among(table)
            for number in range(1, min(self.trainings, table.recorded[1]) + 1):
                one = replace(self.reference, settings={**self.reference.settings, "training": number})
                yield self._step(f"reference {number}", f"reference-{number}", one, among)
        for proxy in sorted(self.proxies, key=lambda each: not each.is_recorded):
            doing(f"beginning with {proxy.name}")
            yield self._step(proxy.name, _folder_name(proxy.name), proxy, among)
        if not self.reference.is_recorded:
            yield from self._trained()

    def _step(self, name: str, folder: str, how: Estimated, among: tuple[str, ...] | None = None) -> Step:
        """A study whose networks are drawn by the seed of the comparison."""
        from studies import Study

        settings = self._settings(how, self.seed, strategy_settings={} if among is None else {"among": list(among)})
        return Step(name, Study.create(self.folder / folder, settings), self.networks)

    def _table(self) -> TableEstimator:
        """The reference, where it is recorded.

        Raises:
            UserError: it cannot be read, or its settings say which training it is, which is for proxies.
        """
        from estimators import TableEstimator, make_estimator

        if "training" in self.reference.settings:
            raise UserError("the reference uses all recorded trainings in turn: leave out training=")
        table = make_estimator(self.reference.estimator, **self.reference.settings)
        assert isinstance(table, TableEstimator)
        return table

    def _among(self, table: TableEstimator) -> tuple[str, ...] | None:
        """The networks that are drawn from where the table does not hold all that fit, in text form."""
        from nas.recorded_networks import recorded_networks
        from studies import Study
        from studies.manifest import Manifest

        there = self.folder / "reference-1"
        if Manifest.is_in(there):  # as it began
            among = Manifest.read(there).strategy["resolved"].get("among")
            return None if among is None else tuple(among)
        with closing(Study.create(None, self._settings(self.reference, self.seed))) as study:
            return recorded_networks(table, study.feasible, self.seed)

    def _trained(self) -> Iterator[Step]:
        """The trainings of the reference: the first draws the networks, the others train the same.

        Another seed trains otherwise, and would draw other networks, so the others are given those of the first. A
        study's settings stay as they began, so where the first one grew, the further networks have a study of their
        own.
        """
        from studies import Study
        from studies.manifest import Manifest

        doing("beginning with the reference")
        taken = {proxy.settings.get(SPLIT, 0) for proxy in self.proxies}
        first = self._step("reference 1", "reference-1", self._apart(self.folder / "reference-1", taken))
        taken.add(_split_of(first.study))
        yield first
        drawn = [trial.architecture.to_json() for trial in first.study.trials[: self.networks]]
        for number in range(2, self.trainings + 1):
            begun, split = 0, None
            while begun < len(drawn):
                folder = self.folder / (f"reference-{number}" + (f"-from-{begun + 1}" if begun else ""))
                listed = drawn[begun:]
                if Manifest.is_in(folder):
                    listed = Manifest.read(folder).strategy["resolved"].get("start_from") or listed
                how = self._apart(folder, taken, split)
                settings = self._settings(how, self.seed + number - 1, strategy="evolution", start_from=tuple(listed))
                study, trials = Study.create(folder, settings), min(len(listed), len(drawn) - begun)
                yield Step(f"reference {number}", study, trials, begun)
                begun, split = begun + len(listed), _split_of(study)
            taken.add(split)

    def _apart(self, place: Path, taken: Collection[Any], split: Any = None) -> Estimated:
        """The reference with validation images of its own: the first split that neither a proxy nor an earlier training
        of the reference has, so that luck with images counts neither as agreement nor as something that trainings agree
        on. A study that is there goes on with its own, and what a person gives is left as it is.

        Args:
            place: the folder of the study.
            taken: splits of others.
            split: that of the same training of other networks; None where there is none.
        """
        from studies.manifest import Manifest

        splits = self.reference.estimator in ("short-training", SUPERNET) and SPLIT not in self.reference.settings
        if not splits or Manifest.is_in(place):
            return self.reference
        if split is None:
            split = next(number for number in itertools.count(1) if number not in taken)
        return replace(self.reference, settings={**self.reference.settings, SPLIT: split})

    def _settings(self, how: Estimated, seed: int, strategy: str = "random", **more: Any) -> Settings:
        from studies.settings import Settings

        reads = how.estimator in ("short-training", SUPERNET, "zero-cost")
        reading = self.given.get("estimator_settings", {}) if reads else {}
        return Settings.parse(
            {
                **self.given,
                "trials": self.networks,
                "confirm": 0,
                "strategy": strategy,
                "estimator": how.estimator,
                "estimator_settings": {**reading, **how.settings},
                "seed": seed,
                **more,
            }
        )


def _folder_name(proxy: str) -> str:
    """A name for a folder, the same for the same proxy.

    >>> _folder_name("table:macro.json+field=val_acc")
    'proxy-table-macro.json-field-val_acc'
    """
    return "proxy-" + "".join(each if each.isalnum() or each in "._" else "-" for each in proxy)


def proxy_document(comparison: Comparison, steps: Sequence[Step]) -> Document:
    """What each proxy is worth, as plain JSON values; accuracies and regrets in [0, 1], None for what is undefined, as
    the correlation with a constant is.

    Args:
        comparison: of which they are.
        steps: its studies, finished.

    Raises:
        UserError: fewer than four networks have all estimates.
    """
    from estimators import agreement
    from nas.documents import finite
    from nas.next_commands import search_command

    studies = {step.name: step.study for step in steps}
    drawn = [trial.architecture for trial in studies["reference 1"].trials[: comparison.networks]]
    found: dict[str, dict[Architecture, tuple[float, float]]] = {}
    for step in steps:
        found.setdefault(step.name, {}).update(_accuracies(step.study, drawn))
    references = [values for name, values in found.items() if name.startswith("reference ")]
    networks = [each for each in drawn if all(each in values for values in found.values())]
    if len(networks) < 4:
        raise UserError(
            f"only {len(networks)} networks have all estimates, and at least 4 are needed; see the failed trials"
        )
    replicas = np.array([[values[each][0] for each in networks] for values in references])  # (trainings, networks)
    truth = replicas.mean(0)
    some = studies[comparison.proxies[0].name]
    costs = [each.cost(some.task) for each in networks]
    ways = {name: _Way(np.array([float(getattr(cost, name)) for cost in costs])) for name in COUNTED}
    for proxy in comparison.proxies:
        mine = _ways(proxy, studies[proxy.name], found[proxy.name], networks)
        ways |= {name: way for name, way in mine.items() if name == proxy.name or name not in found}

    doing("resampling the networks")
    pairs = list(itertools.combinations(range(len(replicas)), 2))
    alike = _alike([study for name, study in studies.items() if name.startswith("reference ")])
    apart = [pair for pair in pairs if pair not in alike] or pairs
    taus = [agreement.kendall(replicas[one], replicas[other]) for one, other in apart]
    tau = float(np.mean(taus)) if taus else None
    counting = max(COUNTED, key=lambda name: np.nan_to_num(agreement.kendall(ways[name].values, truth), nan=-math.inf))
    compared = [name for name in ways if name not in COUNTED]
    apart_from = agreement.differences([ways[name].values for name in compared], ways[counting].values, truth, LEVEL)
    beyond = dict(zip(compared, apart_from, strict=True))
    within_s = max(way.seconds for way in ways.values()) * max(2, len(networks) // 4)
    top = max(1, round(TOP * len(networks))) if comparison.top is None else min(comparison.top, len(networks))
    rows = [
        {
            "proxy": name, "seconds": way.seconds, **_row(way.values, truth, tau, len(replicas), top),
            "beyond_counting": list(beyond[name]) if name in beyond else None,
            "found": found_within(way.values, truth, way.seconds, within_s), "estimator": way.estimator,
        }
        for name, way in ways.items()
    ]  # fmt: skip
    recommended = _recommended(rows)
    chosen = _Way(truth) if recommended is None else ways[recommended]
    document: Document = finite({
        "space": some.manifest.space["name"],
        "budget": some.manifest.budget,
        "task": some.manifest.task,
        "data": some.manifest.estimator["resolved"].get("data"),
        "networks": len(networks),
        "asked": comparison.networks,
        "left_out": len(drawn) - len(networks),
        "drawn": len(studies["reference 1"].trials),
        "reference": {
            "estimator": comparison.reference.name,
            "trainings": len(replicas),
            "asked": comparison.trainings,
            "recorded": comparison.reference.is_recorded,
            "tau": tau,
            "ceiling": None if tau is None else agreement.ceiling(tau, len(replicas)),
            "mean": float(truth.mean()),
            "best": float(truth.max()),
            "spread": float(truth.std(ddof=1)),
            "shares_validation": None if comparison.reference.is_recorded or tau is None else bool(alike),
            "luck": _luck(replicas),
            "seconds": float(np.mean([each[1] for values in references for each in values.values()])),
        },
        "level": LEVEL,
        "top": top,
        "counting": counting,
        "within_seconds": within_s,
        "proxies": rows,
        "recommended": recommended,
        "next": None if chosen.study is None else search_command(chosen.study, chosen.more),
        "folder": str(comparison.folder),
    })  # fmt: skip
    return document


@dataclass(frozen=True)
class _Way:
    """A way of estimating the networks.

    Attributes:
        values: one a network.
        seconds: a network.
        study: that a search by it is like; None of what is counted.
        estimator: its settings.
        more: settings of the estimator that a search by it has beside those of the study.
    """

    values: Values
    seconds: float = 0.0
    study: Study | None = None
    estimator: Mapping[str, Any] | None = None
    more: Mapping[str, Any] | None = None


def _ways(
    proxy: Estimated, study: Study, found: Mapping[Architecture, tuple[float, float]], networks: Sequence[Architecture]
) -> dict[str, _Way]:
    """A proxy, and what its trainings tell beside it: as they were observed, and by their loss, for nothing more."""
    from estimators.short_training import LIKELIHOOD, TRAINING_LOSS
    from studies.adjusting import adjusted
    from studies.results import accuracy_of

    settings, observed = study.manifest.estimator["resolved"], study.trials
    corrected = adjusted(observed)
    trials = {each.architecture: each for each in corrected if each.state == "complete"}
    seconds = float(np.mean([found[each][1] for each in networks]))
    ways = {proxy.name: _Way(np.array([accuracy_of(trials[each]) for each in networks]), seconds, study, settings)}
    if "metric" in proxy.settings or "adjusted" in proxy.settings:
        return ways
    plain = {key: value for key, value in settings.items() if key != "adjusted"}
    if corrected is not observed:
        values = np.array([found[each][0] for each in networks])
        ways[f"{proxy.name}+adjusted=false"] = _Way(values, seconds, study, plain, {"adjusted": False})
    losses = -np.array([trials[each].details.get("train_loss", math.nan) for each in networks], float)
    if np.isfinite(losses).all():
        by_loss, more = {"metric": TRAINING_LOSS, "estimates": LIKELIHOOD}, {"metric": TRAINING_LOSS}
        ways[f"{proxy.name}+metric={TRAINING_LOSS}"] = _Way(losses, seconds, study, {**plain, **by_loss}, more)
    return ways


def _row(values: Values, truth: Values, tau: float | None, replicas: int, top: int) -> Document:
    """The agreement of a proxy with the truth."""
    from estimators import agreement

    found = agreement.kendall(values, truth)
    return {
        "tau": found,
        "interval": list(agreement.interval(agreement.kendall, values, truth, LEVEL)),
        "corrected": None if tau is None else agreement.corrected(found, tau, replicas),
        "spearman": agreement.spearman(values, truth),
        "spearman_interval": list(agreement.interval(agreement.spearman, values, truth, LEVEL)),
        "regret": agreement.regret(values, truth),
        "top": agreement.overlap(values, truth, top) if len(set(truth)) > 1 else None,
    }


def found_within(values: Values, truth: Values, seconds: float, budget_s: float) -> float:
    """The expected true accuracy of the network that a proxy ranks first of as many as it estimates in some time.

    So many are drawn without replacement from the sample, all of it at most: of n out of N, the one that is ranked r-th
    of all is the first of the drawn with probability C(N - r, n - 1) / C(N, n).

    >>> round(found_within(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3]), 1.0, 2.0), 3)  # two of three
    0.267
    """
    networks = len(truth)
    drawn = networks if seconds == 0 else int(min(max(budget_s / seconds, 1), networks))
    order = np.argsort(-values, kind="stable")
    chances = [math.comb(networks - rank, drawn - 1) / math.comb(networks, drawn) for rank in range(1, networks + 1)]
    return float(np.dot(chances, truth[order]))


def _recommended(rows: Sequence[Document]) -> str | None:
    """The proxy that finds most in the time, of those that are told apart from counting, and finds more than counting
    does; None if none is."""
    counted = max(row["found"] for row in rows if row["beyond_counting"] is None)
    better = [row for row in rows if verdict(row) == "better" and row["found"] > counted]
    return max(better, key=lambda row: row["found"])["proxy"] if better else None


def _split_of(study: Study) -> Any:
    """The seed by which a study chooses its validation images; None where it reads a table."""
    return study.manifest.estimator["resolved"].get(SPLIT)


def _alike(references: Sequence[Study]) -> set[tuple[int, int]]:
    """The pairs of trainings that are judged on the same images, as far as is known: of a table it is not."""
    from estimators.data import has_validation_part

    judged = []
    for number, study in enumerate(references):
        data = study.manifest.estimator["resolved"].get("data")
        whole = isinstance(data, Mapping) and has_validation_part(data)
        split = "all of them" if whole else _split_of(study)
        judged.append(number if split is None else str(split))
    return {
        (one, other) for one, other in itertools.combinations(range(len(judged)), 2) if judged[one] == judged[other]
    }


def _luck(replicas: Values) -> float | None:
    """The standard deviation of the trainings of one network, pooled over networks; None for one training of each.

    What all networks have in common in a training, as where its validation images are the harder ones, is no luck of
    any of them and taken off: the residual of a two-way analysis of variance.

    Args:
        replicas: (trainings, networks).

    >>> _luck(np.array([[0.9, 0.8, 0.7], [0.8, 0.7, 0.6]]))  # the same order at the same distances
    0.0
    """
    trainings, networks = replicas.shape
    if trainings == 1:
        return None
    residual = replicas - replicas.mean(0) - replicas.mean(1, keepdims=True) + replicas.mean()
    return round(float(np.sqrt((residual**2).sum() / ((trainings - 1) * (networks - 1)))), 12)


def _accuracies(study: Study, drawn: Sequence[Architecture]) -> dict[Architecture, tuple[float, float]]:
    """Estimate and seconds of each network's complete trial; with its share of what was made for all of them."""
    complete = [trial for trial in study.trials if trial.state == "complete" and trial.accuracy is not None]
    among = set(drawn)
    return {
        trial.architecture: (
            float(trial.accuracy or 0.0),
            device_seconds(trial) + trial.details.get(PREPARED_S, 0.0) / len(complete),
        )
        for trial in complete
        if trial.architecture in among
    }
