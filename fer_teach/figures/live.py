"""Sliders: twins on the published page, live ones where a kernel runs."""

from __future__ import annotations

import os

import numpy as np

TWINS = "FER_TEACH_TWINS"


def sliders(function, alt: str, /, **ranges):
    """A slider per keyword of function(**values) -> Figure or PIL image; ranges: keyword -> (low, high, step, start).

    Under the book's runner, and where Sphinx runs the chapters ($FER_TEACH_TWINS), these are twins, which work on the
    page without a kernel, one keyword each, the others left at the function's defaults. With a kernel they are live
    (ipywidgets) and move together. alt: what the pictures show.
    """
    from ..record import VARIABLE

    return _twins(function, alt, ranges) if {VARIABLE, TWINS} & os.environ.keys() else _live(function, ranges)


_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(min({}rem,100%),1fr));gap:0 1.2rem"
_COLUMNS = {240: 13, 480: 20}  # twins narrower than so many pixels stand side by side: rem a column


def _twins(function, alt: str, ranges: dict):
    from ..twin import twin

    class Twins(list):
        def _repr_html_(self) -> str:
            inner = "".join(made._repr_html_() for made in self)
            widest = max(made.width for made in self)
            column = next((rem for below, rem in _COLUMNS.items() if widest < below), None)
            return f'<div style="{_GRID.format(column)}">{inner}</div>' if column and len(self) > 1 else inner

    made = Twins()
    for name, (low, high, step, start) in ranges.items():
        values = np.arange(low, high + step / 2, step).round(6)
        frames = [(f"{value:g}", function(**{name: float(value)})) for value in values]
        alts = [f"{alt}, {name} {value:g}." for value in values]
        made.append(twin(frames, name, alts, start=int(np.abs(values - start).argmin())))
    return made


def _live(function, ranges: dict):
    import ipywidgets
    from IPython.display import display

    def draw(**values):
        figure = function(**values)
        display(figure)

    made = {
        name: ipywidgets.FloatSlider(
            value=start, min=low, max=high, step=step, description=name, continuous_update=False
        )
        for name, (low, high, step, start) in ranges.items()
    }
    return ipywidgets.interactive(draw, **made)
