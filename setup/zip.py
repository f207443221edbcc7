"""Write the given files to a zip for "spark-submit --py-files", byte for byte repeatable.

Usage: zip.py TARGET FILE...
The same sources give the same bytes, so that a run can name its code by the sum of the zip.
"""

import os
import sys
import zipfile
from pathlib import Path

target, *sources = map(Path, sys.argv[1:])
part = target.with_suffix(".part")
target.parent.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
    for source in sorted(sources):
        # Its date is 1980 unless told otherwise; a file's own date would change the bytes.
        entry = zipfile.ZipInfo(str(source))
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, source.read_bytes(), zipfile.ZIP_DEFLATED)
os.replace(part, target)
