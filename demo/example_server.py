"""An example to copy: a model server that answers and leaves forward records. No Spark, no JVM.

    python -m demo.example_server --pipeline pipelines/flights.toml --journal /var/tmp/journal

POST /score takes encoded features, as the model does; GET /metrics tells what was recorded.
"""

import argparse
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from inference.recorder import ForwardRecorder, JournalFullError
from inference.registered import find_champion
from inference.scorer import Scorer, load_scorer
from schemas.command import add_common_arguments
from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import Pipeline, load_pipeline

TYPES = {"category": np.int32, "number": np.float32, "tensor": np.float32}


class Asked(BaseModel):
    """A request: n instances, column by column."""

    ids: list[str]
    event_times: list[datetime]
    segments: dict[str, list[str | None]] = {}
    features: dict[str, list[Any]]  # numbers; of a tensor a list of them an instance


def answer(scorer: Scorer, recorder: ForwardRecorder, asked: Asked) -> list[Any]:
    """One prediction an instance; its record is in the journal."""
    columns = {
        feature.name: np.asarray(asked.features.get(feature.name, []), TYPES[feature.kind])
        for feature in scorer.card.features
    }
    scored = scorer.score(columns)
    recorder.record(
        asked.ids,
        asked.event_times,
        scored.prediction,
        segments=asked.segments,
        sketch=scored.sketch,
    )
    return scored.prediction.tolist()


def create_app(pipeline: Pipeline, warehouse: str, journal: str | Path) -> FastAPI:
    """The server of a pipeline's champion. ConfigurationError where none serves."""
    champion = find_champion(pipeline.name, warehouse)
    if champion is None:
        raise ConfigurationError(
            f"model {pipeline.name}: no champion in the registry. Remedy: run `tenforward train`."
        )
    scorer = load_scorer(champion.folder)
    recorder = ForwardRecorder(
        pipeline, warehouse=warehouse, model_version=champion.version, journal=journal
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        recorder.close()

    app = FastAPI(title=f"{pipeline.name}, version {champion.version}", lifespan=lifespan)

    @app.post("/score")
    def score(asked: Asked) -> dict[str, list[Any]]:
        """Predictions of the instances, which are recorded before the answer is sent."""
        try:
            return {"predictions": answer(scorer, recorder, asked)}
        except (ConfigurationError, DataQualityError) as error:
            raise HTTPException(422, str(error)) from error
        except JournalFullError as error:
            raise HTTPException(503, str(error)) from error

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """The recorder's numbers, as Prometheus reads them."""
        return recorder.metrics().prometheus()

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
