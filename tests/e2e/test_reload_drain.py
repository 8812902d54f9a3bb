"""SIGHUP, SIGTERM, a second signal, and what /readyz says meanwhile."""

import os
import re
import signal
import time
import unittest

from fake_backend import Delay, Stall
from harness import EndToEnd, config, pool, wait_until
from smtp_client import Client, Closed


def is_pending(pid, number):
    mask = re.search(r"(?m)^ShdPnd:\s+(\w+)$", open(f"/proc/{pid}/status").read()).group(1)
    return bool(int(mask, 16) >> (number - 1) & 1)


class Reload(EndToEnd):
    def test_routes_change_without_dropping_a_connection(self):
        gateway, backend = self.simple()
        settings = dict(gateway.settings)
        old = self.client(gateway)
        old.message("a@example.com")
        settings["routes"] = [{"recipients": ["new.example"], "pool": "main"}]
        gateway.reload(settings)

        def refused():
            client = self.client(gateway)
            client.cmd("MAIL FROM:<a@example.net>", "250")
            return client.cmd("RCPT TO:<a@example.com>").code == 550

        wait_until(refused, what="the new routes")
        old.cmd("MAIL FROM:<a@example.net>", "250")
        old.cmd("RCPT TO:<a@example.com>", "550 5.7.1")
        old.cmd("RCPT TO:<a@new.example>", "250 2.1.5")

    def test_a_transaction_under_way_survives_a_reload(self):
        gateway, backend = self.simple()
        client = self.client(gateway)
        client.envelope("a@example.com")
        client.cmd("DATA", "354")
        client.send(b"Subject: x\r\n\r\nfirst\r\n")
        other = self.backend()
        settings = dict(gateway.settings)
        settings["pools"] = {"other": pool(other)}
        settings["routes"] = [{"recipients": ["*"], "pool": "other"}]
        gateway.reload(settings)

        def moved():
            self.client(gateway).message("b@example.com")
            return other.delivered()

        wait_until(moved, what="the new pool")
        client.send(b"second\r\n.\r\n")
        client.expect("250")
        self.assertTrue(any(message.original.endswith(b"first\r\nsecond\r\n") for message in backend.delivered()))

    def test_a_bad_config_keeps_the_old_one(self):
        gateway, backend = self.simple()
        settings = dict(gateway.settings)
        for bad in ({**settings, "wrokers": 3}, {**settings, "routes": [{"recipients": ["x.example"], "pool": "none"}]}):
            before = len(gateway.log())
            gateway.reload(bad)
            wait_until(lambda: len(gateway.log()) > before, what="a word about the bad config")
            self.client(gateway).message("a@example.com")
        gateway.wait_log("/wrokers")
        gateway.config_path.write_text("{")
        gateway.signal(signal.SIGHUP)
        self.client(gateway).message("a@example.com")
        self.assertEqual(len(backend.wait_messages(3)), 3)

    def test_everything_goes_on_while_a_config_is_read_and_a_second_sighup_is_remembered(self):
        gateway, _ = self.simple()
        text = gateway.config_path.read_text()
        gateway.config_path.unlink()
        os.mkfifo(gateway.config_path)  # a read of it takes as long as this test wants
        gateway.signal(signal.SIGHUP)
        with open(gateway.config_path, "w") as first:  # waits until it is being read
            gateway.signal(signal.SIGHUP)
            wait_until(lambda: not is_pending(gateway.pid, signal.SIGHUP), what="the second signal being taken")
            for path in ("/healthz", "/readyz"):
                self.assertEqual(gateway.get(path)[0], 200)
            self.client(gateway).message("a@example.com")
            self.assertEqual(gateway.metric("ringmx_config_reloads_total"), 0)
            first.write(text)
        gateway.wait_metric("ringmx_config_reloads_total", 1)
        with open(gateway.config_path, "w") as second:
            second.write(text)
        gateway.wait_metric("ringmx_config_reloads_total", 2)

    def test_a_config_that_never_comes_does_not_hinder_the_end(self):
        gateway, _ = self.simple()
        gateway.config_path.unlink()
        os.mkfifo(gateway.config_path)
        gateway.signal(signal.SIGHUP)
        with open(gateway.config_path, "w"):
            gateway.signal(signal.SIGTERM)
            self.assertEqual(gateway.wait(), 0)

    def test_thousands_of_faults_are_told_in_a_hundred_lines(self):
        gateway, backend = self.simple()
        gateway.reload({**gateway.settings, **{f"zzz{number}": 1 for number in range(5000)}})
        gateway.wait_log("4900 more faults, which ringmx check shows")
        self.assertEqual(gateway.log().count("not reloaded, the old one stays"), 101)
        self.assertEqual(gateway.metric("ringmx_log_records_dropped_total"), 0)
        self.client(gateway).message("a@example.com")

    def test_limits_change_and_connections_stay(self):
        gateway, backend = self.simple()
        client = self.client(gateway)
        settings = dict(gateway.settings)
        settings["limits"] = {"message_size": "100KiB"}
        gateway.reload(settings)
        wait_until(lambda: "SIZE 102400" in str(self.client(gateway, ehlo=False).ehlo()), what="the new size limit")
        client.message("a@example.com")

    def test_many_reloads_under_load_lose_nothing(self):
        gateway, backend = self.simple(limits={"exempt": ["127.0.0.0/8"]})
        stop = []

        def send():
            client = self.client(gateway)
            while not stop:
                client.message("a@example.com")

        def reload():
            for number in range(20):
                gateway.reload(gateway.settings)
                time.sleep(0.03)
            stop.append(True)

        self.in_threads(send, send, reload)
        self.assertGreater(len(backend.delivered()), 5)


class Drain(EndToEnd):
    def test_idle_gateway_ends_with_0(self):
        gateway, _ = self.simple()
        for number in (signal.SIGTERM, signal.SIGINT):
            gateway, _ = self.simple()
            gateway.signal(number)
            self.assertEqual(gateway.wait(), 0)

    def test_idle_connections_get_421_and_new_ones_are_not_taken(self):
        gateway, _ = self.simple(timeouts={"drain": "20s"})
        idle, busy = self.client(gateway), self.client(gateway)
        busy.envelope("a@example.com")
        busy.cmd("DATA", "354")
        gateway.signal(signal.SIGTERM)
        idle.expect("421 4.3.2")
        idle.expect_closed()

        def refused():
            try:
                with Client(gateway.smtp, greet=False) as late:
                    reply = late.reply()
                    return reply.code == 421
            except (ConnectionRefusedError, Closed):
                return True

        self.assertTrue(refused())
        busy.send(b"x\r\n.\r\n")
        busy.expect("250 2.0.0")
        self.assertEqual(gateway.wait(), 0)

    def test_more_idle_connections_than_a_ring_takes_at_once_end_before_the_drain_time(self):
        # Each of them is an operation to cancel, a reply to send and a socket to close: more than the submission queue holds.
        gateway, _ = self.simple(limits={"exempt": ["127.0.0.0/8"]}, timeouts={"drain": "10m"}, workers=1)
        idle = [self.client(gateway, ehlo=False) for _ in range(1500)]
        gateway.signal(signal.SIGTERM)
        for client in idle:
            client.expect("421 4.3.2")
            client.expect_closed()
        self.assertEqual(gateway.wait(), 0)

    def test_readyz_turns_503_before_accepting_stops(self):
        gateway, _ = self.simple(timeouts={"drain_delay": "1500ms", "drain": "5s"})
        self.assertEqual(gateway.get("/readyz")[0], 200)
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: gateway.get("/readyz")[0] == 503, 5)
        self.assertEqual(gateway.get("/healthz")[0], 200)
        self.client(gateway).message("a@example.com")
        self.assertEqual(gateway.wait(), 0)

    def test_a_message_under_way_is_finished(self):
        gateway, backend = self.simple({"END": Delay(1.0, "250 2.0.0 late")}, timeouts={"drain": "20s"})
        client = self.client(gateway)
        client.envelope("a@example.com")
        client.cmd("DATA", "354")
        client.send(b"x\r\n.\r\n")
        backend.wait(lambda: backend.messages and backend.messages[0].complete)
        gateway.signal(signal.SIGTERM)
        client.expect("250 2.0.0 late")
        self.assertEqual(gateway.wait(), 0)
        self.assertEqual(len(backend.delivered()), 1)

    def test_what_takes_longer_than_the_drain_gets_421(self):
        gateway, backend = self.simple({"END": Stall()}, timeouts={"drain": "500ms"})
        waiting, sending = self.client(gateway), self.client(gateway)
        waiting.envelope("a@example.com")
        waiting.cmd("DATA", "354")
        waiting.send(b"x\r\n.\r\n")
        sending.envelope("b@example.com")
        sending.cmd("DATA", "354")
        sending.send(b"x\r\n")
        backend.wait(lambda: any(message.complete for message in backend.messages))
        gateway.signal(signal.SIGTERM)
        sending.expect("421 4.3.2")
        waiting.expect("421 4.3.2")
        self.assertEqual(gateway.wait(), 0)
        self.assertFalse(any(message.complete for message in backend.messages if message.recipients == ["b@example.com"]))

    def test_a_second_signal_ends_it_at_once(self):
        gateway, backend = self.simple({"END": Stall()}, timeouts={"drain": "5m"})
        client = self.client(gateway)
        client.envelope("a@example.com")
        client.cmd("DATA", "354")
        client.send(b"x\r\n.\r\n")
        backend.wait(lambda: any(message.complete for message in backend.messages))
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: gateway.get("/readyz")[0] == 503)
        self.assertTrue(gateway.running())
        gateway.signal(signal.SIGTERM)
        gateway.wait(10)

    def test_a_drain_under_load_loses_no_acknowledged_message(self):
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend)}, workers=2, limits={"exempt": ["127.0.0.0/8"]}))
        acknowledged = []

        def send(worker):
            try:
                client = gateway.client()
                client.ehlo()
                for number in range(100000):
                    client.message("a@example.com", body=b"Subject: %d-%d\r\n\r\nx\r\n" % (worker, number))
                    acknowledged.append(b"%d-%d" % (worker, number))
            except (Closed, AssertionError, OSError):
                pass

        def end():
            wait_until(lambda: len(acknowledged) > 50)
            gateway.signal(signal.SIGTERM)
            self.assertEqual(gateway.wait(), 0)

        self.in_threads(*[lambda worker=worker: send(worker) for worker in range(4)], end)
        delivered = {message.original.split(b"\r\n")[0][9:] for message in backend.delivered()}
        self.assertEqual(set(acknowledged) - delivered, set())


if __name__ == "__main__":
    unittest.main()
