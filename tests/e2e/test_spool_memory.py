"""Much large mail at a time through a small limits.memory: it goes to the disk as it comes, and what the process has in memory stays within the setting."""

import json
import pathlib
import re
import threading
import time
import unittest

import fuse_disk
from fuse_disk import FuseDisk
from harness import SANITIZED, free_port, wait_until
from smtp_client import Client
from test_spool import SpoolScene

MIB = 1 << 20
SETTING_BYTES = 16 * MIB
# Beside limits.memory and what an idle gateway has: the main thread's pool for admin and probes, of at most 4 MiB
# (Control::memory_bytes_max); pages of the program's file that an idle one has not touched; for each client its session,
# envelope and place in tables, of at most 16 KiB.
ADMIN_BYTES = 4 * MIB
PROGRAM_BYTES = 4 * MIB
CLIENT_BYTES = 16 << 10
MESSAGE_BYTES = 8 * MIB
FAST, SLOW = 38, 12
WRITE_SECONDS = 0.002  # of the disk for each 128 KiB: it takes much less than the clients send


def body_of(number):
    """Lines of 1,000 octets, of its own for each number."""
    head = b"Subject: %d\r\n\r\n" % number
    line = (b"%06d" % number) * 167
    lines = (MESSAGE_BYTES - len(head)) // 1000
    return head + (line[:998] + b"\r\n") * lines + b"x" * (MESSAGE_BYTES - len(head) - 1000 * lines - 2) + b"\r\n"


class SpoolMemory(SpoolScene):
    def peak_bytes(self, gateway):
        for line in pathlib.Path(f"/proc/{gateway.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")

    def send(self, gateway, number, is_slow):
        """The queue's id, or None when the answer was 452. A slow one waits in the middle until all others are done."""
        with Client(gateway.smtp, timeout=120) as client:
            client.ehlo()
            if client.cmd(f"MAIL FROM:<sender@example.net> SIZE={MESSAGE_BYTES}").code == 452:
                return None
            if client.cmd(f"RCPT TO:<user{number}@example.com>").code == 452:
                return None
            client.cmd("DATA", "354")
            body = body_of(number)
            sent = 0
            if is_slow:
                while sent < MESSAGE_BYTES // 2:
                    client.send(body[sent:sent + 7001])
                    sent += 7001
                    time.sleep(0.001)
                self.half_sent.release()
                self.fast_are_done.wait(120)
            client.send(body[sent:] + b".\r\n")
            reply = client.reply()
        self.assertIn(reply.code, (250, 452), reply)
        return re.search(r"queued as (\S+)", str(reply)).group(1) if reply.code == 250 else None

    def setUp(self):
        super().setUp()
        if fuse_disk.why_not():
            (self.folder / "disk").mkdir()  # one that is as fast as it is
            return
        disk = FuseDisk(self.folder / "behind")
        self.addCleanup(disk.unmount)
        disk.write_seconds = WRITE_SECONDS
        disk.mount(self.folder / "disk")

    def test_fifty_messages_of_8_mib_at_once_through_16_mib(self):
        port = free_port()
        gateway = self.gateway(self.settings([f"127.0.0.1:{port}"], workers=2, directory="disk/spool", limits={"memory": SETTING_BYTES, "exempt": ["127.0.0.0/8"]},
                                             pool_settings={"health": {"interval": "200ms"}}, spool={"max_size": "2GiB", "retry": {"initial": "1s", "maximum": "2s"}}))
        idle = self.peak_bytes(gateway)
        bound = idle + SETTING_BYTES + ADMIN_BYTES + PROGRAM_BYTES + (FAST + SLOW) * CLIENT_BYTES
        ids = {}
        self.half_sent, self.fast_are_done = threading.Semaphore(0), threading.Event()

        def one(number, is_slow):
            def run():
                try:
                    ids[number] = self.send(gateway, number, is_slow)
                finally:
                    if is_slow:
                        self.half_sent.release()  # one that was refused at once
            return run

        def fast():
            try:
                for _ in range(SLOW):
                    self.half_sent.acquire(timeout=60)
                self.in_threads(*[one(number, False) for number in range(FAST)])
            finally:
                self.fast_are_done.set()

        self.in_threads(fast, *[one(FAST + number, True) for number in range(SLOW)])
        taken = {id_: number for number, id_ in ids.items() if id_}
        self.assertEqual(len(ids), FAST + SLOW)
        self.assertGreater(len(taken) * MESSAGE_BYTES, 3 * SETTING_BYTES, "hardly anything was taken")
        entries = self.queue(gateway)
        self.assertEqual({entry["id"]: (entry["size"], [each["address"] for each in entry["recipients"]]) for entry in entries},
                         {id_: (MESSAGE_BYTES, [f"user{number}@example.com"]) for id_, number in taken.items()})
        peak = self.peak_bytes(gateway)
        print(f"{len(taken)} of {FAST + SLOW} were taken; idle {idle >> 10} KiB, at most {(peak - idle) >> 10} KiB more, of {(bound - idle) >> 10}")
        if not SANITIZED:
            self.assertLess(peak, bound)

        backend = self.backend(address=("127.0.0.1", port))
        wait_until(lambda: len(backend.delivered()) == len(taken), 120, "all of it delivered")
        for message in backend.delivered():
            number = int(re.match(rb"Subject: (\d+)", message.original).group(1))
            self.assertTrue(message.original == body_of(number), f"message {number} came otherwise than it was sent")
        gateway.wait_metric("ringmx_queue_messages", 0)
        print(f"with its delivery at most {(self.peak_bytes(gateway) - idle) >> 10} KiB more")
        if not SANITIZED:
            self.assertLess(self.peak_bytes(gateway), bound)

    def queue(self, gateway):
        entries, cursor = [], ""
        while cursor is not None:
            page = json.loads(gateway.get(f"/api/queue?limit=200&cursor={cursor}")[1])
            entries += page["messages"]
            cursor = page["cursor"]
        return entries


if __name__ == "__main__":
    unittest.main()
