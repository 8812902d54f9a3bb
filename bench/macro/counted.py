"""What a process tree did while something ran: system calls, context switches, memory at its peak.

Counting costs the counted, so it has runs of its own and is never part of a measured one. perf
counts both and follows processes that are started meanwhile; where it is not allowed strace counts
system calls; where there is neither nothing is counted.
"""

import contextlib
import functools
import os
import re
import signal
import subprocess
import threading
import time

import processes

PERF_EVENTS = ("context-switches", "raw_syscalls:sys_enter")
ATTACHED_SECONDS = 0.3  # perf and strace do not say when they have attached


@functools.cache
def means():
    """'perf', 'strace' or None: what can count system calls here."""
    if processes.program("perf"):
        done = subprocess.run(["perf", "stat", "-x,", "-e", PERF_EVENTS[1], "true"],
                              capture_output=True, text=True, check=False)
        if done.returncode == 0 and re.match(r"\d", done.stderr.strip()):
            return "perf"
    if processes.program("strace"):
        done = subprocess.run(["strace", "-c", "-o", os.devnull, "true"], capture_output=True,
                              check=False)
        if done.returncode == 0:
            return "strace"
    return None


def parse_perf(text):
    """perf stat -x: VALUE,UNIT,EVENT,…  Returns {event: count} of those that were counted."""
    found = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit():
            found[fields[2]] = int(fields[0])
    return found


def parse_strace(text):
    """strace -c: the calls of its last line, the total."""
    total = re.search(r"^\s*100\.00\s+\S+(?:\s+\d+)?\s+(\d+)(?:\s+\d+)?\s+total\s*$", text, re.M)
    return int(total.group(1)) if total else None


class PeakMemory:
    """Samples the tree's memory while the context lasts."""

    def __init__(self, pid, seconds=0.1):
        self.pid, self.seconds, self.rss_kib = pid, seconds, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.sample)

    def sample(self):
        while True:
            self.rss_kib = max(self.rss_kib, processes.memory_kib(self.pid)[0])
            if self.over.wait(self.seconds):
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


@contextlib.contextmanager
def attached(command):
    """Runs a counting program until the context ends."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as counter:
        time.sleep(ATTACHED_SECONDS)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                counter.send_signal(signal.SIGINT)


def count(pid, folder, action, how="auto"):
    """Runs `action` and says what the tree of `pid` did meanwhile; None for what can't be known."""
    how = means() if how == "auto" else how
    output = os.path.join(folder, "counted")
    pids = [str(one) for one in processes.tree(pid)]
    result = {"counted_by": how, "system_calls": None, "context_switches": None}
    with PeakMemory(pid) as peak:
        if how == "perf":
            with attached(["perf", "stat", "-x,", "-o", output, "-e", ",".join(PERF_EVENTS), "-p",
                           ",".join(pids)]):
                action()
        elif how == "strace":
            places = [word for one in pids for word in ("-p", one)]
            with attached(["strace", "-c", "-f", "-qq", "-o", output, *places]):
                action()
        else:
            action()
    result["peak_rss_kib"] = peak.rss_kib
    if how is not None:
        with open(output, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if how == "perf":
            counted = parse_perf(text)
            result["context_switches"] = counted.get(PERF_EVENTS[0])
            result["system_calls"] = counted.get(PERF_EVENTS[1])
        else:
            result["system_calls"] = parse_strace(text)
    return result
