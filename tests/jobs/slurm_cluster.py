"""A real Slurm of a few nodes on this machine, each with one pretended GPU, and a login node behind
OpenSSH: Debian's packages slurm-wlm, munge and openssh-server, without any service of the system.

Works as root and as any other user, whose jobs alone then run. Everything listens on the address
that the machine's own name has (Debian: a loopback address; a container: its own address), for
Slurm listens nowhere else or everywhere; munge lets in whoever has this cluster's key.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import wait_for
from process_keeper import Keeper

# One worker has the cluster, and its tests come one after another.
ON_SLURM = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]
COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "sinfo", "sacct", "sacctmgr")
WITH_SBIN = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"
# With config_overrides any machine may pretend to have these nodes. Jobs that are requeued wait for
# `cred_expire` seconds (by default 120) and start 6 to 9 s later; with 1 s none starts any more.
CONFIGURATION = """
ClusterName={cluster}
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
Prolog={folder}/prolog
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
{accounting}
MpiDefault=none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=1
KillWait=5
MinJobAge=60
NodeName=DEFAULT CPUs=2 RealMemory=4000 Gres=gpu:1
{nodes}
PartitionName=DEFAULT Nodes=ALL MaxTime=01:00:00 PriorityTier=10 PreemptMode=OFF
PartitionName=debug Default=YES
PartitionName=short MaxTime=00:01:00
PartitionName=single MaxNodes=1 AllowAccounts=music
PartitionName=spare PriorityTier=1 PreemptMode=REQUEUE
"""
ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStoragePort={dbd_port}
AccountingStoragePass={folder}/munge/socket
AccountingStorageEnforce=associations,limits,qos
"""
SLURMDBD = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost={host}
DbdAddr={address}
DbdPort={dbd_port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
CommunicationParameters=NoInAddrAny
"""
LOGGED = """#!/usr/bin/env bash
printf '%s\\n' "${{EPOCHREALTIME/,/.}} {name} ${{*//$'\\n'/ }}" >>{log}
exec {program} "$@"
"""
SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
SetEnv {environment}
"""
SSH = """
Host login
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  BatchMode yes
"""


def program(name: str, package: str) -> str:
    """Where a program is, or a skip that says how to get it. CI must not skip."""
    path = shutil.which(name, path=WITH_SBIN)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing, and CI must not skip the tests of clusters")
        pytest.skip(f"no {name}: 'apt-get install {package}' lets the tests of clusters run")
    return path


def free_ports(number: int, address: str = "127.0.0.1") -> list[int]:
    """As many ports at which nothing listens, no two alike."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind((address, 0))
        return [probe.getsockname()[1] for probe in probes]


def listens(address: str, port: int) -> bool:
    """Whether a program listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


@dataclass(frozen=True)
class Call:
    """A command of the scheduler, when it was called (seconds since 1970), and its words."""

    time_s: float
    command: str
    words: str


class SlurmCluster:
    """Nodes n1, n2, … of 2 CPUs, 4 GB and one GPU, which one of the partitions `debug` (the
    default, an hour), `short` (a minute), `single` (one node, for the account `music` alone) and
    `spare` (jobs of the others take its place) all have. Every call of a command is recorded.

    Many small clusters keep no accounts. With `accounting`, by slurmdbd and a MariaDB of its own,
    sacct answers within seconds, the present user has the account `music`, and jobs for an account
    or a QoS that is unknown are refused.
    """

    def __init__(self, folder: Path, nodes: int = 2, accounting: bool = False) -> None:
        self.folder = folder
        self.names = [f"n{number}" for number in range(1, nodes + 1)]
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }
        self._daemons: dict[str, psutil.Process] = {}
        self._cluster = f"t{secrets.token_hex(4)}"
        self._write(accounting)
        self._keeper = Keeper()
        try:
            self._start_munged()
            if accounting:
                self._start_accounting()
            self.start_controller()
            for name in self.names:
                self.start_node(name)
            self.wait_until_idle()
        except BaseException:
            self.stop()
            raise

    def _write(self, accounting: bool) -> None:
        for name in ("munge", "state", "bin", *(f"spool-{name}" for name in self.names)):
            (self.folder / name).mkdir(parents=True)
        host = socket.gethostname()
        address = socket.gethostbyname(host)
        port, dbd_port, *ports = free_ports(2 + len(self.names), address)
        self._controller, self._dbd = (address, port), (address, dbd_port)
        values = {
            "host": host.split(".")[0], "address": address, "port": port, "dbd_port": dbd_port,
            "user": getpass.getuser(), "folder": self.folder, "cluster": self._cluster,
        }  # fmt: skip
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={values['host']} NodeAddr={address} Port={own}"
            for name, own in zip(self.names, ports, strict=True)
        )
        accounts = ACCOUNTING.format(**values) if accounting else ""
        configuration = CONFIGURATION.format(**values, nodes=nodes, accounting=accounts)
        (self.folder / "slurm.conf").write_text(configuration)
        dbd = self.folder / "slurmdbd.conf"
        dbd.touch(mode=0o600)
        dbd.write_text(SLURMDBD.format(**values))
        if int(self.run("slurmd", "-V").split()[1].split(".")[0]) > 22:
            # Not every container has cgroups, and older versions do without them anyway.
            (self.folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        self.let_jobs_start()
        for name in COMMANDS:
            script = self.folder / "bin" / name
            log = shlex.quote(str(self.folder / "calls"))
            script.write_text(LOGGED.format(name=name, log=log, program=program(name, "slurm-wlm")))
            script.chmod(0o755)

    def _start_munged(self) -> None:
        folder = self.folder / "munge"
        folder.chmod(0o755)
        self._daemons["munged"] = self._keeper.start(
            program("munged", "munge"), "--foreground", "--force",
            f"--key-file={self.folder / 'munge.key'}", f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}", f"--log-file={folder / 'log'}",
            f"--seed-file={folder / 'seed'}",
        )  # fmt: skip
        wait_for((folder / "socket").exists)

    def _start_accounting(self) -> None:
        data, user = self.folder / "mariadb", getpass.getuser()
        install = [
            program("mariadb-install-db", "mariadb-server"), "--no-defaults", f"--datadir={data}",
            "--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}",
            f"--user={user}", "--skip-test-db",
        ]  # fmt: skip
        subprocess.run(install, check=True, capture_output=True)
        self._daemons["mariadbd"] = self._keeper.start(
            program("mariadbd", "mariadb-server"), "--no-defaults", f"--datadir={data}",
            f"--socket={data / 'socket'}", "--skip-networking", f"--user={user}",
            f"--pid-file={data / 'pid'}", f"--log-error={data / 'log'}",
        )  # fmt: skip
        wait_for((data / "socket").exists)
        self._daemons["slurmdbd"] = self._keeper.start(
            "env", f"MYSQL_UNIX_PORT={data / 'socket'}", f"SLURM_CONF={self.folder / 'slurm.conf'}",
            program("slurmdbd", "slurmdbd"), "-D",
        )  # fmt: skip
        wait_for(lambda: listens(*self._dbd), most_s=60)
        for words in (["cluster", self._cluster], ["account", "music"],
                      ["user", user, "account=music"]):  # fmt: skip
            self.run("sacctmgr", "--immediate", "add", *words)

    def run(self, *words: str | Path) -> str:
        """What a command says; fails where it does. It is not recorded."""
        path = program(str(words[0]), "slurm-wlm")
        done = subprocess.run(
            [path, *words[1:]], env=os.environ | self.environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def calls(self) -> list[Call]:
        """The commands that were called from outside, in order."""
        log = self.folder / "calls"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        parts = [line.split(" ", 2) for line in lines]
        return [Call(float(time_s), name, words) for time_s, name, words in parts]

    def jobs(self) -> dict[int, dict[str, Any]]:
        """What squeue knows of each job; also of those that ended less than a minute ago."""
        answer: dict[str, Any] = json.loads(self.run("squeue", "--states=all", "--json"))
        # Where slurmctld does not answer, older versions end well and name no jobs.
        assert not answer["errors"], answer["errors"]
        for job in answer["jobs"]:
            if isinstance(job["job_state"], list):  # newer versions, the job's own state first
                job["job_state"] = job["job_state"][0]
        return {job["job_id"]: job for job in answer["jobs"]}

    def node_states(self) -> dict[str, str]:
        """For each node one of sinfo's words: idle, mixed, allocated, down, drained, …"""
        lines = self.run("sinfo", "--Node", "--noheader", "--format=%N %T").splitlines()
        return {name: re.sub(r"\W", "", state) for name, state in map(str.split, lines)}

    def wait_until_idle(self, most_s: float = 30.0) -> None:
        """Returns once no node has a job or is down; fails when that does not happen in time."""
        wait_for(lambda: set(self.node_states().values()) == {"idle"}, most_s)

    def start_controller(self) -> None:
        """Starts slurmctld with the jobs it last saved, and returns when it answers."""
        self._daemons["slurmctld"] = self._keeper.start(
            program("slurmctld", "slurm-wlm"), "-D", "-f", self.folder / "slurm.conf"
        )
        wait_for(self._controller_answers)

    def _controller_answers(self) -> bool:
        log = self.folder / "slurmctld.log"
        assert self._daemons["slurmctld"].is_running(), log.read_text()
        return listens(*self._controller)

    def save(self, job_id: int) -> None:
        """Returns once slurmctld has saved its jobs, as it does up to 5 s after any change; here
        of one that lives, in which nothing changes."""
        since_s = time.time()
        self.run("scontrol", "update", f"JobId={job_id}", "Requeue=1")
        state = self.folder / "state" / "job_state"
        wait_for(lambda: state.exists() and state.stat().st_mtime > since_s)

    def kill_controller(self) -> None:
        """SIGKILL: jobs and their ends that slurmctld has not saved are lost, and the next jobs
        get the same numbers once more."""
        self._kill("slurmctld")

    def start_node(self, name: str) -> None:
        """Starts a node's slurmd, which finds the jobs that live on."""
        self._daemons[name] = self._keeper.start(
            program("slurmd", "slurm-wlm"), "-D", "-f", self.folder / "slurm.conf", "-N", name
        )

    def kill_node(self, name: str) -> None:
        """SIGKILL for a node's slurmd alone: its jobs live on."""
        self._kill(name)

    def _kill(self, daemon: str) -> None:
        process = self._daemons.pop(daemon)
        process.kill()
        wait_for(lambda: not process.is_running())

    def set_node_down(self, name: str) -> None:
        """The node's jobs are queued again, and it gets no others until it is resumed."""
        self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")

    def resume_node(self, name: str) -> None:
        """The node may have jobs again, once its slurmd lives."""
        self.run("scontrol", "update", f"NodeName={name}", "State=RESUME")

    def let_jobs_start(self, times_to_fail: int = 0) -> None:
        """Nodes start jobs, after they have failed to so often: each time the job is held, and the
        node gets no others until it is resumed."""
        left, prolog = self.folder / "left_to_fail", self.folder / "prolog"
        left.write_text("x\n" * times_to_fail)
        prolog.write_text(f"#!/bin/sh\nif [ -s {left} ]; then sed -i 1d {left}; exit 1; fi\n")
        prolog.chmod(0o755)

    def job_processes(self) -> list[psutil.Process]:
        """Every process of every job, also of those that the scheduler has forgotten."""
        daemons = {process.pid for process in self._daemons.values()}
        processes = []
        for child in self._keeper.children():
            if child.pid not in daemons:
                with contextlib.suppress(psutil.NoSuchProcess):
                    processes += [child, *child.children(recursive=True)]
        return processes

    def cancel_all(self) -> None:
        """Ends all jobs without their having a say, also those that the scheduler has forgotten,
        and returns when none of their processes is left."""
        self.run("scancel", f"--user={getpass.getuser()}")
        wait_for(self._kill_jobs)

    def _kill_jobs(self) -> bool:
        processes = self.job_processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return not processes

    def restore(self) -> None:
        """Everything is as in the beginning: no jobs, and all nodes idle."""
        if "slurmctld" not in self._daemons:
            self.start_controller()
        self.cancel_all()
        self.let_jobs_start()
        for name in self.names:
            if name not in self._daemons:
                self.start_node(name)
        for name, state in self.node_states().items():
            if state in ("down", "drained", "draining"):
                self.resume_node(name)
        self.wait_until_idle()

    def stop(self) -> None:
        """Kills all processes that the cluster started or that its jobs left behind."""
        self._keeper.stop()


class LoginNode:
    """sshd on loopback for the present user, who finds the cluster's commands there:
    `ssh -F CONFIG login sinfo`."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True)
        self.config = folder / "config"
        self._keeper = Keeper()
        sshd = program("sshd", "openssh-server")
        keygen = program("ssh-keygen", "openssh-client")
        for name in ("key", "host_key"):
            words = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(words, check=True)
        (port,) = free_ports(1)
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
        variables = " ".join(f'"{name}={value}"' for name, value in environment.items())
        (folder / "sshd_config").write_text(
            SSHD.format(port=port, folder=folder, environment=variables)
        )
        self.config.write_text(SSH.format(port=port, folder=folder, user=getpass.getuser()))
        if os.getuid() == 0:  # where sshd puts its own children; the system's service makes it
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._keeper.start(sshd, "-D", "-f", folder / "sshd_config", "-E", folder / "log")
        wait_for(lambda: listens("127.0.0.1", port))

    def stop(self) -> None:
        self._keeper.stop()


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """One cluster for all tests of a worker."""
    for name, package in (("slurmctld", "slurm-wlm"), ("munged", "munge")):
        program(name, package)
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.stop()


@pytest.fixture
def idle_cluster(slurm_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """The cluster with nothing to do; nothing of a test stays."""
    yield slurm_cluster
    slurm_cluster.restore()


@pytest.fixture
def slurm(idle_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """The cluster of this machine: commands that the test calls are the cluster's."""
    for name, value in idle_cluster.environment.items():
        monkeypatch.setenv(name, value)
    return idle_cluster


@pytest.fixture(scope="session")
def accounted_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """One cluster that keeps accounts for all tests of a worker."""
    if not all(shutil.which(name, path=WITH_SBIN) for name in ("slurmdbd", "mariadbd")):
        pytest.skip("no slurmdbd or MariaDB: 'apt-get install slurmdbd mariadb-server' gives both")
    for name, package in (("slurmctld", "slurm-wlm"), ("munged", "munge")):
        program(name, package)
    cluster = SlurmCluster(tmp_path_factory.mktemp("accounted"), accounting=True)
    yield cluster
    cluster.stop()


@pytest.fixture
def accounted_slurm(
    accounted_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SlurmCluster]:
    """The cluster of this machine, which keeps accounts."""
    for name, value in accounted_cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield accounted_cluster
    accounted_cluster.restore()


@pytest.fixture
def login_node(idle_cluster: SlurmCluster, tmp_path: Path) -> Iterator[LoginNode]:
    """The cluster's login node, for a machine that has no cluster of its own."""
    node = LoginNode(tmp_path / "login_node", idle_cluster.environment)
    yield node
    node.stop()
