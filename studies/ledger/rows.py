"""Trials written into Optuna's tables in few statements.

One transaction as a trial starts, one as it ends, and one statement for each point of its curve. Optuna's own storage
writes the same rows, with some three queries for each decision of a trial: 50 ms a trial and more, in which a driver
could start no other. Its tables are taken from its own models, so that they are those of the version that is installed;
what it reads back is tested to be the same.

A transaction that starts or ends a trial is undone where another process wrote since its writer last read: a driver's
lock is held by another connection, and may be lost in the middle of its turn.

Left out: databases other than SQLite and PostgreSQL, journals and Optuna's own memory, which its storages write.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from searchspaces import UserError

if TYPE_CHECKING:
    import sqlalchemy
    from optuna.trial import FrozenTrial, TrialState

DIALECTS: Final = ("sqlite", "postgresql")


class Rows:
    """The rows of one study.

    Args:
        engine: of the database, which is one of `DIALECTS`.
        study_id: of the study in it.
        where: what to call the ledger in messages.
    """

    def __init__(self, engine: sqlalchemy.Engine, study_id: int, where: str) -> None:
        self._engine, self._study_id, self._where = engine, study_id, where
        self._distributions: dict[str, tuple[Any, str]] = {}
        self._report: sqlalchemy.Insert | None = None  # made once: that takes longer than to run it

    def started(self, trial: FrozenTrial, number: int, ends: int) -> int:
        """Write a running trial; gives its id.

        Args:
            trial: of which the number is not known yet.
            number: how many trials there are.
            ends: how many of them have ended.

        Raises:
            UserError: there are others.
        """
        from optuna.distributions import distribution_to_json
        from optuna.storages._rdb import models
        from optuna.trial import TrialState
        from sqlalchemy import insert

        for name, distribution in trial.distributions.items():
            if self._distributions.get(name, (None, ""))[0] is not distribution:
                self._distributions[name] = distribution, distribution_to_json(distribution)
        params = [
            {
                "param_name": name,
                "param_value": trial.distributions[name].to_internal_repr(value),
                "distribution_json": self._distributions[name][1],
            }
            for name, value in trial.params.items()
        ]
        attributes = [{"key": key, "value_json": json.dumps(value)} for key, value in trial.user_attrs.items()]
        trials = models.TrialModel.__table__
        begun = {"number": number, "study_id": self._study_id, "state": trial.state}
        with self._writing() as connection:
            made: Any = connection.execute(insert(trials), {**begun, "datetime_start": _utc(trial.datetime_start)})
            trial_id = int(made.inserted_primary_key[0])
            self._refuse_others(connection, number + 1)
            self._refuse_others(connection, ends, trials.c.state != TrialState.RUNNING)
            if params:
                rows = [{"trial_id": trial_id, **each} for each in params]
                connection.execute(insert(models.TrialParamModel.__table__), rows)
            rows = [{"trial_id": trial_id, **each} for each in attributes]
            connection.execute(insert(models.TrialUserAttributeModel.__table__), rows)
        return trial_id

    @contextmanager
    def _writing(self) -> Iterator[sqlalchemy.Connection]:
        """The only transaction that starts or ends a trial; of SQLite, from its first write on."""
        from optuna.storages._rdb import models
        from sqlalchemy import select

        studies = models.StudyModel.__table__
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":  # as Optuna does
                connection.execute(select(studies).where(studies.c.study_id == self._study_id).with_for_update())
            yield connection

    def _refuse_others(
        self, connection: sqlalchemy.Connection, known: int, *those: sqlalchemy.ColumnElement[bool]
    ) -> None:
        """Undo the transaction where the study has not as many trials, or not as many such, as its writer knows."""
        from optuna.storages._rdb import models
        from sqlalchemy import func, select

        trials = models.TrialModel.__table__
        counted = select(func.count()).select_from(trials).where(trials.c.study_id == self._study_id, *those)
        if connection.scalar(counted) != known:
            raise UserError(f"{self._where}: another process wrote trials in the meantime; resume to continue")

    def reported(self, trial_id: int, step: int, accuracy: float) -> None:
        """Write a point of a running trial's learning curve, in one statement.

        Raises:
            UpdateFinishedTrialError: it is not running.
        """
        with self._engine.begin() as connection:
            self._write(connection, trial_id, step, accuracy)

    def _write(self, connection: sqlalchemy.Connection, trial_id: int, step: int, accuracy: float) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.storages._rdb import models

        if self._report is None:
            self._report = self._statement_of_a_report()
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(accuracy)
        told = {"trial": trial_id, "at": step, "stored": stored, "kind": kind}
        if not connection.execute(self._report, told).rowcount:
            raise UpdateFinishedTrialError(f"Trial {trial_id} has already finished and can not be updated.")

    def _statement_of_a_report(self) -> sqlalchemy.Insert:
        """A point of the curve of a trial that is running, in the place of one of an attempt that died."""
        from optuna.storages._rdb import models
        from optuna.trial import TrialState
        from sqlalchemy import bindparam, select
        from sqlalchemy.dialects import postgresql, sqlite

        points, trials = models.TrialIntermediateValueModel.__table__, models.TrialModel.__table__
        columns = points.c.trial_id, points.c.step, points.c.intermediate_value, points.c.intermediate_value_type
        names = zip(("at", "stored", "kind"), columns[1:], strict=True)
        values = [bindparam(name, type_=column.type) for name, column in names]
        running = trials.c.trial_id == bindparam("trial"), trials.c.state == TrialState.RUNNING
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        made = insert(points).from_select(columns, select(trials.c.trial_id, *values).where(*running))
        again = {column: made.excluded[column.name] for column in columns[2:]}
        return made.on_conflict_do_update(index_elements=columns[:2], set_=again)

    def ended(
        self,
        trial_id: int,
        rank: int,
        state: TrialState,
        value: float | None,
        reports: Iterable[tuple[int, float]],
        attributes: Mapping[str, Any],
    ) -> None:
        """Write how a running trial ended.

        Args:
            trial_id: which.
            rank: how many trials ended before it.
            state, value: its end.
            reports: step and accuracy, those that are not written yet.
            attributes: to be set.

        Raises:
            UpdateFinishedTrialError: it is not running.
            UserError: others ended before it.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.storages._rdb import models
        from optuna.trial import TrialState
        from sqlalchemy import delete, insert, update

        told, kind = models.TrialUserAttributeModel.__table__, models.TrialValueModel
        trials = models.TrialModel.__table__
        with self._writing() as connection:
            for step, accuracy in reports:
                self._write(connection, trial_id, step, accuracy)
            over = {"state": state, "datetime_complete": _utc(datetime.now())}
            running = trials.c.trial_id == trial_id, trials.c.state == TrialState.RUNNING
            if not connection.execute(update(trials).where(*running), over).rowcount:
                raise UpdateFinishedTrialError(f"Trial {trial_id} has already finished and can not be updated.")
            self._refuse_others(connection, rank + 1, trials.c.state != TrialState.RUNNING)
            for key, what in attributes.items():  # there may be one of an attempt that died
                connection.execute(delete(told).where(told.c.trial_id == trial_id, told.c.key == key))
                connection.execute(insert(told), {"trial_id": trial_id, "key": key, "value_json": json.dumps(what)})
            if value is not None:
                number, sort = kind.value_to_stored_repr(value)
                row = {"trial_id": trial_id, "objective": 0, "value": number, "value_type": sort}
                connection.execute(insert(kind.__table__), row)


def _utc(local: datetime | None) -> datetime | None:
    """A local time as Optuna's tables have it: of UTC, without saying so."""
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)
