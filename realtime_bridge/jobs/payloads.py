"""The data of the events that this library makes itself, as models that both languages have.

`python -m realtime_bridge.payloads` writes their JSON Schema, from which the TypeScript types of
the npm package are made.
"""

import sys
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema


class JobData(BaseModel):
    """The data of every `job.*` event: the job's whole state, not what changed.

    What is not known, or is no longer so, is null.
    """

    model_config = ConfigDict(frozen=True)

    job: str = Field(description="The job's id; the event's key is `job-{id}`.")
    title: str = Field(description="What people call it.")
    state: Literal["queued", "running", "retrying", "completed", "failed", "cancelled"] = Field(
        description="The last three are ends: nothing changes them."
    )
    progress: float | None = Field(description="0 to 1.")
    stage: str | None = Field(description="The name of the step.")
    message: str | None = Field(description="What people read.")
    error: str | None = Field(description="What went wrong.")
    retry_at: int | None = Field(description="When it is tried again, in Unix milliseconds.")
    eta: float | None = Field(description="The seconds that are left, as far as can be said.")
    version: int = Field(description="Grows with every state; the greatest is the newest.")


if __name__ == "__main__":
    _, schema = models_json_schema([(JobData, "serialization")])
    sys.stdout.buffer.write(orjson.dumps(schema))
