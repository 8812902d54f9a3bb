"""Haraka from npm, in a folder under build/ that is made once. One process, as it is by default."""

import functools
import json
import os
import subprocess

import processes
from programs.peer import Peer, Server
from surroundings import ROOT

CACHE = os.path.join(ROOT, "build", "peers", "haraka")
INSTALL_SECONDS = 300
TAKES_ALL = """exports.hook_rcpt = (next, connection) => {{
    connection.relaying = {relaying};
    next(OK);
}};
"""


@functools.cache
def installed():
    """Its program and why it is not there, one of them None."""
    folder = os.path.join(CACHE, "node_modules", "Haraka")
    program = os.path.join(folder, "bin", "haraka")
    if not processes.program("node"):
        return None, "node is not installed"
    if os.path.exists(program):
        return program, None
    if not processes.program("npm"):
        return None, "npm is not installed"
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "package.json"), "w", encoding="utf-8") as file:
        json.dump({"private": True}, file)
    command = ["npm", "install", "--omit=optional", "--no-audit", "--no-fund", "--ignore-scripts",
               "Haraka"]
    try:
        done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, check=False,
                              timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        return None, f"npm install took more than {INSTALL_SECONDS} s"
    if done.returncode != 0 or not os.path.exists(program):
        return None, f"npm install ended with {done.returncode}"
    return program, None


class Haraka(Peer):
    files = {}

    def absent(self, _stand):
        return installed()[1]

    def start(self, stand):
        port = processes.free_port()
        folder = stand.path(self.name)
        node, program = processes.program("node"), installed()[0]
        subprocess.run([node, program, "-i", folder], check=True, capture_output=True)
        values = {"port": port, "sink": stand.backend.port}
        for name, text in {"config/smtp.ini": "listen=127.0.0.1:{port}\nnodes=0\n",
                           "config/log.ini": "[main]\nlevel=info\n",
                           "config/me": "mx.example.com\n",
                           "config/databytes": "0\n", **self.files}.items():
            stand.write(os.path.join(self.name, name), text.format(**values))
        process = stand.launch([node, program, "-c", folder], port)
        return self.server(process, port, os.path.join(folder, "queue"))

    def server(self, process, port, _queue):
        return Server(process, port)

    @staticmethod
    def version():
        with open(os.path.join(CACHE, "node_modules", "Haraka", "package.json"),
                  encoding="utf-8") as file:
            return "haraka", json.load(file)["version"]


class Forward(Haraka):
    name = "haraka"
    does = "forward"
    files = {"config/plugins": "takes_all\nqueue/smtp_forward\n",
             "plugins/takes_all.js": TAKES_ALL.replace("{relaying}", "false"),
             "config/smtp_forward.ini": "host=127.0.0.1\nport={sink}\n"}


class Queue(Haraka):
    """Durable accept alone: into its outbound queue, which is not delivered."""

    name = "haraka-queue"
    does = "durable"
    files = {"config/plugins": "takes_all\n",
             "plugins/takes_all.js": TAKES_ALL.replace("{relaying}", "true"),
             "config/outbound.ini": "disabled=true\n"}

    def server(self, process, port, queue):
        def files():
            with os.scandir(queue) as entries:
                return [entry.path for entry in entries if entry.is_file()]

        def emptied():
            for path in files():
                os.unlink(path)

        return Server(process, port, kept=lambda: len(files()), emptied=emptied)
