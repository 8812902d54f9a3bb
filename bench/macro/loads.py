"""Clients that a server is measured with. Each sends a number of messages and says how many were
acknowledged, or ends the run: what was refused must not pass for fast."""

import contextlib
import json
import os
import subprocess
from typing import NamedTuple

from failed import Failed

TIME_LIMIT_SECONDS = 900


class Sent(NamedTuple):
    acknowledged: int
    record: str | None  # what ringmx-load audit takes


class SmtpSource:
    """Postfix's generator: lock-step, DATA."""

    def __init__(self, octets, connections, kept):
        self.octets, self.kept = octets, kept
        self.arguments = ["smtp-source", "-s", str(connections), "-l", str(octets), "-f",
                          "sender@example.com", "-t", "user@example.com", "-M", "client.example"]
        if kept:
            self.arguments.append("-d")

    def send(self, port, messages, folder, name):
        done = run([*self.arguments, "-m", str(messages), f"inet:127.0.0.1:{port}"], folder)
        if done.returncode != 0:
            raise Failed(f"smtp-source through {name} ended with {done.returncode}: "
                         f"{done.stderr.strip()[-300:]}")
        return Sent(messages, None)


class RingmxLoad:
    """ringmx-load, closed loop; records what it sent where the backend records what it took."""

    def __init__(self, program, octets, connections, kept, options=(), records=False,
                 recipient="user%@example.com"):
        self.octets, self.kept = octets, kept
        self.arguments = [program, "--connections", str(connections), "--size", str(octets),
                          "--from", "sender@example.com", "--rcpt", recipient, "--timeout", "60s",
                          *options]
        if not kept:
            self.arguments += ["--messages-per-connection", "1"]
        self.records = records

    def send(self, port, messages, folder, name):
        result = os.path.join(folder, "load.json")
        record = os.path.join(folder, f"sent.{name}") if self.records else None
        command = [*self.arguments, "--to", f"127.0.0.1:{port}", "--messages", str(messages),
                   "--json", result]
        if record:
            command += ["--record", record]
        done = run(command, folder)
        if done.returncode != 0:
            raise Failed(f"ringmx-load through {name} ended with {done.returncode}: "
                         f"{failures(result)}")
        with open(result, encoding="utf-8") as file:
            return Sent(json.load(file)["accepted"], record)


def run(command, folder):
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace",
                              cwd=folder, timeout=TIME_LIMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{os.path.basename(command[0])} took more than {TIME_LIMIT_SECONDS} s") \
            from None


def failures(path):
    """What ringmx-load counted as failures, most frequent first."""
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        found = json.load(file)["failures"]
        return "; ".join(f"{times} x {kind}" for kind, times in
                         sorted(found.items(), key=lambda item: -item[1])[:3])
    return "no result"
