"""`genrecore classify`: what trained runs say of audio files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genrecore.cli.app import app
from genrecore.cli.output import JSON, err, out, print_json, reporting, share
from genrecore.errors import AudioError, GenrecoreError


@app.command()
def classify(
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP…", help="Audio files to classify.")],
    run: Annotated[
        str, typer.Option("--run", help="A finished run: its id, a part of it, or 'latest'.")
    ],
    as_json: JSON = False,
) -> None:
    """Classify audio files with a trained run. Files that cannot be used are reported at the end;
    the exit code is 1 only if none could be used."""
    from genrecore import inference

    loaded = inference.load(run)
    results: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    with reporting(quiet=as_json or len(clips) < 2) as report:
        for index, path in enumerate(clips):
            report("Classifying", index, len(clips))
            try:
                verdict = loaded.classify(path)
            except AudioError as error:
                failures.append({"name": str(path), "error": str(error)})
                continue
            results.append({"path": str(path), **verdict.as_dict()})
    if as_json:
        print_json({"run": loaded.run.run_id, "clips": results, "failures": failures})
    else:
        for result in results:
            best = sorted(result["proba"].items(), key=lambda item: -item[1])[:3]
            listed = ", ".join(f"{genre} {share(p)}" for genre, p in best)
            out.print(f"{result['path']}: {listed}", markup=False)
    for failure in failures:
        err.print(failure["error"], markup=False)
    if failures and not results:
        raise GenrecoreError(
            "The clip could not be used." if len(clips) == 1 else "None of the clips could be used."
        )
