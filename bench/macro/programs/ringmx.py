"""ringmx in each acknowledge mode. A mode that this build does not have is absent in the words of
`ringmx check`."""

import json
import os
import subprocess

import processes
from programs.peer import Peer, Server


def configuration(port, backend_ports, admin, workers=1, acknowledge="backend", spool=None,
                  is_held=False):
    """As an operator would have it: logs at info, metrics on."""
    pool = {
        "protocol": "smtp", "hash": "none", "tls": "none",
        "backends": [{"address": f"127.0.0.1:{one}"} for one in backend_ports],
    }
    config = {
        "hostname": "mx.example.com",
        "workers": workers,
        "listeners": [
            {"address": f"127.0.0.1:{port}", "tls": "none", "acknowledge": acknowledge}
        ],
        "routes": [{"recipients": ["*"], "pool": "sink"}],
        "pools": {"sink": pool},
        "limits": {"exempt": ["127.0.0.0/8"], "message_size": "64MiB"},
        "admin": {"address": f"127.0.0.1:{admin}"},
        "log": {"level": "info", "format": "text"},
    }
    if spool is not None:
        pool["hold"] = is_held  # durable accept alone: nothing is forwarded
        config["spool"] = {"directory": spool}
    return config


class Ringmx(Peer):
    def __init__(self, name, does, acknowledge):
        self.name, self.does, self.acknowledge = name, does, acknowledge
        self.by_default = name != "other"

    def program(self, stand):
        return stand.other if self.name == "other" else stand.program("ringmx")

    def written(self, stand):
        """The port, and the path of its configuration."""
        port = processes.free_port()
        spool = stand.path(self.name, "spool") if self.acknowledge != "backend" else None
        config = configuration(port, [stand.backend.port], processes.free_port(), stand.workers,
                               self.acknowledge, spool, self.does == "durable")
        return port, stand.write(f"{self.name}/ringmx.json", json.dumps(config))

    def absent(self, stand):
        if self.program(stand) is None:
            return "no --other was given"
        done = subprocess.run([self.program(stand), "check", "--config", self.written(stand)[1]],
                              capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return None
        return " ".join(done.stderr.replace(stand.folder + os.sep, "").split())

    def start(self, stand):
        port, path = self.written(stand)
        process = stand.launch([self.program(stand), "serve", "--config", path], port)
        return Server(process, port)
