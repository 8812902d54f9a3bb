"""Routes with `verify` on the real program: a spool listener answers RCPT as the recipient's backend does, and asks each backend once."""

import pathlib
import unittest

from harness import EndToEnd, config, pool, wait_until

UNKNOWN = "550 5.1.1 <nobody@example.com>: nobody here"


class Verification(EndToEnd):
    def started(self, replies=None, verification=None, listener=None, **sections):
        """A gateway that spools and verifies example.com, and its backend, which knows everybody but nobody@."""
        backend = self.backend(replies or {"RCPT": {"nobody@example.com": UNKNOWN, None: "250 2.1.5 ok"}})
        routes = [{"recipients": ["example.com"], "pool": "main", "verify": "backend"}]
        spool = {"directory": str(pathlib.Path(self.folder) / "spool"), "max_size": "256MiB"}
        gateway = self.gateway(config({"main": pool(backend, health={"interval": "200ms"})}, routes=routes, listener=listener or {"acknowledge": "spool"}, workers=1, spool=spool,
                                      verification=verification or {}, **sections))
        return gateway, backend

    def questions(self, backend):
        """What was asked with the null sender, in order."""
        asked, sender = [], None
        for session in backend.sessions:
            for command in session.commands:
                if command.startswith("MAIL"):
                    sender = command
                elif command.startswith("RCPT") and sender == "MAIL FROM:<>":
                    asked.append(command)
        return asked

    def test_recipients_are_asked_for_once_and_mail_goes_to_those_who_exist(self):
        gateway, backend = self.started()
        for _ in range(3):
            client = self.client(gateway)
            client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@example.com>\r\nRCPT TO:<user@example.com>\r\nRCPT TO:<x@elsewhere.example>\r\nDATA\r\n")
            for start in ("250 2.1.0", UNKNOWN, "250 2.1.5", "550 5.7.1", "354"):
                client.expect(start)
            client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            client.expect("250 2.0.0 Ok: queued as")
        messages = backend.wait_messages(3)
        self.assertEqual([message.recipients for message in messages], [["user@example.com"]] * 3)
        self.assertEqual(self.questions(backend), ["RCPT TO:<nobody@example.com>", "RCPT TO:<user@example.com>"])
        self.assertEqual(gateway.metric("ringmx_verifications_total", source="backend"), 2)
        self.assertEqual(gateway.metric("ringmx_verifications_total", source="cache", result="unknown"), 2)
        self.assertEqual(gateway.metric("ringmx_verification_entries"), 2)

    def test_whom_nobody_can_ask_about_is_taken_or_deferred(self):
        for unavailable, start in (("accept", "250 2.1.5"), ("defer", "450 4.1.1")):
            with self.subTest(unavailable):
                gateway, backend = self.started({"RCPT": "451 4.3.0 later"}, {"unavailable": unavailable})
                client = self.client(gateway)
                client.cmd("MAIL FROM:<a@b.example>", "250")
                self.assertTrue(str(client.cmd("RCPT TO:<user@example.com>")).startswith(start))
                backend.stop()
                wait_until(lambda: gateway.metric("ringmx_backend_up") == 0, 20, "the backend is out")
                self.assertTrue(str(client.cmd("RCPT TO:<other@example.com>")).startswith(start))
                client.cmd("QUIT", "221")
                gateway.stop()

    def test_answers_are_forgotten_in_time(self):
        gateway, backend = self.started(verification={"positive": "300ms", "negative": "300ms"})
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@b.example>", "250")
        client.cmd("RCPT TO:<nobody@example.com>", "550")
        wait_until(lambda: client.cmd("RCPT TO:<nobody@example.com>", "550") and len(self.questions(backend)) >= 2, what="asked again")


if __name__ == "__main__":
    unittest.main()
