"""SIGHUP and mail that waits in the spool: a hold that ends, routes and retries that change."""

import unittest

from harness import free_port, pool, wait_until
from test_queue import Queue


class Reload(Queue):
    def changed(self, gateway, **sections):
        """Reloads, and waits until that is so."""
        gateway.settings.update(sections)
        reloads = gateway.metric("ringmx_config_reloads_total")
        gateway.reload(gateway.settings)
        gateway.wait_metric("ringmx_config_reloads_total", reloads + 1)

    def wait_state(self, gateway, queue_id, *wanted):
        wait_until(lambda: tuple(self.entry(gateway, queue_id)[key] for key in ("state", "pool", "attempts")) == wanted, what=f"{wanted}")

    def test_mail_for_a_pool_on_hold_goes_when_a_reload_ends_the_hold(self):
        held, other = self.backend(), self.backend()
        pools = {"main": pool(held, hold=True), "other": pool(other)}
        gateway = self.spooling(pools=pools, routes=[{"recipients": ["example.com"], "pool": "main"}, {"recipients": ["example.org"], "pool": "other"}])
        queue_id = self.send(gateway)
        self.wait_state(gateway, queue_id, "pool_hold", "main", 0)
        self.assertEqual(self.do(gateway, "retry", "--all"), "0 messages due now\n")
        self.send(gateway, "user@example.org")
        other.wait_messages(1)
        self.changed(gateway, log={"level": "debug"})
        self.wait_state(gateway, queue_id, "pool_hold", "main", 0)
        self.assertEqual(held.transactions(), [])
        self.changed(gateway, pools={**pools, "main": pool(held)})
        self.assertEqual(held.wait_messages(1)[0].recipients, ["user@example.com"])
        gateway.wait_metric("ringmx_queue_messages", 0)

    def test_a_listener_may_acknowledge_from_the_spool_again(self):
        gateway = self.spooling(pools={"main": pool(self.backend())})
        listener = gateway.settings["listeners"][0]
        self.send(gateway)
        for acknowledge, reply in (("backend", "250 2.0.0 taken by backend"), ("spool", "250 2.0.0 Ok: queued as ")):
            self.changed(gateway, listeners=[{**listener, "acknowledge": acknowledge}])
            self.client(gateway).message("user@example.com", start=reply)
        self.assertNotIn("at the next start only", gateway.log())

    def test_what_waits_for_a_backend_goes_by_new_routes_at_once(self):
        backend = self.backend()
        pools = {"gone": pool(f"127.0.0.1:{free_port()}"), "new": pool(backend)}
        gateway = self.spooling(pools=pools, routes=[{"recipients": ["example.com"], "pool": "gone"}])
        queue_id = self.send(gateway)
        wait_until(lambda: self.entry(gateway, queue_id)["state"] == "parked", what="a parked message")
        self.changed(gateway, routes=[{"recipients": ["example.com"], "pool": "new"}])
        self.assertEqual(backend.wait_messages(1)[0].recipients, ["user@example.com"])
        gateway.wait_metric("ringmx_queue_messages", 0)

    def test_what_waits_for_its_next_attempt_makes_it_by_new_routes(self):
        busy, backend = self.backend({"RCPT": "450 4.2.0 later"}), self.backend()
        gateway = self.spooling(pools={"busy": pool(busy), "new": pool(backend)}, routes=[{"recipients": ["example.com"], "pool": "busy"}],
                                spool={"retry": {"initial": "1h", "maximum": "1h"}})
        queue_id = self.send(gateway)
        self.wait_state(gateway, queue_id, "deferred", "busy", 1)
        self.changed(gateway, routes=[{"recipients": ["example.com"], "pool": "new"}])
        self.wait_state(gateway, queue_id, "deferred", "new", 1)
        self.do(gateway, "retry", "--all")
        backend.wait_messages(1)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(len(busy.transactions()), 1)

    def test_a_new_retry_holds_from_the_next_attempt_on(self):
        backend = self.backend({"RCPT": ["450 4.2.0 later", "450 4.2.0 later", "250 2.1.5 ok"]})
        gateway = self.spooling(backend, spool={"retry": {"initial": "1h", "maximum": "1h"}})
        queue_id = self.send(gateway)
        self.wait_state(gateway, queue_id, "deferred", "main", 1)
        self.changed(gateway, spool={**gateway.settings["spool"], "retry": {"initial": "500ms", "maximum": "500ms"}})
        self.do(gateway, "retry", "--all")
        backend.wait_messages(1)
        gateway.wait_metric("ringmx_queue_messages", 0)

    def test_a_shorter_expiry_is_that_of_mail_which_is_queued_already(self):
        gateway = self.spooling(self.backend({"RCPT": "450 4.2.0 later"}), spool={"retry": {"initial": "500ms", "maximum": "500ms", "expire": "4d"}})
        queue_id = self.send(gateway)
        wait_until(lambda: self.entry(gateway, queue_id)["attempts"] >= 2, what="a second attempt")
        self.changed(gateway, spool={**gateway.settings["spool"], "retry": {"initial": "500ms", "maximum": "500ms", "expire": "1s"}})
        wait_until(lambda: self.entry(gateway, queue_id)["state"] == "failed", what="a message that expired")


if __name__ == "__main__":
    unittest.main()
