"""The figure of a training: its loss, and its accuracy on the held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from latency_db.figures import save_figure
from search.report.figures import smoothed
from search.steps import Evaluation, TrainStep


def draw_training(steps: Sequence[TrainStep], evaluations: Sequence[Evaluation], path: Path) -> None:
    """Draws the loss (nats) with the learning rate, and top-1 and top-5 of both kinds of weights, over epochs, as a PNG file.

    Without an evaluation it is the loss over the steps.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left = figure.add_subplot(1, 2, 1)
    steps_an_epoch = evaluations[0].step / evaluations[0].epoch if evaluations else 1
    at = [step.step / steps_an_epoch for step in steps]
    losses = [step.loss for step in steps]
    left.plot(at, losses, color="C0", linewidth=0.8, alpha=0.35)
    left.plot(at, smoothed(losses), color="C0", linewidth=1.8)
    left.set_ylabel("training loss (nats)", color="C0")
    rates = left.twinx()
    rates.plot(at, [step.learning_rate for step in steps], color="0.6", linewidth=1)
    rates.set_ylabel("learning rate", color="0.5")
    rates.set_ylim(bottom=0)
    left.set_xlabel("epoch" if evaluations else "step")
    left.set_xlim(0, evaluations[-1].epoch if evaluations else at[-1])
    for axes in (left, rates):
        axes.spines["top"].set_visible(False)
    if evaluations:
        _draw_accuracy(figure.add_subplot(1, 2, 2), evaluations)
    save_figure(figure, path)


def _draw_accuracy(axes: Axes, evaluations: Sequence[Evaluation]) -> None:
    epochs = [evaluation.epoch for evaluation in evaluations]
    for averaged, last, name, colour in (("top1", "last_top1", "top-1", "C1"), ("top5", "last_top5", "top-5", "C2")):
        if getattr(evaluations[-1], averaged) is None:
            continue
        marker: Any = {"marker": "o", "markersize": 3} if len(epochs) < 30 else {}
        values = [getattr(evaluation, averaged) for evaluation in evaluations]
        axes.plot(epochs, values, color=colour, linewidth=1.8, label=f"{name}, averaged weights", **marker)
        values = [getattr(evaluation, last) for evaluation in evaluations]
        axes.plot(epochs, values, color=colour, linewidth=0.8, alpha=0.5, label=f"{name}, weights of the epoch")
    axes.set_ylabel("accuracy on held-out images")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.legend(frameon=False, loc="lower right", fontsize=8)
    axes.set_xlabel("epoch")
    axes.set_xlim(0, epochs[-1])
    axes.spines[["top", "right"]].set_visible(False)
