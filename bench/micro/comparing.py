"""Verdicts of bench/micro/run: two results, benchmark by benchmark, in instructions."""

import collections


def judge(now, before, bound):
    """(change as a part of before, verdict); no change where one of the two has no count."""
    if now is None or before is None:
        return None, "not counted"
    change = now / before - 1
    if abs(change) <= bound:
        return change, "same"
    return change, "worse" if change > 0 else "better"


def compare(measured, kept, bound, whole=True):
    """{benchmark: figures with `before`, `change` and `verdict`}. `whole`: all that there are were
    measured, so that what is only in the kept result is gone."""
    compared = {}
    for name, figures in measured.items():
        before = kept.get(name, {}).get("instructions")
        if name in kept:
            change, verdict = judge(figures["instructions"], before, bound)
        else:
            change, verdict = None, "new"
        compared[name] = {**figures, "before": before, "change": change, "verdict": verdict}
    for name in kept if whole else ():
        if name not in measured:
            compared[name] = {"instructions": None, "nanoseconds": None,
                              "before": kept[name]["instructions"], "change": None,
                              "verdict": "gone"}
    return compared


def summary(compared):
    """'2 worse, 1 better, 60 same': the worst first."""
    counts = collections.Counter(one["verdict"] for one in compared.values())
    order = ("worse", "better", "same", "not counted", "new", "gone")
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if counts[verdict])
