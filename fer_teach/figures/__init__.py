"""Figures in one visual language: one colour and one marker per emotion, opaque paper, small faces drawn sharp.

Every function returns a matplotlib Figure. Images are uint8 tensors or float tensors in [-1, 1] of shape (H, W),
(1, H, W) or (3, H, W); maps are float arrays (h, w) of any scale. `base` holds what every chapter draws; a theme's own
figures have a module of their own.
"""

from .base import (
    EMOTIONS,
    ballots,
    confusion,
    curves,
    emotion_lines,
    emotion_style,
    gallery,
    heat,
    intervals,
    pixels,
    show,
    use_style,
)
from .crops import crop_schemes, landmarks_on, region_weights, weight_change
from .hybrid import margin, regions, states
from .live import sliders
from .relation import histograms, maps_over_time, part_shares, rate_range
from .scenes import beta_panel, embeddings
from .transformer import mesh, thetas, transform_panel

__all__ = [
    "EMOTIONS",
    "ballots",
    "beta_panel",
    "confusion",
    "crop_schemes",
    "curves",
    "embeddings",
    "emotion_lines",
    "emotion_style",
    "gallery",
    "heat",
    "histograms",
    "intervals",
    "maps_over_time",
    "landmarks_on",
    "margin",
    "mesh",
    "part_shares",
    "pixels",
    "rate_range",
    "region_weights",
    "regions",
    "show",
    "sliders",
    "states",
    "thetas",
    "transform_panel",
    "use_style",
    "weight_change",
]
