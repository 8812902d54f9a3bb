"""Runs ringmx's programs for the end-to-end tests: config files, free ports, readiness, logs, metrics, and a clean end.

RINGMX_BIN       the build folder with the programs
RINGMX_SANITIZE  "address" or "thread" in such builds: figures about memory don't hold there
RINGMX_LONG=1    runs the long versions

Every gateway that a test starts is stopped by SIGTERM afterwards and must then exit 0 without a word of a sanitizer or an
assertion in its log, so each test also shows that nothing crashed. Programs are ended by their own pid only.
"""

import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from fake_backend import Backend
from smtp_client import Client

BIN = pathlib.Path(os.environ.get("RINGMX_BIN", pathlib.Path(__file__).resolve().parents[2] / "build" / "release"))
SANITIZED = bool(os.environ.get("RINGMX_SANITIZE"))
LONG = os.environ.get("RINGMX_LONG") == "1"
HOSTNAME = "mx.example.com"

_port_locks = []


def free_port():
    """A TCP port that no other test process has: below the ephemeral range, locked for the life of this process."""
    folder = pathlib.Path(tempfile.gettempdir()) / f"ringmx-e2e-ports.{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while True:
        port = random.randrange(20000, 32000)
        lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                with socket.socket(family) as probe:
                    probe.bind((host, port))
        except OSError:
            os.close(lock)
            continue
        _port_locks.append(lock)
        return port


def address(port):
    return ("127.0.0.1", port)


def wait_until(predicate, timeout=20, what="the expected state"):
    """Waits for something that becomes true; what the time limit means is: never."""
    limit = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"{what} did not come in {timeout} s")
        time.sleep(0.01)


def accepts_connections(port, host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0


class Program:
    """A running program with its output in a file."""

    def __init__(self, arguments, folder, name="program", environment=None, **options):
        self.name = name
        self.log_path = pathlib.Path(folder) / f"{name}.{random.randrange(10**9)}.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([str(argument) for argument in arguments], env={**os.environ, **(environment or {})},
                                            **{"stdout": log, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, **options})
        self.pid = self.process.pid

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def wait_log(self, pattern, timeout=20):
        return wait_until(lambda: re.search(pattern, self.log()), timeout, f"/{pattern}/ in the log of {self.name}:\n{self.log()}\n")

    def signal(self, number):
        self.process.send_signal(number)

    @contextlib.contextmanager
    def stopped(self):
        """Every thread of it has stopped, by SIGSTOP, until the end of the block."""
        def states():
            return [stat.read_text().rpartition(") ")[2][0] for stat in pathlib.Path(f"/proc/{self.pid}/task").glob("*/stat")]

        self.signal(signal.SIGSTOP)
        try:
            wait_until(lambda: set(states()) == {"T"}, what=f"a stop of {self.name}")
            yield
        finally:
            self.signal(signal.SIGCONT)

    def running(self):
        return self.process.poll() is None

    def wait(self, timeout=30):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end in {timeout} s; its log:\n{self.log()}") from None

    def stop(self, timeout=30):
        """SIGTERM, then SIGKILL when that doesn't help; gives the exit code."""
        if self.running():
            self.signal(signal.SIGTERM)
            try:
                return self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def rss_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def pool(*backends, **settings):
    """A pool of these backends (Backend objects, addresses or config objects); no TLS, no waiting for a second failure."""
    entries = []
    for backend in backends:
        if isinstance(backend, dict):
            entries.append(backend)
        else:
            entries.append({"address": getattr(backend, "address", backend)})
    return {"backends": entries, "tls": "none", **settings}


def config(pools, routes=None, listener=None, **sections):
    """A config file's content for backend mode: `pools` by name, everything routed to the first unless `routes` says otherwise."""
    first = next(iter(pools))
    return {
        "hostname": HOSTNAME,
        "workers": 1,
        "listeners": [{"address": "127.0.0.1:0", "tls": "none", "acknowledge": "backend", **(listener or {})}],
        "routes": routes if routes is not None else [{"recipients": ["*"], "pool": first}],
        "pools": pools,
        **sections,
    }


class Gateway(Program):
    """`ringmx serve` on free ports: every listener's port 0 and the admin's are replaced by free ones."""

    def __init__(self, settings, folder, environment=None, wait_ready=True, ready_statuses=(200,), **options):
        self.folder = pathlib.Path(folder)
        self.settings = json.loads(json.dumps(settings))
        self.config_path = self.folder / f"ringmx.{random.randrange(10**9)}.json"
        for listener in self.settings.get("listeners", []):
            host, _, port = listener["address"].rpartition(":")
            if port == "0":
                listener["address"] = f"{host}:{free_port()}"
        self.admin_port = free_port()
        self.settings.setdefault("admin", {}).setdefault("address", f"127.0.0.1:{self.admin_port}")
        self.admin_port = int(self.settings["admin"]["address"].rpartition(":")[2])
        self.ports = [int(listener["address"].rpartition(":")[2]) for listener in self.settings.get("listeners", [])]
        self.write_config(self.settings)
        super().__init__([BIN / "ringmx", "serve", "--config", self.config_path], folder, "ringmx", environment, **options)
        if wait_ready:
            try:
                self.wait_ready(ready_statuses)
            except BaseException:
                # Nobody else knows of it yet, so nobody else would end it.
                self.stop(5)
                raise

    def write_config(self, settings):
        self.config_path.write_text(json.dumps(settings, indent=2))

    @property
    def smtp(self):
        return address(self.ports[0])

    def wait_ready(self, statuses=(200,)):
        def ready():
            if not self.running():
                raise AssertionError(f"ringmx ended with {self.process.returncode}; its log:\n{self.log()}")
            try:
                return self.get("/readyz")[0] in statuses and all(
                    accepts_connections(int(port), host.strip("[]")) for host, _, port in
                    (listener["address"].rpartition(":") for listener in self.settings.get("listeners", [])))
            except OSError:
                return False

        wait_until(ready, 30, "a ready gateway")
        # The connections that found it ready must not count against a test's limits: each listener has seen one at least.
        wait_until(lambda: self.metric("ringmx_connections_total") >= len(self.ports) and not self.metric("ringmx_connections_open"),
                   10, "the end of the first connections")

    def get(self, path, method="GET", headers=None, body=None, port=None):
        """(status, text) of an admin request."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.admin_port, timeout=10)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8")
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def metrics(self):
        return parse_metrics(self.get("/metrics")[1])

    def metric(self, name, **labels):
        """The sum over all series of that name that carry these labels; None when there is none."""
        values = [value for (series, series_labels), value in self.metrics().items()
                  if series == name and all(dict(series_labels).get(key) == wanted for key, wanted in labels.items())]
        return sum(values) if values else None

    def wait_metric(self, name, value, **labels):
        wait_until(lambda: self.metric(name, **labels) == value, 20,
                   f"{name}{labels or ''} = {value} (it is {self.metric(name, **labels)})")

    def reload(self, settings):
        self.write_config(settings)
        self.signal(signal.SIGHUP)

    def client(self, port=None, **options):
        return Client(address(port or self.ports[0]), **options)


def parse_metrics(text):
    """{(name, ((label, value), …)): number} of the Prometheus text format; a line that is none of it is an error."""
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?', line)
        if not match:
            raise AssertionError(f"not a metric: {line!r}")
        labels = tuple(sorted((key, re.sub(r"\\(.)", lambda escape: {"n": "\n"}.get(escape.group(1), escape.group(1)), value))
                              for key, value in re.findall(r'(\w+)="((?:\\.|[^"\\])*)"', match.group(2) or "")))
        if (match.group(1), labels) in found:
            raise AssertionError(f"twice: {line!r}")
        found[match.group(1), labels] = float(match.group(3))
    return found


def run(*arguments, timeout=60, **options):
    """Runs a program to its end."""
    return subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, errors="replace", timeout=timeout,
                          **{"stdin": subprocess.DEVNULL, **options})


SIGNS_OF_A_CRASH = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehavior|runtime error:|[Aa]ssertion|terminate called")


class EndToEnd(unittest.TestCase):
    """A test with a temp folder, gateways and backends that are cleaned up, and a crash check."""

    longMessage = True
    maxDiff = 2000

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ringmx-e2e-"))
        self.programs = []
        self.addCleanup(lambda: shutil.rmtree(self.folder, ignore_errors=True))

    def backend(self, replies=None, **options):
        backend = Backend(replies, **options)
        self.addCleanup(backend.stop)
        return backend

    def gateway(self, settings, **options):
        try:
            gateway = Gateway(settings, self.folder, **options)
        except AssertionError:
            for log in self.folder.glob("ringmx*.log"):
                print(log.read_text(errors="replace")[-4000:])
            raise
        self.addCleanup(self._end, gateway)
        return gateway

    def simple(self, replies=None, listener=None, pool_settings=None, backend_options=None, **sections):
        """One backend, one pool, one gateway."""
        backend = self.backend(replies, **(backend_options or {}))
        return self.gateway(config({"main": pool(backend, **(pool_settings or {}))}, listener=listener, **sections)), backend

    def client(self, gateway, ehlo=True, **options):
        client = gateway.client(**options)
        self.addCleanup(client.close)
        if ehlo:
            client.ehlo()
        return client

    def _end(self, gateway):
        if gateway.running():
            # A second signal cuts the drain short: what this test left open is no matter.
            gateway.signal(signal.SIGTERM)
            try:
                gateway.process.wait(2)
            except subprocess.TimeoutExpired:
                gateway.signal(signal.SIGTERM)
        code = gateway.process.wait(30) if gateway.running() else gateway.process.returncode
        log = gateway.log()
        crash = SIGNS_OF_A_CRASH.search(log)
        if crash or code not in (0, 1):
            self.fail(f"ringmx ended with {code}; the end of its log:\n{log[-6000:]}")

    def in_threads(self, *functions):
        """Runs functions side by side; the first failure is raised here."""
        failures = []

        def guarded(function):
            try:
                function()
            except BaseException as error:  # noqa: B902 (an assertion in a thread must reach the test)
                failures.append(error)

        threads = [threading.Thread(target=guarded, args=(function,), daemon=True) for function in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            if thread.is_alive():
                raise AssertionError("a thread hangs")
        if failures:
            raise failures[0]
