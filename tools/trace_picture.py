#!/usr/bin/env python3
"""Draws a part of one step of a trace (lfm-run --trace, lfm-bench --trace) as an SVG: one row a lane.

Standard library only. Which part: some layers, or a span of milliseconds from the step's begin.
  tools/trace_picture.py t.json --tokens 1 --layers 5-7 -o decode.svg
"""

import argparse
import html
import json
import re
import sys

WIDTH, LEFT, RIGHT = 1000, 76, 12
TITLE, BANDS, LANE, GAP, AXIS, LEGEND = 34, 20, 40, 8, 30, 22
FONT, GLYPH = 13, 7.3  # px; the width of a character is a guess
KINDS = [  # colour class, words of an event's name, what the legend says; the first that fits counts
    ("hot", re.compile(r"expert_ffn|hot"), "experts on the device"),
    ("cold", re.compile(r"cold"), "experts in RAM"),
    ("copied", re.compile(r"streamed"), "experts on their way"),
    ("mixer", re.compile(r"matmul|conv|attention|swiglu"), "matrices, mixers"),
    ("small", re.compile(r""), "norms, routing, sums"),
]
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.panel { fill: #ffffff; stroke: #d1d9e0; } .lane { fill: #eff2f5; } .line { stroke: #818b98; stroke-dasharray: 3 3; }
.tick { stroke: #818b98; } .in { fill: #ffffff; } .soft { fill: #59636e; }
.hot { fill: #b35900; } .cold { fill: #0a6b5c; } .copied { fill: #7a3fb8; } .mixer { fill: #2563ad; } .small { fill: #6e7781; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .panel { fill: #161b22; stroke: #3d444d; } .lane { fill: #21262d; } .soft { fill: #9198a1; }
.in { fill: #ffffff; }
}
"""


class Failure(Exception):
    """What the user can do something about."""


class Trace:
    """Lanes and events in milliseconds."""

    def __init__(self, path):
        try:
            with open(path, encoding="utf-8") as file:
                entries = json.load(file)["traceEvents"]
            meta = [(e["name"], e["tid"], e["args"]) for e in entries if e["ph"] == "M"]
            self.process = next(args["name"] for name, _, args in meta if name == "process_name")
            self.lanes = {tid: args["name"] for name, tid, args in meta if name == "thread_name"}
            self.events = [(e["ts"] / 1e3, (e["ts"] + e["dur"]) / 1e3, self.lanes[e["tid"]], e["name"], e.get("args", {}))
                           for e in entries if e["ph"] == "X"]
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            raise Failure(f"{path}: expected a trace of lfm-run or lfm-bench, found {error!r}") from error
        self.events.sort(key=lambda event: event[:2])

    def step(self, n_tokens, number):
        """The step of so many tokens with that number, from 0; -1 is the last."""
        steps = [event for event in self.events if event[2] == "steps" and event[4].get("tokens") == n_tokens]
        try:
            return steps[number]
        except IndexError:
            raise Failure(f"--step: expected one of {len(steps)} steps of {n_tokens} tokens, found {number}") from None


def layer_ends(events):
    """{layer: its end}, from the host's or the stages' names "blk.N …"; where the device tells single operations, a
    layer ends where the next one's first norm begins."""
    ends, begins = {}, {}
    for begin, end, _, name, _ in events:
        found = re.match(r"blk\.(\d+)\b", name)
        if found:
            layer = int(found[1])
            ends[layer] = max(ends.get(layer, end), end)
            begins.setdefault(layer, begin)
    norms = [event[0] for event in events if event[3] == "rms_norm"]
    for layer, begin in begins.items():
        ends[layer] = next((norm for norm in norms if norm > begin), ends[layer])
    return ends


def find_window(options, step, ends):
    """Begin and end, in the trace's own milliseconds."""
    if options.layers is None:
        begin, end = step[0] + (options.begin or 0), step[1] if options.end is None else step[0] + options.end
    else:
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", options.layers)
        if not found:
            raise Failure(f"--layers: expected A-B, found {options.layers}")
        first, last = int(found[1]), int(found[2] or found[1])
        for layer in (first - 1, last):
            if layer not in ends:
                raise Failure(f"--layers: the step has no experts of layer {layer} off the device, which would mark its"
                              " end; choose other layers, or --from and --to")
        begin, end = ends[first - 1], ends[last]
    if not begin < end:
        raise Failure(f"expected a span of time, found {begin - step[0]:g} to {end - step[0]:g} ms of the step")
    return begin, end


def kind_of(lane, name):
    if lane == "bus":
        return "copied"
    return next(kind for kind, words, _ in KINDS if words.search(name))


def tick_step(span):
    """1, 2 or 5 times a power of ten, so that there are 5 to 12 ticks."""
    power = 1e-6
    while True:
        for factor in (1, 2, 5):
            if span / (power * factor) <= 12:
                return power * factor
        power *= 10


class Picture:
    def __init__(self, window, ends):
        self.begin, self.end = window
        self.parts = []
        self.ends = ends

    def x(self, time):
        inside = min(max(time, self.begin), self.end)
        return LEFT + (inside - self.begin) / (self.end - self.begin) * (WIDTH - LEFT - RIGHT)

    def box(self, kind, x, y, width, height, title=""):
        inner = f"<title>{html.escape(title)}</title>" if title else ""
        self.parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="{height:.0f}">'
                          f"{inner}</rect>")

    def text(self, x, y, text, kind="", anchor="start"):
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.0f}" text-anchor="{anchor}">{html.escape(text)}</text>')

    def line(self, kind, x, y, height):
        self.parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.0f}" y2="{y + height:.0f}"/>')

    def draw_events(self, lane, y, events):
        """Bars, their names inside where there is room. Returns the kinds that were drawn."""
        kinds = set()
        for begin, end, where, name, _ in events:
            if where != lane or end <= self.begin or begin >= self.end:
                continue
            x, kind = self.x(begin), kind_of(lane, name)
            # A gap shows where one ends and the next begins; what is too short for it still shows.
            width = max(self.x(end) - x - 0.6, 0.6)
            kinds.add(kind)
            self.box(kind, x, y, width, LANE, f"{name}, {(end - begin) * 1e3:.4g} µs")
            if len(name) * GLYPH + 6 <= width:
                self.text(x + width / 2, y + LANE / 2 + FONT / 2 - 2, name, "in", "middle")
        return kinds

    def draw_bands(self, y, height):
        marks = sorted((end, layer) for layer, end in self.ends.items())
        for (before, _), (end, layer) in zip([(self.begin, None)] + marks, marks):
            left, right = self.x(before), self.x(end)
            if end > self.begin and right - left > 60:
                self.text((left + right) / 2, y + 14, f"layer {layer}", "soft", "middle")
            if self.begin <= end <= self.end:
                self.line("line", right, y, height)

    def draw_axis(self, y, zero):
        step = tick_step(self.end - self.begin)
        number = int((self.begin - zero) / step) + 1
        while zero + number * step <= self.end:
            x = self.x(zero + number * step)
            self.line("tick", x, y, 5)
            self.text(x, y + 19, f"{number * step:.6g}", "soft", "middle")
            number += 1
        self.text(12, y + 19, "ms", "soft")

    def draw_legend(self, y, kinds):
        x = LEFT
        for kind, _, words in KINDS:
            if kind in kinds:
                self.box(kind, x, y, 12, 12)
                self.text(x + 17, y + 11, words, "soft")
                x += 17 + len(words) * GLYPH + 14


def draw(trace, step, window, ends, title):
    inside = [event for event in trace.events if event[0] >= step[0] - 1e-9 and event[1] <= step[1] + 1e-6]
    picture = Picture(window, ends)
    lanes = [lane for lane in trace.lanes.values() if lane != "steps"]
    top = TITLE + BANDS
    below = top + len(lanes) * (LANE + GAP)
    height = below + AXIS + LEGEND
    picture.parts.append(f'<rect class="panel" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>')
    picture.text(12, 22, title)
    kinds = set()
    for row, lane in enumerate(lanes):
        y = top + row * (LANE + GAP)
        picture.box("lane", LEFT, y, WIDTH - LEFT - RIGHT, LANE)
        picture.text(LEFT - 8, y + LANE / 2 + 4, lane, anchor="end")
        kinds |= picture.draw_events(lane, y, inside)
    picture.draw_bands(TITLE, below - TITLE - GAP)
    picture.draw_axis(below - GAP + 2, step[0])
    picture.draw_legend(below + AXIS - 6, kinds)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" aria-label="{html.escape(title)}">\n<style>{STYLE}</style>\n' + "\n".join(picture.parts)
            + "\n</svg>\n")


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", help="file of --trace")
    parser.add_argument("-o", "--output", required=True, help="SVG to write")
    parser.add_argument("--tokens", type=int, default=1, help="a step of so many tokens (default 1)")
    parser.add_argument("--step", type=int, default=-1, help="which of those, from 0 (default: the last)")
    parser.add_argument("--layers", help="A-B: these layers, when the host computes some of their experts")
    parser.add_argument("--from", dest="begin", type=float, help="ms from the step's begin (default 0)")
    parser.add_argument("--to", dest="end", type=float, help="ms from the step's begin (default: its end)")
    parser.add_argument("--title", help="instead of what the trace says")
    options = parser.parse_args(arguments)
    if options.layers is not None and (options.begin is not None or options.end is not None):
        parser.error("expected either --layers or --from and --to")
    return options


def main(arguments):
    options = parse(arguments)
    try:
        trace = Trace(options.trace)
        step = trace.step(options.tokens, options.step)
        ends = layer_ends([event for event in trace.events if step[0] <= event[0] < step[1]])
        window = find_window(options, step, ends)
        what = "1 token" if options.tokens == 1 else f"{options.tokens} tokens"
        title = options.title or (f"{trace.process}: a step of {what} after {step[4].get('position', 0):g} others, "
                                  f"{step[1] - step[0]:.4g} ms")
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(draw(trace, step, window, ends, title))
    except (Failure, OSError) as error:
        print(f"trace_picture.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
