"""Make the pictures of docs/tour.md: `python scripts/tour_pictures.py [RUN]`, from a real run of the gate whose search fails.

RUN is the folder of a run that there is already. Needs a Chromium ($CHROMIUM, or `chromium` on PATH); exits with 3 where there is none.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURES: Final = ROOT / "docs" / "pictures"
# As docs/tour.md says it.
FAULT: Final = "product.search=error@20%"
WIDTH: Final = 1000
# Each picture begins at a heading of the report, and is so high (CSS pixels).
PARTS: Final = {"gate-report": ("", 690), "gate-failed": ("Failed requests", 420)}
MISSED: Final = 1
NOT_HERE: Final = 3


def main() -> None:
    """Run the gate if no run is named, and take the pictures."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("no pictures: there is no Chromium on PATH, and $CHROMIUM names none\n")
        sys.exit(NOT_HERE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(sys.argv[1]) if sys.argv[1:] else gate(Path(name))
        report = (folder / "report.html").read_text()
        PICTURES.mkdir(exist_ok=True)
        for part, (heading, height) in PARTS.items():
            page = Path(name) / f"{part}.html"
            page.write_text(beginning_at(report, heading))
            photograph(chromium, page, PICTURES / f"{part}.png", height)


def gate(folder: Path) -> Path:
    """Judge a shop whose search fails; return the folder of the reports."""
    options = ("--fault", FAULT, "--out", str(folder / "reports"), "--dir", str(folder), "--no-early-stop")
    done = subprocess.run([sys.executable, "-m", "goshop", "gate", *options], cwd=ROOT, check=False)
    if done.returncode != MISSED:
        raise SystemExit(f"the gate ended with {done.returncode}: no picture of a missed objective")
    return folder / "reports"


def beginning_at(report: str, heading: str) -> str:
    """Return a report without what stands above a heading; raises `ValueError` where there is no such heading."""
    if not heading:
        return report
    head, _, body = report.partition("<body>")
    begins = [
        found.start() for found in re.finditer(r"<h2", body) if heading in body[found.start() :].split("</h2>")[0]
    ]
    if not begins:
        raise ValueError(f"the report has no heading {heading!r}")
    return f"{head}<body><main>{body[begins[0] :]}"


def photograph(chromium: str, page: Path, picture: Path, height: int) -> None:
    """Write a picture of a page's beginning."""
    window = ("--hide-scrollbars", f"--window-size={WIDTH},{height}")
    # Root has no sandbox; what is shown is our own file.
    alone = ("--headless", "--disable-gpu", "--no-sandbox", f"--screenshot={picture}")
    subprocess.run([chromium, *alone, *window, page.as_uri()], check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
