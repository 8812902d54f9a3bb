"""Mail from the spool and its backends: which one the hash chooses, over a restart too, and what each recipient was told over LMTP."""

import unittest

from harness import config, pool, wait_until
from smtp_client import Client
from test_queue import Queue


class Lmtp(Queue):
    def test_each_recipient_has_the_answer_that_came_for_it_after_the_data(self):
        full = ["452 4.2.2 mailbox full"]
        answers = {"gone@example.com": "550 5.2.1 mailbox disabled", None: "250 2.1.5 stored"}
        backend = self.backend({"END": lambda _, address: full[0] if full and address == "full@example.com" else answers}, lmtp=True)
        gateway = self.spooling(pools={"main": pool(backend, protocol="lmtp")}, spool={"retry": {"initial": "1h", "maximum": "1h"}})
        queue_id = self.send(gateway, "user@example.com", "gone@example.com", "full@example.com")

        def told():
            entry = self.entry(gateway, queue_id)
            return entry["state"], entry["attempts"], [(each["state"], each["last_reply"]) for each in entry["recipients"]]
        stored, disabled = ("delivered", "250 2.1.5 stored"), ("failed", "550 5.2.1 mailbox disabled")
        wait_until(lambda: told() == ("deferred", 1, [stored, disabled, ("pending", full[0])]), what="an outcome of each recipient")
        for name, status, reply in (("user", "sent", "250 2.1.5 stored"), ("gone", "held", disabled[1]), ("full", "deferred", full[0])):
            gateway.wait_log(rf"{queue_id}: to=<{name}@example\.com>, .*status={status} \({reply}\)\n")
        full.clear()
        self.do(gateway, "retry", "--all")
        wait_until(lambda: told() == ("failed", 1, [stored, disabled, stored]), what="the end of the one that waited")
        self.assertEqual([message.recipients for message in backend.messages], [["user@example.com", "gone@example.com", "full@example.com"], ["full@example.com"]])


class Hash(Queue):
    KEYS = [f"192.0.2.{number}" for number in range(1, 17)]

    def say(self, gateway, name, proxied):
        """A message for each key: from a sender of its own, or from one of all through a balancer that names the client."""
        for key in self.KEYS:
            with Client(gateway.smtp, greet=not proxied) as client:
                if proxied:
                    client.send(f"PROXY TCP4 {key} 127.0.0.1 4711 25\r\n")
                    client.expect("220")
                client.ehlo()
                client.message(f"{name}+{key}@example.com", sender="sender@example.net" if proxied else f"{key}@example.net")

    def placed(self, name, backends):
        """Where the messages of that name are: the backends' numbers by key."""
        return {message.recipients[0].partition("@")[0].partition("+")[2]: number for number, backend in enumerate(backends) for message in backend.delivered()
                if message.recipients[0].startswith(name + "+")}

    def assert_keys_stay(self, by, listener):
        backends = [self.backend() for _ in range(3)]
        addresses = [tuple(backend.listener.getsockname()) for backend in backends]
        gateway = self.gateway(config({"main": pool(*backends, hash=by)}, listener={"acknowledge": "spool", **listener}, spool={"directory": str(self.folder / by)}))
        self.say(gateway, "first", bool(listener))
        gateway.wait_metric("ringmx_queue_messages", 0)
        places = self.placed("first", backends)
        self.assertEqual(sorted(places), sorted(self.KEYS))
        self.assertGreater(len(set(places.values())), 1)
        for backend in backends:
            backend.stop()
        self.say(gateway, "second", bool(listener))
        gateway.wait_metric("ringmx_queue_messages", len(self.KEYS))
        self.assertEqual(gateway.stop(), 0)
        backends = [self.backend(address=address) for address in addresses]
        gateway = self.gateway(gateway.settings)
        wait_until(lambda: sum(len(backend.delivered()) for backend in backends) == len(self.KEYS), what="what waited")
        self.assertEqual(self.placed("second", backends), places)
        self.say(gateway, "third", bool(listener))
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(self.placed("third", backends), places)

    def test_a_sender_keeps_its_backend_over_a_restart(self):
        self.assert_keys_stay("sender", {})

    def test_a_client_behind_a_balancer_keeps_its_backend_over_a_restart(self):
        self.assert_keys_stay("client_address", {"proxy_protocol": {"trusted": ["127.0.0.1/32"], "timeout": "5s"}})


if __name__ == "__main__":
    unittest.main()
