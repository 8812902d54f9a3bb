"""A recipients file of many entries is read again while mail flows: no command waits for it, and no mail is refused."""

import threading
import unittest

from harness import LONG, EndToEnd, config, pool, wait_until

ENTRIES = 1_000_000 if LONG else 200_000


class ManyRoutes(EndToEnd):
    def write(self, generation):
        self.path.write_text("".join(f"user{number}@generation{generation}.example\n" for number in range(ENTRIES)) + "always@example.com\n")

    def answer(self, gateway, recipient):
        # Each on a connection of its own, which ends before it has asked for too many unknown recipients.
        with gateway.client() as client:
            client.ehlo()
            client.cmd("MAIL FROM:<a@example.net>", "250")
            return str(client.cmd(f"RCPT TO:<{recipient}>"))[:9]

    def test_mail_flows_while_a_recipients_file_is_read_again(self):
        self.path = self.folder / "recipients.txt"
        self.write(0)
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend)}, routes=[{"recipients_file": "recipients.txt", "pool": "main"}], limits={"exempt": ["127.0.0.0/8"]}))
        self.assertEqual(self.answer(gateway, f"user{ENTRIES - 1}@generation0.example"), "250 2.1.5")
        self.assertEqual(self.answer(gateway, "user0@generation1.example"), "550 5.7.1")
        accepted, done = [0], threading.Event()

        def sender():
            client = gateway.client()
            client.ehlo()
            while not done.is_set():
                client.message("always@example.com")
                accepted[0] += 1
            client.close()

        flowed = []

        def reloads():
            try:
                for generation in (1, 2, 3):
                    self.write(generation)
                    before = accepted[0]
                    gateway.reload(gateway.settings)
                    # Asked of a worker, not of the admin address: that is served by the thread that reads the file.
                    wait_until(lambda: self.answer(gateway, f"user{ENTRIES - 1}@generation{generation}.example") == "250 2.1.5", 60, "the new routes")
                    flowed.append(accepted[0] - before)
                    self.assertEqual(self.answer(gateway, f"user0@generation{generation - 1}.example"), "550 5.7.1")
            finally:
                done.set()

        self.in_threads(sender, reloads)
        self.assertTrue(all(count > 0 for count in flowed), f"messages accepted during each reload: {flowed}")
        gateway.wait_metric("ringmx_config_reloads_total", 3)


if __name__ == "__main__":
    unittest.main()
