"""A spool's file system that becomes read-only: that is told before any mail finds out, and when it can be written again service resumes by itself."""

import unittest

import fuse_disk
import loop_disk
from fuse_disk import FuseDisk
from harness import free_port, wait_until
from loop_disk import LoopDisk
from test_spool import SpoolScene

READ_ONLY = "the spool can't be written: Read-only file system"


class WaitingMail(SpoolScene):
    def started(self, start=None):
        """A gateway whose backend nobody has started yet, and three messages that wait."""
        self.port = free_port()
        gateway = (start or self.gateway)(self.waiting(workers=2))
        for number in range(3):
            self.client(gateway).message(f"before{number}@example.com")
        return gateway

    def waiting(self, workers):
        return self.settings([f"127.0.0.1:{self.port}"], workers=workers, directory="disk/spool", pool_settings={"health": {"interval": "200ms"}},
                             limits={"exempt": ["127.0.0.0/8"]}, spool={"max_size": "128MiB", "retry": {"initial": "1s", "maximum": "1s"}})


@unittest.skipIf(fuse_disk.why_not(), fuse_disk.why_not())
class OnFuse(WaitingMail):
    def setUp(self):
        super().setUp()
        self.disk = FuseDisk(self.folder / "behind")
        self.addCleanup(self.disk.unmount)
        self.disk.mount(self.folder / "disk")


class ReadOnly:
    def assert_refused(self, gateway):
        wait_until(lambda: gateway.get("/readyz") == (503, READ_ONLY + "\n"), what="/readyz 503")
        gateway.wait_log(f"error: {READ_ONLY}: mail is refused until that is over")
        self.assertEqual(gateway.get("/healthz")[0], 200)
        self.wait_reply_to_mail(gateway, "451 4.3.0 ")


@unittest.skipIf(loop_disk.why_not(), loop_disk.why_not())
class AfterAnError(ReadOnly, WaitingMail):
    def test_an_idle_gateway_tells_of_it(self):
        """No mail comes that could find out."""
        disk = LoopDisk(self.folder / "image", 256 * loop_disk.MIB)
        self.addCleanup(disk.unmount, lazily=True)
        disk.mount(self.folder / "disk")
        gateway = self.started()
        failures = gateway.metric("ringmx_spool_write_failures_total")
        disk.fail()
        self.assert_refused(gateway)
        self.assertEqual(gateway.metric("ringmx_spool_write_failures_total"), failures, "it was no write that told")
        self.backend(address=("127.0.0.1", self.port)).wait_messages(3)
        gateway.wait_metric("ringmx_queue_messages", 0)


class AndWritableAgain(ReadOnly, OnFuse):
    def test_an_idle_gateway_follows_without_a_restart(self):
        gateway = self.started()
        for round_ in range(2):
            self.disk.is_read_only = True
            self.assert_refused(gateway)
            self.disk.is_read_only = False
            self.wait_taken_again(gateway)
            self.client(gateway).message(f"after{round_}@example.com")
        self.assertEqual(gateway.log().count("mail is refused until that is over"), 2)
        self.backend(address=("127.0.0.1", self.port)).wait_messages(5)
        gateway.wait_metric("ringmx_queue_messages", 0)

    def test_what_is_delivered_meanwhile_is_noted_afterwards(self):
        gateway = self.started()
        self.disk.is_read_only = True
        self.assert_refused(gateway)
        backend = self.backend(address=("127.0.0.1", self.port))
        backend.wait_messages(3)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.disk.is_read_only = False
        self.wait_taken_again(gateway)
        self.client(gateway).message("after@example.com")
        backend.wait_messages(4)
        self.assertEqual(gateway.stop(), 0)
        self.assert_nothing_is_left(self.waiting(workers=1))

    def test_under_load_nothing_is_lost_or_delivered_twice(self):
        gateway = self.started()
        sent, received = self.folder / "sent", self.folder / "received"
        load = self.load(gateway, sent, rate=100)
        for _ in range(2):
            before = gateway.metric("ringmx_messages_accepted_total")
            wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= before + 30)
            self.disk.is_read_only = True
            self.assert_refused(gateway)
            self.disk.is_read_only = False
            self.wait_taken_again(gateway)
        before = gateway.metric("ringmx_messages_accepted_total")
        wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= before + 30)
        load.stop()
        sink = self.sink("--record", received, port=self.port)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(gateway.stop(), 0)
        self.assert_nothing_is_left(self.waiting(workers=1))
        sink.stop()
        from_load = self.folder / "received from the load"
        from_load.write_text("".join(line + "\n" for line in received.read_text().splitlines() if not line.startswith("- ")))
        counted = self.audited(sent, from_load)
        self.assertGreater(counted["acknowledged"], 90)
        self.assertEqual(counted["duplicates"], 0)


if __name__ == "__main__":
    unittest.main()
