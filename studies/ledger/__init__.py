"""Where trials are kept: in an Optuna study (SQLite, a journal file, PostgreSQL), or in memory."""

from studies.ledger.database import OptunaLedger, StudyExistsError, mend_journal
from studies.ledger.ledger import Ledger, check_spec, without_password
from studies.ledger.memory import MemoryLedger

__all__ = [
    "Ledger", "MemoryLedger", "OptunaLedger", "StudyExistsError", "check_spec", "mend_journal", "without_password",
]  # fmt: skip
