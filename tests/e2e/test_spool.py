"""The durable queue of the real program: 250 means that it is safe, whatever is killed, and one copy arrives."""

import email
import email.policy
import json
import os
import pathlib
import re
import resource
import signal
import unittest

from harness import BIN, HOSTNAME, EndToEnd, Gateway, Program, config, free_port, pool, run, wait_until
from smtp_client import Client


class SpoolScene(EndToEnd):
    def settings(self, backends, workers=1, directory="spool", pool_settings=None, **sections):
        return config({"main": pool(*backends, **(pool_settings or {}))}, listener={"acknowledge": "spool"}, workers=workers,
                      spool={"directory": str(pathlib.Path(self.folder) / directory), "max_size": "256MiB", **sections.pop("spool", {})}, **sections)

    def sink(self, *arguments, name="sink", port=None):
        port = port or free_port()
        program = Program([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{port}", *arguments], self.folder, name=name)
        self.addCleanup(program.stop)
        program.wait_log("listening on")
        program.smtp = port
        return program

    def load(self, gateway, record, *arguments, connections=8, rate=200):
        """Open-loop mail of 16 KiB on average, until it is stopped; only then the record is whole."""
        program = Program([BIN / "ringmx-load", "--to", f"127.0.0.1:{gateway.ports[0]}", "--connections", str(connections), "--rate", f"{rate}/1s",
                           "--size", "1KiB-32KiB", "--duration", "5m", "--record", record, *arguments], self.folder, name="load")
        self.addCleanup(program.stop)
        return program

    def doomed_gateway(self, settings):
        """One that is to be killed, and so needs no clean end."""
        gateway = Gateway(settings, self.folder)
        self.addCleanup(lambda: gateway.running() and gateway.stop())
        return gateway

    def kill(self, gateway):
        gateway.signal(signal.SIGKILL)
        gateway.wait()

    def fill(self, gateway, body):
        """How many messages are taken, over one connection, until MAIL is refused."""
        client = self.client(gateway)
        for count in range(1000):
            if client.cmd(f"MAIL FROM:<sender@example.net> SIZE={len(body)}").code == 452:
                return count
            client.cmd("RCPT TO:<user@example.com>", "250")
            client.cmd("DATA", "354")
            client.send(body + b".\r\n")
            client.expect("250")
        self.fail("the spool is never full")

    def wait_taken_again(self, gateway):
        wait_until(lambda: gateway.get("/readyz")[0] == 200, what="/readyz 200")
        gateway.wait_log("the spool takes mail again")
        self.wait_reply_to_mail(gateway, "250 2.1.0 Ok")

    def wait_reply_to_mail(self, gateway, reply):
        """By every worker: which of them has a connection is chance."""
        def is_it():
            with Client(gateway.smtp) as client:
                client.ehlo()
                return str(client.cmd("MAIL FROM:<sender@example.net>")).startswith(reply)
        wait_until(lambda: all(is_it() for _ in range(40)), what=f"{reply} to MAIL")

    def assert_nothing_is_left(self, settings):
        """The next run finds nothing to deliver."""
        gateway = self.gateway(settings)
        wait_until(lambda: json.loads(gateway.get("/api/queue")[1])["complete"], what="a complete queue")
        self.assertEqual(gateway.stop(), 0)
        self.assertNotRegex(gateway.log(), r"is read .*: [1-9]|status=sent")

    def audited(self, sent, *received):
        """What the audit counted, by its words; nothing is lost, corrupted or unsent."""
        audit = run(BIN / "ringmx-load", "audit", sent, *received)
        self.assertEqual(audit.returncode, 0, audit.stdout + audit.stderr)
        return {name: int(count) for name, count in re.findall(r"(?m)^(\w+) +(\d+)$", audit.stdout)}


class Spool(SpoolScene):
    def test_a_message_is_queued_and_one_copy_arrives(self):
        backend = self.backend()
        gateway = self.gateway(self.settings([backend]))
        client = self.client(gateway)
        reply = client.message("user@example.com")
        self.assertRegex(str(reply), r"^250 2\.0\.0 Ok: queued as [A-Za-z]{13}")
        wait_until(lambda: len(backend.messages) == 1)
        self.assertIn(str(reply).split()[-1].encode(), backend.messages[0].data)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertNotIn("error", gateway.log())

    def test_a_small_and_a_large_message_outlive_a_kill(self):
        """The large one goes to the disk, and comes back from it, in parts."""
        port = free_port()
        settings = self.settings([f"127.0.0.1:{port}"], workers=2)
        gateway = self.doomed_gateway(settings)
        bodies = {"small": b"Subject: small\r\n\r\nhello\r\n", "large": b"Subject: large\r\n\r\n" + b"".join(b"line %d of many\r\n" % number for number in range(40000))}
        self.assertGreater(len(bodies["large"]), 512 << 10)
        for name, body in bodies.items():
            self.client(gateway).message(f"{name}@example.com", body=body)
        self.kill(gateway)
        backend = self.backend(address=("127.0.0.1", port))
        gateway = self.gateway(settings)
        for message in backend.wait_messages(2):
            self.assertTrue(message.original == bodies[message.recipients[0].partition("@")[0]], f"{message.recipients} came otherwise than it was sent")
        gateway.wait_metric("ringmx_spool_recovering", 0)
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(len(backend.messages), 2)

    def test_segments_are_written_through(self):
        """SIGKILL alone would not notice a missing sync: the flags of the descriptors do."""
        gateway = self.gateway(self.settings([self.backend()]))
        self.client(gateway).message("user@example.com")
        o_dsync = 0o10000
        flags = []
        for name in os.listdir(f"/proc/{gateway.process.pid}/fd"):
            try:
                path = os.readlink(f"/proc/{gateway.process.pid}/fd/{name}")
                info = pathlib.Path(f"/proc/{gateway.process.pid}/fdinfo/{name}").read_text()
            except FileNotFoundError:
                continue
            if path.endswith(".seg"):
                flags.append(int(info.split("flags:")[1].split()[0], 8))
        self.assertTrue(flags)
        for each in flags:
            self.assertTrue(each & o_dsync, oct(each))

    def test_a_second_gateway_on_the_same_directory_ends(self):
        backend = self.backend()
        first = self.gateway(self.settings([backend]))
        self.client(first).message("user@example.com")
        second = self.gateway(self.settings([backend]), wait_ready=False)
        self.assertEqual(second.wait(), 1)
        self.assertIn(str(pathlib.Path(self.folder) / "spool"), second.log())

    def test_mail_waits_for_its_backend(self):
        port = free_port()
        gateway = self.gateway(self.settings([f"127.0.0.1:{port}"], spool={"retry": {"initial": "1s", "maximum": "2s"}}))
        client = self.client(gateway)
        for _ in range(5):
            client.message("user@example.com")
        gateway.wait_metric("ringmx_queue_messages", 5)
        self.assertEqual(gateway.get("/readyz")[0], 200)
        backend = self.backend(address=("127.0.0.1", port))
        wait_until(lambda: len(backend.messages) == 5, 60)
        gateway.wait_metric("ringmx_queue_messages", 0)

    def test_what_failed_is_reported_to_its_sender(self):
        backend = self.backend({"RCPT": {"bad@example.com": "550 5.1.1 no such user", "worse@example.com": "553 5.1.3 no such thing"}})
        gateway = self.gateway(self.settings([backend], spool={"on_failure": "bounce"}))
        client = self.client(gateway)
        id_ = str(client.message("bad@example.com", "good@example.com", "worse@example.com", body=b"Subject: lost\r\n\r\nhello\r\n")).split()[-1]
        backend.wait_messages(2)
        gateway.wait_metric("ringmx_queue_messages", 0)
        report_message, = (message for message in backend.delivered() if message.sender == "")
        self.assertEqual(report_message.recipients, ["sender@example.net"])
        report = email.message_from_bytes(report_message.data, policy=email.policy.SMTP)
        self.assertEqual(report.get_content_type(), "multipart/report")
        words, status, header = report.get_payload()
        self.assertIn(id_, words.get_content())
        fields, *groups = status.get_payload()
        self.assertEqual(fields["Reporting-MTA"], "dns; " + HOSTNAME)
        self.assertEqual([(group["Final-Recipient"], group["Action"], group["Status"]) for group in groups],
                         [("rfc822; bad@example.com", "failed", "5.1.1"), ("rfc822; worse@example.com", "failed", "5.1.3")])
        self.assertIn("Subject: lost", header.get_content())
        self.assertEqual(gateway.metric("ringmx_reports_total", action="failed"), 1)
        gateway.wait_log(id_ + r": sender non-delivery notification: [A-Za-z]{13}")

    @unittest.skipUnless(os.getuid() == 0, "needs root to become somebody else")
    def test_a_gateway_that_switches_its_user_has_its_spool_as_that_user(self):
        nobody = 65534
        self.folder.chmod(0o755)
        port = free_port()
        settings = self.settings([f"127.0.0.1:{port}"], user="nobody", spool={"retry": {"initial": "1s", "maximum": "1s"}})
        refused = self.gateway(settings, wait_ready=False)
        self.assertEqual(refused.wait(), 1, "it made a folder where nobody may make one")
        self.assertRegex(refused.log(), rf"spool\.directory: create .*/spool: Permission denied; make it for the user that ringmx runs as: install -d -m 700 -o USER .*/spool\n")
        spool = self.folder / "spool"
        self.assertFalse(spool.exists())
        spool.mkdir(0o700)
        os.chown(spool, nobody, nobody)
        for number, start in enumerate((self.gateway, self.doomed_gateway)):
            gateway = start(settings)
            self.client(gateway).message(f"user{number}@example.com")
            gateway.wait_metric("ringmx_queue_messages", number + 1)
            self.assertEqual({path.lstat().st_uid for path in spool.rglob("*")}, {nobody})
            self.assertTrue(list(spool.glob("*/*.seg")))
            if start == self.doomed_gateway:
                self.kill(gateway)
            else:
                self.assertEqual(gateway.stop(), 0)
        gateway = self.gateway(settings)
        backend = self.backend(address=("127.0.0.1", port))
        self.assertEqual(sorted(message.recipients[0] for message in backend.wait_messages(2)), ["user0@example.com", "user1@example.com"])
        gateway.wait_metric("ringmx_queue_messages", 0)
        self.assertEqual(gateway.stop(), 0)
        self.assert_nothing_is_left(settings)

    def test_a_start_that_leaves_mail_in_a_spool_says_so(self):
        settings = self.settings([f"127.0.0.1:{free_port()}"])
        gateway = self.gateway(settings)
        self.client(gateway).message("user@example.com")
        gateway.stop()
        settings["listeners"][0]["acknowledge"] = "backend"
        gateway = self.gateway(settings)
        gateway.wait_log(r"warning: /spool/directory: no listener acknowledges from the spool, .*ringmx spool inspect .*/spool,")
        gateway.stop()
        settings["spool"]["directory"] += "-never-used"
        gateway = self.gateway(settings)
        gateway.wait_log("ready: ")
        self.assertNotIn("/spool/directory", gateway.log())

    def test_without_a_listener_that_spools_no_directory_is_made(self):
        """Not even wanted: it could not be made where it is said to be."""
        backend = self.backend()
        for directory in ("unused", "no such folder/unused"):
            settings = self.settings([backend], directory=directory)
            settings["listeners"] = [{"address": "127.0.0.1:0", "tls": "none", "acknowledge": "backend"} for _ in range(2)]
            gateway = self.gateway(settings)
            for port in gateway.ports:
                self.client(gateway, port=port).message("user@example.com")
            self.assertEqual(gateway.get("/readyz")[0], 200)
            self.assertEqual(gateway.stop(), 0)
            self.assertFalse((self.folder / directory).exists())
        backend.wait_messages(4)

    def test_gateways_that_do_not_spool_share_a_directory_with_one_that_does(self):
        backend = self.backend()
        spooling = self.settings([backend])
        others = json.loads(json.dumps(spooling))
        others["listeners"][0]["acknowledge"] = "backend"
        gateways = [self.gateway(others), self.gateway(others), self.gateway(spooling)]
        for gateway in gateways:
            self.client(gateway).message("user@example.com")
        backend.wait_messages(3)
        for gateway in gateways:
            self.assertEqual(gateway.stop(), 0)

    def test_a_limit_on_the_size_of_files_is_a_disk_that_is_full(self):
        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        gateway = self.gateway(self.settings([self.backend()]), wait_ready=False, preexec_fn=limited)
        gateway.wait_log("no further segment: .*File too large")
        wait_until(lambda: gateway.get("/readyz")[0] == 503, what="a gateway that says so")
        self.client(gateway).cmd("MAIL FROM:<sender@example.net>", "452 4.3.1")
        self.assertEqual(gateway.stop(), 0)

    def disk_bytes(self):
        return sum(path.lstat().st_blocks * 512 for path in (pathlib.Path(self.folder) / "spool").rglob("*.seg"))

    def test_a_full_spool_stays_within_its_size_over_restarts_and_empties_itself(self):
        mebibyte = 1 << 20
        dead = free_port()
        settings = self.settings([f"127.0.0.1:{dead}"], spool={"max_size": "16MiB", "held": {"max_size": "1MiB"}, "retry": {"initial": "1s", "maximum": "2s"}})
        gateway = self.gateway(settings)
        body = b"Subject: x\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 3000
        taken = self.fill(gateway, body)
        self.assertGreater(taken, 50)
        for _ in range(3):
            gateway.stop()
            gateway = self.gateway(settings, ready_statuses=(200, 503))
            gateway.wait_metric("ringmx_queue_messages", taken)
            wait_until(lambda: gateway.get("/readyz") == (503, "the spool is full\n"), what="a full spool")
            self.assertEqual(gateway.metric("ringmx_spool_room_bytes"), 0)
            self.client(gateway).cmd("MAIL FROM:<sender@example.net>", "452 4.3.1")
            self.assertLessEqual(self.disk_bytes(), (16 + 2 * 4) * mebibyte)
            self.assertNotIn("no further segment", gateway.log())
        backend = self.backend(address=("127.0.0.1", dead))
        wait_until(lambda: len(backend.messages) == taken, 60)
        wait_until(lambda: gateway.get("/readyz")[0] == 200, 20, "room for mail")
        self.assertLessEqual(self.disk_bytes(), 16 * mebibyte)
        self.assertEqual(self.client(gateway).message("user@example.com", body=body).code, 250)
        backend.wait_messages(taken + 1)

    def test_many_large_messages_at_once_go_to_the_disk_in_parts(self):
        """More than can be under way to the disk: some are whole before a part of them could be written."""
        sink = self.sink()
        gateway = self.gateway(self.settings([f"127.0.0.1:{sink.smtp}"], spool={"max_size": "2GiB"}))
        load = run(BIN / "ringmx-load", "--to", f"127.0.0.1:{gateway.ports[0]}", "--connections", "20", "--messages", "300", "--size", "1MiB", "--timeout", "60s")
        self.assertEqual(load.returncode, 0, load.stdout + load.stderr + gateway.log()[-1000:])
        gateway.wait_metric("ringmx_queue_messages", 0)


if __name__ == "__main__":
    unittest.main()
