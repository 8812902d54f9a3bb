"""The least programs that do the same: what the machine allows. See bench/floor/."""

import json
import subprocess

import processes
from failed import Failed
from programs.peer import Peer, Server

# The relay with as few exchanges as client and backend allow, and with never fewer than two, three.
RELAYS = (("floor", 1), ("floor-2", 2), ("floor-3", 3))


class Floor(Peer):
    program_name = ""

    def absent(self, stand):
        if stand.program(self.program_name) is None:
            return f"target {self.program_name} is not built"
        return None


class FloorRelay(Floor):
    does = "forward"
    program_name = "floor_relay"
    audited = False  # leaves stuffed dots as they are

    def __init__(self, name, exchanges_min):
        self.name, self.exchanges_min = name, exchanges_min
        self.by_default = exchanges_min == 1

    def start(self, stand):
        port = processes.free_port()
        command = [stand.program(self.program_name), str(port), str(stand.backend.port),
                   str(self.exchanges_min)]
        return Server(stand.launch(command, port), port)


class FloorLog(Floor):
    """No mail server: appends durably, in batches as large as half of the connections can fill,
    two under way."""

    name = "floor-log"
    does = "durable"
    program_name = "floor_log"

    def start(self, stand):
        batch = max(1, stand.connections // 2)
        program, path = stand.program(self.program_name), stand.path("floor-log.segment")

        def measured(load, messages):
            done = subprocess.run([program, path, str(messages), str(load.octets), str(batch),
                                   "2"],
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Failed(f"floor_log: {done.stderr.strip()}")
            result = json.loads(done.stdout)
            return result["cpu_us_per_message"], result["messages_per_second"]

        return Server(None, 0, measured=measured)
