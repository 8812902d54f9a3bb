"""What earlier runs left, while it is read: none of it goes out before all of it has been read, since what was removed or delivered may be told at its very end."""

import json
import unittest

import fuse_disk
from fuse_disk import FuseDisk
from harness import BIN, free_port, pool, run, wait_until
from test_queue import Queue

TAKEN_BEFORE = {"delivered@example.com", "half@example.com"}


@unittest.skipIf(fuse_disk.why_not(), fuse_disk.why_not())
class Adoption(Queue):
    def setUp(self):
        super().setUp()
        self.disk = FuseDisk(self.folder / "behind")
        self.addCleanup(self.disk.unmount)
        self.disk.mount(self.folder / "disk")
        self.spool = self.folder / "disk" / "spool"

    def inspected(self):
        result = run(BIN / "ringmx", "spool", "inspect", "--json", self.spool)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return json.loads(result.stdout)

    def files_in_the_order_of_reading(self):
        return [(f"spool/{each['generation']:08}/{segment['name']}", segment) for each in self.inspected()["runs"] for segment in each["segments"]]

    def two_runs_that_were_killed(self):
        """Their settings; the second one delivered, and removed, what the first one had taken."""
        self.port = free_port()
        backend = self.backend({"RCPT": lambda _, address: None if address in TAKEN_BEFORE else "450 4.2.0 later"}, address=("127.0.0.1", self.port))
        gateway = self.spooling(workers=2, spool={"directory": str(self.spool), "max_size": "128MiB", "retry": {"initial": "1h", "maximum": "1h"}},
                                pools={"main": pool(backend.address, hold=True, health={"interval": "200ms"})})
        for number in range(10):
            self.send(gateway, f"first{number}@example.com")
        removed = [self.send(gateway, f"removed{number}@example.com") for number in range(4)]
        for _ in range(4):
            self.send(gateway, "delivered@example.com")
            self.send(gateway, "half@example.com", "rest@example.com")
        gateway = self.again(gateway, pools={"main": pool(backend.address, health={"interval": "200ms"})})
        for each in removed:
            self.do(gateway, "remove", each)
        for number in range(10):
            self.send(gateway, f"second{number}@example.com")

        def pending():
            return sorted(each["mailbox"] for message in self.inspected()["messages"] for each in message["recipients"] if each["state"] == "pending")
        self.waiting = sorted([f"{when}{number}@example.com" for when in ("first", "second") for number in range(10)] + ["rest@example.com"] * 4)
        wait_until(lambda: pending() == self.waiting, what="the marks on the disk")
        self.kill(gateway)
        backend.stop()
        return gateway.settings

    def test_nothing_goes_out_before_the_last_segment_was_read_and_then_all_of_it_once(self):
        settings = self.two_runs_that_were_killed()
        files = self.files_in_the_order_of_reading()
        self.assertGreater(sum("messages" in segment for _, segment in files), 2, "too few segments")
        last = max(index for index, (_, segment) in enumerate(files) if segment.get("marks"))
        unread = sum(segment["bytes"] for _, segment in files[last:])
        self.assertTrue(files[last][0].startswith("spool/00000002/"), files[last])
        backend = self.backend(address=("127.0.0.1", self.port))
        with self.disk.withheld(files[last][0]):
            gateway = self.gateway(settings)
            wait_until(lambda: 0 < gateway.metric("ringmx_spool_unread_bytes") <= unread, what="an end of the reading of the others")
            new = [f"new{number}@example.com" for number in range(20)]
            for each in new:
                self.send(gateway, each)
            backend.wait_messages(len(new))
            # Its recovery would have gone on, and the mail of others come, between two of these.
            for each in ("later0@example.com", "later1@example.com"):
                self.send(gateway, each)
                new.append(each)
                backend.wait_messages(len(new))
            self.assertEqual(self.recipients(backend), sorted(new))
            self.assertEqual((gateway.metric("ringmx_spool_recovering"), gateway.metric("ringmx_queue_messages")), (1, 0))
            self.assertEqual(gateway.get("/readyz")[0], 200)
        wait_until(lambda: json.loads(gateway.get("/api/queue")[1])["complete"], what="a complete queue")
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(self.recipients(backend), sorted(new + self.waiting))
        self.assertEqual(gateway.stop(), 0)
        self.assertEqual(self.recipients(backend), sorted(new + self.waiting))

    def recipients(self, backend):
        return sorted(each for message in backend.delivered() for each in message.recipients)


if __name__ == "__main__":
    unittest.main()
