"""Programs that a measurement starts, and what the kernel says of them: CPU time and memory.

Everything started here is ended here, by its own process id.
"""

import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from failed import Failed

TICK = os.sysconf("SC_CLK_TCK")


given_ports = set()


def free_port():
    """A port that nothing listens at and this program has not given out before. It is below those
    that the kernel takes for outgoing connections: between now and its use none can take it."""
    while True:
        port = random.randrange(10000, 32000)
        with contextlib.closing(socket.socket()) as probe:
            if port not in given_ports:
                with contextlib.suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    given_ports.add(port)
                    return port


def program(name):
    """The path of a program that may be outside PATH, None if it is not there."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


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
        with contextlib.suppress(OSError):  # one that has just ended
            with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as rollup:
                for line in rollup:
                    if line.startswith("Rss:"):
                        rss += int(line.split()[1])
                    elif line.startswith("Anonymous:"):
                        anonymous += int(line.split()[1])
    return rss, anonymous


class Processes:
    """A context with a folder of its own; ends what was launched in it, last first."""

    def __init__(self, scratch=None):
        self.scratch = scratch
        self.started = []
        self.folder = ""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="ringmx-macro-", dir=self.scratch)
        os.chmod(self.folder, 0o755)  # peers that run as users of their own look into it
        # Asked to end, it unwinds and so ends what it has started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            self.end(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def end(process):
        with contextlib.suppress(OSError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def launch(self, command, port=None, output=os.devnull, folder=None):
        """Starts a program and waits until it listens; what it writes goes to `output`."""
        with open(output, "ab") as file:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                       cwd=folder or self.folder, start_new_session=True)
        self.started.append(process)
        if port is not None:
            self.wait_for(port, process)
        return process

    @staticmethod
    def wait_for(port, process, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if process.poll() is not None:
                raise Failed(f"{process.args[0]} ended with {process.returncode} at its start")
            with contextlib.closing(socket.socket()) as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise Failed(f"{process.args[0]} did not listen on port {port}")

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path
