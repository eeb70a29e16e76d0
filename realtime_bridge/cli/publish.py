"""Command `publish`: one event from a shell."""

from typing import Annotated, Any

import orjson
import typer

from realtime_bridge.cli.console import exit_on_error, stderr
from realtime_bridge.protocol.wire.rpc import pack_receipt
from realtime_bridge.publishing.blocking import BlockingBroadcaster


def publish(
    channel: Annotated[str, typer.Argument(help="Channel, like user-42.")],
    event: Annotated[str, typer.Argument(help="Event name, like job.progress.")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="Event data.")] = "null",
    event_id: Annotated[
        str | None, typer.Option("--id", help="Idempotency key: a repeated id is published once.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Subject of the event: the log keeps the latest event per key."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
) -> None:
    """Publish one event through the configured backend."""
    decoded = _decoded(data)
    with exit_on_error(), BlockingBroadcaster.from_env() as broadcaster:
        receipt = broadcaster.publish(channel, event, decoded, id=event_id, key=key)
    if as_json:
        typer.echo(orjson.dumps(pack_receipt(receipt)).decode())
        return
    verb = "published before" if receipt.duplicate else "published"
    stderr.print(f"{verb}: {event} on {channel} at {receipt.position or 'no position'}")


def _decoded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(
            f"{error}. Quote it for the shell, like '{{\"percent\": 30}}'", param_hint="JSON"
        ) from error
