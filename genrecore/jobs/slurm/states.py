"""Slurm's states and reasons, in words that people understand."""

from __future__ import annotations

WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT",
     "RESV_DEL_HOLD", "PREEMPTED"}
)  # fmt: skip
"""States of jobs that may start, a first or another time. A preempted one is requeued, or forgotten
in minutes."""
RUNNING = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)
LAUNCH_FAILED = "launch failed requeued held"
"""In the place of the reason `JobHeldUser`, where a node failed to start the job."""
BY_THE_CLUSTER = frozenset({"NODE_FAIL", "BOOT_FAIL", "TIMEOUT", "PREEMPTED", "REVOKED", ""})
"""Ends that are no fault of the run; the empty one is that of a job nobody remembers."""

_REASONS = {
    "Priority": "Jobs with a higher priority are before it.",
    "Resources": "It is next when what it asks for becomes free.",
    "BeginTime": "It may start again only after a short wait.",
    "Dependency": "It waits for another job.",
    "JobHeldUser": "It is held; on the cluster, scontrol release {job} lets it start.",
    LAUNCH_FAILED: "A node failed to start it, so the cluster holds it. It is released by itself, "
    "up to three times; after that, scontrol release {job} on the cluster lets it start.",
    "JobHeldAdmin": "It is held by an administrator.",
    "Licenses": "It waits for a licence.",
    "Reservation": "It waits for its reservation.",
    "ReqNodeNotAvail": "A node that it needs is not available now.",
    "NodeDown": "A node that it needs is down.",
    "Cleaning": "It is cleaned up after its last start.",
    "Prolog": "Its node is being prepared.",
    "JobLaunchFailure": "It could not be started on its node.",
    "OutOfMemory": "It needed more memory than its profile asks for.",
    "TimeLimit": "Its time limit came.",
    "NodeFail": "Its node failed.",
    "NonZeroExitCode": "Its script ended with an error.",
    "RaisedSignal": "It was ended by a signal.",
}
_NEVER = {
    "PartitionTimeLimit": "its time is longer than the partition allows (field time)",
    "PartitionNodeLimit": "the partition allows fewer or more nodes (field nodes)",
    "BadConstraints": "no node has what it asks for (field constraint)",
    "InvalidAccount": "the account is not known (field account)",
    "InvalidQOS": "the quality of service is not known (field qos)",
    "DependencyNeverSatisfied": "it waits for a job that failed",
    "AccountNotAllowed": "the account may not use the partition (field account)",
    "QOSNotAllowed": "the quality of service is not allowed there (field qos)",
}
_NEVER_LIMITS = ("PerJob", "MaxWallDuration")  # as in QOSMaxCpuPerJobLimit
_FIELDS = {
    "account": "account",  # before the partition: one sentence names both
    "qos": "qos",
    "time limit": "time",
    "partition": "partition",
    "memory": "memory",
    "gres": "gpus",
    "gpu": "gpus",
    "tres": "gpus",
    "feature": "constraint",
    "cpu count": "cpus",
    "node count": "nodes",
}
_LIMITS = ("MaxSubmit", "submit limit", "Resource temporarily unavailable", "Slurm temporarily")


def kind(word: str) -> str:
    """`waiting`, `running` or `ended`: what a state of Slurm means for a run."""
    if word in WAITING:
        return "waiting"
    return "running" if word in RUNNING else "ended"


def never_starts(code: str) -> bool:
    """Whether a job that waits for this reason can never start as it is."""
    return code in _NEVER or any(limit in code for limit in _NEVER_LIMITS)


def sentence(code: str, word: str, job: str) -> str:
    """Why the job of this number is in a state, from Slurm's reason and word for it; these stay in
    the sentence where they are rare ones."""
    if code in _NEVER:
        return f"It can never start: {_NEVER[code]}."
    if never_starts(code):
        return f"It can never start: it asks for more than a limit of the cluster ({code})."
    if code in _REASONS:
        return _REASONS[code].format(job=job)
    if "Limit" in code or code.startswith(("Assoc", "QOS")):
        return f"You or your account use as much as the cluster allows at a time ({code})."
    known = code or {"PENDING": "", "RUNNING": "", "COMPLETED": ""}.get(word, word)
    return f"The scheduler says {known}." if known else ""


def field(refusal: str) -> str:
    """The field of a profile that a refusal of `sbatch` concerns; empty where it names none."""
    text = refusal.lower()
    return next((name for part, name in _FIELDS.items() if part in text), "")


def field_words(name: str) -> str:
    """A field of a profile as a sentence names it; empty for none."""
    return f" (the profile's field {name})" if name else ""


def is_full(refusal: str) -> bool:
    """Whether a refusal says that the site takes no more jobs for now."""
    return any(part.lower() in refusal.lower() for part in _LIMITS)
