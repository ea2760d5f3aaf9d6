"""The outputs in the tutorial: runs its commands and writes what they print below them.

    python docs/make_tutorial.py /tmp/tutorial

Page by page, every block of `bash` in docs/tutorial/ is run in that folder, which must hold a
`song.mp3`, with a store and a cache of its own; the block of `text` that follows it becomes its
output. A block after a comment, which says what it needs, stays as it is. The pictures are
made of the same store by docs/make_screenshots.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).resolve().parent / "tutorial"
PAGES = ("index", "first-training", "comparing", "real-music")
BLOCK = re.compile(
    r"(?P<comment>-->\n)?```bash\n(?P<command>[^`]*)```\n(?:\n```text\n(?P<output>[^`]*)```\n)?"
)


def main(folder: Path) -> None:
    """Runs the commands of all pages, in their order."""
    own = {"GENRECORE_RUNS": str(folder / "runs"), "GENRECORE_CACHE": str(folder / "cache")}
    environment = os.environ | own | {"COLUMNS": "100"}
    folder.mkdir(parents=True, exist_ok=True)

    def with_output(block: re.Match[str]) -> str:
        if block["comment"]:
            return block[0]
        done = subprocess.run(
            ["bash", "-e", "-c", block["command"]],
            cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        if block["output"] is None:
            return block[0]
        lines = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
        return f"```bash\n{block['command']}```\n\n```text\n{lines}```\n"

    for page in PAGES:
        path = TUTORIAL / f"{page}.md"
        path.write_text(BLOCK.sub(with_output, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
