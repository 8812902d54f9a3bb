"""The programs under measure, started on loopback with configurations that match each other.

Each server forwards to one private smtp-sink. Everything runs from one temporary folder and is
ended by process id. Python's standard library only.
"""

import contextlib
import json
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICK = os.sysconf("SC_CLK_TCK")
NAMES = ("ringmx", "floor", "nginx", "haproxy")


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[0]} ended with {process.returncode} at its start")
        with contextlib.closing(socket.socket()) as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args[0]} did not listen on port {port}")


def tree(pid):
    """The process and all that descend from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as children:
                    found += [int(child) for child in children.read().split()]
    return found


def cpu_seconds(pid):
    """User and system time of the tree, and of what it has reaped.

    Read from each process's CPU clock (clock_getcpuclockid(3)), which counts threads that have
    ended too: the same sum as utime + stime in /proc/PID/stat, in nanoseconds instead of ticks.
    """
    total = 0.0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~one << 3) | 2)
            with open(f"/proc/{one}/stat", encoding="utf-8", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
            total += (int(fields[13]) + int(fields[14])) / TICK
    return total


def memory_kib(pid):
    """Rss and Anonymous of the tree, from smaps_rollup: VmRSS is only approximate."""
    rss = anonymous = 0
    for one in tree(pid):
        with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith("Rss:"):
                    rss += int(line.split()[1])
                elif line.startswith("Anonymous:"):
                    anonymous += int(line.split()[1])
    return rss, anonymous


NGINX = """load_module {module};
worker_processes 1;
daemon off;
user root;
pid {folder}/nginx.pid;
error_log /dev/null info;
events {{ worker_connections 19000; }}
mail {{
  server_name mx.example.com;
  auth_http 127.0.0.1:{auth}/auth;
  proxy_buffer 256k;
  proxy_smtp_auth off;
  xclient off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    protocol smtp;
    smtp_auth none;
    smtp_client_buffer 256k;
    smtp_capabilities PIPELINING 8BITMIME;
  }}
}}
"""

# nginx's mail proxy asks an HTTP server where each session goes. It is a program of its own, so
# that its CPU is not held against nginx.
RESPONDER = """worker_processes 1;
daemon off;
user root;
pid {folder}/auth.pid;
error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{auth} backlog=4096;
    location /auth {{
      add_header Auth-Status OK;
      add_header Auth-Server 127.0.0.1;
      add_header Auth-Port {sink};
      return 200;
    }}
  }}
}}
"""

HAPROXY = """global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 10s
  timeout client 5m
  timeout server 5m
frontend smtp
  bind 127.0.0.1:{port} backlog 4096
  default_backend sink
backend sink
  server sink 127.0.0.1:{sink}
"""


def ringmx_configuration(port, sink, admin, workers):
    return {
        "hostname": "mx.example.com",
        "workers": workers,
        "listeners": [
            {"address": f"127.0.0.1:{port}", "tls": "none", "acknowledge": "backend"}
        ],
        "routes": [{"recipients": ["*"], "pool": "sink"}],
        "pools": {
            "sink": {
                "protocol": "smtp",
                "hash": "none",
                "tls": "none",
                "backends": [{"address": f"127.0.0.1:{sink}"}],
            }
        },
        "limits": {"exempt": ["127.0.0.0/8"], "message_size": "50MiB"},
        "admin": {"address": f"127.0.0.1:{admin}"},
        "log": {"level": "info", "format": "text"},
    }


class Stand:
    """A backend and the servers in front of it; a context that ends all it started."""

    def __init__(self, names, ringmx, workers=1, other=None):
        self.names = names
        self.ringmx = ringmx
        self.other = other
        self.workers = workers
        self.ports = {}
        self.processes = {}
        self.started = []
        self.folder = ""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="ringmx-macro-")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            self.sink = free_port()
            user = ["-u", "nobody"] if os.geteuid() == 0 else []
            self.launch("sink", ["smtp-sink", *user, "-m", "1000", f"127.0.0.1:{self.sink}",
                                 "4096"], self.sink)
            for name in self.names:
                getattr(self, "start_" + name)()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.started):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def launch(self, name, command, port):
        with open("/dev/null", "ab") as nowhere:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=nowhere,
                                       stderr=nowhere, cwd=self.folder)
        self.started.append(process)
        self.processes[name] = process
        self.ports[name] = port
        wait_for_port(port, process)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start_ringmx(self, name="ringmx", program=None):
        port = free_port()
        text = json.dumps(ringmx_configuration(port, self.sink, free_port(), self.workers))
        path = self.write(name + ".json", text)
        self.launch(name, [program or self.ringmx, "serve", "--config", path], port)
        time.sleep(0.5)  # the first probe of the backend

    def start_other(self):
        self.start_ringmx("other", self.other)

    def start_floor(self):
        port = free_port()
        program = os.path.join(os.path.dirname(self.ringmx), "bench", "floor", "floor_relay")
        self.launch("floor", [check_program(program), str(port), str(self.sink)], port)

    def start_nginx(self):
        port, auth = free_port(), free_port()
        module = "/usr/lib/nginx/modules/ngx_mail_module.so"
        values = {"folder": self.folder, "port": port, "auth": auth, "sink": self.sink,
                  "module": module}
        path = self.write("auth.conf", RESPONDER.format(**values))
        self.launch("auth", ["nginx", "-p", self.folder, "-e", "/dev/null", "-c", path], auth)
        path = self.write("nginx.conf", NGINX.format(**values))
        self.launch("nginx", ["nginx", "-p", self.folder, "-e", "/dev/null", "-c", path], port)

    def start_haproxy(self):
        port = free_port()
        path = self.write("haproxy.conf", HAPROXY.format(port=port, sink=self.sink))
        self.launch("haproxy", ["haproxy", "-db", "-f", path], port)

    def send(self, name, size, messages, sessions, kept, seconds=600):
        """One load by smtp-source: (CPU µs a message, messages a second)."""
        pid = self.processes[name].pid
        command = ["smtp-source", "-s", str(sessions), "-m", str(messages), "-l", str(size),
                   "-f", "sender@example.com", "-t", "user@example.com", "-M", "client.example"]
        if kept:
            command.append("-d")
        command.append(f"inet:127.0.0.1:{self.ports[name]}")
        before, start = cpu_seconds(pid), time.monotonic()
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        elapsed = time.monotonic() - start
        if done.returncode != 0 or self.processes[name].poll() is not None:
            text = done.stderr.decode(errors="replace").strip()[-300:]
            raise SystemExit(f"smtp-source through {name} ended with {done.returncode}: {text}")
        time.sleep(0.1)  # what closing costs belongs to the run
        return (cpu_seconds(pid) - before) * 1e6 / messages, messages / elapsed


def command_output(*command):
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, timeout=10, check=False, cwd=ROOT)
        return (done.stdout + done.stderr).decode(errors="replace").strip()
    return ""


def first_line(text):
    return text.splitlines()[0] if text else "unknown"


def surroundings(ringmx, names):
    """What a reader needs to judge the figures; no path of this machine."""
    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    commit = command_output("git", "rev-parse", "--short", "HEAD")
    if not commit or " " in commit or "fatal" in commit or commit == "HEAD":
        commit = "uncommitted"
    elif command_output("git", "status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    versions = {"postfix": command_output("dpkg-query", "-W", "-f", "${Version}", "postfix")
                or "unknown"}
    if "ringmx" in names:
        versions["ringmx"] = first_line(command_output(ringmx, "--version"))
    if "nginx" in names:
        versions["nginx"] = first_line(command_output("nginx", "-v")).rpartition(": ")[2]
    if "haproxy" in names:
        versions["haproxy"] = " ".join(first_line(command_output("haproxy", "-v")).split()[:3])
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "kernel": platform.release(),
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "commit": commit,
        "versions": versions,
    }


def describe(facts):
    versions = ", ".join(f"{name}: {text}" for name, text in sorted(facts["versions"].items()))
    return (f"{facts['date']}, {facts['cpu']} x {facts['cpus']}, Linux {facts['kernel']}, load "
            f"average {facts['load_average'][0]} at the start, commit {facts['commit']}; "
            f"{versions}.")


def save(folder, name, data, table):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.write("\n")
    with open(os.path.join(folder, name + ".md"), "w", encoding="utf-8") as file:
        file.write(table)
    print(table, end="")


def common_arguments(parser):
    parser.add_argument("--ringmx", default=os.path.join(ROOT, "build", "release", "ringmx"),
                        help="the program to measure")
    parser.add_argument("--results", default=os.path.join(ROOT, "bench", "results"),
                        help="folder for the JSON and the table")
    parser.add_argument("--name", help="file name in that folder, without its ending")


def check_program(path):
    if not os.access(path, os.X_OK):
        raise SystemExit(f"no program at {path}: build target ringmx, or give --ringmx")
    return os.path.abspath(path)
