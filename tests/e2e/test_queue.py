"""The queue as an operator sees and changes it: `ringmx queue`, /api/queue, `ringmx status`, and that changes outlive the process."""

import fcntl
import http.server
import json
import re
import signal
import socket
import threading
import unittest
import urllib.parse

from harness import BIN, EndToEnd, config, free_port, pool, run, wait_until

ADMIN = {"X-Ringmx-Admin": "1"}
FIELDS = {"id", "sender", "recipients", "size", "attempts", "next_attempt", "created", "state", "pool"}


class Queue(EndToEnd):
    def spooling(self, *backends, workers=1, pools=None, routes=None, **sections):
        """A gateway that spools; without backends its only one is an address where nobody listens."""
        pools = pools or {"main": pool(*(backends or (f"127.0.0.1:{free_port()}",)))}
        return self.gateway(config(pools, routes, {"acknowledge": "spool"}, workers=workers, spool={"directory": str(self.folder / "spool"), **sections.pop("spool", {})}, **sections))

    def setUp(self):
        super().setUp()
        self.killed = []

    def again(self, gateway, **changes):
        """The same gateway after it was killed, with what it had."""
        self.kill(gateway)
        started = self.gateway({**gateway.settings, **changes})
        wait_until(lambda: json.loads(started.get("/api/queue")[1])["complete"], what="a complete queue")
        return started

    def kill(self, gateway):
        gateway.signal(signal.SIGKILL)
        gateway.wait()
        self.killed.append(gateway)

    def _end(self, gateway):
        if gateway not in self.killed:
            super()._end(gateway)

    def send(self, gateway, *recipients, sender="sender@example.net", body=b"Subject: x\r\n\r\nhello\r\n"):
        """The id of a message that was taken."""
        with gateway.client() as client:
            client.ehlo()
            reply = str(client.message(*(recipients or ("user@example.com",)), sender=sender, body=body))
        return re.search(r"queued as (\S+)", reply).group(1)

    def queue(self, gateway, *arguments):
        return run(BIN / "ringmx", "queue", *arguments, "--admin", f"127.0.0.1:{gateway.admin_port}")

    def ids(self, gateway, *arguments):
        result = self.queue(gateway, "list", "--json", *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return [entry["id"] for entry in json.loads(result.stdout)["messages"]]

    def entry(self, gateway, queue_id):
        status, text = gateway.get(f"/api/queue/{queue_id}")
        self.assertEqual(status, 200, text)
        return json.loads(text)

    def do(self, gateway, *arguments):
        result = self.queue(gateway, *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def post(self, gateway, path, headers=None):
        return gateway.get(path, "POST", ADMIN if headers is None else headers)


class WithoutASpool(Queue):
    def test_the_queue_is_empty(self):
        gateway, _ = self.simple()
        self.assertEqual(gateway.get("/api/queue"), (200, '{"messages":[],"cursor":null,"complete":true}\n'))
        self.assertEqual(gateway.get("/api/queue/BBBBBBBBBBBBB")[0], 404)
        self.assertEqual(self.post(gateway, "/api/queue/BBBBBBBBBBBBB/remove")[0], 404)
        self.assertEqual(self.post(gateway, "/api/queue/retry"), (200, '{"retried":0}\n'))
        self.assertEqual(self.ids(gateway), [])
        self.assertRegex(self.do(gateway, "list"), r"\Aid +state +size .*recipients\n\Z")
        self.assertEqual(self.do(gateway, "retry", "--all"), "0 messages due now\n")

    def test_an_unknown_id_is_exit_1(self):
        gateway, _ = self.simple()
        for queue_id in ("BBBBBBBBBBBBB", "nonsense", "../status", "a/hold", "?x=1"):
            for verb in ("show", "retry", "hold", "release", "remove"):
                result = self.queue(gateway, verb, queue_id)
                self.assertEqual((result.returncode, result.stdout), (1, ""), result)
                self.assertEqual(result.stderr, f"ringmx: {queue_id}: no such message\n")

    def test_no_gateway_is_exit_1_with_one_line_that_says_what_to_do(self):
        free = f"127.0.0.1:{free_port()}"
        for arguments in (("list",), ("list", "--json"), ("show", "X"), ("retry", "X"), ("retry", "--all"), ("hold", "X"), ("release", "X"), ("remove", "X")):
            result = run(BIN / "ringmx", "queue", *arguments, "--admin", free)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertRegex(result.stderr, r"\Aringmx: no gateway answers at .*--admin HOST:PORT\n\Z")

    def test_a_filter_that_makes_no_sense_is_exit_2_and_named(self):
        gateway, _ = self.simple()
        for option, value, fault in (("--state", "stuck", "expected active, deferred, parked, held, pool_hold or failed"), ("--older-than", "1y", "expected a duration")):
            result = self.queue(gateway, "list", option, value)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertIn(f"{option}: {fault}", result.stderr)
            self.assertEqual(gateway.get(f"/api/queue?{option[2:].replace('-', '_')}={value}")[0], 400)

    def test_a_filter_by_a_pool_or_backend_that_is_not_there_is_exit_1_and_names_those_that_are(self):
        gateway = self.spooling(pools={"one": pool("127.0.0.1:7001"), "two": pool("127.0.0.1:7002")}, routes=[{"recipients": ["example.com"], "pool": "one"}])
        for arguments, fault in ((("--pool", "three"), "pool: there is no pool 'three', expected one, two"),
                                 (("--backend", "127.0.0.1:7003"), "backend: there is no backend '127.0.0.1:7003', expected 127.0.0.1:7001, 127.0.0.1:7002")):
            result = self.queue(gateway, "list", *arguments)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (1, "", f"ringmx: queue list: {fault}\n"))
        self.assertEqual(gateway.get("/api/queue?pool=three")[0], 400)
        self.assertEqual(self.ids(gateway, "--pool", "two", "--backend", "127.0.0.1:7002"), [])

    def test_a_page_without_messages_is_not_the_end(self):
        """Of a large queue a gateway looks through a part for each page, where there may be none that is wanted."""
        asked = []

        class Pages(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                is_first = "cursor" not in self.path
                entry = {"id": "BBBBBBBBBBBBC", "sender": None, "recipients": [], "size": 1, "attempts": 0, "next_attempt": None, "created": "", "state": "held", "pool": ""}
                body = json.dumps({"messages": [] if is_first else [entry], "cursor": "1-2" if is_first else None, "complete": True}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        with http.server.HTTPServer(("127.0.0.1", 0), Pages) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                for limit in ((), ("--limit", "1")):
                    result = run(BIN / "ringmx", "queue", "list", "--state", "held", *limit, "--admin", f"127.0.0.1:{server.server_port}")
                    self.assertEqual((result.returncode, result.stderr), (0, ""))
                    self.assertRegex(result.stdout, r"(?m)^BBBBBBBBBBBBC  held  .*  -  \(can't be read\)$")
            finally:
                server.shutdown()
                thread.join()
        self.assertEqual(len(asked), 4)


class Looking(Queue):
    def test_a_waiting_message_is_listed_and_shown(self):
        gateway = self.spooling()
        queue_id = self.send(gateway, "user@example.com", "other@example.com")
        # Whenever its backend may be dialled again, it is active for a moment and its next attempt another one.
        entry = wait_until(lambda: next((entry for entry in [self.entry(gateway, queue_id)] if entry["state"] == "parked"), None), what="a parked message")
        self.assertEqual(set(entry), FIELDS)
        self.assertEqual([entry[key] for key in ("id", "sender", "state", "pool", "size")], [queue_id, "sender@example.net", "parked", "main", 21])
        self.assertGreaterEqual(entry["attempts"], 1)
        self.assertEqual([(each["address"], each["state"]) for each in entry["recipients"]], [("user@example.com", "pending"), ("other@example.com", "pending")])
        self.assertRegex(entry["created"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
        self.assertEqual(self.ids(gateway), [queue_id])
        wait_until(lambda: re.search(rf"(?m)^{queue_id}  parked  .* sender@example\.net  user@example\.com", self.do(gateway, "list")), what="its row in the list")
        wait_until(lambda: re.search(r"(?m)^state +parked$", self.do(gateway, "show", queue_id)), what="its state")
        wait_until(lambda: json.loads(self.do(gateway, "show", queue_id, "--json")) == self.entry(gateway, queue_id), what="the same from the command as from the page")

    def test_status_counts_the_queue_by_state_and_pool(self):
        gateway = self.spooling()
        first = self.send(gateway)
        self.send(gateway)
        self.do(gateway, "hold", first)

        def counted():
            queue = json.loads(gateway.get("/api/status")[1])["queue"]
            return queue["states"]["parked"] == 1 and queue["states"]["held"] == 1 and queue["pools"] == [{"pool": "main", "parked": 1, "pool_hold": 0}]
        wait_until(counted, what="one parked and one held message")
        table = run(BIN / "ringmx", "status", "--admin", f"127.0.0.1:{gateway.admin_port}").stdout
        self.assertRegex(table, r"(?m)^queue +2 messages, [\d.]+ (B|KiB), oldest \d+s\n +1 parked, 1 held\n +pool main: 1 parked, 0 on hold$")

    def test_pages_of_several_workers_give_each_message_once_in_order(self):
        gateway = self.spooling(workers=3)
        sent = [self.send(gateway) for _ in range(30)]
        gateway = self.again(gateway, workers=2)
        sent += [self.send(gateway) for _ in range(5)]
        wait_until(lambda: len(self.ids(gateway)) == 35, what="all messages")
        pages, cursor = [], ""
        while cursor is not None:
            page = json.loads(gateway.get(f"/api/queue?limit=4&cursor={cursor}")[1])
            pages += [entry["id"] for entry in page["messages"]]
            self.assertLessEqual(len(page["messages"]), 4)
            cursor = page["cursor"]
        self.assertEqual(sorted(pages), sorted(sent))
        self.assertEqual(pages, self.ids(gateway))
        self.assertEqual(self.ids(gateway, "--limit", "7"), pages[:7])
        self.assertEqual(gateway.get("/api/queue?cursor=ffff-1-1")[0], 400)

    def test_filters(self):
        there = free_port()
        pools = {"a": pool(f"127.0.0.1:{there}"), "b": pool(f"127.0.0.1:{free_port()}")}
        gateway = self.spooling(pools=pools, routes=[{"recipients": ["a.example"], "pool": "a"}, {"recipients": ["b.example"], "pool": "b"}], workers=2)
        first = self.send(gateway, "User@a.example")
        second = self.send(gateway, "user@b.example", sender="")
        both = self.send(gateway, "x@a.example", "y@b.example", sender="z@other.example")
        self.do(gateway, "hold", second)
        for arguments, wanted in ((("--recipient", "user@A.example"), {first}), (("--recipient", "b.example"), {second, both}), (("--sender", "<>"), {second}),
                                  (("--sender", "other.example"), {both}), (("--pool", "a"), {first, both}), (("--backend", f"127.0.0.1:{there}"), {first, both}),
                                  (("--state", "held"), {second}), (("--older-than", "1h"), set()), (("--recipient", "nobody@a.example"), set())):
            with self.subTest(arguments):
                self.assertEqual(set(self.ids(gateway, *arguments)), wanted)
        self.assertEqual(gateway.get("/api/queue?recipient=" + urllib.parse.quote("user@b.example"))[1].count('"id"'), 1)

    def test_a_hostile_sender_does_nothing_to_the_terminal(self):
        gateway = self.spooling()
        queue_id = self.send(gateway, sender='"a\\"<b>&"@far.example')
        self.assertEqual(self.entry(gateway, queue_id)["sender"], '"a\\"<b>&"@far.example')

    def test_a_client_that_leaves_before_its_answer_harms_nobody(self):
        gateway = self.spooling()
        for _ in range(20):
            self.send(gateway)
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", gateway.admin_port)) as client:
                client.sendall(b"GET /api/queue?recipient=example.com HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: self.queue(gateway, "list").returncode == 0, what="an end of the questions that nobody waits for")
        self.assertEqual(len(self.ids(gateway)), 20)


class Recovering(Queue):
    def leased(self, path):
        """Whoever opens the file waits (at most 45 s) until the lease is given up."""
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGIO, before)
        file = open(path, "r+b")
        self.addCleanup(file.close)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        return file

    def test_while_what_earlier_runs_left_is_read_it_is_said_that_the_queue_is_not_complete(self):
        gateway = self.spooling()
        earlier = self.send(gateway)
        self.kill(gateway)
        segments = sorted((self.folder / "spool").glob("*/*.seg"))
        lease = self.leased(segments[0])
        gateway = self.gateway(gateway.settings)
        later = self.send(gateway)

        def said():
            page = json.loads(gateway.get("/api/queue")[1])
            status = json.loads(gateway.get("/api/status")[1])["queue"]
            table = run(BIN / "ringmx", "status", "--admin", f"127.0.0.1:{gateway.admin_port}").stdout
            listed = self.queue(gateway, "list", "--json")
            return [entry["id"] for entry in page["messages"]], page["complete"], status["complete"], gateway.metric("ringmx_spool_recovering"), \
                "what earlier runs left is still read" in table, listed.returncode, json.loads(listed.stdout)["complete"], "the list is not complete" in listed.stderr
        self.assertEqual(said(), ([later], False, False, 1, True, 0, False, True))
        self.assertRegex(self.queue(gateway, "show", earlier).stderr, "still read: ask again")
        fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        wait_until(lambda: json.loads(gateway.get("/api/queue")[1])["complete"], what="a complete queue")
        self.assertEqual(said(), ([earlier, later], True, True, 0, False, 0, True, False))
        self.assertEqual(gateway.metric("ringmx_spool_unread_bytes"), 0)

    def test_what_earlier_runs_left_is_counted_as_soon_as_it_is_said_to_be_there(self):
        gateway = self.gateway(config({"main": pool(f"127.0.0.1:{free_port()}")}, None, {"acknowledge": "spool"}, workers=2,
                                      spool={"directory": str(self.folder / "spool"), "max_size": "64MiB"}, limits={"message_size": "1MiB"}))
        for _ in range(5):
            self.send(gateway)
        for _ in range(5):
            self.kill(gateway)
            gateway = self.gateway(gateway.settings, wait_ready=False)
            seen = []

            def scraped():
                try:
                    metrics = gateway.metrics()
                except OSError:
                    return False
                seen.append([metrics[name, ()] for name in ("ringmx_spool_recovering", "ringmx_queue_messages")])
                return seen[-1][0] == 0
            wait_until(scraped, what="the end of the recovery")
            self.assertEqual(seen[-1], [0, 5], seen)


class Changing(Queue):
    def test_a_change_needs_post_and_the_header(self):
        gateway = self.spooling(admin={"address": f"127.0.0.1:{free_port()}", "probe_address": f"127.0.0.1:{free_port()}"})
        queue_id = self.send(gateway)
        for path in (f"/api/queue/{queue_id}/remove", f"/api/queue/{queue_id}/hold", "/api/queue/retry"):
            self.assertEqual(self.post(gateway, path, {})[0], 403)
            self.assertEqual(self.post(gateway, path, {"X-Ringmx-Admin": "0"})[0], 403)
            self.assertEqual(gateway.get(path)[0], 405)
            self.assertEqual(gateway.get(path, headers=ADMIN)[0], 405)
        probe = int(gateway.settings["admin"]["probe_address"].rpartition(":")[2])
        self.assertEqual(gateway.get("/api/queue", port=probe)[0], 404)
        self.assertEqual(gateway.get(f"/api/queue/{queue_id}/remove", "POST", ADMIN, port=probe)[0], 404)
        self.assertEqual(self.ids(gateway), [queue_id])
        self.assertEqual(self.post(gateway, f"/api/queue/{queue_id}/remove"), (200, f'{{"id":"{queue_id}"}}\n'))
        self.assertEqual(self.post(gateway, f"/api/queue/{queue_id}/remove")[0], 404)
        self.assertEqual(self.ids(gateway), [])
        gateway.wait_log(rf"{queue_id}: removed")

    def test_without_the_header_no_change_is_made(self):
        """The held one would be delivered, the deferred one too, by any of these that did something."""
        replies = ["450 4.2.0 later", "450 4.2.0 later", "250 2.1.5 ok"]
        backend = self.backend({"RCPT": replies})
        gateway = self.spooling(backend, spool={"retry": {"initial": "1h", "maximum": "1h"}})
        held, deferred = self.send(gateway), self.send(gateway)
        wait_until(lambda: [self.entry(gateway, each)["attempts"] for each in (held, deferred)] == [1, 1], what="one attempt each")
        self.do(gateway, "hold", held)
        before = [self.entry(gateway, each) for each in (held, deferred)]
        self.assertEqual([entry["state"] for entry in before], ["held", "deferred"])
        paths = [f"/api/queue/{each}/{verb}" for each in (held, deferred) for verb in ("retry", "release", "hold", "remove")]
        for path in (*paths, "/api/queue/retry", "/api/cache/purge"):
            for headers in ({}, {"X-Ringmx-Admin": ""}, {"X-Ringmx-Admin": "0"}, {"X-Ringmx-Administrator": "1"}):
                self.assertEqual(self.post(gateway, path, headers)[0], 403, (path, headers))
        self.assertEqual([self.entry(gateway, each) for each in (held, deferred)], before)
        self.assertEqual(self.post(gateway, f"/api/queue/{held}/release")[0], 200)
        backend.wait_messages(1)
        self.assertEqual(self.post(gateway, "/api/queue/retry"), (200, '{"retried":1}\n'))
        backend.wait_messages(2)
        gateway.wait_metric("ringmx_queue_messages", 0)
        gateway.wait_log(f"{held}: released")
        self.assertEqual(gateway.log().count(f"{held}: placed on hold"), 1)
        for said in (f"{held}: requeued", f"{held}: removed", *(f"{deferred}: {what}" for what in ("requeued", "released", "placed", "removed"))):
            self.assertNotIn(said, gateway.log())

    def test_changes_tell_as_json_what_they_were_about(self):
        gateway = self.spooling(self.backend({"RCPT": "450 4.2.0 later"}), spool={"retry": {"initial": "1h", "maximum": "1h"}})
        first, second = self.send(gateway), self.send(gateway)
        wait_until(lambda: [self.entry(gateway, each)["state"] for each in (first, second)] == ["deferred"] * 2, what="two messages that wait")
        self.assertEqual(json.loads(self.do(gateway, "retry", "--all", "--json")), {"retried": 2})
        for verb, state in (("hold", "held"), ("release", "deferred"), ("hold", "held"), ("retry", "deferred")):
            self.assertEqual(json.loads(self.do(gateway, verb, first, "--json")), {"id": first})
            wait_until(lambda: self.entry(gateway, first)["state"] == state, what=f"{state} after {verb}")
        self.do(gateway, "hold", second)
        wait_until(lambda: self.entry(gateway, first)["state"] == "deferred", what="one that waits")
        self.assertEqual(json.loads(self.do(gateway, "retry", "--all", "--json")), {"retried": 1})
        self.assertEqual(json.loads(self.do(gateway, "remove", first, "--json")), {"id": first})
        self.assertEqual(self.ids(gateway), [second])
        for arguments in (("retry",), ("hold",), ("release",), ("remove",)):
            result = self.queue(gateway, *arguments, first, "--json")
            self.assertEqual((result.returncode, result.stdout, result.stderr), (1, "", f"ringmx: {first}: no such message\n"))

    def test_answered_changes_outlive_a_kill(self):
        backend = self.backend()
        gateway = self.spooling()
        held, removed, released = (self.send(gateway, f"{name}@example.com") for name in ("held", "removed", "released"))
        self.do(gateway, "hold", held)
        self.do(gateway, "hold", released)
        self.do(gateway, "release", released)
        self.do(gateway, "remove", removed)
        gateway = self.again(gateway, workers=2, pools={"main": pool(backend)})
        self.assertEqual([message.recipients for message in backend.wait_messages(1)], [["released@example.com"]])
        wait_until(lambda: self.ids(gateway) == [held], what="only the held message in the queue")
        self.assertEqual(self.entry(gateway, held)["state"], "held")
        self.assertRegex(self.do(gateway, "retry", "--all"), r"\A0 messages due now\n\Z")
        self.do(gateway, "release", held)
        backend.wait_messages(2)
        wait_until(lambda: self.ids(gateway) == [], what="an empty queue")

    def test_a_failed_message_is_kept_and_retried_on_command(self):
        refusals = ["550 5.1.1 no such user"]
        backend = self.backend({"RCPT": lambda *_: refusals[0] if refusals else None})
        gateway = self.spooling(backend)
        queue_id = self.send(gateway)
        wait_until(lambda: self.entry(gateway, queue_id)["state"] == "failed", what="a failed message")
        self.assertEqual(self.entry(gateway, queue_id)["recipients"], [{"address": "user@example.com", "state": "failed", "last_reply": "550 5.1.1 no such user", "pool": "main"}])
        self.assertEqual(self.do(gateway, "retry", "--all"), "0 messages due now\n")
        refusals.clear()
        self.do(gateway, "retry", queue_id)
        backend.wait_messages(1)
        wait_until(lambda: self.ids(gateway) == [], what="an empty queue")

    def test_retry_all_does_not_wait_for_the_schedule(self):
        refusals = ["450 4.2.0 later"]
        backend = self.backend({"RCPT": lambda *_: refusals[0] if refusals else None})
        gateway = self.spooling(backend, workers=2)
        sent = {self.send(gateway) for _ in range(10)}
        wait_until(lambda: all(self.entry(gateway, each)["attempts"] == 1 for each in sent), what="one attempt each")
        refusals.clear()
        self.assertEqual(self.do(gateway, "retry", "--all"), "10 messages due now\n")
        gateway.wait_log("an operator requeues all that waits: 10 messages")
        backend.wait_messages(10)


if __name__ == "__main__":
    unittest.main()
