"""Degradation: a deeper plain network trains worse than a shallower one, a deeper residual network does not.

After He et al. 2016, arXiv:1512.03385, figs. 1 and 6: 20 and 56 layers, plain and with shortcuts, trained by the recipe
of sec. 4.2. It prints the table and draws the training loss of each epoch. Smaller than in the paper, so that a core is
enough: half of the widths, small images, some of the images, batches of 64, and a thousand steps in place of 64,000.

Try it: `python examples/degradation.py --data cifar10-small.npz --image-size 16`, about ten minutes of a core. What is
done is kept beside the page, and the same command goes on. After these thousand steps the training losses were 1.697
for plain-20 and 2.219 for plain-56, which learned next to nothing, 1.339 for ResNet-20 and 1.664 for ResNet-56.

With `--images 10000 --epochs 60`, 8,400 steps and over an hour of a core, they were 0.980 for plain-20 and 1.808 for
plain-56, 0.690 for ResNet-20 and 0.670 for ResNet-56 (one seed): the deeper plain network trains worse, the deeper
residual one better, from epoch 46 on, after the second division of the learning rate. On the validation images they
had 59.9, 31.8, 69.4 and 65.6 % (plain-20, plain-56, ResNet-20, ResNet-56; standard error 1.5).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces import Buildable, Classic, Scale, Scaled, Task, UserError, classic, human
from searchspaces.classics.plain import plain_resnet
from searchspaces.files import make_folder, read_json, write_whole

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from estimators import ImageData
    from estimators.recipe import Recipe

DEPTHS: Final = (20, 56)
WIDTHS: Final = (8, 16, 32)
"""Channels of the three stages: half of the paper's."""


def networks(task: Task) -> dict[str, Buildable]:
    """The four networks, by name."""
    found: dict[str, Buildable] = {}
    for depth in DEPTHS:
        tree = partial(plain_resnet, depths=[(depth - 2) // 6] * 3, widths=WIDTHS)
        found[f"plain-{depth}"] = Classic(f"plain-{depth}", "He 2016, arXiv:1512.03385", tree, task)
        member = classic(f"resnet{depth}").architecture
        assert member is not None
        found[f"ResNet-{depth}"] = Scaled(member, Scale(width=WIDTHS[0] / 16), task)
    return found


def curves(network: Buildable, data: ImageData, recipe: Recipe, seed: int, folder: Path) -> dict[str, list[float]]:
    """The mean training loss and the validation accuracy, in [0, 1], of each epoch."""
    from estimators import TrialContext
    from estimators.training import estimated

    make_folder(folder)
    found = estimated(network, data, recipe, TrialContext(seed, checkpoint=str(folder / "checkpoint")), "cpu")
    return {"loss": list(found.details["train_losses"]), "accuracy": list(found.curve)}


def trained(data: ImageData, recipe: Recipe, seeds: int, folder: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Train all four with each seed, or read what was done before: name, seed and curves.

    Raises:
        UserError: the folder has trainings of other images or by another recipe.
    """
    for seed in range(seeds):
        for name, network in networks(data.task).items():
            how = {"data": data.fingerprint, "recipe": recipe.describe(), "macs": network.cost(data.task).macs}
            file = folder / f"{name}-{seed}.json"
            if not file.exists():
                kept = folder / f"{name}-{seed}"
                found = {"how": how, **curves(network, data, recipe, seed, kept)}
                write_whole(file, json.dumps(found) + "\n")
            found = read_json(file)
            if found["how"] != how:
                raise UserError(f"{file} is of other images or settings: give another --out")
            yield name, seed, found


def loss_figure(losses: Mapping[str, Sequence[Sequence[float]]]) -> go.Figure:
    """The training losses of each network, one line for each seed; the deeper ones are drawn through."""
    import plotly.graph_objects as go

    from studies.pages.page import layout

    figure = go.Figure(layout=layout())
    for name, several in losses.items():
        for each in several:
            figure.add_scatter(
                x=list(range(1, len(each) + 1)), y=list(each), mode="lines", line=_line(name), legendgroup=name,
                hovertemplate=f"{name}, epoch %{{x}}: %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title={"text": "epoch"})
    figure.update_yaxes(title={"text": "training loss"}, type="log")
    return figure


def _line(name: str) -> dict[str, Any]:
    from studies.pages.page import BLUE, RED

    deep = name.endswith(str(DEPTHS[-1]))
    return {"color": RED if name.startswith("plain") else BLUE, "width": 2, "dash": "solid" if deep else "dot"}


def page_html(
    losses: Mapping[str, Sequence[Sequence[float]]], about: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """The page: the losses, and the table."""
    from studies.pages.page import Key, page, plot, table

    keys = [Key(name, _line(name)["color"], _line(name)["dash"], name) for name in losses]
    notes = [
        "After He et al. 2016, arXiv:1512.03385, figs. 1 and 6; half of the widths, smaller and fewer images, and "
        "fewer steps than there."
    ]
    return page(
        "Degradation", about, [plot(loss_figure(losses), "losses", keys), table("At the end", COLUMNS, rows)], notes
    )  # fmt: skip


COLUMNS: Final = ("network", "MACs", "training loss", "validation accuracy")


def main(given: Sequence[str] | None = None) -> None:
    """Train the four networks, print the table and write the page."""
    parser: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="images, as nas train takes them")
    parser.add_argument("--image-size", type=int, help="side in pixels; by default that of the data")
    parser.add_argument("--images", type=int, default=2500, help="training and validation images, at most")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/degradation"), help="folder of the page and trainings")
    options = parser.parse_args(given)
    from estimators import load_data
    from estimators.recipe import make_recipe

    try:
        data = load_data(options.data, options.image_size)
        share = min(1.0, options.images / len(data.labels))
        recipe = make_recipe("resnet", epochs=options.epochs, batch=64, data_fraction=share)
        losses: dict[str, list[list[float]]] = {}
        accuracies: dict[str, list[float]] = {}
        for name, seed, found in trained(data, recipe, options.seeds, options.out):
            losses.setdefault(name, []).append(found["loss"])
            accuracies.setdefault(name, []).append(found["accuracy"][-1])
            print(f"{name}, seed {seed}: loss {found['loss'][-1]:.3f}", flush=True)
        rows = []
        for name, network in networks(data.task).items():
            loss, accuracy = ([*each] for each in ([one[-1] for one in losses[name]], accuracies[name]))
            told = f"{sum(loss) / len(loss):.3f}", f"{sum(accuracy) / len(accuracy):.1%}"
            rows.append((name, human(network.cost(data.task).macs), *told))
        about = [
            f"{Path(data.name).name}, {data.task}",
            f"{round(share * len(data.labels)):,} images",
            f"{options.epochs} epochs",
        ]
        write_whole(options.out / "degradation.html", page_html(losses, about, rows))
    except UserError as error:
        parser.error(str(error))
    for row in (COLUMNS, *rows):
        print("".join(each.ljust(20) for each in row).rstrip())
    print(options.out / "degradation.html")


if __name__ == "__main__":
    main()
