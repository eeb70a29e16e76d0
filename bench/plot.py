"""Picture of docs/performance.md: deliveries of each server, as a share of the limit."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt

NAMES = {
    "limit": "C epoll server (the limit)", "ours": "realtime_bridge, fast WebSocket",
    "asgi": "realtime_bridge, over ASGI", "socketify": "uWebSockets (socketify)",
    "ws": "Node ws", "broadcast": "websockets.broadcast", "starlette": "Starlette loop",
    "socketio": "socket.io", "broadcaster": "broadcaster + Starlette",
    "python-socketio": "python-socketio", "channels": "Channels + channels_redis",
}  # fmt: skip
OURS, LIMIT, OTHERS = "#0b7a75", "#6b7280", "#c9ced6"


def main(results: str, image: str) -> None:
    rates = json.loads((Path(results) / "fanout-1000.json").read_text())
    order = sorted(rates, key=lambda name: rates[name]["ratio"])
    ratios = [rates[name]["ratio"] for name in order]
    spread = [
        [ratio - rates[name]["least"] for name, ratio in zip(order, ratios, strict=True)],
        [rates[name]["most"] - ratio for name, ratio in zip(order, ratios, strict=True)],
    ]
    colors = [{"limit": LIMIT, "ours": OURS}.get(name, OTHERS) for name in order]
    figure, axes = plt.subplots(figsize=(8, 4.4), dpi=150)
    bars = axes.barh([NAMES[name] for name in order], ratios, color=colors, xerr=spread)
    axes.bar_label(
        bars, [f"{rates[name]['deliveries']:,.0f}/s" for name in order], padding=6, fontsize=8
    )
    axes.set_xlim(0, max(1.25, max(ratios) + 0.25))
    axes.set_xlabel("deliveries to 1 000 subscribers on one core, as a share of the limit")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(image)


main(*sys.argv[1:])
