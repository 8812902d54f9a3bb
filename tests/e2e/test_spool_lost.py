"""The spool's directory moved away or deleted under a gateway that serves: mail is refused, what was promised is kept, service resumes by itself."""

import shutil
import unittest

from harness import free_port, wait_until
from test_spool import SpoolScene

GONE = "the spool's directory, or a file in it, is gone"


class LostSpool(SpoolScene):
    def setUp(self):
        super().setUp()
        self.spool, self.moved = self.folder / "spool", self.folder / "moved"
        self.port = free_port()

    def waiting(self, workers=2):
        """Settings of a gateway whose backend nobody has started yet."""
        return self.settings([f"127.0.0.1:{self.port}"], workers=workers, spool={"retry": {"initial": "1s", "maximum": "1s"}},
                             pool_settings={"health": {"interval": "200ms"}}, limits={"exempt": ["127.0.0.0/8"]})

    def backend_comes(self):
        return self.backend(address=("127.0.0.1", self.port))

    def delete_spool(self):
        """True when it is gone: a segment may be in the making, right behind who deletes."""
        shutil.rmtree(self.spool, ignore_errors=True)
        return not self.spool.exists()

    def assert_refused(self, gateway):
        wait_until(lambda: gateway.get("/readyz") == (503, GONE + "\n"), what="/readyz 503")
        self.assertEqual(gateway.get("/healthz")[0], 200)
        gateway.wait_log(rf"error: spool: {self.spool} is gone, was moved, or is not mounted any more")
        gateway.wait_log(f"error: {GONE}: mail is refused until that is over")
        gateway.wait_log(rf"error: spool\.directory {self.spool}: put it or its file system back")
        self.wait_reply_to_mail(gateway, "451 4.3.0 ")

    def assert_taken_again(self, gateway):
        gateway.wait_log(rf"spool: {self.spool} is there again")
        self.wait_taken_again(gateway)
        self.assertEqual(gateway.log().count("mail is refused until that is over"), 1, "one loss, one line")
        self.assertFalse("spool can't be written" in gateway.log(), gateway.log()[-2000:])

    def test_a_directory_that_is_moved_away_and_back(self):
        gateway = self.gateway(self.waiting())
        for number in range(5):
            self.client(gateway).message(f"before{number}@example.com")
        self.spool.rename(self.moved)
        self.assert_refused(gateway)
        self.assertFalse(self.spool.exists(), "it was made anew")
        self.assertEqual(gateway.metric("ringmx_queue_messages"), 5)
        self.moved.rename(self.spool)
        self.assert_taken_again(gateway)
        for number in range(5):
            self.client(gateway).message(f"after{number}@example.com")
        backend = self.backend_comes()
        backend.wait_messages(10)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(gateway.stop(), 0)
        self.assert_nothing_is_left(self.waiting())
        self.assertEqual(len(backend.delivered()), 10)

    def test_a_directory_that_is_deleted_still_delivers_and_a_new_one_is_taken(self):
        gateway = self.gateway(self.waiting())
        for number in range(5):
            self.client(gateway).message(f"before{number}@example.com")
        wait_until(self.delete_spool, what="an end of the spool")
        self.assert_refused(gateway)
        backend = self.backend_comes()
        backend.wait_messages(5)
        self.spool.mkdir(0o700)
        self.assert_taken_again(gateway)
        self.client(gateway).message("after@example.com")
        self.assertEqual(len(backend.wait_messages(6)), 6)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertTrue(list(self.spool.glob("*/*.seg")))

    def test_what_was_acknowledged_around_a_loss_outlives_a_kill(self):
        """Under load: also what was written between the loss and its being noticed."""
        gateway = self.doomed_gateway(self.waiting())
        sent, received = self.folder / "sent", self.folder / "received"
        load = self.load(gateway, sent)
        wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= 50)
        self.spool.rename(self.moved)
        self.assert_refused(gateway)
        self.moved.rename(self.spool)
        self.assert_taken_again(gateway)
        before = gateway.metric("ringmx_messages_accepted_total")
        wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= before + 50)
        self.kill(gateway)
        load.stop()
        second = self.gateway(self.waiting(workers=3))
        sink = self.sink("--record", received, port=self.port)
        second.wait_log("the spool of earlier runs is read")
        second.wait_metric("ringmx_queue_messages", 0)
        sink.stop()
        self.assertGreater(self.audited(sent, received)["acknowledged"], 100)


if __name__ == "__main__":
    unittest.main()
