"""How a study begins and how it is found again: settings become a space, a strategy, an estimator and a manifest.

A new run folder appears complete, with its manifest and an empty ledger, or not at all. A ledger in PostgreSQL, where
drivers may work in folders of their own, keeps the manifest too: the same settings make a folder again that was lost,
or that a killed process never finished. From a folder that is there, only names and numbers are read; what came from a
person's own file or from memory must be given again.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from estimators import ImageData, load_data
from estimators.image_sizes import file_sizes
from estimators.sources import recorded_place
from searchspaces import (
    CLASSICS,
    Architecture,
    Budget,
    Scale,
    Task,
    UserError,
    classic,
    load_space,
    scaled_from_json,
)
from searchspaces.files import read_text, write_whole
from searchspaces.latency import LatencyTable
from searchspaces.own_code import nothing_but
from searchspaces.stage import PUBLISHED
from searchspaces.strides import SMALL_IMAGES, SUFFIX, rule_of, with_strides
from strategies import STRATEGIES, settings_of
from studies.checkpoints import Checkpoints, whole_place
from studies.confirming import Confirm, usual
from studies.folder import LATENCY, MANIFEST
from studies.inheritance import Inheritance, check_inherits
from studies.ledger import Ledger, MemoryLedger, OptunaLedger, StudyExistsError, without_password
from studies.leftovers import part_of, remove_parts
from studies.manifest import Manifest, fingerprints
from studies.origins import (
    NAMED,
    again,
    estimator_from,
    makes,
    manifest_of,
    name_of,
    space_again,
    space_from,
    strategy_from,
    suited,
    under,
    whole_path,
)
from studies.prescreening import prescreened, scored
from studies.pruning import parse_pruner

if TYPE_CHECKING:
    from estimators import Estimator
    from searchspaces import Architecture, SearchSpace
    from strategies import Strategy
    from studies.settings import Settings

PLANNED: Final = 200
"""Trials that a strategy is told to expect where only time limits them."""
LATENCY_SIZE: Final = "that of the latency table"
"""What an image size follows from, in words."""
KEPT: Final = "manifest"
"""The attribute of a study in PostgreSQL that keeps its manifest."""


@dataclass(frozen=True)
class Opened:
    """What a study is made of.

    Attributes:
        folder: the run folder; None for a study that is kept in memory.
        manifest: its settings, as they are kept.
        space: the whole space.
        feasible: what of it fits the budget; the space itself where there is no budget.
        task: the deployment task, with its latency table.
        ledger: where its trials are.
        strategy, estimator: make each afresh; raise UserError where it must be given again.
        checkpoints: where trials keep their training state.
        inheritance: the trained weights that trials start from; None where they do not.
        size_from: what the image size of the task follows from, where nobody gave it and the study begins here.
        images: where they are now, if the estimator trains on any and a person said so.
    """

    folder: Path | None
    manifest: Manifest
    space: SearchSpace
    feasible: SearchSpace
    task: Task
    ledger: Ledger
    strategy: Callable[[], Strategy]
    estimator: Callable[[], Estimator]
    checkpoints: Checkpoints
    inheritance: Inheritance | None
    size_from: str | None = None
    images: str | None = None


def create(folder: str | Path | None, settings: Settings, home: str | None = None) -> Opened:
    """Begin a study, or find the one that is in the folder or in PostgreSQL, if all settings are the same.

    Args:
        folder, settings, home: as of `Study.create`.

    Raises:
        UserError: a setting is wrong or differs from the study that is there, or the folder cannot be made.
    """
    place = None if folder is None else Path(folder).expanduser()
    try:
        return _create(place, settings, home, _manifest_of(place), str(place))
    except StudyExistsError as found:
        if KEPT not in found.attributes:
            raise
        where = f"{without_password(settings.ledger)}, study {found.name!r}"
        return _create(place, settings, home, Manifest.of(found.attributes[KEPT], where), where, lost=True)


def _create(
    place: Path | None, settings: Settings, home: str | None, there: Manifest | None, where: str, lost: bool = False
) -> Opened:
    """As `create`.

    Args:
        place: the run folder, if any.
        settings, home: as given.
        there: the manifest of the study that is there, if any.
        where: what to call that in messages.
        lost: whether its folder is to be made again.
    """
    typed = "memory" if place is None else settings.ledger
    ledger = typed if place is None else _with_password(typed, place)
    space_origin, whole = space_from(settings.space, home)
    made: _Made | None = None
    task, size_from = _given_task(settings, there), None
    if task is None:
        made = _made(settings, there)
        task, size_from = _task_from_data(settings, made) if _own_images(settings) else _usual_task(settings)
    if settings.latency is not None:
        task = settings.latency.on(task)
    feasible = under(whole, settings.budget, task)
    strategy_kept, make_strategy = _strategy(settings, whole, feasible, task, there)
    estimator_kept, estimator, data = _estimator(made or _made(settings, there), feasible, there)
    make_strategy = scored(make_strategy, strategy_kept, lambda: estimator, data, settings.seed)
    if settings.prescreen is not None:
        make_strategy = prescreened(make_strategy, settings.prescreen, lambda: estimator, data, settings.seed)
    manifest = Manifest(
        study=place.resolve().name if place else "memory",
        space=manifest_of(whole, space_origin, fingerprints(whole)),
        task=str(task),
        budget=None if settings.budget is None else str(feasible.budget),
        budget_typed=None if settings.budget is None else settings.budget.typed,
        strategy=strategy_kept,
        estimator=estimator_kept,
        data=data,
        pruner=settings.pruner,
        seed=settings.seed,
        replicas=settings.replicas,
        confirm=_confirm(settings, there, getattr(estimator, "noisy", False)),
        inherit=settings.inherit,
        trials=settings.trials,
        ledger=without_password(typed),
        wave=settings.wave,
        checkpoints=None if settings.checkpoints is None else whole_place(settings.checkpoints),
        latency=None if task.latency is None else task.latency.fingerprint,
        prescreen=settings.prescreen,
    )
    if settings.inherit:
        check_inherits(estimator, manifest.estimator["name"], place, settings.checkpoints)
    if there is not None:
        there.refuse_changes(manifest, where)
        manifest = there
    opened: Ledger
    if there is None or lost:
        opened = _begin(place, manifest, ledger, task, lost)
    else:
        opened = OptunaLedger.open(ledger, cast(Path, place), there.study)
    kept, inheritance = Checkpoints.of(place, manifest, settings.checkpoints), Inheritance.of(place, manifest)
    return Opened(
        place, manifest, whole, feasible, task, opened, make_strategy, lambda: estimator, kept, inheritance, size_from,
        data if "data" in manifest.estimator["resolved"] else None,
    )  # fmt: skip


def _strategy(
    settings: Settings, whole: SearchSpace, feasible: SearchSpace, task: Task, there: Manifest | None
) -> tuple[dict[str, Any], Callable[[], Strategy]]:
    """What the manifest keeps of the strategy, and a function that makes it afresh."""
    strategy, given = settings.strategy, dict(settings.strategy_settings)
    if settings.start_from:
        _check_takes(strategy, "start_from")
        given["start_from"] = [_start(each, whole) for each in settings.start_from]
    if settings.objectives is not None:
        _check_takes(strategy, "objectives")
        given["objectives"] = list(settings.objectives)
    if there is not None and there.strategy["origin"] == NAMED and there.strategy["name"] == strategy:
        given = {**there.strategy["resolved"], **given}
    planned = (there.trials if there else settings.trials) or PLANNED
    told = dict(given)
    if settings.budget is None and isinstance(strategy, str) and _takes(strategy, "task"):
        told.setdefault("task", str(task))
    origin, make = strategy_from(strategy, feasible, planned, told)
    resolved = settings_of(make())
    if resolved.get("repeat") and not settings.replicas:
        raise UserError(
            "strategy.repeat=true lets the strategy propose networks again, but this study trains no network twice; "
            "allow it with --replicas (replicas=True)"
        )
    return {"name": name_of(strategy), "origin": origin, "given": given, "resolved": resolved}, make


def _confirm(settings: Settings, there: Manifest | None, noisy: bool) -> Confirm:
    """What is trained again: as a person says, else as the study began, else the usual."""
    if settings.confirm is not None:
        return settings.confirm
    if there is not None:
        return there.confirm
    return usual(noisy, settings.strategy, settings.pruner, settings.trials)


@dataclass(frozen=True)
class _Made:
    """An estimator as it is made from settings.

    Attributes:
        name: in our tables, or what else it was given as.
        origin: where it comes from.
        given: its own settings.
        data: where its images are.
        found: the estimator.
    """

    name: Any
    origin: str
    given: dict[str, Any]
    data: str
    found: Estimator


def _made(settings: Settings, there: Manifest | None) -> _Made:
    """The estimator, with its images."""
    estimator, own, data = settings.estimator, dict(settings.estimator_settings), whole_path(settings.data)
    if isinstance(estimator, str):
        estimator = whole_path(estimator)
        if there is not None and there.estimator["origin"] == NAMED and there.estimator["name"] == estimator:
            own = {**_given_again(there.estimator), **own}
    with nothing_but(estimator, *settings.estimator_settings.values()):
        origin, found = estimator_from(estimator, data, settings.device, own)
    return _Made(estimator, origin, own, data, found)


def _estimator(
    made: _Made, feasible: SearchSpace, there: Manifest | None
) -> tuple[dict[str, Any], Estimator, str | None]:
    """What the manifest keeps of the estimator, the estimator, and where its images are if it has a name."""
    found, own, origin = made.found, made.given, made.origin
    if origin == NAMED and there is None:
        found, own = suited(found, feasible, own)
    described = found.describe()
    name = made.name if origin == NAMED else described.get("name", type(found).__name__)
    kept = {"name": name, "origin": origin, "given": own, "resolved": described}
    return kept, found, made.data if origin == NAMED else None


def _given_task(settings: Settings, there: Manifest | None) -> Task | None:
    """The deployment task that a person gave or that the study began with; None if it follows from the data."""
    if settings.task is not None:
        return settings.task
    return None if there is None or settings.image_size is not None else Task.parse(there.task)


def task_said(settings: Settings, folder: Path) -> tuple[Task | None, str | None]:
    """The deployment task of a study that begins or is resumed in a folder, and what its image size follows from.

    The task is None where neither a person, nor the study that is there, nor a person's own images say it; the size
    follows from nothing where somebody gave it.

    Raises:
        UserError: the images cannot be read, or the folder's manifest is damaged.
    """
    there = Manifest.read(folder) if Manifest.is_in(folder) else None
    task = _given_task(settings, there)
    if task is not None or not _own_images(settings):
        return task, None
    return _task_from_data(settings, _made(settings, there))


def _own_images(settings: Settings) -> bool:
    """Whether candidates are trained on a person's own images, which then say the deployment task."""
    return settings.estimator in ("short-training", "supernet", "zero-cost") and settings.data != "digits"


def _usual_task(settings: Settings) -> tuple[Task, str | None]:
    """The deployment task where the images say nothing of it: a latency table's, else ImageNet's."""
    if settings.image_size is None and settings.latency is not None:
        return settings.latency.task, LATENCY_SIZE
    return Task().at(settings.image_size), None


def _task_from_data(settings: Settings, made: _Made) -> tuple[Task, str | None]:
    """The deployment task of a person's own images, and what its image size follows from.

    A latency table of the same channels and classes was measured for these images, so its size is taken; with that of
    the files it could only be refused.
    """
    images = getattr(made.found, "data", None)
    assert isinstance(images, ImageData)
    task = images.task
    if settings.image_size is not None:
        return task.at(settings.image_size), None
    table = settings.latency
    if table is not None and table.task.at(task.image_size) == task:
        return table.task, LATENCY_SIZE
    files = file_sizes(made.data)
    if files is not None:
        return task.at(files.usual), files.words()
    if "image_size" in made.given:
        task = task.at(load_data(made.data).task.image_size)
    return task, "the size of the arrays"


def _given_again(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an estimator that a study began with, to make it again.

    Whether images are mirrored is among them for an estimator of ours: it was judged by the class names, and how they
    are judged may change from version to version.
    """
    judged = {"mirror": kept["resolved"]["mirror"]} if kept["origin"] == NAMED and "mirror" in kept["resolved"] else {}
    return {**judged, **kept["given"]}


def _data_as_recorded(estimator: Estimator, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What an estimator says of itself, with the fingerprint that a study began with if its images are those."""
    described, data, before = dict(estimator.describe()), getattr(estimator, "data", None), recorded.get("data")
    if isinstance(data, ImageData) and isinstance(before, dict) and data.is_recorded_as(before.get("fingerprint")):
        described["data"] = {**described["data"], "fingerprint": before["fingerprint"]}
    return described


def find(
    folder: str | Path,
    *,
    space: str | SearchSpace | None = None,
    strategy: str | Strategy | Callable[..., Strategy] | None = None,
    estimator: str | Estimator | Callable[..., Estimator] | None = None,
    data: str | None = None,
    ledger: str | None = None,
    device: str = "auto",
    checkpoints: str | None = None,
    key: str | Callable[[Architecture], str] | None = None,
) -> Opened:
    """The study of a run folder; arguments as of `Study.open`.

    Raises:
        UserError: it is not a run folder, it is damaged or of a newer version, or something must be given again.
    """
    place = Path(folder).expanduser()
    typed = strategy, estimator, key
    manifest = Manifest.read(place)
    if space is None:
        if manifest.space["origin"] != NAMED:
            raise again(manifest.space["origin"], "space", place)
        with _kept_in(place):
            space = space_again(manifest.space)
    elif "of" in manifest.space and load_space(space).name != manifest.space["name"]:
        space = space_again(manifest.space, load_space(space))
    elif manifest.space["name"] == load_space(space).name + SUFFIX:
        space = space + SUFFIX if isinstance(space, str) else with_strides(space, PUBLISHED)
    origin, whole = space_from(space)
    with _kept_in(place):
        parse_pruner(manifest.pruner)
        task = _task_of(manifest, place)
        feasible = under(whole, Budget.parse(manifest.budget) if manifest.budget is not None else None, task)
    now = manifest_of(whole, origin, fingerprints(whole))
    manifest.refuse_changes(replace(manifest, space=now), str(place))

    def make_strategy_again() -> Strategy:
        kept = manifest.strategy
        if strategy is None and kept["origin"] != NAMED:
            raise again(kept["origin"], "strategy", place)
        given = kept["name"] if strategy is None else strategy
        settings = kept["resolved" if kept["origin"] == NAMED else "given"]
        with _kept_in(place, strategy is None), nothing_but(*typed):
            _, make = strategy_from(given, feasible, manifest.trials or PLANNED, settings if makes(given) else {})
            made = make()
        now = {**kept, "name": name_of(given), "resolved": settings_of(made)}
        manifest.refuse_changes(replace(manifest, strategy=now), str(place))
        return made

    @functools.cache
    def make_estimator_again() -> Estimator:
        kept = manifest.estimator
        if estimator is None and kept["origin"] != NAMED:
            raise again(kept["origin"], "estimator", place)
        given = kept["name"] if estimator is None else estimator
        settings = _given_again(kept) if makes(given) else {}
        if key is not None:
            settings["key"] = key
        elif estimator is None and ".py:" in str(settings.get("key")):
            raise again(str(settings["key"]), "key", place)
        moved = data is None and "data" in kept["resolved"]
        with (
            _kept_in(place, estimator is None and data is None),
            recorded_place() if moved else contextlib.nullcontext(),
            nothing_but(*typed),
        ):
            _, found = estimator_from(given, whole_path(data or manifest.data or ""), device, settings)
        described = _data_as_recorded(found, kept["resolved"])
        now = {**kept, "name": described.get("name", type(found).__name__), "resolved": described}
        manifest.refuse_changes(replace(manifest, estimator=now), str(place))
        return found

    images = manifest.data if data is None else whole_path(data)
    make = scored(make_strategy_again, manifest.strategy, make_estimator_again, images, manifest.seed)
    if manifest.prescreen is not None:
        with _kept_in(place):
            make = prescreened(make, manifest.prescreen, make_estimator_again, images, manifest.seed)
    opened = open_ledger(manifest, place, ledger)
    kept, inheritance = Checkpoints.of(place, manifest, checkpoints), Inheritance.of(place, manifest)
    moved = images if data is not None and "data" in manifest.estimator["resolved"] else None
    return Opened(
        place, manifest, whole, feasible, task, opened, make, make_estimator_again, kept, inheritance, images=moved
    )


def open_ledger(manifest: Manifest, place: Path, ledger: str | None = None) -> OptunaLedger:
    """The ledger of a run folder.

    Args:
        manifest: of the run.
        place: the folder.
        ledger: the URL of the database, where it has a password that is not in `PGPASSWORD`.

    Raises:
        UserError: it is not there, or is damaged.
    """
    return OptunaLedger.open(_with_password(ledger or manifest.ledger, place), place, manifest.study)


@contextlib.contextmanager
def _kept_in(place: Path, kept: bool = True) -> Iterator[None]:
    """Name the manifest in errors about values that are kept in it."""
    try:
        yield
    except UserError as error:
        if kept and str(place) not in str(error):
            error.args = (f"{place / MANIFEST}: {error}",)
        raise


def _with_password(ledger: str, place: Path) -> str:
    """The ledger as it can be reached: a password is not kept, and comes from the environment."""
    if "***" not in ledger:
        return ledger
    if "PGPASSWORD" not in os.environ or ":***@" not in ledger:
        ways = ["set PGPASSWORD"] if ":***@" in ledger else []  # a password in the URL's query overrides that
        ways += [f"give nas show, plot, dashboard and resume the URL again: --ledger {ledger}"]
        raise UserError(f"{place}: the password of its ledger is not stored; {', or '.join(ways)}")
    return ledger.replace(":***@", "@")


def _start(given: str | Architecture, space: SearchSpace) -> str:
    """A network to start from, as strategies take it: a name among the space's references, or the text form."""
    if isinstance(given, Architecture):
        return given.to_json()
    if given.lstrip().startswith("{") or given.endswith(".json"):
        text = read_text(Path(given), "the network") if given.endswith(".json") else given
        scaled = scaled_from_json(text, space)
        if scaled.scale != Scale():
            raise UserError(f"start-from: a scaled network is not in {space.name}; give the one it was made from")
        return scaled.architecture.to_json()
    if given not in space.references and given in CLASSICS:
        member = classic(given).architecture
        if member is not None and with_strides(member.space, rule_of(space) or SMALL_IMAGES) == space:
            return space.architecture(member.choices).to_json()
    return given


def _takes(strategy: str, setting: str) -> bool:
    """Whether a strategy of ours has a setting."""
    return strategy in STRATEGIES and setting in signature(STRATEGIES[strategy]).parameters


def _check_takes(strategy: object, setting: str) -> None:
    """Refuse a setting that a strategy of ours does not have.

    Raises:
        UserError: the strategy does not take it; the message lists those that do.
    """
    if not isinstance(strategy, str) or ".py:" in strategy:
        return  # a strategy of one's own refuses what it does not take when it is made
    takers = [name for name in STRATEGIES if _takes(name, setting)]
    known = strategy in STRATEGIES or strategy.startswith("optuna:")
    if known and strategy not in takers:
        raise UserError(
            f"the strategy {strategy!r} does not take {setting.replace('_', '-')}; those that do: {', '.join(takers)}"
        )


def _manifest_of(place: Path | None) -> Manifest | None:
    """The manifest of a study that is there; None where one may begin."""
    if place is None:
        return None
    try:
        if not place.exists():
            return None
        if not place.is_dir():
            raise UserError(f"{str(place)!r} is a file, not a folder")
        if Manifest.is_in(place):
            return Manifest.read(place)
        if any(place.iterdir()):
            raise UserError(f"{str(place)!r} is not a run folder, and not empty; choose another name")
    except OSError as error:
        raise UserError(f"cannot read {str(place)!r}: {error.strerror}") from error
    return None


def _task_of(manifest: Manifest, place: Path) -> Task:
    """The task of a run folder, with the latency table that lies there."""
    task = Task.parse(manifest.task)
    if manifest.latency is None:
        return task
    table = LatencyTable.read(place / LATENCY)
    if table.fingerprint != manifest.latency:
        raise UserError(
            f"{place / LATENCY} is not the latency table the study started with: it is #{table.fingerprint[:8]}, and "
            f"was #{manifest.latency[:8]}"
        )
    return table.on(task)


def _begin(place: Path | None, manifest: Manifest, spec: str, task: Task, lost: bool) -> Ledger:
    """Make the folder beside its place, and move it there when it is complete.

    A study that is in a database stays there, whatever fails: another driver may have found it.
    """
    if place is None:
        return MemoryLedger()
    above = [each for each in place.parents if not each.exists()]
    part = part_of(place)
    try:
        remove_parts(place)
        part.mkdir(parents=True)
        _write(part, manifest, spec, task, lost)
        if place.exists():
            place.rmdir()  # it is empty
        part.rename(place)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        for each in above:
            with contextlib.suppress(OSError):
                each.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"cannot create the run folder {str(place)!r}: {error.strerror}") from error
        if isinstance(error, UserError) and part.name in str(error):
            full = "the disk is full" in str(error)
            why = "the disk is full" if full else str(error).replace(str(part), str(place))
            raise UserError(f"cannot create the run folder {str(place)!r}: {why}") from error
        raise
    return MemoryLedger() if spec == "memory" else OptunaLedger.open(spec, place, manifest.study)


def _write(part: Path, manifest: Manifest, spec: str, task: Task, lost: bool) -> None:
    """Write all that a new run folder holds, and its ledger, unless only the folder was lost."""
    manifest.write(part)
    if task.latency is not None:
        write_whole(part / LATENCY, task.latency.text())
    if lost or spec == "memory":
        return
    about: Mapping[str, Any] = {
        **({KEPT: asdict(manifest)} if spec.startswith("postgresql") else {}),
        "space": manifest.space["name"],
        "task": manifest.task,
        "budget": manifest.budget,
        "made by": "nas-toolkit",
    }
    metric = "score" if "estimates" in manifest.estimator["resolved"] else "accuracy"
    OptunaLedger.create(spec, part, manifest.study, about, metric).close()
