"""Log lines of a server: time, level, process and logger before the message, or JSON."""

import logging
import os
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson


class LogFormat(StrEnum):
    """Form of the log lines."""

    text = "text"
    json = "json"


class LogLevel(StrEnum):
    """Lowest level of the log lines."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class TextFormatter(logging.Formatter):
    """Formatter of lines for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s pid=%(process)d %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 -- the name of `logging`
        """Return the time in UTC, as ISO 8601 writes it."""
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JSONFormatter(TextFormatter):
    """Formatter of one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()


def logging_config(level: LogLevel, form: LogFormat) -> dict[str, Any]:
    """Return the configuration of a server process, as `logging.config` takes it."""
    formatter = JSONFormatter if form is LogFormat.json else TextFormatter
    # By name: a worker process gets the configuration by pickle.
    name = f"{formatter.__module__}.{formatter.__name__}"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": name}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        # uvicorn's lines of level info are about each start and each socket.
        "loggers": {"uvicorn": {"level": _level_of_uvicorn(level)}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
    }


def _level_of_uvicorn(level: LogLevel) -> str:
    return "WARNING" if level is LogLevel.info else level.upper()


def line_of(message: str, form: LogFormat, *, level: str = "INFO") -> str:
    """Return a line about the start: a text for people, or a log line in JSON."""
    if form is LogFormat.text:
        return message
    fields = {"name": "realtime_bridge.cli", "levelname": level, "msg": message}
    return JSONFormatter().format(logging.makeLogRecord({**fields, "process": os.getpid()}))
