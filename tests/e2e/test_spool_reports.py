"""What senders are told of mail that was acknowledged from the spool: the report as it arrives, whom it goes to, and who wants none."""

import email
import email.policy
import email.utils
import re
import unittest

from fake_backend import EXTENSIONS
from harness import HOSTNAME, pool, wait_until
from test_queue import Queue

REFUSED = "550 5.1.1 no such user here"
WITHOUT_DSN = tuple(name for name in EXTENSIONS if name != "DSN")


class Report:
    """A report to sender@example.net, as a mail program reads it."""

    def __init__(self, message):
        self.message = email.message_from_bytes(message.data, policy=email.policy.SMTP)
        self.words, status, self.returned = self.message.get_payload()
        self.fields, *self.recipients = status.get_payload()

    def told(self):
        return [(each["Final-Recipient"], each["Action"], each["Status"]) for each in self.recipients]


class Reporting(Queue):
    def reporting(self, replies=None, extensions=EXTENSIONS, senders=("example.net",), **spool):
        """A gateway whose backend has example.com, while another one has what goes to senders: those of `senders` by a route."""
        self.users, self.senders = self.backend({"RCPT": replies or {"gone@example.com": REFUSED}}, extensions=extensions), self.backend()
        routes = [{"recipients": ["example.com"], "pool": "users"}, {"recipients": [*senders], "pool": "senders"}]
        return self.spooling(pools={"users": pool(self.users), "senders": pool(self.senders)}, routes=routes, spool=spool)

    def say(self, gateway, *commands, body=b"Subject: lost\r\n\r\nhello\r\n"):
        """The id of a message with this envelope."""
        with gateway.client() as client:
            client.ehlo()
            for command in commands:
                client.cmd(command, "250")
            client.cmd("DATA", "354")
            client.send(body + b".\r\n")
            return re.search(r"queued as (\S+)", str(client.expect("250"))).group(1)

    def reports(self):
        messages = self.senders.delivered()
        self.assertEqual([(message.mail_line.split()[1], message.recipients) for message in messages], [("FROM:<>", ["sender@example.net"])] * len(messages))
        return [Report(message) for message in messages]


class Failures(Reporting):
    def test_a_report_says_what_the_sender_asked_for_and_what_the_backend_said(self):
        gateway = self.reporting(on_failure="bounce")
        queue_id = self.say(gateway, "MAIL FROM:<sender@example.net> RET=HDRS ENVID=QQ+2B31", "RCPT TO:<gone@example.com> NOTIFY=FAILURE ORCPT=rfc822;Old+2BName@example.org",
                            "RCPT TO:<user@example.com> NOTIFY=FAILURE")
        gateway.wait_metric("ringmx_queue_messages", 0)
        report, = self.reports()
        message = report.message
        self.assertEqual([part.defects for part in message.walk()], [[]] * len([*message.walk()]))
        self.assertEqual((message.get_content_type(), message.get_param("report-type")), ("multipart/report", "delivery-status"))
        self.assertEqual([part.get_content_type() for part in message.get_payload()], ["text/plain", "message/delivery-status", "text/rfc822-headers"])
        self.assertEqual(email.utils.parseaddr(message["To"])[1], "sender@example.net")
        self.assertEqual(message["Auto-Submitted"], "auto-replied")
        self.assertEqual((report.fields["Reporting-MTA"], report.fields["Original-Envelope-Id"]), (f"dns; {HOSTNAME}", "QQ+31"))
        self.assertEqual(report.told(), [("rfc822; gone@example.com", "failed", "5.1.1")])
        failed, = report.recipients
        self.assertEqual((failed["Original-Recipient"], failed["Diagnostic-Code"]), ("rfc822; Old+Name@example.org", f"smtp; {REFUSED}"))
        header = email.message_from_string(report.returned.get_content())
        self.assertEqual((header["Subject"], header.get_payload()), ("lost", ""))
        self.assertIn(f"id {queue_id}", header["Received"])
        self.assertNotIn(b"hello", self.senders.delivered()[0].data)
        self.assertEqual(gateway.metric("ringmx_reports_total", action="failed"), 1)

    def test_ret_full_gives_a_small_message_back_whole_and_a_large_one_not(self):
        gateway = self.reporting(on_failure="bounce")
        for body, returned in ((b"hello\r\n", "message/rfc822"), (b"hello\r\n" * 10000, "text/rfc822-headers"), (b"y" * 999 + b"\r\n", "text/rfc822-headers")):
            self.say(gateway, "MAIL FROM:<sender@example.net> RET=FULL", "RCPT TO:<gone@example.com>", body=b"Subject: lost\r\n\r\n" + body)
            gateway.wait_metric("ringmx_queue_messages", 0)
            part = self.reports()[-1].returned
            self.assertEqual(part.get_content_type(), returned)
            self.assertIn("Subject: lost", part.as_string())
            self.assertEqual("hello" in part.as_string(), returned == "message/rfc822")

    def test_who_wants_no_report_gets_none(self):
        gateway = self.reporting(on_failure="bounce")
        for notify in ("NEVER", "SUCCESS,DELAY"):
            queue_id = self.say(gateway, "MAIL FROM:<sender@example.net>", f"RCPT TO:<gone@example.com> NOTIFY={notify}")
            gateway.wait_log(rf"{queue_id}: to=<gone@example\.com>, .*, status=bounced \({REFUSED}\)")
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual((gateway.metric("ringmx_reports_total"), self.reports()), (0, []))
        self.say(gateway, "MAIL FROM:<sender@example.net>", "RCPT TO:<gone@example.com>")
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(len(self.reports()), 1)

    def test_a_sender_without_a_route_is_told_through_the_bounce_pool(self):
        gateway = self.reporting(on_failure="bounce", bounce_pool="senders", senders=["example.org"])
        self.send(gateway, "gone@example.com")
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(self.reports()[0].told(), [("rfc822; gone@example.com", "failed", "5.1.1")])
        # It is for reports: clients can't send through it, whoever they say they are.
        with gateway.client() as client:
            client.ehlo()
            client.cmd("MAIL FROM:<>", "250")
            client.cmd("RCPT TO:<sender@example.net>", "550 5.7.1")

    def test_without_a_way_to_the_sender_the_message_is_held(self):
        gateway = self.reporting(on_failure="bounce", senders=["example.org"])
        queue_id = self.send(gateway, "gone@example.com")
        wait_until(lambda: self.entry(gateway, queue_id)["state"] == "failed", what="a failed message")
        gateway.wait_log(rf"{queue_id}: to=<gone@example\.com>, .*, status=held \({REFUSED}; held: no route takes a report to its sender, and there is no bounce_pool\)")
        self.assertEqual((gateway.metric("ringmx_reports_total"), self.reports()), (0, []))


class Successes(Reporting):
    ENVELOPE = ("MAIL FROM:<sender@example.net> RET=HDRS ENVID=QQ+2B31", "RCPT TO:<user@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Old+2BName@example.org",
                "RCPT TO:<other@example.com> NOTIFY=FAILURE")

    def asked(self):
        return [command for command in self.users.delivered()[0].session.commands if command.startswith(("MAIL", "RCPT"))]

    def test_a_backend_without_dsn_makes_a_relayed_report(self):
        gateway = self.reporting(extensions=WITHOUT_DSN)
        queue_id = self.say(gateway, *self.ENVELOPE)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(self.asked()[1:], ["RCPT TO:<user@example.com>", "RCPT TO:<other@example.com>"])
        self.assertNotRegex(self.asked()[0], "RET|ENVID")
        report, = self.reports()
        self.assertEqual(report.told(), [("rfc822; user@example.com", "relayed", "2.0.0")])
        self.assertEqual((report.fields["Original-Envelope-Id"], report.recipients[0]["Original-Recipient"]), ("QQ+31", "rfc822; Old+Name@example.org"))
        self.assertEqual(report.returned.get_content_type(), "text/rfc822-headers")
        self.assertEqual(gateway.metric("ringmx_reports_total", action="relayed"), 1)
        gateway.wait_log(rf"{queue_id}: sender delivery status notification: [A-Za-z]{{13}}")

    def test_a_backend_with_dsn_gets_the_parameters_and_there_is_no_report(self):
        gateway = self.reporting()
        self.say(gateway, *self.ENVELOPE)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertRegex(self.asked()[0], r"\AMAIL FROM:<sender@example\.net> .*RET=HDRS ENVID=QQ\+2B31\Z")
        self.assertEqual(self.asked()[1:], [*self.ENVELOPE[1:]])
        self.assertEqual((gateway.metric("ringmx_reports_total"), self.reports()), (0, []))

    def test_a_relayed_report_that_has_no_way_is_dropped_and_counted(self):
        gateway = self.reporting(extensions=WITHOUT_DSN, senders=["example.org"])
        self.say(gateway, *self.ENVELOPE)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(self.users.delivered()[0].recipients, ["user@example.com", "other@example.com"])
        self.assertEqual([gateway.metric(name) for name in ("ringmx_reports_dropped_total", "ringmx_reports_total")], [1, 0])
        self.assertEqual(self.reports(), [])


if __name__ == "__main__":
    unittest.main()
