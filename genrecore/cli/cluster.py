"""`genrecore cluster`: profiles of Slurm clusters, partitions, and what the scheduler says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from genrecore.cli.options import JsonOption, add_group, switch
from genrecore.cli.output import answer, out, print_json, print_table
from genrecore.errors import GenrecoreError
from genrecore.jobs.slurm import doctor, profiles
from genrecore.jobs.slurm.check import check_profile
from genrecore.jobs.slurm.commands import Login
from genrecore.jobs.slurm.partitions import partitions
from genrecore.jobs.slurm.profiles import PLACE, Profile
from genrecore.store.run import store_dir
from genrecore.words import listed, size

commands = typer.Typer(rich_markup_mode=None)
group = add_group(commands, "cluster", "Slurm clusters: profiles, partitions, checks.")
profiles_group = typer.Typer(rich_markup_mode=None)
group.add_typer(profiles_group, name="profiles")

HostOption = Annotated[
    str, Option("--host", help="A login node, as ssh takes it; by default this machine.")
]
NameArgument = Annotated[str, Argument(help="The name of a profile.")]


def _flag(field: str, *flags: str) -> Any:
    """The option of a field of profiles."""
    info = Profile.model_fields[field]
    return Option(*(flags or (f"--{field}",)), help=f"{info.title}. {info.description}")


@profiles_group.callback(invoke_without_command=True)
def show_profiles(context: typer.Context, as_json: JsonOption = False) -> None:
    """Profiles: what a run asks of a cluster, under a name. Runs are sent with --on slurm:NAME."""
    if context.invoked_subcommand is None:
        list_profiles(as_json)


@profiles_group.command("list")
def list_profiles(as_json: JsonOption = False) -> None:
    """Every profile, and what it asks for."""
    known = profiles.profiles(store_dir()).values()
    if as_json:
        print_json([one.model_dump() | {"place": one.place} for one in known])
        return
    rows = [
        {
            "place": one.place,
            "asks for": one.in_words(),
            "more": " ".join(one.flags),
            "before the start": "; ".join(one.lines),
        }
        for one in known
    ]
    print_table(rows, "No profile yet; 'genrecore cluster profiles suggest' reads one off sinfo.")


@profiles_group.command("add")
def add_profile(
    name: Annotated[str, Argument(help="By which runs are sent there, as slurm:NAME.")],
    partition: Annotated[str, _flag("partition")] = "",
    gpus: Annotated[str, _flag("gpus")] = "",
    time: Annotated[str, _flag("time")] = "",
    cpus: Annotated[int | None, _flag("cpus")] = None,
    memory: Annotated[str, _flag("memory")] = "",
    account: Annotated[str, _flag("account")] = "",
    qos: Annotated[str, _flag("qos")] = "",
    constraint: Annotated[str, _flag("constraint")] = "",
    nodes: Annotated[int, _flag("nodes")] = 1,
    line: Annotated[list[str] | None, _flag("lines", "--line")] = None,
    flag: Annotated[list[str] | None, _flag("flags", "--flag")] = None,
    command: Annotated[str, _flag("command")] = "",
    host: Annotated[str, _flag("host")] = "",
    store: Annotated[str, _flag("store")] = "",
    requeue: Annotated[bool, _flag("requeue", "--requeue/--no-requeue")] = True,
    warn: Annotated[int, _flag("warn_s", "--warn")] = 90,
    ahead: Annotated[int, _flag("ahead")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Keep a profile, in the place of one of the same name. --line and --flag may be given several
    times; write --flag=--exclusive."""
    values = {
        "name": name, "partition": partition, "gpus": gpus, "time": time, "cpus": cpus,
        "memory": memory, "account": account, "qos": qos, "constraint": constraint, "nodes": nodes,
        "lines": line or [], "flags": flag or [], "command": command, "host": host, "store": store,
        "requeue": requeue, "warn_s": warn, "ahead": ahead,
    }  # fmt: skip
    profile = profiles.checked(values)
    sentence = profiles.keep(profile, store_dir())
    answer(as_json, profile.model_dump() | {"place": profile.place}, sentence)


@profiles_group.command("remove")
def remove_profile(name: NameArgument, as_json: JsonOption = False) -> None:
    """Forget a profile; jobs that were sent with it go on."""
    sentence = profiles.remove(name, store_dir())
    answer(as_json, {"message": sentence}, sentence)


@profiles_group.command("suggest")
def suggest_profile(
    host: HostOption = "",
    keep: Annotated[bool, switch("keep", "Keep it, under the name default.")] = False,
    as_json: JsonOption = False,
) -> None:
    """A profile for the cluster's default partition, read off sinfo, with a GPU if it has any."""
    profile = profiles.suggested(Login(host))
    sentence = f"{profile.place}: {profile.in_words()}. Keep it: --keep, or 'profiles add'."
    if keep:
        sentence = profiles.keep(profile, store_dir())
    answer(as_json, profile.model_dump() | {"place": profile.place, "kept": keep}, sentence)


@group.command("partitions")
def list_partitions(host: HostOption = "", as_json: JsonOption = False) -> None:
    """The partitions that are up, their limits, and what is idle now."""
    rows = partitions(Login(host))
    if as_json:
        print_json([vars(row) for row in rows])
        return
    print_table(
        [
            {
                "partition": f"{row.name} (default)" if row.is_default else row.name,
                "time limit": row.time,
                "nodes up": f"{row.n_up} of {row.n_nodes}",
                "CPUs idle": f"{row.idle_cpus} of {row.n_cpus}",
                "GPUs idle": f"{row.idle_gpus} of {row.n_gpus}",
                "kinds of GPU": ", ".join(row.gpu_kinds),
                "memory of a node": size(row.memory_mb * 2**20),
            }
            for row in rows
        ],
        "The cluster has no partition that is up.",
    )


@group.command("check")
def check(name: NameArgument, as_json: JsonOption = False) -> None:
    """Ask a cluster whether it would take a profile's jobs (sbatch --test-only); nothing is
    submitted. The exit code is 1 if it would not."""
    profile = profiles.find(PLACE + name.removeprefix(PLACE), store_dir())
    checked = check_profile(profile, store_dir())
    if as_json:
        print_json(vars(checked))
    if not checked.accepted:
        raise GenrecoreError(checked.sentence)
    if not as_json:
        answer(False, {}, f"{profile.place} is accepted. {checked.says}")


@group.command("doctor")
def examine_cluster(name: NameArgument, as_json: JsonOption = False) -> None:
    """Find out whether a cluster can carry out runs: commands, partition, profile, and what a job
    of a second sees of the store, its clock, locks, Python, torch and GPUs. The exit code is 1 if
    something is to be mended."""
    profile = profiles.find(PLACE + name.removeprefix(PLACE), store_dir())
    findings = []
    for finding in doctor.examine(profile, store_dir()):
        findings.append(finding)
        if not as_json:
            out.print(f"{'✓' if finding.ok else '✕'} {finding.what}: {finding.sentence}")
    if as_json:
        print_json([vars(finding) for finding in findings])
    bad = [finding.what for finding in findings if not finding.ok]
    if bad:
        raise GenrecoreError(f"To be mended before runs are sent there: {listed(bad)}.")


@group.command("probe", hidden=True)
def probe(folder: Path) -> None:
    """Write what this node sees into the folder of a probe; its job calls this."""
    doctor.answer(folder)


@group.command("poll")
def poll(
    seconds: Annotated[float, Argument(help="1 to 3,600; without it nothing changes.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """How often a scheduler is asked while one of its jobs lives: one question for all jobs."""
    sentence = profiles.set_poll_s(seconds, store_dir()) if seconds else ""
    every_s = profiles.poll_s(store_dir())
    answer(as_json, {"seconds": every_s}, sentence or profiles.poll_sentence(every_s))
