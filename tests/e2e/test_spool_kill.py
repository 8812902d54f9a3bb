"""The real program, killed again and again under load and started with another number of workers: acknowledged = delivered, to each recipient.

A message of three recipients goes to three pools, one recipient each, so that many are killed when a part of their recipients has them. What a pool's backend
should have is known exactly, and audited for each of them.

It has one try, unlike other tests of programs (tools/test): mail that is lost once in a while is lost."""

import json
import random
import subprocess
import time
import unittest

from harness import BIN, LONG, free_port, pool, run, wait_until
from test_spool import SpoolScene

CONNECTIONS = 16
WORKERS_MAX = 3
IN_FLIGHT_MAX = CONNECTIONS + WORKERS_MAX * 32  # of clients, and what each worker forwards from the disk at a time
MESSAGES_MAX = 20_000  # of a load, that routes know; what would be more has no route, and is refused
# The backend of each recipient: the first takes all, the others leave messages half delivered until a retry. None of them is slow: what one has of a message is
# noted when the others have answered too, so that a slow one would have more under way.
BACKENDS = {"first": (), "second": ("--disconnect", "0.1"), "third": ("--tempfail", "0.2")}


class SpoolKill(SpoolScene):
    def routes(self):
        """By the numbers that ringmx-load gives to a message and its recipients."""
        for number, name in enumerate(BACKENDS):
            (self.folder / name).write_text("".join(f"user{sequence}-{number}@load.example\n" for sequence in range(MESSAGES_MAX)))
        return [{"recipients_file": str(self.folder / name), "pool": name} for name in BACKENDS]

    def half_delivered(self):
        """How many messages a gateway that is down has that some of their recipients have; nothing that was durable is damaged."""
        inspected = run(BIN / "ringmx", "spool", "inspect", "--json", self.folder / "spool")
        self.assertEqual(inspected.returncode, 0, inspected.stdout[-4000:] + inspected.stderr)
        states = [{each["state"] for each in message["recipients"]} for message in json.loads(inspected.stdout)["messages"]]
        self.assertLessEqual(set().union(*states), {"pending", "delivered"})
        return sum(len(each) == 2 for each in states)

    def kill_and_restart(self, kills, seconds):
        sinks = {name: self.sink("--record", self.folder / f"received by {name}", *options, name=name) for name, options in BACKENDS.items()}
        settings = self.settings([], spool={"retry": {"initial": "200ms", "maximum": "1s"}})
        settings["pools"] = {name: pool(f"127.0.0.1:{sink.smtp}") for name, sink in sinks.items()}
        settings["routes"] = self.routes()
        settings["listeners"][0]["address"] = f"127.0.0.1:{free_port()}"
        settings["admin"] = {"address": f"127.0.0.1:{free_port()}"}
        chance = random.Random(5)
        half_delivered = 0
        sent_to = {name: [] for name in BACKENDS}
        for round_ in range(kills):
            gateway = self.doomed_gateway({**settings, "workers": chance.randint(1, WORKERS_MAX)})
            sent = self.folder / f"sent-{round_}"
            recipients = chance.randint(1, len(BACKENDS))
            for name in list(BACKENDS)[:recipients]:
                sent_to[name].append(sent)
            load = subprocess.Popen([BIN / "ringmx-load", "--to", settings["listeners"][0]["address"], "--connections", str(CONNECTIONS), "--duration", f"{round(seconds * 1000)}ms",
                                     "--timeout", "20s", "--recipients", str(recipients), "--rcpt", "user%@load.example",
                                     "--size", chance.choice(["1KiB", "4KiB-64KiB", "300KiB-700KiB"]), "--record", sent],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0.05, seconds))
            self.kill(gateway)
            half_delivered += self.half_delivered()
            self.assertNotEqual(load.wait(60), 2)
        gateway = self.gateway({**settings, "workers": 2})
        gateway.wait_log("the spool of earlier runs is read", 60)
        wait_until(lambda: gateway.metric("ringmx_queue_messages") == 0, 60, "an empty queue")
        self.assertEqual(gateway.stop(), 0)
        print(f"{half_delivered / kills:.1f} messages were half delivered at a kill")
        self.assertGreater(half_delivered, kills // 5)
        for name, sink in sinks.items():
            self.assertEqual(sink.stop(), 0)
            whole = self.folder / f"sent to {name}"
            whole.write_text("".join(each.read_text() for each in sent_to[name]))
            counted = self.audited(whole, self.folder / f"received by {name}")
            print(f"{name}: {counted['acknowledged']} acknowledged, {counted['duplicates']} duplicates, {counted['duplicates'] / kills:.1f} for each kill")
            self.assertGreater(counted["acknowledged"], 5 * len(sent_to[name]))
            self.assertLess(counted["duplicates"], kills * IN_FLIGHT_MAX)

    def test_killed_under_load_it_loses_nothing(self):
        self.kill_and_restart(200 if LONG else 50, 0.6)


if __name__ == "__main__":
    unittest.main()
