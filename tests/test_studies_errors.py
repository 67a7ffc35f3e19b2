"""Bad input and bad luck: each one line for a person, and nothing written by a start that is refused."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from studies_stand_ins import SPACE, TASK, Known, begin, small_space

from estimators import Estimate, Pruned
from searchspaces import Architecture, Budget, Space, Stage, Task, UserError, choice, conv_head, mbconv
from studies import Ending, LocalEngine, Study, TrialEnded
from studies.leftovers import MARK, remove_left
from studies.lock import LOCK, in_use, locked, taken


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "first"
    study = begin(folder, trials=3)
    study.run()
    study.close()
    return folder


@pytest.fixture
def run(template: Path, tmp_path: Path) -> Path:
    """A run folder with three trials."""
    return Path(shutil.copytree(template, tmp_path / "runs" / "first"))


def edit(run: Path, **changes: Any) -> None:
    manifest = json.loads((run / "study.json").read_text())
    (run / "study.json").write_text(json.dumps({**manifest, **changes}))


def one_line(caught: pytest.ExceptionInfo[UserError]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "strategy": ({"strategy": "evolutoin"}, "did you mean 'evolution'"),
    "strategy setting": ({"strategy_settings": {"popluation": 5}}, "did you mean 'population'"),
    "strategy value": ({"strategy_settings": {"population": 1}}, "at least 2"),
    "estimator": ({"estimator": "short-trainin"}, "did you mean 'short-training'"),
    "estimator setting": ({"estimator": "short-training", "estimator_settings": {"epoch": 2}}, "did you mean 'epochs'"),
    "settings of what is made": ({"estimator_settings": {"epochs": 2}}, "takes no settings"),
    "an estimator that is none": ({"estimator": 3}, "no estimate and describe"),
    "a strategy that is none": ({"strategy": 3}, "no ask"),
    "data": ({"estimator": "short-training", "data": "nowhere"}, "nowhere"),
    "budget": ({"budget": Budget.parse("1K")}, "no architecture of small fits"),
    "space": ({"space": "mbcnov"}, "did you mean 'mbconv'"),
    "space's part": ({"space": SPACE.under(Budget.parse("400K"), TASK)}, "the whole space"),
    "pruner": ({"pruner": "ahsa"}, "did you mean 'asha'"),
    "ledger": ({"ledger": "sqlit"}, "did you mean 'sqlite'"),
    "ledger's URL": ({"ledger": "nosuch://host/db"}, "'nosuch://host/db' is not the URL of a supported database"),
    "ledger's name": ({"ledger": "postgres://a:secret@h/db"}, r"a:\*\*\*@h/db' .* did you mean postgresql://"),
    **{
        url: ({"ledger": url}, "is in memory, and its run folder could never be opened again: use sqlite")
        for url in (
            "sqlite://",
            "sqlite:///",
            "sqlite:///:memory:",
            "sqlite+pysqlite://",
            "sqlite:///file::memory:?uri=true",
            "sqlite:///file:x?mode=memory&uri=true",
        )
    },
    "trials": ({"trials": 0}, "at least 1"),
    "seed": ({"seed": -1}, "at least 0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refused_start_writes_nothing(tmp_path: Path, what: str) -> None:
    changes, message = REFUSED[what]
    with pytest.raises(UserError, match=message) as caught:
        begin(tmp_path / "deep" / "runs" / "first", **changes)
    one_line(caught)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    (tmp_path / "file").touch()
    for name, message in [("photos", "not a run folder, and not empty"), ("file", "is a file")]:
        with pytest.raises(UserError, match=message):
            begin(tmp_path / name)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.png"]
    for name, message in [("photos", "it has no study.json"), ("nowhere", "no run folder")]:
        with pytest.raises(UserError, match=message):
            Study.open(tmp_path / name)


def test_an_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    begin(tmp_path / "run").close()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"study.json", "ledger.db"}


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 4}, "seed was 3 when the study began and is 4 now"),
    "budget": ({"budget": Budget.parse("500K")}, "budget was 400K MACs when the study began and is 500K MACs now"),
    "a budget that reads alike": (
        {"budget": Budget.parse("400.1K")},
        "budget was 'macs=400K' when the study began and is 'macs=400.1K' now",
    ),
    "no budget": ({"budget": None}, "budget was 400K MACs when the study began and is none now"),
    "task": ({"task": Task.parse("32x32x3:100")}, "task was '32x32x3:10' .* is '32x32x3:100' now"),
    "strategy": ({"strategy": "random"}, "strategy was 'evolution' .* is 'random' now"),
    "strategy setting": ({"strategy_settings": {"population": 40}}, "strategy setting population was 30 .* is 40 now"),
    "pruner": ({"pruner": "asha"}, "pruner was 'none' .* is 'asha' now"),
    "replicas": ({"replicas": True}, "replicas was false .* is true now"),
    "ledger": ({"ledger": "journal"}, "ledger was 'sqlite' .* is 'journal' now"),
    "space": ({"space": small_space("other")}, "space was 'small' .* is 'other' now"),
    "content": (
        {"space": Space("small", stages=Stage(mbconv, width=choice(4, 8), stride=2), head=Stage(conv_head, width=8))},
        "the content of the space was #",
    ),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_setting_is_refused_and_named(run: Path, what: str) -> None:
    changes, message = CHANGED[what]
    before = {path: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(UserError, match=message) as caught:
        begin(run, **{"trials": 3, **changes})
    one_line(caught)
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def _declared(*stages: Stage, stem: Stage | tuple[()] = (), **shared: Any) -> Space:
    return Space("own", stem=stem, stages=stages, head=Stage(conv_head, width=8), **shared)


_NARROW = Stage(mbconv, width=choice(8, 16), name="a")
_WIDE = Stage(mbconv, width=choice(8, 16), kernel=5, name="b")
DECLARED_OTHERWISE = {
    "a value of the whole space": (_declared(_NARROW, act="relu"), _declared(_NARROW, act="silu")),
    "the order of stages": (_declared(_NARROW, _WIDE), _declared(_WIDE, _NARROW)),
    "the section of a stage": (_declared(_NARROW, _WIDE), _declared(_WIDE, stem=_NARROW)),
}


@pytest.mark.parametrize("what", DECLARED_OTHERWISE)
def test_a_space_whose_options_are_the_same_is_refused_if_it_was_declared_otherwise(tmp_path: Path, what: str) -> None:
    before, now = DECLARED_OTHERWISE[what]
    begin(tmp_path, space=before, budget=None, trials=2).run(1)
    for again in (
        lambda: begin(tmp_path, space=now, budget=None, trials=2),
        lambda: Study.open(tmp_path, space=now, estimator=Known()),
    ):
        with pytest.raises(UserError, match="the content of the space was #") as caught:
            again()
        one_line(caught)
    older = json.loads((tmp_path / "study.json").read_text())
    del older["space"]["content"]  # as manifests once were
    edit(tmp_path, **older)
    resumed = begin(tmp_path, space=before, budget=None, trials=2)
    resumed.run()
    assert len(resumed.trials) == 2


def test_another_estimator_is_refused_and_named(run: Path) -> None:
    class Longer(Known):
        def describe(self) -> dict[str, Any]:
            return {**super().describe(), "epochs": 9}

    for now in (begin, lambda *given, **changes: Study.open(run, space=SPACE, **changes).run(4)):
        with pytest.raises(UserError, match=r"estimator setting epochs was 3 when the study began and is 9 now"):
            now(run, estimator=Longer())


def test_changes_are_told_in_the_words_that_a_person_types(tmp_path: Path) -> None:
    class At(Known):
        def __init__(self, size: int, adjusted: bool) -> None:
            super().__init__()
            self._more = {"image_size": size, "data": {"name": "photos", "fingerprint": str(size)}}
            self._more |= {"adjusted": True} if adjusted else {}

        def describe(self) -> dict[str, Any]:
            return {**super().describe(), **self._more}

    begin(tmp_path / "run", estimator=At(32, True)).run(1)
    with pytest.raises(UserError, match=r"\(--image-size, or --set estimator.image_size\) was 32 .* and is 48 now"):
        begin(tmp_path / "run", estimator=At(48, True))
    with pytest.raises(UserError, match=r"adjusted was true when the study began and is false now"):
        begin(tmp_path / "run", estimator=At(32, False))
    with pytest.raises(
        UserError, match=r"\(--deterministic --workers\) was none when the study began and is 2 trials now"
    ):
        begin(tmp_path / "run", estimator=At(32, True), wave=2)


def test_the_same_images_elsewhere_are_the_same_data(tmp_path: Path) -> None:
    class On(Known):
        def __init__(self, name: str, fingerprint: str) -> None:
            super().__init__()
            self._data = {"name": name, "fingerprint": fingerprint}

        def describe(self) -> dict[str, Any]:
            return {**super().describe(), "data": self._data}

    begin(tmp_path / "run", estimator=On("/old/place", "aa")).run(1)
    Study.open(tmp_path / "run", space=SPACE, estimator=On("/new/place", "aa")).run(2)
    with pytest.raises(UserError, match=r"data was '/old/place' .* when the study began and is '/new/place'"):
        Study.open(tmp_path / "run", space=SPACE, estimator=On("/new/place", "bb")).run(3)


BAD_MANIFESTS = {
    "": "cannot read the manifest .* it is not JSON",
    "{": "cannot read the manifest .* it is not JSON",
    "[]": "it has no format",
    '{"format": true}': "it has no",
    '{"format": 3}': "newer nas .format 3; this one reads up to 2.: upgrade",
    '{"format": 1}': "it has no 'study'",
    "[" * 100_000: "cannot read the manifest .* it is not JSON",
}


@pytest.mark.parametrize("text", BAD_MANIFESTS, ids=lambda text: text[:16] or "empty")
def test_a_bad_manifest_is_refused(run: Path, text: str) -> None:
    (run / "study.json").write_text(text)
    for attempt in (lambda: Study.open(run, space=SPACE), lambda: begin(run)):
        with pytest.raises(UserError, match=BAD_MANIFESTS[text]) as caught:
            attempt()
        one_line(caught)


def test_a_manifest_of_wrong_kinds_is_refused(run: Path) -> None:
    good = json.loads((run / "study.json").read_text())
    for key in good:
        edit(run, **{**good, key: {"a": 1} if not isinstance(good[key], dict) else 7})
        with pytest.raises(UserError) as caught:
            Study.open(run, space=SPACE)
        assert "study.json" in one_line(caught)
    edit(run, **{**good, "space": {**good["space"], "content": 7}})
    with pytest.raises(UserError, match="'content' of 'space' cannot be 7"):
        Study.open(run, space=SPACE)


def damage(run: Path, sql: str) -> None:
    with sqlite3.connect(run / "ledger.db") as connection:
        connection.execute(sql)
    connection.close()


BAD_LEDGERS: dict[str, tuple[Any, str]] = {
    "garbage": (lambda run: (run / "ledger.db").write_bytes(b"garbage" * 999), "is not a ledger"),
    "empty": (lambda run: (run / "ledger.db").write_bytes(b""), "is not a ledger"),
    "missing": (lambda run: (run / "ledger.db").unlink(), "cannot read the ledger"),
    "cut off": (lambda run: os.truncate(run / "ledger.db", 9000), "damaged"),
    "overwritten": (lambda run: overwrite(run / "ledger.db", 4096), "damaged|is not a ledger|not written by"),
    "other study": (lambda run: damage(run, "update studies set study_name = 'x'"), "holds no study named 'first'"),
    "no outcome": (lambda run: damage(run, "delete from trial_user_attributes where key = 'outcome'"), "trial 0 was"),
    "bad JSON": (lambda run: damage(run, "update trial_user_attributes set value_json = '{'"), "not a ledger"),
    "bad cost": (
        lambda run: damage(run, "update trial_user_attributes set value_json = '1' where key = 'macs'"),
        "has changed: trial 0 had 1 MACs",
    ),
    "bad choice": (lambda run: damage(run, "update trial_params set param_value = 99"), "ledger.db"),
    "a state of Optuna's": (lambda run: damage(run, "update trials set state = 'WAITING'"), "trial 0 was not"),
    "no accuracy": (lambda run: damage(run, "delete from trial_values"), "trial 0 was not written by this study"),
    "text as accuracy": (lambda run: damage(run, "update trial_values set value = 'x'"), "accuracies cannot be"),
    "null as accuracy": (lambda run: damage(run, "update trial_values set value = null"), "was not written by"),
    "endless choice": (lambda run: damage(run, "update trial_params set param_value = 9e999"), "was not written by"),
    "accuracy 7": (lambda run: damage(run, "update trial_values set value = 7"), "accuracies cannot be"),
    "curve of text": (
        lambda run: damage(run, "update trial_intermediate_values set intermediate_value = 'x'"), "accuracies cannot be"
    ),
    "endless": (lambda run: outcome(run, "seconds", 1e999), "seconds cannot be"),
    "reason": (lambda run: outcome(run, "reason", []), "reason cannot be"),
    "details": (lambda run: outcome(run, "details", []), "details cannot be"),
    "confirms itself": (lambda run: attribute(run, "confirms", 0), "the confirmed trial cannot be"),
    "a parent to come": (lambda run: attribute(run, "parent", 5), "the parent cannot be"),
    "a trial gone": (lambda run: damage(run, "delete from trials where number = 1"), "trials are missing"),
}  # fmt: skip


def attribute(run: Path, name: str, value: Any) -> None:
    """Give trial 0 an attribute."""
    with sqlite3.connect(run / "ledger.db") as connection:
        connection.execute(
            "insert into trial_user_attributes (trial_id, key, value_json) values (1, ?, ?)", (name, json.dumps(value))
        )
    connection.close()


def outcome(run: Path, name: str, value: Any) -> None:
    """Change a part of what is known of the end of each trial."""
    with sqlite3.connect(run / "ledger.db") as connection:
        rows = connection.execute("select rowid, value_json from trial_user_attributes where key = 'outcome'")
        for row, text in rows.fetchall():
            changed = json.dumps({**json.loads(text), name: value})
            connection.execute("update trial_user_attributes set value_json = ? where rowid = ?", (changed, row))
    connection.close()


def overwrite(path: Path, start: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 4096)


@pytest.mark.parametrize("what", BAD_LEDGERS)
def test_a_bad_ledger_is_refused(run: Path, what: str) -> None:
    harm, message = BAD_LEDGERS[what]
    harm(run)
    with pytest.raises(UserError, match=message) as caught:
        Study.open(run, space=SPACE)
    assert "ledger" in one_line(caught) or "space" in one_line(caught)


def test_a_journal_of_which_anything_is_gone_or_another_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    study = begin(tmp_path / "run", ledger="journal", trials=2)
    study.run()
    study.close()
    log = tmp_path / "run" / "ledger.log"
    lines = log.read_text().splitlines()
    refusals = []
    for at, line in enumerate(lines):
        held = json.loads(line)
        others = [{key: value for key, value in held.items() if key != gone} for gone in held]
        others += [{**held, key: value} for key in held for value in ([], "x", None)]
        for other in others:
            log.write_text("\n".join([*lines[:at], json.dumps(other), *lines[at + 1 :], ""]))
            try:
                Study.open(tmp_path / "run", space=SPACE).close()
            except UserError as error:
                refusals.append(str(error))
    assert len(refusals) > len(lines)
    assert not any("\n" in each for each in refusals)


def test_looking_makes_nothing_where_a_manifest_points(run: Path, tmp_path: Path) -> None:
    missing, others = tmp_path / "missing.db", tmp_path / "others.db"
    with sqlite3.connect(others) as connection:
        connection.execute("create table mine (x)")
    connection.close()
    before = others.read_bytes()
    for file, message in ((missing, "cannot read the ledger"), (others, "no such table")):
        edit(run, ledger=f"sqlite:///{file}")
        with pytest.raises(UserError, match=message) as caught:
            Study.open(run, space=SPACE)
        assert file.name in one_line(caught)
    assert not missing.exists()
    assert others.read_bytes() == before


@pytest.mark.parametrize("ledger", ["", "random", "x://y", "postgres://host", "sqlite:///\ud800"])
def test_a_ledger_that_is_none_is_the_manifests_mistake(run: Path, ledger: str) -> None:
    edit(run, ledger=ledger)
    with pytest.raises(UserError, match=r"study\.json") as caught:
        Study.open(run, space=SPACE)
    one_line(caught)


def test_nothing_in_a_run_folder_runs_code(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import pathlib, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
        "from studies_stand_ins import Known, small_space as space\n"
        "from strategies import RegularizedEvolution as Mine\n"
    )
    given = {"space": f"{mine}:space", "strategy": f"{mine}:Mine", "estimator": f"{mine}:Known"}
    begin(tmp_path / "run", **given, strategy_settings={"population": 5}).run(2)
    (tmp_path / "ran").unlink()
    again: dict[str, Any] = {}
    for what, came_from in given.items():
        with pytest.raises(UserError, match=f"never runs code; give it again: --{what} {came_from}") as caught:
            Study.open(tmp_path / "run", **again).run(3)
        one_line(caught)
        again[what] = {"space": small_space(), "strategy": given["strategy"], "estimator": Known}[what]
        if what == "space":
            assert not (tmp_path / "ran").exists()
    assert Study.open(tmp_path / "run", **again).run(3).kind == "trials"


def test_text_of_a_ledger_that_is_none_is_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    listener = logging.Handler()
    monkeypatch.setattr(listener, "emit", lambda record: said.append(record.getMessage()))
    monkeypatch.setattr(logging.getLogger("optuna"), "handlers", [listener])
    with contextlib.closing(sqlite3.connect(run / "ledger.db")) as database, database:
        database.execute("update trial_user_attributes set value_json = cast(x'22ff' as text)")
    with pytest.raises(UserError, match=r"ledger\.db: .*Could not decode to UTF-8") as caught:
        Study.open(run, space=SPACE)
    one_line(caught)
    assert said == []


@pytest.mark.parametrize("place", ["evil.py:boom", "file://evil.py:boom"])
def test_a_manifest_cannot_name_a_place_for_checkpoints_by_where_one_stands(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    edit(run, checkpoints=place)
    with pytest.raises(UserError, match="neither an absolute path nor a URL") as caught:
        Study.open(run, space=SPACE)
    one_line(caught)
    assert not (tmp_path / "evil.py:boom").exists()


@pytest.mark.parametrize("what", ["space", "strategy", "estimator", "key"])
def test_a_file_that_a_manifest_calls_one_of_our_names_is_not_run(tmp_path: Path, what: str) -> None:
    (tmp_path / "table.json").write_text('{"any": 0.5}')
    mine = tmp_path / "mine.py"
    mine.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nboom = 1\n")
    table = f"table:{tmp_path / 'table.json'}"
    begin(tmp_path / "run", space="mbconv", budget=Budget.parse("60M"), strategy="random", estimator=table).close()
    part = "estimator" if what == "key" else what
    kept = json.loads((tmp_path / "run" / "study.json").read_text())[part]
    changed = {"given": {"key": f"{mine}:boom"}} if what == "key" else {"name": f"{mine}:boom"}
    edit(tmp_path / "run", **{part: {**kept, **changed}})
    with pytest.raises(UserError) as caught:
        Study.open(tmp_path / "run").run(1)
    one_line(caught)
    assert not (tmp_path / "ran").exists()


def test_a_password_is_not_written_down(tmp_path: Path) -> None:
    url = f"sqlite://me:secret@/{tmp_path / 'shared.db'}"
    with pytest.raises(UserError) as caught:  # SQLite has no users; what matters is that no word of it stays
        begin(tmp_path / "run", ledger=url)
    assert "secret" not in str(caught.value)
    url = f"sqlite:///file:{tmp_path / 'shared.db'}?password=secret&uri=true"  # which SQLite does not look at
    study = begin(tmp_path / "run", ledger=url, trials=2)
    study.run()
    study.plot()
    study.close()
    written = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"study.json", "shared.db", "pareto.html"} <= written.keys()
    assert not [name for name, content in written.items() if b"secret" in content]
    assert b"password=***" in written["study.json"]
    with pytest.raises(
        UserError, match="is not stored; give nas show, plot, dashboard and resume the URL again: --ledger"
    ):
        Study.open(tmp_path / "run", space=SPACE)
    assert len(Study.open(tmp_path / "run", space=SPACE, ledger=url).trials) == 2
    edit(tmp_path / "run", ledger="postgresql://me:***@host/db")
    with pytest.raises(UserError, match="is not stored; set PGPASSWORD, or give nas show"):
        Study.open(tmp_path / "run", space=SPACE)
    with pytest.raises(UserError, match="is not stored; set PGPASSWORD"):  # as a report prints it
        begin(tmp_path / "other", ledger="postgresql://me:***@host/db")


def test_two_studies_of_one_name_in_one_database_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    begin(tmp_path / "a" / "run", ledger=url).run(2)
    begin(tmp_path / "other", ledger=url).run(1)
    with pytest.raises(UserError, match="already holds a study named 'run'"):
        begin(tmp_path / "b" / "run", ledger=url)
    assert not (tmp_path / "b").exists()
    assert len(Study.open(tmp_path / "a" / "run", space=SPACE).trials) == 2


def test_a_study_in_memory_ends_with_its_process(tmp_path: Path) -> None:
    begin(tmp_path / "run", ledger="memory").run(1)
    with pytest.raises(UserError, match="the ledger was in memory"):
        Study.open(tmp_path / "run", space=SPACE)


def test_two_runs_in_one_folder_at_once_are_refused(run: Path) -> None:
    second = begin(run, trials=9)
    refusals = []

    def try_too(event: object) -> None:
        if isinstance(event, TrialEnded):
            with pytest.raises(UserError, match=rf"in use by another run .process {os.getpid()}.") as caught:
                second.run(9)
            refusals.append(one_line(caught))

    begin(run, trials=9).run(5, on_event=try_too)
    assert len(refusals) == 2
    assert second.run(6).kind == "trials"  # and sees what the first one did
    assert len(second.trials) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="nobody can read there who holds a lock")
def test_a_run_on_another_machine_is_named_with_its_host(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there:
        there.setattr(socket, "gethostname", lambda: "node-7.cluster")
        holder = contextlib.ExitStack()
        holder.enter_context(locked(run))
    with holder, pytest.raises(UserError, match=rf"another run .process {os.getpid()} on node-7.cluster.; wait"):
        begin(run, trials=9).run(5)


@pytest.mark.skipif(sys.platform == "win32", reason="it locks in another way")
@pytest.mark.parametrize("kind", [errno.ENOSYS, errno.ENOLCK])  # of Lustre, and of NFS without its lock service
def test_a_file_system_without_locks_is_not_taken_for_a_run(
    run: Path, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(handle: int, how: int) -> None:
        raise OSError(kind, os.strerror(kind))

    with locked(run):
        assert in_use(run)
    with (run / LOCK).open("rb") as looking:
        assert taken(looking.fileno(), shared=True)
        assert not in_use(run)  # another process that looks is not at work
    monkeypatch.setattr("fcntl.flock", flock)
    assert not in_use(run)
    with pytest.raises(UserError, match=rf"no file locks \({os.strerror(kind)}\).* PostgreSQL ledger") as caught:
        begin(run, trials=9).run(5)
    one_line(caught)
    (run / MARK).touch()
    os.utime(run, (0, 0))
    remove_left([run])
    assert run.exists()


@contextlib.contextmanager
def tmpfs(place: Path, options: str) -> Iterator[None]:
    """A small file system of its own; skips where this may not be mounted."""
    place.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)  # a refused start leaves its files to the collector


def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    with tmpfs(place, "size=4m"):
        study = begin(place / "run")
        study.run(1)
        study.close()
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        with pytest.raises(UserError, match=r"cannot create the run folder .*: Read-only file system"):
            begin(place / "other")
        study = begin(place / "run")  # may be looked at
        assert len(study.trials) == 1
        with pytest.raises(UserError, match=r"cannot write to .*: Read-only file system"):
            study.run()
        study.close()


def test_a_disk_too_full_to_begin_keeps_nothing(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    with tmpfs(place, "size=100k"):
        with pytest.raises(UserError, match=r"cannot create the run folder .*disk is full|No space left") as caught:
            begin(place / "deep" / "run")
        one_line(caught)
        assert not list(place.iterdir())


def test_a_disk_that_fills_up_stops_the_study_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "optuna.storages._rdb.storage.time.sleep", lambda seconds: None
    )  # between Optuna's five attempts
    place = tmp_path / "disk"
    with tmpfs(place, "size=2m"):
        study = begin(place / "run")
        study.run(2)
        fill(place / "ballast")
        with pytest.raises(UserError, match="disk is full") as caught:
            study.run()
        one_line(caught)
        study.close()
        ended = [trial for trial in Study.open(place / "run", space=SPACE).trials if trial.state == "complete"]
        assert len(ended) >= 2
        (place / "ballast").unlink()
        again = Study.open(place / "run", space=SPACE, estimator=Known())
        assert again.run(8).kind == "trials"
        assert again.trials[: len(ended)] == ended
        again.close()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_an_engine_lets_errors_of_the_ledger_through() -> None:
    def full(number: int, step: int, accuracy: float) -> bool:
        raise UserError("the disk is full")

    class Deaf(Known):
        def estimate(self, architecture, context):
            try:
                return super().estimate(architecture, context)
            except Exception as error:
                raise ValueError("something else") from error

    study = begin(trials=1)
    jobs = []
    study.run(engine=type("Keep", (), {"run": lambda self, estimator, *calls: keep(calls[0], jobs, calls[2])})())
    for estimator in (Known(), Deaf()):
        with pytest.raises(UserError, match="the disk is full"):
            LocalEngine().run(estimator, iter([jobs[0], None]).__next__, full, lambda number, ending: None)


def keep(next_job, jobs, done):
    from studies import Ending

    while (job := next_job()) is not None:
        jobs.append(job)
        done(job.number, Ending("complete", 1.0, 0.5))


@pytest.mark.parametrize("part", ["strategy", "estimator"])
def test_settings_in_a_manifest_that_are_no_settings_are_one_line_with_its_name(run: Path, part: str) -> None:
    held = json.loads((run / "study.json").read_text())[part]
    for key, value in (("given", [1]), ("resolved", [held["resolved"]]), ("origin", None), ("name", {})):
        edit(run, **{part: {**held, key: value}})
        with pytest.raises(UserError, match=f"study.json is not a manifest: '{key}' of '{part}' cannot be") as caught:
            Study.open(run, space=SPACE)
        one_line(caught)


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "a space": ({"space": {"name": "mbcnov", "origin": "named", "fingerprint": ""}}, "did you mean 'mbconv'"),
    "a strategy": ({"strategy": "evolutoin"}, "did you mean 'evolution'"),
    "an estimator": ({"estimator": "short-trainin"}, "did you mean 'short-training'"),
    "a pruner": ({"pruner": "ahsa"}, "did you mean 'asha'"),
    "a score": ({"prescreen": "naswto:3"}, "did you mean 'naswot'"),
    "a budget": ({"budget": "9Q"}, "is not a number"),
    "a task": ({"task": "9"}, "does not look like"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_a_name_or_value_of_a_manifest_that_is_unknown_is_refused_with_its_file(run: Path, what: str) -> None:
    ((key, value),), message = UNKNOWN[what][0].items(), UNKNOWN[what][1]
    held = json.loads((run / "study.json").read_text())[key]
    if key in ("strategy", "estimator"):
        value = {**held, "origin": "named", "name": value}
    edit(run, **{key: value})
    with pytest.raises(UserError, match=message) as caught:
        Study.open(run, **({} if what == "a space" else {"space": SPACE})).run(4)
    assert one_line(caught).startswith(f"{run / 'study.json'}: ")


def test_of_a_very_long_reason_the_beginning_is_kept(tmp_path: Path) -> None:
    def fails(architecture: Architecture, seed: int) -> None:
        raise RuntimeError("missing keys: " + 100_000 * "weight ")

    study = begin(tmp_path / "run", estimator=Known(fails=fails), trials=1)
    study.run()
    (trial,) = study.trials
    assert trial.reason is not None
    assert trial.reason.startswith("RuntimeError: missing keys: weight weight ")
    assert (len(trial.reason), trial.reason[-3:]) == (4000, "...")
    assert trial.details["traceback"].endswith("weight \n")
    assert (tmp_path / "run" / "trials.csv").stat().st_size < 10_000
    study.close()
    ending = Ending("complete", 1.0, 0.5, details={"told": [5000 * "x", 4000 * "x"]})
    assert ending.details == {"told": [3997 * "x" + "...", 4000 * "x"]}


WRONG: dict[str, Estimate | Pruned] = {
    "a curve in percent": Estimate(0.5, 1.0, (50.0, 51.0)),
    "a curve that is no number": Estimate(0.5, 1.0, (math.nan, 0.5)),
    "endless": Estimate(0.5, math.inf),
    "before it began": Estimate(0.5, -1e-9),
    "stopped without a report": Pruned((), 1.0),
    "stopped after no time": Pruned((0.5,), math.nan),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_ledger_cannot_hold_fails_its_trial_alone(tmp_path: Path, what: str) -> None:
    class Wrong(Known):
        def estimate(self, architecture: Architecture, context: Any) -> Estimate:
            if self.estimated:
                return super().estimate(architecture, context)
            self.estimated.append(architecture)
            found = WRONG[what]
            if isinstance(found, Pruned):
                raise found
            return found

    study = begin(tmp_path / "run", estimator=Wrong(), trials=3)
    assert study.run().kind == "trials"
    assert [trial.state for trial in study.trials] == ["failed", "complete", "complete"]
    study.close()
    assert [trial.state for trial in Study.open(tmp_path / "run", space=SPACE).trials] == [
        "failed",
        "complete",
        "complete",
    ]
