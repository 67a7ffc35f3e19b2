"""From the options of `search`, `resume` and `scale` to a study that runs on the screen."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands.console import console, say

if TYPE_CHECKING:
    from rich.console import Console

    from studies import Engine, Event, Study, StudyEnded, Trial
    from studies.trackers import Trackers


def settings_given(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command as `Settings.parse` takes them.

    Options that are settings have their names; the others stand for settings here, or for none.

    Raises:
        UserError: a `--set` cannot be parsed, or `--deterministic` lacks `--workers`.
    """
    from nas.parsing import parse_targeted
    from nas.placement import Placement

    targets = parse_targeted(given["settings"] or ())
    more = reading_given(*(given.get(name) for name in ("skip_bad", "max_pixels", "cache", "centre_crop")))
    if given["metric"] is not None:
        more["metric"] = given["metric"]
    return {
        **given,
        "wave": Placement.of(given).wave(given["deterministic"]),
        "strategy_settings": targets["strategy"],
        "estimator_settings": {**targets["estimator"], **more},
    }


def reading_given(
    skip_bad: bool | None, max_pixels: int | None, cache: str | None = None, centre: float | None = None
) -> dict[str, Any]:
    """The options on image files that were given, as `load_data` takes them."""
    given = {"skip_bad": skip_bad or None, "max_pixels": max_pixels, "cache": cache, "centre": centre}
    return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Running:
    """How a command runs a study.

    Attributes:
        trials: in all; None for as many as were planned.
        limit_s: seconds after which no trial is started; None for no limit.
        engine: where trials run.
        trackers: experiment trackers; None if there are none.
        console: where it is shown.
        quiet: show nothing while it runs.
        typed: the options of these that the command that resumes the study has too, as they were typed.
    """

    trials: int | None
    limit_s: float | None
    engine: Engine
    trackers: Trackers | None
    console: Console
    quiet: bool
    typed: str

    @classmethod
    def of(cls, given: Mapping[str, Any], folder: Path) -> Running:
        """From the options of a command, by name, and the run folder.

        Raises:
            UserError: an option is out of range, or needs another one.
        """
        from nas.parsing import parse_duration
        from nas.placement import Placement
        from nas.tracking import Tracking

        placement, tracking = Placement.of(given), Tracking.of(given)
        engine = placement.engine(given["device"], say)
        limit_s = None if given["time"] is None else parse_duration(given["time"])
        trackers = tracking.trackers(folder, engine)
        typed = placement.typed() + tracking.typed()
        if given["time"] is not None:
            typed += f" --time {shlex.quote(given['time'])}"
        if given["device"] != "auto":
            typed += f" --device {shlex.quote(given['device'])}"
        return cls(given["trials"], limit_s, engine, trackers, console(given["json"]), given["quiet"], typed)

    def run(self, study: Study, preflight: Callable[[], None]) -> tuple[StudyEnded | None, bool]:
        """Run a study on the screen; why it ended, and whether Ctrl-C interrupted it.

        Args:
            study: created or opened.
            preflight: shows what is about to run.
        """
        from nas.api import go_on
        from nas.commands.live import SearchDisplay, SearchProgress
        from studies.interrupts import answered

        def chosen() -> tuple[Trial | None, float | None]:
            if not any(trial.state == "complete" for trial in study.trials):
                return None, None
            return study.best, study.standard_errors.get(study.best.number)

        told = study.manifest.estimator["resolved"]
        took = [trial.seconds for trial in study.trials if trial.state == "complete" and trial.seconds is not None]
        progress = SearchProgress(
            self.trials or study.manifest.total,
            self.limit_s,
            best=chosen()[0],
            chosen=chosen,
            confirmed=any(trial.confirms is not None for trial in study.trials),
            unit=told.get("estimates"),
            images=study.judged_by,
            epochs=told.get("epochs"),
            usual_s=sum(took) / len(took) if took else None,
        )
        display = SearchDisplay(
            progress, self.console, preflight, self.quiet, self.engine, exact=study.manifest.wave is not None
        )

        def on_event(event: Event) -> None:
            display(event)
            if self.trackers is not None:
                self.trackers(event)

        try:
            with display, answered(display.stopping):
                go_on(study, self.trials, self.limit_s, self.engine, on_event)
        except KeyboardInterrupt:  # the ledger is consistent: what ended is kept, what was running is run again
            return display.ended, True
        return display.ended, False
