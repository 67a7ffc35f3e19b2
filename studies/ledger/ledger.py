"""What a study asks of the place where its trials are kept, and how a person names such a place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from searchspaces import UserError, nearest
from studies.folder import LEDGERS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from searchspaces import SearchSpace
    from studies.ledger.drivers import Drivers
    from studies.trial import Trial


class Ledger(Protocol):
    """Keeps trials: each is written as it starts and as it ends.

    Attributes:
        drivers: the processes that work on the study, where there may be several; else None.
    """

    @property
    def drivers(self) -> Drivers | None: ...

    def trials(self, space: SearchSpace) -> list[tuple[Trial, dict[str, Any]]]:
        """All trials by number, each with what the pruner noted of it.

        Raises:
            UserError: something in it was not written by a study over this space.
        """

    def turn(self) -> AbstractContextManager[None]:
        """Be the only driver that reads and writes, where there may be several."""

    def news(self, elsewhere: Iterable[int], space: SearchSpace) -> list[tuple[Trial, dict[str, Any]]]:
        """What other drivers wrote since: trials that are new and, of those running elsewhere, those that ended.

        Args:
            elsewhere: numbers of running trials that are not this driver's.
            space: of the study.
        """

    def taken_over(self, trial: Trial) -> tuple[Trial, bool]:
        """A trial that its driver left running, and whether it is ours from now on: another driver may be faster."""

    def started(self, trial: Trial, seed: int, space: SearchSpace, ends: int) -> None:
        """Write a new trial as running, in one transaction.

        Args:
            trial: its number is how many there are.
            seed: of its estimate.
            space: of the study.
            ends: how many of the trials have ended, of which its proposal may not have known all.

        Raises:
            UserError: another process wrote trials meanwhile.
        """

    def reported(self, number: int, step: int, accuracy: float) -> None:
        """Write one point of a running trial's learning curve."""

    def ended(self, trial: Trial, written: int, notes: Mapping[str, Any]) -> None:
        """Write how a trial ended.

        Args:
            trial: as it ended.
            written: how many of its reports were written as they came in.
            notes: what the pruner noted of it.
        """

    def close(self) -> None:
        """Give files and connections back; the next call opens them again."""


def check_spec(spec: str) -> None:
    """Refuse what is no ledger, before anything is made.

    Raises:
        UserError: it is neither the name of a ledger nor the URL of a database that SQLAlchemy knows, or that database
            is in memory.
    """
    if "://" in spec:
        import sqlalchemy

        shown = "what was given"  # it may hold a password
        try:
            shown = repr(without_password(spec))
            url = sqlalchemy.make_url(spec)
            url.get_dialect()
        except (sqlalchemy.exc.SQLAlchemyError, ValueError) as error:  # such as a port that is no number
            hint = "; did you mean postgresql://...?" if spec.startswith("postgres:") else ""
            raise UserError(f"ledger {shown} is not the URL of a supported database{hint}") from error
        file = (url.database or "").removeprefix("file:")
        if url.get_backend_name() == "sqlite" and (file in ("", ":memory:") or url.query.get("mode") == "memory"):
            raise UserError(f"ledger {shown} is in memory, and its run folder could never be opened again: use sqlite")
    elif spec not in (*LEDGERS, "memory"):
        raise UserError(f"unknown ledger {spec!r}{nearest(spec, [*LEDGERS, 'memory'])}, or the URL of a database")


def without_password(spec: str) -> str:
    """A ledger as it may be written down."""
    if "://" not in spec:
        return spec
    import sqlalchemy

    url = sqlalchemy.make_url(spec)
    secrets = {name: "***" for name in url.query if "password" in name}  # PostgreSQL's own way to give one
    return url.update_query_dict(secrets).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")
