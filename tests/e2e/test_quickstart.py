"""The quickstart's own run: 1,000 messages, none lost, everything stopped; and --keep until Ctrl-C."""

import pathlib
import re
import signal
import socket
import sys
import unittest

from harness import BIN, EndToEnd, Program, address, run
from smtp_client import Client

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools" / "quickstart.py"


class Quickstart(EndToEnd):
    def test_nothing_is_lost(self):
        result = run(sys.executable, SCRIPT, BIN, timeout=120)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        rows = dict(re.findall(r"^  (\S.*?)  +(\d+)$", result.stdout, re.M))
        self.assertEqual((rows["sent"], rows["accepted (250)"], rows["forwarded"], rows["lost"]), ("1000", "1000", "1000", "0"))
        self.assertRegex(result.stdout, r"octet for octet +yes\n")
        self.assertGreater(int(rows["to the first backend"]), 200)
        self.assertGreater(int(rows["to the second backend"]), 200)

    def test_keep_stays_up_until_ctrl_c(self):
        program = Program([sys.executable, "-u", SCRIPT, BIN, "--keep"], self.folder, "quickstart")
        self.addCleanup(program.stop)
        program.wait_log("until Ctrl-C", timeout=60)
        port = int(re.search(r"port (\d+)", program.log()).group(1))
        with Client(address(port)) as client:
            client.ehlo()
            client.message("you@example.com")
        rows = dict(re.findall(r"^  (\S.*?)  +(\d+)$", program.log(), re.M))
        self.assertEqual((rows["sent"], rows["accepted (250)"], rows["forwarded"], rows["lost"]), ("1000", "1000", "1000", "0"))
        self.assertEqual(int(rows["to the first backend"]) + int(rows["to the second backend"]), 1000)
        program.signal(signal.SIGINT)
        self.assertEqual(program.wait(60), 0, program.log())
        with self.assertRaises(OSError):
            Client(address(port))


    def test_taken_ports_are_gone_round(self):
        with socket.socket() as smtp, socket.socket() as admin:
            for taken, port in ((smtp, 2525), (admin, 8025)):
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    taken.bind(("127.0.0.1", port))
                    taken.listen()
                except OSError:
                    pass  # somebody else has it: as good
            result = run(sys.executable, SCRIPT, BIN, timeout=120)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_a_program_that_ends_is_told_and_nothing_stays_behind(self):
        binaries = self.folder / "bin"
        binaries.mkdir()
        (binaries / "ringmx-sink").symlink_to(BIN / "ringmx-sink")
        broken = binaries / "ringmx"
        broken.write_text("#!/bin/sh\necho boom\nexit 3\n")
        broken.chmod(0o755)
        result = run(sys.executable, SCRIPT, binaries, timeout=60)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertRegex(result.stderr, r"\Aquickstart: ringmx ended with 3:\nboom\n")
        for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.assertNotIn(str(binaries).encode(), process.read_bytes())
            except OSError:
                pass


class Scripts(EndToEnd):
    def test_an_unknown_option_is_exit_2_and_help_is_0(self):
        for script in ("quickstart", "test", "setup"):
            result = run(SCRIPT.parent / script, "--frob")
            self.assertEqual((result.returncode, result.stderr.count("\n")), (2, 1), result)
            self.assertIn("--frob", result.stderr)
            result = run(SCRIPT.parent / script, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn(f"tools/{script}", result.stdout)


if __name__ == "__main__":
    unittest.main()
