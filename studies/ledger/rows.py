"""Trials written into Optuna's tables in few statements: one transaction as a trial starts, one as it ends.

Optuna's own storage writes the same rows, with some three queries for each decision of a trial: 50 ms a trial and more,
in which a driver could start no other. Its tables are taken from its own models, so that they are those of the version
that is installed; what it reads back is tested to be the same.

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

    def started(self, trial: FrozenTrial) -> tuple[int, int]:
        """Write a running trial; gives its id and its number."""
        from optuna.distributions import distribution_to_json
        from optuna.storages._rdb import models
        from sqlalchemy import insert, orm

        with orm.Session(self._engine) as session, session.begin():
            if self._engine.dialect.name == "postgresql":  # as Optuna does; SQLite's first write locks it all
                models.StudyModel.find_or_raise_by_id(self._study_id, session, for_update=True)
            row = models.TrialModel(
                study_id=self._study_id, number=None, state=trial.state, datetime_start=trial.datetime_start
            )
            session.add(row)
            session.flush()
            trial_id = int(row.trial_id)
            row.number = number = int(row.count_past_trials(session))
            for name, distribution in trial.distributions.items():
                if self._distributions.get(name, (None, ""))[0] is not distribution:
                    self._distributions[name] = distribution, distribution_to_json(distribution)
            params = [
                {
                    "trial_id": trial_id,
                    "param_name": name,
                    "param_value": trial.distributions[name].to_internal_repr(value),
                    "distribution_json": self._distributions[name][1],
                }
                for name, value in trial.params.items()
            ]
            attributes = [
                {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
                for key, value in trial.user_attrs.items()
            ]
            if params:
                session.execute(insert(models.TrialParamModel), params)
            session.execute(insert(models.TrialUserAttributeModel), attributes)
        return trial_id, number

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
        from sqlalchemy import delete, insert, orm

        curve, attribute, values = (
            models.TrialIntermediateValueModel,
            models.TrialUserAttributeModel,
            models.TrialValueModel,
        )
        with orm.Session(self._engine) as session, session.begin():
            for key, what in attributes.items():  # there may be one of an attempt that died
                session.execute(delete(attribute).where(attribute.trial_id == trial_id, attribute.key == key))
                session.execute(insert(attribute).values(trial_id=trial_id, key=key, value_json=json.dumps(what)))
            points = []
            for step, accuracy in reports:
                stored, kind = curve.intermediate_value_to_stored_repr(accuracy)
                points.append({"step": step, "intermediate_value": stored, "intermediate_value_type": kind})
            if points:
                steps = [each["step"] for each in points]
                session.execute(delete(curve).where(curve.trial_id == trial_id, curve.step.in_(steps)))
                session.execute(insert(curve), [{"trial_id": trial_id, **each} for each in points])
            row = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            if row.state.is_finished():
                raise UpdateFinishedTrialError(f"Trial#{row.number} has already finished and can not be updated.")
            if value is not None:
                number, sort = values.value_to_stored_repr(value)
                told = {"trial_id": trial_id, "objective": 0, "value": number, "value_type": sort}
                session.execute(insert(values), [told])
            row.state, row.datetime_complete = state, datetime.now()
