"""Load generators: their own CPU a message, into one ringmx-sink."""

import resource
import subprocess
import time

import loads
import processes
from failed import Failed
from programs.floors import Floor
from programs.peer import Peer, Server


def measured(command, folder, messages):
    """(CPU µs a message, messages a second) of a program that sends them and ends."""
    def cpu_seconds():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    cpu, start = cpu_seconds(), time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False,
                          timeout=loads.TIME_LIMIT_SECONDS)
    elapsed = time.monotonic() - start
    if done.returncode != 0:
        raise Failed(f"ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return (cpu_seconds() - cpu) * 1e6 / messages, messages / elapsed


class Generator(Peer):
    does = "send"

    def start(self, stand):
        return Server(None, 0, measured=lambda load, messages: measured(
            self.command(stand, load, messages), stand.folder, messages))

    def command(self, stand, load, messages):
        raise NotImplementedError


class RingmxLoad(Generator):
    """All histograms on, as always."""

    name = "ringmx-load"

    def command(self, stand, load, messages):
        own = loads.RingmxLoad(stand.program(self.name), load.octets, stand.connections, load.kept)
        return [*own.arguments, "--to", f"127.0.0.1:{stand.backend.port}", "--messages",
                str(messages)]


class SmtpSource(Generator):
    name = "smtp-source"

    def absent(self, _stand):
        return None if processes.program(self.name) else "smtp-source is not installed"

    def command(self, stand, load, messages):
        own = loads.SmtpSource(load.octets, stand.connections, load.kept)
        return [*own.arguments, "-m", str(messages), f"inet:127.0.0.1:{stand.backend.port}"]


class FloorLoad(Generator, Floor):
    name = "floor-load"
    program_name = "floor_load"
    absent = Floor.absent

    def command(self, stand, load, messages):
        return [stand.program(self.program_name), str(stand.backend.port), str(stand.connections),
                str(messages), str(load.octets), *([] if load.kept else ["one-per-connection"])]
