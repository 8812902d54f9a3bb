"""The reports of tests/golden/report, which are what the gateway writes octet for octet, as a mail program reads them.

The golden files are compared with the program's own output by DeliveryReportTest.ReadsAsKept; here Python's email package says what they mean.
"""

import email
import email.policy
import email.utils
import pathlib
import unittest

REPORTS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "report"

class Report:
    def __init__(self, name):
        self.octets = (REPORTS / f"{name}.eml").read_bytes()
        self.message = email.message_from_bytes(self.octets, policy=email.policy.SMTPUTF8)
        self.parts = self.message.get_payload()
        self.words = self.parts[0].get_content()
        # The package knows the inside of message/delivery-status, but not of its global form: here both are read the same way.
        boundary = b"\r\n--" + self.message.get_boundary().encode()
        status = self.octets.split(boundary)[2].split(b"\r\n\r\n")[1:]
        self.fields, *self.recipients = [email.message_from_bytes(group, policy=email.policy.SMTPUTF8) for group in status if group]

    def types(self):
        return [part.get_content_type() for part in self.parts]


class Reports(unittest.TestCase):
    def test_every_report_is_what_it_says_it_is(self):
        names = sorted(path.stem for path in REPORTS.glob("*.eml"))
        self.assertEqual(names, ["delayed", "failed", "hostile", "international", "mixed"])
        for name in names:
            with self.subTest(name):
                report = Report(name)
                message = report.message
                self.assertEqual([part.defects for part in (message, *report.parts)], [[]] * 4)
                self.assertEqual(message.get_content_type(), "multipart/report")
                self.assertEqual(message.get_param("report-type"), "delivery-status")
                self.assertEqual(len(report.parts), 3)
                self.assertEqual(sorted(message.keys()), sorted(["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version",
                                                                 "Content-Type", "Content-Transfer-Encoding"]))
                self.assertEqual(message["Auto-Submitted"], "auto-replied")
                self.assertEqual(email.utils.parseaddr(message["From"]), ("Mail Delivery System", "MAILER-DAEMON@mx1.example.com"))
                self.assertEqual(message["Message-ID"], "<4Zx9@mx1.example.com>")
                self.assertEqual(email.utils.parsedate_to_datetime(message["Date"]).isoformat(), "2026-11-23T10:41:22+00:00")
                self.assertEqual(report.fields["Reporting-MTA"], "dns; mx1.example.com")
                self.assertEqual(report.fields["Arrival-Date"], "Mon, 23 Nov 2026 09:41:22 +0000")
                for group in report.recipients:
                    self.assertIn(group["Action"], ("failed", "delayed", "relayed"))
                    self.assertRegex(group["Status"], r"^[245]\.\d+\.\d+$")
                    self.assertRegex(group["Final-Recipient"], r"^(rfc822|utf-8); ")
                for line in report.octets.split(b"\r\n"):
                    self.assertLessEqual(len(line), 998)
                    self.assertNotRegex(line, rb"[\r\n\0]")
                eight_bit = any(octet > 127 for octet in report.octets)
                self.assertEqual(message["Content-Transfer-Encoding"], "8bit" if eight_bit else "7bit")

    def test_failures(self):
        report = Report("failed")
        self.assertEqual(report.types(), ["text/plain", "message/delivery-status", "text/rfc822-headers"])
        self.assertEqual(email.utils.parseaddr(report.message["To"])[1], "a@sender.example")
        self.assertEqual(report.fields["Original-Envelope-Id"], "QQ314159+x")
        unknown, expired = report.recipients
        self.assertEqual(unknown["Original-Recipient"], "rfc822; Old+Name@example.com")
        self.assertEqual(unknown["Final-Recipient"], "rfc822; user@example.com")
        self.assertEqual((unknown["Action"], unknown["Status"]), ("failed", "5.1.1"))
        self.assertEqual(" ".join(unknown["Diagnostic-Code"].split()),
                         "smtp; 550-5.1.1 There is no such user here. Addresses are kept for a year after somebody 550 5.1.1 has left, then mail to them "
                         "is refused.")
        self.assertEqual(unknown["Remote-MTA"], "dns; store1.example.com")
        self.assertEqual(unknown["Last-Attempt-Date"], "Mon, 23 Nov 2026 09:42:22 +0000")
        self.assertEqual(expired["Final-Recipient"], 'rfc822; "two words"@example.com')
        self.assertEqual((expired["Status"], expired["Diagnostic-Code"], expired["Original-Recipient"]), ("4.4.7", None, None))
        for words in ("There is no such user here", "No server took the message within 4 days.", "4Zx7"):
            self.assertIn(words, report.words)
        header = email.message_from_bytes(report.parts[2].get_payload(decode=True))
        self.assertEqual(header["Subject"], "Hello")
        self.assertIn("id 4Zx7", header["Received"])

    def test_delays(self):
        report = Report("delayed")
        self.assertEqual((report.recipients[0]["Action"], report.recipients[0]["Will-Retry-Until"]), ("delayed", "Fri, 27 Nov 2026 09:41:22 +0000"))

    def test_what_failed_and_what_went_on_together(self):
        report = Report("mixed")
        self.assertEqual([(group["Action"], group["Status"]) for group in report.recipients], [("relayed", "2.0.0"), ("failed", "5.0.0")])
        self.assertEqual(report.types()[2], "message/rfc822")
        original = report.parts[2].get_payload()[0]
        self.assertEqual((original["Subject"], original.get_payload().strip()), ("Hello", "The body."))

    def test_addresses_in_utf8(self):
        report = Report("international")
        self.assertEqual(report.types(), ["text/plain", "message/global-delivery-status", "message/global-headers"])
        self.assertEqual(email.utils.parseaddr(report.message["To"])[1], "jürgen@bücher.example")
        self.assertEqual([(group["Original-Recipient"], group["Final-Recipient"]) for group in report.recipients],
                         [("utf-8; rené@example.com", "utf-8; rémy@example.com"), ("utf-8; j\\x{FC}rgen@example.com", "rfc822; plain@example.com")])
        self.assertIn("rémy@example.com", report.words)

    def test_nothing_can_be_forged(self):
        report = Report("hostile")
        self.assertEqual(report.types(), ["text/plain", "message/delivery-status", "message/rfc822"])
        everywhere = [report.message, report.fields, *report.recipients, *report.parts, *report.parts[1].get_payload(), *report.parts[2].get_payload()]
        self.assertFalse([part for part in everywhere if "X-Forged" in part])
        self.assertEqual(len(report.recipients), 1)
        self.assertEqual(len(report.parts[1].get_payload()), 2)
        self.assertEqual(report.recipients[0].get_all("Final-Recipient"), ['rfc822; "a????X-Forged: yes"@example.com'])
        original = report.parts[2].as_bytes()
        self.assertIn(b"--=_ringmx-0000000000001235--", original)


if __name__ == "__main__":
    unittest.main()
