"""examples/fleet/slurm.sbatch under a real Slurm of one node, which the test starts on loopback
with a munge of its own (scripts/deps --slurm), and ends: the merged parts are as one run's.

Skipped, exit 77, where there is no Slurm, or who runs it is not root."""
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time

from common import ATTNC, SOURCE, main
from tune_fleet_test import Lists

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo"]
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
CONF = """ClusterName=attnc
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={dir}/munge.socket
CredType=cred/munge
SlurmctldPort={port}
SlurmdPort={port2}
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd.pid
SlurmctldLogFile={dir}/slurmctld.log
SlurmdLogFile={dir}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Slurm(Lists):
    def setUp(self):
        super().setUp()
        self.env["PATH"] = PATH
        self.running = []
        self.addCleanup(self.end)
        os.chmod(self.dir, 0o755)
        for name in ("state", "spool"):
            os.mkdir(self.path(name), 0o700)
        host = socket.gethostname().split(".")[0]
        port, port2 = free_ports(2)
        self.write("slurm.conf", CONF.format(host=host, user=getpass.getuser(), dir=self.dir,
                                             port=port, port2=port2, cpus=os.cpu_count()))
        self.env["SLURM_CONF"] = self.path("slurm.conf")
        self.write("munge.key", os.urandom(1024))
        os.chmod(self.path("munge.key"), 0o600)

    def start(self, *command):
        """A daemon in the foreground."""
        log = open(self.path(f"{command[0]}.out"), "w", encoding="utf-8")
        self.running.append(subprocess.Popen(command, env=self.env, cwd=self.dir, stdout=log,
                                             stderr=log, stdin=subprocess.DEVNULL))
        log.close()

    def end(self):
        for p in reversed(self.running):
            p.terminate()
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def ask(self, *command):
        return subprocess.run(command, env=self.env, cwd=self.dir, capture_output=True, text=True,
                              timeout=60)

    def logs(self):
        out = []
        for name in sorted(os.listdir(self.dir)):
            if name.endswith((".log", ".out")):
                out.append(f"== {name}\n" + self.read(name).decode(errors="replace")[-2000:])
        return "\n".join(out)

    def wait_for(self, what, is_so, seconds):
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end or any(p.poll() is not None for p in self.running):
                self.fail(f"{what}\n{self.logs()}")
            time.sleep(0.5)

    def start_all(self):
        self.start("munged", "--foreground", "--force", f"--socket={self.path('munge.socket')}",
                   f"--key-file={self.path('munge.key')}", f"--pid-file={self.path('munge.pid')}",
                   f"--log-file={self.path('munged.log')}", f"--seed-file={self.path('munge.seed')}")
        self.wait_for("no munge", lambda: os.path.exists(self.path("munge.socket")), 30)
        self.start("slurmctld", "-D", "-i")
        self.start("slurmd", "-D")
        self.wait_for("no idle node", lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T").stdout,
                      90)

    def test_job_array(self):
        self.attnc("tune", *self.args, "-q", env={"ATTNC_TUNE_DIR": self.path("one")})
        self.start_all()
        self.env.update(ATTNC=ATTNC, TUNED=self.path("tuned"))
        r = self.ask("sbatch", "--parsable", "--array=0-1", os.path.join(
            SOURCE, "examples/fleet/slurm.sbatch"), "--", *self.args)
        self.assertEqual(r.returncode, 0, r.stderr + self.logs())
        job = r.stdout.strip()
        self.wait_for("the job does not end", lambda: not self.ask(
            "squeue", "-h", "-j", job, "-t", "PENDING,RUNNING,CONFIGURING,COMPLETING").stdout, 300)
        files = [os.path.join(d, f) for folder in ("one", "tuned/0", "tuned/1")
                 for d in [self.path(folder)] for f in sorted(os.listdir(d))]
        whole = self.attnc("tune", "merge", *(f for f in files if "/one/" in f)).stdout
        parts = self.attnc("tune", "merge", *(f for f in files if "/tuned/" in f)).stdout
        self.assertEqual(len(files), 6, files)
        self.assertGreater(whole.count("\n"), 5)
        self.assertEqual(parts, whole)
        print(f"job {job} of two tasks, {whole.count(chr(10))} lines as of one run")


if __name__ == "__main__":
    missing = [p for p in PROGRAMS if not shutil.which(p, path=PATH)]
    if missing or os.geteuid() != 0:
        print("skipped:", f"no {', '.join(missing)}" if missing else "not root")
        sys.exit(77)
    main()
