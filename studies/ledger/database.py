"""Where trials are kept: an Optuna study, which every tool that reads Optuna studies reads.

A trial is written in one transaction when it starts (RUNNING, with its decisions as parameters) and is over with the
one that changes its state, so a process may die between any two lines. The attributes of a trial: `architecture` (its
text form), its costs, `seed`, `told` (see `Trial`), `driver` where there may be several, and after its end
`outcome` (what else there is to know of it). Its value is its accuracy, to be maximized; its intermediate values are
the learning curve.

Left out: Optuna's Redis journal and its gRPC proxy, which keep pickles or need a server that nobody else here knows.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import UserError
from studies.folder import LEDGERS
from studies.ledger.drivers import PATIENCE_S, Drivers, bounded
from studies.ledger.ledger import without_password
from studies.ledger.reading import read_trial, states
from studies.ledger.rows import DIALECTS, Rows
from studies.trial import Trial

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from searchspaces import SearchSpace

_NOT_OURS: Final = (LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, UserError)
"""What our own reading of a trial raises, and Optuna's, where no study wrote it."""

_PATIENCE_S: Final = 60  # for another process, such as a dashboard, that holds SQLite's lock


class StudyExistsError(UserError):
    """A database holds a study of that name already.

    Attributes:
        name, attributes: of the study.
    """

    def __init__(self, where: str, name: str, attributes: Mapping[str, Any]) -> None:
        super().__init__(f"{where} already holds a study named {name!r}; choose another name")
        self.name, self.attributes = name, attributes


class OptunaLedger:
    """An Optuna study that keeps trials; made by `create` and `open`.

    Args:
        storage: Optuna's.
        study_id: of the study in it.
        where: what to call it in messages.

    Attributes:
        drivers: those who work on it, where there may be several: in PostgreSQL.
    """

    def __init__(self, storage: BaseStorage, study_id: int, where: str) -> None:
        self._storage, self._study_id, self._where = storage, study_id, where
        self._ids: dict[int, int] = {}
        self._last = -1  # the highest of them
        self.drivers: Drivers | None = None
        engine = getattr(storage, "engine", None)
        if engine is not None and engine.dialect.name == "postgresql":
            self.drivers = Drivers(engine, study_id, where)
        self._rows = Rows(engine, study_id, where) if engine is not None and engine.dialect.name in DIALECTS else None
        self._distributions: dict[str, BaseDistribution] = {}

    @classmethod
    def create(
        cls, spec: str, folder: Path, name: str, attributes: Mapping[str, Any], metric: str = "accuracy"
    ) -> OptunaLedger:
        """A new, empty ledger.

        Args:
            spec: `sqlite` or `journal` (a file in the folder), or the URL of a database that SQLAlchemy knows.
            folder: the run folder.
            name: of the study in it; a database may hold many.
            attributes: of the study, written in this order.
            metric: what people who look at it with Optuna's tools call the values of trials.

        Raises:
            StudyExistsError: the database holds a study of that name already.
            UserError: it cannot be reached.
        """
        import optuna

        where = _where(spec, folder)
        with _explained(where), quiet():
            storage = _storage(spec, folder)
            try:
                study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], name)
            except optuna.exceptions.DuplicatedStudyError as error:
                study_id = storage.get_study_id_from_name(name)
                there = storage.get_study_user_attrs(study_id)
                cls(storage, study_id, where).close()
                raise StudyExistsError(where, name, there) from error
            for key, value in attributes.items():
                storage.set_study_user_attr(study_id, key, value)
            with warnings.catch_warnings():  # naming what is maximized is "experimental" in Optuna since 3.2
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                optuna.Study(name, storage).set_metric_names([metric])
        return cls(storage, study_id, where)

    @classmethod
    def open(cls, spec: str, folder: Path, name: str) -> OptunaLedger:
        """The ledger that `create` made.

        Raises:
            UserError: it does not exist, or is not a ledger.
        """
        where = _where(spec, folder)
        if spec == "memory":
            raise UserError(f"{folder}: the ledger was in memory, so the study ended with its process")
        _check_there(spec, folder)
        with _explained(where), _readable(where), quiet():
            storage = _storage(spec, folder, there=True)
            try:
                study_id = storage.get_study_id_from_name(name)
            except KeyError as error:
                raise UserError(f"{where} holds no study named {name!r}") from error
        return cls(storage, study_id, where)

    def trials(self, space: SearchSpace) -> list[tuple[Trial, dict[str, Any]]]:
        """All trials by number, each with what the pruner noted of it.

        Raises:
            UserError: something in it was not written by a study over this space.
        """
        read = self._all_of(lambda: self._storage.get_all_trials(self._study_id, deepcopy=False), space)
        if [trial.number for trial, _ in read] != list(range(len(read))):
            raise UserError(f"{self._where}: trials are missing")
        for trial, _ in read:
            if trial.confirms is not None and read[trial.confirms][0].state != "complete":
                raise UserError(f"{self._where}: trial {trial.number} confirms one that is not complete")
        return read

    def _all_of(self, get: Callable[[], list[FrozenTrial]], space: SearchSpace) -> list[tuple[Trial, dict[str, Any]]]:
        """What Optuna keeps, as trials by number and what the pruner noted of each."""
        read, number = [], 0
        with _explained(self._where), quiet():
            try:
                for frozen in sorted(get(), key=lambda each: each.number):
                    number = frozen.number
                    notes = frozen.user_attrs["outcome"]["pruner"] if frozen.state.is_finished() else {}
                    read.append((read_trial(frozen, space, self._rows is not None), dict(notes)))
                    self._ids[number] = frozen._trial_id
                    self._last = max(self._last, frozen._trial_id)
            except _NOT_OURS as error:
                what = f"{type(error).__name__}: {error}"
                raise UserError(f"{self._where}: trial {number} was not written by this study ({what})") from error
        return read

    def turn(self) -> AbstractContextManager[None]:
        """Be the only driver that reads and writes, where there may be several."""
        return self.drivers.turn() if self.drivers else nullcontext()

    def news(self, elsewhere: Iterable[int], space: SearchSpace) -> list[tuple[Trial, dict[str, Any]]]:
        """What other drivers wrote since: trials that are new and, of those running elsewhere, those that ended.

        Args:
            elsewhere: numbers of running trials that are not this driver's.
        """
        if self.drivers is None:
            return []
        those = "SELECT trial_id FROM trials WHERE study_id = :study AND "
        found = self.drivers.ask(those + "trial_id > :last", study=self._study_id, last=self._last)
        asked = [self._ids[number] for number in elsewhere]
        if asked:
            ended = "state <> 'RUNNING' AND trial_id = ANY(:asked)"
            found += self.drivers.ask(those + ended, study=self._study_id, asked=asked)
        return self._all_of(lambda: [self._storage.get_trial(trial_id) for (trial_id,) in found], space)

    def taken_over(self, trial: Trial) -> tuple[Trial, bool]:
        """A trial that its driver left running, and whether it is ours from now on: another driver may be faster."""
        if self.drivers is None:
            return trial, True
        with _explained(self._where):
            trial_id = self._ids[trial.number]
            driver = self._storage.get_trial_user_attrs(trial_id).get("driver")
            if driver == trial.driver:
                driver = self.drivers.me
                self._storage.set_trial_user_attr(trial_id, "driver", driver)
        return replace(trial, driver=driver), driver == self.drivers.me

    def started(self, trial: Trial, seed: int, space: SearchSpace, ends: int) -> None:
        """As in `Ledger`."""
        from optuna.trial import TrialState, create_trial

        attributes = {
            "architecture": trial.architecture.to_json(),
            **trial.cost.told(),
            "seed": seed,
            "told": trial.told,
            **({} if trial.started is None else {"started": trial.started.isoformat()}),
            **({} if trial.confirms is None else {"confirms": trial.confirms}),
            **({} if trial.parent is None else {"parent": trial.parent}),
            **({} if trial.driver is None else {"driver": trial.driver}),
            **({"twins": [dict(each.choices) for each in trial.twins]} if trial.twins else {}),
        }
        if not self._distributions:
            self._distributions = _distributions(space)
        distributions = self._distributions
        params = trial.architecture.choices
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={name: distributions[name] for name in params},
            user_attrs=attributes,
        )
        # Optuna's own times say no zone: they are local
        template.datetime_start = None if trial.started is None else trial.started.astimezone().replace(tzinfo=None)
        with _explained(self._where):
            if self._rows is not None:
                trial_id = self._rows.started(template, trial.number, ends)
            else:
                trial_id = self._storage.create_new_trial(self._study_id, template)
                number = self._storage.get_trial_number_from_id(trial_id)
                if number != trial.number:
                    came = f"{number} came after {trial.number - 1}"
                    raise UserError(f"{self._where}: another process writes trials too ({came})")
        self._ids[trial.number], self._last = trial_id, trial_id

    def reported(self, number: int, step: int, accuracy: float) -> None:
        """Write one point of a running trial's learning curve."""
        with _explained(self._where):
            if self._rows is not None:
                self._rows.reported(self._ids[number], step, accuracy)
            else:
                self._storage.set_trial_intermediate_value(self._ids[number], step, accuracy)

    def ended(self, trial: Trial, written: int, notes: Mapping[str, Any]) -> None:
        """Write how a trial ended; it is over with the last line of this.

        Args:
            trial: as it ended.
            written: how many of its reports were written as they came in.
            notes: what the pruner noted of it.
        """
        assert trial.rank is not None, "a trial that ended has its place among the ends"
        trial_id = self._ids[trial.number]
        outcome = {
            "rank": trial.rank,
            "seconds": trial.seconds,
            "reason": trial.reason,
            "steps": [step for step, _ in trial.reports],  # there may be more, of an attempt that died
            "details": dict(trial.details),
            "pruner": dict(notes),
            "ended": trial.ended.isoformat() if trial.ended else None,
        }
        state, reports = states()[trial.state], trial.reports[written:]
        with _explained(self._where):
            if self._rows is not None:
                self._rows.ended(trial_id, trial.rank, state, trial.accuracy, reports, {"outcome": outcome})
                return
            for step, accuracy in reports:
                self._storage.set_trial_intermediate_value(trial_id, step, accuracy)
            self._storage.set_trial_user_attr(trial_id, "outcome", outcome)
            values = None if trial.accuracy is None else [trial.accuracy]
            self._storage.set_trial_state_values(trial_id, state, values)

    def close(self) -> None:
        """Give files and connections back; the next call opens them again."""
        self._storage.remove_session()
        engine = getattr(self._storage, "engine", None)
        if engine is not None:
            engine.dispose()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from logging that it made a study, or that it reads a damaged one in another way: it raises too."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def storage_of(spec: str, folder: Path) -> BaseStorage:
    """Optuna's storage of a run's ledger, for Optuna's own tools.

    Args:
        spec: as in the manifest: `sqlite`, `journal` or the URL of a database, whose password may be in `PGPASSWORD`.
        folder: the run folder.

    Raises:
        UserError: the ledger is in memory, is not there, or cannot be reached.
    """
    if spec not in LEDGERS and "://" not in spec:
        raise UserError(f"{folder}: the ledger was kept in memory, so there is none to read")
    _check_there(spec, folder)
    with _explained(_where(spec, folder)), _readable(_where(spec, folder)), quiet():
        return _storage(spec, folder, there=True)


def mend_journal(folder: Path) -> None:
    """Cut off a last line that was half written when a disk was full; only for who holds the folder's lock."""
    path = folder / LEDGERS["journal"]
    if path.exists():
        with _explained(str(path)), path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _where(spec: str, folder: Path) -> str:
    return str(folder / LEDGERS[spec]) if spec in LEDGERS else without_password(spec)


def _storage(spec: str, folder: Path, there: bool = False) -> BaseStorage:
    """Optuna's storage; of a ledger that is `there` already, no tables are made, wherever a manifest points."""
    import sqlalchemy
    from optuna import storages

    if spec == "journal":
        from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

        # a lock that was left behind points to the path, and is broken by its age
        path = str(folder.resolve() / LEDGERS[spec])
        return storages.JournalStorage(JournalFileBackend(path, JournalFileSymlinkLock(path, grace_period=5)))
    if spec == "sqlite":
        spec = sqlalchemy.URL.create("sqlite", database=str(folder.resolve() / LEDGERS[spec])).render_as_string()
    elif spec.startswith("postgresql://"):
        spec = spec.replace("postgresql", "postgresql+psycopg", 1)  # SQLAlchemy's own choice from 2.1 on
    patient = {"connect_args": {"timeout": _PATIENCE_S}} if spec.startswith("sqlite") else {"pool_pre_ping": True}
    storage = storages.RDBStorage(spec, engine_kwargs=patient, skip_table_creation=there)
    if storage.engine.dialect.name == "postgresql":
        sqlalchemy.event.listen(storage.engine, "connect", bounded)
        storage.engine.dispose()  # its first connection has no bounds
    return storage


def _check_there(spec: str, folder: Path) -> None:
    """Refuse a file that is no ledger: SQLite would make one that is missing, wherever a manifest points.

    Raises:
        UserError: as said.
    """
    if spec in LEDGERS:
        _check_file(spec, folder / LEDGERS[spec])
    elif spec.startswith("sqlite"):
        from urllib.parse import unquote

        import sqlalchemy

        url = sqlalchemy.make_url(spec)
        file = url.database or ""  # or its URI, such as file:ledger.db?uri=true
        _check_file("sqlite", Path(unquote(file.removeprefix("file:")) if "uri" in url.query else file))


def _check_file(spec: str, path: Path) -> None:
    """Look at a ledger's first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise UserError(f"cannot read the ledger {path}: {error.strerror}") from error
    if (spec == "sqlite" and head != b"SQLite format 3\0") or (spec == "journal" and not head.startswith(b"{")):
        raise UserError(f"{path} is not a ledger: it was not written by {spec}")


@contextmanager
def _readable(where: str) -> Iterator[None]:
    """Turn what Optuna raises as it replays a damaged journal into one line: it looks at nothing before it uses it."""
    try:
        yield
    except UserError:
        raise
    except (*_NOT_OURS, ValueError, RecursionError) as error:
        raise UserError(f"{where} is not a ledger, or it is damaged: {type(error).__name__}: {error}") from error


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn what a storage raises about its files and servers into one line for a person."""
    import optuna
    import sqlalchemy

    try:
        yield
    except UserError:
        raise
    except (
        optuna.exceptions.StorageInternalError,
        optuna.exceptions.UpdateFinishedTrialError,
        sqlalchemy.exc.SQLAlchemyError,
        sqlite3.Error,
        OSError,
        ImportError,
        ValueError,  # text that is not JSON, a number that is none
    ) as error:
        raise UserError(_explanation(where, error)) from error
    except RuntimeError as error:  # Optuna: the tables are of another version of it
        if "version" not in str(error):
            raise
        raise UserError(f"{where}: {' '.join(str(error).split())}") from error


def _explanation(where: str, error: BaseException) -> str:
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    text = " ".join(str(getattr(root, "orig", None) or root).split())
    if isinstance(root, ImportError) and root.name == "psycopg":
        return f"{where}: PostgreSQL needs psycopg: pip install 'nas-toolkit[postgresql]'"
    if "disk is full" in text or "No space left" in text or "quota" in text:
        return f"{where}: the disk is full; finished trials are kept: free some space, then resume"
    if "not a database" in text or "malformed" in text or isinstance(root, ValueError):
        return f"{where} is not a ledger, or it is damaged: {text}"
    if "readonly" in text or "unable to open" in text or isinstance(root, PermissionError):
        return f"cannot write to {where}: {text}"
    if "already finished" in text:
        return f"{where}: another driver took over the trials that were running here; resume to continue ({text})"
    if "is locked" in text:
        return f"{where} was locked by another process for more than {_PATIENCE_S} seconds"
    if "lock timeout" in text:
        return f"{where} was locked by another driver for more than {PATIENCE_S} seconds"
    return f"{where}: {type(root).__name__}: {text}"


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution

    return {decision.name: CategoricalDistribution(decision.options) for decision in space.decisions}
