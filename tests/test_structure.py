"""How modules import one another: without a circle, imports inside functions included."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "studies", "strategies", "estimators", "searchspaces")


def modules(root):
    """The files of the packages by the names of their modules; a package is its `__init__`."""
    paths = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def names(node, package):
    """What is imported anywhere below a node, but for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (each.name for each in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = resolve_name("." * child.level + (child.module or ""), package)
            yield from (f"{base}.{each.name}" for each in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from (name for each in child.orelse for name in names(ast.Module([each], []), package))
        else:
            yield from names(child, package)


def imports(root):
    """The modules that each module imports. Packages do not count: they import their modules for others."""
    files, found = modules(root), {}
    for module, path in files.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        inside = {
            name if name in files else name.rpartition(".")[0] for name in names(ast.parse(path.read_text()), package)
        }
        found[module] = {each for each in inside - {module} if each in files and files[each].name != "__init__.py"}
    return found


def test_there_is_no_circle_of_imports():
    found = imports(ROOT)
    assert sum(map(len, found.values())) > 500
    TopologicalSorter(found).prepare()  # raises CycleError


def test_a_circle_is_found_in_functions_and_not_among_types(tmp_path):
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / "a.py").write_text("def f():\n    from nas import b\n")
    (tmp_path / "nas" / "b.py").write_text("if TYPE_CHECKING:\n    from .a import f\n")
    TopologicalSorter(imports(tmp_path)).prepare()
    (tmp_path / "nas" / "b.py").write_text("def g():\n    from .a import f\n")
    with pytest.raises(CycleError):
        TopologicalSorter(imports(tmp_path)).prepare()
