"""From one network to a family of sizes, by scaling factors that a study finds or a person gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from nas.api import checked_name, go_on
from nas.parsing import seconds_of
from nas.references import in_run, named, title
from nas.reproducing import family_phi
from nas.scaling_documents import base_document, family_document
from searchspaces import (
    CLASSICS,
    Buildable,
    Classic,
    Factors,
    Scaled,
    ScalingSpace,
    Task,
    UserError,
    classic,
    load_space,
    nearest,
)
from searchspaces.files import make_folder, read_json, write_whole
from searchspaces.strides import SUFFIX, with_strides
from searchspaces.strides import published as as_published
from studies.confirming import CONFIRMATIONS, confirm_from, with_confirmations
from studies.folder import FAMILY, FAMILY_PLOT
from studies.manifest import Manifest
from studies.opening import task_said
from studies.results import complete
from studies.scaling import (
    Candidates,
    Member,
    candidates,
    curves,
    family,
    published_family,
    refuse_nothing,
    resnet_rs_factors,
)
from studies.settings import Settings
from studies.study import Study

if TYPE_CHECKING:
    from searchspaces import SearchSpace
    from studies import Engine, Event

WHOLE_PROXY: Final = {"width": 1.0, "depth": 1.0}
"""Candidates are trained in full width and depth by default: shrinking would round away most of their differences."""
CONFIRMED: Final = 3
"""The default number of leading candidates that are confirmed, if there are enough trials."""


Rule = Literal["published", "resnet-rs", "resnet-rs-short"]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)
"""Factors that need no study: EfficientNet's, and by the rules of ResNet-RS for long and for short trainings."""


@dataclass(frozen=True, kw_only=True)
class ScalingSettings:
    """How a network is scaled; `parse` makes it from texts.

    Attributes:
        target: factor of compute, α·β²·γ², of one step of φ.
        phi: members of the family besides the base, ascending.
        step: step of the grid of factors.
        band: share of `target` times the base's MACs by which true MACs may differ from it.
        growth: bounds on other costs than MACs, as multiples of the base's.
        coefficients: α, β and γ, instead of a study that finds them; or `published`: those that the authors of
            EfficientNet state for each of B1 to B7; or one of `RULES`.

    Raises:
        UserError: a setting is out of range. What `target`, `step`, `band` and `growth` may be, `ScalingSpace` says.
    """

    target: float = 2.0
    phi: tuple[float, ...] = (1, 2, 3, 4, 5, 6, 7)
    step: float = 0.05
    band: float = 0.05
    growth: str | None = None
    coefficients: Factors | Rule | None = None

    @property
    def factors(self) -> Factors | Literal["published"] | None:
        """The factors of one step, where no study finds them."""
        if self.coefficients == "resnet-rs" or self.coefficients == "resnet-rs-short":
            return resnet_rs_factors(self.target, deeper=self.coefficients == "resnet-rs")
        return self.coefficients

    def __post_init__(self) -> None:
        _check_phi(self.phi, ",".join(map(str, self.phi)))

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> ScalingSettings:
        """Settings as a person gives them: in texts, among other things, and some not at all.

        Args:
            given: by name; what is no setting is left out, None stands for the default.

        Raises:
            UserError: a text cannot be parsed, or a setting is out of range.

        >>> ScalingSettings.parse({"phi": "1..3", "band": "2%", "coefficients": "1.2,1.1,1.15"}).coefficients
        Factors(depth=1.2, width=1.1, resolution=1.15)
        """
        texts: dict[str, Callable[[Any], Any]] = {
            "phi": lambda text: _phi(text) if isinstance(text, str) else tuple(text),
            "band": lambda text: _share(text) if isinstance(text, str) else text,
            "coefficients": lambda text: _factors(text) if isinstance(text, str) else text,
        }
        found = {each.name: given[each.name] for each in fields(cls) if given.get(each.name) is not None}
        return cls(**{name: texts[name](value) if name in texts else value for name, value in found.items()})


@dataclass(frozen=True)
class ScalingPlan:
    """What to scale, and how.

    Attributes:
        name: of the base, as typed.
        space: the base and all its sizes.
        folder: the run folder.
        settings: how it is scaled.
        size_from: what the base's image size follows from, in words; None where it is the network's own, or given.
        home: the `file.py:object` of the network's space, if it is a person's own and was given so.
        data: where the images are that were given, or those of the run that is scaled; None where there are none.
    """

    name: str
    space: ScalingSpace
    folder: Path
    settings: ScalingSettings
    size_from: str | None = None
    home: str | None = None
    data: str | None = None

    @property
    def searches(self) -> bool:
        """Whether a study finds the factors."""
        return self.settings.coefficients is None


@dataclass(frozen=True)
class Family:
    """A family of sizes of one network.

    Attributes:
        plan: what was scaled, and how.
        members: the base, then one for each φ.
        alone: by dimension, the base scaled in that dimension alone to the MACs of each member.
        study: the study that found the factors; None if they were given.
    """

    plan: ScalingPlan
    members: tuple[Member, ...]
    alone: Mapping[str, tuple[Member, ...]]
    study: Study | None = None


def plan(
    what: str | Buildable,
    settings: ScalingSettings,
    given: Mapping[str, Any],
    *,
    strides: str | None = None,
    space: str | SearchSpace | None = None,
    name: str | None = None,
    out: str | Path = "runs",
) -> ScalingPlan:
    """What to scale, and where.

    Args:
        what, strides, space, name, out: as of `scale`.
        settings: how it is scaled.
        given: settings of a search, by name, of which the images and the task decide what costs are counted on.

    Raises:
        UserError: an argument is wrong, or the network cannot be scaled.
    """
    said = what if isinstance(what, str) else getattr(what, "name", "architecture")
    if name is None:
        factors = "" if settings.coefficients is None else f"-{settings.coefficients}"
        stem = "architecture" if said.lstrip().startswith("{") else Path(said).resolve().name.removesuffix(".json")
        name = re.sub(r"[^A-Za-z0-9_.]+", "-", f"scale-{stem}{factors}").strip("-")
    folder = Path(out) / checked_name(name)
    found = _scalable(what, load_space(space) if isinstance(space, str) else space)
    task, size_from = _task(found, settings, Settings.parse({each: given.get(each) for each in _OF_TASK}), folder)
    base = _base(found, task, strides)
    sizes = ScalingSpace(base, settings.target, settings.step, settings.band, settings.growth)
    home = space if isinstance(space, str) else None
    return ScalingPlan(title(said), sizes, folder, settings, size_from, home, given.get("data"))


def with_own_images(what: Any, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of a search, with the images of the run that a text means where none are given, read as it reads them.

    Args:
        what: as of `scale`.
        given: settings of a search, by name.
    """
    from estimators.sources import reading_of

    there = in_run(what) if isinstance(what, str) else None
    if given.get("data") is not None or there is None:
        return given
    manifest = Manifest.read(there[0])
    if not isinstance(manifest.data, str):
        return given
    settings = {**reading_of(manifest.estimator["given"]), **(given.get("estimator_settings") or {})}
    return {**given, "data": manifest.data, "estimator_settings": settings}


_OF_TASK: Final = ("data", "task", "image_size", "latency", "estimator", "estimator_settings", "device")
"""Settings of a search from which the deployment task follows."""


def _scalable(what: Any, home: SearchSpace | None) -> Buildable:
    """The network of a text or an object, if it can be scaled."""
    found = named(what, home) if isinstance(what, str) else what
    if not isinstance(found, Buildable):
        raise UserError(f"{what} is a torch module; only an architecture of a space can be scaled")
    if found.architecture is None:
        able = [name for name in CLASSICS if classic(name).architecture is not None]
        raise UserError(
            f"{found.words()} cannot be scaled: it is not a member of a search space that defines its depth and "
            f"width{nearest(found.words(), able)}"
        )
    return found


def _task(found: Buildable, how: ScalingSettings, settings: Settings, folder: Path) -> tuple[Task, str | None]:
    """What costs of the base are counted on, and what its image size follows from.

    A classic, or an architecture without a task, is for the images that candidates are trained on, as in a search; by
    EfficientNet's published factors at its published size. A run's network keeps the run's task, and a network with
    digits its own.
    """
    if settings.task is not None or (found.task is not None and not isinstance(found, Classic)):
        return (settings.task or found.task or Task()).at(settings.image_size), None
    own = found.task or Task()
    task, size_from = task_said(settings, folder)
    if task is None:
        return own.at(settings.image_size), None
    if how.coefficients == "published" and settings.image_size is None:
        return task.at(own.image_size), None
    return task, size_from


def _base(found: Buildable, task: Task, strides: str | None) -> Scaled:
    """The network for a task's images; under a rule for strides if one is given."""
    architecture = found.architecture
    assert architecture is not None
    base = Scaled(architecture, found.scale, task)
    if isinstance(found, Classic):
        base = base.dropping(found.dropout)  # which is the space's own in the member
    if strides is not None:
        home = with_strides(architecture.space, strides)
        return replace(base, architecture=home.architecture(architecture.choices))
    if isinstance(found, Classic) and base.network() != found.network(task):  # its strides on small images
        return replace(base, architecture=as_published(architecture))
    return base


def _phi(text: str) -> tuple[float, ...]:
    """Read `1..7`, `3` or `0.5,1,2`."""
    whole = re.fullmatch(r"\s*(\d+)\s*\.\.\s*(\d+)\s*", text)
    if whole:
        found: tuple[float, ...] = tuple(range(int(whole[1]), int(whole[2]) + 1))
    else:
        try:
            found = tuple(float(each) for each in text.split(","))
        except ValueError as error:
            raise UserError(f"phi: {text!r} does not look like '1..7' or '0.5,1,2'") from error
    _check_phi(found, text)
    return tuple(int(each) if each == int(each) else each for each in found)


def _check_phi(found: tuple[float, ...], said: str) -> None:
    if not found or not all(0 < each <= 20 for each in found) or sorted(set(found)) != list(found):
        raise UserError(f"phi: {said!r} must be ascending, above 0 and at most 20, as in '1..7'")


def _share(text: str) -> float:
    """Read `5%` or `0.05`."""
    number = re.fullmatch(r"\s*(\d*\.?\d+)\s*(%?)\s*", text)
    if not number:
        raise UserError(f"band: {text!r} does not look like '5%'")
    return float(number[1]) / (100 if number[2] else 1)


def _factors(text: str) -> Factors | Rule:
    """Read `1.2,1.1,1.15`: depth, width, resolution; or one of `RULES`."""
    for rule in RULES:
        if text == rule:
            return rule
    try:
        depth, width, resolution = (float(each) for each in text.split(","))
    except ValueError as error:
        raise UserError(
            f"coefficients: {text!r} does not look like '1.2,1.1,1.15' (depth, width, resolution), and is none of "
            f"{', '.join(RULES)}{nearest(text, RULES)}"
        ) from error
    if not all(1 <= each <= 10 for each in (depth, width, resolution)) or max(depth, width, resolution) == 1:
        raise UserError(f"coefficients: {text!r}: each must be from 1 to 10, and one of them above 1")
    return Factors(depth, width, resolution)


def settings_for(plan: ScalingPlan, found: Candidates, given: Mapping[str, Any]) -> Settings:
    """The settings of the study that finds the factors.

    Args:
        plan: what is to be scaled.
        found: the candidates.
        given: settings of a search, by name; None or not given stands for the default. The strategy is then the grid,
            candidates are trained whole, all of them, and leaders are confirmed where there are enough trials.

    Raises:
        UserError: no factors fit the band, or a setting is wrong.
    """
    if not found.networks:
        refuse_nothing(plan.space)
    settings = {name: value for name, value in given.items() if value is not None}
    if settings.get("estimator") == "zero-cost":
        raise UserError(
            "zero-cost scores cannot compare networks of different depth, width and image size; use another"
        )
    of_estimator = dict(settings.get("estimator_settings") or {})
    if settings.get("estimator", "short-training") == "short-training" and not Manifest.is_in(plan.folder):
        of_estimator = {**WHOLE_PROXY, **of_estimator}
    proposals, trials = len(found.networks), settings.get("trials")
    fewest = min(CONFIRMED, (trials or 2 * CONFIRMATIONS * CONFIRMED) // (2 * CONFIRMATIONS))
    confirm = confirm_from(settings.get("confirm", min(fewest, proposals // CONFIRMATIONS)))
    return Settings.parse(
        {
            "strategy": "grid",
            **settings,
            "space": plan.space,
            "task": plan.space.base.task,
            "budget": plan.space.target_budget,
            "trials": trials or with_confirmations(proposals, confirm),
            "confirm": confirm,
            "estimator_settings": of_estimator,
        }
    )


def made(plan: ScalingPlan, study: Study | None = None) -> Family:
    """The family: by the best factors of a study, or by those of the plan."""
    base, phi = plan.space.base, plan.settings.phi
    factors = plan.settings.factors if study is None else plan.space.factors(study.best.architecture)
    assert factors is not None
    members = published_family(base, phi) if factors == "published" else family(base, factors, phi)
    alone = {dimension: tuple(several) for dimension, several in curves(members)}
    return Family(plan, tuple(members), alone, study)


def made_again(study: Study) -> Family | None:
    """The family of a scaling study as it is now, with the members of the one in its folder, or the default ones.

    Args:
        study: any study; None is returned where it scales nothing, or has no complete trial.
    """
    space, folder = study.space, study.folder
    if not isinstance(space, ScalingSpace) or folder is None or not complete(study.trials):
        return None
    there = _family_in(folder)
    base = there.get("base")
    name = base.get("name") if isinstance(base, dict) else None
    settings = ScalingSettings(target=space.target, step=space.step, band=space.band)
    phi = tuple(family_phi(there))
    settings = replace(settings, phi=phi) if phi else settings
    return made(ScalingPlan(name if isinstance(name, str) else "architecture", space, folder, settings), study)


def scale(
    what: str | Path | Buildable,
    data: str | Path | None = None,
    *,
    target: float = 2.0,
    phi: str | Iterable[float] = "1..7",
    step: float = 0.05,
    band: str | float = "5%",
    coefficients: str | Factors | None = None,
    strides: str | None = None,
    space: str | SearchSpace | None = None,
    name: str | None = None,
    out: str | Path = "runs",
    time: float | str | None = None,
    engine: Engine | None = None,
    on_event: Callable[[Event], None] | None = None,
    **search: Any,
) -> Family:
    """Find the best factors of depth, width and image size for a network, and make the family.

    The same call resumes an interrupted study.

    Args:
        what: a run folder (its best network) or a trial of it (`runs/first:7`), a classic that is a member of a space,
            a network's text form or its file.
        data: images to train candidates on; by default those of the run, or `digits`.
        target: the factor of compute, α·β²·γ², of one step of φ.
        phi: members of the family, as `1..7` or `0.5,1,2`.
        step: step of the grid of factors.
        band: tolerance of true MACs around `target` times the base's, such as `5%`.
        coefficients: α, β and γ as `1.2,1.1,1.15`, instead of searching for them; or `published`: those that the
            authors of EfficientNet state for each of B1 to B7; or `resnet-rs` or `resnet-rs-short`
            (`studies.scaling.resnet_rs_factors`).
        strides: the rule for strides on small images (`searchspaces.strides`); by default the network's own.
        space: of the network, if it is user-defined.
        name, out: of the run folder.
        time, engine, on_event: as in `nas.search`.
        search: every other setting of `nas.search` but the budget, by name; by default the strategy is the grid, and
            candidates are trained whole. Costs are counted on `task`; by default on that of a person's own images for a
            classic, as in a search, and on the network's own else. `image_size` is the base's, and candidates are
            trained at it. With `growth="params=1.8,activations=1.6"` other costs of candidates are bounded too, by
            multiples of the base's.

    Raises:
        UserError: an argument is wrong, the network cannot be scaled, or nothing fits the band.
    """
    what, data = str(what) if isinstance(what, Path) else what, None if data is None else str(data)
    limit_s, growth = seconds_of(time), search.pop("growth", None)
    unknown = search.keys() - ({each.name for each in fields(Settings)} - {"budget"})  # which the band is
    if unknown:
        raise TypeError(f"scale() got an unexpected keyword argument {min(unknown)!r}")
    given: dict[str, Any] = {"target": target, "phi": phi, "step": step, "band": band, "growth": growth}
    given["coefficients"] = coefficients
    search = dict(with_own_images(what, {**search, "data": data}))
    planned = plan(
        what, ScalingSettings.parse(given), search, strides=strides, space=space, name=name, out=out
    )  # fmt: skip
    study = None
    if planned.searches:
        found = candidates(planned.space)
        study = Study.create(planned.folder, settings_for(planned, found, search), planned.home)
        write_wanted(planned)
        go_on(study, None, limit_s, engine, on_event)
    family = made(planned, study)
    write(family)
    return family


def write(found: Family) -> None:
    """Write `family.json`, one file for each member, and the plot, into the folder, in place of an earlier family.

    Raises:
        UserError: the folder cannot be written, or is that of another study.
    """
    from estimators.short_training import LIKELIHOOD
    from studies.pages.family import family_html

    folder = found.plan.folder
    if found.study is None and Manifest.is_in(folder):
        raise UserError(f"{str(folder)!r} is the folder of a study; choose another name")
    document = family_document(found)
    if found.study is None and (folder / FAMILY).exists():
        there = read_json(folder / FAMILY, "the family")
        base = there.get("base") if isinstance(there, dict) else None
        if not isinstance(base, dict) or _network(base) != _network(document["base"]):
            raise UserError(f"{str(folder)!r} already holds the family of another network; choose another name")
    make_folder(folder / "family")
    estimate = {None: "accuracy", LIKELIHOOD: "likelihood"}.get(document.get("estimates"), "estimate")
    for each, one in zip(found.members, document["members"], strict=True):
        text = {**each.document(), "base": found.plan.name}
        if "accuracy" in one:
            text |= {estimate: one["accuracy"], "standard_error": one["standard_error"]}
        write_whole(Path(one["file"]), json.dumps(text, indent=2) + "\n")
    write_whole(folder / FAMILY, json.dumps(document, indent=2) + "\n")
    write_whole(folder / FAMILY_PLOT, family_html(document))
    made = {Path(one["file"]) for one in document["members"]}
    for file in set((folder / "family").glob("phi*.json")) - made:  # of an earlier family
        file.unlink(missing_ok=True)


def write_wanted(plan: ScalingPlan) -> None:
    """Write into the folder of a study which members are wanted, before there are any, so that `nas resume` makes them.

    A family that is there, of these members, stays as it is.

    Raises:
        UserError: the folder cannot be written.
    """
    if family_phi(_family_in(plan.folder)) != [*plan.settings.phi]:
        members = [{"phi": phi} for phi in plan.settings.phi]
        wanted = {"base": base_document(plan), "members": members, "trials": {"ended": 0}}
        write_whole(plan.folder / FAMILY, json.dumps(wanted, indent=2) + "\n")


def _family_in(folder: Path) -> dict[str, Any]:
    """What `family.json` of a study's folder holds; nothing where it is missing or damaged."""
    try:
        found = read_json(folder / FAMILY, "the family") if (folder / FAMILY).exists() else {}
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def _network(base: Mapping[str, Any]) -> dict[str, Any]:
    """What of the base of a family is its network: neither its name, nor the images, nor the rule for its strides."""
    space = str(base.get("space")).removesuffix(SUFFIX)
    return {**{key: value for key, value in base.items() if key not in ("name", "task")}, "space": space}
