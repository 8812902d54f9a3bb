"""Servers that take mail and discard it."""

import os

import processes
from programs.floors import Floor
from programs.peer import Peer, Server


class RingmxSink(Peer):
    name = "ringmx-sink"
    does = "discard"
    beside = ("durable",)

    def start(self, stand):
        port = processes.free_port()
        process = stand.launch([stand.program("ringmx-sink"), "--listen", f"127.0.0.1:{port}",
                                "--workers", str(stand.workers)], port)
        return Server(process, port)


class SmtpSink(Peer):
    name = "smtp-sink"
    does = "discard"

    def absent(self, _stand):
        return None if processes.program("smtp-sink") else "smtp-sink is not installed"

    def start(self, stand):
        port = processes.free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = stand.launch(["smtp-sink", *user, "-m", str(stand.connections + 100),
                                f"127.0.0.1:{port}", "4096"], port)
        return Server(process, port)


class FloorSink(Floor):
    name = "floor-sink"
    does = "discard"
    program_name = "floor_sink"

    def start(self, stand):
        port = processes.free_port()
        return Server(stand.launch([stand.program(self.program_name), str(port)], port), port)
