"""What a study is: `study.json`, written once, before the first trial, and compared with on every resume.

It is data and names. A space, strategy or estimator with a name in our tables is found by that name again; one that
came from a person's file or from memory must be given again, since nothing read from a run folder may run code.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import Budget, UserError
from searchspaces.files import NOT_UTF8, read_json, write_whole
from searchspaces.plural import number_of
from searchspaces.versions import versions
from strategies import settings_before
from studies.confirming import AUTO, Confirm
from studies.folder import MANIFEST
from studies.ledger import check_spec

if TYPE_CHECKING:
    from searchspaces import SearchSpace

FORMAT: Final = 2
"""Raised when an older `nas` would misread what a newer one writes."""

_LIBRARIES: Final = ("python", "nas-toolkit", "numpy", "optuna", "torch")


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Manifest:
    """A study's settings as plain JSON values.

    Attributes:
        study: its name in the ledger.
        space: `name`, `origin`, `fingerprint`, a hash of its decisions and of what is fixed in its stages, and
            `content`, a hash of all that it says of itself, which older studies do not have.
        task: the deployment task, on which costs are counted.
        budget: with percents resolved, which is what counts; None where everything fits.
        strategy: its `name`, its `origin`, the settings as they were `given`, and what they `resolved` to.
        estimator: the same of the estimator; what it `resolved` to is how it describes itself.
        data: where the images were; None for an estimator of a person's own, which loads its own.
        prescreen: the score by which proposals are screened, and how many for each trial; None does not screen.
        pruner: a name in `PRUNERS`; `curves:0.05` where another chance than the default was given.
        seed: of the whole study.
        replicas: whether a network may be trained more than once.
        confirm: how many leading networks are trained again at the end, or `auto`.
        budget_typed: as a person gave it, such as `60%`; None where nobody gave a text, and in older studies.
        inherit: whether trials start from the trained weights of earlier ones.
        trials: planned when the study began, which strategies go by; it may go on for longer.
        extended_to: trials in all that a later run was asked for, where they are more than planned.
        used_up_at: how many trials there were when the strategy had nothing new to propose.
        ledger: `sqlite`, `journal`, `memory` or a URL without its password.
        wave: proposals that are made on the same knowledge, however their trials end; None is each on what is known.
        checkpoints: where trials keep their training while it lasts, if not in the run folder; a run may say otherwise.
        latency: the fingerprint of the latency table in the run folder; None where latency is no cost.
        objectives: what is made large or small.
        created: local time.
        versions: of the libraries it began with.
        format: of this file.
    """

    study: str
    space: Mapping[str, Any]
    task: str
    budget: str | None
    strategy: Mapping[str, Any]
    estimator: Mapping[str, Any]
    data: str | None
    pruner: str
    seed: int
    replicas: bool
    confirm: Confirm
    trials: int | None
    ledger: str
    wave: int | None = None
    checkpoints: str | None = None
    latency: str | None = None
    prescreen: str | None = None
    budget_typed: str | None = None
    inherit: bool = False
    extended_to: int | None = None
    used_up_at: int | None = None
    objectives: Mapping[str, str] = field(default_factory=lambda: {"accuracy": "maximize"})
    created: str = field(default_factory=_now)
    versions: Mapping[str, str] = field(default_factory=lambda: versions(*_LIBRARIES))
    format: int = FORMAT

    def __post_init__(self) -> None:
        for name, value in json.loads(json.dumps(asdict(self), default=_plain)).items():
            if NOT_UTF8.search(written := json.dumps(value, ensure_ascii=False)):
                text = next(each for each in written.split('"') if NOT_UTF8.search(each))
                raise UserError(f"{name}: {text!r} has bytes that are not UTF-8 and cannot be recorded")
            object.__setattr__(self, name, value)  # as it will be read: a tuple is a list, and equal to one

    @property
    def total(self) -> int | None:
        """Trials in all, as they are planned by now."""
        return self.extended_to or self.trials

    def is_done(self, trials: int) -> bool:
        """Whether a study of so many trials, all of them ended, has nothing more to do."""
        return trials == self.used_up_at or (self.total is not None and trials >= self.total)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether the folder holds a manifest, good or bad; no where nobody may look."""
        return os.path.exists(folder / MANIFEST)

    @staticmethod
    def read(folder: Path) -> Manifest:
        """The manifest of a run folder.

        Raises:
            UserError: the folder is no run folder, or its manifest is damaged or of a newer format.
        """
        path = folder / MANIFEST
        if not folder.exists():
            raise UserError(f"no run folder {str(folder)!r}")
        if not path.exists():
            raise UserError(f"{str(folder)!r} is not a run folder: it has no {MANIFEST}")
        return Manifest.of(read_json(path, "the manifest"), str(path))

    @staticmethod
    def of(read: Any, path: str) -> Manifest:
        """A manifest as it was kept.

        Args:
            read: JSON values, which may be anybody's.
            path: what to call it in messages.

        Raises:
            UserError: it is damaged or of a newer format.
        """
        found = read.get("format") if isinstance(read, dict) else None
        if not isinstance(found, int) or found < 1:
            raise UserError(f"{path} is not a manifest: it has no format")
        if found > FORMAT:
            raise UserError(
                f"{path} is from a newer nas (format {found}; this one reads up to {FORMAT}): upgrade nas-toolkit"
            )
        if found == 1:
            read = _from_format_1(read)
        for each in fields(Manifest):
            allowed = _KINDS[each.name]
            if each.name not in read and each.name in _NEWER:
                continue
            if each.name not in read:
                raise UserError(f"{path} is not a manifest: it has no {each.name!r}")
            if not isinstance(read[each.name], allowed) or (read[each.name] is True and bool not in allowed):
                raise UserError(f"{path} is not a manifest: {each.name!r} cannot be {read[each.name]!r}")
        if isinstance(read["confirm"], str) and read["confirm"] != AUTO:
            raise UserError(f"{path} is not a manifest: 'confirm' cannot be {read['confirm']!r}")
        for name, keys in _KEYS.items():
            for key in keys:
                if key not in read[name]:
                    raise UserError(f"{path} is not a manifest: {name!r} has no {key!r}")
                kind = dict if key in ("given", "resolved") else str
                if not isinstance(read[name][key], kind):
                    raise UserError(f"{path} is not a manifest: {key!r} of {name!r} cannot be {read[name][key]!r}")
        if not isinstance(read["space"].get("content", ""), str):
            raise UserError(f"{path} is not a manifest: 'content' of 'space' cannot be {read['space']['content']!r}")
        try:
            check_spec(read["ledger"])
        except UserError as error:
            raise UserError(f"{path} is not a manifest: {error}") from error
        if read["strategy"]["origin"] == "named":
            before = settings_before(read["strategy"]["name"], read["budget"] is not None)
            read["strategy"]["resolved"] = {**before, **read["strategy"]["resolved"]}
        return Manifest(**{each.name: read[each.name] for each in fields(Manifest) if each.name in read})

    def own_code(self, *parts: str) -> list[str]:
        """Options that name a person's own code, which is never loaded from a run folder alone.

        Args:
            parts: `space`, `strategy` or `estimator`.
        """
        origins = {name: getattr(self, name)["origin"] for name in parts}
        if "estimator" in parts:
            origins["key"] = str(self.estimator["given"].get("key"))
        return [word for name, origin in origins.items() if ".py:" in origin for word in (f"--{name}", origin)]

    @property
    def ledger_again(self) -> list[str]:
        """The option that gives the URL of the ledger again, if it has a password, which is never stored."""
        return ["--ledger", self.ledger] if "***" in self.ledger else []

    def write(self, folder: Path) -> None:
        """Write it into a folder, whole or not at all."""
        write_whole(folder / MANIFEST, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    def refuse_changes(self, now: Manifest, where: str) -> None:
        """Compare with the manifest that today's settings would give.

        Raises:
            UserError: a setting that must not change was changed; the message has its name, its old and its new value.
        """
        content = "content" if "content" in self.space and "content" in now.space else "fingerprint"
        before, after = dict(self._settings(content)), dict(now._settings(content))
        for name in [*before, *(each for each in after if each not in before)]:
            old, new = before.get(name) or _left_out(after[name]), after.get(name) or _left_out(before[name])
            if old[0] != new[0] or (name in before) != (name in after):
                was, now_is = (old[1], new[1]) if old[1] != new[1] else (repr(old[0]), repr(new[0]))
                raise UserError(
                    f"{where}: {name} was {was} when the study began and is {now_is} now; "
                    "give the old value to resume, or another name to start a new study"
                )

    def _settings(self, content: str) -> Iterator[tuple[str, tuple[Any, str]]]:
        """What must not change: its name, its value, and how that is shown; the most telling first.

        Args:
            content: the hash of the space that both manifests have.
        """
        yield "space", _shown(self.space["name"])
        yield "the content of the space", (self.space[content], f"#{self.space[content][:8]}")
        yield "task", _shown(self.task)
        yield "budget", (self.budget, _budget_words(self.budget, self.budget_typed))
        for name in ("seed", "pruner", "replicas", "confirm"):
            yield name, _shown(getattr(self, name))
        batch = "none" if self.wave is None else number_of(self.wave, "trial")
        yield "the synchronous batch (--deterministic --workers)", (self.wave, batch)
        for name in ("prescreen", "inherit", "ledger", "objectives"):
            yield name, _shown(getattr(self, name))
        yield "latency table", (self.latency, "none" if self.latency is None else f"#{self.latency[:8]}")
        yield "strategy", _shown(self.strategy["name"])
        for key, value in self.strategy["resolved"].items():
            yield f"strategy setting {key}", _shown(value)
        described = dict(self.estimator["resolved"])
        yield "estimator", _shown(described.pop("name", self.estimator["name"]))
        if "image_size" in described:  # before the data, whose fingerprint may be of images at that size
            yield _TYPED["image_size"], _shown(described.pop("image_size"))
        data = described.pop("data", None)
        if isinstance(data, dict) and "fingerprint" in data:
            # the name is what was typed; the same images may lie elsewhere
            yield "data", (data["fingerprint"], f"{data.get('name')!r} (#{str(data['fingerprint'])[:8]})")
        elif data is not None:
            yield "data", _shown(data)
        for key, value in described.items():
            yield _TYPED.get(key, f"estimator setting {key}"), _shown(value)


_TYPED: Final = {
    "image_size": "the image size of trainings (--image-size, or --set estimator.image_size)",
    "metric": "--metric",
    "skip_bad": "--skip-bad",
    "max_pixels": "--max-pixels",
    "centre": "--centre-crop",
}
"""What settings of an estimator are called that have options of their own."""


def _from_format_1(read: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1, as format 2 has it; what is damaged in it stays so, to be refused."""
    strategy, estimator = read.get("strategy"), read.get("estimator")
    if not isinstance(strategy, dict) or not isinstance(estimator, dict):
        return read
    renamed = {"settings": "resolved"}
    strategy = {renamed.get(key, key): value for key, value in strategy.items()}
    renamed = {"settings": "given", "describe": "resolved"}
    made_from = estimator.get("given") or estimator.get("name")  # `table:FILE.json`, of which the name was `table`
    kept = {renamed.get(key, key): value for key, value in estimator.items() if key not in ("given", "data")}
    return {
        **read,
        "strategy": strategy,
        "estimator": {**kept, "name": made_from} if "name" in kept else kept,
        "data": estimator.get("data"),
        "format": FORMAT,
    }


def fingerprints(space: SearchSpace) -> dict[str, str]:
    """Hashes of what a space holds, as a manifest keeps them; the same in every process: sha256 in hex.

    In `content` is all of its description, in `fingerprint` what descriptions had in the first studies.
    """
    described = space.describe()
    return {"fingerprint": _hash(_as_first_described(described)), "content": _hash(described)}


def _as_first_described(described: Mapping[str, Any]) -> dict[str, Any]:
    """A description without the order of stages and the values that a whole space shares."""
    kept = {key: value for key, value in described.items() if key != "declared"}
    return {**kept, "home": _as_first_described(kept["home"])} if isinstance(kept.get("home"), Mapping) else kept


def _hash(described: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=_plain).encode()).hexdigest()


_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "study": (str,),
    "space": (dict,),
    "task": (str,),
    "budget": (str, type(None)),
    "strategy": (dict,),
    "estimator": (dict,),
    "data": (str, type(None)),
    "pruner": (str,),
    "seed": (int,),
    "replicas": (bool,),
    "confirm": (int, str),
    "trials": (int, type(None)),
    "ledger": (str,),
    "wave": (int, type(None)),
    "checkpoints": (str, type(None)),
    "latency": (str, type(None)),
    "prescreen": (str, type(None)),
    "budget_typed": (str, type(None)),
    "inherit": (bool,),
    "extended_to": (int, type(None)),
    "used_up_at": (int, type(None)),
    "objectives": (dict,),
    "created": (str,),
    "versions": (dict,),
    "format": (int,),
}
_NEWER: Final = ("wave", "checkpoints", "latency", "prescreen", "budget_typed", "inherit", "extended_to", "used_up_at")
"""What the manifests of the first studies do not have."""
_KEYS: Final = {
    "space": ("name", "origin", "fingerprint"),
    "strategy": ("name", "origin", "given", "resolved"),
    "estimator": ("name", "origin", "given", "resolved"),
}


def _shown(value: Any) -> tuple[Any, str]:
    return value, "none" if value is None else repr(value) if isinstance(value, str) else json.dumps(value)


def _left_out(other: tuple[Any, str]) -> tuple[Any, str]:
    """How a setting is shown that one of two manifests does not have: a switch is off without it."""
    return None, "false" if other[0] is True else "not there"


def _budget_words(budget: str | None, typed: str | None) -> str:
    """A budget of a manifest as screens have it, with what gives it again; as it stands there, if it was damaged."""
    if budget is None:
        return "none"
    try:
        words = Budget.parse(budget).words()
    except UserError:
        return repr(budget)
    if typed is not None and "%" in typed:
        return f"{words} ({typed!r})"
    return f"{words} ({budget!r})" if re.search(r"\d{7}", budget) else words  # of a percentage that nobody kept


def _plain(value: Any) -> Any:
    """What JSON does not know: a function or class by its name, anything else by its text, which must not be an
    address."""
    text = getattr(value, "__name__", None) or str(value)
    return type(value).__name__ if " at 0x" in text else text
