"""An example to copy: a model server that answers and leaves forward records. No Spark, no JVM.

    python -m demo.example_server --pipeline pipelines/flights.toml --journal /var/tmp/journal

POST /score takes features as the tables hold them. When another champion is promoted it answers
from then on, and each record names the version that answered. GET /metrics tells both.
"""

import argparse
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from inference.champion import LiveChampion
from inference.recorder import ForwardRecorder, JournalFullError
from schemas.command import add_common_arguments
from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import Pipeline, load_pipeline


class Asked(BaseModel):
    """A request: n instances, column by column."""

    ids: list[str]
    event_times: list[datetime]
    segments: dict[str, list[str | None]] = {}
    features: dict[str, list[Any]]  # as the tables hold them, null where not known


class Answered(BaseModel):
    """The answer: a prediction an instance, and the version that made them."""

    predictions: list[Any]
    model_version: str


def answer(champion: LiveChampion, recorder: ForwardRecorder, asked: Asked) -> Answered:
    """One prediction an instance; its record is in the journal."""
    answered = champion.answer(asked.features)
    recorder.record(
        asked.ids,
        asked.event_times,
        answered.prediction,
        segments=asked.segments,
        sketch=answered.sketch,
        model_version=answered.model_version,
    )
    return Answered(predictions=answered.prediction.tolist(), model_version=answered.model_version)


def create_app(
    pipeline: Pipeline, warehouse: str, journal: str | Path, every_s: float = 30.0
) -> FastAPI:
    """The server of a pipeline's champion, which is looked for every so many seconds.

    Raises ConfigurationError where none serves.
    """
    champion = LiveChampion(pipeline, warehouse=warehouse, every_s=every_s)
    recorder = ForwardRecorder(
        pipeline, warehouse=warehouse, journal=journal, model_version=champion.now().version
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        champion.close()
        recorder.close()

    app = FastAPI(title=pipeline.name, lifespan=lifespan)

    @app.post("/score")
    def score(asked: Asked) -> Answered:
        """Predictions of the instances, which are recorded before the answer is sent."""
        try:
            return answer(champion, recorder, asked)
        except (ConfigurationError, DataQualityError) as error:
            raise HTTPException(422, str(error)) from error
        except JournalFullError as error:
            raise HTTPException(503, str(error)) from error

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """The champion's and the recorder's numbers, as Prometheus reads them."""
        return champion.metrics().prometheus() + recorder.metrics().prometheus()

    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until stopped; what waits then is stored."""
    line = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_common_arguments(line)
    line.add_argument("--journal", default="./journal", help="local folder of this process alone")
    line.add_argument("--host", default="127.0.0.1")
    line.add_argument("--port", type=int, default=8000)
    args = line.parse_args(argv)
    app = create_app(load_pipeline(args.pipeline), args.warehouse, args.journal)
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
