"""A disk that fails writes (EIO): mail is refused for it, what was promised is kept and delivered, and service resumes by itself."""

import errno
import unittest

from harness import wait_until
from smtp_client import Client
from test_spool_read_only import OnFuse

FAILED = "the spool can't be written: Input/output error"


class WriteError(OnFuse):
    def offer(self, gateway):
        """The answer to a message: to MAIL when it is refused there, else to the end of the data. Whether it was the latter."""
        with Client(gateway.smtp) as client:
            client.ehlo()
            reply = client.cmd("MAIL FROM:<sender@example.net>")
            if reply.code != 250:
                return str(reply), False
            client.cmd("RCPT TO:<refused@example.com>", "250")
            client.cmd("DATA", "354")
            client.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
            return str(client.reply()), True

    def refusals(self, gateway):
        """Offers mail until each worker refuses it at MAIL; how many messages were refused, and how many of them at their end."""
        answers = []

        def are_all_refused_at_mail():
            answers.append(self.offer(gateway))
            self.assertTrue(answers[-1][0].startswith("451 4.3.0 "), answers)
            return len(answers) >= 40 and not any(at_end for _, at_end in answers[-40:])
        wait_until(are_all_refused_at_mail, 60, "a refusal at MAIL by every worker")
        return len(answers), sum(at_end for _, at_end in answers)

    def test_mail_is_refused_while_writes_fail_and_what_was_taken_before_is_delivered(self):
        gateway = self.started()
        self.assertEqual(gateway.metric("ringmx_spool_write_failures_total"), 0)
        acknowledged = gateway.metric("ringmx_acknowledge_seconds_count")
        self.disk.write_error = errno.EIO
        refused, at_end = self.refusals(gateway)
        self.assertGreater(at_end, 0, "nobody was told of the write that failed")
        wait_until(lambda: gateway.get("/readyz") == (503, FAILED + "\n"), what="/readyz 503")
        gateway.wait_log(f"error: {FAILED}: mail is refused until that is over")
        self.assertEqual(gateway.get("/healthz")[0], 200)
        self.assertGreaterEqual(gateway.metric("ringmx_spool_write_failures_total"), at_end)
        gateway.wait_metric("ringmx_messages_rejected_total", refused, reason="disk_error")
        self.assertEqual(gateway.metric("ringmx_messages_rejected_total"), refused)
        self.assertEqual(gateway.metric("ringmx_acknowledge_seconds_count"), acknowledged + at_end)

        backend = self.backend(address=("127.0.0.1", self.port))
        backend.wait_messages(3)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.disk.write_error = 0
        self.wait_taken_again(gateway)
        self.client(gateway).message("after@example.com")
        backend.wait_messages(4)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(gateway.stop(), 0)
        self.assert_nothing_is_left(self.waiting(workers=1))
        self.assertEqual(sorted(message.recipients[0] for message in backend.delivered()),
                         ["after@example.com", *(f"before{number}@example.com" for number in range(3))])

    def test_what_was_taken_before_outlives_a_kill_while_writes_fail(self):
        """The parts of what was refused are on the disk or not: it is not delivered, whichever."""
        gateway = self.started(self.doomed_gateway)
        self.disk.write_error = errno.EIO
        self.refusals(gateway)
        self.kill(gateway)
        self.disk.write_error = 0
        gateway = self.gateway(self.waiting(workers=1))
        backend = self.backend(address=("127.0.0.1", self.port))
        backend.wait_messages(3)
        gateway.wait_metric("ringmx_spool_recovering", 0)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(sorted(message.recipients[0] for message in backend.delivered()), [f"before{number}@example.com" for number in range(3)])


if __name__ == "__main__":
    unittest.main()
