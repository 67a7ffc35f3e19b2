"""`nas runs`: the searches and trainings in a folder, the latest first."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from estimators.estimator import binomial_error
from searchspaces import Architecture, Decision, UserError
from studies.folder import LOCK
from studies.lock import in_use
from studies.manifest import Manifest

if TYPE_CHECKING:
    from nas.documents import Document
    from searchspaces import Indices, SearchSpace, Value

CONNECT_S: Final = 5
"""Seconds in which a PostgreSQL server is to answer: of one that is away, the other runs are listed all the same."""


def runs_document(folder: Path) -> Document:
    """Every run folder and every trained network directly in a folder, the one that changed last first.

    What cannot be opened is listed with the reason.

    Raises:
        UserError: there is no such folder.
    """
    from estimators.trained import FACTS

    try:
        inside = [each for each in folder.iterdir() if each.is_dir()]
    except OSError as error:
        raise UserError(f"cannot list {str(folder)!r}: {error.strerror}") from error
    found = []
    for each in inside:
        is_search = Manifest.is_in(each)
        if is_search or os.path.isfile(each / FACTS):
            row: Document = {"run": str(each), "kind": "search" if is_search else "training", "state": "unreadable"}
            try:
                row |= _search(each) if is_search else _training(each)
            except UserError as error:
                row["reason"] = str(error)
            if in_use(each):
                row["state"] = "running"
            found.append({**row, "changed": _changed(each)})
    return {
        "folder": str(folder),
        "now": _utc(time.time()),
        "runs": sorted(found, key=lambda row: (row["changed"], row["run"]), reverse=True),
    }


class _OwnSpace:
    """Stands for a space of a person's own, whose code is not run to list it: costs are those that the ledger has, and
    decisions those that were taken, with the options that were chosen, which is all that beliefs go by.
    """

    name = "of one's own"

    def __init__(self) -> None:
        self._chosen: dict[str, set[Value]] = {}

    def architecture(self, choices: Mapping[str, Any]) -> Architecture:
        """Not a network: it is neither costed nor built."""
        for name, option in choices.items():
            self._chosen.setdefault(name, set()).add(option)
        return Architecture(cast("SearchSpace", self), (tuple(choices.items()),))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Numbers by size, as spaces have them."""
        return tuple(
            Decision(name, tuple(sorted(options, key=lambda each: (isinstance(each, str), each))))
            for name, options in self._chosen.items()
        )

    def encode(self, architecture: Architecture) -> Indices:
        """As any space does, once all of the ledger is read."""
        import numpy as np

        of = architecture.choices
        return np.array([each.options.index(of[each.name]) if each.name in of else -1 for each in self.decisions])


def _search(folder: Path) -> dict[str, Any]:
    """A search: what it looked for, how far it is, and the best that it found."""
    from nas.api import open_study
    from studies import results
    from studies.opening import open_ledger
    from studies.origins import NAMED
    from studies.study import judged_by

    manifest = Manifest.read(folder)
    if manifest.space["origin"] == NAMED:
        study = open_study(folder, ledger=_in_time(manifest.ledger))
        ledger, trials, close = study.record.ledger, study.trials, study.close
    else:
        ledger = opened = open_ledger(manifest, folder, _in_time(manifest.ledger))
        trials, close = [trial for trial, _ in opened.trials(cast("SearchSpace", _OwnSpace()))], opened.close
    try:
        ended = sum(trial.state != "running" for trial in trials)
        done = manifest.is_done(len(trials)) and ended == len(trials)
        drivers = ledger.drivers  # who hold no lock of the folder
        at_work = drivers is not None and drivers.at_work()
        best, errors = results.best(trials), results.standard_errors(trials, judged_by(manifest, trials))
        return {
            "what": str(manifest.space["name"]),
            "budget": manifest.budget,
            "data": _trained_on(manifest),
            "state": "running" if at_work else "done" if done else "unfinished",
            "trials": ended,
            "planned": manifest.total,
            "accuracy": None if best is None or not best.is_accuracy else best.accuracy,
            "standard_error": None if best is None or not best.is_accuracy else errors.get(best.number),
            "images": "validation",
            "macs": None if best is None else best.cost.macs,
        }
    finally:
        close()


def _in_time(ledger: str) -> str:
    """The ledger; of PostgreSQL, with a limit on the time that connecting takes, unless it has one."""
    if not ledger.startswith(("postgresql://", "postgresql+psycopg")) or "connect_timeout" in ledger:
        return ledger
    return f"{ledger}{'&' if '?' in ledger else '?'}connect_timeout={CONNECT_S}"


def _training(folder: Path) -> dict[str, Any]:
    """A training: of which network, how far it is, and its accuracy: on test images once it has finished."""
    from estimators.checkpoint import state_in
    from estimators.trained import CHECKPOINT, read_facts

    facts = read_facts(folder) or {}
    try:
        test = facts.get("test_accuracy")
        curve = facts["curve"] or (state_in(folder / CHECKPOINT) or {}).get("curve") or []
        found, val = facts.get("found") or {}, max((each["val_accuracy"] for each in curve), default=None)
        accuracy, images = (val, facts.get("val_images")) if test is None else (test, facts["data"]["test_images"])
        trial = f", trial {found['trial']}" if "trial" in found else ""
        return {
            "what": f"training of {found['run']}{trial}" if "run" in found else "training",
            "data": _name(facts["data"].get("source", facts["data"]["name"])),
            "state": "done" if facts["finished"] else "unfinished",
            "epochs": len(curve),
            "planned": facts["recipe"]["epochs"],
            "accuracy": accuracy,
            "standard_error": None if accuracy is None or not images else binomial_error(accuracy, images),
            "images": None if accuracy is None else "validation" if test is None else "test",
            "macs": facts["cost"]["macs"],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / 'training.json'} is damaged: {error}") from error


def _trained_on(manifest: Manifest) -> str:
    """The data of a search; of one whose estimator has none, such as a table, what that is called."""
    return _name(manifest.data) if "data" in manifest.estimator["resolved"] else str(manifest.estimator["name"])


def _name(data: Any) -> str:
    return Path(data).name if isinstance(data, str) else "your own data"


def _changed(folder: Path) -> str:
    """When a file in the folder was last written, in UTC; the lock, which looking may touch, aside."""
    times = [_written(file) for file in folder.iterdir() if file.name != LOCK]
    return _utc(max(times, default=0.0))


def _written(file: Path) -> float:
    """When a file was last written; 0 of what is no file or is gone, as parts of files being written soon are."""
    try:
        status = file.stat()
    except OSError:
        return 0.0
    return status.st_mtime if stat.S_ISREG(status.st_mode) else 0.0


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
