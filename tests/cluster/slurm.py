"""A Slurm of one node on loopback: Debian's slurm-wlm, its daemons in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
SETTINGS = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,preempt_youngest_first
MinJobAge=600
KillWait=8
OverTimeLimit=0
ReturnToService=2
JobRequeue=1
SlurmctldParameters=enable_configless
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=6 OverSubscribe=NO
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF OverSubscribe=NO
"""


def missing() -> list[str]:
    """What of Slurm is not installed here, or cannot be used."""
    lacking = [program for program in NEEDED if shutil.which(program, path=search_path()) is None]
    return lacking or ([] if os.geteuid() == 0 else ["root"])


def search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """Within its ``with`` the daemons run; ``environment`` makes a process a user of it."""

    def __init__(self, cpus: int = 2) -> None:
        self.cpus = cpus
        self.daemons: list[subprocess.Popen] = []

    def __enter__(self) -> Cluster:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: sockets have short names
        os.chmod(self.folder, 0o755)
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir(mode=0o755)
        key = self.folder / "munge/key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        self.settings = self.folder / "slurm.conf"
        ports = {"ctld_port": free_port(), "slurmd_port": free_port()}
        self.settings.write_text(SETTINGS.format(folder=self.folder, host=host, cpus=self.cpus, memory=4000, **ports))
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        try:
            munge = self.folder / "munge"
            self._start(
                "munged", "--foreground", "--force", f"--socket={munge}/socket", f"--key-file={key}",
                f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
            )  # fmt: skip
            self._wait(lambda: (munge / "socket").exists(), "munged")
            self._start("slurmctld", "-D", "-f", str(self.settings))
            self._start("slurmd", "-D", "-f", str(self.settings), "-N", host)
            self._wait(lambda: "idle" in self.output("sinfo", "-h", "-o", "%T"), "slurmd")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._wait(self._is_empty, "the jobs' end", 30)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SUBMITIT"))}
        return {**own, "SLURM_CONF": str(self.settings), "PATH": search_path()}

    def output(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def jobs(self) -> list[tuple[str, str]]:
        """Id and state of every job that has not ended."""
        return [
            (i, state)
            for i, state in (line.split() for line in self.output("squeue", "-hr", "-o", "%i %T").splitlines())
        ]

    def wait_for(self, state: str, count: int = 1, seconds: float = 300) -> list[str]:
        """The ids of ``count`` jobs in ``state``, as soon as there are so many."""
        found: list[str] = []

        def enough() -> bool:
            found[:] = [job for job, now in self.jobs() if now == state]
            return len(found) >= count

        self._wait(enough, f"{count} jobs that are {state}", seconds)
        return found

    def _is_empty(self) -> bool:
        self.output("scancel", "--user=root")
        return not self.jobs()

    def _start(self, program: str, *arguments: str) -> None:
        log = open(self.folder / f"{program}.out", "wb")  # noqa: SIM115  the daemon's
        command = [shutil.which(program, path=search_path()) or program, *arguments]
        self.daemons.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))
        log.close()

    def _wait(self, condition, what: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                said = "\n".join(
                    f"{p}: {p.read_text(errors='replace')[-1500:]}" for p in self.folder.glob("*.[lo][ou][gt]")
                )
                raise TimeoutError(f"waited for {what}\n{said}")
            time.sleep(0.1)


if __name__ == "__main__":
    lacking = missing()
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError:
        lacking.append("submitit (pip install -c constraints.txt -e '.[cluster]')")
    if lacking:
        raise SystemExit(f"missing: {', '.join(lacking)} – on Debian: apt-get install slurm-wlm munge")
