"""A person's own code: the object that `file.py:object` names, and the modules beside that file.

A file runs once in a process, however many options name it, and again only after it was edited. It may import modules
and packages that lie in its folder, at its top or inside functions that are called later. They come last: the standard
library, installed packages and ours are never shadowed. `sources` and `install` take the same code to other processes
and machines, which need not have the files.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from searchspaces.errors import UserError, nearest

_PREFIX: Final = "nas_user_"
_TYPED: ContextVar[tuple[str, ...] | None] = ContextVar("typed", default=None)


_SPACES: Final[dict[str, str]] = {}
"""Of spaces that were loaded from files, by their names, what was typed."""


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a module.

    Attributes:
        path: where the file lay when it was read.
        text: Python source.
    """

    path: str
    text: str


@contextlib.contextmanager
def nothing_but(*given: object) -> Iterator[None]:
    """Within, `load_object` refuses all that is not among these: text out of a run folder runs no code.

    Args:
        given: by a person; only texts count.
    """
    before = _TYPED.set(tuple(each for each in given if isinstance(each, str)))
    try:
        yield
    finally:
        _TYPED.reset(before)


def load_object(given: str) -> Any:
    """The object that a person named as `file.py:object`. Runs the file: never for text out of a run folder.

    Raises:
        UserError: the file or the object does not exist, the file fails, two files need different modules that have
            one name, or a person did not name it (`nothing_but`).
    """
    typed = _TYPED.get()
    if typed is not None and given not in typed:
        raise UserError(
            f"{given!r} is user code, which is never loaded from a run folder; pass it again on the command line"
        )
    file, _, name = given.rpartition(":")
    path = Path(file).resolve()
    if not path.is_file():
        raise UserError(f"no file {file!r} (given as {given!r})")
    module = _module(file, path)
    if not hasattr(module, name):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise UserError(f"no {name!r} in {file}{nearest(name, public)}")
    return getattr(module, name)


def typed_as(name: str) -> str | None:
    """The `file.py:object` of a space of that name: as it was typed, else in the file that was loaded here last; None
    where there is none.
    """
    if name in _SPACES:
        return _SPACES[name]
    for module in reversed(modules()):
        for attribute, value in vars(module).items():
            if getattr(value, "name", None) == name and hasattr(value, "decisions"):
                path = Path(str(module.__file__))
                here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
                return f"{here}:{attribute}"
    return None


def keep_typed(name: str, given: str) -> None:
    """Keep how a person typed a space that was loaded from a file, for commands that are to be typed next."""
    _SPACES[name] = given


def modules() -> list[ModuleType]:
    """The modules of the files that were loaded here, without the modules beside them."""
    return [sys.modules[name] for name in _FINDER.sources if name.startswith(_PREFIX) and name in sys.modules]


def sources() -> Mapping[str, Source]:
    """All code that files loaded here consist of or may import from their folders, by the name of the module."""
    return dict(_FINDER.sources)


def install(code: Mapping[str, Source]) -> None:
    """Make another process's `sources` importable in this one."""
    _FINDER.sources.update(code)
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)


class _Loader(ExecutionLoader):
    """Loads a module from its source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return self._source.path

    def get_source(self, fullname: str) -> str:
        return self._source.text

    def is_package(self, fullname: str) -> bool:
        return Path(self._source.path).name == "__init__.py"


class _Finder(MetaPathFinder):
    """Finds modules in `sources`; the last of the finders, so that it shadows nothing."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.sources:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(self.sources[fullname]))


_FINDER: Final = _Finder()


def _module(file: str, path: Path) -> ModuleType:
    """The module of a file; it runs again only if it, or a module beside it, has changed since it was loaded."""
    source = _read(path)
    name = f"{_PREFIX}{path.stem}"
    if name in _FINDER.sources and _FINDER.sources[name].path != str(path):  # two files of one name
        name += f"_{sha256(str(path).encode()).hexdigest()[:8]}"
    beside = dict(_beside(source, path.parent))
    code = {**beside, name: source}
    if name in sys.modules and all(_FINDER.sources.get(each) == theirs for each, theirs in code.items()):
        return sys.modules[name]
    for each, theirs in beside.items():
        known = _FINDER.sources.get(each)
        if known is not None and known.path != theirs.path:
            raise UserError(f"{file} imports {each!r}, but {known.path} already has that name: rename one of the two")
        if each in sys.modules and _is_ours(sys.modules[each].__spec__):
            del sys.modules[each]  # it may be what changed
    install(code)
    module = importlib.util.module_from_spec(_spec(name))
    sys.modules[name] = module  # dataclasses and pickling look it up
    try:
        _Loader(source).exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        raise UserError(f"{file} fails: {type(error).__name__}: {error}") from error
    return module


def _spec(name: str) -> ModuleSpec:
    spec = _FINDER.find_spec(name, None)
    assert spec is not None
    return spec


def _read(path: Path) -> Source:
    try:
        with path.open("rb") as stream:
            return Source(str(path), importlib.util.decode_source(stream.read()))
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise UserError(f"{str(path)!r} is not a Python file: {error}") from error


def _beside(source: Source, folder: Path) -> Iterator[tuple[str, Source]]:
    """The modules and packages in a folder that a source may import, and those that they may import."""
    waiting, seen = [source], set(sys.stdlib_module_names)
    while waiting:
        for name in sorted(_imported(waiting.pop()) - seen):
            seen.add(name)
            for each, file in () if _is_elsewhere(name, folder) else _files(folder, name):
                found = _read(file)
                waiting.append(found)
                yield each, found


def _is_elsewhere(name: str, folder: Path) -> bool:
    """Whether a module of that name is found without our finder, and not in the folder."""
    if name in sys.modules:
        spec = sys.modules[name].__spec__
    else:
        finders = (each for each in sys.meta_path if each is not _FINDER)
        spec = next((found for each in finders if (found := each.find_spec(name, None)) is not None), None)
    if spec is None or _is_ours(spec):
        return False
    return spec.origin is None or folder not in Path(spec.origin).resolve().parents


def _is_ours(spec: ModuleSpec | None) -> bool:
    return spec is not None and isinstance(spec.loader, _Loader)


def _imported(source: Source) -> set[str]:
    """The first part of the names in all import statements, those in functions too; none where it does not parse."""
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError):  # running it says so
        return set()
    names = {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names} - {""}


def _files(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The file of a module, or all files of a package, with the names of their modules."""
    if (folder / name / "__init__.py").is_file():
        for file in sorted((folder / name).rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file
    elif (folder / f"{name}.py").is_file():
        yield name, folder / f"{name}.py"
