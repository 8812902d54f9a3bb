"""The real program, killed again and again under load and started with another number of workers: acknowledged = delivered.

It has one try, unlike other tests of programs (tools/test): mail that is lost once in a while is lost."""

import pathlib
import random
import signal
import subprocess
import time
import unittest

from harness import BIN, LONG, Gateway, free_port, wait_until
from test_spool import SpoolScene

CONNECTIONS = 16
WORKERS_MAX = 3
IN_FLIGHT_MAX = CONNECTIONS + WORKERS_MAX * 32  # of clients, and what each worker forwards from the disk at a time


class SpoolKill(SpoolScene):
    def kill_and_restart(self, kills, seconds):
        """Killed again and again under load, with changing worker counts: acknowledged = delivered."""
        received = pathlib.Path(self.folder) / "received"
        sink = self.sink("--record", received)
        chance = random.Random(5)
        sent_files = []
        port, admin = free_port(), free_port()

        def start(workers):
            settings = self.settings([f"127.0.0.1:{sink.smtp}"], workers=workers)
            settings["listeners"][0]["address"] = f"127.0.0.1:{port}"
            settings["admin"] = {"address": f"127.0.0.1:{admin}"}
            return Gateway(settings, self.folder)

        for round_ in range(kills):
            gateway = start(chance.randint(1, WORKERS_MAX))
            sent = pathlib.Path(self.folder) / f"sent-{round_}"
            sent_files.append(sent)
            load = subprocess.Popen([BIN / "ringmx-load", "--to", f"127.0.0.1:{port}", "--connections", str(CONNECTIONS), "--duration", f"{round(seconds * 1000)}ms", "--timeout", "20s",
                                     "--size", chance.choice(["1KiB", "4KiB-64KiB", "300KiB-700KiB"]), "--record", sent],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0.05, seconds))
            gateway.signal(signal.SIGKILL)
            gateway.wait()
            self.assertNotEqual(load.wait(60), 2)
        gateway = start(2)
        wait_until(lambda: "the spool of earlier runs is read" in gateway.log(), 60)
        gateway.wait_metric("ringmx_queue_messages", 0)
        gateway.stop()
        sink.stop()
        whole = pathlib.Path(self.folder) / "sent"
        whole.write_text("".join(each.read_text() for each in sent_files))
        audit = subprocess.run([BIN / "ringmx-load", "audit", whole, received], capture_output=True, text=True)
        self.assertEqual(audit.returncode, 0, audit.stdout + audit.stderr)
        print(audit.stdout)
        counted = dict(line.split() for line in audit.stdout.splitlines() if len(line.split()) == 2)
        self.assertGreater(int(counted["acknowledged"]), 20 * kills)
        self.assertLess(int(counted["duplicates"]), kills * IN_FLIGHT_MAX)

    def test_killed_under_load_it_loses_nothing(self):
        self.kill_and_restart(200 if LONG else 50, 0.6)


if __name__ == "__main__":
    unittest.main()
