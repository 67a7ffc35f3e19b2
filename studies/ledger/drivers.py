"""Several drivers on one study: who is there, whose turn it is, and what a dead one left behind.

A driver is one run of a study. Advisory locks of PostgreSQL keep drivers apart, since the server gives them back when
the connection of their holder is gone, however it ended; `lock.py` is the same for a run folder. All locks of a driver
are held by one connection: as long as that lives, nobody has taken over what is the driver's; if it breaks, the driver
ends, as others may have.

Left out: heartbeats, whose silence says less and later; and going on after a broken connection.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from searchspaces import UserError

if TYPE_CHECKING:
    import sqlalchemy

TURN: Final = 0x6E617301
PRESENT: Final = 0x6E617302
WORK: Final = 0x6E617303
"""First halves of the keys of our locks, "nas" and a number: with a study's id, with a driver's key, and with a study's
id, which all its drivers share."""

_HELD: Final = """FROM pg_locks WHERE locktype = 'advisory' AND classid = :kind AND objsubid = 2 AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

PATIENCE_S: Final = 300
"""Seconds that a turn is waited for; a turn takes as long as a strategy takes to propose."""

BOUNDS: Final[dict[str, str]] = {
    "lock_timeout": f"{PATIENCE_S}s",
    "tcp_keepalives_idle": "20s",  # a machine that is lost is missed in 50 s
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "50s",
    "idle_in_transaction_session_timeout": "60s",
}
"""Settings of every connection to PostgreSQL: one that hangs, or whose machine is lost, gives its locks back."""


class Drivers:
    """Those who work on one study at the same time, of whom this is one.

    Args:
        engine: of the database; it must be PostgreSQL.
        study_id: of the study in it.
        where: what to call the ledger in messages.

    Attributes:
        me: what the others call this driver (host, process and key); empty while it does not work.
    """

    def __init__(self, engine: sqlalchemy.Engine, study_id: int, where: str) -> None:
        self._engine, self._study_id, self._where = engine, study_id, where
        self._connection: sqlalchemy.Connection | None = None
        self.me = ""

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Be one of the drivers."""
        key = secrets.randbits(32)
        with self._explained():
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            self.ask("SELECT pg_advisory_lock(:kind, :key)", kind=PRESENT, key=_signed(key))
            self.ask("SELECT pg_advisory_lock_shared(:kind, :study)", kind=WORK, study=self._study_id)
            self.me = f"{socket.gethostname()}:{os.getpid()}:{key:08x}"
            yield
        finally:
            self.me = ""
            self._connection.invalidate()  # closed, not given back to the pool: with it go its locks
            self._connection.close()
            self._connection = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only one who reads and writes; another one's turn is waited for."""
        self.ask("SELECT pg_advisory_lock(:kind, :study)", kind=TURN, study=self._study_id)
        try:
            yield
        finally:
            if self._connection is not None and not self._connection.invalidated:
                self.ask("SELECT pg_advisory_unlock(:kind, :study)", kind=TURN, study=self._study_id)

    def there(self) -> set[str]:
        """The keys of all drivers that live, of other studies too; see `key_of`."""
        return {f"{key:08x}" for (key,) in self.ask(f"SELECT objid {_HELD}", kind=PRESENT)}

    def at_work(self) -> bool:
        """Whether there is any driver on this study; also for who is none."""
        from sqlalchemy import text

        found = text(f"SELECT count(*) {_HELD} AND objid = :study")
        with self._explained(), self._engine.connect() as connection:
            return bool(connection.scalar(found, {"kind": WORK, "study": self._study_id}))

    def ask(self, sql: str, **values: Any) -> list[Any]:
        """The rows that the database answers with.

        Raises:
            UserError: the connection is broken, or a turn was waited for in vain.
        """
        from sqlalchemy import text

        assert self._connection is not None, "only a driver that has joined may ask"
        with self._explained():
            answer = self._connection.execute(text(sql), values)
            return list(answer) if answer.returns_rows else []

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            yield
        except SQLAlchemyError as error:
            why = " ".join(str(getattr(error, "orig", None) or error).split())
            if "lock timeout" in why:
                why = f"another driver held its turn for more than {PATIENCE_S} seconds"
            elif isinstance(error, DBAPIError) and error.connection_invalidated:
                why = (
                    "the connection broke, so other drivers may take over the running trials; resume to continue "
                    f"({why})"
                )
            raise UserError(f"{self._where}: {why}") from error


def bounded(connection: Any, record: object) -> None:
    """Give a new connection its `BOUNDS`; SQLAlchemy calls it."""
    with connection.cursor() as cursor:
        cursor.execute("; ".join(f"SET {name} = '{value}'" for name, value in BOUNDS.items()))
    connection.commit()


def key_of(driver: str) -> str:
    """A driver's key, the last part of what it is called.

    >>> key_of("box:4242:0badcafe")
    '0badcafe'
    """
    return driver.rpartition(":")[2]


def _signed(key: int) -> int:
    """The same 32 bits as PostgreSQL takes them."""
    return key - 2**32 if key >= 2**31 else key
