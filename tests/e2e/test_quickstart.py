"""The quickstart's own run: 1,000 messages, none lost, everything stopped; and --keep until Ctrl-C."""

import pathlib
import re
import signal
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
        program.signal(signal.SIGINT)
        self.assertEqual(program.wait(60), 0, program.log())
        with self.assertRaises(OSError):
            Client(address(port))


if __name__ == "__main__":
    unittest.main()
