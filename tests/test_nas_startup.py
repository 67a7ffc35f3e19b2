"""The command line answers at once: what it may take, and what it may not import."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "optuna", "pandas", "plotly", "sklearn", "fvcore")
LIGHT_COMMANDS = [
    (["--help"], 1.8),
    (["search", "--help"], 1.8),
    (["space", "mbconv", "--budget", "400M"], 6.0),
    (["cost", "efficientnet_b0"], 4.5),
    (["spaces"], 4.5),
    (["classics"], 6.0),
]
"""How much more than `REFERENCE` each may take, which is 0.3 s on a quiet machine. The last counts 199 networks."""
REFERENCE = "import numpy, rich.markdown, rich.table, typer.rich_utils"
"""What no command of ours can do without; measured in the same run, as machines and their other work differ."""


def processor_s(program: str) -> tuple[float, str]:
    """Processor time of a Python process, in seconds, and what it says on standard error."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ran.stderr


@pytest.fixture(scope="module")
def reference_s():
    return processor_s(REFERENCE)[0]


@pytest.mark.parametrize(
    ("arguments", "limit"), LIGHT_COMMANDS, ids=lambda given: " ".join(given) if isinstance(given, list) else ""
)
def test_light_commands_import_nothing_heavy_and_answer_in_time(reference_s, arguments, limit):
    heavy = [*HEAVY, "numpy"] if "--help" in arguments else HEAVY
    program = (
        "import json, sys\n"
        "from nas.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "finally:\n"
        f"    print(json.dumps([name for name in {heavy!r} if name in sys.modules]), file=sys.stderr)\n"
    )
    ratios = []
    for _ in range(4):  # the best of a few: other work on the machine is not the command's fault
        took, said = processor_s(program)
        assert json.loads(said) == []
        ratios.append(took / (processor_s(REFERENCE)[0] if ratios else reference_s))
        if ratios[-1] < limit:
            return
    pytest.fail(f"nas {' '.join(arguments)} took {min(ratios):.2f} times the reference at best; the law is {limit}")


def test_ctrl_c_while_the_command_line_is_imported_is_one_line(monkeypatch, capsys):
    from nas.entry import main

    class Pressed:
        def find_spec(self, name, *_):
            if name == "nas.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "nas.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Pressed(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "nas: interrupted\n"


def test_import_nas_is_light_until_something_is_used():
    program = (
        "import sys, nas\n"
        f"assert not [name for name in {HEAVY!r} if name in sys.modules], 'import nas'\n"
        "nas.Budget.parse('400M'), nas.Task(), nas.space('mbconv')\n"
        f"assert not [name for name in {HEAVY!r} if name in sys.modules], 'spaces'\n"
        "assert set(nas.__all__) <= set(dir(nas))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
