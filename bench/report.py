"""Tables of docs/performance.md, from the measurements."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.peers import PEERS

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

TITLES = {
    "fanout-1000": "One event to 1 000 subscribers",
    "fanout-100": "One event to 100 subscribers",
    "fanout-5000": "One event to 5 000 subscribers",
    "bursts": "16 events in one turn of the loop to 1 000 subscribers",
    "channels": "1 000 channels with 5 subscribers each, 16 events a turn at random",
    "singles": "1 000 channels with 5 subscribers each, one event at a time",
    "speaking": "A delivery of the C server by whether its clients have sent, µs of CPU",
    "growth": "A delivery by the number of subscribers, µs of CPU",
    "last": "Publish to the last of 1 000 subscribers, 20 a second, ms",
    "handler": "Publish in another process to a Python client's handler, ms",
    "idle": "An idle connection with one subscription",
    "connecting": "10 000 clients connect, authenticate and subscribe",
    "coming-back": "10 000 clients reconnect, each with 10 missed events",
    "polling": "Polls of a channel without new events",
    "polling-news": "Polls that return ten events",
    "stalled": "One stalled reader among 1 001",
    "publishing": "Publishing in the server's process, without subscribers",
    "from-another-process": "Publishing from another process, through `websocket`",
    "streams": "Streams of items",
    "many-streams": "500 streams with 20 tokens a second each, through one server and Redis",
    "plain-publishes": "A plain publish, compared with the code before streams, by CPU",
}


def table(name: str, result: Any) -> str:
    """Return the result of a scenario as a Markdown table."""
    cells = rows(name, result)
    head, *body = [f"| {' | '.join(row)} |" for row in cells]
    line = "|".join(["", *(" --- " if not n else " ---: " for n in range(len(cells[0]))), ""])
    return "\n".join((f"### {TITLES[name]}", "", head, line, *body, ""))


def rows(name: str, result: Any) -> "Rows":
    """Return the result of a scenario as rows of cells, the head first."""
    return _TABLES.get(name, _fan_out)(result)


def write(results: Path, page: Path) -> None:
    """Write the tables of all results into the page, between its marks."""
    tables = [
        table(name, json.loads(file.read_text()))
        for name in TITLES
        if (file := results / f"{name}.json").exists()
    ]
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(tables) + f"\n{END}{after}")


Rows = list[list[str]]


def _fan_out(result: dict[str, Any]) -> Rows:
    head = ["server", "deliveries/s", "of the limit", "least, most", "µs of CPU each"]
    head += ["by CPU", "least, most by CPU"]
    return [head] + [
        [
            PEERS[name].name,
            f"{figures['deliveries']:,.0f}",
            f"{figures['ratio']:.2f}",
            f"{figures['least']:.2f}, {figures['most']:.2f}",
            f"{figures['cpu_us']:.2f}",
            f"{figures['cpu_ratio']:.2f}",
            f"{figures['cpu_least']:.2f}, {figures['cpu_most']:.2f}",
        ]
        for name, figures in result.items()
    ]


def _each(*keys: str) -> Callable[[dict[str, Any]], Rows]:
    def rows(result: dict[str, Any]) -> Rows:
        return [["server", *keys]] + [
            [PEERS[name].name, *(f"{figures[key]:.2f}" for key in keys)]
            for name, figures in result.items()
        ]

    return rows


def _plain(unit: str, digits: int = 2) -> Callable[[dict[str, Any]], Rows]:
    def rows(result: dict[str, Any]) -> Rows:
        return [["", unit]] + [[name, f"{value:,.{digits}f}"] for name, value in result.items()]

    return rows


def _storm(result: dict[str, Any]) -> Rows:
    rows = [["", "measured"], ["a second", f"{result['rate']:,.0f}"]]
    rows.append(["µs of CPU each", f"{result['cpu_us']:.0f}"])
    if "reference_us" in result:
        rows.append(["reference calls each", f"{result['cpu_us'] / result['reference_us']:,.0f}"])
    if "others_p99_ms" in result:
        rows.append(["others' events meanwhile, p99", f"{result['others_p99_ms']:.1f} ms"])
    return rows


def _publishing(result: dict[str, Any]) -> Rows:
    return [["", "events/s", "µs of CPU each", "reference calls each"]] + [
        [
            name,
            f"{figures['rate']:,.0f}",
            f"{figures['cpu_us']:.1f}",
            f"{figures['cpu_us'] / figures['reference_us']:.0f}",
        ]
        for name, figures in result.items()
    ]


_TABLES: dict[str, Callable[[dict[str, Any]], Rows]] = {
    "growth": _each("at 500", "at 5 000", "grows by"),
    "last": _each("p50", "p99", "max"),
    "handler": _plain("ms"),
    "idle": _plain("bytes of server memory", 0),
    "speaking": _plain("µs"),
    "connecting": _storm,
    "coming-back": _storm,
    "polling": _storm,
    "polling-news": _storm,
    "stalled": _plain("p99 in ms, memory in bytes"),
    "publishing": _publishing,
    "from-another-process": _plain("events/s, or µs of CPU of an event", 1),
    "streams": _plain("measured"),
    "many-streams": _plain("measured"),
    "plain-publishes": _plain("measured"),
}
