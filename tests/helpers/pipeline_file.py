"""A pipeline of the tests as the file that a command reads."""

import json
from pathlib import Path

from schemas.pipeline import Pipeline


def pipeline_file(folder: Path, pipeline: Pipeline) -> str:
    """Its path; TOML is close enough to JSON for a pipeline as small as `small_pipeline`."""
    lines = [f'name = "{pipeline.name}"', f'task = "{pipeline.task}"', "holdout = 0.05"]
    for section in ("instances", "labels", "features", "training", "gate"):
        lines += _toml(section, pipeline.model_dump(exclude_none=True, exclude_unset=True)[section])
    path = folder / f"{pipeline.name}.toml"
    path.write_text("\n".join(lines))
    return str(path)


def _toml(name: str, table: dict[str, object]) -> list[str]:
    plain = [f"{k} = {json.dumps(v)}" for k, v in table.items() if not isinstance(v, dict)]
    nested = [_toml(f"{name}.{k}", v) for k, v in table.items() if isinstance(v, dict)]
    return [f"[{name}]", *plain, *(line for part in nested for line in part)]
