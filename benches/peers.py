"""What `generator.py` and `stall.py` share: the target, the load generators that are installed here, and
what a run of one of them cost. Python 3.11, Linux, no packages."""

import base64
import datetime
import json
import math
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLIMSOLL = HERE.parent / "target" / "dist" / "plimsoll"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# How often /proc is looked at while a generator runs.
LOOK_S = 0.01
# nginx lies where only the administrator looks.
os.environ["PATH"] += ":/usr/sbin"


def say(text):
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def cores():
    """The core of the generator and those of everything else."""
    here = sorted(os.sched_getaffinity(0))
    if len(here) < 2:
        sys.exit("one core is too few: the generator needs one of its own, and the target another")
    return {here[-1]}, set(here[:-1])


def raise_open_files():
    """Each connection is an open file of the target, too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# The target ---------------------------------------------------------------------------------------------

NGINX = """\
daemon off;
worker_processes {workers};
worker_rlimit_nofile 65536;
error_log stderr crit;
pid {folder}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/body;
    {temporary}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type text/plain; return 200 "{body}"; }}
    }}
}}
"""


class Target:
    """A server that answers with 200 bytes, on its own cores, and stands still for `stall_ms` of every `every_ms`;
    `with Target(...) as target: target.url`."""

    def __init__(self, kind, on, stall_ms=0, every_ms=0):
        self.kind, self.on = kind, on
        self.stall_ms, self.every_ms = stall_ms, every_ms

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="plimsoll-target-")
        start = self._nginx if self.kind == "nginx" else self._own
        self.process, port = start(Path(self.folder.name))
        self.started_at = time.monotonic()
        # Our own server stands still by itself.
        self.stopper = None
        if self.stall_ms and self.kind == "nginx":
            self.stopper = Stopper(children(self.process.pid), self.stall_ms / 1e3, self.every_ms / 1e3)
        self.url = f"http://127.0.0.1:{port}/"
        return self

    def __exit__(self, *_):
        if self.stopper:
            self.stopper.end()
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    def _nginx(self, folder):
        built = subprocess.run(["nginx", "-V"], capture_output=True, text=True).stderr
        parts = [part for part in ("proxy", "fastcgi", "uwsgi", "scgi") if f"--without-http_{part}_module" not in built]
        port = free_port()
        text = NGINX.format(
            workers=len(self.on),
            folder=folder,
            temporary=" ".join(f"{part}_temp_path {folder}/{part};" for part in parts),
            port=port,
            body="x" * 200,
        )
        (folder / "nginx.conf").write_text(text)
        command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        process = subprocess.Popen(command, preexec_fn=pinned(self.on))
        wait_until_listening(port, process)
        return process, port

    def _own(self, folder):
        server = folder / "server"
        subprocess.run(["rustc", "--edition", "2024", "-O", "-o", server, HERE / "server.rs"], check=True)
        stalls = [str(self.stall_ms), str(self.every_ms)] if self.stall_ms else []
        command = [server, *stalls]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(self.on))
        return process, int(process.stdout.readline())


class Stopper(threading.Thread):
    """Stops processes now and then, as a long pause of theirs would; the kernel still accepts their connections."""

    def __init__(self, pids, stall_s, every_s):
        super().__init__(daemon=True)
        self.pids, self.stall_s, self.every_s = pids, stall_s, every_s
        self.ended = threading.Event()
        # How long they really stood still each time, in s.
        self.stood_still_s = []
        self.start()

    def run(self):
        next_at = time.monotonic()
        while not self.ended.wait(max(0, next_at - time.monotonic())):
            began = time.monotonic()
            self.send(signal.SIGSTOP)
            self.ended.wait(next_at + self.stall_s - time.monotonic())
            self.send(signal.SIGCONT)
            self.stood_still_s.append(time.monotonic() - began)
            next_at += self.every_s

    def send(self, what):
        for pid in self.pids:
            os.kill(pid, what)

    def end(self):
        """Leaves none of them stopped."""
        self.ended.set()
        self.join()


def target_kind(asked):
    """The kind of target that was asked for, or nginx where it is installed."""
    return asked or ("nginx" if shutil.which("nginx") else "own")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until_listening(port, process):
    for _ in range(500):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.01)
    sys.exit("the target did not start")


def pinned(on):
    """For a child that is about to be executed: it stays on these cores."""
    return lambda: os.sched_setaffinity(0, on)


# What a run costs -----------------------------------------------------------------------------------------


@dataclass
class Run:
    """One run of a generator with all its processes."""

    code: int
    stdout: str
    stderr: str
    # Processor time of all its processes.
    user_s: float
    system_s: float
    # The largest resident memory of any of its processes.
    peak_bytes: int
    # The worker of plimsoll alone, at the last look.
    worker: "Looks"


@dataclass
class Looks:
    """What was seen of one process while it ran."""

    user_s: float = 0.0
    system_s: float = 0.0
    peak_bytes: int = 0
    # Processor time when it had opened its first hundred files: its connections.
    before_load_s: float = 0.0
    most_files: int = 0

    def look(self, pid, counts_files):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            status = Path(f"/proc/{pid}/status").read_text()
            files = len(os.listdir(f"/proc/{pid}/fd")) if counts_files else 0
        except OSError:
            return
        # Fields 14 and 15 of proc(5); the split began after the second.
        user_s, system_s = int(stat[11]) / TICKS_PER_S, int(stat[12]) / TICKS_PER_S
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        if not peak:
            # It has ended, and only its parent has not noticed.
            return
        self.user_s, self.system_s = user_s, system_s
        self.peak_bytes = max(self.peak_bytes, int(peak[1]) * 1024)
        self.most_files = max(self.most_files, files)
        if self.most_files < 100:
            self.before_load_s = user_s + system_s


# Prints the ns between two looks at the clock where they are many.
LOOKS = """
import sys, time
clock = time.perf_counter_ns
before = clock()
end = before + int(sys.argv[1]) * 10**9
while before < end:
    now = clock()
    if now - before > 20_000:
        print(now - before)
    before = now
"""


def lateness_of_the_machine(on, others, seconds):
    """How late something that is due now and then is for a program on the core `on` that does nothing but look at
    the clock, while the others are busy as well: in ns, by quantile. Nothing on this machine is more punctual."""
    looking = [sys.executable, "-c", LOOKS, str(seconds)]
    busy = [subprocess.Popen(looking, stdout=subprocess.DEVNULL, preexec_fn=pinned({core})) for core in others]
    found = subprocess.run(looking, stdout=subprocess.PIPE, text=True, check=True, preexec_fn=pinned(on))
    for process in busy:
        process.wait()
    pauses = [int(line) for line in found.stdout.split()]

    def quantile_ns(quantile):
        # What is due at any time of a pause waits for its end.
        allowed = (1 - quantile) * seconds * 1e9
        low, high = 0, max(pauses, default=0)
        while high - low > 1000:
            middle = (low + high) / 2
            is_late = sum(pause - middle for pause in pauses if pause > middle) > allowed
            low, high = (middle, high) if is_late else (low, middle)
        return high

    return quantile_ns


def children(pid):
    """The children of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            pass
    return found


def is_worker(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:2] == [b"load-worker"]
    except OSError:
        return False


def run(command, on, cwd=None, counts_files=False):
    """Runs a command on these cores to its end, and says what it cost."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        own_peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        process = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, preexec_fn=pinned(on)
        )
        first, worker, worker_pid = Looks(), Looks(), None
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            first.look(process.pid, False)
            worker_pid = worker_pid or next(filter(is_worker, children(process.pid)), None)
            if worker_pid:
                worker.look(worker_pid, counts_files)
            time.sleep(LOOK_S)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        # The kernel counts what the child was before it became the command: this script. Where that was
        # larger, what was seen has to do.
        rusage_bytes = usage.ru_maxrss * 1024
        seen_bytes = max(first.peak_bytes, worker.peak_bytes)
        peak_bytes = rusage_bytes if rusage_bytes > own_peak_bytes * 1.1 else seen_bytes
        return Run(
            process.returncode,
            stdout.read(),
            stderr.read(),
            usage.ru_utime,
            usage.ru_stime,
            peak_bytes,
            worker,
        )


# The generators ---------------------------------------------------------------------------------------------


def version(program, *words):
    said = subprocess.run([program, *words], capture_output=True, text=True)
    lines = (said.stdout + said.stderr).strip().splitlines()
    return lines[0].strip() if lines else program


class Wrk:
    name, install = "wrk", "apt-get install wrk"

    def version(self):
        return " ".join(version("wrk", "-v").split()[:2])

    def closed(self, url, connections, seconds):
        return ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url]

    open = None

    def requests(self, stdout):
        return int(re.search(r"(\d+) requests in", stdout)[1])


class Oha:
    name, install = "oha", "cargo install oha"

    def version(self):
        return version("oha", "--version")

    def __init__(self):
        said = subprocess.run(["oha", "--help"], capture_output=True, text=True).stdout if shutil.which("oha") else ""
        self.json = ["--output-format", "json"] if "--output-format" in said else ["-j"]

    def closed(self, url, connections, seconds):
        return ["oha", "--no-tui", *self.json, f"-c{connections}", f"-z{seconds}s", url]

    def open(self, url, connections, rate, seconds, corrected=True):
        correction = ["--latency-correction"] if corrected else []
        return [*self.closed(url, connections, seconds)[:-1], f"-q{rate}", *correction, url]

    def requests(self, stdout):
        return sum(json.loads(stdout)["statusCodeDistribution"].values())

    def quantile_ms(self, stdout, quantile):
        name = f"p{quantile * 100:.10g}"
        return json.loads(stdout)["latencyPercentiles"][name] * 1e3


class Hey:
    name, install = "hey", "apt-get install hey"

    def version(self):
        return "hey " + debian_version("hey")

    def closed(self, url, connections, seconds):
        return ["hey", f"-c={connections}", f"-z={seconds}s", url]

    def open(self, url, connections, rate, seconds):
        # Its rate is that of each connection.
        return [*self.closed(url, connections, seconds)[:-1], f"-q={rate / connections:.10g}", url]

    def requests(self, stdout):
        # Its distribution of statuses ends at a million.
        seconds = float(re.search(r"Total:\s+([\d.]+) secs", stdout)[1])
        return round(float(re.search(r"Requests/sec:\s+([\d.]+)", stdout)[1]) * seconds)


class Wrk2:
    name = "wrk2"
    install = "git clone https://github.com/giltene/wrk2 && make -C wrk2 && cp wrk2/wrk /usr/local/bin/wrk2"

    def version(self):
        return " ".join(["wrk2", *version("wrk2", "-v").split()[1:2]])

    def open(self, url, connections, rate, seconds):
        # It calibrates itself for ten seconds, of which it keeps nothing.
        return ["wrk2", "-t1", f"-c{connections}", f"-d{seconds + 10}s", f"-R{rate}", "--latency", url]

    def quantile_ms(self, stdout, quantile):
        # The rows of its spectrum: value in ms, quantile, count, 1/(1-quantile).
        rows = re.findall(r"^\s+([\d.]+)\s+([01]\.\d+)\s+\d+\s+(?:[\d.]+|inf)$", stdout, re.MULTILINE)
        return next(float(value) for value, at in rows if float(at) >= quantile)


def debian_version(package):
    said = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
    return said.stdout if said.returncode == 0 else ""


def installed(tools):
    """Those that are here; of the others it says how they are installed."""
    found = []
    for tool in tools:
        if shutil.which(tool.name):
            found.append(tool)
        else:
            say(f"{tool.name} is not here and left out; to have it: {tool.install}")
    return found


# Plimsoll -----------------------------------------------------------------------------------------------------

SCENARIO = """\
schema = 1
name = "measured"
url = "{url}"
[[flow.get.step]]
get = "/"
check = {{ status = 200 }}
{step}
[load.main]
{load}
[phases]
warmup = "{warmup_s}s"
measure = "{seconds}s"
[generator]
late = "1s"
cpu = "100%"
"""


@dataclass
class Measured:
    """A run of plimsoll: what it cost, and what it measured."""

    cost: Run
    load: dict = field(repr=False)
    invalid: list

    def requests(self):
        """All that ended well, in all phases: the processor time is that of all phases, too."""
        return sum(window["counts"]["completed"] for window in self.load["windows"])

    def quantile_ms(self, quantile):
        series = self.load["requests"][0]["response"]
        return Histogram(series["ok"]).quantile_ns(quantile) / 1e6


def plimsoll(program, on, url, load, seconds, warmup_s=1, step="", counts_files=False):
    """Makes one run of a scenario with one load on these cores."""
    with tempfile.TemporaryDirectory(prefix="plimsoll-project-") as folder:
        folder = Path(folder)
        text = SCENARIO.format(url=url.rstrip("/"), load=load, seconds=seconds, warmup_s=warmup_s, step=step)
        (folder / "measured.toml").write_text(text)
        command = [program, "run", "measured.toml", "--format", "json", "--out", "runs"]
        cost = run(command, on, cwd=folder, counts_files=counts_files)
        files = list(folder.glob("runs/*.json"))
        if not files:
            sys.exit(f"plimsoll ended with {cost.code} and no run:\n{cost.stdout}{cost.stderr}")
        kept = json.loads(files[0].read_text())
    load = kept["measurement"]["loads"][0]
    if len(load["shards"]) != 1:
        sys.exit(f"plimsoll used {len(load['shards'])} workers on one core")
    return Measured(cost, load, kept["invalid"])


class Histogram:
    """The HDR "V2" encoding of a run's histograms: 40 bytes of header, then zigzag numbers in LEB128, each a
    count, or negative so many empty slots."""

    def __init__(self, text):
        packed = base64.b64decode(text)
        digits = int.from_bytes(packed[12:16], "big")
        lowest = int.from_bytes(packed[16:24], "big")
        # Of HdrHistogram: slots are `2^unit` wide at first, and twice as wide in every further half.
        self.unit = lowest.bit_length() - 1
        self.half = (2 * 10**digits - 1).bit_length() - 1
        self.counts, slot = {}, 0
        for number in numbers(packed[40:]):
            if number < 0:
                slot -= number
            else:
                self.counts[slot] = number
                slot += 1
        self.total = sum(self.counts.values())

    def quantile_ns(self, quantile):
        """The largest latency of the slot in which the quantile lies; None where nothing was counted."""
        wanted, seen = max(1, math.ceil(quantile * self.total)), 0
        for slot, count in self.counts.items():
            seen += count
            if seen >= wanted:
                return self.highest_ns(slot)
        return None

    def highest_ns(self, slot):
        bucket, within = (slot >> self.half) - 1, (slot & ((1 << self.half) - 1)) + (1 << self.half)
        if bucket < 0:
            bucket, within = 0, within - (1 << self.half)
        return ((within + 1) << (bucket + self.unit)) - 1


def numbers(packed):
    """Zigzag numbers in LEB128 of at most nine bytes, the last of which has eight bits."""
    at = 0
    while at < len(packed):
        value, shift = 0, 0
        for nth in range(9):
            byte = packed[at]
            at += 1
            if nth == 8:
                value |= byte << shift
                break
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield (value >> 1) ^ -(value & 1)


# The head of what is printed ------------------------------------------------------------------------------------


def machine():
    """The machine in a line."""
    cpu = re.search(r"model name\s+: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    parts = [
        cpu[1] if cpu else os.uname().machine,
        f"{os.cpu_count()} processors",
        f"{int(memory[1]) / 2**20:.0f} GiB",
        f"Linux {os.uname().release}",
    ]
    if "hypervisor" in Path("/proc/cpuinfo").read_text():
        parts.append("virtual")
    return ", ".join(parts)


def revision(program):
    """The version of plimsoll and of its source."""
    git = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return " ".join([version(program, "--version"), f"({git.stdout.strip()})" if git.returncode == 0 else ""]).strip()


def on_servers(program):
    """The day, the machine, plimsoll and the servers of the service, in a line."""
    versions = [version("psql", "--version"), version("redis-server", "--version").split(" sha")[0]]
    return f"{datetime.date.today()}: {machine()}; {', '.join([revision(program), *versions])}"


def target_version(kind):
    return version("nginx", "-v").removeprefix("nginx version: ") if kind == "nginx" else "benches/server.rs"


def needs_plimsoll(program):
    if not Path(program).is_file():
        sys.exit(f"no {program}; build it: cargo build --profile dist --bin plimsoll --no-default-features")
    return Path(program).resolve()
