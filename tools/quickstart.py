#!/usr/bin/env python3
"""Runs a gateway with two backends, sends 1,000 messages through it and shows where they went. Started by tools/quickstart."""

import http.client
import json
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

MESSAGES = 1000
CONNECTIONS = 8
READY_SECONDS = 30
SMTP_PORT, ADMIN_PORT = 2525, 8025  # or others, when these are taken


def free_ports(*wanted):
    """These ports, and for one that is taken or None another that is free now, below the range of outgoing connections."""
    found = []
    for port in wanted:
        while port is None or port in found or not is_free(port):
            port = random.randrange(20000, 32000)
        found.append(port)
    return found


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True


class Stack:
    """A gateway and two sinks, each a process that is ended by its own pid."""

    def __init__(self, build, folder):
        self.folder = folder
        self.smtp_port, self.admin_port, *self.sink_ports = free_ports(SMTP_PORT, ADMIN_PORT, None, None)
        self.processes = []
        try:
            self.bring_up(build)
        except BaseException:
            self.stop()
            raise

    def bring_up(self, build):
        folder = self.folder
        for index, port in enumerate(self.sink_ports):
            self.start(f"sink-{index}", build / "ringmx-sink", "--listen", f"127.0.0.1:{port}", "--json", folder / f"sink-{index}.json",
                       "--record", folder / f"received-{index}")
        for index, port in enumerate(self.sink_ports):
            self.wait(lambda: "listening on" in self.log(f"sink-{index}"), f"sink-{index} did not start")
        config = {
            "hostname": "quickstart.example",
            "listeners": [{"address": f"127.0.0.1:{self.smtp_port}", "tls": "none", "acknowledge": "backend"}],
            "routes": [{"recipients": ["*"], "pool": "sinks"}],
            "pools": {"sinks": {"hash": "recipient", "tls": "none", "backends": [{"address": f"127.0.0.1:{port}"} for port in self.sink_ports]}},
            "admin": {"address": f"127.0.0.1:{self.admin_port}"},
        }
        self.config_path = folder / "ringmx.json"
        self.config_path.write_text(json.dumps(config, indent=2) + "\n")
        self.gateway = self.start("ringmx", build / "ringmx", "serve", "--config", self.config_path)
        self.wait(self.is_ready, "the gateway was not ready")

    def start(self, name, *arguments):
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen([str(argument) for argument in arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                       start_new_session=True)
        process.name = name
        self.processes.append(process)
        return process

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def is_ready(self):
        try:
            return self.get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait(self, predicate, otherwise):
        limit = time.monotonic() + READY_SECONDS
        while not predicate():
            for process in self.processes:
                if process.poll() is not None:
                    raise SystemExit(f"quickstart: {process.name} ended with {process.returncode}:\n{self.log(process.name)[-2000:]}")
            if time.monotonic() > limit:
                raise SystemExit(f"quickstart: {otherwise} in {READY_SECONDS} s; its log:\n{self.log(self.processes[-1].name)[-2000:]}")
            time.sleep(0.05)

    def stop(self):
        """The gateway first, so that nothing under way loses its backend."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def send_all(build, stack):
    """Sends the mail; gives what ringmx-load says of it."""
    sent = subprocess.run([build / "ringmx-load", "--to", f"127.0.0.1:{stack.smtp_port}", "--messages", str(MESSAGES), "--connections", str(CONNECTIONS),
                           "--from", "demo@example.net", "--rcpt", "user%@example.com", "--record", stack.folder / "sent", "--json", "-"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if not sent.stdout.startswith("{"):
        raise SystemExit(f"quickstart: ringmx-load ended with {sent.returncode}:\n{sent.stderr[-2000:]}")
    return json.loads(sent.stdout)


def audit(build, stack):
    """Whether what was acknowledged is what the backends have, octet for octet; says what is not."""
    found = subprocess.run([build / "ringmx-load", "audit", stack.folder / "sent", *(stack.folder / f"received-{index}" for index in range(2))],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        print(found.stdout + found.stderr)
    return found.returncode == 0


def metric(text, name, label=""):
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((name + "{", name + " ")) and label in line)


def table(rows):
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value:>7}")


def addresses(stack):
    return (f"""
  mail client       server 127.0.0.1, port {stack.smtp_port}, no encryption, no password; any recipient is taken
  from a shell      swaks --server 127.0.0.1:{stack.smtp_port} --to you@example.com
  metrics           http://127.0.0.1:{stack.admin_port}/metrics     probes: /healthz, /readyz
  its config        {stack.config_path}
""")


def main():
    build, keep = pathlib.Path(sys.argv[1]).resolve(), "--keep" in sys.argv[2:]
    # Ctrl-C and a plain kill both end in the same tidy way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="ringmx-quickstart-") as folder:
        stack = None
        try:
            stack = Stack(build, pathlib.Path(folder))
            counts = send_all(build, stack)
            unchanged = audit(build, stack)
            metrics = stack.get("/metrics")[1]
            forwarded = int(metric(metrics, "ringmx_messages_forwarded_total"))
            print(f"\n{MESSAGES} messages over {CONNECTIONS} connections in {counts['seconds']:.2f} s, by ringmx-load\n")
            if keep:
                spread = [int(metric(metrics, "ringmx_messages_forwarded_total", f'backend="127.0.0.1:{port}"')) for port in stack.sink_ports]
                table([("sent", MESSAGES), ("accepted (250)", counts["accepted"]), ("forwarded", forwarded), ("to the first backend", spread[0]),
                       ("to the second backend", spread[1]), ("lost", counts["accepted"] - sum(spread)), ("octet for octet", "yes" if unchanged else "NO")])
                print(addresses(stack))
                print("Everything stays up until Ctrl-C.")
                sys.stdout.flush()
                try:
                    while stack.gateway.poll() is None:
                        time.sleep(0.5)
                except KeyboardInterrupt:
                    print("\nstopping")
            stack.stop()
            if stack.gateway.returncode != 0:
                print(stack.log("ringmx")[-2000:], file=sys.stderr)
            sinks = [json.loads((stack.folder / f"sink-{index}.json").read_text()) for index in range(2)]
        finally:
            if stack is not None:
                stack.stop()
        if keep:
            return 0
        lost = counts["accepted"] - sum(sink["messages"] for sink in sinks)
        table([("sent", MESSAGES), ("accepted (250)", counts["accepted"]), ("forwarded", forwarded), ("to the first backend", sinks[0]["messages"]),
               ("to the second backend", sinks[1]["messages"]), ("lost", lost), ("octet for octet", "yes" if unchanged else "NO")])
        for why, count in counts["failures"].items():
            print(f"  failed {count} times: {why}")
        print("\nAll of it is stopped again. `tools/quickstart --keep` leaves it up for a mail client: server 127.0.0.1,\n"
              f"port {SMTP_PORT} unless that is taken, no encryption, no password; any recipient is taken;\n"
              "for a gateway of your own, write a config (see README.md) and run `build/release/ringmx serve --config FILE`.")
        return 0 if counts["accepted"] == forwarded == MESSAGES and lost == 0 and unchanged and stack.gateway.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
