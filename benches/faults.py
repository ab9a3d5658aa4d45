#!/usr/bin/env python3
"""Each scenario of the reference service on PostgreSQL and Redis, while either of them is killed, stands
still or is slow, with a plain HTTP client, psql and redis-cli beside the load.

    cargo build --release
    python3 benches/faults.py                        twenty minutes; prints Markdown
    python3 benches/faults.py mixed-workload --fault kill-redis
    python3 benches/faults.py --list

A scenario keeps its flows and its loads; a search for a capacity becomes the rate it begins with, and a rate that the
delays on the way could not bear becomes 2000/s. Servers and
service are started here, on free ports of the loopback, in a temporary folder, and are the same for all faults
of a scenario: the service has to come out of each without a restart. The load lasts 20 s, the fault from the
5th to the 10th.

Whatever happens, this has to hold, or the script ends with 1:

- before the fault and from 5 s after its end on, no request fails; in between each failed one has a status or
  the time limit of its step, and those of the client beside the load a code, too;
- a payment that was acknowledged is there once, however often it was asked for, and so is its money;
- a client that was changed has what was acknowledged last, in the database and in what the caches answer;
- rows that were acknowledged are there, and none that nobody sent;
- afterwards no connection is out of the pool, nobody waits for one, Redis is in use, and the service is the
  process that it was, which never had more memory than F2 allows it.

Python 3.11, Linux, PostgreSQL, Redis; no packages.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import uuid
from collections import Counter
from pathlib import Path

import peers
from peers import say

ROOT = peers.HERE.parent
RELEASE = ROOT / "target" / "release"
SCENARIOS = ["clients-api", "query-mix", "read-heavy", "batch-million", "mixed-workload", "redis-outage"]
FAULTS = [f"{what}-{server}" for server in ("redis", "postgres") for what in ("kill", "pause", "slow")]
WARMUP_S, MEASURE_S = 2, 18
FROM_S, TO_S = 5, 10
# Until the last who waited has an answer, and what is away was found again.
GRACE_S = 5
SLOW_S = 0.5
# What the ways to the servers bear, which are of Python: all that the service asks of Redis goes through one.
MOST_RATE = 2000
# F2's limit, for the service through all faults of a scenario.
MEMORY_MAX_BYTES = 180e6
SECRET = os.urandom(32)
# Long enough for everything that the service itself would wait for.
PATIENCE_S = 30


def main():
    options = arguments()
    if options.list:
        print("scenarios:", *SCENARIOS, "\nfaults:", *FAULTS)
        return
    for program in ("redis-server", "redis-cli", "psql"):
        if not shutil.which(program):
            sys.exit(f"no {program}; install it: apt-get install redis-server postgresql")
    for program in (options.plimsoll, RELEASE / "refservice"):
        if not Path(program).is_file():
            sys.exit(f"no {program}; build it: cargo build --release")
    print(peers.on_servers(options.plimsoll))
    print()
    print("| scenario | fault | requests | failed before | meanwhile | after | with | payments, asked for twice | most memory | broken |")
    print("|---|---|---:|---:|---:|---:|---|---|---:|---|", flush=True)
    broken = 0
    for scenario in options.scenarios or SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="plimsoll-faults-") as folder, Stand(scenario, Path(folder)) as stand:
            for fault in options.fault or FAULTS:
                say(f"{scenario}: {fault}")
                row, faults = look(stand, fault, options.plimsoll)
                broken += len(faults)
                print("| " + " | ".join([scenario, fault, *row, "; ".join(faults) or "nothing"]) + " |", flush=True)
    sys.exit(1 if broken else 0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="scenario")
    parser.add_argument("--fault", action="append", choices=FAULTS)
    parser.add_argument("--plimsoll", default=RELEASE / "plimsoll")
    parser.add_argument("--list", action="store_true", help="say what there is")
    return parser.parse_args()


# One run ------------------------------------------------------------------------------------------------------


def look(stand, fault, program):
    """A run of the stand's scenario with a fault in it; what is shown of it, and what did not hold."""
    what, server = fault.split("-")
    stand.mark()
    with Beside(stand) as beside, tempfile.TemporaryDirectory(prefix="plimsoll-project-") as folder:
        load = Load(stand, Path(folder), program)
        start = load.begun()
        sleep_until(start + FROM_S)
        heal = stand.harm(what, server)
        sleep_until(start + TO_S)
        heal()
        kept = load.result()
    broken = beside.broken() + stand.unsettled()
    windows = [
        (window["start_ns"] / 1e9, window["failed"], peers.Histogram(window["response"]).total + window["failed"])
        for series in kept
        for request in series["requests"]
        for window in request["windows"]
    ]
    failed = [0, 0, 0]
    for at, count, _ in windows:
        # The load begins up to a second after it was announced.
        failed[0 if at < FROM_S - 1 else 2 if at >= TO_S + GRACE_S else 1] += count
    if failed[0]:
        broken.append("failures before")
    if failed[2]:
        broken.append("failures after")
    kinds = Counter()
    for series in kept:
        for request in series["requests"]:
            for kind, tally in request["errors"].items():
                if kind != "status":
                    kinds[kind] += tally["count"]
                if kind in ("closed", "connect", "protocol"):
                    broken.append(f"{request['name']}: {kind}")
            for status, count in request["statuses"].items():
                if int(status) >= 400:
                    kinds[status] += count
    broken += stand.rows_broken(kept)
    peak_bytes = stand.metric("process_peak_resident_bytes")
    if peak_bytes > MEMORY_MAX_BYTES:
        broken.append("memory")
    with_ = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) or "none"
    codes = ", ".join(sorted(beside.codes))
    return [
        f"{sum(count for _, _, count in windows):,}",
        *(f"{count:,}" for count in failed),
        with_ + (f" ({codes})" if codes else ""),
        beside.payments_line(),
        f"{peak_bytes / 2**20:.0f} MiB",
    ], broken


def sleep_until(at_s):
    time.sleep(max(0, at_s - time.monotonic()))


class Load:
    """Plimsoll with the scenario's flows and loads on the stand's service."""

    def __init__(self, stand, folder, program):
        self.folder = folder
        for path in (ROOT / "scenarios").iterdir():
            if path.suffix in (".csv", ".ndjson"):
                shutil.copy(path, folder)
        (folder / "looked-at.toml").write_text(stand.scenario_text())
        command = [program, "run", "looked-at.toml", "--format", "json", "--out", "runs"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def begun(self):
        """Waits until the load begins, and gives the time."""
        said = []
        for line in self.process.stdout:
            said.append(line.decode())
            if ": warm-up for" in said[-1]:
                return time.monotonic()
        sys.exit("plimsoll ended at once:\n" + "".join(said))

    def result(self):
        output, _ = self.process.communicate()
        files = list(self.folder.glob("runs/*.json"))
        if not files:
            sys.exit(f"plimsoll ended with {self.process.returncode} and no run:\n{output.decode()}")
        return json.loads(files[0].read_text())["measurement"]["loads"]


# The servers and the service ----------------------------------------------------------------------------------


class Stand:
    """PostgreSQL, Redis and the service as a scenario has them, the service at the far end of two ways."""

    def __init__(self, scenario, folder):
        self.path = ROOT / "scenarios" / f"{scenario}.toml"
        self.folder = folder
        plan = tomllib.loads(self.path.read_text())
        service = next(p for p in plan["process"] if p["name"] == "service" and p.get("variant", "servers") == "servers")
        self.ports = {name: peers.free_port() for name in ("postgres", "redis", "service")}
        self.ways = {name: Way(self.ports[name]) for name in ("postgres", "redis")}
        ports = {"{port}": self.ports["service"], **{f"{{{name}.port}}": way.port for name, way in self.ways.items()}}
        filled = lambda text: re.sub(r"\{[a-z.]+\}", lambda found: str(ports[found[0]]), text)
        self.command = shlex.split(filled(service["start"]))
        self.env = {name: filled(value) for name, value in service["env"].items()}
        self.env.setdefault("REFSERVICE_RATE_LIMIT", "1000000")
        self.env["REFSERVICE_PROVIDER_SECRET"] = f"whsec_{base64.b64encode(SECRET).decode()}"
        self.processes = {}
        self.log = (folder / "log").open("wb")

    def __enter__(self):
        # PostgreSQL runs as a user of its own.
        self.folder.chmod(0o755)
        script = str(ROOT / "scenarios/support/postgres.sh")
        database = str(self.folder / "postgres")
        subprocess.run([script, "init", database], check=True, stdout=self.log, stderr=self.log)
        self.commands = {
            "postgres": [script, "start", database, str(self.ports["postgres"])],
            "redis": ["redis-server", "--bind", "127.0.0.1", "--port", str(self.ports["redis"]), "--save", "",
                      "--appendonly", "no", "--dir", str(self.folder)],
        }
        try:
            for name in self.commands:
                self.start(name)
            peers.wait_until_listening(self.ports["postgres"], self.processes["postgres"])
            peers.wait_until_listening(self.ports["redis"], self.processes["redis"])
            self.processes["service"] = subprocess.Popen(
                self.command, cwd=ROOT, env={**os.environ, **self.env}, stdout=self.log, stderr=self.log)
            wait_for(lambda: self.get("/ready")[0] == 200 and self.metric("cache_l2_available") == 1, 120, "the service")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in reversed(self.processes):
            end(self.processes[name])
        for way in self.ways.values():
            way.close()
        self.log.close()

    def start(self, name):
        self.processes[name] = subprocess.Popen(self.commands[name], stdout=self.log, stderr=self.log)

    def harm(self, what, server):
        """Does it, and gives back what ends it."""
        process = self.processes[server]
        if what == "kill":
            send(process, signal.SIGKILL)
            process.wait()
            return lambda: self.start(server)
        if what == "pause":
            send(process, signal.SIGSTOP)
            return lambda: send(process, signal.SIGCONT)
        self.ways[server].delay_s = SLOW_S
        return lambda: setattr(self.ways[server], "delay_s", 0)

    def scenario_text(self):
        """The scenario with its flows and loads alone, on this service."""
        kept, keeps = [], True
        for line in self.path.read_text().splitlines():
            if header := re.match(r"\s*\[+([a-z]+)", line):
                keeps = header[1] not in ("process", "gate", "probe", "fault", "phases", "bench", "sampling")
            if keeps and not line.startswith("variants"):
                line = re.sub(r'^capacity = \{ from = ("[^"]*").*', r"open = { rate = \1, max_in_flight = 1000 }", line)
                rate = re.compile(r'(?<=^open = \{ rate = ")(\d+)(?=/s")')
                kept.append(rate.sub(lambda found: str(min(int(found[0]), MOST_RATE)), line))
        head = next(i for i, line in enumerate(kept) if line.startswith("["))
        kept.insert(head, f'url = "http://127.0.0.1:{self.ports["service"]}"\n')
        kept.append(f'\n[phases]\nwarmup = "{WARMUP_S}s"\nmeasure = "{MEASURE_S}s"\ndrain = "{PATIENCE_S}s"')
        # What is judged here is the service; the load may be late where it waits for that.
        kept.append('[generator]\nlate = "5s"\ncpu = "100%"')
        return "\n".join(kept) + "\n"

    def get(self, path):
        return ask(self.ports["service"], "GET", path)

    def metric(self, name):
        status, _, text = self.get("/metrics")
        found = re.search(rf"^{name} (\S+)$", text.decode(), re.M) if status == 200 else None
        return float(found[1]) if found else float("nan")

    def psql(self, query):
        """The answer of psql, or none where it gets no connection in two seconds or no answer in twenty."""
        command = ["psql", "-XAtq", "-h", "127.0.0.1", "-p", str(self.ports["postgres"]), "-U", "postgres", "-c", query]
        env = {**os.environ, "PGCONNECT_TIMEOUT": "2", "PGOPTIONS": "-c statement_timeout=20000"}
        return output_of(command, env)

    def redis_cli(self, *words):
        return output_of(["redis-cli", "-p", str(self.ports["redis"]), *words], os.environ)

    def mark(self):
        """Remembers how many rows there are."""
        self.records, self.money = (
            int(self.psql(f"SELECT {what} FROM {table}"))
            for what, table in (("count(*)", "records"), ("coalesce(max(id), 0)", "payments")))

    def rows_broken(self, loads):
        """What is wrong with the rows of batch-million: a thousand a post."""
        posts = [request for load in loads for request in load["requests"] if request["name"] == "post 1000 records"]
        if not posts:
            return []
        acknowledged = sum(peers.Histogram(window["response"]).total for window in posts[0]["windows"])
        failed = sum(window["failed"] for window in posts[0]["windows"])
        rows = int(self.psql("SELECT count(*) FROM records")) - self.records
        if rows % 1000:
            return [f"{rows} rows: a part of a post"]
        if not acknowledged <= rows // 1000 <= acknowledged + failed:
            return [f"{rows} rows of {acknowledged} posts that were acknowledged and {failed} in doubt"]
        return []

    def unsettled(self):
        """What is not as it was before the fault."""
        found = []
        try:
            wait_for(lambda: self.metric("pool_active") == 0 and self.metric("pool_waiting") == 0, 10, "the pool")
        except TimeoutError:
            found.append(f"{self.metric('pool_active'):.0f} connections are out of the pool, {self.metric('pool_waiting'):.0f} wait")
        try:
            wait_for(lambda: self.metric("cache_l2_available") == 1, 10, "Redis")
        except TimeoutError:
            found.append("Redis is not in use")
        if self.processes["service"].poll() is not None:
            found.append("the service has ended")
        if self.redis_cli("ping") != "PONG":
            found.append("redis-cli gets no answer")
        return found


def send(process, number):
    """To a process and all that it has started: those of PostgreSQL have sessions of their own."""
    family = [process.pid]
    for pid in family:
        family += peers.children(pid)
    for pid in family:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def end(process):
    if process.poll() is None:
        send(process, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            send(process, signal.SIGKILL)
            process.wait()


def wait_for(holds, seconds, what):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not ready after {seconds} s")
        time.sleep(0.1)


def output_of(command, env):
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=25)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class Way:
    """A proxy to a port of the loopback that can make every answer late."""

    loop = None

    def __init__(self, target):
        if Way.loop is None:
            Way.loop = asyncio.new_event_loop()
            threading.Thread(target=Way.loop.run_forever, daemon=True).start()
        self.target, self.delay_s = target, 0
        opened = asyncio.start_server(self.lead, "127.0.0.1", 0)
        self.server = asyncio.run_coroutine_threadsafe(opened, Way.loop).result()
        self.port = self.server.sockets[0].getsockname()[1]

    def close(self):
        Way.loop.call_soon_threadsafe(self.server.close)

    async def lead(self, reader, writer):
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        there = asyncio.create_task(self.pump(reader, to_server, lambda: 0))
        back = asyncio.create_task(self.pump(from_server, writer, lambda: self.delay_s))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        for end in (writer, to_server):
            end.close()

    @staticmethod
    async def pump(reader, writer, delay_s):
        """Hands on each piece when it is due: late ones stay in order, and do not hold each other up."""
        pieces = asyncio.Queue(64)

        async def take():
            try:
                while piece := await reader.read(65536):
                    await pieces.put((Way.loop.time() + delay_s(), piece))
            except OSError:
                pass
            await pieces.put((0, b""))

        taking = asyncio.create_task(take())
        try:
            while True:
                due, piece = await pieces.get()
                if not piece:
                    return
                if (left := due - Way.loop.time()) > 0:
                    await asyncio.sleep(left)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            taking.cancel()


# Beside the load ----------------------------------------------------------------------------------------------


def ask(port, method, path, body=None, headers=None):
    """The status, the headers and the body of an answer; 0 where there was none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    except OSError as error:
        return 0, {}, type(error).__name__.encode()
    finally:
        connection.close()


class Beside:
    """A client that pays twice, one that changes a client, psql and redis-cli, from before the load until after
    it."""

    def __init__(self, stand):
        self.stand, self.codes = stand, Counter()
        # By key: its id once acknowledged, and whether the provider's word was.
        self.payments, self.paid, self.slowest_s = {}, set(), 0
        self.acknowledged, self.sent, self.stale = 0, 0, []
        self.answers = Counter()
        self.over = threading.Event()
        body = json.dumps(client_body("changed 0"))
        status, _, made = ask(self.port, "POST", "/api/v1/clients", body)
        assert status == 201, (status, made)
        self.client = json.loads(made)["id"]
        tasks = (self.pay, self.change, self.watch)
        self.threads = [threading.Thread(target=task, daemon=True) for task in tasks]

    @property
    def port(self):
        return self.stand.ports["service"]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def ask(self, method, path, body=None, headers=None):
        """The status and the body; what is refused must say so in JSON."""
        status, _, answer = ask(self.port, method, path, body, headers)
        if status >= 400:
            try:
                self.codes[json.loads(answer)["error"]["code"]] += 1
            except (ValueError, KeyError, TypeError):
                self.codes[f"{status} without a code"] += 1
        elif status == 0:
            self.codes[f"no answer: {answer.decode()}"] += 1
        return status, answer

    def pay(self):
        """Asks for each payment twice at least, and lets the provider say twice that the money is there."""
        while not self.over.wait(0.1):
            key = str(uuid.uuid4())
            body = json.dumps({"tenant_id": 1, "client_id": self.client, "amount_cents": 1000, "method": "card"})
            self.payments[key] = None
            for _ in range(2):
                asked = time.monotonic()
                status, answer = self.ask("POST", "/api/v1/payments", body, {"idempotency-key": key})
                self.slowest_s = max(self.slowest_s, time.monotonic() - asked)
                if status in (200, 201):
                    self.payments[key] = json.loads(answer)["id"]
            if payment := self.payments[key]:
                said = json.dumps({"payment_id": payment, "event_id": f"event-{key}", "outcome": "succeeded"})
                for _ in range(2):
                    status, _ = self.ask("POST", f"/api/v1/payments/{payment}/callback", said, signed(said))
                    if status == 200:
                        self.paid.add(payment)

    def change(self):
        """Changes one client, and reads it."""
        path = f"/api/v1/clients/{self.client}"
        while not self.over.wait(0.1):
            self.sent += 1
            status, _ = self.ask("PUT", path, json.dumps(client_body(f"changed {self.sent}")))
            if status == 200:
                self.acknowledged = self.sent
            status, answer = self.ask("GET", path)
            if status == 200 and (seen := city_number(json.loads(answer))) < self.acknowledged:
                self.stale.append((seen, self.acknowledged))

    def watch(self):
        """psql and redis-cli, each second."""
        while not self.over.wait(1):
            for name, answer in (("psql", self.stand.psql("SELECT 1")), ("redis-cli", self.stand.redis_cli("dbsize"))):
                self.answers[name, answer is not None] += 1

    def broken(self):
        stand, found = self.stand, []
        known = {key: payment for key, payment in self.payments.items() if payment}
        rows = stand.psql(f"SELECT idempotency_key, id FROM payment_intents WHERE client_id = {self.client}").split("\n")
        there = Counter(row.split("|")[0] for row in rows if row)
        if lost := [key for key in known if not there[key]]:
            found.append(f"{len(lost)} acknowledged payments are lost")
        if double := [key for key, count in there.items() if count > 1]:
            found.append(f"{len(double)} payments are there twice")
        money = stand.psql(f"SELECT count(*) FROM payments WHERE id > {stand.money} AND client_id = {self.client}")
        succeeded = stand.psql(
            f"SELECT count(*) FROM payment_intents WHERE client_id = {self.client} AND state = 'succeeded'")
        if int(money) != int(succeeded):
            found.append(f"money moved {money} times for {succeeded} payments")
        if int(money) < len(self.paid):
            found.append(f"money moved {money} times, acknowledged were {len(self.paid)}")
        if not known or not self.paid:
            found.append("no payment was made")
        kept = city_number({"city": stand.psql(f"SELECT city FROM clients WHERE id = {self.client}")})
        _, _, answer = stand.get(f"/api/v1/clients/{self.client}")
        shown = city_number(json.loads(answer))
        if not self.acknowledged <= kept <= self.sent:
            found.append(f"the client has change {kept}; acknowledged was {self.acknowledged}")
        if shown != kept:
            found.append(f"the cache has change {shown}, the database {kept}")
        if self.stale:
            seen, acknowledged = self.stale[0]
            found.append(f"{len(self.stale)} reads were stale, the first had change {seen} after {acknowledged}")
        for name in ("psql", "redis-cli"):
            if not self.answers[name, True]:
                found.append(f"{name} never got an answer")
        untyped = [code for code in self.codes if "without a code" in code or code.startswith("no answer")]
        return found + untyped

    def payments_line(self):
        return f"{len(self.payments)} asked for, {len(self.paid)} paid, {self.slowest_s:.1f} s at most"


def client_body(city):
    return {"tenant_id": 1, "given_name": "Ada", "family_name": "Lovelace", "email": "ada@example.org",
            "city": city, "birth_date": "1990-01-31"}


def city_number(client):
    return int(client["city"].removeprefix("changed "))


def signed(body):
    """As Standard Webhooks has it."""
    name, at = str(uuid.uuid4()), str(int(time.time()))
    mac = hmac.new(SECRET, f"{name}.{at}.{body}".encode(), hashlib.sha256).digest()
    return {"webhook-id": name, "webhook-timestamp": at, "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}


if __name__ == "__main__":
    main()
