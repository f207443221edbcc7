"""What is wrong with a pipeline file, in words: file, field, value and remedy, a line a fault."""

import difflib
import json
from pathlib import Path

from pydantic import ValidationError

from schemas.sections.section import Section


def explain(path: Path, error: ValidationError) -> str:
    """One line a fault: file, field, value, what is wrong and what to do."""
    lines = []
    for fault in error.errors():
        field = ".".join(str(part) for part in fault["loc"]) or "the file"
        match fault["type"]:
            case "missing":
                lines.append(f"{path}: {field} is missing. Remedy: add it.")
            case "extra_forbidden":
                near = difflib.get_close_matches(str(fault["loc"][-1]), _known_fields(), n=1)
                hint = f"write {near[0]!r}" if near else "remove it"
                lines.append(f"{path}: {field} is not a known field. Remedy: {hint}.")
            case _:
                value = json.dumps(fault["input"], default=str)
                shown = value if len(value) <= 80 else value[:77] + "..."
                message = fault["msg"].removeprefix("Value error, ")
                lines.append(
                    f"{path}: {field} = {shown}: {message}. Remedy: change {field} in the file,"
                    " or the option of the command line that sets it."
                )
    return "\n".join(lines)


def _known_fields() -> list[str]:
    """Every field name of every section, for suggestions."""
    sections = [Section]
    for section in sections:  # grows as it goes: sections of sections
        sections.extend(section.__subclasses__())
    return sorted({name for section in sections for name in section.model_fields})
