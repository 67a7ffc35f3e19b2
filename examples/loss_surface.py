"""The loss around trained networks, along two random directions, as a page of contours.

    python examples/loss_surface.py TRAINED [TRAINED ...] --out surfaces.html

Li et al. 2018, *Visualizing the Loss Landscape of Neural Nets*, arXiv:1712.09913: L(w + a d + b e) over a and b in
[-1, 1] (sec. 3), where d and e are Gaussian directions whose filters have the norms of the network's own (sec. 4), so
that networks of different scales compare. A filter is the weights of one output channel of a convolution, or of one
output of a linear layer. As in the authors' code, biases and the parameters of batch norms are left as they are, and so
are their running statistics, with which the loss is evaluated. For the picture of sec. 5 give a network with shortcuts
and one without, such as trainings of resnet56 and of plain56.

Departures: the loss is the mean cross-entropy of `--images` training images of each network, evenly spaced among them
and without augmentation, not of all; without weight decay; and it is drawn on a logarithmic scale.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.trained import Trained
from searchspaces import UserError, human
from searchspaces.files import write_whole

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from numpy.typing import NDArray
    from torch import Tensor, nn

    Direction = list[tuple[nn.Parameter, Tensor]]


def training_images(trained: Trained, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (count, side, side, channels) that the network was trained on, evenly spaced, and their labels.

    Raises:
        UserError: the data cannot be read any more, or are others.
    """
    from estimators.data import load_data, train_and_validation
    from estimators.sources import reading_of

    held, recipe = trained.facts["data"], trained.facts["recipe"]
    data = load_data(str(held.get("source", held["name"])), trained.task.image_size, **reading_of(held))
    if not data.is_recorded_as(held["fingerprint"]):
        raise UserError(f"the images of {trained.folder} are not those that it was trained on")
    train, _ = train_and_validation(data, recipe["data_fraction"], recipe["val_fraction"], recipe["split_seed"])
    chosen = np.sort(np.asarray(train))[:: max(1, len(train) // count)][:count]
    return data.images[chosen], data.labels[chosen]


def direction(module: nn.Module, seed: int) -> Direction:
    """Each weight of more than one dimension, with a Gaussian direction whose filters have the norms of its own."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    found = []
    for weight in module.parameters():
        if weight.ndim > 1:
            drawn = torch.randn(weight.shape, generator=generator)
            ours, theirs = (each.detach().flatten(1).norm(dim=1) for each in (weight, drawn))
            found.append((weight, drawn * (ours / theirs).view(-1, *[1] * (weight.ndim - 1))))
    return found


def surface(trained: Trained, points: int, images: int, seed: int, reach: float = 1.0) -> NDArray[np.float64]:
    """The loss (points, points) at b (rows) and a (columns), from `-reach` to `reach`; the network is in the middle."""
    import torch
    from torch.nn import functional

    module = trained.module()
    pixels, labels = training_images(trained, images)
    given, wanted = trained.scaled_images(pixels), torch.from_numpy(np.asarray(labels))
    first, second = direction(module, 2 * seed), direction(module, 2 * seed + 1)
    start = [weight.detach().clone() for weight, _ in first]
    at = np.linspace(-reach, reach, points)
    found = np.empty((points, points))
    with torch.no_grad():
        for row, b in enumerate(at):
            for column, a in enumerate(at):
                for (weight, d), (_, e), own in zip(first, second, start, strict=True):
                    weight.copy_(own + float(a) * d + float(b) * e)
                found[row, column] = float(functional.cross_entropy(module(given), wanted))
    return found


def surface_figure(losses: NDArray[np.float64], low: float, high: float, reach: float = 1.0) -> go.Figure:
    """Contours of one surface, at the same losses for each: sixteen a logarithmic scale from `low` to `high`."""
    import plotly.graph_objects as go

    from studies.pages.page import INK, RED, SHADES, layout

    at = np.linspace(-reach, reach, len(losses))
    floor, top = np.log10(low), np.log10(high)
    darkest_low = [(1 - place, colour) for place, colour in reversed(SHADES)]
    figure = go.Figure(layout=layout())
    figure.add_trace(
        go.Contour(
            x=at, y=at, z=np.log10(np.clip(losses, low, high)), customdata=losses, colorscale=darkest_low,
            zmin=floor, zmax=top, contours={"start": floor, "end": top, "size": (top - floor) / 16},
            line={"width": 0.7, "color": INK}, showscale=False,
            hovertemplate="a %{x:.2f}, b %{y:.2f}: loss %{customdata:.3g}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(x=[0], y=[0], mode="markers", marker={"symbol": "x-thin", "size": 12,
                   "line": {"width": 2, "color": RED}}, hoverinfo="skip")
    )  # fmt: skip
    figure.update_xaxes(title={"text": "a, of the first direction"})
    figure.update_yaxes(title={"text": "b, of the second direction"}, scaleanchor="x")
    return figure


def surfaces_html(several: Sequence[Trained], losses: Sequence[NDArray[np.float64]], images: int, seed: int) -> str:
    """The page, with one scale of colours for all."""
    from studies.pages.page import RED, Key, page, plot, scale, side_by_side

    finite = np.stack([np.nan_to_num(each, nan=np.inf, posinf=np.inf) for each in losses])
    low = max(float(finite.min()), 1e-4)
    high = max(float(np.quantile(finite[np.isfinite(finite)], 0.98)), 1.01 * low)
    parts = [
        plot(
            surface_figure(each, low, high), f"surface{index}", [Key("the trained network", RED, "cross")],
            caption=_caption(trained, each), scale=scale("loss", human(high), human(low)), height="square",
        ) for index, (trained, each) in enumerate(zip(several, finite, strict=True))
    ]  # fmt: skip
    rows = [side_by_side(*parts[start : start + 2]) for start in range(0, len(parts), 2)]
    about = ["two filter-normalized directions (arXiv:1712.09913)", f"{images:,} training images", f"seed {seed}"]
    notes = [
        "Each contour is at the same loss in all pictures. The weights of each filter move by as much as their own "
        "norm at a or b = 1; biases, batch norms and their running statistics stay as trained.",
        f"Losses above {human(high)} have its colour. Two random directions show only part of a surface.",
    ]
    return page("The loss around trained networks", about, rows, notes)


def _caption(trained: Trained, losses: NDArray[np.float64]) -> str:
    middle = losses[len(losses) // 2, len(losses) // 2]
    accuracy = trained.facts.get("test_accuracy")
    tested = "" if accuracy is None else f", test accuracy {accuracy:.1%}"
    return f"{trained.folder.name}: loss {middle:.3g} in the middle{tested}"


def _told(several: Sequence[Trained], losses: Sequence[NDArray[np.float64]]) -> Iterator[str]:
    """For each network the loss in the middle, and how many times as high it is on the rim, in the median."""
    for trained, each in zip(several, losses, strict=True):
        rim = np.concatenate([each[0], each[-1], each[1:-1, 0], each[1:-1, -1]])
        middle = each[len(each) // 2, len(each) // 2]
        times = np.median(rim) / middle
        yield f"{trained.folder}: loss {middle:.3f}, and {times:.3g} times as high on the rim (median)"


def main(given: Sequence[str] | None = None) -> None:
    """Evaluate the surfaces and write the page."""
    parser: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", nargs="+", help="folders written by nas train")
    parser.add_argument(
        "--points", type=int, default=21, help="points a side, an odd number; their square is evaluated"
    )
    parser.add_argument("--images", type=int, default=256, help="training images that the loss is the mean of")
    parser.add_argument("--seed", type=int, default=0, help="of the directions")
    parser.add_argument("--out", type=Path, default=Path("surfaces.html"), help="the page")
    options = parser.parse_args(given)
    if options.points < 3 or options.points % 2 == 0 or options.images < 1:
        parser.error("--points must be odd and at least 3, --images at least 1")
    try:
        several = [Trained.open(each) for each in options.trained]
        losses = [surface(each, options.points, options.images, options.seed) for each in several]
        write_whole(options.out, surfaces_html(several, losses, options.images, options.seed))
    except UserError as error:
        parser.error(str(error))
    for line in _told(several, losses):
        print(line)
    print(options.out)


if __name__ == "__main__":
    main()
