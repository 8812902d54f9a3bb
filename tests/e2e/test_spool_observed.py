"""What an operator can see of the durable queue: the metrics of its commits and of what waits, and each step of a message in the log, as text and as JSON."""

import json
import re
import time
import unittest
from collections import Counter

from fake_backend import Delay
from harness import BIN, free_port, pool, run, wait_until
from smtp_client import Client
from test_spool import SpoolScene

BLOCK_BYTES = 4096           # a commit is a whole number of them
RECORD_BYTES_MAX = 1 << 10   # of a message of ours beside its content: headers, envelope, Received
CHUNK_BYTES_MIN = 128 << 10  # of a large message, in each record
BODY = b"Subject: x\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 3000


class CommitMetrics(SpoolScene):
    NAMES = ("ringmx_spool_commits_total", "ringmx_spool_records_total", "ringmx_spool_bytes_written_total", "ringmx_spool_commit_seconds_count")

    def setUp(self):
        super().setUp()
        # On hold nothing is forwarded: there are no marks, and each record is a client's.
        self.gateway_under_test = self.gateway(self.settings([self.backend()], pool_settings={"hold": True}, limits={"exempt": ["127.0.0.0/8"]}))
        self.told = dict.fromkeys(self.NAMES, 0)

    def grown(self):
        """By how much each has grown since it was last asked: commits, records, bytes, writes."""
        before, self.told = self.told, {name: self.gateway_under_test.metric(name) for name in self.NAMES}
        return [self.told[name] - before[name] for name in self.NAMES]

    def segments(self):
        return len(list((self.folder / "spool").glob("*/*.seg")))

    def test_one_after_the_other_is_a_commit_each(self):
        self.assertEqual(self.grown(), [0, 0, 0, 0])
        client = self.client(self.gateway_under_test)
        client.message("user@example.com")
        commits, records, octets, writes = self.grown()
        self.assertEqual((commits, records, octets), (1, 1, BLOCK_BYTES))
        self.assertIn(writes - commits, range(1, self.segments() + 1), "headers of segments")
        for _ in range(9):
            client.message("user@example.com")
        commits, records, octets, writes = self.grown()
        self.assertEqual((commits, records, octets), (9, 9, 9 * BLOCK_BYTES))
        self.assertIn(writes - commits, range(0, self.segments() + 1))

    def test_what_comes_together_is_a_batch(self):
        """All of it has come when the gateway looks again."""
        clients = [self.client(self.gateway_under_test) for _ in range(30)]
        for client in clients:
            client.envelope("user@example.com")
            client.cmd("DATA", "354")
        self.grown()
        with self.gateway_under_test.stopped():
            for client in clients:
                client.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
        for client in clients:
            client.expect("250")
        commits, records, octets, _ = self.grown()
        self.assertEqual(records, 30)
        self.assertLessEqual(commits, 10)
        self.assertLess(octets, 30 * BLOCK_BYTES)
        self.assertEqual(octets % BLOCK_BYTES, 0)

    def test_bytes_written_are_those_of_the_mail_and_little_else(self):
        size = 3 << 20
        self.grown()
        self.client(self.gateway_under_test).message("user@example.com", body=b"Subject: x\r\n\r\n" + b"y" * (size - 16) + b"\r\n")
        commits, records, octets, _ = self.grown()
        self.assertGreater(records, 2, "it goes down as it comes")
        self.assertLessEqual(records, size // CHUNK_BYTES_MIN + 1)
        self.assertGreaterEqual(octets, size)
        self.assertLessEqual(octets, size + records * RECORD_BYTES_MAX + commits * BLOCK_BYTES)
        self.assertEqual(self.gateway_under_test.metric("ringmx_queue_messages"), 1)
        stored = self.gateway_under_test.metric("ringmx_queue_bytes")
        self.assertTrue(size <= stored <= size + records * RECORD_BYTES_MAX, stored)

    def test_the_histogram_of_commits_is_whole(self):
        client = self.client(self.gateway_under_test)
        for _ in range(20):
            client.message("user@example.com")
        metrics = self.gateway_under_test.metrics()
        buckets = sorted((float(dict(labels)["le"]), value) for (name, labels), value in metrics.items() if name == "ringmx_spool_commit_seconds_bucket")
        count = metrics["ringmx_spool_commit_seconds_count", ()]
        self.assertGreaterEqual(count, 21)
        self.assertEqual(buckets[-1], (float("inf"), count))
        self.assertEqual([value for _, value in buckets], sorted(value for _, value in buckets))
        # Each is between the bounds of its bucket, so their sum is too.
        least = most = before = lower = 0
        for bound, value in buckets:
            least, most = least + (value - before) * lower, most + ((value - before) * bound if value > before else 0)
            before, lower = value, bound
        self.assertGreater(metrics["ringmx_spool_commit_seconds_sum", ()], 0)
        self.assertTrue(least <= metrics["ringmx_spool_commit_seconds_sum", ()] <= most)


class QueueMetrics(SpoolScene):
    NAMES = ("ringmx_queue_messages", "ringmx_queue_bytes", "ringmx_queue_oldest_seconds", "ringmx_queue_held_removed_total")

    def seen(self, gateway):
        return [gateway.metric(name) for name in self.NAMES]

    def test_what_waits_is_counted_and_grows_older_until_it_is_gone(self):
        dead = free_port()
        gateway = self.gateway(self.settings([f"127.0.0.1:{dead}"]))
        self.assertEqual(self.seen(gateway), [0, 0, 0, 0])
        client = self.client(gateway)
        client.message("user@example.com")
        stored = gateway.metric("ringmx_queue_bytes")
        self.assertTrue(21 < stored <= RECORD_BYTES_MAX, stored)
        client.message("user@example.com")
        self.assertEqual(self.seen(gateway)[:2], [2, 2 * stored])
        wait_until(lambda: gateway.metric("ringmx_queue_oldest_seconds") > 1, what="an older message")
        self.backend(address=("127.0.0.1", dead))
        wait_until(lambda: self.seen(gateway) == [0, 0, 0, 0], what="an empty queue")

    def test_failed_mail_that_takes_more_than_is_kept_leaves_and_is_counted(self):
        backend = self.backend({"RCPT": "550 5.1.1 no such user"})
        gateway = self.gateway(self.settings([backend], spool={"held": {"max_size": "1MiB"}}))
        client = self.client(gateway)
        body = b"Subject: x\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 18000
        first, second, third = (str(client.message("gone@example.com", body=body)).split()[-1] for _ in range(3))
        gateway.wait_metric("ringmx_queue_held_removed_total", 2)
        self.assertEqual([entry["id"] for entry in json.loads(gateway.get("/api/queue")[1])["messages"]], [third])
        self.assertTrue(len(body) <= gateway.metric("ringmx_queue_bytes") <= 1 << 20)
        for each in (first, second):
            gateway.wait_log(rf"{each}: removed: failed, and spool\.held\.max_size is used up")


class MailMetrics(SpoolScene):
    def test_a_full_spool_is_told_when_no_worker_takes_mail_any_more(self):
        port = free_port()
        gateway = self.gateway(self.settings([f"127.0.0.1:{port}"], workers=2, limits={"exempt": ["127.0.0.0/8"]}, pool_settings={"health": {"interval": "200ms"}},
                                             spool={"max_size": "16MiB", "held": {"max_size": "1MiB"}}))
        accepted, refused = self.fill(gateway, BODY), 1
        self.assertGreater(accepted, 10)
        self.assertEqual(gateway.get("/readyz")[0], 200, "the other worker still takes mail")
        for _ in range(40):  # which worker has a connection is chance
            taken = self.fill(gateway, BODY)
            accepted, refused = accepted + taken, refused + 1
        self.assertEqual(gateway.get("/readyz"), (503, "the spool is full\n"))
        gateway.wait_log("error: the spool is full: mail is refused until that is over")
        gateway.wait_metric("ringmx_messages_rejected_total", refused, reason="spool_full")
        self.assertEqual([gateway.metric(name) for name in ("ringmx_messages_rejected_total", "ringmx_messages_accepted_total", "ringmx_acknowledge_seconds_count", "ringmx_queue_messages")],
                         [refused, accepted, accepted, accepted])
        self.assertLess(gateway.metric("ringmx_spool_room_bytes"), 2 * len(BODY), "each worker has less than one message's room")
        self.backend(address=("127.0.0.1", port)).wait_messages(accepted)
        self.wait_taken_again(gateway)

    def test_what_is_forwarded_from_the_queue_and_what_is_refused_there_is_counted_by_backend(self):
        """A copy for each backend is one message; each recipient that it refuses or defers is a failure."""
        later = ["450 4.2.0 later", "450 4.2.0 later", "250 2.1.5 ok"]
        first, second = self.backend({"RCPT": {"gone@one.example": "550 5.1.1 no such user"}}), self.backend({"RCPT": later})
        dead = f"127.0.0.1:{free_port()}"
        pools = {name: pool(each, health={"interval": "10s"}) for name, each in (("one", first), ("two", second), ("three", dead))}
        settings = self.settings([first], workers=2, limits={"exempt": ["127.0.0.0/8"]}, spool={"retry": {"initial": "200ms", "maximum": "200ms"}})
        settings.update(pools=pools, routes=[{"recipients": [f"{name}.example"], "pool": name} for name in pools])
        gateway = self.gateway(settings)
        client = self.client(gateway)
        client.message("a@one.example", "b@one.example")
        client.message("a@one.example", "a@two.example")
        client.message("gone@one.example", "a@one.example")
        client.message("gone@one.example")
        client.message("a@three.example")
        gateway.wait_metric("ringmx_messages_forwarded_total", 4)
        wait_until(lambda: gateway.metric("ringmx_forward_failures_total", pool="three") >= 1, what="an attempt at the one that is dead")

        def counted(name, **labels):
            return [gateway.metric(name, pool=each, backend=backend, **labels) for each, backend in (("one", first.address), ("two", second.address), ("three", dead))]
        self.assertEqual(counted("ringmx_messages_forwarded_total"), [3, 1, 0])
        self.assertEqual(counted("ringmx_forward_seconds_count"), [3, 1, 0])
        self.assertEqual(counted("ringmx_forward_failures_total", kind="reject"), [2, 0, 0])
        self.assertEqual(counted("ringmx_forward_failures_total", kind="tempfail"), [0, 2, 0])
        self.assertEqual(counted("ringmx_forward_failures_total")[:2], [2, 2])
        self.assertEqual(gateway.metric("ringmx_forward_failures_total", pool="three", kind="connect_refused"), gateway.metric("ringmx_forward_failures_total", pool="three"))
        self.assertEqual(gateway.metric("ringmx_acknowledge_seconds_count"), 5)
        for name in ("ringmx_acknowledge_seconds", "ringmx_forward_seconds"):
            self.assertGreater(gateway.metric(name + "_sum"), 0)

    def test_the_histograms_have_what_a_hand_off_and_an_acknowledgement_took(self):
        """A backend that takes its time is no part of the answer to the client."""
        seconds = 1.0
        backend = self.backend({"END": Delay(seconds, "250 2.0.0 ok")})
        gateway = self.gateway(self.settings([backend]))
        start = time.monotonic()
        self.client(gateway).message("user@example.com")
        acknowledged = time.monotonic() - start
        gateway.wait_metric("ringmx_forward_seconds_count", 1)
        whole = time.monotonic() - start
        self.assertTrue(0 < gateway.metric("ringmx_acknowledge_seconds_sum") <= acknowledged)
        self.assertTrue(seconds <= gateway.metric("ringmx_forward_seconds_sum") <= whole)
        for name, most in (("ringmx_acknowledge_seconds", acknowledged), ("ringmx_forward_seconds", whole)):
            buckets = {float(dict(labels)["le"]): value for (each, labels), value in gateway.metrics().items() if each == name + "_bucket"}
            self.assertEqual({value for bound, value in buckets.items() if bound >= 2 * most}, {1})
            least = seconds if name == "ringmx_forward_seconds" else 0
            self.assertEqual({value for bound, value in buckets.items() if bound < least} - {0}, set())


class QueueLog(SpoolScene):
    """One story, told in both formats. It has a message that is delivered, one that is deferred first, one that expires, one that is refused,
    and one from <> that is refused, and so kept, and that an operator then deals with.

    A release acts at once and is told when it is durable: what the backend said meanwhile may stand before it. What it says to an attempt that was under way when the
    message was held may stand behind that."""

    def play(self, log_format):
        refusals = {"later@example.com": ["450 4.2.0 not now"]}

        def answer(_, address):
            if address.startswith("never"):
                return "450 4.2.1 not today"
            if address.startswith("unknown"):
                return "550 5.1.1 no such user"
            return refusals[address].pop() if refusals.get(address) else None

        self.backend_under_test = self.backend({"RCPT": answer})
        self.port = self.backend_under_test.address.rpartition(":")[2]
        self.gateway_under_test = self.gateway(self.settings(
            [self.backend_under_test], log={"format": log_format}, limits={"exempt": ["127.0.0.0/8"]},
            spool={"retry": {"initial": "1s", "maximum": "1s", "expire": "3s"}, "on_failure": "bounce"}))
        ids = {"sent": self.send("one@example.com", "two@example.com", "three@example.com"), "later": self.send("later@example.com"),
               "expired": self.send("never@example.com"), "refused": self.send("unknown@example.com"), "kept": self.send("unknown@example.com", sender="")}
        gateway = self.gateway_under_test
        gateway.wait_metric("ringmx_queue_messages", 1)
        self.wait_state(ids["kept"], "failed")
        for verb, state in (("hold", "held"), ("release", "failed"), ("retry", "failed")):
            self.assertEqual(run(BIN / "ringmx", "queue", verb, ids["kept"], "--admin", f"127.0.0.1:{gateway.admin_port}").returncode, 0)
            self.wait_state(ids["kept"], state)
        self.assertEqual(run(BIN / "ringmx", "queue", "remove", ids["kept"], "--admin", f"127.0.0.1:{gateway.admin_port}").returncode, 0)
        ids["held"] = self.send("never-held@example.com")
        self.assertEqual(run(BIN / "ringmx", "queue", "hold", ids["held"], "--admin", f"127.0.0.1:{gateway.admin_port}").returncode, 0)
        self.assertEqual(gateway.stop(), 0)
        return ids

    def send(self, *recipients, sender="sender@example.net"):
        with Client(self.gateway_under_test.smtp) as client:
            client.ehlo()
            return re.search(r"queued as (\S+)", str(client.message(*recipients, sender=sender))).group(1)

    def wait_state(self, queue_id, state):
        wait_until(lambda: json.loads(self.gateway_under_test.get(f"/api/queue/{queue_id}")[1]).get("state") == state, what=f"the state {state}")

    def test_as_text(self):
        ids = self.play("text")
        log = self.gateway_under_test.log()
        relay, delay = rf"relay=127\.0\.0\.1\[127\.0\.0\.1\]:{self.port}", r"delay=\d+\.\d{3}, delays=(?:0|\d+\.\d{3})/0/0/(?:0|\d+\.\d{3})"

        def lines_of(name):
            return [line.partition("]: ")[2] for line in log.splitlines() if line.partition("]: ")[2].startswith(ids.get(name, name) + ": ")]

        def assert_told(name, *patterns):
            told = lines_of(name)
            self.assertEqual(len(told), len(patterns), told)
            for line, pattern in zip(told, patterns):
                self.assertRegex(line, rf"\A{ids.get(name, name)}: {pattern}\Z")

        def accepted(name, sender="sender@example.net", count=1):
            return (rf"client=unknown\[127\.0\.0\.1\], from=<{re.escape(sender)}>, size=21, nrcpt={count}, proto=ESMTP, helo=<client\.example>, tls=none, "
                    rf"delay=\d+\.\d{{3}}, reply=\(250 2\.0\.0 Ok: queued as {ids[name]}\)")

        def tried(recipient, dsn, status, reply):
            return rf"to=<{re.escape(recipient)}>, {relay}, {delay}, dsn={re.escape(dsn)}, status={status} \({re.escape(reply)}\)"

        assert_told("sent", accepted("sent", count=3), tried("one@example.com", "2.0.0", "sent", "250 2.0.0 taken by backend") +
                    r", nrcpt=3, also=<two@example\.com>, also=<three@example\.com>")
        assert_told("later", accepted("later"), tried("later@example.com", "4.2.0", "deferred", "450 4.2.0 not now"),
                    tried("later@example.com", "2.0.0", "sent", "250 2.0.0 taken by backend"))
        notified = "sender non-delivery notification: [A-Za-z]{13}"
        deferrals = len(lines_of("expired")) - 3
        self.assertGreaterEqual(deferrals, 1)
        deferred = tried("never@example.com", "4.2.1", "deferred", "450 4.2.1 not today")
        assert_told("expired", accepted("expired"), *[deferred] * deferrals, deferred.replace("deferred", "bounced"), notified)
        refused = tried("unknown@example.com", "5.1.1", "bounced", "550 5.1.1 no such user")
        assert_told("refused", accepted("refused"), refused, notified)
        first, *changes, last = lines_of("kept")
        self.assertRegex(first, rf"\A{ids['kept']}: {accepted('kept', sender='')}\Z")
        kept = tried("unknown@example.com", "5.1.1", "held", "550 5.1.1 no such user; held: nobody is told of mail from <>")
        self.assertEqual(Counter("kept" if re.search(rf": {kept}\Z", line) else line.partition(": ")[2] for line in changes),
                         {"kept": 3, "placed on hold": 1, "released from hold": 1, "requeued": 1})
        self.assertEqual(last, f"{ids['kept']}: removed")
        self.assertIn(f"{ids['held']}: placed on hold", lines_of("held"))
        for name in ("expired", "refused"):
            report = lines_of(name)[-1].rpartition(" ")[2]
            assert_told(report, tried("sender@example.net", "2.0.0", "sent", "250 2.0.0 taken by backend"))

    def test_as_json(self):
        ids = self.play("json")
        lines = [json.loads(line) for line in self.gateway_under_test.log().splitlines()]
        backend = f"127.0.0.1:{self.port}"

        def told_of(name):
            return [line for line in lines if line.get("id") == ids.get(name, name)]

        def assert_told(name, *expected):
            told = told_of(name)
            self.assertEqual([line["event"] for line in told], [fields["event"] for fields in expected])
            for line, fields in zip(told, expected):
                self.assertEqual({key: line.get(key) for key in fields}, fields)
                self.assertRegex(line["time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")
                self.assertEqual((line["pid"], line["level"]), (self.gateway_under_test.pid, "info"))
                if line["event"] in ("accepted", "delivered", "deferred", "failed"):
                    self.assertGreaterEqual(line["duration_ms"], 0)

        client = {"client": "127.0.0.1", "sender": "sender@example.net", "size": 21}

        def accepted(name, count=1, **changed):
            return {"event": "accepted", **client, "recipients": count, "protocol": "ESMTP", "hello": "client.example", "tls": "none", "reply_code": 250,
                    "reply_enhanced": "2.0.0", "reply": f"Ok: queued as {ids[name]}", **changed}

        def delivered(recipient, count=1, **more):
            return {"event": "delivered", "recipient": recipient, "recipients": count, "pool": "main", "backend": backend, "backend_address": backend,
                    "reply_code": 250, "reply_enhanced": "2.0.0", "reply": "taken by backend", **more}

        def undelivered(event, recipient, reply, **changed):
            return {"event": event, **client, "recipient": recipient, "pool": "main", "backend": backend, "detail": reply, **changed}

        assert_told("sent", accepted("sent", 3), delivered("one@example.com", 3, more_recipients=["two@example.com", "three@example.com"], **client))
        assert_told("later", accepted("later"), undelivered("deferred", "later@example.com", "450 4.2.0 not now"), delivered("later@example.com", **client))
        self.assertGreaterEqual(len(told_of("expired")), 4)
        deferred = [undelivered("deferred", "never@example.com", "450 4.2.1 not today")] * (len(told_of("expired")) - 3)
        assert_told("expired", accepted("expired"), *deferred, undelivered("failed", "never@example.com", "450 4.2.1 not today"), {"event": "reported"})
        refused = undelivered("failed", "unknown@example.com", "550 5.1.1 no such user", reason="bounced")
        assert_told("refused", accepted("refused"), refused, {"event": "reported"})

        first, *changes, last = told_of("kept")
        self.assertEqual((first["event"], first["sender"]), ("accepted", ""))
        self.assertEqual(Counter((line["event"], line["detail"]) for line in changes),
                         {("failed", "550 5.1.1 no such user; held: nobody is told of mail from <>"): 3, ("queue_change", "placed on hold"): 1, ("queue_change", "released from hold"): 1,
                          ("queue_change", "requeued"): 1})
        self.assertEqual({line.get("reason") for line in changes if line["event"] == "failed"}, {"held"})
        self.assertEqual((last["event"], last["detail"]), ("queue_change", "removed"))
        self.assertIn(("queue_change", "placed on hold"), [(line["event"], line.get("detail")) for line in told_of("held")])
        for name in ("expired", "refused"):
            report = told_of(name)[-1]["detail"].rpartition(" ")[2]
            assert_told(report, delivered("sender@example.net", sender=""))


if __name__ == "__main__":
    unittest.main()
