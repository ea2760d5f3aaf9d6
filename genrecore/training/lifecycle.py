"""One run in this process, from its preparation to its test; its status records how it ends."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import socket
import time
import traceback
from collections.abc import Iterator
from typing import Any

import torch

from genrecore import __version__, words
from genrecore.data import prepare
from genrecore.data.corpus import Corpus
from genrecore.data.prepare import Prepared
from genrecore.errors import GenrecoreError, describe
from genrecore.models.fitted import Fitted
from genrecore.store import generations
from genrecore.store.files import write_bytes, write_json
from genrecore.store.generations import Replaced
from genrecore.store.processes import identity
from genrecore.store.progress import Ended, Phase, Report, Stopped, silent
from genrecore.store.run import Run
from genrecore.training import baselines, embedding, histories
from genrecore.training.baselines import Baseline
from genrecore.training.check import check, leak_refusal
from genrecore.training.checkpoint import read_checkpoint
from genrecore.training.classifier import Classifier, Features
from genrecore.training.distributed import Team
from genrecore.training.examples import Examples
from genrecore.training.hardware import Hardware, choose
from genrecore.training.loop import Trainer
from genrecore.training.parts import ResolvedConfig
from genrecore.training.progress import RunProgress, signals_ask_to_stop
from genrecore.training.weights import save_classifier, weights_name

_RESERVE = ".reserve"  # room for the status and log of a run that fills the disk
_RESERVE_BYTES = 256 * 1024
_FORCED = "It was ended before its step was finished; its last checkpoint is kept."


def execute(run: Run, show: Report = silent, team: Team | None = None) -> str:
    """Carries out a run from where it stopped last and returns its final state.

    The caller holds the run's lock. Failures are recorded in the status, not raised.

    Where a newer process begins to work on the run meanwhile, this one ends without a word, and
    the state is `replaced`.

    Args:
        run: A queued run, or one that was stopped and has a `resume.pt`.
        show: Also called at every step, as `show(phase, done, total)`.
        team: The processes that train it together; each calls this, those that do not lead with
            a run of their own that nobody sees.
    """
    try:
        if generations.own(run.folder) is None:
            generations.start(run.folder)
        return _execute(run, RunProgress(run, show), team or Team())
    except Replaced:
        return "replaced"
    finally:
        generations.leave(run.folder)


def _execute(run: Run, progress: RunProgress, team: Team) -> str:
    with signals_ask_to_stop(run.folder):
        try:
            (run.folder / _RESERVE).write_bytes(b"\0" * _RESERVE_BYTES)
            with _deterministic(run.config.training.deterministic):
                _work(run, progress, team)
        except Replaced:
            raise
        except Ended:
            progress.stop(_FORCED)
        except Stopped:
            progress.stop()
        except BaseException as error:
            sentence, trace = describe(error), traceback.format_exc()
            # The sentence of an error that is meant for people says all; the status has the trace.
            progress.log(sentence if isinstance(error, GenrecoreError) else trace)
            (run.folder / _RESERVE).unlink(missing_ok=True)
            progress.end("failed", sentence, traceback=trace)
            if not isinstance(error, Exception):
                raise
        finally:
            generations.check(run.folder)
            with contextlib.suppress(OSError):
                (run.folder / _RESERVE).unlink(missing_ok=True)
                progress.forget_stop()
    return str(progress.status.values["state"])


def _work(run: Run, progress: RunProgress, team: Team) -> None:
    resolved, status = ResolvedConfig(run.config), progress.status
    started = status.values.get("started_at") or time.time()
    status.move("preparing", started_at=started, phase=Phase.STARTING, **identity())
    checkpoint = team.broadcast(read_checkpoint(run.folder))
    if checkpoint:
        torch.set_num_threads(checkpoint["n_threads"])
    hardware = _hardware(resolved, checkpoint)
    write_json(run.folder / "environment.json", environment(hardware))
    progress.log(f"Device: {hardware.name}. Precision: {hardware.reason}")

    prepared = _prepared(run, progress)
    torch.manual_seed(run.config.seed)  # initial weights and dropout
    classifier = Classifier(
        resolved, prepared.genres, prepared.corpus.clip_shape, pretrained=checkpoint is None
    )
    hardware.prepare(classifier)
    examples = Examples(
        prepared.corpus,
        resolved,
        classifier.feature,
        prepared.clips,
        prepared.genres,
        hardware,
        progress.report,
    )
    if checkpoint is None:
        _fit_standardisation(classifier, examples, progress)
    status.update(skipped=prepared.skipped, notes=prepared.notes)
    trainer = _trainer(classifier, examples, hardware, progress, team)
    if checkpoint is None:  # traces of a try that ended before its first checkpoint
        generations.check(run.folder)
        for name in histories.FILES:
            (run.folder / name).unlink(missing_ok=True)
    elif isinstance(trainer, Trainer):
        trainer.load_state_dict(checkpoint)
        progress.log(f"Going on after epoch {trainer.epoch}, step {trainer.step}.")
    status.move("running")
    ended_early = _fit(trainer, progress, team)
    if isinstance(trainer, Trainer):
        save_classifier(classifier, run.folder / "last.safetensors")
    predictions, segments = trainer.predict()
    save_classifier(classifier, run.folder / weights_name(classifier))
    # Predictions last: a run that has them has everything else.
    generations.check(run.folder)
    for table, name in ((segments, "segments.parquet"), (predictions, "predictions.parquet")):
        write_bytes(run.folder / name, table.to_parquet(index=False))
    if team.leads:
        _cache_embedding(run, progress, classifier, examples, prepared.corpus)
    progress.end("done", ended_early)


def _hardware(resolved: ResolvedConfig, checkpoint: dict[str, Any] | None) -> Hardware:
    """Device and precision: those asked for, or the precision that the run began with."""
    config = resolved.config
    precision = checkpoint["precision"] if checkpoint else config.training.precision
    hardware = choose(config.device, precision)
    return baselines.suited(hardware) if resolved.model.facts.classical else hardware


def _prepared(run: Run, progress: RunProgress) -> Prepared:
    """Clips with their split, and their corpus.

    Raises:
        GenrecoreError: The split leaks, and leaks are not allowed.
    """
    config = run.config
    prepared = prepare.with_split(prepare.decode(config, progress.report), config)
    clips = prepare.with_digests(prepared, config.audio.clip_s, progress.report)
    generations.check(run.folder)
    write_bytes(run.folder / "clips.parquet", clips.to_parquet(index=False))
    audit = prepare.audited(prepared, progress.report)
    card = ResolvedConfig(config).encoder
    heard = card and {"encoder": card.name, "encoder_heard": card.has_heard(config.dataset.name)}
    write_json(run.folder / "audit.json", audit.as_dict() | (heard or {}))
    if audit.refused and not config.allow_leaks:
        best = check(config).best_split
        raise GenrecoreError(leak_refusal(audit.reason, best is None or best.outcome != "crosses"))
    for note in prepared.notes:
        progress.log(note)
    return prepared


def _fit_standardisation(classifier: Classifier, examples: Examples, progress: RunProgress) -> None:
    indices = examples.standardised_on().split(examples.most)

    def batches() -> Iterator[Features]:
        for n_done, index in enumerate(indices):
            progress.report(Phase.STANDARDISATION, n_done, len(indices))
            yield examples.features(index)

    classifier.fit_standardisation(batches)


def _trainer(
    classifier: Classifier,
    examples: Examples,
    hardware: Hardware,
    progress: RunProgress,
    team: Team,
) -> Trainer | Baseline:
    n_segments = f"{words.thousands(len(examples.trained_on()))} training segments"
    if isinstance(classifier.network, Fitted):
        progress.log(f"{n_segments}, fitted in one call.")
        return Baseline(classifier, classifier.network, examples, progress)
    n_parameters, n_epochs = classifier.n_parameters(), classifier.config.training.epochs
    progress.status.update(n_parameters=n_parameters)
    progress.log(f"{n_segments}, {words.thousands(n_parameters)} parameters, {n_epochs} epochs.")
    return Trainer(classifier, examples, hardware, progress, team)


def _fit(trainer: Trainer | Baseline, progress: RunProgress, team: Team) -> str:
    """Trains to the end, or to where a stop was asked for that keeps the best epoch so far."""
    try:
        return trainer.fit()
    except Ended:
        raise
    except Stopped:
        keeps_best = team.broadcast(progress.stop_keeps_best())
        if not keeps_best or not isinstance(trainer, Trainer) or not trainer.best:
            raise
        if team.leads:
            progress.forget_stop()
        return f"stopped early after epoch {trainer.epoch}, as asked; its best epoch was tested"


def _cache_embedding(
    run: Run,
    progress: RunProgress,
    classifier: Classifier,
    examples: Examples,
    corpus: Corpus,
) -> None:
    """Caches the run's clip embeddings for out-of-distribution checks; a failure here does not
    fail the run."""
    try:
        embedding.compute(run, classifier.eval(), examples, corpus, progress.report_phase)
    except Stopped:
        progress.log("Asked to stop: the embeddings of its clips are not computed yet.")
    except Exception as error:
        progress.log(f"The embeddings of its clips cannot be computed: {describe(error)}")


@contextlib.contextmanager
def _deterministic(on: bool) -> Iterator[None]:
    """Inside, torch refuses operations that may give another result the next time, if `on`."""
    if on:
        # cuBLAS reads this when it is first used; its other buffers may change sums.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        if on:
            torch.use_deterministic_algorithms(False)


def environment(hardware: Hardware) -> dict[str, Any]:
    """What a run ran on: device, precision with its reason, threads, versions."""
    packages = ("torch", "torchvision", "torchaudio", "numpy", "scikit-learn",
                "skops", "av", "soundfile", "soxr")  # fmt: skip
    versions = {"python": platform.python_version(), "genrecore": __version__}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "device": hardware.device,
        "device_name": hardware.name,
        "precision": hardware.precision,
        "precision_reason": hardware.reason,
        "n_threads": hardware.n_threads,
        "versions": versions,
        "host": socket.gethostname(),
        "platform": platform.platform(),
    }
