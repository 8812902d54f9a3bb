"""SIGTERM under load with a spool: exit 0 in time, and what was acknowledged is delivered, once, by this run or the next."""

import signal
import unittest

from harness import free_port, wait_until
from test_spool import SpoolScene

DRAIN_IS_OVER = "timeouts.drain is over"


class SpoolDrain(SpoolScene):
    def drained_under_load(self, gateway, sent):
        """Until it is stopped, in the middle of clients' messages; what ringmx-load counted."""
        load = self.load(gateway, sent, connections=24, rate=400)
        wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= 300)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(60), 0, gateway.log()[-2000:])
        self.assertTrue(load.running(), "it was no end under load")
        load.stop()
        self.assertFalse(DRAIN_IS_OVER in gateway.log(), "it took longer than it may")

    def assert_delivered_once(self, gateway, sink, sent, received):
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(sink.stop(), 0)
        counted = self.audited(sent, received)
        self.assertGreater(counted["acknowledged"], 250)
        self.assertEqual(counted["duplicates"], 0)

    def settings_for(self, port, workers):
        return self.settings([f"127.0.0.1:{port}"], workers=workers, limits={"exempt": ["127.0.0.0/8"]}, timeouts={"drain": "30s"},
                             pool_settings={"health": {"interval": "200ms"}}, spool={"retry": {"initial": "1s", "maximum": "1s"}})

    def test_mail_that_is_being_forwarded_is_delivered_once(self):
        """The backend takes its time, so that some is under way and some waits whenever the end comes; no attempt is cut by it."""
        sent, received = self.folder / "sent", self.folder / "received"
        sink = self.sink("--delay", "300ms", "--record", received)
        self.drained_under_load(self.gateway(self.settings_for(sink.smtp, 3)), sent)
        gateway = self.gateway(self.settings_for(sink.smtp, 2))
        gateway.wait_metric("ringmx_spool_recovering", 0)  # a slow client may have left it nothing
        self.assert_delivered_once(gateway, sink, sent, received)

    def test_mail_that_waits_does_not_hold_up_the_end(self):
        sent, received = self.folder / "sent", self.folder / "received"
        port = free_port()
        self.drained_under_load(self.gateway(self.settings_for(port, 3)), sent)
        gateway = self.gateway(self.settings_for(port, 1))
        gateway.wait_log(r"the spool of earlier runs is read .*: [1-9]\d* messages to go on with")
        sink = self.sink("--record", received, port=port)
        self.assert_delivered_once(gateway, sink, sent, received)

    def test_a_second_signal_loses_nothing(self):
        """It cuts what is under way: that may come twice, never not at all."""
        sent, received = self.folder / "sent", self.folder / "received"
        sink = self.sink("--delay", "1s", "--record", received)
        gateway = self.gateway(self.settings_for(sink.smtp, 2))
        load = self.load(gateway, sent)
        wait_until(lambda: gateway.metric("ringmx_messages_accepted_total") >= 100)
        gateway.signal(signal.SIGTERM)
        gateway.wait_log("draining")
        gateway.signal(signal.SIGTERM)
        gateway.wait(10)
        load.stop()
        again = self.gateway(self.settings_for(sink.smtp, 2))
        again.wait_metric("ringmx_spool_recovering", 0)
        wait_until(lambda: again.metric("ringmx_queue_messages") == 0, 120, "an empty queue")
        sink.stop()
        self.assertGreater(self.audited(sent, received)["acknowledged"], 50)


if __name__ == "__main__":
    unittest.main()
