"""Data of the events that this library publishes itself, as pydantic models.

`python -m realtime_bridge.jobs.payloads` writes their JSON Schema; the npm package generates its
TypeScript types from that.
"""

import sys
from typing import ClassVar, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema


class JobData(BaseModel):
    """Data of every `job.*` event: the whole state of the job; an unknown value is null."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    job: str = Field(description="The job's id; the event's key is `job-{id}`.")
    title: str = Field(description="The job's name for people.")
    state: Literal["queued", "running", "retrying", "completed", "failed", "cancelled"] = Field(
        description="The last three are final."
    )
    progress: float | None = Field(description="0 to 1.")
    stage: str | None = Field(description="The name of the current step.")
    message: str | None = Field(description="A text for people.")
    error: str | None = Field(description="The reason of the failure.")
    retry_at: int | None = Field(description="The time of the next attempt, in Unix milliseconds.")
    eta: float | None = Field(description="The estimated seconds until the end.")
    version: int = Field(
        description="Grows with every state of one process. The order of the events decides, not "
        "this number: the clocks of two hosts differ."
    )


if __name__ == "__main__":
    _schema = models_json_schema([(JobData, "serialization")])[1]
    sys.stdout.buffer.write(orjson.dumps(_schema))
