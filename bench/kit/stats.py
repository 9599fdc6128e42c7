"""Statistics of samples: what a measurement says besides the samples themselves."""
import math
import statistics


def summary(samples):
    """n, median, least, most and spread (the median distance from the median) of at least
    one finite sample."""
    values = [float(x) for x in samples]
    if not values or not all(math.isfinite(x) for x in values):
        raise ValueError(f"samples must be finite, and at least one: {values}")
    middle = statistics.median(values)
    return {"n": len(values), "median": middle, "least": min(values), "most": max(values),
            "spread": statistics.median(abs(x - middle) for x in values)}


def geomean(values):
    """The geometric mean of ratios, all above zero."""
    values = list(values)
    if not values or min(values) <= 0:
        raise ValueError(f"ratios must be above zero, and at least one: {values}")
    return math.exp(sum(map(math.log, values)) / len(values))
