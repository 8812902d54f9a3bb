"""Routes with `verify` on the real program: a spool listener answers RCPT as the recipient's backend does, and asks each backend once; `ringmx cache` shows what is
known, and forgets it."""

import json
import pathlib
import signal
import unittest

from harness import BIN, EndToEnd, config, free_port, pool, run, wait_until

UNKNOWN = "550 5.1.1 <nobody@example.com>: nobody here"


ADMIN = {"X-Ringmx-Admin": "1"}


class Verifying(EndToEnd):
    def started(self, replies=None, verification=None, listener=None, workers=1, **sections):
        """A gateway that spools and verifies example.com, and its backend, which knows everybody but nobody@."""
        backend = self.backend(replies or {"RCPT": {"nobody@example.com": UNKNOWN, None: "250 2.1.5 ok"}})
        routes = [{"recipients": ["example.com"], "pool": "main", "verify": "backend"}]
        spool = {"directory": str(pathlib.Path(self.folder) / "spool"), "max_size": "256MiB"}
        gateway = self.gateway(config({"main": pool(backend, health={"interval": "200ms"})}, routes=routes, listener=listener or {"acknowledge": "spool"}, workers=workers, spool=spool,
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

    def rcpt(self, gateway, *names):
        """What new clients are told about recipients, a client for all of them."""
        with gateway.client() as client:
            client.ehlo()
            client.cmd("MAIL FROM:<a@b.example>", "250")
            return [str(client.cmd(f"RCPT TO:<{name}@example.com>")) for name in names]


class Verification(Verifying):
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


class Cache(Verifying):
    def cache(self, gateway, *arguments):
        return run(BIN / "ringmx", "cache", *arguments, "--admin", f"127.0.0.1:{gateway.admin_port}")

    def do(self, gateway, *arguments):
        result = self.cache(gateway, *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def answers(self, gateway, *arguments):
        return json.loads(self.do(gateway, "show", *arguments, "--json"))["answers"]

    def test_what_is_known_is_shown_with_the_time_that_is_left(self):
        gateway, _ = self.started(verification={"positive": "2h", "negative": "10m"})
        self.assertEqual(self.answers(gateway), [])
        self.assertEqual(self.do(gateway, "show"), "result   remaining  worker  reply\n")
        self.rcpt(gateway, "user", "nobody")
        exists, unknown = self.answers(gateway)
        self.assertEqual([(each["result"], each["reply"], each["worker"]) for each in (exists, unknown)],
                         [("exists", "", 0), ("unknown", UNKNOWN.replace("nobody@example.com", "recipient"), 0)])
        self.assertTrue(7100 < exists["remaining_seconds"] <= 7201, exists)
        self.assertTrue(500 < unknown["remaining_seconds"] <= 601, unknown)
        self.assertRegex(self.do(gateway, "show"), r"\A.*\nexists  +(2h 0m|1h 59m) +0  -\nunknown  +(10m 0s|9m \d+s) +0  550 5\.1\.1 <recipient>: nobody here\n\Z")
        self.assertEqual(len(self.answers(gateway, "--limit", "1")), 1)
        self.assertEqual([each["result"] for each in self.answers(gateway, "User@EXAMPLE.com")], ["exists"])
        self.assertEqual([each["reply"] for each in self.answers(gateway, "<nobody@example.com>")], [UNKNOWN])
        self.assertEqual(self.answers(gateway, "other@example.com"), [])
        self.assertEqual(self.answers(gateway, "user@elsewhere.example"), [])

    def test_a_purge_of_one_address_makes_its_next_rcpt_ask_again(self):
        gateway, backend = self.started()
        self.rcpt(gateway, "user", "nobody")
        self.rcpt(gateway, "user", "nobody")
        self.assertEqual(len(self.questions(backend)), 2)
        self.assertEqual(self.do(gateway, "purge", "Nobody@example.com"), "1 answer forgotten\n")
        self.assertEqual(self.do(gateway, "purge", "nobody@example.com", "--json"), '{"purged":0}\n')
        gateway.wait_log(r"an operator purges what is known of nobody@example\.com")
        self.assertEqual([each["result"] for each in self.answers(gateway)], ["exists"])
        self.rcpt(gateway, "user", "nobody")
        self.assertEqual(self.questions(backend)[2:], ["RCPT TO:<nobody@example.com>"])

    def test_a_purge_of_all_reaches_every_worker(self):
        gateway, backend = self.started(workers=2)
        wait_until(lambda: self.rcpt(gateway, "user", "nobody") and len(self.answers(gateway, "user@example.com")) == 2, what="both workers know the recipient")
        self.assertEqual({each["worker"] for each in self.answers(gateway, "user@example.com")}, {0, 1})
        self.assertEqual([each["worker"] for each in self.answers(gateway)], [0, 0, 1, 1])
        self.assertEqual(len(self.questions(backend)), 4)
        again = self.questions(backend).count("RCPT TO:<user@example.com>") + 1
        self.assertEqual(self.do(gateway, "purge"), "4 answers forgotten\n")
        self.assertEqual(self.answers(gateway), [])
        self.assertEqual(gateway.metric("ringmx_verification_entries"), 0)
        self.rcpt(gateway, "user")
        self.assertEqual(self.questions(backend).count("RCPT TO:<user@example.com>"), again)

    def test_pages_of_the_api_give_each_answer_once(self):
        gateway, _ = self.started(workers=2)
        wait_until(lambda: self.rcpt(gateway, *(f"user{number}" for number in range(7))) and gateway.metric("ringmx_verification_entries") == 14, what="both workers know all")
        counted, cursor = [], ""
        while cursor is not None:
            status, text = gateway.get(f"/api/cache?limit=3&cursor={cursor}")
            self.assertEqual(status, 200, text)
            page = json.loads(text)
            self.assertLessEqual(len(page["answers"]), 3)
            counted += [each["worker"] for each in page["answers"]]
            cursor = page["cursor"]
        self.assertEqual(counted, [0] * 7 + [1] * 7)
        self.assertEqual(gateway.get("/api/cache?cursor=ffff-0")[0], 400)

    def test_a_purge_needs_post_and_the_header(self):
        gateway, _ = self.started(admin={"address": f"127.0.0.1:{free_port()}", "probe_address": f"127.0.0.1:{free_port()}"})
        probe = int(gateway.settings["admin"]["probe_address"].rpartition(":")[2])
        self.rcpt(gateway, "user")
        self.assertEqual(gateway.get("/api/cache/purge")[0], 405)
        self.assertEqual(gateway.get("/api/cache/purge", headers=ADMIN)[0], 405)
        self.assertEqual(gateway.get("/api/cache/purge", "POST")[0], 403)
        self.assertEqual(gateway.get("/api/cache/purge", "POST", ADMIN, port=probe)[0], 404)
        self.assertEqual(gateway.get("/api/cache", port=probe)[0], 404)
        self.assertEqual(gateway.get("/api/cache/purge?recipent=user@example.com", "POST", ADMIN), (400, "unknown parameter 'recipent'\n"))
        self.assertEqual(len(self.answers(gateway)), 1)
        self.assertEqual(gateway.get("/api/cache/purge", "POST", ADMIN), (200, '{"purged":1}\n'))

    def test_a_gateway_that_drains_says_so(self):
        gateway, _ = self.started()
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@b.example>", "250")
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: gateway.get("/api/cache") == (503, "draining\n"), what="503 while draining")
        self.assertEqual(gateway.get("/api/cache/purge", "POST", ADMIN), (503, "draining\n"))
        result = self.cache(gateway, "show")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (1, "", "ringmx: cache show: draining\n"))
        client.cmd("RSET")

    def test_without_a_route_that_verifies_nothing_is_known(self):
        gateway, _ = self.simple(workers=2)
        self.assertEqual(self.answers(gateway), [])
        self.assertEqual(self.do(gateway, "purge"), "0 answers forgotten\n")

    def test_an_address_that_is_none_is_exit_1_and_purges_nothing(self):
        gateway, _ = self.started()
        self.rcpt(gateway, "user")
        for verb in ("show", "purge"):
            for address in ("", "example.com", "a@", "<>"):
                result = self.cache(gateway, verb, address)
                self.assertEqual((result.returncode, result.stdout, result.stderr), (1, "", f"ringmx: cache {verb}: recipient: expected an address\n"))
        self.assertEqual(len(self.answers(gateway)), 1)

    def test_no_gateway_is_exit_1_with_one_line_that_says_what_to_do(self):
        free = f"127.0.0.1:{free_port()}"
        for arguments in (("show",), ("show", "--json"), ("show", "a@b.example"), ("purge",), ("purge", "a@b.example")):
            result = run(BIN / "ringmx", "cache", *arguments, "--admin", free)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertRegex(result.stderr, r"\Aringmx: no gateway answers at .*--admin HOST:PORT\n\Z")

    def test_an_unknown_command_is_exit_2_and_says_what_there_is(self):
        for arguments, found in (((), "a command is missing"), (("list",), "found 'list'"), (("show", "a@b.example", "c"), "found 'show a@b.example c'"),
                                 (("purge", "--limit", "3"), "found 'purge --limit'"), (("clear", "all"), "found 'clear all'")):
            result = run(BIN / "ringmx", "cache", *arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertEqual(result.stderr, f"ringmx: cache: {found}, expected show [ADDRESS] or purge [ADDRESS]\n")


if __name__ == "__main__":
    unittest.main()
