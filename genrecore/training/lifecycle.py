"""The life of one run in this process: prepare, train, test, and always say how it ended."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import signal
import socket
import time
import traceback
from collections.abc import Iterator
from typing import Any

import torch

from genrecore.data import prepare as preparation
from genrecore.data.corpus import Corpus
from genrecore.errors import GenrecoreError, describe
from genrecore.store.files import write_bytes, write_json
from genrecore.store.processes import identity
from genrecore.store.progress import Ended, Phase, Report, Stopped, silent
from genrecore.store.run import Run
from genrecore.store.status import LOG, STOP, Status, ask_to_stop, stop_asked, stop_request
from genrecore.training import baselines, embedding, hardware
from genrecore.training.baselines import Baseline
from genrecore.training.classifier import Classifier
from genrecore.training.distributed import Team
from genrecore.training.examples import Examples, Given
from genrecore.training.hardware import Hardware
from genrecore.training.loop import Trainer
from genrecore.training.parts import ResolvedConfig
from genrecore.training.weights import save_classifier, weights_name

_RESERVE = ".reserve"  # room for the last words of a run that fills the disk
_RESERVE_BYTES = 256 * 1024
_FORCED = "It was ended before its step was finished; its last checkpoint is kept."
_ASK_EVERY_S = 0.02  # whether a stop was asked for: steps may be much shorter


def execute(run: Run, show: Report = silent, team: Team | None = None) -> str:
    """Carries a run from where it stands to its end and returns its final state.

    The caller holds the run's lock. Failures are recorded in the status, not raised.

    Args:
        run: A queued run, or one that was stopped and has a `resume.pt`.
        show: Also told of every step, as `show(phase, done, total)`.
        team: The processes that train it together; each calls this, those that do not lead with
            a run of their own that nobody sees.
    """
    status = Status(run.folder)

    asked_at = 0.0

    def report(phase: str, done: int, total: int) -> None:
        nonlocal asked_at
        status.beat(phase=phase, done=done, total=total)
        show(phase, done, total)
        now = time.monotonic()
        if now - asked_at > _ASK_EVERY_S:
            asked_at = now
            if stop_asked(run.folder):
                if phase != Phase.TESTING or not stop_request(run.folder).get("keep_best"):
                    raise Stopped
                (run.folder / STOP).unlink(missing_ok=True)  # just what is being done

    with _signals_ask_to_stop(run):
        try:
            (run.folder / _RESERVE).write_bytes(b"\0" * _RESERVE_BYTES)
            with _deterministic(run.config.training.deterministic):
                _work(run, status, report, team or Team())
        except Ended:
            _end(run, status, "stopped", _FORCED)
        except Stopped:
            _stop(run, status)
        except BaseException as error:
            _say(run, traceback.format_exc())
            (run.folder / _RESERVE).unlink(missing_ok=True)
            _end(run, status, "failed", describe(error), traceback=traceback.format_exc())
            if not isinstance(error, Exception):
                raise
        finally:
            with contextlib.suppress(OSError):
                (run.folder / _RESERVE).unlink(missing_ok=True)
                (run.folder / STOP).unlink(missing_ok=True)
    return str(status.values["state"])


def _work(run: Run, status: Status, report: Report, team: Team) -> None:
    config, resolved = run.config, ResolvedConfig(run.config)
    started = status.values.get("started_at") or time.time()
    status.move("preparing", started_at=started, phase=Phase.STARTING, **identity())
    resume = team.told(_resume_state(run))
    if resume:
        torch.set_num_threads(resume["n_threads"])
    chosen = hardware.choose(
        config.device, resume["precision"] if resume else config.training.precision
    )
    classical = resolved.model.facts.classical
    if classical:
        chosen = baselines.suited(chosen)
    write_json(run.folder / "environment.json", environment(chosen))
    _say(run, f"Device: {chosen.name}. Precision: {chosen.reason}")

    prepared = preparation.with_split(preparation.decode(config, report), config)
    write_bytes(run.folder / "clips.parquet", prepared.clips.to_parquet(index=False))
    verdict = preparation.audited(prepared, report)
    write_json(run.folder / "audit.json", verdict.as_dict())
    if verdict.refused and not config.allow_leaks:
        raise GenrecoreError(
            f"{verdict.reason} Choose a split that keeps them apart, or allow leaks: the run is "
            "then marked."
        )
    for note in prepared.notes:
        _say(run, note)
    torch.manual_seed(config.seed)  # initial weights and dropout
    classifier = Classifier(
        resolved, prepared.genres, prepared.corpus.shape, pretrained=resume is None
    )
    chosen.prepare(classifier)
    examples = Examples(
        prepared.corpus,
        config,
        classifier.feature,
        prepared.clips,
        prepared.genres,
        chosen,
        report,
    )
    if resume is None:
        plain = examples.standardised_on().split(examples.most)

        def batches() -> Iterator[Given]:
            for n_done, part in enumerate(plain):
                report(Phase.STANDARDISATION, n_done, len(plain))
                yield examples.features(part)

        classifier.fit_standardisation(batches)
    status.update(skipped=prepared.skipped, notes=prepared.notes)
    n_segments = f"{len(examples.trained_on()):,} training segments"
    trainer: Trainer | Baseline
    if classical:
        _say(run, f"{n_segments}, fitted at one go.")
        trainer = Baseline(config, classifier, examples, status, report)
    else:
        n_parameters = classifier.n_parameters()
        status.update(n_parameters=n_parameters)
        _say(run, f"{n_segments}, {n_parameters:,} parameters, {config.training.epochs} epochs.")
        trainer = Trainer(config, classifier, examples, chosen, status, report, team)
    if resume is None:  # traces of a try that ended before its first checkpoint
        for name in ("history.jsonl", "epochs.u8"):
            (run.folder / name).unlink(missing_ok=True)
    elif isinstance(trainer, Trainer):
        trainer.restore(resume)
        _say(run, f"Going on after epoch {trainer.epoch}, step {trainer.step}.")
    status.move("running")
    early = _fitted(run, trainer, team)
    if not classical:
        save_classifier(classifier, run.folder / "last.safetensors")
    predictions, segments = trainer.predict()
    save_classifier(classifier, run.folder / weights_name(classifier))
    # Predictions last: a run that has them has everything else.
    for table, name in ((segments, "segments.parquet"), (predictions, "predictions.parquet")):
        write_bytes(run.folder / name, table.to_parquet(index=False))
    if team.leads:
        _keep_embedding(run, status, report, classifier, examples, prepared.corpus)
    _end(run, status, "done", early)


def _keep_embedding(
    run: Run,
    status: Status,
    report: Report,
    classifier: Classifier,
    examples: Examples,
    corpus: Corpus,
) -> None:
    """Looks where the run's clips lie, so that a clip unlike all of them is told at once; without
    it the run is done as well."""

    def tell(phase: str, *_: int) -> None:
        # The counts stay those of the steps: pages read from them how many an epoch has.
        report(phase, status.values.get("done", 0), status.values.get("total", 0))

    try:
        embedding.keep(run, classifier.eval(), examples, corpus, tell)
    except Stopped:
        _say(run, "Asked to stop: where its clips lie is not known yet.")
    except Exception as error:
        _say(run, f"Where its clips lie is not known: {describe(error)}")


def _fitted(run: Run, trainer: Trainer | Baseline, team: Team) -> str:
    """Trains to the end, or to where a stop was asked for that keeps the best epoch so far."""
    try:
        return trainer.fit()
    except Ended:
        raise
    except Stopped:
        keep = team.told(bool(stop_request(run.folder).get("keep_best")))
        if not keep or not isinstance(trainer, Trainer) or not trainer.best:
            raise
        if team.leads:
            (run.folder / STOP).unlink(missing_ok=True)
        return f"stopped early after epoch {trainer.epoch}, as asked; its best epoch was tested"


def _stop(run: Run, status: Status) -> None:
    """Says why a run stopped, or has it wait for the queue to go on."""
    request = stop_request(run.folder)
    if request.get("requeue"):
        with contextlib.suppress(OSError):
            status.move("queued", "Paused with the queue.", starts=0, time_left_s=None)
        _say(run, "Paused; it goes on when the queue is resumed.")
    else:
        _end(run, status, "stopped", str(request.get("reason") or "Stopped on request."))


def _end(run: Run, status: Status, state: str, reason: str, **values: Any) -> None:
    with contextlib.suppress(OSError):  # then the run is found lost, which is true as well
        status.move(state, reason, finished_at=time.time(), time_left_s=None, **values)
    _say(run, f"{state}. {reason}".strip())


def _resume_state(run: Run) -> dict[str, Any] | None:
    path = run.folder / "resume.pt"
    if not path.exists():
        return None
    try:
        return dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:
        raise GenrecoreError(f"{path.name} cannot be read, start a new run: {error}") from error


@contextlib.contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Inside, torch refuses what does not give the same result twice, if that is wanted."""
    if wanted:
        # cuBLAS reads this when it is first used; its other buffers may change sums.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        if wanted:
            torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def _signals_ask_to_stop(run: Run) -> Iterator[None]:
    """TERM and INT become the request to stop: the step is finished, a checkpoint kept.

    Where one was asked for already it leaves at once, with the last checkpoint.
    """
    before = {}

    def ask(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)  # the next one is final
        if stop_asked(run.folder):
            raise Ended
        ask_to_stop(run.folder)

    with contextlib.suppress(ValueError):  # only the main thread may
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def environment(chosen: Hardware) -> dict[str, Any]:
    """What a run ran on: device, precision with its reason, threads, versions."""
    packages = ("genrecore", "torch", "torchvision", "torchaudio", "numpy", "scikit-learn",
                "skops", "soundfile", "soxr")  # fmt: skip
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "device": chosen.device,
        "device_name": chosen.name,
        "precision": chosen.precision,
        "precision_reason": chosen.reason,
        "n_threads": chosen.n_threads,
        "versions": versions,
        "host": socket.gethostname(),
        "platform": platform.platform(),
    }


def _say(run: Run, text: str) -> None:
    with (
        contextlib.suppress(OSError),  # a full disk must not end the run from its log
        open(run.folder / LOG, "a", encoding="utf-8") as log,
    ):
        log.write(f"{time.strftime('%H:%M:%S')} {text}\n")
