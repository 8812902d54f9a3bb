"""The backends behind a running gateway are restarted one after the other while mail flows: nothing that was acknowledged is lost."""

import itertools
import signal
import threading
import unittest

from harness import BIN, LONG, Program, config, free_port, pool, run, wait_until
from peer_case import LOAD, PeerCase
from peer_mtas import Postfix, why_no_postfix
from peers import started

HEALTH = {"interval": "200ms", "failures": 1}


class RollingRestart(PeerCase):
    def ringmx_sink(self, port, record):
        sink = self.keep(Program([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{port}", "--record", record], self.folder, "sink"))
        return started(sink, port)

    def test_sinks_ended_by_signals_of_either_kind(self):
        ports = [free_port() for _ in range(3)]
        records = [self.folder / f"received.{port}" for port in ports]
        sinks = [self.ringmx_sink(port, record) for port, record in zip(ports, records)]
        gateway = self.gateway(config({"main": pool(*(f"127.0.0.1:{port}" for port in ports), health=HEALTH, hash="none")}, workers=2, limits=LOAD))
        sent, result = self.folder / "sent", self.folder / "load.json"
        load = self.keep(Program([BIN / "ringmx-load", "--to", f"127.0.0.1:{gateway.ports[0]}", "--connections", 10, "--rate", 300, "--duration", "10m",
                                  "--pipelining", "--record", sent, "--json", result], self.folder, "load"))
        kinds = (signal.SIGTERM, signal.SIGKILL) * (4 if LONG else 1)
        for kind in kinds:
            for index, port in enumerate(ports):
                # Each takes mail before the next one goes: a rolling restart leaves the others up.
                size = records[index].stat().st_size if records[index].exists() else 0
                wait_until(lambda: records[index].exists() and records[index].stat().st_size > size, 60, f"mail at sink {index}; {load.log()[-500:]}")
                sinks[index].signal(kind)
                sinks[index].wait()
                # While it is away the others take its mail.
                before = gateway.metric("ringmx_messages_accepted_total")
                wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") > before + 20, 60, "mail at the others")
                sinks[index] = self.ringmx_sink(port, records[index])
                wait_until(lambda: gateway.metric("ringmx_backend_up") == 3, 60, "all backends up")
        load.signal(signal.SIGINT)
        load.wait(60)
        self.assertEqual(gateway.stop(), 0)
        for sink in sinks:
            self.assertEqual(sink.stop(), 0)
        audit = run(BIN / "ringmx-load", "audit", sent, *records)
        self.assertEqual(audit.returncode, 0, audit.stdout + audit.stderr)
        accepted = sum(not line.endswith("unacknowledged") for line in sent.read_text().splitlines())
        others = len(sent.read_text().splitlines()) - accepted
        self.assertGreater(accepted, 100 * len(kinds))
        # What was under way at the dying one gets 451; everything else finds another.
        self.assertLessEqual(others, 10 * len(ports) * len(kinds), audit.stdout)

    @unittest.skipIf(why_no_postfix(), why_no_postfix())
    def test_postfix_stopped_and_started(self):
        servers = [self.keep(Postfix(self.folder)) for _ in range(2)]
        # A Postfix that is being stopped may leave a command unanswered; then the other one is asked.
        gateway = self.gateway(config({"main": pool(*(f"127.0.0.1:{server.port}" for server in servers), health=HEALTH, hash="none")}, workers=2, limits=LOAD,
                                      timeouts={"backend_reply": "3s"}))
        numbers, accepted, done = itertools.count(), [], threading.Event()

        def sender():
            with gateway.client(timeout=120) as client:
                client.ehlo()
                while not done.is_set():
                    number = next(numbers)
                    client.cmd("MAIL FROM:<a@example.net>", "250")
                    if client.cmd("RCPT TO:<b@example.com>").code != 250 or client.cmd("DATA").code != 354:
                        client.cmd("RSET", "250")
                        continue
                    client.send(b"Subject: x\r\n\r\nmessage %d.\r\n.\r\n" % number)
                    if client.reply().code == 250:
                        accepted.append(number)

        def restarts():
            try:
                for server in servers * (3 if LONG else 1):
                    server.stop()
                    before = len(accepted)
                    wait_until(lambda: len(accepted) > before + 10, 120, "mail at the other")
                    server.start()
                    wait_until(lambda: gateway.metric("ringmx_backend_up") == 2, 120, "both up")
            finally:
                done.set()

        self.in_threads(restarts, *[sender] * 4)
        wait_until(lambda: all(server.queue_length() == 0 for server in servers), 120, "delivery of all")
        arrived = {int(data.split(b"message ")[1].split(b".")[0]) for server in servers for data in server.mail()}
        self.assertEqual(set(accepted) - arrived, set())
        self.assertGreater(len(accepted), 20)


if __name__ == "__main__":
    unittest.main()
