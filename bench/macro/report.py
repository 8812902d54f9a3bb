"""The tables and plots of bench/macro/run, from its results as they are in the JSON."""

import programs
import svg
from results import figure, table
from surroundings import describe, package_version

SERVER_HEADS = ("load", "server", "CPU µs/message:", "messages/s:", "peak RSS, MiB:",
                "context switches/message:", "system calls/message:", "lost:")
RATIO_HEADS = ("load", "against", "median ratio:", "spread:", "aim:", "verdict")


def versions(found):
    """Of the peers that were measured, and of Postfix, whose generator and sink take part."""
    names = {name for one in found for name in one["servers"]}
    known = dict(programs.BY_NAME[name].version() for name in sorted(names)
                 if programs.BY_NAME[name].version)
    return {"postfix": package_version("postfix"), **known}


def lost(figures):
    count, audit = figures["lost"], figures["audit"]
    if audit not in (None, "passed"):
        return audit
    return "–" if count is None else f"{count}, audited" if audit else str(count)


def server_rows(found):
    for one in found:
        for name, figures in one["servers"].items():
            rss = figures.get("peak_rss_kib")
            yield (one["title"], name, figure(figures["cpu_us_per_message"]),
                   figure(figures["messages_per_second"], 0),
                   figure(rss and rss / 1024), figure(figures.get("context_switches_per_message"), 2),
                   figure(figures.get("system_calls_per_message"), 2), lost(figures))


def ratio_rows(found):
    for one in found:
        for name, ratio in one["ratios"].items():
            verdict = "" if ratio["bound"] is None else ratio["verdict"]
            yield (one["title"], name, figure(ratio["median"], 2),
                   f"{ratio['low']:.2f} to {ratio['high']:.2f}",
                   "" if ratio["bound"] is None else figure(ratio["bound"], 2), verdict)
        if one["calls"]:
            yield (one["title"], "(system calls a message)", figure(one["calls"]["count"], 2),
                   "counted once", figure(one["calls"]["bound"], 2), one["calls"]["verdict"])


def left_out(found):
    """(server, why, in which scenes) of what was not measured."""
    why = {}
    for one in found:
        for kind in ("skipped", "failed"):
            for name, reason in one[kind].items():
                why.setdefault((name, kind, reason), []).append(one["title"])
    return [(name, f"{kind}: {reason}", "; ".join(titles))
            for (name, kind, reason), titles in why.items()]


def counted_by(found):
    """Which way system calls were counted, in words."""
    ways = {figures.get("counted_by") for one in found for figures in one["servers"].values()}
    return ", ".join(sorted(way for way in ways if way)) or "nothing: they are not counted"


def lines(facts, found, command):
    text = [f"`{command}`", "", describe(facts), "",
            f"System calls and context switches come from runs of their own, by "
            f"{counted_by(found)}."]
    for does in dict.fromkeys(one["class"] for one in found):
        of_class = [one for one in found if one["class"] == does]
        text += ["", f"## {does}", "", *table(SERVER_HEADS, server_rows(of_class))]
        ratios = list(ratio_rows(of_class))
        if ratios:
            text += ["", *table(RATIO_HEADS, ratios)]
    reasons = left_out(found)
    if reasons:
        text += ["", "## Not measured", "", *table(("server", "why", "load"), reasons)]
    return text


def plots(found):
    drawn = {}
    for does in dict.fromkeys(one["class"] for one in found):
        of_class = [one for one in found if one["class"] == does and one["servers"]]
        if of_class:
            drawn[does] = svg.bars(
                f"Server CPU a message: {does}",
                [(one["title"], [(name, figures["cpu_us_per_message"])
                                 for name, figures in one["servers"].items()])
                 for one in of_class], "µs, logarithmic")
        rows = [(f"{one['title']}: {name}", ratio["low"], ratio["median"], ratio["high"],
                 ratio["bound"])
                for one in of_class for name, ratio in one["ratios"].items()]
        if rows:
            drawn[f"{does}-ratios"] = svg.intervals(
                f"Our CPU a message, divided by the peer's: {does}", rows,
                "ratio; black marks are aims")
    return drawn


def faults(found):
    """What makes a run fail: a server that failed, and mail that was lost or changed."""
    failed = [name for one in found for name in one["failed"]]
    bad = [name for one in found for name, figures in one["servers"].items()
           if figures["lost"] or figures["audit"] not in (None, "passed")]
    return failed + bad
