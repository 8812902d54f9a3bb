"""`ringmx spool inspect` of what the real gateway wrote: after a kill, and beside a gateway that serves."""

import hashlib
import json
import re
import unittest

from harness import BIN, pool, run, wait_until
from test_queue import Queue

REFUSED, TAKEN = "550 5.1.1 no such user", "250 2.0.0 taken by backend"


class Inspect(Queue):
    def spool_of_all_kinds(self):
        """A gateway, and the ids of a message in each state that stays. The backend takes ann@, refuses bob@, and defers who else there is."""
        backend = self.backend({"RCPT": {"ann@example.com": "250 2.1.5 ok", "bob@example.com": REFUSED, None: "450 4.2.0 later"}})
        gateway = self.spooling(pools={"main": pool(backend)}, workers=2, spool={"max_size": "128MiB", "retry": {"initial": "1h", "maximum": "1h"}})
        ids = {"gone": self.send(gateway, "ann@example.com"), "queued": self.send(gateway, "ann@example.com", "bob@example.com", "cid@example.com"),
               "failed": self.send(gateway, "bob@example.com", sender=""), "hold": self.send(gateway, "dan@example.com")}
        self.do(gateway, "hold", ids["hold"])
        ids["removed"] = self.send(gateway, "dan@example.com")
        self.do(gateway, "remove", ids["removed"])
        for name, recipients in (("queued", ["delivered", "failed", "pending"]), ("failed", ["failed"])):
            wait_until(lambda: [each["state"] for each in self.entry(gateway, ids[name])["recipients"]] == recipients, what=f"the states of what is {name}")
        # What the gateway tells of a delivery is on the disk a little later.
        wait_until(lambda: self.is_as_expected(self.inspected(in_use=True), ids), what="the marks on the disk")
        return gateway, ids

    def is_as_expected(self, told, ids):
        recipients = {message["id"]: [(each["mailbox"], each["state"], each["reply"]) for each in message["recipients"]] for message in told["messages"]}
        return recipients == {ids["queued"]: [("ann@example.com", "delivered", TAKEN), ("bob@example.com", "failed", REFUSED), ("cid@example.com", "pending", None)],
                              ids["failed"]: [("bob@example.com", "failed", REFUSED)], ids["hold"]: [("dan@example.com", "pending", None)]}

    def inspect(self, *options):
        return run(BIN / "ringmx", "spool", "inspect", *options, self.folder / "spool")

    def inspected(self, in_use):
        result = self.inspect("--json")
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        told = json.loads(result.stdout)
        self.assertEqual((told["directory"], told["in_use"], told["damaged"], told["damaged_messages"], told["unreadable_records"], told["set_aside"]),
                         (str(self.folder / "spool"), in_use, False, [], 0, 0))
        return told

    def states(self, told):
        return {message["id"]: message["state"] for message in told["messages"]}

    def files(self):
        return {path.name: hashlib.sha256(path.read_bytes()).digest() for path in (self.folder / "spool").rglob("*") if path.is_file()}

    def test_after_a_kill_each_message_is_told_with_its_recipients_and_nothing_is_changed(self):
        gateway, ids = self.spool_of_all_kinds()
        entries = {name: self.entry(gateway, ids[name]) for name in ("queued", "failed", "hold")}
        self.kill(gateway)
        before = self.files()
        told = self.inspected(in_use=False)
        self.assertTrue(self.is_as_expected(told, ids), told)
        self.assertEqual(self.states(told), {ids[name]: name for name in entries})
        for message in told["messages"]:
            entry = entries[message["state"]]
            self.assertEqual((message["fault"], message["sender"], message["message_bytes"], message["accepted"]), (None, entry["sender"], entry["size"], entry["created"]))
            self.assertGreater(message["stored_bytes"], message["message_bytes"])
        run_, = told["runs"]
        self.assertEqual((run_["generation"], run_["in_use"], run_["fault"]), (1, False, None))
        self.assertEqual([segment["fault"] for segment in run_["segments"]], [None] * len(run_["segments"]))
        written = [segment for segment in run_["segments"] if "messages" in segment]
        # A first segment that was not written through is left as soon as may be, and with it what is over.
        self.assertIn(sum(segment["messages"] for segment in written), range(len(entries), len(ids) + 1))
        self.assertGreater(sum(segment["marks"] for segment in written), 0)
        self.assertLessEqual({segment["worker"] for segment in written}, {0, 1})

        table = self.inspect()
        self.assertEqual((table.returncode, table.stderr), (0, ""))
        self.assertEqual(table.stdout.splitlines()[:2], [str(self.folder / "spool"), "run 00000001"])
        date, sizes = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", r"21 octets, \d+ on disk"
        self.assertRegex(table.stdout, rf"(?m)^{ids['queued']} queued, {date}, {sizes}, from <sender@example\.net>\n  delivered <ann@example\.com>: {TAKEN}\n"
                                       rf"  failed <bob@example\.com>: {re.escape(REFUSED)}\n  pending <cid@example\.com>\n")
        self.assertRegex(table.stdout, rf"(?m)^{ids['failed']} failed, {date}, {sizes}, from <>\n  failed <bob@example\.com>: {re.escape(REFUSED)}\n")
        self.assertRegex(table.stdout, rf"(?m)^{ids['hold']} hold, {date}, {sizes}, from <sender@example\.net>\n  pending <dan@example\.com>\n")
        self.assertRegex(table.stdout, rf"\n3 messages in {len(run_['segments'])} files of 1 runs\n\Z")
        for name in ("gone", "removed"):
            self.assertNotIn(ids[name], table.stdout)
        self.assertEqual(self.files(), before)

    def test_beside_a_gateway_that_serves_it_says_so_and_hinders_nothing(self):
        gateway, ids = self.spool_of_all_kinds()
        told = self.inspected(in_use=True)
        self.assertEqual([each["in_use"] for each in told["runs"]], [True])
        table = self.inspect()
        self.assertEqual((table.returncode, table.stderr), (0, ""))
        self.assertEqual(table.stdout.splitlines()[:2], [f"{self.folder / 'spool'}: a gateway serves from it, what it writes just now may look torn or be missing", "run 00000001, in use"])
        later = self.send(gateway, "dan@example.com")
        self.assertEqual(self.states(self.inspected(in_use=True))[later], "queued")
        self.do(gateway, "remove", later)
        self.assertNotIn(later, self.states(self.inspected(in_use=True)))
        gateway = self.again(gateway)
        told = self.inspected(in_use=True)
        self.assertEqual([(each["generation"], each["in_use"]) for each in told["runs"]], [(1, True), (2, True)], "who adopts a run has its folder")
        self.assertEqual(self.states(told), {ids[name]: name for name in ("queued", "failed", "hold")})


if __name__ == "__main__":
    unittest.main()
