"""Alerts about a run: done, failed, its loss diverges, it makes no progress.

They are computed from the run folder (`find_alerts`); nothing has to be logged for them. The
dashboard shows them as toasts. Where the store's `settings.json` names a webhook, the runner calls
`look`, which posts what is new once.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from genrecore import __version__
from genrecore.errors import UsageError
from genrecore.store import settings
from genrecore.store.files import read_json, write_json
from genrecore.store.run import LIVE, Run, store_dir
from genrecore.store.status import FINAL, STATUS
from genrecore.words import percent

if TYPE_CHECKING:
    import pandas as pd

SENT = "alerts.json"  # in the run's folder: what was posted
TIMEOUT_S = 4.0
NOT_A_NUMBER = r"became -?(nan|inf)"  # in the reason of a run whose loss overflowed
_LEAST_EPOCHS = 10  # without a better score, before that counts as no progress
_RECENT_S = 3600.0  # what happened longer ago is no news


@dataclass(frozen=True)
class Alert:
    """One event of a run."""

    key: str  # names it within its run; the same event has the same key at every look
    kind: str  # done, failed, lost, stalled, not a number, divergence or no progress
    words: str  # a sentence
    at: float  # in seconds since 1970

    @property
    def is_good(self) -> bool:
        """Whether nobody has to do anything about it."""
        return self.kind == "done"


def find_alerts(run: Run) -> list[Alert]:
    """The alerts of a run at this moment, the most important first."""
    state, status = run.state, run.status
    at = float(status.get("finished_at") or status.get("heartbeat") or 0.0)
    if state == "done":
        return [Alert(f"done {at:.0f}", "done", _done(run), at)]
    if state == "failed":
        kind = "not a number" if re.search(NOT_A_NUMBER, run.reason) else "failed"
        return [Alert(f"{kind} {at:.0f}", kind, run.reason or "It failed.", at)]
    if state == "lost":
        return [Alert(f"lost {at:.0f}", "lost", run.reason, at)]
    if state not in LIVE:
        return []
    alerts = _from_history(run, at)
    if state == "stalled":
        words = "Its process lives but has not reported for a while."
        alerts.insert(0, Alert(f"stalled {at:.0f}", "stalled", words, at))
    return alerts


def _done(run: Run) -> str:
    best = run.status.get("best_valid_accuracy")
    words = f"Done after {int(run.status.get('epoch') or 0)} epochs"
    if best is not None:
        words += f", best validation accuracy {percent(best)}"
        words += f" in epoch {run.status.get('best_epoch')}"
    return f"{words}. {run.reason[:1].upper()}{run.reason[1:]}".strip()


def _from_history(run: Run, at: float) -> list[Alert]:
    history = run.history
    if len(history) < 2 or "train_loss" not in history:
        return []
    losses = history["train_loss"].astype(float)
    epochs = history["epoch"].astype(int)
    if losses.isna().any():
        epoch = int(epochs[losses.isna()].iloc[0])
        words = f"The training loss is not a number since epoch {epoch}."
        return [Alert(f"not a number {epoch}", "not a number", words, at)]
    return [*_divergence(epochs, losses, at), *_no_progress(run, history, at)]


def _divergence(epochs: pd.Series, losses: pd.Series, at: float) -> list[Alert]:
    """Three epochs in a row above twice the lowest loss that also lost a quarter of the gain since
    the first epoch: a loss near zero may double without meaning anything."""
    at_lowest = int(losses.argmin())
    lowest, recent = float(losses.iloc[at_lowest]), losses.iloc[at_lowest + 1 :].tail(3)
    limit = max(2 * lowest, lowest + 0.25 * (float(losses.iloc[0]) - lowest))
    if len(recent) < 3 or float(recent.min()) <= limit:
        return []
    best, last = int(epochs.iloc[at_lowest]), int(epochs.iloc[-1])
    words = (
        f"The training loss diverges: {losses.iloc[-1]:.3g} in epoch {last}, after {lowest:.3g} in "
        f"epoch {best}. A lower learning rate may help."
    )
    return [Alert(f"divergence {best}", "divergence", words, at)]


def _no_progress(run: Run, history: pd.DataFrame, at: float) -> list[Alert]:
    best, last = int(run.status.get("best_epoch") or 0), int(history["epoch"].iloc[-1])
    score = run.status.get("best_valid_accuracy")
    if not best or score is None:  # there is no validation
        return []
    if last - best < max(_LEAST_EPOCHS, -(-run.n_epochs // 4)):
        return []
    words = (
        f"No better validation score for {last - best} epochs; the best is {percent(score)} "
        f"in epoch {best}. Stopping and keeping the best saves the rest."
    )
    return [Alert(f"no progress {best}", "no progress", words, at)]


def webhook(store: Path | None = None) -> str:
    """The address that alerts are posted to; empty where none is set."""
    return str(settings.read(store or store_dir()).get("webhook") or "")


def set_webhook(url: str, store: Path | None = None) -> str:
    """Sets the address in the store's `settings.json` (empty: none); returns a sentence.

    Raises:
        UsageError: It is no http or https address.
        GenrecoreError: The store cannot be written.
    """
    url, store = url.strip(), store or store_dir()
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise UsageError(
            "A webhook is an address that begins with http:// or https:// and names a host."
        )
    settings.change(store, "The webhook", webhook=url or None)  # read by its owner alone
    return f"Alerts are posted to {parts.hostname}." if url else "Alerts are posted nowhere."


def notify(url: str, run: Run, alert: Alert) -> str:
    """Posts one alert as JSON; returns an empty text, or why it did not arrive. Never raises.

    `text` and `content` hold the whole sentence, as Slack, Mattermost and Discord read it. Paths
    are cut to their last part; of the configuration only the names are sent.
    """
    words, best = _without_paths(alert.words), run.status.get("best_valid_accuracy")
    text = f"{run.title}: {words}"
    return _post(
        url,
        {
            "text": text,
            "content": text,
            "kind": alert.kind,
            "words": words,
            "run": run.run_id,
            "title": run.title,
            "state": run.state,
            "epoch": int(run.status.get("epoch") or 0),
            "best_valid_accuracy": None if best is None or best != best else float(best),
            "at": alert.at,
        },
    )


def try_out(url: str) -> str:
    """Posts a test message; returns an empty text, or why it did not arrive. Never raises."""
    words = "genrecore: this is a test of the webhook."
    return _post(url, {"text": words, "content": words, "kind": "test"})


def _without_paths(text: str) -> str:
    return re.sub(r"(?<![\w/])(?:~|[A-Za-z]:)?(?:[/\\]([^\s/\\,;:'\")]+))+", r"…/\1", text)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An alert goes to the address that was set and to no other."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        return None


def _post(url: str, payload: dict[str, Any]) -> str:
    """Why it failed, without the address: it is a password; empty where it did not."""
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            return "It is no http or https address."
        request = urllib.request.Request(
            url,
            json.dumps(payload, ensure_ascii=False).encode(),
            {"Content-Type": "application/json", "User-Agent": f"genrecore/{__version__}"},
            method="POST",
        )
        urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        return f"The receiver answered {error.code}."
    except Exception as error:  # whatever it is, a run must not suffer from it
        if isinstance(error, TimeoutError) or "timed out" in str(error):
            return f"The receiver did not answer within {TIMEOUT_S:g} s."
        return "The receiver cannot be reached."
    return ""


_seen: dict[str, tuple[Any, ...]] = {}  # the state and epoch of a run at the last look


def look(run: Run) -> None:
    """Posts what is new about a run (a fresh snapshot) once, and remembers it in the run's folder.

    Cheap when nothing changed, and it does not wait: posts go out in a thread of their own, which
    the process waits for when it ends. What happened more than an hour ago is remembered without
    being posted, so that setting a webhook does not bring up the past. Never raises.
    """
    with contextlib.suppress(Exception):
        url = webhook(run.folder.parent)
        if url:
            _look(run, url)


def _look(run: Run, url: str) -> None:
    folder, written = str(run.folder), (run.folder / STATUS).stat().st_mtime_ns
    over = ("over", written)
    seen = over if run.state in FINAL else (run.state, run.status.get("epoch"))
    if _seen.get(folder) in (over, seen):
        return
    sent = read_json(run.folder / SENT).get("sent", [])
    new = [alert for alert in find_alerts(run) if alert.key not in sent]
    if new:
        # Remembered first: an alert that is lost is better than one that is posted twice.
        write_json(run.folder / SENT, {"sent": [*sent, *(alert.key for alert in new)]})
        recent = [alert for alert in new if time.time() - alert.at < _RECENT_S]
        if recent:
            threading.Thread(target=_send, args=(url, run, recent)).start()
    _seen[folder] = seen


def _send(url: str, run: Run, recent: list[Alert]) -> None:
    for alert in recent:
        if notify(url, run, alert):
            time.sleep(1.0)
            notify(url, run, alert)
