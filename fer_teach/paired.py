"""Paired tests: two classifiers on the same images, two variants under the same seeds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .errors import FerTeachError


class McNemar(NamedTuple):
    """statistic: the smaller discordant count (exact) or chi-squared; only_a, only_b: images right in one alone."""

    statistic: float
    pvalue: float
    only_a: int
    only_b: int


def mcnemar(correct_a, correct_b):
    """McNemar's paired test (1947): do two classifiers err equally often on the same images?

    correct_a, correct_b: bool (N,), in the same order of images. Exact binomial up to 25 discordant images, above that
    chi-squared with continuity correction. Returns McNemar; pvalue is 1 if the two never differ.
    Raises FerTeachError for an empty set or lengths that differ.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0:
        raise FerTeachError(f"needs two lists of equal length, not shapes {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    table = [[int((a & b).sum()), only_a], [only_b, int((~a & ~b).sum())]]
    result = test(table, exact=only_a + only_b <= 25, correction=True)
    return McNemar(float(result.statistic), float(min(1.0, result.pvalue)), only_a, only_b)


class PairedSeeds(NamedTuple):
    """mean: of a - b; low, high: Student's 95 % interval of it; pvalue: two-sided paired t test; n: seeds."""

    mean: float
    low: float
    high: float
    pvalue: float
    n: int


def paired_seeds(a, b, level=0.95):
    """Is variant a better than variant b? One score each a seed, in the same order of seeds (paired t test).

    a, b: (n,) finite numbers. Returns PairedSeeds; with one seed, or if all differences are equal, low, high and
    pvalue are nan, since nothing can be said then. Raises FerTeachError for lengths that differ and for empty lists.
    """
    from scipy.stats import t

    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0 or not np.isfinite(a - b).all():
        raise FerTeachError(f"needs two lists of equal length with finite numbers, not {a!r} and {b!r}")
    difference, n = a - b, len(a)
    mean = float(difference.mean())
    error = float(difference.std(ddof=1) / math.sqrt(n)) if n > 1 else 0.0
    if error == 0:
        return PairedSeeds(mean, math.nan, math.nan, math.nan, n)
    half = float(t.ppf((1 + level) / 2, n - 1)) * error
    return PairedSeeds(mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, n - 1)), n)
