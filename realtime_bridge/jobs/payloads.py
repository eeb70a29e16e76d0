"""Data of the events that this library publishes itself, as pydantic models.

`python -m realtime_bridge.jobs.payloads` writes their JSON Schema; the npm package generates its
TypeScript types from that.
"""

import sys
from typing import Any, ClassVar, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema


class JobQuestion(BaseModel):
    """Question of a job to the people who watch it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    id: str = Field(description="The question's id; an answer names it.")
    text: str = Field(description="The question, for people.")
    choices: list[str] | None = Field(description="The possible answers; null: any JSON value.")


class JobData(BaseModel):
    """Data of every `job.*` event: the whole state of the job; an unknown value is null."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    job: str = Field(description="The job's id; the event's key is `job-{id}`.")
    title: str = Field(description="The job's name for people.")
    state: Literal[
        "queued", "running", "asking", "retrying", "lost", "completed", "failed", "cancelled"
    ] = Field(description="The last three are final. The log shows a silent worker's job as lost.")
    progress: float | None = Field(description="0 to 1.")
    stage: str | None = Field(description="The name of the current step.")
    message: str | None = Field(description="A text for people.")
    error: str | None = Field(description="The reason of the failure.")
    retry_at: int | None = Field(description="The time of the next attempt, in Unix milliseconds.")
    eta: float | None = Field(description="The estimated seconds until the end.")
    parent: str | None = Field(description="The id of the job that this one is a part of.")
    cancellable: bool | None = Field(description="True if people may cancel the job.")
    question: JobQuestion | None = Field(description="The question that waits for an answer.")
    result: Any = Field(
        description="The result of a completed job, of up to 32 KiB of JSON.",
        json_schema_extra={"tsType": "unknown"},
    )
    by: str | None = Field(description="The user who cancelled the job.")
    version: int = Field(
        description="Grows with every state of one process. The order of the events decides, not "
        "this number: the clocks of two hosts differ."
    )


if __name__ == "__main__":
    _schema = models_json_schema([(JobData, "serialization")])[1]
    sys.stdout.buffer.write(orjson.dumps(_schema))
