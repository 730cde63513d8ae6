"""The curves of a run."""

import csv
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from multilabel_pl.results.figures import MODEL, REFERENCE

Curve = tuple[list[float], list[float]]  # epochs, in fractions, and values
COLORS = {
    "loss": {"train_loss": REFERENCE, "val_loss": MODEL},
    "validation": {"val_map": MODEL, "val_f1_macro": "tab:orange", "val_exact_match": "tab:green"},
}


def training_figure(metrics_csv: Path, epoch: int | None = None) -> Figure:
    """Draws the curves of a run by epoch.

    Args:
        metrics_csv: Where they are logged.
        epoch: The epoch after which the checkpoint was saved, from 1, which is marked.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(COLORS)), read_curves(metrics_csv).items(), strict=True):
        for name, (epochs, values) in curves.items():
            axes.plot(epochs, values, ".-", markersize=4, lw=1, label=name, color=COLORS[title][name])
        if epoch is not None:
            axes.axvline(epoch, color="black", ls=":", lw=1, label=f"epoch {epoch}, evaluated here")
        axes.set(xlabel="epoch", ylabel=title)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False, fontsize=8)
    return figure


def read_curves(metrics_csv: Path) -> dict[str, dict[str, Curve]]:
    """Reads the curves of a run, by title and name; a short run has no training loss."""
    with metrics_csv.open(encoding="utf-8", newline="") as file:
        # Monitors of rates and devices log steps without an epoch; another program's file may have neither.
        rows = [row for row in csv.DictReader(file) if row.get("epoch") and row.get("step")]
    read = {title: {name: _curve(rows, name) for name in names} for title, names in COLORS.items()}
    return {title: {name: curve for name, curve in curves.items() if curve[0]} for title, curves in read.items()}


def _curve(rows: list[dict[str, str]], name: str) -> Curve:
    """Returns the epochs, in fractions, and values of a column that is empty in most rows."""
    filled = [row for row in rows if row.get(name)]
    if not filled:
        return [], []
    whole = [row for row in rows if row["epoch"] != rows[-1]["epoch"]]  # the last epoch may not have ended
    last = max(whole or rows, key=lambda row: int(row["step"]))
    steps = (int(last["step"]) + 1) / (int(last["epoch"]) + 1)  # an epoch
    return [(int(row["step"]) + 1) / steps for row in filled], [float(row[name]) for row in filled]
