"""Verdicts from paired samples: the median of the ratios within each round, and how sure it is.

Machines have fast and slow minutes. What was measured in the same round shares them, so only such
ratios are judged, never absolute figures of different runs.
"""

import math
import statistics


def interval(values):
    """An interval that holds the true median 19 times in 20, from order statistics; with too few
    values for that, all of them. Returns (low, high, how sure)."""
    ordered, count = sorted(values), len(values)
    best = (ordered[0], ordered[-1], 1 - 2 * 0.5**count)
    for cut in range(1, count // 2):
        tail = sum(math.comb(count, i) for i in range(cut + 1)) / 2**count
        if 1 - 2 * tail < 0.95:
            break
        best = (ordered[cut], ordered[-1 - cut], 1 - 2 * tail)
    return best


def verdict(low, high, bound):
    """Met or missed only where the whole spread is on one side of the bound."""
    if bound is None:
        return "no bound"
    if high <= bound:
        return "met"
    return "missed" if low > bound else "undecided"


def compare(ours, theirs, bound=None):
    """Judges two lists of samples of the same rounds."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    low, high, sure = interval(ratios)
    return {
        "median": round(statistics.median(ratios), 3), "low": round(low, 3),
        "high": round(high, 3), "confidence": round(sure, 3), "bound": bound,
        "verdict": verdict(low, high, bound), "ratios": [round(one, 3) for one in ratios],
    }
