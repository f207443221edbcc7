"""Rounds through the loop: one undisturbed, then with kills until there were enough."""

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.attempt import Kill, Span, left_running, run
from tests.torture.facts import Facts, differences, facts_of
from tests.torture.recording import REQUEST
from tests.torture.steps import Loop, Step

TWICE = 0.25  # the chance that the repeat of a killed command is killed as well
CONFLICT, PAUSE_S, PATIENCE = 5, 3.0, 60  # the exit code that says: repeat; and how often
Tell = Callable[[dict[str, Any]], None]


@dataclass
class Undisturbed:
    """What a step did when nobody was killed; kept beside the run, for another with its kills."""

    seconds: float
    seen: dict[str, Span]
    facts: Facts


@dataclass
class Torture:
    """A loop, its undisturbed run, and the dice."""

    loop: Loop
    folder: Path
    dice: random.Random
    tell: Tell
    reference: dict[str, Undisturbed] = field(default_factory=dict)
    kills: int = 0
    failures: int = 0

    def undisturbed(self) -> None:
        """Run the loop, or what is left of it in the folder. RuntimeError where a step fails."""
        kept = self.folder / "undisturbed.json"
        if kept.exists():
            known = json.loads(kept.read_text())
            self.reference = {name: Undisturbed(**told) for name, told in known.items()}
            folder = self.folder / "undisturbed"
        else:
            folder = self._prepared("undisturbed")
        for step in self.loop.steps:
            if step.name in self.reference:
                continue
            began = time.monotonic()
            ended = run(step, folder, folder / "log", None, self.dice)
            if ended.code:
                raise RuntimeError(f"{step.name} ended with {ended.code} undisturbed: {folder}/log")
            self.reference[step.name] = Undisturbed(ended.seconds, ended.seen, facts_of(folder))
            told = {name: asdict(one) for name, one in self.reference.items()}
            kept.write_text(json.dumps(told))
            spans = {name: [round(one, 1) for one in span] for name, span in ended.seen.items()}
            self.tell({"undisturbed": step.name, "s": _since(began), "there_s": spans})

    def until(self, kills: int) -> None:
        """Rounds with kills, until there were so many."""
        number = 0
        while self.kills < kills:
            number += 1
            folder = self._prepared(f"round-{number}")
            self.tell({"round": number, "folder": str(folder)})
            if self._round(folder, kills):
                shutil.rmtree(folder)

    def _prepared(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True)
        self.loop.prepare(folder)
        return folder

    def _round(self, folder: Path, kills: int) -> bool:
        """Whether every step left what it leaves undisturbed; ends at one that did not."""
        recorders = 0
        for step in self.loop.steps:
            if self.kills >= kills:
                return True
            told = {"step": step.name, "kills": []}
            try:
                wrong = self._killed(step, folder, told)
            except RuntimeError as error:
                wrong = [str(error)]
            recorders += sum(one["victim"] == "recorder" for one in told["kills"])
            if not wrong:
                wanted = self.reference[step.name].facts
                wrong = differences(facts_of(folder), wanted, recorders * REQUEST)
            self.failures += len(told["kills"]) if wrong else 0
            self.tell(told | {"outcome": wrong or "as undisturbed"})
            if wrong:
                return False
        return True

    def _killed(self, step: Step, folder: Path, told: dict[str, Any]) -> list[str]:
        """Kill the step, once or twice, then repeat it; what is wrong with how it ended."""
        below, began, repeats = set(), time.monotonic(), 0
        for kill in self._plan(step):
            ended = run(step, folder, folder / "log", kill, self.dice)
            below |= ended.below
            if ended.killed is not None:
                self.kills += 1
                told["kills"].append(
                    {
                        "victim": kill.victim,
                        "after_s": round(ended.killed, 2),
                        "exit_code": ended.code,
                    }
                )
            if ended.killed is None:  # it was over before: the machine has become faster
                self._rescale(step, ended.seconds)
            if ended.code == 0:
                break
        while ended.code:
            if (repeats and ended.code != CONFLICT) or repeats > PATIENCE:
                return [f"repeat {repeats} ended with {ended.code}"]
            time.sleep(PAUSE_S if repeats else 0)
            repeats += 1
            ended = run(step, folder, folder / "log", None, self.dice)
            below |= ended.below
        told |= {"repeats": repeats, "s": _since(began)}
        return [f"left running: {line}" for line in left_running(below)]

    def _plan(self, step: Step) -> Iterator[Kill]:
        there = self.reference[step.name].seen
        yield self._drawn(there)
        if self.dice.random() < TWICE:
            yield self._drawn(there)

    def _rescale(self, step: Step, seconds: float) -> None:
        """Let the step's times be those of a run of so many seconds, for the kills to come."""
        known = self.reference[step.name]
        factor = seconds / known.seconds
        known.seconds = seconds
        known.seen = {name: (a * factor, b * factor) for name, (a, b) in known.seen.items()}

    def _drawn(self, there: dict[str, Span]) -> Kill:
        victim = self.dice.choice(sorted(there))
        return Kill(victim, self.dice.uniform(*there[victim]))


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)
