"""Find convolutional networks that are as accurate as possible within a compute budget, on your own images.

    import nas
    study = nas.search(space="mbconv", budget="400M", data="digits", trials=10, seed=0, name="demo", out="runs")
    study.best, study.pareto(), study.trials_dataframe()

Everything here is loaded when it is first used: `import nas` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nas.api import open_study, search, space
    from nas.comparing import compare_runs
    from nas.exporting import export
    from nas.reporting import report
    from nas.scaling import scale
    from searchspaces import Architecture, Budget, Classic, Cost, Task, UserError, architecture_from_json, classic
    from studies import Study

__version__ = "0.1.0"

_HOMES: Final = {
    "Architecture": "searchspaces",
    "Budget": "searchspaces",
    "Classic": "searchspaces",
    "Cost": "searchspaces",
    "Study": "studies",
    "Task": "searchspaces",
    "UserError": "searchspaces",
    "architecture_from_json": "searchspaces",
    "classic": "searchspaces",
    "compare_runs": "nas.comparing",
    "export": "nas.exporting",
    "open_study": "nas.api",
    "report": "nas.reporting",
    "scale": "nas.scaling",
    "search": "nas.api",
    "space": "nas.api",
}
"""Where each public name lives; the module is imported when the name is first used."""

__all__ = [
    "Architecture",
    "Budget",
    "Classic",
    "Cost",
    "Study",
    "Task",
    "UserError",
    "architecture_from_json",
    "classic",
    "compare_runs",
    "export",
    "open_study",
    "report",
    "scale",
    "search",
    "space",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
