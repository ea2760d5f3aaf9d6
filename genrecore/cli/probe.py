"""`genrecore probe`, `embed` and `hear`: what a run and its feature use of the sound."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile
import typer
from typer import Argument, Option

from genrecore.audio import decode
from genrecore.cli.options import JsonOption, RunArgument, SetOption, settings, switch
from genrecore.cli.output import answer, out, print_json, print_table, records, reporting, writing
from genrecore.errors import GenrecoreError, UsageError
from genrecore.inference import probes
from genrecore.inference.probes import PROBES
from genrecore.reporting.columns import csv_text, written
from genrecore.store.runs import find_run
from genrecore.words import percent, signed_points

commands = typer.Typer(rich_markup_mode=None)

_VERDICTS = {"open": "cannot be told", "holds": "no difference"}


@commands.command("probe")
def probe(
    run: RunArgument,
    only: Annotated[
        str, Option(help=f"Some probes, with commas between: {', '.join(PROBES)}.")
    ] = "",
    stored: Annotated[bool, switch("stored", "Show the last result; classify nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Does a run hear music or a trick? It classifies its test clips again: quieter, filtered, as
    MP3, a little faster or higher. Nothing is trained. The result is kept in the run's folder; the
    page Errors shows it."""
    run_to_probe = find_run(run)
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        PROBES[name]  # raises an error for an unknown probe
    if stored:
        result = probes.read(run_to_probe)
        if result is None:
            run_id = run_to_probe.run_id
            raise GenrecoreError(
                f"The run {run_id} has not been probed yet: genrecore probe {run_id}."
            )
    else:
        with reporting(quiet=as_json) as report:
            result = probes.probe(run_to_probe, names, report)
    if as_json:
        print_json(
            {
                "run": run_to_probe.run_id,
                "n_clips": result.n_clips,
                "accuracy": result.accuracy,
                "summary": result.summary,
                "note": result.note,
                "probes": result.table,
            }
        )
        return
    out.print(f"{result.n_clips} test clips, unchanged {percent(result.accuracy)}.")
    rows = [
        {
            "probe": row["probe"],
            "accuracy": percent(row["accuracy"]),
            "difference": signed_points(row["difference"]),
            "95 %": f"{signed_points(row['low'])} to {signed_points(row['high'])}",
            "p": written(row["p"], "p"),
            "verdict": _VERDICTS.get(row["word"], row["word"]),
        }
        for row in records(result.table)
    ]
    print_table(rows)
    out.print(result.summary)
    if result.note:
        out.print(result.note, style="bold")


@commands.command("embed")
def embed(
    run: RunArgument,
    to: Annotated[
        Path | None, Option("--out", help="Writes map and embedding as a table, .csv or .parquet.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The embedding of a run's clips, the values before its last layer, and a map of it (PCA and
    t-SNE). Computed once and kept in the cache. The page Errors draws the map; the page Classify
    uses the embedding to tell whether a recording is unlike all clips, or one of them."""
    from genrecore.evaluation import embeddings
    from genrecore.inference import doubts
    from genrecore.training import embedding

    run_to_embed = find_run(run)
    with reporting(quiet=as_json) as report:
        embedded = embedding.embed(run_to_embed, report)
        clip_map = embeddings.project(run_to_embed, report)
        with contextlib.suppress(GenrecoreError):  # the map needs no dataset
            doubts.prepare(run_to_embed, report)
    if to is not None:
        columns = [f"e{k}" for k in range(embedded.values.shape[1])]
        values = pd.DataFrame(embedded.values, columns=columns)
        table = pd.concat([embedded.clips, values], axis=1).merge(
            clip_map.points.drop(columns=["genre", "split"]), on="clip_id", how="left"
        )
        with writing(to):
            if to.suffix == ".parquet":
                table.to_parquet(to, index=False)
            else:
                to.write_text(csv_text(table), encoding="utf-8")
    facts = {
        "run": run_to_embed.run_id,
        "n_clips": len(embedded.clips),
        "n_numbers": embedded.values.shape[1],
        "n_on_map": len(clip_map.points),
        "pca_share": list(clip_map.explained),
        "file": str(to.absolute()) if to else None,
    }
    sentence = f"{facts['n_clips']} clips of {facts['run']}, {facts['n_numbers']} numbers each"
    answer(as_json, facts, f"{sentence}, written to {to}." if to else f"{sentence}.")


@commands.command()
def hear(
    clip: Annotated[Path, Argument(help="An audio file.")],
    to: Annotated[Path, Option("--out", help="The wav file to write.")],
    augment: Annotated[str, Option(help="Augmentations of waves, names with commas between.")] = "",
    inverse: Annotated[
        bool, switch("inverse", "Turn its log-mel spectrogram back into sound.")
    ] = False,
    set_: SetOption = None,
    seed: Annotated[int, Option(help="Seed of the random numbers.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Write a clip as training would change it, or as its log-mel spectrogram preserves it. Every
    named augmentation is applied; options as in 'genrecore train', e.g. --set
    augment.pitch.range_semitones=2 or --set feature.n_mels=32."""
    import torch

    from genrecore.augment import Chain
    from genrecore.config.run import with_values
    from genrecore.training import hardware
    from genrecore.training.resolve import resolve

    chosen = settings(None, {"augment": augment} if augment else {}, set_)
    parts = resolve(chosen).config.augment
    chosen = with_values(chosen, {"augment": [part.model_dump() for part in parts]})
    always = {f"augment.{part.name}.p": 1.0 for part in parts}
    resolved = resolve(with_values(chosen, always))
    config = resolved.config
    rate = config.audio.sample_rate_hz
    decoded = decode.decode(clip, rate, middle_s=config.audio.clip_s)
    chain = Chain(resolved.augment, "wave", rate)
    if augment and len(chain.steps) < len(config.augment):
        raise UsageError("Only augmentations of waves can be heard; see 'genrecore list'.")
    if inverse and config.feature.name != "log_mel":
        raise UsageError("Only the feature log_mel can be turned back into sound.")
    wave = torch.from_numpy(decoded.wave)[None, None]
    with torch.inference_mode():
        wave = chain(wave, torch.Generator().manual_seed(seed))
        if inverse:
            part = resolved.feature
            feature = part.thing(part.options, rate, wave.shape[2])
            with hardware.torch_threads(1):
                heard = feature.to_wave(feature.values(wave)[0]).numpy()
        else:
            heard = wave[0, 0].numpy()
    with writing(to):
        soundfile.write(to, np.clip(heard, -1.0, 1.0), rate, "PCM_16")
    facts = {"file": to.absolute(), "seconds": round(len(heard) / rate, 3), "sample_rate_hz": rate}
    answer(as_json, facts, f"Wrote {facts['seconds']:g} s to {to}.")
