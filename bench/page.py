"""Page of all results: a table, a plot and a sentence for each scenario."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import report
from bench.gates import gate_of
from bench.peers import PEERS

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd}"
    "td+td,th+th{text-align:right}"
)
_BAR, _GAP, _LABEL, _WIDTH = 18, 6, 190, 480
_COLORS = {"ours": "#0b7a75", "limit": "#6b7280"}
_OTHER = "#c9ced6"


def write(results: Path, page: Path) -> None:
    """Write the page of all stored results."""
    sections = [
        _section(name, json.loads(file.read_text()))
        for name in report.TITLES
        if (file := results / f"{name}.json").exists()
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    head = f"<!doctype html><meta charset=utf-8><title>Measurements</title><style>{_STYLE}</style>"
    page.write_text("\n".join((head, "<h1>Measurements</h1>", *sections, "")))


def _section(name: str, result: dict[str, Any]) -> str:
    gate = gate_of(name)
    sentence = gate.sentence(result) if gate else "It has no goal."
    return "\n".join(
        (
            f"<h2>{html.escape(report.TITLES[name])}</h2>",
            _table(report.rows(name, result)),
            _plot(_bars(result)),
            f"<p>{html.escape(sentence)}</p>",
        )
    )


def _table(rows: report.Rows) -> str:
    lines = [
        "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
        for row, tag in zip(rows, ("th", *("td" for _ in rows)), strict=False)
    ]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _bars(result: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Return the name, the color and the value of each bar: one value of each row."""
    bars = []
    for key, figures in result.items():
        name = PEERS[key].name if key in PEERS else key
        value = figures if isinstance(figures, int | float) else next(iter(figures.values()))
        bars.append((name, _COLORS.get(key, _OTHER), float(value)))
    return bars


def _plot(bars: list[tuple[str, str, float]]) -> str:
    longest = max((value for _, _, value in bars), default=0) or 1
    parts = []
    for number, (name, color, value) in enumerate(bars):
        y, width = number * (_BAR + _GAP), _WIDTH * value / longest
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">{html.escape(name)}</text>'
            f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{color}"/>'
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 13}">{value:,.2f}</text>'
        )
    size = f'width="{_LABEL + _WIDTH + 120}" height="{len(bars) * (_BAR + _GAP)}"'
    return f'<svg {size} font-size="12">{"".join(parts)}</svg>'
