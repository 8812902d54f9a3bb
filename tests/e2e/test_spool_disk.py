"""The durable queue on a disk of its own: one that fills up, one that turns read-only, one that is copied while it is written to."""

import json
import unittest

import loop_disk
from harness import BIN, Program, config, free_port, pool, run, wait_until
from smtp_client import Client
from test_spool import SpoolScene

ORDINARY_RETRY = {"initial": "1s", "maximum": "1s"}


@unittest.skipIf(loop_disk.why_not(), loop_disk.why_not())
class SpoolDisk(SpoolScene):
    def setUp(self):
        super().setUp()
        self.backend_port = free_port()
        self.sent = self.folder / "sent"
        self.disk = self.new_disk("image")
        self.disk.mount(self.folder / "disk")

    def new_disk(self, name):
        return self.unmounted_at_the_end(loop_disk.LoopDisk(self.folder / name, 64 * loop_disk.MIB))

    def unmounted_at_the_end(self, disk):
        self.addCleanup(disk.unmount, lazily=True)
        return disk

    def settings(self, workers=1, where="disk", port=None):
        return config({"main": pool(f"127.0.0.1:{port or self.backend_port}", health={"interval": "200ms"})}, listener={"acknowledge": "spool"}, workers=workers,
                      timeouts={"drain": "1s"}, spool={"directory": str(self.folder / where / "spool"), "max_size": "256MiB", "retry": ORDINARY_RETRY})

    def load(self, gateway, *arguments, rate=100, size="64KiB"):
        """Open-loop mail, 6.4 MB a second."""
        load = Program([BIN / "ringmx-load", "--to", f"127.0.0.1:{gateway.ports[0]}", "--connections", "4", "--rate", f"{rate}/1s", "--size", size,
                        "--record", self.sent, "--json", self.folder / "load.json", *arguments], self.folder, name="load")
        self.addCleanup(load.stop)
        return load

    def load_result(self, load):
        self.assertIn(load.wait(60), (0, 1), load.log())
        return json.loads((self.folder / "load.json").read_text())

    def sink(self, record, *arguments, port=None):
        sink = Program([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{port or self.backend_port}", "--record", record, *arguments], self.folder, name="sink")
        self.addCleanup(sink.stop)
        sink.wait_log("listening on")
        return sink

    def stop_and_audit(self, sink, *records):
        self.assertEqual(sink.stop(), 0)
        audit = run(BIN / "ringmx-load", "audit", self.sent, *records)
        self.assertEqual(audit.returncode, 0, audit.stdout + audit.stderr)
        return audit.stdout

    def assert_all_is_delivered(self, settings):
        """What was acknowledged, by a new gateway, which is given back."""
        sink = self.sink(self.folder / "received")
        gateway = self.gateway(settings)
        gateway.wait_log("the spool of earlier runs is read")
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.stop_and_audit(sink, self.folder / "received")
        return gateway

    def assert_refused(self, gateway, reply, reason):
        wait_until(lambda: gateway.get("/readyz")[0] == 503, what="/readyz 503")
        self.assertIn(reason, gateway.get("/readyz")[1])
        gateway.wait_log(reason + ".*: mail is refused until that is over")
        with Client(gateway.smtp) as client:
            client.ehlo()
            client.cmd("MAIL FROM:<sender@example.net>", reply)

    def test_a_disk_that_fills_up_loses_nothing_and_mail_is_taken_again_when_there_is_room(self):
        gateway = self.gateway(self.settings())
        load = self.load(gateway, "--duration", "3s")
        wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= 10)
        self.disk.fill()
        result = self.load_result(load)
        self.assertGreater(result["accepted"], 10)
        self.assertGreater(result["tempfailed"], 10)
        self.assertEqual((result["rejected"], result["errors"]), (0, 0))
        self.assert_refused(gateway, "452 4.3.1", "the spool is full")
        self.disk.make_room()
        self.wait_taken_again(gateway)
        more = self.folder / "more"
        self.assertEqual(run(BIN / "ringmx-load", "--to", f"127.0.0.1:{gateway.ports[0]}", "--messages", "20", "--record", more).returncode, 0)
        self.sent.write_text(self.sent.read_text() + more.read_text())
        sink = self.sink(self.folder / "received")
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.stop_and_audit(sink, self.folder / "received")

    def test_a_full_disk_keeps_its_mail_over_a_kill(self):
        """It has no room for the folder of the next run: that one says so, and with room again goes on."""
        gateway = self.doomed_gateway(self.settings())
        load = self.load(gateway, "--duration", "3s")
        wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= 10)
        self.disk.fill()
        self.load_result(load)
        self.kill(gateway)
        second = self.gateway(self.settings(workers=2), wait_ready=False)
        self.assertEqual(second.wait(), 1)
        self.assertIn("No space left on device; make room on its file system", second.log())
        self.disk.make_room()
        self.assert_all_is_delivered(self.settings(workers=2))

    def test_a_disk_that_turns_read_only_refuses_mail_still_delivers_and_keeps_what_it_has(self):
        gateway = self.gateway(self.settings())
        load = self.load(gateway, "--duration", "2s")
        wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= 20)
        self.disk.fail()
        result = self.load_result(load)
        self.assertGreater(result["accepted"], 10)
        self.assertGreater(result["tempfailed"], 10)
        self.assertEqual((result["rejected"], result["errors"]), (0, 0))
        self.assert_refused(gateway, "451 4.3.0", "the spool can't be written: Read-only file system")
        sink = self.sink(self.folder / "received while read-only")
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.stop_and_audit(sink, self.folder / "received while read-only")
        # No mark of that could be written: after the mend all of it comes again.
        gateway.stop()
        self.disk.unmount()
        self.disk.mount(self.folder / "disk")
        second = self.assert_all_is_delivered(self.settings(workers=2))
        self.client(second).message("user@example.com")

    def test_a_disk_that_is_unmounted_under_it_and_mounted_again(self):
        """What is at its place meanwhile is the file system below, which is not used."""
        gateway = self.gateway(self.settings(workers=2))
        for number in range(3):
            self.client(gateway).message(f"before{number}@example.com")
        where = self.disk.path
        self.disk.unmount(lazily=True)
        self.assert_refused(gateway, "451 4.3.0", "the spool's directory, or a file in it, is gone")
        self.assertEqual(list(where.iterdir()), [])
        (where / "spool").mkdir(0o700)
        gateway.wait_log("another file system is there now; mount the spool's again")
        self.assertEqual(list((where / "spool").iterdir()), [])
        self.disk.mount(where)
        self.wait_taken_again(gateway)
        self.client(gateway).message("after@example.com")
        backend = self.backend(address=("127.0.0.1", self.backend_port))
        backend.wait_messages(4)
        gateway.wait_metric("ringmx_queue_messages", 0)

    def test_a_disk_that_is_read_only_at_the_start_is_named_and_served_from_after_a_remount(self):
        self.disk.remount("ro")
        first = self.gateway(self.settings(), wait_ready=False)
        self.assertEqual(first.wait(), 1)
        self.assertIn(str(self.folder / "disk" / "spool"), first.log())
        self.assertIn("Read-only file system", first.log())
        self.disk.remount("rw")
        self.client(self.gateway(self.settings())).message("user@example.com")

    def test_a_disk_that_is_copied_under_load_has_all_that_was_acknowledged(self):
        """As a power cut would leave it: no unmount, and nothing of what waits in memory to be written. The one that was copied from goes on."""
        here, elsewhere, at_the_stop = (self.folder / f"received {when}" for when in ("here", "elsewhere", "here at the stop"))
        sink = self.sink(here, "--delay", "300ms")  # 40 connections take fewer than come
        gateway = self.gateway(self.settings(workers=3))
        load = self.load(gateway, "--duration", "5m", "--timeout", "1s", rate=200, size="1KiB-64KiB")
        wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= 200)
        with gateway.stopped():
            copy = self.unmounted_at_the_end(self.disk.copy(self.folder / "copy"))
            load.stop()  # whatever it heard 250 of was safe before the stop
            at_the_stop.write_text(here.read_text())
        copy.mount(self.folder / "elsewhere")
        port = free_port()
        other_sink = self.sink(elsewhere, port=port)
        other = self.gateway(self.settings(workers=1, where="elsewhere", port=port))
        other.wait_log("the spool of earlier runs is read")
        other.wait_metric("ringmx_queue_messages", 0)
        self.stop_and_audit(other_sink, at_the_stop, elsewhere)
        self.assertGreater(len(elsewhere.read_text().splitlines()), 20, "hardly anything waited")

        more = self.folder / "more"
        self.assertEqual(run(BIN / "ringmx-load", "--to", f"127.0.0.1:{gateway.ports[0]}", "--messages", "20", "--record", more).returncode, 0)
        self.sent.write_text(self.sent.read_text() + more.read_text())
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(gateway.stop(), 0)
        self.stop_and_audit(sink, here)


if __name__ == "__main__":
    unittest.main()
