"""A backend and the servers in front of it, all up at once, and what one run of a load costs."""

import os
import re
import subprocess
import time
from typing import NamedTuple

import backends
import processes
from failed import Failed

SETTLE_SECONDS = 20      # nothing new at the backend for so long: what is missing is lost
CLOSING_SECONDS = 0.1    # what closing connections costs belongs to the run
WARM_UP_MESSAGES = 100
WARM_UP_SECONDS = 0.4
MESSAGES_MAX = 100_000


class Sample(NamedTuple):
    cpu_us: float        # a message, of the server's whole process tree
    per_second: float


class Stand(processes.Processes):
    """Peers look here for the backend, their programs and how many connections will come."""

    def __init__(self, ringmx, backend="smtp-sink", connections=20, workers=1, other=None,
                 scratch=None):
        super().__init__(scratch)
        self.ringmx = ringmx
        self.kind = backend
        self.connections = connections
        self.workers = workers
        self.other = other
        self.backend = None
        self.servers = {}
        self.lost = {}           # by server, of all runs; None where nobody can know
        self.recorded_bytes = 0  # of the backend's record, that are in the servers' own

    def __enter__(self):
        super().__enter__()
        try:
            self.backend = backends.KINDS[self.kind](self)
        except BaseException:
            self.__exit__()
            raise
        return self

    def program(self, name):
        """One of this build's programs, None if it is not built."""
        folder = os.path.dirname(self.ringmx)
        found = {"ringmx": self.ringmx}.get(name, os.path.join(folder, name))
        if name.startswith("floor_"):
            found = os.path.join(folder, "bench", "floor", name)
        return found if os.access(found, os.X_OK) else None

    def start(self, peers):
        """Starts them; returns {name: why not} of those that can't be."""
        absent = {}
        try:
            for peer in peers:
                reason = peer.absent(self)
                try:
                    if reason is None:
                        self.servers[peer.name] = peer.start(self)
                except Failed as failure:
                    reason = str(failure)
                if reason is not None:
                    absent[peer.name] = reason
            time.sleep(0.5)  # ringmx's first probe of its backend
        except BaseException:
            self.__exit__()
            raise
        return absent

    def run(self, name, load, messages):
        """One load into a server."""
        server = self.servers[name]
        self.lost.setdefault(name)
        if server.measured:
            cpu_us, per_second = server.measured(load, messages)
            return Sample(cpu_us, per_second)
        pid = server.process.pid
        before, start = self.arrived(server), time.monotonic()
        cpu = processes.cpu_seconds(pid)
        sent = load.send(server.port, messages, self.folder, name)
        if server.process.poll() is not None:
            raise Failed(f"{name} ended with {server.process.returncode} under load")
        lost = self.settle(server, before, sent.acknowledged)
        elapsed = time.monotonic() - start
        time.sleep(CLOSING_SECONDS)
        cpu = processes.cpu_seconds(pid) - cpu
        if lost is not None:
            self.lost[name] = (self.lost[name] or 0) + lost
        self.keep_record(name)
        if server.emptied:
            server.emptied()
        return Sample(cpu * 1e6 / messages, messages / elapsed)

    def arrived(self, server):
        return server.kept() if server.kept else self.backend.arrived()

    def settle(self, server, before, acknowledged):
        """Waits for what a server acknowledged before it passed it on; returns what never came."""
        if before is None:
            return None
        last, since = -1, time.monotonic()
        while True:
            there = self.arrived(server) - before
            if there >= acknowledged:
                return 0
            if there > last:
                last, since = there, time.monotonic()
            if time.monotonic() - since > SETTLE_SECONDS:
                return acknowledged - there
            time.sleep(0.02)

    def keep_record(self, name):
        """Moves what the backend recorded since the last run to a file of this server's."""
        if self.backend.record is None:
            return
        with open(self.backend.record, "rb") as file, \
                open(self.path(f"received.{name}"), "ab") as own:
            file.seek(self.recorded_bytes)
            own.write(file.read())
            self.recorded_bytes = file.tell()

    def calibrated(self, name, load, seconds, step=1):
        """Warms a server up; returns how many messages take about `seconds`, a multiple of
        `step`."""
        messages = max(step, WARM_UP_MESSAGES // step * step)
        sample = self.run(name, load, messages)
        if messages / sample.per_second < WARM_UP_SECONDS:
            sample = self.run(name, load, rounded(sample.per_second * WARM_UP_SECONDS, step))
        return rounded(sample.per_second * seconds, step)

    def audit(self, name):
        """What ringmx-load's audit says of everything that passed: 'passed', its last words, or
        None where one of the ends keeps no record."""
        sent, received = self.path(f"sent.{name}"), self.path(f"received.{name}")
        if not os.path.exists(sent) or self.backend.record is None:
            return None
        done = subprocess.run([self.program("ringmx-load"), "audit", sent, received],
                              capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0:
            return "passed"
        found = re.findall(r"^failed: .*$", done.stdout + done.stderr, re.M)
        return found[-1] if found else f"audit ended with {done.returncode}"


def rounded(messages, step):
    """A number of messages that fills whole steps, at least one."""
    return min(max(step, int(messages) // step * step), MESSAGES_MAX // step * step or step)
