"""Timeouts, with small configured values. Nothing here measures a duration: only that a thing comes, and in which order."""

import time
import unittest

from fake_backend import Delay, Drop, Stall
from harness import EndToEnd, config, free_port, pool, wait_until
from smtp_client import Client


class Clients(EndToEnd):
    def test_a_silent_client_gets_421(self):
        gateway, _ = self.simple(timeouts={"command": "300ms"})
        client = self.client(gateway)
        client.expect("421 4.4.2")
        client.expect_closed()
        client = self.client(gateway, ehlo=False)
        client.send("EHL")
        client.expect("421 4.4.2")

    def test_half_a_command_a_time_does_not_keep_it_alive_for_ever(self):
        gateway, _ = self.simple(timeouts={"command": "500ms"})
        client = self.client(gateway)
        limit = time.monotonic() + 15
        while client.silent(0.1):
            self.assertLess(time.monotonic(), limit, "a dripping command line is never cut")
            try:
                client.send("x")
            except OSError:
                break
        client.expect("421 4.4.2")

    def test_silence_in_data_gets_421_and_the_backend_no_final_dot(self):
        gateway, backend = self.simple(timeouts={"data": "300ms", "command": "5m"})
        client = self.client(gateway)
        client.envelope("a@example.com")
        client.cmd("DATA", "354")
        client.send(b"x\r\n")
        client.expect("421 4.4.2")
        client.expect_closed()
        self.assertFalse(any(message.complete for message in backend.messages))

    def test_activity_keeps_a_session_alive(self):
        gateway, _ = self.simple(timeouts={"command": "1500ms"})
        client = self.client(gateway)
        for _ in range(10):
            client.cmd("NOOP", "250")
            time.sleep(0.2)

    def test_early_talkers(self):
        gateway, backend = self.simple(timeouts={"greeting_delay": "400ms"})
        patient = self.client(gateway)
        patient.message("a@example.com")
        early = Client(gateway.smtp, greet=False)
        self.addCleanup(early.close)
        early.send("EHLO x\r\n")
        early.expect("554 5.5.1")
        early.expect_closed()


class Backends(EndToEnd):
    def test_a_backend_that_never_greets_leads_to_another(self):
        stalled, good = self.backend({"greeting": Stall()}), self.backend()
        gateway = self.gateway(config({"main": pool(stalled, good)}, timeouts={"backend_connect": "300ms", "backend_reply": "300ms"}))
        client = self.client(gateway)
        for number in range(4):
            client.message(f"user{number}@example.com")
        self.assertEqual(len(good.wait_messages(4)), 4)

    def test_a_backend_that_never_answers_a_command_leads_to_another(self):
        for phase in ("EHLO", "MAIL", "RCPT"):
            stalled, good = self.backend({phase: Stall()}), self.backend()
            gateway = self.gateway(config({"main": pool(stalled, good)}, timeouts={"backend_reply": "300ms"}))
            client = self.client(gateway)
            for number in range(4):
                client.message(f"user{number}@example.com")
            self.assertEqual(len(good.wait_messages(4)), 4)

    def test_the_end_of_data_is_never_tried_elsewhere(self):
        first, second = self.backend({"END": Stall()}), self.backend({"END": Stall()})
        gateway = self.gateway(config({"main": pool(first, second)}, timeouts={"backend_end_of_data": "300ms"}))
        client = self.client(gateway)
        client.message("a@example.com", start="451 4.4.1")
        self.assertEqual(len(first.messages) + len(second.messages), 1)

    def test_a_slow_backend_within_its_timeout_is_fine(self):
        gateway, backend = self.simple({"greeting": Delay(0.1, "220 x"), "EHLO": Delay(0.1, "250 x"), "MAIL": Delay(0.1, "250 2.1.0 x"),
                                        "RCPT": Delay(0.1, "250 2.1.5 x"), "DATA": Delay(0.1, "354 x"), "END": Delay(0.1, "250 2.0.0 x")})
        self.client(gateway).message("a@example.com")
        backend.wait_messages(1)

    def test_a_silent_client_gives_its_backend_connection_back_and_is_replayed(self):
        gateway, backend = self.simple(timeouts={"backend_hold": "300ms", "command": "5m"}, pool_settings={"max_connections": 1})
        held = self.client(gateway)
        held.envelope("a@example.com")
        wait_until(lambda: any("RSET" in session.commands or session.closed for session in backend.transactions()), what="the connection given back")
        other = self.client(gateway, source="127.0.0.2")
        other.message("b@example.com")
        held.cmd("RCPT TO:<c@example.com>", "250")
        held.cmd("DATA", "354")
        held.send(b"x\r\n.\r\n")
        held.expect("250")
        self.assertEqual([message.recipients for message in backend.wait_messages(2)], [["b@example.com"], ["a@example.com", "c@example.com"]])

    def test_an_answer_that_changed_at_the_replay_is_451_at_the_end(self):
        gateway, backend = self.simple({"RCPT": ["250 2.1.5 ok", "550 5.1.1 gone"]}, timeouts={"backend_hold": "300ms", "command": "5m"})
        client = self.client(gateway)
        client.envelope("a@example.com")
        wait_until(lambda: any("RSET" in session.commands or session.closed for session in backend.transactions()), what="the connection given back")
        reply = client.cmd("DATA")
        if reply.code == 354:
            client.send(b"x\r\n.\r\n")
            reply = client.reply()
        self.assertTrue(str(reply).startswith("451 4.4.1"), reply)
        self.assertEqual(backend.delivered(), [])

    def test_idle_backend_connections_are_closed_with_quit(self):
        gateway, backend = self.simple(pool_settings={"idle_timeout": "300ms"})
        self.client(gateway).message("a@example.com")
        backend.wait(lambda: all(session.closed for session in backend.transactions()), what="the idle connection closed")
        self.assertEqual(backend.transactions()[0].commands[-1], "QUIT")

    def test_waiting_for_a_connection_ends_with_451(self):
        gateway, backend = self.simple({"RCPT": Stall()}, pool_settings={"max_connections": 1}, timeouts={"backend_wait": "200ms"},
                                       limits={"exempt": ["127.0.0.0/8"]})
        first, second = self.client(gateway), self.client(gateway)
        first.lines("MAIL FROM:<a@example.net>", "RCPT TO:<a@example.com>")
        first.expect("250 2.1.0")
        backend.wait(lambda: backend.transactions())
        second.cmd("MAIL FROM:<a@example.net>", "250")
        second.cmd("RCPT TO:<a@example.com>", "451 4.4.1")


class Health(EndToEnd):
    QUICK = {"health": {"interval": "100ms", "failures": 2, "successes": 1}}

    def test_probes_take_a_backend_out_and_bring_it_back(self):
        gateway, backend = self.simple(pool_settings=self.QUICK)
        gateway.wait_metric("ringmx_backend_up", 1)
        backend.replies["greeting"] = Drop()
        gateway.wait_metric("ringmx_backend_up", 0)
        wait_until(lambda: gateway.get("/readyz")[0] == 503, what="503 of /readyz")
        backend.replies.pop("greeting")
        gateway.wait_metric("ringmx_backend_up", 1)
        wait_until(lambda: gateway.get("/readyz")[0] == 200, what="200 of /readyz")
        self.client(gateway).message("a@example.com")

    def test_probes_end_with_quit_and_send_no_mail(self):
        gateway, backend = self.simple(pool_settings=self.QUICK)
        backend.wait(lambda: sum(bool(session.closed) for session in backend.sessions) >= 2, what="two probes")
        for session in list(backend.sessions):
            if session.closed:
                self.assertEqual([line.split()[0] for line in session.commands], ["EHLO", "QUIT"])

    def test_mail_goes_round_a_backend_that_is_out(self):
        dead_port = free_port()
        good = self.backend()
        gateway = self.gateway(config({"main": pool(f"127.0.0.1:{dead_port}", good, **self.QUICK)}))
        gateway.wait_metric("ringmx_backend_up", 0, backend=f"127.0.0.1:{dead_port}")
        client = self.client(gateway)
        for number in range(8):
            client.message(f"user{number}@example.com")
        self.assertEqual(len(good.wait_messages(8)), 8)
        revived = self.backend(address=("127.0.0.1", dead_port))
        gateway.wait_metric("ringmx_backend_up", 1, backend=f"127.0.0.1:{dead_port}")
        for number in range(24):
            client.message(f"user{number}@example.com")
        self.assertTrue(revived.delivered())


if __name__ == "__main__":
    unittest.main()
