"""What accuracies and costs of a study are those of, in a few words: they stand beside its tables, trials and plots.

Candidates are trained smaller than they are counted, and strides on small images follow one of two rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from searchspaces import Task
from searchspaces.strides import rule_of, strides_left_out, strides_note
from studies import belief
from studies.adjusting import line_of

if TYPE_CHECKING:
    from studies.study import Study


INHERITED: Final = "trials start from the weights of earlier ones; accuracies are corrected for the training of those"


def fidelity(task: str, estimator: Mapping[str, Any]) -> str | None:
    """How candidates are trained smaller than they are counted; None if they are not, or if nobody knows.

    Args:
        task: the deployment task.
        estimator: its settings.

    >>> fidelity("224x224x3:4", {"image_size": 32, "width": 0.25, "depth": 0.5})
    'trained at 32 px, width 1/4, depth 1/2; counted at 224 px'
    >>> fidelity("224x224x3:4", {"image_size": 32, "estimates": "score, not accuracy"})
    'scored at 32 px; counted at 224 px'
    >>> fidelity("224x224x3:4", {"epochs": 6, "image_size": 32, "estimates": "training likelihood, not accuracy"})
    'trained at 32 px; counted at 224 px'
    """
    counted, trained = Task.parse(task).image_size, estimator.get("image_size")
    factors = {name: estimator.get(name, 1) for name in ("width", "depth")}
    if not isinstance(trained, int) or (trained >= counted and set(factors.values()) == {1}):
        return None
    done = "scored" if "estimates" in estimator and "epochs" not in estimator else "trained"
    shrunken = [f"{name} {_fraction(value)}" for name, value in factors.items() if value != 1]
    return f"{', '.join([f'{done} at {trained} px', *shrunken])}; counted at {counted} px"


def read_as(study: Study) -> list[str]:
    """The fidelity of a study, the strides of its networks, inheritance and corrected accuracies, each where there is
    something to say."""
    strides = strides_note(rule_of(study.space), strides_left_out(study.space, study.task), study.task)
    found = (
        fidelity(study.manifest.task, study.manifest.estimator["resolved"]),
        strides,
        INHERITED * study.manifest.inherit,
        _corrected(study),
    )
    return [words for words in found if words]


def _corrected(study: Study) -> str | None:
    """What accuracies are corrected with; None where they are what was observed, or inherit."""
    if study.manifest.inherit or not study.adjusted:
        return None
    ways = {"the training loss": line_of(study.trials) is not None, "a predictor": len(study.adjusted) >= belief.FEWEST}
    return f"accuracies are corrected for noise with {' and '.join(way for way, taken in ways.items() if taken)}"


def _fraction(value: float) -> str:
    """A factor as a fraction, if it is a simple one.

    >>> _fraction(0.25), _fraction(0.3)
    ('1/4', '0.3')
    """
    above, below = value.as_integer_ratio()
    return f"{above}/{below}" if 1 < below <= 8 else f"{value:g}"
