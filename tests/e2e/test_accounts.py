"""What is counted and logged adds up: every message that began ends in one counter, and every refusal has its line."""

import collections
import json
import re
import unittest

from fake_backend import Drop
from harness import EndToEnd, config, free_port, pool, wait_until


class Accounts(EndToEnd):
    def reasons(self, gateway, name="ringmx_messages_rejected_total", label="reason"):
        """{reason: count} of the reasons that were given."""
        return collections.Counter({dict(labels)[label]: int(value) for (series, labels), value in gateway.metrics().items() if series == name and value})

    def wait_reasons(self, gateway, **expected):
        self.wait_equal(lambda: dict(self.reasons(gateway)), expected)

    def wait_equal(self, read, expected):
        try:
            wait_until(lambda: read() == expected, 10)
        except AssertionError:
            self.assertEqual(read(), expected)

    def test_each_transaction_is_counted_once_by_what_became_of_it(self):
        replies = {"RCPT": {"no@example.com": "550 5.1.1 no", "later@example.com": "450 4.2.1 later", "full@example.com": "552 5.2.2 full",
                            "fault@example.com": "530 5.7.0 authenticate", None: "250 2.1.5 ok"}}
        backend = self.backend(replies)
        gateway = self.gateway(config({"main": pool(backend)}, routes=[{"recipients": ["example.com"], "pool": "main"}],
                                      limits={"message_size": "10KiB", "received_headers": 2, "errors_per_connection": 0}))
        client = self.client(gateway)
        expected = collections.Counter()

        def rejected(reason):
            expected[reason] += 1
            self.wait_reasons(gateway, **expected)

        client.cmd("MAIL FROM:<a@example.net> SIZE=20000", "552")
        rejected("size")
        client.cmd("MAIL FROM:<a b@example.net>", "501 5.1.7")
        rejected("syntax")
        client.cmd("MAIL FROM:<a@example.net> FROB=1", "555")
        rejected("syntax")
        for recipients, reason in ((["x@elsewhere.example"], "no_route"), (["no@example.com"], "unknown_recipient"), (["later@example.com"], "backend_tempfail"),
                                   (["full@example.com"], "backend_reject"), (["fault@example.com"], "backend_fault"), (["a b@example.com"], "syntax"),
                                   (["no@example.com", "x@elsewhere.example"], "no_route"), (["ok@example.com", "no@example.com"], "abandoned"), ([], "abandoned")):
            for end in ("RSET", "EHLO again"):
                client.cmd("MAIL FROM:<a@example.net>", "250")
                for recipient in recipients:
                    client.cmd(f"RCPT TO:<{recipient}>")
                client.cmd(end, "250")
                rejected(reason)
        for body, code, reason in ((b"x" * 20000 + b"\r\n", "552", "size"), (b"Received: x\r\n" * 3 + b"\r\n", "554 5.4.6", "received_loop"),
                                   (b"a\nb\r\n", "550 5.6.0", "bare_newline"), (b"a\r\n.\0\r\n", "550 5.6.0", "nul_line")):
            client.envelope("ok@example.com")
            client.cmd("DATA", "354")
            client.send(body + b".\r\n")
            client.expect(code)
            rejected(reason)
        client.envelope("ok@example.com")
        client.send("BDAT 3 FROB\r\nabc")
        client.expect("501")
        client.cmd("RSET", "250")
        rejected("syntax")
        client.message("ok@example.com")
        client.envelope("ok@example.com")
        client.cmd("QUIT", "221")
        rejected("abandoned")
        for how in ("close", "reset"):
            client = self.client(gateway)
            client.envelope("ok@example.com")
            getattr(client, how)()
            rejected("client_gone")
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@example.net>", "250")
        client.cmd("RCPT TO:<no@example.com>", "550")
        client.close()
        rejected("unknown_recipient")
        client = self.client(gateway)
        client.envelope("ok@example.com")
        client.cmd("DATA", "354")
        client.send("half a mess")
        client.close()
        rejected("client_gone")
        self.assertEqual(gateway.metric("ringmx_messages_accepted_total"), 1)
        self.assertEqual(gateway.metric("ringmx_messages_forwarded_total"), 1)

    def test_a_backends_refusal_of_the_message_is_counted_once(self):
        gateway, _ = self.simple({"END": ["451 4.3.0 later", "554 5.6.1 no", "530 5.7.0 who", Drop(), "250 2.0.0 ok"], "DATA": ["452 4.3.1 full", "354 go"]},
                                 backend_options={"extensions": ("PIPELINING",)})
        client = self.client(gateway)
        client.envelope("a@example.com")
        client.cmd("DATA", "452")
        client.cmd("RSET", "250")
        self.wait_reasons(gateway, backend_tempfail=1)
        for start in ("451 4.3.0", "554 5.6.1", "451 4.3.5", "451 4.4.1", "250"):
            client.message("a@example.com", start=start)
        self.wait_reasons(gateway, backend_tempfail=2, backend_reject=1, backend_fault=1, backend_unavailable=1)
        self.assertEqual(gateway.metric("ringmx_forward_failures_total", kind="possible_duplicate"), 1)
        gateway.wait_log(r"reject: DATA from unknown\[127\.0\.0\.1\]: 452 4\.3\.1 full; ")
        for code in ("451 4.3.0 later", "554 5.6.1 no", "451 4.3.5 Mail", "451 4.4.1 No"):
            gateway.wait_log(r": reject: END-OF-MESSAGE from unknown\[127\.0\.0\.1\]: " + re.escape(code))

    def test_what_no_backend_takes_is_counted_for_the_hashs_choice_and_no_421_is_invented(self):
        down = f"127.0.0.1:{free_port()}"
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(down, health={"interval": "100ms", "failures": 1}), "held": pool(backend, hold=True)},
                                      routes=[{"recipients": ["example.com"], "pool": "main"}, {"recipients": ["example.org"], "pool": "held"}]),
                               ready_statuses=(200, 503))  # soon no pool has a backend
        gateway.wait_metric("ringmx_backend_up", 0, pool="main", backend=down)
        client = self.client(gateway)
        for recipient in ("a@example.com", "a@example.org"):
            client.cmd("MAIL FROM:<a@example.net>", "250")
            client.cmd(f"RCPT TO:<{recipient}>", "451 4.4.1")
            client.cmd("RSET", "250")
        self.wait_reasons(gateway, backend_unavailable=2)
        for name, where in (("main", down), ("held", backend.address)):
            gateway.wait_metric("ringmx_forward_failures_total", 1, pool=name, backend=where, kind="no_backend")
        self.assertEqual(gateway.metric("ringmx_forward_failures_total", kind="unavailable"), 0)

    def test_too_many_errors_timeouts_and_a_drain_are_reasons(self):
        gateway, _ = self.simple(limits={"errors_per_connection": 2, "unknown_recipients_per_connection": 1}, timeouts={"command": "500ms", "drain": "100ms"},
                                 replies={"RCPT": {"no@example.com": "550 5.1.1 no", None: "250 2.1.5 ok"}})
        client = self.client(gateway)
        client.envelope("a@example.com")
        for start in ("500", "500", "421 4.7.0"):
            client.cmd("FROB", start)
        client.expect_closed()
        self.wait_reasons(gateway, too_many_errors=1)
        gateway.wait_log(r"too many errors after UNKNOWN from unknown\[127\.0\.0\.1\]")
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@example.net>", "250")
        client.cmd("RCPT TO:<no@example.com>", "550")
        client.cmd("RCPT TO:<no@example.com>", "421 4.7.0")
        gateway.wait_log(r"too many errors after RCPT from unknown\[127\.0\.0\.1\]")
        self.wait_reasons(gateway, too_many_errors=1, unknown_recipient=1)
        client = self.client(gateway)
        client.envelope("a@example.com")
        client.expect("421 4.4.2")
        gateway.wait_log(r"timeout after RCPT from unknown\[127\.0\.0\.1\]")
        self.wait_reasons(gateway, too_many_errors=1, unknown_recipient=1, timeout=1)
        self.assertEqual(gateway.metric("ringmx_client_timeouts_total"), 1)

    def test_errors_that_an_accepted_message_forgave_are_no_reason_to_log_too_many(self):
        gateway, _ = self.simple(limits={"errors_per_connection": 2})
        client = self.client(gateway)
        for _ in range(3):
            client.cmd("FROB", "500")
            client.cmd("FROB", "500")
            client.message("a@example.com")
        client.cmd("QUIT", "221")
        gateway.stop()
        self.assertNotIn("too many errors", gateway.log())

    def test_commands_operations_and_turns_are_counted(self):
        gateway, _ = self.simple()
        gateway.wait_metric("ringmx_commands_total", 0)
        client = self.client(gateway)
        for _ in range(5):
            client.cmd("NOOP", "250")
        client.cmd("FROB", "500")
        gateway.wait_metric("ringmx_commands_total", 7)
        gateway.wait_metric("ringmx_protocol_errors_total", 1)
        metrics = gateway.metrics()
        self.assertGreater(metrics["ringmx_operations_total", ()], 5)
        self.assertGreater(metrics["ringmx_completions_total", ()], 5)
        self.assertGreater(metrics["ringmx_turns_total", ()], 5)

    def test_recipients_are_counted_by_reason(self):
        backend = self.backend({"RCPT": {"no@example.com": "550 5.1.1 no", None: "250 ok"}})
        gateway = self.gateway(config({"main": pool(backend), "other": pool(backend)}, limits={"recipients": 2},
                                      routes=[{"recipients": ["example.com"], "pool": "main"}, {"recipients": ["example.org"], "pool": "other"}]))
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@example.net>", "250")
        for recipient, start in (("x@elsewhere.example", "550 5.7.1"), ("no@example.com", "550 5.1.1"), ("a b", "501 5.1.3"), ("a@example.com", "250"),
                                 ("a@example.org", "452 4.5.3"), ("b@example.com", "250"), ("c@example.com", "452 4.5.3")):
            client.cmd(f"RCPT TO:<{recipient}>", start)
        self.wait_equal(lambda: dict(self.reasons(gateway, "ringmx_recipients_rejected_total")),
                        {"no_route": 1, "unknown_recipient": 1, "syntax": 1, "other_pool": 1, "recipients_limit": 1})
        self.assertEqual(gateway.metric("ringmx_recipients_accepted_total"), 2)
        gateway.wait_log(r"NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 501 5\.1\.3 <a b>: Recipient address rejected: .*to=<a b> proto=ESMTP helo=<client\.example>")
        gateway.wait_log(r"NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 452 4\.5\.3 <c@example\.com>: Recipient address rejected: ")

    def test_lines_that_fail2ban_bans_for(self):
        # The shapes of fail2ban's filter.d/postfix.conf: mode normal with unknown users, and ddos.
        backend = self.backend({"RCPT": {"no@example.com": "550 5.1.1 no", None: "250 ok"}})
        gateway = self.gateway(config({"main": pool(backend)}, routes=[{"recipients": ["example.com"], "pool": "main"}], limits={"errors_per_connection": 3}))
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@example.net>", "250")
        client.cmd("RCPT TO:<no@example.com>", "550 5.1.1")
        client.cmd("RCPT TO:<x@elsewhere.example>", "550 5.7.1")
        client.close()
        client = self.client(gateway)
        for _ in range(4):
            client.cmd("FROB")
        content = r"ringmx/smtpd\[\d+\]: "
        normal = (r"\w+: reject: RCPT from [^[]*\[127\.0\.0\.1\](?::\d+)?: [45][50][04] [45]\.\d\.\d+ (?:<[^>]*>)?: "
                  r"(?:(?:Helo command|(?:Sender|Recipient) address) rejected: )?(?:Relay access denied|[Uu]ser unknown)\b")
        gateway.wait_log(content + normal.replace(r"(?:Relay access denied|[Uu]ser unknown)", "User unknown"))
        gateway.wait_log(content + normal.replace(r"(?:Relay access denied|[Uu]ser unknown)", "Relay access denied"))
        gateway.wait_log(content + r"lost connection after RCPT from [^[]*\[127\.0\.0\.1\]")
        gateway.wait_log(content + r"too many errors after \S+ from [^[]*\[127\.0\.0\.1\]")

    def test_limits_name_a_count_above_the_limit(self):
        gateway, _ = self.simple(limits={"connections_per_client": 1, "message_rate_per_client": "2/1h", "recipient_rate_per_client": "3/1h"})
        client = self.client(gateway)
        with gateway.client(greet=False) as second:
            second.expect("421 4.7.0")
        gateway.wait_log(r"warning: Connection concurrency limit exceeded: 2 from unknown\[127\.0\.0\.1\] for service smtp")
        client.message("a@example.com")
        client.envelope("a@example.com", "b@example.com")
        client.cmd("RCPT TO:<c@example.com>", "450 4.7.1")
        gateway.wait_log(r"warning: Recipient address rate limit exceeded: 4 from ")
        client.cmd("RSET", "250")
        client.cmd("MAIL FROM:<a@example.net>", "450 4.7.1")
        gateway.wait_log(r"warning: Message delivery request rate limit exceeded: 3 from ")
        gateway.wait_log(r"NOQUEUE: reject: MAIL from unknown\[127\.0\.0\.1\]: 450 4\.7\.1 Too many messages, slow down; from=<a@example\.net>")
        self.wait_reasons(gateway, abandoned=1, rate_limit=1)

    def test_levels_filter_and_debug_tells_of_connections(self):
        for level, connects, accepts in (("debug", True, True), ("info", False, True), ("warning", False, False), ("error", False, False)):
            with self.subTest(level=level):
                gateway, _ = self.simple(log={"level": level})
                client = self.client(gateway)
                client.message("a@example.com")
                client.cmd("FROB", "500")
                client.cmd("QUIT", "221")
                gateway.wait_metric("ringmx_connections_open", 0)
                gateway.stop()
                log = gateway.log()
                self.assertEqual(bool(re.search(r": connect from unknown\[127\.0\.0\.1\]", log)), connects)
                self.assertEqual(bool(re.search(r": disconnect from unknown\[127\.0\.0\.1\] commands=5/6", log)), connects, log)
                self.assertEqual("status=sent" in log, accepts)
                if level == "error":
                    self.assertEqual(log, "")

    def test_hostile_text_forges_no_line(self):
        hostile = "x\x1b[2J\x7f\u2028\u0085y"
        backend = self.backend({"RCPT": {"no@example.com": "550 5.1.1 no\x1b[31m \udc85 \u2028 \u0085 end", None: "250 ok"}})
        for log_format in ("text", "json"):
            with self.subTest(format=log_format):
                gateway = self.gateway(config({"main": pool(backend)}, log={"format": log_format}))
                client = self.client(gateway, ehlo=False)
                client.cmd(f"EHLO {hostile}")
                client.cmd("EHLO client.example", "250")
                client.cmd(f"MAIL FROM:<{hostile}@example.net> SMTPUTF8")
                client.cmd("RSET", "250")
                client.cmd("MAIL FROM:<a@example.net>", "250")
                client.cmd("RCPT TO:<no@example.com>", "550")
                client.cmd(f"RCPT TO:<{hostile}@example.com>")
                client.cmd("QUIT", "221")
                gateway.wait_metric("ringmx_connections_open", 0)
                gateway.stop()
                octets = gateway.log_path.read_bytes()
                self.assertNotRegex(octets.replace(b"\n", b""), rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
                octets.decode("utf-8")
                for line in octets.decode().splitlines():
                    if log_format == "json":
                        self.assertIn("event", json.loads(line))
                    else:
                        self.assertRegex(line, r"\Aringmx/smtpd\[\d+\]: ")

    def test_the_two_lines_of_a_message_tell_all_that_the_contract_names(self):
        gateway, backend = self.simple({"END": "250 2.0.0 Ok: queued as Z9"}, log={"format": "json"})
        client = self.client(gateway)
        client.message("a@example.com", "b@example.com", body=b"Subject: x\r\n\r\nhello\r\n")
        client.cmd("QUIT", "221")
        gateway.wait_log('"event":"delivered"')
        gateway.stop()
        lines = [json.loads(line) for line in gateway.log().splitlines()]
        accepted, = (line for line in lines if line["event"] == "accepted")
        delivered, = (line for line in lines if line["event"] == "delivered")
        self.assertEqual(accepted["id"], delivered["id"])
        self.assertLessEqual({"client": "127.0.0.1", "sender": "sender@example.net", "recipients": 2, "size": 21, "backend": backend.address,
                              "reply": "Ok: queued as Z9", "reply_code": 250, "reply_enhanced": "2.0.0", "protocol": "ESMTP", "hello": "client.example"}.items(),
                             accepted.items())
        self.assertLessEqual({"backend": backend.address, "pool": "main", "recipients": 2, "reply": "Ok: queued as Z9", "recipient": "a@example.com"}.items(),
                             delivered.items())
        self.assertEqual(delivered["more_recipients"], ["b@example.com"])
        for key in ("client", "sender", "recipients", "size", "pool", "backend", "reply"):
            self.assertEqual(accepted[key], delivered[key], key)
        for line in (accepted, delivered):
            self.assertGreaterEqual(line["duration_ms"], 0)
            self.assertEqual(line["tls"], "none")


if __name__ == "__main__":
    unittest.main()
