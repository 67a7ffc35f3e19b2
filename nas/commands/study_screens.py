"""What a study looks like on a terminal: what is about to run, what was found, and one trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from nas.commands.tables import (
    COST_NAMES,
    FAINT,
    GOOD,
    WARNING,
    Listed,
    Typed,
    cost_text,
    exact_cost,
    facts,
    mirroring_text,
    option_text,
    show_facts,
    table,
)
from nas.wording import (
    MACS_NOTE,
    about,
    budget_text,
    count,
    duration,
    ended_as,
    error_text,
    estimate_name,
    estimate_text,
    human,
    number_of,
    percent,
    share,
    sparkline,
    strides_text,
    within,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from nas.documents import Document

_USES: Final = {"train": "training", "val": "validation"}
_SHOWN: Final = ("score", "batch", "epochs", "image_size", "width", "depth", "data_fraction", "rungs")
"""Settings of a proxy that make training cheaper; the manifest has all settings."""


def show_preflight(study: Document, space: Document, console: Console, size_from: str | None = None) -> None:
    """What `nas search` is about to do, before anything is trained.

    Args:
        study: what is run.
        space: of it, what fits its budget.
        console: where it is shown.
        size_from: what the image size follows from, if nobody gave it.
    """
    rows: list[tuple[str, RenderableType]] = [("space", f"{study['space']}: {count(space['size'])} architectures")]
    timed = f", {_range(space, 'latency_ms')}" if "latency_ms" in space["smallest"] else ""
    rows.append(("", f"{_range(space, 'macs')} MACs, {_range(space, 'params')} parameters{timed}"))
    if size_from is not None:
        rows.append(("image size", image_size_text(study["task"], size_from, "--image-size or --task")))
    if space["strides_left_out"] or space["strides"] == "published":
        rows.append(("strides", strides_text(space["strides"], space["strides_left_out"])))
    if space["fits"] is not None:
        rows.append(("budget", f"{budget_text(study['budget'], study['budget_typed'])}, counted on {study['task']}"))
        rows.append(("fits", fitting(space["fits"])))
    show_plan(f"nas search: {study['run']}", [*rows, *study_facts(study)], study, console, MACS_NOTE)


def show_plan(
    title: str, rows: list[tuple[str, RenderableType]], study: Document, console: Console, note: str = ""
) -> None:
    """A panel with what is about to run.

    Args:
        title: of the panel.
        rows: the facts in it.
        study: what is run, perhaps after an interruption.
        console: where it is shown.
        note: below the panel of a study that begins.
    """
    ended = sum(study["trials"][state] for state in ("complete", "pruned", "failed"))
    if ended:
        rows = [*rows, ("resumes", f"after {number_of(ended, 'trial')}")]
    heading = Text(title, style="bold")
    console.print(Panel(facts(*rows), title=heading, title_align="left", border_style=FAINT))
    if note and not ended:
        console.print(Text(note, style=FAINT))
    console.print()


def _range(space: Document, name: str) -> str:
    return f"{cost_text(name, space['smallest'][name])} to {cost_text(name, space['largest'][name])}"


def fitting(fits: Document) -> str:
    """How much of a space fits its budget; an estimate says from how many draws."""
    if fits["draws"]:
        low, high = fits["share"]
        return about(low, high, fits["draws"])
    part = share(*fits["share"])
    return f"{part}{' of them' * part.endswith('%')}: {count(fits['low'], fits['high'])} architectures"


def study_facts(study: Document) -> list[tuple[str, RenderableType]]:
    """The settings of a study: data, proxy, strategy, trials and seed."""
    from studies.adjusting import FEWEST
    from studies.belief import FEWEST as BELIEVED
    from studies.confirming import confirmations
    from studies.fidelity import fidelity
    from studies.lineage import FIRST

    rows: list[tuple[str, RenderableType]] = []
    estimator = dict(study["estimator"])
    data = estimator.pop("data", None)
    if isinstance(data, dict):
        images = {use: estimator.pop(f"{use}_images", None) for use in ("train", "val")}
        counts = [f"{number:,} {_USES[use]}" for use, number in images.items() if number is not None]
        if isinstance(held_out := data.get("test_images"), int):
            counts.append(f"{held_out:,} test (held out)")
        told = f"{data.get('name')}, {data.get('task')}; images: {', '.join(counts) or 'unknown'}"
        rows.append(("data", Text(told)))
        rows += [("", Text(str(note), style=WARNING)) for note in data.get("notes", ())]
        if "mirror" in estimator and "mirror_reason" in data:
            text = mirroring_text(data, estimator["mirror"], "--set estimator.mirror")
            rows.append(("mirroring", Text(text)))
    name = str(estimator.pop("name", ""))
    shown = {key: estimator[key] for key in _SHOWN if key in estimator} or estimator
    label = "training" if name == "full-training" else "proxy"
    rows.append((label, Text.assemble(name, (f"  {_settings(shown)}", FAINT))))
    rows += [("", words)] if (words := fidelity(study["task"], study["estimator"])) else []
    if unit := study["estimator"].get("estimates"):
        nothing = "" if "epochs" in estimator else "nothing is trained: "
        rows.append(("", Text(f"{nothing}estimates are a {unit}, and only rank networks", style=WARNING)))
    strategy = study["strategy"]
    rows.append(("strategy", Text.assemble(strategy["name"], (f"  {_settings(strategy['settings'])}", FAINT))))
    if study["prescreen"]:
        score, _, draws = study["prescreen"].partition(":")
        rows.append(("prescreen", f"of {draws} proposals per trial, the one with the highest {score} score is tried"))
    planned = f"{study['planned']} planned, " if study["planned"] else ""
    batches = f", in synchronous batches of {study['wave']}" if study["wave"] else ""
    rows.append(("trials", f"{planned}seed {study['seed']}, pruner {study['pruner']}{batches}"))
    if study["estimator"].get("rungs") and study["pruner"] == "none":
        rows.append(("", Text("rungs only add cost without a pruner that can stop trials at them", style=WARNING)))
    if starts := strategy["settings"].get("start_from"):
        names = (f"{name[:40]}..." if name.startswith("{") else name for name in starts)
        rows.append(("starts from", Text("\n".join(names))))
    if study["inheritance"] is not None:
        starts = f"after {FIRST} from scratch, each trial starts from the weights of the nearest earlier one"
        rows.append(("inherits", starts))
        if 0 < (study["planned"] or 0) <= FIRST:
            rows.append(("", Text(f"no trial inherits: all {study['planned']} are the first ones", style=WARNING)))
        elif not study["confirm"]:
            bias = "accuracies are estimates of those from scratch; add --confirm 3 to decide by training from scratch"
            rows.append(("", Text(bias, style=WARNING)))
    elif study["estimator"].get("adjusted") and (study["planned"] or FEWEST) >= FEWEST:
        from_loss, from_predictor = f"the training loss (from {FEWEST} trials on)", f"a predictor (from {BELIEVED})"
        rows.append(("chooses", f"by accuracies corrected for noise with {from_loss} and {from_predictor}"))
    total = study["planned"] or 0
    had = study["confirmations"] if sum(study["trials"].values()) < total else 0  # and others are still to come
    left = confirmations(study["confirm"], total) - had
    if study["confirm"] == "auto":
        again = f"the last {left} trials retrain the leading networks where it tells most; the mean accuracy decides"
        rows += [("confirms", again)] if left > 0 else []
    elif study["confirm"]:
        best = "best network" if study["confirm"] == 1 else f"{study['confirm']} best networks"
        last = "last trials, as far as needed," if had else f"last {left} trials"
        again = f"the {last} train the {best} three more times; the mean accuracy decides"
        rows.append(("confirms", again))
    return rows


def image_size_text(task: str, size_from: str, option: str) -> str:
    """The image size that was chosen, why, and how to change it."""
    return f"{task.partition('x')[0]} px: {size_from} ({option} changes it)"


def with_notes(title: str, notes: Sequence[str]) -> Text:
    """The title of a table of accuracies and costs; lines below it say what these are those of."""
    return Text.assemble(title, *((f"\n{each}", f"not bold {FAINT}") for each in notes))


def _settings(settings: Document) -> str:
    """Settings in one line; those that are off or empty are left out.

    >>> _settings({"epochs": 4, "width": 0.5, "mirror": False, "objectives": ["accuracy", "macs"]})
    'epochs 4, width 0.5, objectives accuracy and macs'
    """
    shown = {name: value for name, value in settings.items() if value not in (None, False, [], {}, "") and value != 0}
    shown.pop("start_from", None)  # has a line of its own
    return ", ".join(f"{name} {option_text(value)}" for name, value in shown.items())


def show_study(document: Document, console: Console, notes: Sequence[str] = ()) -> None:
    """`nas show RUN`; notes as of `show_result`."""
    rows: list[tuple[str, RenderableType]] = [("run", Text(str(document["run"]), style="bold"))]
    within = budget_text(document["budget"], document["budget_typed"])
    rows.append(("space", f"{document['space']}, {within}, counted on {document['task']}"))
    console.print(facts(*rows, *study_facts(document)))
    console.print()
    show_result(document, console, notes)


def show_result(document: Document, console: Console, notes: Sequence[str] = ()) -> None:
    """What a search has found, where it is, and what to type next.

    Args:
        document: of the study.
        console: where it is shown.
        notes: what its accuracies and costs are those of (`studies.fidelity.read_as`).
    """
    from estimators.estimator import PREPARED_S
    from studies.results import counted

    if document["pareto"]:
        console.print(_pareto(document, notes))
    if document["confirmed"]:
        console.print(_confirmed(document, notes))
    rows: list[tuple[str, RenderableType]] = []
    best, run = document["best"], document["run"]
    if best is not None:
        rows += [("best", verdict(document)), ("", choices(best)), ("", "")]
        rows += [*ranked, ("", "")] if (ranked := ranking_rows(document)) else []
    states = ", ".join(counted(number, state) for state, number in document["trials"].items() if number)
    again = f", {document['confirmations']} of them confirmations" if document["confirmations"] else ""
    before = f", after {duration(document[PREPARED_S])} for the supernet" if PREPARED_S in document else ""
    rows.append(("trials", f"{states or 'none yet'}{again}; {duration(document['seconds'])} in total{before}"))
    if (kept := document["inheritance"]) is not None:
        rows.append(("inherited", inheritance_text(kept)))
    if (checked := document["extrapolation"]) is not None:
        unit = document["estimator"].get("estimates")
        rows.append(("extrapolation", Text(extrapolation_text(checked, unit))))
        rows += [("", Text(may_exceed_text(checked["may_exceed"], unit)))] if checked["may_exceed"] else []
    rows += [("failed", Text(f"{number} x {why}", style="red")) for why, number in document["failures"].items()]
    if "ended" in document:
        rows.append(("ended", document["ended"]["reason"]))
    if run is not None:
        rows.append(("", ""))
        rows += [(name, Text(path)) for name, path in document["files"].items()]
        rows += [("drawing", Text(document["drawing"]))] if "drawing" in document else []
        rows.append(("", ""))
        commands = [*document["looks"], *([document["more"]] if document["more"] else [])]
        rows += [("next" if index == 0 else "", Typed(command)) for index, command in enumerate(commands)]
    show_facts(console, *rows)


def inheritance_text(kept: Document) -> str:
    """How many trials started from the weights of others, and what is kept on disk for that.

    >>> inheritance_text({"children": 59, "kept": 16, "bytes": 12_800_000})
    '59 trials started from the weights of others; those of 16 are kept, 12.8MB'
    """
    many = f"{number_of(kept['children'], 'trial')} started from the weights of others"
    return f"{many}; those of {kept['kept']} are kept, {human(kept['bytes'])}B"


def verdict(document: Document) -> str:
    """The best network in a sentence, and how many others cannot be told from it.

    >>> trial = {"number": 3, "accuracy": 0.99, "standard_error": 0.006, "macs": 2e8}
    >>> document = {"best": trial, "near_best": [1, 4], "confirmed": [], "estimator": {}}
    >>> verdict(document)
    'trial 3: 99.0% ± 0.6% at 200M MACs; 2 others are within one standard error'
    """
    best, near = document["best"], len(document["near_best"])
    unit = document["estimator"].get("estimates")
    found = within(best["accuracy"], best["standard_error"], unit)
    said = f"trial {best['number']}: {found} at {human(best['macs'])} MACs"
    if not near or document["confirmed"]:
        return said
    others = "1 other is" if near == 1 else f"{near} others are"
    return f"{said}; {others} within one standard error"


def ranking_rows(document: Document) -> list[tuple[str, RenderableType]]:
    """How well the proxy ranks networks: what was measured of it, else how to measure it."""
    if (ranked := document["proxy_agreement"]) is not None:
        return [("ranking", Text(f"of networks by the proxy: {ranked['told']} ({ranked['folder']})"))]
    if document["proxy_command"] is None:
        return []
    return [
        ("ranking", "how well the proxy ranks networks has not been measured; to measure it:"),
        ("", Typed(document["proxy_command"])),
    ]


def extrapolation_text(checked: Document, unit: str | None = None) -> str:
    """How extrapolation did on complete trials, from the first, the middle and the last epoch that was checked.

    >>> first = {"step": 1, "error": 0.0192, "coverage": 0.792}
    >>> last = {"step": 5, "error": 0.0061, "coverage": 0.833}
    >>> extrapolation_text({"curves": 24, "steps": 6, "standard_error": 0.082, "at": [first, last]})
    'the 80% interval covers 79% of 24 trials from epoch 1 of 6 (mean error 1.92 points), 83% from 5 (0.61); each ± 8%'
    """
    at = checked["at"]
    shown = [at[index] for index in sorted({0, len(at) // 2, len(at) - 1})]
    errors = [f"{100 * one['error']:.2f}" if unit is None else f"{one['error']:.4f}" for one in shown]
    points = "" if unit else " points"
    parts = [
        f"{round(100 * shown[0]['coverage'])}% of {checked['curves']} trials from epoch {shown[0]['step']} of "
        f"{checked['steps']} (mean error {errors[0]}{points})"
    ]
    parts += [
        f"{round(100 * one['coverage'])}% from {one['step']} ({error})"
        for one, error in zip(shown[1:], errors[1:], strict=True)
    ]
    return f"the 80% interval covers {', '.join(parts)}; each ± {round(100 * checked['standard_error'])}%"


def may_exceed_text(named: Sequence[Document], unit: str | None = None) -> str:
    """The pruned trials that may have ended above the best, the likeliest three with their chances.

    >>> may_exceed_text([{"number": 17, "accuracy": 0.981, "chance": 0.412}])
    'pruned trial 17 might have beaten the best: 98.1% expected, a 41% chance'
    """
    if len(named) == 1:
        (one,) = named
        expected = f"{estimate_text(one['accuracy'], unit)} expected, a {round(100 * one['chance'])}% chance"
        return f"pruned trial {one['number']} might have beaten the best: {expected}"
    likeliest = ", ".join(f"{one['number']} ({round(100 * one['chance'])}%)" for one in named[:3])
    return f"{len(named)} pruned trials might have beaten the best, with these chances: trial {likeliest}" + (
        ", ..." if len(named) > 3 else ""
    )


def _pareto(document: Document, notes: Sequence[str]) -> Table:
    """The Pareto front of accuracy and a cost, or of all objectives where there are more, cheapest first."""
    weighed = document.get("front_of", ())
    wide = ["activations>"] if "activations" in weighed else []
    timed = ["latency>"] if any("latency_ms" in one for one in document["pareto"]) else []
    unit = document["estimator"].get("estimates")
    again = {one["number"] for one in document["confirmed"]}
    lucky = [one["number"] not in again and one["adjusted"] is not None for one in document["pareto"]]
    also = ["observed>"] if any(lucky) else []
    costs = (*timed, "MACs>", "parameters>", *wide, "peak memory>")
    made = table("trial>", f"{estimate_name(unit)}>", *also, *costs, "time>")
    of = f"{f'{unit},' if unit else 'accuracy'} and {COST_NAMES[document['against']]}"
    if weighed:
        from searchspaces.plural import listed

        of = listed([estimate_name(unit) if each == "accuracy" else COST_NAMES[each] for each in weighed])
    made.title = with_notes(f"Pareto front of {of}", notes)
    for one in document["pareto"]:
        made.add_row(
            str(one["number"]),
            within(one["accuracy"], one["standard_error"], unit),
            *(percent(one["observed"]) for _ in also),
            *(cost_text("latency_ms", one["latency_ms"]) for _ in timed),
            human(one["macs"]),
            human(one["params"]),
            *(human(one["activations"]) for _ in wide),
            cost_text("peak_activation_bytes", one["peak_activation_bytes"]),
            duration(one["seconds"] or 0.0),
            style=GOOD if one["number"] == document["best"]["number"] else "",
        )
    return made


def _confirmed(document: Document, notes: Sequence[str]) -> Table:
    """Confirmed networks by the mean accuracy of their trainings, with its standard error."""
    from estimators.scoring import SCORED

    made = table("trial>", "mean>", "std. error>", "accuracies", "MACs>", "parameters>", "")
    unit = document["estimator"].get("estimates")
    made.title = with_notes(f"Confirmed networks{f' ({unit})' if unit else ''}", notes)
    for one in document["confirmed"]:
        won = one["number"] == document["best"]["number"]
        error = one["standard_error"]
        made.add_row(
            str(one["number"]),
            estimate_text(one["mean"], unit),
            "-" if error is None or unit == SCORED else f"± {error_text(error, unit)}",
            " ".join(estimate_text(each, unit).rstrip("%") for each in one["accuracies"]),
            human(one["macs"]),
            human(one["params"]),
            "best" if won else "",
            style=GOOD if won else "",
        )
    return made


def parent_text(trial: Document) -> str:
    """From which trial a trial took its weights, and how much of them.

    >>> parent_text({"parent": 7, "details": {"inherited": {"epochs": 9, "share": 0.914, "preserved": False}}})
    'trial 7: 91.4% of the parameters, trained for 9 epochs before'
    """
    found = trial["details"].get("inherited", "not finished yet")
    if isinstance(found, str):
        return f"trial {trial['parent']}: {found}"
    kept = "; it started out computing the same function" if found["preserved"] else ""
    share, epochs = percent(found["share"]), number_of(found["epochs"], "epoch")
    return f"trial {trial['parent']}: {share} of the parameters, trained for {epochs} before{kept}"


def choices(trial: Document) -> Group:
    """An architecture, a line for each stage, and what its letters mean."""
    from searchspaces.space import letters

    lines = [part.strip() for part in trial["words"].split("|")]
    meant = letters(trial["words"])
    return Group(Text("\n".join(lines)), *([Listed(meant, FAINT)] if meant else []))


def show_trial(document: Document, console: Console, notes: Sequence[str] = ()) -> None:
    """`nas show RUN --trial N`; notes as of `show_result`."""
    unit = document.get("estimates")
    rows: list[tuple[str, RenderableType]] = [("trial", Text(str(document["number"]), style="bold"))]
    rows.append(("state", ended_as(document["state"], document["reason"])))
    if document["confirms"] is not None:
        rows.append(("confirms", f"the network of trial {document['confirms']}"))
    if document["parent"] is not None:
        rows.append(("parent", parent_text(document)))
    if "score" in document["details"]:
        rows.append(("score", Text(f"{document['details']['score']:.4g} (not an accuracy)", style=GOOD)))
    elif document["accuracy"] is not None:
        observed = within(document["accuracy"], document["observed_standard_error"], unit)
        rows.append((estimate_name(unit), Text(observed, style=GOOD)))
        adjusted, mean, error = (document[name] for name in ("adjusted", "mean", "standard_error"))
        if adjusted is not None:
            known = within(adjusted, error if mean is None else None, unit)
            rows.append(("", f"{known} adjusted" + (", which decides" if mean is None else "")))
        if mean is not None:
            rows.append(("", f"{within(mean, error, unit)} mean over its trainings, which decides"))
    if unit is not None and isinstance(validated := document["details"].get("val_accuracy"), float):
        rows.append(("accuracy", f"{percent(validated)} on the validation images"))
    if document["rungs"]:
        rungs = ", ".join(estimate_text(each, unit) for each in document["rungs"])
        rows.append(("rungs", f"{rungs}, each from a separate training"))
    if len(curve := document["curve"]) > 1:  # one point is the accuracy
        ends = f"{estimate_text(curve[0], unit)} to {estimate_text(curve[-1], unit)} in {len(curve)} epochs"
        rows.append(("curve", Text.assemble((sparkline(curve, width=40), "cyan"), f"  {ends}")))
    if (found := document["extrapolated"]) is not None:
        at_end, low, high = (estimate_text(found[name], unit) for name in ("accuracy", "low", "high"))
        rows.append(("extrapolated", f"{at_end} at the end, 80% interval {low} to {high};"))
        rows.append(("", f"a {percent(found['chance'])} chance of beating the best known then"))
    if document["seconds"] is not None:
        rows.append(("time", duration(document["seconds"])))
    rows += [(title, exact_cost(name, document[name])) for name, title in COST_NAMES.items() if name in document]
    rows += [("notes" if index == 0 else "", words) for index, words in enumerate(notes)]
    rows.append(("architecture", choices(document)))
    rows += [("drawing", Text(document["drawing"]))] if "drawing" in document else []
    console.print(facts(*rows))


def show_trials(document: Document, console: Console) -> None:
    """`nas show RUN --all`."""
    unit = document["estimates"]
    decides = [one["adjusted"] if one["mean"] is None else one["mean"] for one in document["trials"]]
    also = ["decides>"] if any(each is not None for each in decides) else []
    made = table("trial>", f"{estimate_name(unit)}>", *also, "MACs>", "parameters>", "time>", "state", "curve")
    for one, decisive in zip(document["trials"], decides, strict=True):
        again = "" if one["confirms"] is None else f", confirms {one['confirms']}"
        made.add_row(
            str(one["number"]),
            within(one["accuracy"], one["observed_standard_error"], unit),
            *(within(decisive, one["standard_error"], unit) for _ in also),
            human(one["macs"]),
            human(one["params"]),
            "" if one["seconds"] is None else duration(one["seconds"]),
            Text(ended_as(one["state"], one["reason"], again)),
            Text(sparkline(one["curve"]), style="cyan"),
            style=GOOD if one["number"] == document["best"] else "",
        )
    console.print(made)
    if also:
        told = "decides: the adjusted accuracy, or the mean over the trainings of a confirmed network"
        console.print(Text(told, style=FAINT))
    console.print(Text(f"Details of a trial: {document['show']} N", style=FAINT))
