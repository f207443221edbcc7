"""docs/settings.md lists every setting, as the models have them."""

from pathlib import Path

from console.settings import page, parts, section
from schemas.pipeline import Pipeline


def test_the_page_is_what_the_models_say() -> None:
    written = Path("docs/settings.md").read_text(encoding="utf-8")
    assert written == page(), "write it anew: python -m console.settings > docs/settings.md"


def test_every_setting_says_what_it_means() -> None:
    lines = [line for part in parts(Pipeline, "") for line in section(part).splitlines()]
    assert [line for line in lines if line.endswith("| None |")] == []


def test_a_setting_has_its_type_limits_and_default() -> None:
    lines = page().splitlines()
    for wanted in (
        "| `window_days` | whole number, at least 1, at most 3,660 | `28` |",
        '| `unused_files` | duration | `"30d"` |',
        '| `maturity` | `arrival` or `delay` or `window` | `"arrival"` |',
    ):
        assert any(line.startswith(wanted) for line in lines), wanted
