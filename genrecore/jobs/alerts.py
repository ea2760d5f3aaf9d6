"""Alerts about a run: it is done, it failed, its loss diverges, it makes no progress.

`find_alerts` computes them from the run folder; nothing has to be logged. The dashboard shows them
as toasts. If the store's `settings.json` names a webhook, the runner calls `post_new`, which posts
each alert once.
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
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs.access import visitor, work
from genrecore.store import settings
from genrecore.store.allowed import is_loopback
from genrecore.store.files import read_json, write_json
from genrecore.store.run import LIVE, Run, store_dir
from genrecore.store.status import FINAL, STATUS
from genrecore.words import percent, plural

if TYPE_CHECKING:
    import pandas as pd

SENT = "alerts.json"  # in the run's folder: what was posted
TIMEOUT_S = 4.0
NOT_A_NUMBER = r"became -?(nan|inf)"  # in the reason of a run whose loss overflowed
_LEAST_EPOCHS = 10  # without a better score until that counts as no progress
_RECENT_S = 3600.0  # older events are not posted


@dataclass(frozen=True)
class Alert:
    """One event of a run."""

    key: str  # unique within the run; the same event always has the same key
    kind: str  # done, failed, lost, stalled, not a number, divergence or no progress
    sentence: str
    at: float  # in seconds since 1970

    @property
    def is_good(self) -> bool:
        """Whether nobody has to act on it."""
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
        sentence = "Its process lives but has not reported for a while."
        alerts.insert(0, Alert(f"stalled {at:.0f}", "stalled", sentence, at))
    return alerts


def _done(run: Run) -> str:
    best = run.status.get("best_valid_accuracy")
    sentence, epoch = "Done", run.tested_epoch
    if epoch:
        sentence += f" after {plural(int(run.status.get('epoch') or 0), 'epoch')}"
    if best is not None:
        sentence += f", best validation accuracy {percent(best)}"
        sentence += f" in epoch {epoch}" if epoch else ""
    return f"{sentence}. {run.reason[:1].upper()}{run.reason[1:]}".strip()


def _from_history(run: Run, at: float) -> list[Alert]:
    history = run.history
    if len(history) < 2 or "train_loss" not in history:
        return []
    losses = history["train_loss"].astype(float)
    epochs = history["epoch"].astype(int)
    if losses.isna().any():
        epoch = int(epochs[losses.isna()].iloc[0])
        sentence = f"The training loss is not a number since epoch {epoch}."
        return [Alert(f"not a number {epoch}", "not a number", sentence, at)]
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
    sentence = (
        f"The training loss diverges: {losses.iloc[-1]:.3g} in epoch {last}, after {lowest:.3g} in "
        f"epoch {best}. A lower learning rate may help."
    )
    return [Alert(f"divergence {best}", "divergence", sentence, at)]


def _no_progress(run: Run, history: pd.DataFrame, at: float) -> list[Alert]:
    best, last = int(run.status.get("best_epoch") or 0), int(history["epoch"].iloc[-1])
    score = run.status.get("best_valid_accuracy")
    if not best or score is None:  # there is no validation
        return []
    if last - best < max(_LEAST_EPOCHS, -(-run.n_epochs // 4)):
        return []
    sentence = (
        f"No better validation score for {last - best} epochs; the best is {percent(score)} "
        f"in epoch {best}. Stopping and keeping the best saves the rest."
    )
    return [Alert(f"no progress {best}", "no progress", sentence, at)]


def webhook(store: Path | None = None) -> str:
    """The address that alerts are posted to; empty where none is set."""
    address = settings.read(store or store_dir()).get("webhook")
    with contextlib.suppress(ValueError):  # damaged
        if isinstance(address, str) and urlsplit(address).hostname:
            return address
    return ""


@work("set the webhook")
def set_webhook(url: str, store: Path | None = None) -> str:
    """Keeps the address in the store's `settings.json` (empty: none); returns a sentence.

    Raises:
        UsageError: It is no https address, nor an http address of this machine.
        GenrecoreError: The store cannot be written.
    """
    url, store = url.strip(), store or store_dir()
    if url and not _may_be_posted_to(url):
        raise UsageError(
            "A webhook is an address that begins with https:// and names a host; http:// only "
            "where that host is this machine, and not from outside it."
        )
    settings.change(store, "The webhook", webhook=url or None)  # only its owner can read it
    return (
        f"Alerts are posted to {urlsplit(url).hostname}." if url else "Alerts are posted nowhere."
    )


def _may_be_posted_to(url: str) -> bool:
    """Whether nobody on the way can read what is posted there, and no visitor from outside reaches
    what listens on this machine alone."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if is_loopback(host):
        return parts.scheme in ("http", "https") and not visitor().is_from_outside
    return parts.scheme == "https" and bool(host)


def notify(url: str, run: Run, alert: Alert) -> str:
    """Posts one alert as JSON; returns an empty text, or why it did not arrive.

    `text` and `content` hold the same sentence, since Slack and Mattermost read the first, Discord
    the second. Paths are cut to their last part, and no settings are sent but those in the title.
    """
    sentence, best = _without_paths(alert.sentence), run.status.get("best_valid_accuracy")
    text = f"{run.title}: {sentence}"
    return _post(
        url,
        {
            "text": text,
            "content": text,
            "kind": alert.kind,
            "words": sentence,
            "run": run.run_id,
            "title": run.title,
            "state": run.state,
            "epoch": int(run.status.get("epoch") or 0),
            "best_valid_accuracy": None if best is None or best != best else float(best),
            "at": alert.at,
        },
    )


@work("try the webhook")
def try_out(url: str) -> str:
    """Posts a test message; returns an empty text, or why it did not arrive.

    A visitor from outside learns neither why nor how soon: it would tell what listens where.

    Raises:
        GenrecoreError: The visitor may only look.
    """
    sentence, began = "genrecore: this is a test of the webhook.", time.monotonic()
    problem = _post(url, {"text": sentence, "content": sentence, "kind": "test"})
    if problem and visitor().is_from_outside:
        time.sleep(max(0.0, began + TIMEOUT_S + 1.0 - time.monotonic()))
        return "The message did not arrive."
    return problem


def _without_paths(text: str) -> str:
    return re.sub(r"(?<![\w/])(?:~|[A-Za-z]:)?(?:[/\\]([^\s/\\,;:'\")]+))+", r"…/\1", text)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Posts to the address that was set and follows no redirect to another."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        return None


def _post(url: str, payload: dict[str, Any]) -> str:
    """Why the post failed, or an empty text. The address is not named: it works as a password."""
    try:
        if not _may_be_posted_to(url):
            return "It is no https address, nor an http address of this machine."
        request = urllib.request.Request(
            url,
            json.dumps(payload, ensure_ascii=False).encode(),
            {"Content-Type": "application/json", "User-Agent": f"genrecore/{__version__}"},
            method="POST",
        )
        urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        return f"The receiver answered {error.code}."
    except Exception as error:  # no error here may end a run
        if isinstance(error, TimeoutError) or "timed out" in str(error):
            return f"The receiver did not answer within {TIMEOUT_S:g} s."
        return "The receiver cannot be reached."
    return ""


_last_looks: dict[str, tuple[Any, ...]] = {}  # state and epoch of each run at the last call


def post_new(run: Run) -> None:
    """Posts the new alerts of a run (a fresh snapshot), and notes them in its folder.

    Cheap when nothing changed, and it does not wait: a thread of its own posts, and the process
    waits for that thread only when it ends. Events of more than an hour ago are noted without being
    posted, so that setting a webhook does not post old news. Never raises.
    """
    with contextlib.suppress(Exception):
        url = webhook(run.folder.parent)
        if url:
            _post_new(run, url)


def _post_new(run: Run, url: str) -> None:
    folder, written = str(run.folder), (run.folder / STATUS).stat().st_mtime_ns
    over = ("over", written)
    current = over if run.state in FINAL else (run.state, run.status.get("epoch"))
    if _last_looks.get(folder) in (over, current):
        return
    kept = read_json(run.folder / SENT).get("sent")
    sent = kept if isinstance(kept, list) else []
    new = [alert for alert in find_alerts(run) if alert.key not in sent]
    if new:
        # Noted first: better to lose an alert than to post it twice.
        write_json(run.folder / SENT, {"sent": [*sent, *(alert.key for alert in new)]})
        recent = [alert for alert in new if time.time() - alert.at < _RECENT_S]
        if recent:
            threading.Thread(target=_send, args=(url, run, recent)).start()
    _last_looks[folder] = current


def _send(url: str, run: Run, recent: list[Alert]) -> None:
    with contextlib.suppress(GenrecoreError):  # an unreadable configuration has no title
        for alert in recent:
            if notify(url, run, alert):
                time.sleep(1.0)
                notify(url, run, alert)
