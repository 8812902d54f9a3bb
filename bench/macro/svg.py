"""Plots as SVG, by nothing but text: bars, intervals against a bound, and lines.

A plot is a string; the same input gives the same octets. Colours are told apart by people who do
not see all of them (Okabe and Ito), and the background is white, so that a plot can be read
anywhere.
"""

import math
from xml.sax.saxutils import escape

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d1f", "#666666")
LEFT, RIGHT, TOP, WIDTH = 300, 90, 46, 940
ROW, BAR = 18, 12


class Canvas:
    def __init__(self, title, height, width=WIDTH):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
        ]
        self.text(12, 22, title, size=15)

    def text(self, x, y, text, anchor="start", size=12, colour="#222222"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
                          f'fill="{colour}">{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, colour="#dddddd", width=1.0, dash=""):
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'stroke="{colour}" stroke-width="{width}"{dashed}/>')

    def rectangle(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                          f'height="{height:.1f}" fill="{colour}"/>')

    def circle(self, x, y, radius, colour):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def path(self, points, colour):
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{text}" fill="none" stroke="{colour}" '
                          'stroke-width="2"/>')

    def done(self):
        return "\n".join([*self.parts, "</svg>"]) + "\n"


class Axis:
    """Maps values to places, in proportion or by logarithm, and says where its ticks are."""

    def __init__(self, values, start, end, log=False, zero=True):
        values = [value for value in values if not log or value > 0] or [1]
        self.log, self.start, self.end = log, start, end
        if log:
            self.low = math.floor(math.log10(min(values)))
            self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        else:
            low, high = min(values), max(values)
            self.step = nice_step((high - (0 if zero else low)) or abs(high) or 1)
            self.low = 0 if zero else math.floor(low / self.step) * self.step
            self.high = max(math.ceil(high / self.step) * self.step, self.low + self.step)

    def place(self, value):
        if self.log:
            value = math.log10(max(value, 10.0**self.low))
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self):
        if self.log:
            return [10.0**power for power in range(self.low, self.high + 1)]
        count = round((self.high - self.low) / self.step)
        return [self.low + index * self.step for index in range(count + 1)]


def nice_step(span):
    """1, 2 or 5 times a power of ten, for five to ten ticks."""
    power = 10.0 ** math.floor(math.log10(span / 5))
    return next((factor * power for factor in (1, 2, 5) if span / (factor * power) <= 10),
                10 * power)


def tick_text(value):
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def bars(title, groups, unit):
    """Groups of bars: [(group, [(name, value), …]), …]. The axis is logarithmic, since peers differ
    by powers of ten; a name has the same colour in all groups."""
    names = list(dict.fromkeys(name for _, members in groups for name, _ in members))
    rows = sum(len(members) + 2 for _, members in groups)
    canvas = Canvas(title, TOP + rows * ROW + 40)
    values = [value for _, members in groups for _, value in members]
    axis = Axis([*values, min(values) / 1.5], LEFT, WIDTH - RIGHT, log=True)
    bottom = TOP + rows * ROW
    for tick in axis.ticks():
        canvas.line(axis.place(tick), TOP, axis.place(tick), bottom)
        canvas.text(axis.place(tick), bottom + 16, tick_text(tick), "middle")
    canvas.text(WIDTH - RIGHT, bottom + 33, unit, "end")
    y = TOP
    for group, members in groups:
        canvas.text(12, y + BAR, group, colour="#000000")
        y += ROW
        for name, value in members:
            end = axis.place(value)
            canvas.text(LEFT - 8, y + BAR - 1, name, "end")
            canvas.rectangle(LEFT, y, max(end - LEFT, 1), BAR,
                             COLOURS[names.index(name) % len(COLOURS)])
            canvas.text(end + 5, y + BAR - 1, f"{value:.1f}")
            y += ROW
        y += ROW
    return canvas.done()


def intervals(title, rows, unit):
    """Medians with their spreads: [(label, low, median, high, bound or None), …]. What ends left of
    its bound (the upright mark) has met it."""
    canvas = Canvas(title, TOP + len(rows) * ROW + 56)
    values = [value for _, low, _, high, bound in rows for value in (low, high, bound or high)]
    axis = Axis([*values, 1], 500, WIDTH - 40, log=False)
    bottom = TOP + len(rows) * ROW
    for tick in axis.ticks():
        canvas.line(axis.place(tick), TOP - 6, axis.place(tick), bottom)
        canvas.text(axis.place(tick), bottom + 16, f"{tick:g}", "middle")
    canvas.line(axis.place(1), TOP - 6, axis.place(1), bottom, "#888888")
    canvas.text(WIDTH - 40, bottom + 33, unit, "end")
    for index, (label, low, median, high, bound) in enumerate(rows):
        y = TOP + index * ROW + 8
        colour = "#666666"
        if bound is not None:
            colour = "#009e73" if high <= bound else "#d55e00" if low > bound else "#e69f00"
            canvas.line(axis.place(bound), y - 7, axis.place(bound), y + 7, "#000000", 2)
        canvas.text(12, y + 4, label)
        canvas.line(axis.place(low), y, axis.place(high), y, colour, 3)
        canvas.circle(axis.place(median), y, 4.5, colour)
    return canvas.done()


def lines(title, series, x_label, y_label, log_y=False):
    """Lines over a logarithmic x: {name: [(x, y, low, high), …]}; low and high are drawn as the
    spread of y, None is no spread."""
    height, left, bottom = 420, 80, 350
    canvas = Canvas(title, height)
    points = [point for found in series.values() for point in found]
    x_axis = Axis([point[0] for point in points], left, WIDTH - 200, log=True)
    extent = [value for _, y, low, high in points for value in (y, low, high) if value is not None]
    y_axis = Axis(extent, bottom, TOP, log=log_y)
    for tick in x_axis.ticks():
        canvas.line(x_axis.place(tick), TOP, x_axis.place(tick), bottom)
        canvas.text(x_axis.place(tick), bottom + 18, tick_text(tick), "middle")
    for tick in y_axis.ticks():
        canvas.line(left, y_axis.place(tick), WIDTH - 200, y_axis.place(tick))
        canvas.text(left - 8, y_axis.place(tick) + 4, tick_text(tick), "end")
    canvas.text((left + WIDTH - 200) / 2, bottom + 40, x_label, "middle")
    canvas.text(left, TOP - 8, y_label)
    for index, (name, found) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        places = [(x_axis.place(x), y_axis.place(y)) for x, y, _, _ in found]
        for (x, _), (_, _, low, high) in zip(places, found):
            if low is not None:
                canvas.line(x, y_axis.place(low), x, y_axis.place(high), colour, 1.5)
        canvas.path(places, colour)
        for x, y in places:
            canvas.circle(x, y, 3.5, colour)
        canvas.text(WIDTH - 190, TOP + 16 + index * 18, name, colour=colour)
    return canvas.done()
