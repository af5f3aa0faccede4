"""Figures that every chapter draws; see the package's docstring for what images and maps are."""

from __future__ import annotations

from importlib import resources

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito's colours, distinct for the colour-blind, and a marker each, distinct in grey.
EMOTIONS = {
    "neutral": ("#6b6b6b", "o"),
    "happiness": ("#b8860b", "^"),
    "surprise": ("#cc79a7", "*"),
    "sadness": ("#0072b2", "v"),
    "anger": ("#d55e00", "s"),
    "disgust": ("#009e73", "D"),
    "fear": ("#5b3a8c", "P"),
    "contempt": ("#000000", "X"),
}
_SYNONYMS = {"happy": "happiness", "sad": "sadness", "angry": "anger"}


def use_style() -> None:
    """Set the book's matplotlib style for this session."""
    plt.style.use(str(resources.files("fer_teach") / "fer_teach.mplstyle"))


def emotion_style(name: str) -> dict:
    """Colour and marker of an emotion; names of FER2013 ("happy") and unknown ones are taken too."""
    colour, marker = EMOTIONS.get(_SYNONYMS.get(name, name), ("#2b2b2b", "o"))
    return {"color": colour, "marker": marker}


def pixels(image) -> np.ndarray:
    """An image as matplotlib draws it: (H, W) or (H, W, 3), in 0..1."""
    image = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    scaled = image / 255.0 if image.dtype == np.uint8 else (image + 1) / 2
    scaled = np.clip(scaled, 0, 1)
    if scaled.ndim == 3:
        scaled = scaled[0] if scaled.shape[0] == 1 else scaled.transpose(1, 2, 0)
    return scaled


def gallery(images, titles=None, columns: int = 8, maps=None, size: float = 1.1):
    """Images in a grid. titles: one string each; maps: one (h, w) each, laid over it; size: inches each."""
    count = len(images)
    columns = min(columns, count)
    rows = -(-count // columns)
    height = size + (0.28 if titles else 0)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size, rows * height), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, axis in enumerate(axes.flat[:count]):
        show(axis, images[i], None if maps is None else maps[i])
        if titles:
            axis.set_title(titles[i], fontsize=11, loc="center", pad=3)
    return done(figure)


def done(figure):
    """Close a figure for pyplot, so that a notebook shows it once: as the value of its cell."""
    plt.close(figure)
    return figure


def show(axis, image, overlay=None) -> None:
    """Draw one image, and a map over it, on an axis."""
    drawn = pixels(image)
    height, width = drawn.shape[:2]
    axis.imshow(drawn, cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0))
    if overlay is not None:
        strength = _unit(overlay)
        axis.imshow(
            strength,
            cmap="inferno",
            alpha=0.15 + 0.6 * strength,
            extent=(0, width, height, 0),
            interpolation="bilinear",
        )
    axis.set(xticks=[], yticks=[])
    axis.grid(False)


def _unit(values) -> np.ndarray:
    values = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=float)
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def curves(histories: dict[str, list[dict]], columns=("train_loss", "valid_loss", "valid_accuracy")):
    """Training curves: histories maps a run's name to its list of per-epoch dicts; one panel per column."""
    markers = "osD^vPX*"
    figure, axes = plt.subplots(1, len(columns), figsize=(3.4 * len(columns), 3.2), squeeze=False)
    for axis, column in zip(axes.flat, columns, strict=True):
        for number, (name, history) in enumerate(histories.items()):
            points = [(row["epoch"], row[column]) for row in history if row.get(column) is not None]
            every = max(1, len(points) // 6)
            axis.plot(*zip(*points, strict=True), marker=markers[number % 8], markevery=every, label=name)
        axis.set(xlabel="epoch", title=column.replace("_", " "))
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].legend()
    return done(figure)


def confusion(matrix, classes, title: str = ""):
    """A confusion matrix as row shares; rows are the true classes. matrix: (C, C) counts."""
    import seaborn

    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(1.6 + 0.62 * len(classes), 1.2 + 0.56 * len(classes)))
    labels = np.array([[f"{100 * share:.0f}" for share in row] for row in shares])
    seaborn.heatmap(
        shares, annot=labels, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, linewidths=0.6,
        linecolor="#fbfaf7", xticklabels=classes, yticklabels=classes, ax=axis, annot_kws={"fontsize": 11},
    )  # fmt: skip
    axis.set(xlabel="predicted (per cent of the true class)", ylabel="true", title=title)
    axis.tick_params(axis="x", rotation=45)
    axis.tick_params(axis="y", rotation=0)
    return done(figure)


def intervals(labels, means, lows, highs, xlabel: str, reference: float | None = None, reference_label: str = ""):
    """A dot and its interval per row, first row on top; reference: a vertical line, such as a reported number."""
    means, lows, highs = (np.asarray(v, dtype=float) for v in (means, lows, highs))
    rows = np.arange(len(labels))[::-1]
    figure, axis = plt.subplots(figsize=(7.2, 0.8 + 0.42 * len(labels)))
    axis.hlines(rows, lows, highs, color="#1f5a8a", lw=2)
    axis.plot(means, rows, "o", color="#1f5a8a")
    if reference is not None:
        axis.axvline(reference, color="#c4572b", ls="--", lw=1.4)
        axis.annotate(reference_label, (reference, 1.0), xycoords=("data", "axes fraction"), xytext=(4, -2),
                      textcoords="offset points", va="top", color="#a03f15", fontsize=11)  # fmt: skip
    axis.set(yticks=rows, yticklabels=labels, xlabel=xlabel, ylim=(-0.6, len(labels) - 0.4))
    return done(figure)


def heat(values, rows, columns, label: str):
    """Values in 0..1 as shades, with a name for each row and column. values: (R, C); label: what a shade means."""
    import seaborn

    values = np.asarray(values, dtype=float)
    figure, axis = plt.subplots(figsize=(1.4 + 0.44 * len(columns), 1.1 + 0.34 * len(rows)))
    seaborn.heatmap(
        values, cmap="Blues", vmin=0, vmax=1, square=True, linewidths=0.6, linecolor="#fbfaf7", xticklabels=columns,
        yticklabels=rows, ax=axis, cbar_kws={"label": label, "shrink": 0.8, "pad": 0.02},
    )  # fmt: skip
    axis.tick_params(axis="x", rotation=90)
    axis.tick_params(axis="y", rotation=0)
    return done(figure)


def ballots(images, votes, names):
    """Faces, and under each the votes it got: votes (N, V) counts, names: V columns, those without a vote left out."""
    votes = np.asarray(votes)
    used = np.flatnonzero(votes.sum(0))[::-1]
    figure, axes = plt.subplots(2, len(images), figsize=(1.75 * len(images), 1.75 + 0.3 * len(used)), sharey="row")
    for (top, bottom), image, counts in zip(axes.T, images, votes, strict=True):
        show(top, image)
        top.axis("off")
        colours = [emotion_style(names[column])["color"] for column in used]
        bottom.barh(range(len(used)), counts[used], color=colours)
        bottom.set(xlim=(0, votes.sum(1).max()), yticks=range(len(used)), yticklabels=[names[c] for c in used])
        bottom.xaxis.get_major_locator().set_params(integer=True)
    return done(figure)


def emotion_lines(x, lines: dict, xlabel: str, ylabel: str):
    """One line per emotion in its own colour and marker. x: (n,); lines: emotion's name -> (n,)."""
    figure, axis = plt.subplots(figsize=(7.2, 3.8))
    for name, y in lines.items():
        axis.plot(x, y, label=name, **emotion_style(name))
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return done(figure)
