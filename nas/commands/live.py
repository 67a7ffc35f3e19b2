"""A search while it runs: a live screen on a terminal, one line for each trial elsewhere."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from estimators.estimator import binomial_error
from nas.commands.console import say_at_once, stopping
from nas.commands.tables import BAR_WIDTH, FAINT, GOOD, WARNING, facts
from nas.wording import duration, ended_as, estimate_name, estimate_text, human, number_of, sparkline, within
from studies import StudyEnded, StudyPrepares, StudyStarted, TrialEnded, TrialReported, TrialStarted
from studies.adjusting import training_of
from studies.engine import failure_kind
from studies.results import by_merit

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from studies import Engine, Event, Trial
    from studies.engine import Snapshot

SHOWN: Final = 4
"""Running trials, and nodes, that are listed; the others are counted."""


@dataclass
class SearchProgress:
    """The state of a search, derived from its events.

    Attributes:
        planned: trials in all; None if only time limits them.
        limit_s: seconds after which no trial is started; None if only their number limits them.
        done: trials that have ended, those of earlier runs included.
        best: the best complete trial so far; once there are confirmations, the one that `chosen` gives.
        chosen: the best as the study has it, with its mean accuracy, and the standard error of that.
        confirmed: whether there are confirmations.
        clock: a monotonic clock, in seconds.
        unit: of the estimates, if they are no accuracies.
        images: on which accuracies are estimated; None where nobody knows.
        epochs: of a trial; None where nobody knows.
        usual_s: seconds of a trial in earlier runs; None before there was one.
        failures: number of failed trials by reason.
        running: running trials, by number.
        curves: accuracies reported by running trials after each epoch, by number.
        rungs: the accuracy at the last rung of running trials before their first epoch, by number.
        ended_here: trials that ended since this run began.
    """

    planned: int | None
    limit_s: float | None = None
    done: int = 0
    best: Trial | None = None
    chosen: Callable[[], tuple[Trial | None, float | None]] = lambda: (None, None)
    confirmed: bool = False
    clock: Callable[[], float] = time.monotonic
    unit: str | None = None
    images: int | None = None
    epochs: int | None = None
    usual_s: float | None = None
    failures: Counter[str] = field(default_factory=Counter)
    running: dict[int, Trial] = field(default_factory=dict)
    curves: dict[int, list[float]] = field(default_factory=dict)
    rungs: dict[int, float] = field(default_factory=dict)
    ended_here: int = 0

    def __post_init__(self) -> None:
        self._best_error: float | None = None
        self._choose_from = -math.inf  # by the clock
        if self.confirmed:
            self._choose()
        self._limited_from = self.clock()
        self.restart()

    def limit(self, limit_s: float | None) -> None:
        """Start the clock of the limit, which counts what is prepared too."""
        self.limit_s, self._limited_from = limit_s, self.clock()

    def restart(self) -> None:
        """Start the clock of the trials."""
        self._began = self._last_end = self.clock()

    def started(self, trial: Trial) -> None:
        """A trial has started."""
        self.running[trial.number] = trial
        self.curves[trial.number] = []

    def reported(self, number: int, accuracy: float, step: int = 1) -> None:
        """A running trial reported its accuracy, in [0, 1], after one more epoch or, at steps up to 0, rung."""
        if step > 0:
            self.curves.setdefault(number, []).append(accuracy)
        else:
            self.rungs[number] = accuracy

    def ended(self, trial: Trial) -> None:
        """A trial has ended: complete, pruned or failed."""
        self.running.pop(trial.number, None)
        self.curves.pop(trial.number, None)
        self.rungs.pop(trial.number, None)
        self.done += 1
        self.ended_here += 1
        self._last_end = self.clock()
        if trial.state == "failed":
            self.failures[trial.reason or "no reason given"] += 1
        if trial.confirms is not None:  # one more training of a known network: the mean decides
            self.confirmed = True
        if self.confirmed or (trial.state == "complete" and training_of(trial) is not None):  # the others decide too
            self._choose()
            return
        if trial.state == "complete" and (self.best is None or by_merit(trial) < by_merit(self.best)):
            self.best = trial

    def _choose(self) -> None:
        """The best as the study has it, which takes a second among ten thousand trials: a twentieth of the time."""
        began = self.clock()
        if began < self._choose_from:
            return
        best, self._best_error = self.chosen()
        self.best = best or self.best
        self._choose_from = self.clock() + 19 * (self.clock() - began)

    @property
    def elapsed_s(self) -> float:
        """Seconds since this run began, without those in which something was prepared."""
        return self.clock() - self._began

    @property
    def pace_s(self) -> float | None:
        """Seconds for each trial, all overheads included; None while nothing is known.

        With parallel trials this is the inverse of their throughput, not the duration of one. Before the first trial
        has ended it follows from the epochs that are done, or else from the trials of earlier runs.
        """
        if self.ended_here:
            return (self._last_end - self._began) / self.ended_here
        epochs = sum(map(len, self.curves.values()))
        if self.epochs and epochs:
            return self.elapsed_s * self.epochs / epochs
        return self.usual_s / max(len(self.running), 1) if self.usual_s else None

    def error(self, accuracy: float | None) -> float | None:
        """The standard error that an accuracy has from its validation images alone."""
        if accuracy is None or self.images is None or self.unit is not None:
            return None
        return binomial_error(accuracy, self.images)

    @property
    def best_error(self) -> float | None:
        """The standard error of the best accuracy: over its trainings, where it was confirmed."""
        if self._best_error is not None or self.best is None:
            return self._best_error
        return self.error(self.best.accuracy)

    @property
    def left_s(self) -> float | None:
        """Estimated seconds left, from the trials so far; None before there are any."""
        by_time = None if self.limit_s is None else max(self.limit_s - self._spent_s, 0.0)
        if self.planned is None or self.pace_s is None:
            return by_time
        since = self.clock() - self._last_end if self.ended_here else 0.0
        by_trials = max(max(self.planned - self.done, 0) * self.pace_s - since, 0.0)
        return by_trials if by_time is None else min(by_time, by_trials)

    @property
    def share(self) -> float:
        """The fraction of the search that is done, in [0, 1]: of its trials or of its time, whichever is larger."""
        by_trials = self.done / self.planned if self.planned else 0.0
        by_time = self._spent_s / self.limit_s if self.limit_s else 0.0
        return min(max(by_trials, by_time), 1.0)

    @property
    def _spent_s(self) -> float:
        return self.clock() - self._limited_from


class SearchDisplay:
    """Shows a study's events on a console, until the end of the `with` block.

    Args:
        progress: what to show; kept up to date by the display.
        console: a live screen if it is a terminal, else one line for each trial that ends.
        preflight: called once, before anything is trained.
        quiet: show nothing.
        engine: what runs the trials; if it knows on which nodes, its `now` says so.
        exact: whether the search is deterministic, and need not be told how it would be.

    Attributes:
        ended: why the study ended; None while it runs.
    """

    def __init__(
        self,
        progress: SearchProgress,
        console: Console,
        preflight: Callable[[], None] = lambda: None,
        quiet: bool = False,
        engine: Engine | None = None,
        exact: bool = False,
    ) -> None:
        self.progress, self.console, self.quiet = progress, console, quiet
        self._preflight, self._engine, self._exact = preflight, engine, exact
        self.ended: StudyEnded | None = None
        self._meanwhile: str | None = None
        self._prepares: str | None = None
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            self._live = Live(get_renderable=self.screen, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """An event of the study."""
        progress = self.progress
        match event:
            case StudyStarted():
                progress.planned, progress.done = event.trials, event.ended
                progress.limit(event.limit_s)
                if not self.quiet:
                    self._preflight()
                progress.restart()
                if self._live is not None:
                    self._live.start(refresh=True)
            case StudyPrepares():
                if self._live is None and not self.quiet and self._prepares is None:
                    self.console.print(f"{event.words} ...", soft_wrap=True)  # the first of many
                self._prepares = event.words
            case TrialStarted():
                if self._prepares is not None:
                    self._prepares = None
                    progress.restart()
                if not progress.running and not progress.ended_here:
                    self._show_note()
                progress.started(event.trial)
            case TrialReported():
                progress.reported(event.number, event.accuracy, event.step)
            case TrialEnded():
                progress.ended(event.trial)
                if self._live is None and not self.quiet:
                    self.console.print(self.line(event.trial), soft_wrap=True)
            case StudyEnded():
                self.ended = event

    def stopping(self, meanwhile: str) -> None:
        """Ctrl-C was pressed; in its handler, so the live screen only finds it at its next refresh."""
        self._meanwhile = meanwhile
        if self._live is None:
            say_at_once(stopping(meanwhile))

    def _show_note(self) -> None:
        note = getattr(self._engine, "note", None)
        if note is not None and not self.quiet:
            begun = self.progress.done > 0  # and a study that has begun keeps to how it proposes
            how = "" if self._exact or begun else f"; {getattr(self._engine, 'exact_by', '')}"
            self.console.print(Text(note + how, style=FAINT))

    def line(self, trial: Trial) -> str:
        """A trial that has ended, in one line without colour."""
        progress = self.progress
        planned = f"/{progress.planned}" if progress.planned else ""
        said = [
            f"{progress.done}{planned}",
            f"trial {trial.number}",
            _outcome(trial, progress),
            f"{human(trial.cost.macs)} MACs",
        ]
        if trial.confirms is not None:
            said.append(f"confirms trial {trial.confirms}")
        if trial.parent is not None:
            said.append(f"from trial {trial.parent}")
        now = getattr(self._engine, "now", None)
        on = f" on {now.places[trial.number]}" if now and now.nodes > 1 and trial.number in now.places else ""
        said.append(duration(trial.seconds or 0.0) + on)
        if progress.best is not None:
            best = progress.best.accuracy or 0.0
            said.append(f"best {within(best, progress.best_error, progress.unit)}")
        if progress.left_s:
            said.append(f"about {duration(progress.left_s)} left")
        return "  ".join(said)

    def screen(self) -> RenderableType:
        """The live screen."""
        progress, now = self.progress, getattr(self._engine, "now", None)
        running = list(progress.running.items())
        rows: list[tuple[str, RenderableType]] = [("done", _bar(progress))]
        if self._prepares is not None:
            rows.append(("first", Text(self._prepares)))
        if progress.best is not None:
            rows.append(("best", _best(progress.best, progress)))
        for number, trial in running[:SHOWN]:
            place = None if now is None else now.places.get(number, "")
            place = None if place and now is not None and now.nodes == 1 else place
            rows.append((f"trial {number}", _running(trial, progress, place)))
        if len(running) > SHOWN:
            rows.append(("", Text(f"and {len(running) - SHOWN} more", style=FAINT)))
        if now is not None:
            rows.append(("at work" if now.nodes == 1 else "where", _where(now, len(running))))
        rows.append(("time", _time(progress, several=now is not None)))
        if progress.failures:
            rows.append(("failed", Text(_failures(progress.failures), style="red", overflow="ellipsis", no_wrap=True)))
        if self._meanwhile is not None:
            rows.append(("Ctrl-C", Text(stopping(self._meanwhile), style=WARNING)))
        return facts(*rows)


def _outcome(trial: Trial, progress: SearchProgress) -> str:
    if trial.state == "complete":
        accuracy, unit = trial.accuracy or 0.0, progress.unit
        found = within(accuracy, progress.error(accuracy), unit)
        return found if unit is None else f"{estimate_name(unit)} {found}"
    return ended_as(trial.state, " ".join((trial.reason or "no reason given").split()))


def _bar(progress: SearchProgress) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    of = f"{progress.done} of {progress.planned}" if progress.planned else number_of(progress.done, "trial")
    bar = ProgressBar(total=1.0, completed=progress.share, width=BAR_WIDTH)
    grid.add_row(bar, f"{of}", Text(f"{100 * progress.share:.0f}%", style=FAINT))
    return grid


def _best(trial: Trial, progress: SearchProgress) -> Text:
    accuracy, unit = trial.accuracy or 0.0, progress.unit
    cost = f"  trial {trial.number}: {human(trial.cost.macs)} MACs, {human(trial.cost.params)} parameters"
    note = f" ({unit})" if unit else ""
    return Text.assemble((within(accuracy, progress.best_error, unit), GOOD), note, (cost, FAINT))


def _running(trial: Trial, progress: SearchProgress, place: str | None) -> Text:
    """A running trial; `place` is its node, empty while it waits for one, None if there are no nodes."""
    curve = progress.curves.get(trial.number, [])
    macs = f"{human(trial.cost.macs)} MACs" + ("" if trial.confirms is None else f", confirms trial {trial.confirms}")
    on = f", on {place}" if place else ""
    if not curve:
        last = progress.rungs.get(trial.number)
        rung = "" if last is None else f"{estimate_text(last, progress.unit)} at its last rung, "
        return Text(f"{rung}{'waiting for a worker' if place == '' else 'training'}, {macs}{on}", style=FAINT)
    of = f" of {progress.epochs}" if progress.epochs else ""
    return Text.assemble(
        (sparkline(curve), "cyan"),
        f"  {estimate_text(curve[-1], progress.unit)}",
        (f"  epoch {len(curve)}{of}, {macs}{on}", FAINT),
    )


def _where(now: Snapshot, running: int) -> Text:
    """Trials on each node, the busiest first, and the resources in use on all nodes."""
    in_use = [f"{now.used[kind]:g} of {now.there[kind]:g} {_KINDS[kind]}" for kind in _KINDS if now.there.get(kind)]
    if now.nodes == 1:
        return Text(" and ".join(in_use))
    busy = sorted(Counter(now.places.values()).items(), key=lambda node: (-node[1], node[0]))
    said = [f"{count} on {name}" for name, count in busy[:SHOWN]]
    if len(busy) > SHOWN:
        said.append(f"{sum(count for _, count in busy[SHOWN:])} elsewhere")
    if running > len(now.places):
        said.append(f"{running - len(now.places)} waiting")
    in_all = f"; {now.nodes} nodes: {' and '.join(in_use)} in use"
    return Text.assemble(", ".join(said) or "no trial is running", (in_all, FAINT))


_KINDS: Final = {"GPU": "GPUs", "CPU": "cores"}


def _failures(reasons: Counter[str]) -> str:
    """The number of failures of each kind; the whole reason if all failed for the same one."""
    kinds: Counter[str] = Counter()
    for reason, count in reasons.items():
        kinds[failure_kind(reason)] += count
    shown = reasons if len(reasons) == 1 else kinds
    return ", ".join(f"{count} x {why}" for why, count in shown.most_common(3))


def _time(progress: SearchProgress, several: bool) -> Text:
    said = [duration(progress.elapsed_s)]
    if progress.pace_s is None:
        said.append("time left will be known after the first trial")
    elif several:
        said.append(_throughput(progress.pace_s))
    else:
        said.append(f"{duration(progress.pace_s)} per trial")
    if progress.left_s:
        said.append(f"about {duration(progress.left_s)} left")
    return Text(", ".join(said))


def _throughput(pace_s: float) -> str:
    """Throughput in the unit that gives a number above one.

    >>> _throughput(0.8), _throughput(90)
    ('75 trials per minute', '40 trials per hour')
    """
    per_minute = 60 / max(pace_s, 1e-9)
    return f"{per_minute:.3g} trials per minute" if per_minute >= 1 else f"{60 * per_minute:.3g} trials per hour"
