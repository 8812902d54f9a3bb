"""A backend that comes back with many messages waiting: all of them arrive, oldest first, at a bounded pace, and new mail does not wait behind them.

2,000 messages; with RINGMX_LONG=1 100,000, where the figure of what each costs in memory means something, and a minute in which the backend stays dead."""

import pathlib
import time
import unittest

from harness import BIN, LONG, SANITIZED, EndToEnd, Program, config, free_port, pool, run, wait_until

WAITING = 100_000 if LONG else 2_000
DEAD_SECONDS = 60 if LONG else 0
RETURN_SECONDS_MAX = 330      # a backend that traffic took out is tried again after 5 minutes at most
NEW = 20
CONNECTIONS = 16
FROM_DISK_MAX = 32            # messages that are forwarded from the disk at a time
BYTES_PER_MESSAGE_MAX = 128   # of memory, for one that waits
FIXED_BYTES_MAX = 4 << 20     # buffers that the first tenth had not touched yet; all content would be more
RESTARTED = 2_000 if SANITIZED else 40_000
REPLY_SECONDS = 0.02          # of the backend, so that the pace is seen


class Backlog(EndToEnd):
    def load(self, gateway, record, messages, connections=CONNECTIONS):
        """Message-IDs in the order of their replies, all of which were 250."""
        done = run(BIN / "ringmx-load", "--to", f"127.0.0.1:{gateway.ports[0]}", "--size", "4KiB", "--messages", messages, "--connections", connections,
                   "--record", record, timeout=600)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return ids_in(record)

    def test_a_backend_that_returns_gets_all_in_order_and_new_mail_passes(self):
        port = free_port()
        gateway = self.gateway(config(
            {"main": pool(f"127.0.0.1:{port}", health={"interval": "200ms"}, max_connections=200)}, listener={"acknowledge": "spool"},
            limits={"message_rate_per_client": f"{2 * WAITING}/1m", "recipient_rate_per_client": f"{2 * WAITING}/1m"}, log={"level": "error"}, spool={"directory": str(self.folder / "spool"), "max_size": "2GiB", "retry": {"initial": "10m"}}))
        sent, received = self.folder / "sent", self.folder / "received"
        early = self.load(gateway, self.folder / "early", WAITING // 10)
        before = gateway.rss_bytes()
        late = self.load(gateway, self.folder / "late", WAITING - len(early))
        gateway.wait_metric("ringmx_queue_messages", WAITING)
        self.assertEqual(gateway.get("/readyz")[0], 200)
        grown = gateway.rss_bytes() - before
        print(f"{len(late)} more messages wait in {grown >> 10} KiB more, {grown / len(late):.0f} bytes each")
        if not SANITIZED:
            self.assertLessEqual(grown, len(late) * BYTES_PER_MESSAGE_MAX + FIXED_BYTES_MAX)

        time.sleep(DEAD_SECONDS)
        self.assertEqual((gateway.metric("ringmx_queue_messages"), gateway.metric("ringmx_messages_forwarded_total")), (WAITING, 0))
        self.assertEqual((gateway.get("/readyz")[0], gateway.get("/healthz")[0]), (200, 200))
        waited = gateway.rss_bytes() - before
        print(f"after {DEAD_SECONDS} s in {waited >> 10} KiB more")
        if not SANITIZED:
            self.assertLessEqual(waited, len(late) * BYTES_PER_MESSAGE_MAX + FIXED_BYTES_MAX, "the wait costs memory")

        sink = Program([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{port}", "--delay", f"{round(REPLY_SECONDS * 1000)}ms", "--record", received],
                       self.folder, name="sink")
        self.addCleanup(sink.stop)
        wait_until(lambda: len(ids_in(received)) > 0, RETURN_SECONDS_MAX, "a first message")
        start = time.monotonic()
        new = self.load(gateway, self.folder / "new", NEW, connections=1)
        behind = len(ids_in(received)) + WAITING // 4
        wait_until(lambda: gateway.metric("ringmx_queue_messages") == 0, 600, "an empty queue")
        seconds = time.monotonic() - start
        print(f"{WAITING} messages went in {seconds:.1f} s; {(gateway.rss_bytes() - before) >> 10} KiB more than before")
        self.assertEqual(sink.stop(), 0)

        sent.write_text("".join((self.folder / name).read_text() for name in ("early", "late", "new")))
        audit = run(BIN / "ringmx-load", "audit", sent, received)
        self.assertEqual(audit.returncode, 0, audit.stdout + audit.stderr)
        self.assertGreaterEqual(seconds, 0.8 * WAITING / FROM_DISK_MAX * REPLY_SECONDS, "more were under way at a time")
        arrived = ids_in(received)
        place = {id_: index for index, id_ in enumerate(arrived)}
        self.assertLess(place[new[-1]], min(behind, WAITING), "new mail waited behind the old")
        old = [id_ for id_ in arrived if not id_.startswith(run_of(new[0]))]
        rank = {id_: index for index, id_ in enumerate(early + late)}
        farthest = max(abs(index - rank[id_]) for index, id_ in enumerate(old))
        self.assertLessEqual(farthest, CONNECTIONS + 2 * FROM_DISK_MAX, "not oldest first")

    def test_what_waits_costs_no_more_memory_after_a_restart(self):
        gateway = self.gateway(config(
            {"main": pool(f"127.0.0.1:{free_port()}", hold=True)}, listener={"acknowledge": "spool"}, log={"level": "error"},
            limits={"message_rate_per_client": f"{2 * RESTARTED}/1m", "recipient_rate_per_client": f"{2 * RESTARTED}/1m"}, spool={"directory": str(self.folder / "spool")}))
        before = gateway.rss_bytes()
        done = run(BIN / "ringmx-load", "--to", f"127.0.0.1:{gateway.ports[0]}", "--size", "1KiB", "--messages", RESTARTED, "--connections", 100, timeout=600)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(gateway.stop(), 0)
        gateway = self.gateway(gateway.settings)
        gateway.wait_metric("ringmx_queue_messages", RESTARTED)
        grown = gateway.rss_bytes() - before
        print(f"{RESTARTED} messages of the run before wait in {grown >> 10} KiB, {grown / RESTARTED:.0f} bytes each")
        if not SANITIZED:
            self.assertLessEqual(grown, RESTARTED * BYTES_PER_MESSAGE_MAX + FIXED_BYTES_MAX)


def ids_in(record):
    path = pathlib.Path(record)
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def run_of(id_):
    return id_.partition(".")[0] + "."


if __name__ == "__main__":
    unittest.main()
