"""What happened, and what goes on? Studies, their ledgers, the engines. Importing this imports no Optuna and no
pandas."""

from studies.engine import Ending, Engine, Job
from studies.every_core import EveryCore
from studies.local import LocalEngine
from studies.study import Study
from studies.trial import Event, StudyEnded, StudyPrepares, StudyStarted, Trial, TrialEnded, TrialReported, TrialStarted

__all__ = [
    "Ending",
    "Engine",
    "Event",
    "EveryCore",
    "Job",
    "LocalEngine",
    "Study",
    "StudyEnded",
    "StudyPrepares",
    "StudyStarted",
    "Trial",
    "TrialEnded",
    "TrialReported",
    "TrialStarted",
]
