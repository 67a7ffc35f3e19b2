"""Trials written into Optuna's tables in few statements.

One transaction as a trial starts, one as it ends, and one statement for each point of its curve. Optuna's own storage
writes the same rows, with some three queries for each decision of a trial: 50 ms a trial and more, in which a driver
could start no other. Its tables are taken from its own models, so that they are those of the version that is installed;
what it reads back is tested to be the same.

Left out: databases other than SQLite and PostgreSQL, journals and Optuna's own memory, which its storages write.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlalchemy
    from optuna.trial import FrozenTrial, TrialState

DIALECTS: Final = ("sqlite", "postgresql")


class Rows:
    """The rows of one study.

    Args:
        engine: of the database, which is one of `DIALECTS`.
        study_id: of the study in it.
    """

    def __init__(self, engine: sqlalchemy.Engine, study_id: int) -> None:
        self._engine, self._study_id = engine, study_id
        self._distributions: dict[str, tuple[Any, str]] = {}
        self._report: sqlalchemy.Insert | None = None  # made once: that takes longer than to run it

    def started(self, trial: FrozenTrial) -> tuple[int, int]:
        """Write a running trial; gives its id and its number."""
        from optuna.distributions import distribution_to_json
        from optuna.storages._rdb import models
        from sqlalchemy import func, insert, select, update

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
        trials, studies = models.TrialModel.__table__, models.StudyModel.__table__
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":  # as Optuna does; SQLite's first write locks it all
                connection.execute(select(studies).where(studies.c.study_id == self._study_id).with_for_update())
            begun = {"study_id": self._study_id, "state": trial.state, "datetime_start": trial.datetime_start}
            made: Any = connection.execute(insert(trials), begun)
            trial_id = int(made.inserted_primary_key[0])
            before = trials.c.study_id == self._study_id, trials.c.trial_id < trial_id
            number = connection.scalar(select(func.count()).select_from(trials).where(*before)) or 0
            connection.execute(update(trials).where(trials.c.trial_id == trial_id).values(number=number))
            if params:
                rows = [{"trial_id": trial_id, **each} for each in params]
                connection.execute(insert(models.TrialParamModel.__table__), rows)
            rows = [{"trial_id": trial_id, **each} for each in attributes]
            connection.execute(insert(models.TrialUserAttributeModel.__table__), rows)
        return trial_id, number

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
        state: TrialState,
        value: float | None,
        reports: Iterable[tuple[int, float]],
        attributes: Mapping[str, Any],
    ) -> None:
        """Write how a running trial ended.

        Args:
            trial_id: which.
            state, value: its end.
            reports: step and accuracy, those that are not written yet.
            attributes: to be set.

        Raises:
            UpdateFinishedTrialError: it is not running.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.storages._rdb import models
        from optuna.trial import TrialState
        from sqlalchemy import delete, insert, update

        told, kind = models.TrialUserAttributeModel.__table__, models.TrialValueModel
        trials = models.TrialModel.__table__
        with self._engine.begin() as connection:
            for step, accuracy in reports:
                self._write(connection, trial_id, step, accuracy)
            over = {"state": state, "datetime_complete": datetime.now()}
            running = trials.c.trial_id == trial_id, trials.c.state == TrialState.RUNNING
            if not connection.execute(update(trials).where(*running), over).rowcount:
                raise UpdateFinishedTrialError(f"Trial {trial_id} has already finished and can not be updated.")
            for key, what in attributes.items():  # there may be one of an attempt that died
                connection.execute(delete(told).where(told.c.trial_id == trial_id, told.c.key == key))
                connection.execute(insert(told), {"trial_id": trial_id, "key": key, "value_json": json.dumps(what)})
            if value is not None:
                number, sort = kind.value_to_stored_repr(value)
                row = {"trial_id": trial_id, "objective": 0, "value": number, "value_type": sort}
                connection.execute(insert(kind.__table__), row)
