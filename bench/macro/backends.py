"""Backends that servers forward to. Each counts what it has taken while it runs, so that what was
acknowledged and never arrived is seen. A backend's CPU is nobody's: it is not counted."""

import contextlib
import os
import re

import processes


class SmtpSink:
    """Postfix's sink: PIPELINING, no CHUNKING. It writes its counters at each message (-c)."""

    chunking = False
    record = None

    def __init__(self, stand):
        self.port = processes.free_port()
        self.counters = stand.path("smtp-sink.counters")
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        stand.launch(["smtp-sink", *user, "-c", "-m", str(2 * stand.connections + 1000),
                      f"127.0.0.1:{self.port}", "4096"], self.port, self.counters)

    def arrived(self):
        with open(self.counters, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 256))
            found = re.findall(rb"mesg=(\d+)\r", file.read())
        return int(found[-1]) if found else 0


class RingmxSink:
    """ringmx-sink: PIPELINING, CHUNKING if asked for. It records each message before its reply."""

    def __init__(self, stand, chunking=True, backends=1):
        self.chunking = chunking
        self.ports = [processes.free_port() for _ in range(backends)]
        self.port = self.ports[0]
        self.record = stand.path("received")
        self.read_bytes = self.lines = 0
        command = [stand.program("ringmx-sink"), "--record", self.record]
        for port in self.ports:
            command += ["--listen", f"127.0.0.1:{port}"]
        if not chunking:
            command.append("--no-chunking")
        stand.launch(command, self.port)

    def arrived(self):
        with contextlib.suppress(FileNotFoundError), open(self.record, "rb") as file:
            file.seek(self.read_bytes)
            for piece in iter(lambda: file.read(1 << 20), b""):
                self.read_bytes += len(piece)
                self.lines += piece.count(b"\n")
        return self.lines


class Nothing:
    """For servers that keep or discard: a port at which nobody listens."""

    chunking = True
    record = None

    def __init__(self, _stand):
        self.port = processes.free_port()

    @staticmethod
    def arrived():
        return None


KINDS = {
    "smtp-sink": SmtpSink,
    "chunking": RingmxSink,
    "plain": lambda stand: RingmxSink(stand, chunking=False),
    "none": Nothing,
}
