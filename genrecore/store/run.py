"""Run folders: where they are, what is in them, and in which state each is.

| file | what |
|---|---|
| `config.json` | the resolved configuration; never changes |
| `queue.json` | priority, position and where it is carried out; present from the start |
| `job.json` | the job that a cluster's scheduler has for it, and what it last said of it |
| `job.sh` | the batch script of that job |
| `generation.json` | which process may write it (`genrecore.store.generations`) |
| `origin.json` | `parent, how, plan`: the run it continues or repeats, the plan it belongs to |
| `about.json` | `name, note, tags, starred`: what people wrote about it (`About`) |
| `song.json` | `clips`: the uploads of a visitor that it classifies once it is done |
| `status.json` | state, reason, phase, progress, heartbeat, process (`Status`) |
| `history.jsonl` | one line an epoch |
| `epochs.u8` | the predicted genre of each validation clip, one row an epoch |
| `steps.f32` | the training loss of each step, float32, appended once an epoch |
| `clips.parquet` | the clip table with the split it was trained on, and digests of each clip's |
| | content: of its file (`content`) and of what the run was given of it (`decoded`) |
| `predictions.parquet` | `clip_id, split, genre, p_<genre>…` of validation and test, chosen epoch |
| `segments.parquet` | `clip_id, split, genre, start_s, p_<genre>…` |
| `weights.safetensors` | the classifier at the chosen epoch; `last.safetensors` at the last |
| `model.skops` | in their place where scikit-learn fits the model |
| `resume.pt` | everything that going on needs |
| `audit.json` | what the audit of data and split found (`genrecore.data.audit`) |
| `scores.json`, `calibration.json` | caches: scores of the test, temperature of the probabilities |
| `strangers.parquet` | `kind, p_<genre>…` of sound that is none of the genres (`strangers`) |
| `probes.parquet` | `probe, clip_id, genre, p_<genre>…` of changed test clips (`probes`) |
| `environment.json` | versions, device, precision and threads |
| `process.json`, `ended.json` | who leads its processes; how they ended, if somebody saw it |
| `log.txt`, `lock`, `stop` | output; held while the run lives; present when a stop was asked for |
| `damaged/` | copies of files that `repair` replaced |

What these files may hold is in `records` and `tables`. A run with a file that does not fit is
unreadable as a whole: `all_runs` leaves it out and `unreadable_runs` says why. Caches are ignored
instead, and made again.
"""

from __future__ import annotations

import copy
import math
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from genrecore.config.run import Part, RunConfig, signature, system_signature
from genrecore.store.about import About, read_about
from genrecore.store.clocks import boot_id
from genrecore.store.faults import CONFIG, EPOCHS, HISTORY, STEPS, stamps_of, with_note
from genrecore.store.files import Unreadable, checkout, open_regular, read_bytes
from genrecore.store.locks import LOCK, lock_state
from genrecore.store.processes import ENDED, is_same_process, living_processes
from genrecore.store.records import (
    MOST_EPOCHS,
    RECORDS,
    JobFile,
    SchedulerFile,
    read_config_record,
    read_history,
    read_record,
)
from genrecore.store.separation import NOT_AUDITED, Separation, read_separation
from genrecore.store.status import (
    FINAL,
    LOG,
    STATUS,
    read_status,
    silent_s,
    stop_asked,
    stop_left_s,
)
from genrecore.store.summaries import Summary
from genrecore.store.tables import read_table
from genrecore.words import moment, plural, thousands

if TYPE_CHECKING:  # pandas is imported when a table is read: listing runs needs none
    import numpy as np
    import pandas as pd

LIVE = frozenset({"starting", "preparing", "running", "stopping", "stalled", "unknown"})
WAITING = frozenset({"queued", "waiting there", "requeued"})
"""States in which a run waits: here, for a cluster's scheduler, and there once more."""
AT_REST = frozenset({*FINAL, "queued"})
"""States that need no living process."""

_STALLED_S = 30.0
_COURSE = ("state", "epoch", "best_epoch", "best_valid_accuracy", "time_left_s", "n_parameters")
JOB, SCRIPT, SCHEDULER = "job.json", "job.sh", ".scheduler.json"
MOST_SILENT_S = 150.0  # a scheduler is asked every 30 s, and may be slow
SCORES, WEIGHTS = "scores.json", ("model.skops", "weights.safetensors")
SONG = "song.json"
MARKS: Mapping[str, str] = {
    "leak": "its accuracy is too high",
    "artists unknown": "its accuracy may be too high",
    "encoder's music unknown": "its accuracy may be too high",
    "rehearsal": "its accuracy is not for comparison",
}
"""What stands beside a run wherever it is shown, the gravest first, and what follows from it."""

_PUBLISHED_APART = frozenset({"fault_filtered"})
"""Splits published as ones that keep artists apart, for audits of versions that did not say so."""


def store_dir() -> Path:
    """The folder of all runs: `GENRECORE_RUNS`, or `checkpoints/` of the checkout. Of an installed
    package: `checkpoints/` of the working folder if it holds runs, else of the user's data folder.
    """
    chosen = os.environ.get("GENRECORE_RUNS")
    if chosen:
        return Path(chosen).expanduser().absolute()
    top = checkout()
    return top / "checkpoints" if top else _store_of_installed(Path.cwd())


@cache
def _store_of_installed(working_folder: Path) -> Path:
    """Looked for once, so that the store stays the same while a process lives."""
    here = working_folder / "checkpoints"
    has_runs = any(here.glob(f"*/{STATUS}"))
    return here if has_runs else platformdirs.user_data_path("genrecore") / "checkpoints"


def scheduler(store: Path) -> dict[str, Any]:
    """When the schedulers of clusters answered last (`SchedulerFile`)."""
    try:
        read = _read_scheduler(store, stamps_of(store, SCHEDULER)[0])
    except Unreadable:
        read = {}
    return SchedulerFile().model_dump() | copy.deepcopy(read)


@lru_cache(maxsize=8)
def _read_scheduler(store: Path, stamp: tuple[int, ...]) -> dict[str, Any]:
    """Read once, since each run on a cluster asks for it."""
    return read_record(store / SCHEDULER, SchedulerFile, "store")


def place_in_words(on: str, job: str, node: str) -> str:
    """`slurm:gpu, job 12 on n1`: where on a cluster a run is carried out; empty for this
    machine."""
    where = " on ".join(part for part in (f"job {job}" if job else "", node) if part)
    return ", ".join(part for part in (on, where) if part)


def marked(name: str, marks: Iterable[str]) -> str:
    """The name of a run or system with its marks: `cnn · demo · b083 (leak)`."""
    text = ", ".join(mark for mark in MARKS if mark in set(marks))
    return f"{name} ({text})" if text else name


@lru_cache(maxsize=10_000)
def _read_config(path: Path, stamp: tuple[int, ...]) -> RunConfig:
    """Read once, since pages ask for the configurations of a thousand runs at every look."""
    return read_config_record(path)


@dataclass(frozen=True)
class Facts:
    """What lists need of a configuration; `signature` and `system` are the two signatures."""

    dataset: str
    dataset_options: dict[str, Any]
    model: str
    split: str
    split_options: dict[str, Any]
    seed: int
    split_seed: int
    fold: int
    rehearsal: int
    signature: str
    system: str

    @classmethod
    def read(cls, config: RunConfig) -> Facts:
        """Those of a configuration."""
        return cls(
            config.dataset.name,
            config.dataset.options,
            config.model.name,
            config.split.name,
            config.split.options,
            config.seed,
            config.split_seed,
            config.fold,
            config.rehearsal,
            signature(config),
            system_signature(config),
        )

    @property
    def split_part(self) -> Part:
        """The split as the configuration has it."""
        return Part.model_construct(name=self.split, options=self.split_options)


@dataclass(frozen=True)
class Run:
    """A run folder, read lazily; each instance is a snapshot of the moment it was read. One that
    `all_runs` found has what a list needs already (`Summary`)."""

    folder: Path

    @classmethod
    def summarised(cls, summary: Summary) -> Run:
        """The run of a summary."""
        run = cls(summary.folder)
        vars(run).update(summary.derived("run", lambda: _prefilled(summary)))
        return run

    @cached_property
    def summary(self) -> Summary | None:
        """What is kept of it, if a look at the whole store found it."""
        return None

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @cached_property
    def config(self) -> RunConfig:
        """The configuration.

        Raises:
            Unreadable: The file is missing or was written by another version.
        """
        if self.summary is not None:
            values = self.summary.rest["config"]
            return self.summary.derived("config", lambda: RunConfig.model_validate(values))
        return _read_config(self.folder / CONFIG, stamps_of(self.folder, CONFIG)[0])

    @cached_property
    def facts(self) -> Facts:
        """The configuration in short."""
        return Facts.read(self.config)

    @cached_property
    def is_tested(self) -> bool:
        """Whether its test predictions are written."""
        return os.path.exists(f"{self.folder}/predictions.parquet")

    @cached_property
    def has_weights(self) -> bool:
        """Whether it can classify."""
        return any(os.path.exists(f"{self.folder}/{name}") for name in WEIGHTS)

    @cached_property
    def status(self) -> dict[str, Any]:
        """The status file's values, empty where there are none.

        Like all that follows, it raises `Unreadable` where its file does not fit.
        """
        if self.summary is not None and self.summary.values["at_rest"]:
            status: dict[str, Any] = self.summary.rest["status"]
            return status
        return read_status(self.folder)

    @cached_property
    def course(self) -> dict[str, Any]:
        """What lists need of the status: `state, epoch, best_epoch, best_valid_accuracy,
        time_left_s, n_parameters` or None, `n_epochs` and `worked_s`."""
        course = {name: self.status.get(name) for name in _COURSE}
        return course | {"n_epochs": self.n_epochs, "worked_s": self.worked_s}

    @cached_property
    def alive(self) -> bool:
        """Whether a process holds the run's lock. Where locks say nothing (the store has none, or a
        node of a cluster works on the run): whether its process lives on this machine, or it gave a
        sign of life on another one just now."""
        locked = lock_state(self.folder / LOCK)
        elsewhere = (self.status.get("clock") or {}).get("boot_id") not in (None, boot_id())
        if locked is not None and (locked or not elsewhere or not self.job):
            return locked
        if elsewhere:
            return self.status.get("state") not in AT_REST and self._is_fresh()
        return is_same_process(self.status) or bool(living_processes(self.folder))

    def _is_fresh(self) -> bool:
        patience_s = max(_STALLED_S, 10 * float(self.status.get("median_step_s") or 0.0))
        return silent_s(self.folder, self.status) <= patience_s

    @cached_property
    def state(self) -> str:
        """The written state, or the derived one: stopping, stalled, lost."""
        known = vars(self).get("course", {}).get("state")
        if known in AT_REST:
            return str(known)
        alive = self.alive  # before the status is read: a run ends by writing, then letting go
        written = str(self.status.get("state", "queued"))
        if written in FINAL:
            return written
        if self.job and (written == "queued" or not alive):
            return self._state_of_job(written)
        if written == "queued":
            return written
        if not alive:
            return "lost"
        if stop_asked(self.folder):
            return "stopping"
        return written if self._is_fresh() else "stalled"

    def _state_of_job(self, written: str) -> str:
        """The state where only the scheduler can know it."""
        said = self.job["state"]
        if said == "ended":
            return "queued" if written == "queued" else "lost"
        if self.scheduler_silence:
            return "unknown"
        if written == "queued" and said == "running":
            return "starting"
        if written == "queued":
            return "requeued" if self.job["restarts"] else "waiting there"
        return "requeued" if said == "waiting" else "stalled"

    @cached_property
    def job(self) -> dict[str, Any]:
        """The job that a cluster's scheduler has for it (`JobFile`); empty where there is none."""
        job = self._record(JOB)
        return JobFile.model_validate(job).model_dump() if job else {}

    @property
    def place(self) -> str:
        """Where on a cluster it is carried out, in words; empty for this machine."""
        on = str(self.queue.get("on", ""))
        job = self.job if on else {}
        return place_in_words(on, str(job.get("id", "")), str(job.get("node", "")))

    @property
    def expected_start(self) -> str:
        """When the scheduler expects its job to start, as a sentence; empty where it does not
        say."""
        starts_at = self.job.get("starts_at")
        if self.state not in ("waiting there", "requeued") or not starts_at:
            return ""
        if self.job["never"] or starts_at < time.time():
            return ""
        return f"The scheduler expects it to start at {moment(starts_at)}."

    @cached_property
    def scheduler_silence(self) -> str:
        """Since when the scheduler of its job has not answered, in words; empty while it does."""
        host = str(self.job.get("host", ""))
        known = scheduler(self.folder.parent)
        since = max(known["answered"].get(host, 0.0), self.job["submitted_at"])
        if time.time() - since < MOST_SILENT_S:
            return ""
        fault = known["faults"].get(host, "")
        return f"The scheduler has not answered since {moment(since)}. {fault}".strip()

    @property
    def ended(self) -> dict[str, Any]:
        """`signal` or `code` with which its process ended, if somebody saw it; else empty."""
        return self._record(ENDED)

    @property
    def is_active(self) -> bool:
        """Whether it works or waits."""
        return self.state in WAITING or self.state in LIVE

    @property
    def worked_s(self) -> float:
        """Seconds it worked in all, stops in between left out; nan where it never started."""
        spans: list[float] = []
        since = None
        for entry in self.status.get("states", []):
            if entry["state"] in LIVE:
                since = entry["at"] if since is None else since
            elif since is not None:
                spans.append(entry["at"] - since)
                since = None
        if since is not None:
            spans.append(max(0.0, float(self.status.get("heartbeat") or since) - since))
        return sum(spans) if spans else math.nan

    @property
    def reason(self) -> str:
        """Why the run is in its state, as a sentence or a word; may be empty."""
        if self.state in ("waiting there", "requeued"):
            return str(self.job["reason"])
        if self.state == "unknown":
            return self.scheduler_silence
        if self.state != "lost":
            return str(self.status.get("reason", ""))
        when = f"after epoch {int(self.history['epoch'].max()) if len(self.history) else 0}"
        ended = self.ended
        if self.job.get("state") == "ended":
            how = self.job["reason"] or f"The scheduler says {self.job['word']}."
            return f"Its job {self.job['id']} ended {when} and left no message. {how}"
        if ended.get("signal") == signal.SIGKILL:
            return (
                f"Its process was killed by signal 9 {when}, most likely because memory ran out; "
                "smaller batches need less."
            )
        if "signal" in ended:
            return f"Its process was ended by signal {ended['signal']} {when}."
        if "code" in ended:
            return (
                f"Its processes ended {when} with exit code {ended['code']} and left no message; "
                "the log may say more."
            )
        return (
            f"Its process ended {when} and left no message: it was killed, it ran out of memory, "
            "or the machine went down."
        )

    @cached_property
    def queue(self) -> dict[str, Any]:
        """`priority, position, queued_at`: its place among the runs that wait."""
        return self._record("queue.json")

    @cached_property
    def origin(self) -> dict[str, Any]:
        """`parent` and `how` (continued, cloned) of a run made from another one; else empty."""
        return self._record("origin.json")

    @property
    def song(self) -> str:
        """The id of the uploads that are kept for it (`genrecore.data.uploads`); may be empty."""
        return str(self._song.get("clips", ""))

    @cached_property
    def _song(self) -> dict[str, Any]:
        return self._record(SONG)

    @property
    def plan(self) -> str:
        """The id of the plan it belongs to, or an empty text."""
        return str(self.origin.get("plan", ""))

    @property
    def stop_left_s(self) -> float | None:
        """While it is asked to stop: seconds until it is ended by force, less than 0 afterwards."""
        return stop_left_s(self.folder)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch; an unfinished last line is left out."""
        import pandas as pd

        return pd.DataFrame(read_history(self.folder / HISTORY))

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """The predictions table, or None before the test."""
        return self._table("predictions.parquet")

    @cached_property
    def segments(self) -> pd.DataFrame | None:
        """The segment table, or None before the test."""
        table, clips = self._table("segments.parquet"), self.predictions
        if table is not None and clips is not None:
            others = {*map(str, clips.columns)} ^ {*map(str, table.columns)}
            odd = next((name for name in sorted(others) if name.startswith("p_")), "")
            if odd:
                path = self.folder / "segments.parquet"
                reason = "expected the genres of predictions.parquet"
                raise with_note(Unreadable(path, odd, reason))
        return table

    @cached_property
    def clips(self) -> pd.DataFrame | None:
        """The clip table with its split, or None before it was prepared."""
        return self._table("clips.parquet")

    @property
    def medium(self) -> str:
        """What its clips are, as its clip table says: audio, image, table, vector or sequence;
        empty before it was prepared."""
        clips = self.clips
        is_known = clips is not None and "medium" in clips and len(clips)
        return str(clips["medium"].iloc[0]) if is_known else ""  # type: ignore[index]

    @property
    def tables(self) -> tuple[pd.DataFrame | None, ...]:
        """Clips, predictions and segments, all of them read and checked."""
        return self.clips, self.predictions, self.segments

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device, precision, threads; empty before the run started."""
        return self._record("environment.json")

    @property
    def trained_by(self) -> str:
        """`genrecore 0.1.0`: the version that carried it out; the name alone where that is not
        known."""
        return f"genrecore {self.environment.get('versions', {}).get('genrecore', '')}".strip()

    @cached_property
    def audit(self) -> dict[str, Any]:
        """What the audit of data and split found (`AuditFile`); empty before it."""
        return self._record("audit.json")

    @property
    def weights(self) -> Path:
        """The file of the classifier at the chosen epoch; it may not be there yet."""
        fitted = self.folder / "model.skops"
        return fitted if fitted.exists() else self.folder / "weights.safetensors"

    @property
    def tested_epoch(self) -> int | None:
        """The epoch that is tested, chosen on the validation clips; None before the first one, and
        where scikit-learn fits the model in one go."""
        return None if self.weights.suffix == ".skops" else self.status.get("best_epoch")

    @property
    def n_epochs(self) -> int:
        """Epochs planned; 1 for a scikit-learn model, once the run has found that it is one."""
        return int(self.status.get("n_epochs") or self.config.training.epochs)

    @cached_property
    def epoch_predictions(self) -> np.ndarray:
        """Predicted genre of each validation clip, (epochs, clips) uint8, clip-table order."""
        import numpy as np

        clips = self.clips
        n_valid = 0 if clips is None else int((clips["split"] == "valid").sum())
        path, content = self.folder / EPOCHS, b""
        try:
            content = read_bytes(path, MOST_EPOCHS * n_valid) if n_valid else b""
        except FileNotFoundError:
            pass
        except Unreadable as error:
            raise with_note(error) from None
        n_epochs = len(content) // n_valid if n_valid else 0
        flat = np.frombuffer(content, dtype=np.uint8)[: n_epochs * n_valid]
        n_genres = 0 if clips is None else clips["genre"].nunique()
        if len(flat) and int(flat.max()) >= n_genres:
            reason = f"expected numbers of {plural(n_genres, 'genre')}, found {int(flat.max())}"
            raise with_note(Unreadable(path, "", reason))
        return flat.reshape(n_epochs, max(n_valid, 1))

    @cached_property
    def step_losses(self) -> np.ndarray:
        """Training loss of each step (mini-batch) of the finished epochs, (steps,) float32; empty
        where it was not kept."""
        import numpy as np

        path = self.folder / STEPS
        try:
            content = read_bytes(path)
            if len(content) % 4:
                reason = f"it has {thousands(len(content))} bytes; expected four for each step"
                raise Unreadable(path, "", reason)
            losses = np.frombuffer(content, dtype="<f4")
            if len(odd := np.flatnonzero(~np.isfinite(losses))):
                reason = f"expected a finite loss, found {losses[odd[0]]}"
                raise Unreadable(path, f"step {thousands(int(odd[0]) + 1)}", reason)
        except FileNotFoundError:
            return np.zeros(0, np.float32)
        except Unreadable as error:
            raise with_note(error) from None
        return losses

    @cached_property
    def warnings(self) -> dict[str, str]:
        """Why its accuracy must not be taken at face value, in a few words each, by the mark (a key
        of `MARKS`) that stands for it; empty for most runs."""
        texts = zip(
            MARKS, (self.leak, self.unknown, self.unknown_encoder, self.rehearsal), strict=True
        )
        return {mark: text for mark, text in texts if text}

    @property
    def badge(self) -> str:
        """All warnings in one text; may be empty."""
        return "; ".join(self.warnings.values())

    @property
    def caveats(self) -> list[str]:
        """All warnings as sentences."""
        return [f"{text}; {MARKS[mark]}." for mark, text in self.warnings.items()]

    @cached_property
    def separation(self) -> Separation | None:
        """Whether its split keeps artists, albums and copies apart; None before its audit."""
        audit = self.audit
        if not audit:
            return NOT_AUDITED if (self.folder / "predictions.parquet").exists() else None
        n_unknown = None
        if "separation" not in audit and "unused" in audit.get("counts", {}):
            clips = self.clips  # the counts of such an audit are of clips in no part, too
            if clips is not None:
                n_unknown = int(clips.loc[clips["split"].notna(), "artist"].isna().sum())
        return read_separation(audit, self.config.split.name in _PUBLISHED_APART, n_unknown)

    @property
    def leak(self) -> str:
        """What training knew of the test clips, in a few words; empty where nothing."""
        leaks = []
        if self.separation and self.separation.answer == "crosses":
            leaks.append(f"{plural(self.separation.n_shared, 'clip')} shared with training")
        if self.config.standardise_on == "all":
            leaks.append("statistics of all clips")
        if self.audit.get("encoder_heard") == "yes":
            leaks.append(f"{self.audit.get('encoder')} was trained on this dataset")
        return f"Leak: {', '.join(leaks)}" if leaks else ""

    @property
    def unknown(self) -> str:
        """In a few words, that nobody can tell whether artists are kept apart; empty where one
        can, and where the split is known to leak."""
        return self.separation.unknown if self.separation else ""

    @property
    def unknown_encoder(self) -> str:
        """In a few words, that nobody can tell whether its encoder was trained on the test clips;
        else empty."""
        if self.audit.get("encoder_heard") != "unknown":
            return ""
        return f"Music that {self.audit.get('encoder')} learned from: unknown"

    @property
    def rehearsal(self) -> str:
        """How many clips a genre took part, where not all were meant to; else empty."""
        n = self.config.rehearsal
        return f"Rehearsal: {n} clips a genre" if n else ""

    @cached_property
    def about(self) -> About:
        """What people wrote about it: its name, if it has one of its own, note, tags and star."""
        return read_about(self.folder)

    @property
    def note(self) -> str:
        """Plain text of several lines; may be empty."""
        return self.about.note

    @property
    def tags(self) -> tuple[str, ...]:
        """Words by which it is found."""
        return self.about.tags

    @property
    def starred(self) -> bool:
        """Whether somebody marked it."""
        return self.about.starred

    @property
    def name(self) -> str:
        """The name that somebody gave it, or else one that is made for it."""
        return self.about.name or self.made_name

    @property
    def title(self) -> str:
        """What legends call it: its name and its marks."""
        return marked(self.name, self.warnings)

    @property
    def made_name(self) -> str:
        """The name of a run that got none: model, dataset and the end of the id."""
        return f"{self.facts.model} · {self.facts.dataset} · {self.run_id[-4:]}"

    @property
    def created(self) -> float:
        """Seconds since the epoch at which the run was queued."""
        return float(self.queue.get("queued_at", 0.0))

    def log(self, last_bytes: int = 20_000) -> str:
        """The end of the log."""
        try:
            with open_regular(self.folder / LOG) as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - last_bytes))
                text = stream.read().decode("utf-8", errors="replace")
        except (OSError, Unreadable):
            return ""
        return "\n".join(line.rsplit("\r", 1)[-1] for line in text.split("\n"))

    def _record(self, name: str) -> dict[str, Any]:
        return read_record(f"{self.folder}/{name}", RECORDS[name])

    def _table(self, name: str) -> pd.DataFrame | None:
        try:
            return read_table(self.folder / name)
        except Unreadable as error:
            raise with_note(error) from None


def _prefilled(summary: Summary) -> dict[str, Any]:
    """The properties of a run that a summary holds."""
    values, about = summary.values, summary.values["about"]
    names = ("queue", "origin", "warnings", "is_tested", "has_weights")
    same = {name: values[name] for name in names}
    if values["at_rest"]:  # else it is read together with the lock
        same["course"] = values["course"]
    return same | {
        "summary": summary,
        "facts": Facts(**values["facts"]),
        "about": About(**about | {"tags": tuple(about["tags"])}),
    }
