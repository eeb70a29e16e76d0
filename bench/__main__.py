"""Measurements of `make bench`: every figure of docs/performance.md, with its comparisons."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench import (
    before_streams,
    gates,
    idle,
    latency,
    page,
    publishing,
    report,
    storms,
    stream_load,
    streams,
)
from bench.fanout import Rate, Shape, measure
from bench.harness import HERE
from bench.peers import PEERS, Peer

RESULTS = HERE / "results"
PAGE = HERE.parent / "build" / "bench" / "index.html"
ALL = (
    "limit", "ours", "asgi", "socketify", "ws", "broadcast", "starlette",
    "socketio", "broadcaster", "python-socketio", "channels",
)  # fmt: skip
CLOSE = ("limit", "ours", "socketify")


def interleaved(names: tuple[str, ...], shape: Shape, rounds: int) -> dict[str, Any]:
    """Measure all servers in turn, `rounds` times, with the limit before and after each of them."""
    runs: dict[str, list[Rate]] = {name: [] for name in names}
    limits: dict[str, list[Rate]] = {name: [] for name in names}
    for _ in range(rounds):
        before = measure(PEERS["limit"], shape)
        for name in names:
            runs[name].append(measure(PEERS[name], shape))
            after = measure(PEERS["limit"], shape)
            limits[name].append(_mean(before, after))
            before = after
    return {name: _summary(rates, limits[name]) for name, rates in runs.items()}


def _mean(one: Rate, other: Rate) -> Rate:
    return Rate((one.deliveries + other.deliveries) / 2, (one.cpu_us + other.cpu_us) / 2)


def _summary(rates: list[Rate], limits: list[Rate]) -> dict[str, float]:
    """Return medians; each ratio is to the mean of the limit right before and right after."""
    ratios = [rate.deliveries / limit.deliveries for rate, limit in zip(rates, limits, strict=True)]
    cpu = [limit.cpu_us / rate.cpu_us for rate, limit in zip(rates, limits, strict=True)]
    return {
        "deliveries": median(rate.deliveries for rate in rates),
        "cpu_us": median(rate.cpu_us for rate in rates),
        "ratio": median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "cpu_ratio": median(cpu),
        "cpu_least": min(cpu),
        "cpu_most": max(cpu),
    }


def growth(peer: Peer) -> dict[str, float]:
    """Measure the cost of a delivery with few subscribers, and right after that with many."""
    few, many = (measure(peer, Shape(count)).cpu_us for count in (500, 5_000))
    return {"at 500": few, "at 5 000": many, "grows by": many / few}


def speaking() -> dict[str, float]:
    """Measure the limit with clients that have sent a frame, and with clients that have not."""
    shape = Shape(1_000)
    silent = measure(replace(PEERS["limit"], frames=""), shape).cpu_us
    spoken = measure(PEERS["limit"], shape).cpu_us
    return {"silent clients": silent, "clients that have sent": spoken, "ratio": silent / spoken}


def medians(measurement: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Return the medians of several runs."""
    runs = [measurement() for _ in range(rounds)]
    results = [run if isinstance(run, dict) else vars(run) for run in runs]
    return {
        name: median(values)
        for name in results[0]
        if None not in (values := [result[name] for result in results])
    }


def interleaved_medians(
    measurement: Callable[..., dict[str, float]], names: tuple[str, ...], rounds: int
) -> Any:
    """Return each peer's medians of several interleaved runs."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            results[name].append(measurement(PEERS[name]))
    return {
        name: {key: median(run[key] for run in runs) for key in runs[0]}
        for name, runs in results.items()
    }


def scenarios(rounds: int, quick: bool) -> dict[str, Callable[[], Any]]:  # noqa: FBT001
    """Return the measurements by name."""
    seconds = 3 if quick else 9
    crowd = 2_000 if quick else 10_000
    return {
        "fanout-1000": lambda: interleaved(ALL, Shape(1_000), rounds),
        "fanout-100": lambda: interleaved(CLOSE, Shape(100), rounds),
        "fanout-5000": lambda: interleaved(CLOSE, Shape(5_000), rounds),
        "bursts": lambda: interleaved(
            ("limit", "ours", "broadcast"), Shape(1_000, events=16, joins=True), rounds
        ),
        "channels": lambda: interleaved(
            ("limit", "ours"), Shape(5_000, events=16, channels=1_000), rounds
        ),
        "singles": lambda: interleaved(("limit", "ours"), Shape(5_000, channels=1_000), rounds),
        "speaking": lambda: medians(speaking, rounds),
        "growth": lambda: interleaved_medians(growth, ("limit", "ours"), rounds),
        "last": lambda: interleaved_medians(
            lambda peer: latency.publish_to_last(peer, 1_000, 3 if quick else 26),
            ("limit", "ours"),
            rounds,
        ),
        "handler": lambda: latency.publish_to_handler(500 if quick else 3_000),
        "idle": lambda: medians(
            lambda: {name: idle.bytes_each(setup, 5_000) for name, setup in idle.SETUPS.items()},
            min(3, rounds),
        ),
        "connecting": lambda: medians(lambda: storms.connecting(crowd), rounds),
        "coming-back": lambda: medians(lambda: storms.reconnecting(crowd), min(3, rounds)),
        "polling": lambda: medians(lambda: storms.polling(50, 2), rounds),
        "polling-news": lambda: medians(lambda: storms.polling(50, 2, missed=10), rounds),
        "stalled": lambda: medians(lambda: storms.stalled(1_000, seconds), rounds),
        "publishing": lambda: {
            name: medians(partial(publishing.in_the_server, *shape), rounds)
            for name, shape in {
                "one by one": (1, 100_000, 1),
                "in batches of 100": (1, 200_000, 100),
                "one by one, 100 channels": (100, 200_000, 1),
                "one by one, 100 000 channels": (100_000, 200_000, 1),
            }.items()
        },
        "from-another-process": lambda: medians(
            lambda: publishing.from_another_process(1_000 if quick else 5_000), rounds
        ),
        "streams": lambda: medians(lambda: streams.measure(quick=quick), rounds),
        "many-streams": lambda: medians(
            lambda: stream_load.many_streams(100 if quick else 500, 20, seconds), rounds
        ),
        "plain-publishes": lambda: before_streams.plain_publishes(10 if quick else 60),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios; default: all")
    parser.add_argument("--quick", action="store_true", help="one round of each, smaller")
    parser.add_argument("--gates", action="store_true", help="fail where a goal is missed")
    parser.add_argument("--write-docs", action="store_true", help="write docs/performance.md")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    known = scenarios(1 if options.quick else options.rounds, options.quick)
    if unknown := set(options.names) - known.keys():
        parser.error(f"unknown scenario {', '.join(unknown)}: choose from {', '.join(known)}")
    RESULTS.mkdir(exist_ok=True)
    missed = False
    for name in options.names or known:
        print(f"{name} …", file=sys.stderr, flush=True)
        result = known[name]()
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1))
        print(report.table(name, result), flush=True)
        gate = gates.gate_of(name)
        missed |= bool(gate and not gate.is_met(result))
        print(gate.sentence(result) if gate else "", flush=True)
    page.write(RESULTS, PAGE)
    print(f"page: {PAGE}")
    if options.write_docs:
        report.write(RESULTS, Path("docs/performance.md"))
    sys.exit(int(missed and options.gates))


if __name__ == "__main__":
    main()
