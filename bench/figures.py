"""What was measured in rounds, and the tables that are made of it. A round is {who: {figure: value}}; ours is "culvert"."""
import json
import os
import platform
import re
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from lab.world import ROOT

HEAD = ("figure", "culvert", "peers", "ratio (goal now)", "met", "later")


@contextmanager
def measuring(bench):
    """Closes the laboratory; a failure shows first what its processes said."""
    for peer, why in bench.missing.items():
        print(f"bench: {peer} does not run here and is left out: {why}")
    try:
        yield
    except BaseException:
        for process in bench.processes:
            if process.log.strip() and (process.name.startswith(("node", "agent")) or not process.alive()):
                print(f"--- {process.name}\n{process.log[-2000:]}", file=sys.stderr)
        raise
    finally:
        bench.close()


def measured(count, one_round):
    """What `one_round(number)` gives in each of so many."""
    rounds = []
    for number in range(count):
        began = time.monotonic()
        rounds.append(one_round(number))
        print(f"bench: round {number + 1} of {count}, {time.monotonic() - began:.0f} s", flush=True)
    return rounds


def median(rounds, who, figure):
    values = [entry[who][figure] for entry in rounds if figure in entry.get(who, {})]
    return statistics.median(values) if values else None


def ratio(rounds, figure, peer, ours=None):
    """Median of the rounds' ratios: what the machine did in a round, it did to both. `ours` is another figure of ours."""
    values = [entry["culvert"][ours or figure] / entry[peer][figure] for entry in rounds
              if entry.get(peer, {}).get(figure) and entry["culvert"].get(ours or figure) is not None]
    return statistics.median(values) if values else None


def own_ratio(rounds, figure, other):
    """The same of two figures of ours."""
    return ratio(rounds, other, "culvert", ours=figure)


def times(value):
    return "n/a" if value is None else f"{value:.2f} x"


class Goal:
    """At least, or at most, so much of a peer's figure."""

    def __init__(self, peer, least=None, most=None):
        self.peer, self.least, self.most = peer, least, most

    def text(self, value):
        goal = f" (>= {self.least:g})" if self.least is not None else f" (<= {self.most:g})" if self.most is not None else ""
        return f"{times(value)} {self.peer}{goal}"

    def is_met(self, value):
        """None: there is nothing to meet, or the peer is missing."""
        if value is None or (self.least is None and self.most is None):
            return None
        return value >= self.least if self.least is not None else value <= self.most


def row(rounds, name, figure, unit, goals=(), said="", most=None, later="-", scale=1.0, digits=1, theirs=None):
    """A line of the table: our figure beside that of each peer that has it. `most` is a goal without a peer, in `unit`; `theirs` is
    what the peers' figure is called if it is not called as ours; `said` goes in front of the ratios."""
    ours = median(rounds, "culvert", figure)
    if ours is None:
        return (name, "n/a", "-", "-", "-", later)
    peers = sorted({peer for entry in rounds for peer in entry if peer != "culvert" and (theirs or figure) in entry[peer]})
    values = [ratio(rounds, theirs or figure, goal.peer, ours=figure) for goal in goals]
    verdicts = [goal.is_met(value) for goal, value in zip(goals, values)]
    words = [said] if said else []
    words += [goal.text(value) for goal, value in zip(goals, values)]
    if most is not None:
        words.append(f"(<= {most:g} {unit})")
        verdicts.append(ours * scale <= most)
    known = [verdict for verdict in verdicts if verdict is not None]
    return (name, f"{ours * scale:.{digits}f} {unit}".strip(),
            ", ".join(f"{peer} {median(rounds, peer, theirs or figure) * scale:.{digits}f}" for peer in peers) or "-",
            ", ".join(words) or "-", "-" if not known else "yes" if all(known) else "NO", later)


def report(path, rows, rounds, missing, setup):
    """Writes everything measured to `path` and prints the table."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "machine": {"cores": os.cpu_count(), "cpu": model.group(1) if model else platform.machine(), "kernel": platform.release()},
        "setup": setup, "missing": missing, "rounds": rounds}, indent=1) + "\n")
    lines = [HEAD, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    print()
    for number, line in enumerate(lines):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(f"\nmedians of {len(rounds)} interleaved rounds; everything measured: {path.relative_to(ROOT)}", flush=True)
