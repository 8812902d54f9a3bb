"""A worker never waits for the disk itself: the calls that it makes under mail, as strace sees them, have none about a file.

Files are the ring's, or other threads': a call that waits for the disk would hold up every client of the worker."""

import collections
import pathlib
import re
import shutil
import unittest

from harness import SANITIZED, Program, free_port, wait_until
from test_queue import Queue

IO_URING_ENTER = 426
WAITS = ("io_uring_enter", "poll", "ppoll", "epoll_wait", "epoll_pwait")
# What a descriptor is when it is no file: "5<socket:[123]>", "7<anon_inode:[eventfd]>", "9<TCP:[…]>", "2<pipe:[…]>"
NO_FILE = re.compile(r"\d+<(?:socket|pipe|anon_inode|TCP|TCPv6|UDP|UNIX|UNIX-STREAM|NETLINK):")


@unittest.skipUnless(shutil.which("strace"), "strace is not installed")
@unittest.skipIf(SANITIZED, "a sanitizer makes calls of its own")
class WorkerCalls(Queue):
    def workers_of(self, gateway):
        """The threads that wait for their ring, the main one aside: nothing else does when nothing is to be done."""
        def waiting():
            calls = {int(task.name): (task / "syscall").read_text().split()[0] for task in pathlib.Path(f"/proc/{gateway.pid}/task").iterdir()}
            found = [thread for thread, call in calls.items() if call == str(IO_URING_ENTER) and thread != gateway.pid]
            return found if len(found) == gateway.settings["workers"] else None
        try:
            return wait_until(waiting, what="idle workers")
        except PermissionError:
            self.skipTest("what threads do can't be seen here")

    def traced(self, threads):
        trace = self.folder / "trace"
        arguments = [argument for thread in threads for argument in ("-p", str(thread))]
        strace = Program(["strace", "-y", "-s", "0", "-e", "trace=%file,%desc,sync,io_uring_enter", "-o", trace, *arguments], self.folder, name="strace")
        self.addCleanup(strace.stop)
        wait_until(lambda: strace.log().count(" attached") == len(threads) or not strace.running(), what="strace")
        if not strace.running():
            self.skipTest(f"strace may not attach here: {strace.log()}")
        return strace, trace

    def calls_in(self, trace, threads):
        """(thread, call, arguments) of each; each line is one, or the rest of one."""
        calls = []
        for line in trace.read_text(errors="replace").splitlines():
            thread, _, rest = line.partition(" ")
            match = re.match(r"(\w+)\((.*)", rest.strip())
            if match:
                self.assertIn(int(thread), threads)
                calls.append((int(thread), match.group(1), match.group(2)))
            else:
                self.assertRegex(rest.strip(), r"\A(<\.\.\. \w+ resumed>|---|\+\+\+)")
        return calls

    def test_a_worker_makes_no_call_about_a_file(self):
        port = free_port()
        gateway = self.spooling(f"127.0.0.1:{port}", workers=2, limits={"exempt": ["127.0.0.0/8"], "memory": "16MiB"}, spool={"max_size": "64MiB"})
        threads = self.workers_of(gateway)
        strace, trace = self.traced(threads)
        large = b"Subject: large\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 30000
        # Taken, looked at, changed; segments are filled, and asked for.
        for number in range(10):
            self.send(gateway, f"large{number}@example.com", body=large)
            self.send(gateway, f"small{number}@example.com")
        held, removed = self.send(gateway, "held@example.com"), self.send(gateway, "removed@example.com")
        self.do(gateway, "hold", held)
        self.do(gateway, "remove", removed)
        self.assertEqual(len(self.ids(gateway)), 21)
        # Read from the disk and delivered; segments are let go of.
        backend = self.backend(address=("127.0.0.1", port))
        self.do(gateway, "release", held)
        wait_until(lambda: len(backend.delivered()) == 21, 60, "a delivery of all")
        gateway.wait_metric("ringmx_queue_messages", 0)
        strace.stop()

        calls = self.calls_in(trace, threads)
        entered = collections.Counter(thread for thread, call, _ in calls if call == "io_uring_enter")
        self.assertEqual(set(entered), set(threads))
        self.assertGreater(min(entered.values()), 20, entered)
        self.assertEqual([each for each in calls if self.is_about_a_file(*each[1:])], [])

    @staticmethod
    def is_about_a_file(call, arguments):
        if call == "mmap":
            return "MAP_ANONYMOUS" not in arguments
        return call not in WAITS and NO_FILE.match(arguments) is None


if __name__ == "__main__":
    unittest.main()
