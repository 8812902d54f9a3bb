"""Runs the scripted dialogs of tests/dialog against the program, with a backend that gives the answers which they script.

Their form is described in tests/dialog/dialog.h. Left out are those that only an owner in the same process can play: LMTP as a server,
extensions switched off, answers of our own that no configuration gives, limits of 0.
"""

import pathlib
import re
import unittest

from harness import EndToEnd
from smtp_client import unstuff

DIALOGS = pathlib.Path(__file__).resolve().parents[1] / "dialog"
LIMITS = {"size": "message_size", "recipients": "recipients", "errors": "errors_per_connection", "unknown": "unknown_recipients_per_connection",
          "received": "received_headers"}


def unescape(text):
    """The octets of a C or M line."""
    octets = text.encode("utf-8")
    octets = re.sub(rb"\\\{(.)\*(\d+)\}", lambda match: match.group(1) * int(match.group(2)), octets, flags=re.S)
    plain = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"t": b"\t", b"\\": b"\\"}
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", lambda match: bytes([int(match.group(1)[1:], 16)]) if match.group(1)[:1] == b"x" and len(match.group(1)) == 3
                  else plain[match.group(1)], octets)


class Script:
    def __init__(self, name):
        self.name, self.settings, self.flights = name, [], []

    def switched(self, key):
        return any(words[0] == key for words in self.settings)

    def playable(self):
        for words in self.settings:
            if words[0] in ("lmtp", "no", "mail", "data") or (words[0] == "limit" and words[2] == "0") or (words[0] == "rcpt" and words[2] != "backend"):
                return False
        return True


def read_scripts():
    scripts = []
    for path in sorted(DIALOGS.glob("*.dialog")):
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, text = line[:2], line[3:]
            if line.startswith("==="):
                scripts.append(Script(f"{path.stem}: {line.strip('= ')}"))
            elif line.startswith("@"):
                scripts[-1].settings.append(line[1:].split())
            elif kind in ("C:", "C."):
                flights = scripts[-1].flights
                if not flights or flights[-1]["expected"] or flights[-1]["content"] is not None:
                    flights.append({"client": b"", "expected": [], "content": None, "closes": False})
                flights[-1]["client"] += unescape(text) + (b"\r\n" if kind == "C:" else b"")
            elif kind == "S:":
                scripts[-1].flights[-1]["expected"].append(text)
            elif kind in ("M:", "M."):
                flight = scripts[-1].flights[-1]
                flight["content"] = (flight["content"] or b"") + unescape(text) + (b"\r\n" if kind == "M:" else b"")
            elif line == "X":
                scripts[-1].flights[-1]["closes"] = True
    return scripts


def matches(expected, line):
    return line.startswith(expected[:-1]) if expected.endswith("*") else line == expected


class ScriptedDialogs(EndToEnd):
    def started_for(self, settings):
        """A gateway and its backend that behave as a script's settings say."""
        limits = {"message_size": 1000000, "exempt": ["127.0.0.0/8"]}
        replies = {"RCPT": {None: "250 2.1.5 Ok"}, "END": ["250 2.0.0 Ok: queued as ID"]}
        sections = {}
        messages = []
        for words in settings:
            if words[0] == "limit":
                limits[LIMITS[words[1]]] = int(words[2])
            elif words[0] == "rcpt":
                replies["RCPT"][words[1]] = " ".join(words[3:])
            elif words[0] == "message":
                messages.append(" ".join(words[1:]))
            elif words[0] == "normalize":
                sections["smtp"] = {"bare_newline": "normalize"}
        if messages:
            replies["END"] = messages
        return self.simple(replies, hostname="mx1.example.com", limits=limits, **sections)

    def play(self, script, gateway, backend):
        client = self.client(gateway, ehlo=False)
        if script.switched("hello") or script.switched("begin"):
            client.ehlo()
        if script.switched("begin"):
            client.cmd("MAIL FROM:<from@example.com>", "250")
            client.cmd("RCPT TO:<to@example.com>", "250")
        for flight in script.flights:
            taken = len(backend.delivered())
            client.send(flight["client"])
            for expected in flight["expected"]:
                line = client.line().decode("utf-8", "replace").rstrip("\r\n")
                self.assertTrue(matches(expected, line), f"{script.name}: expected '{expected}', got '{line}'")
            if flight["content"] is not None:
                message = backend.wait_messages(taken + 1)[-1]
                # What a script calls the content is its wire form: stuffed by DATA, as it is in chunks.
                self.assertIn(message.original, (unstuff(flight["content"]), flight["content"]), script.name)
            if flight["closes"]:
                client.expect_closed()
        self.assertTrue(script.flights[-1]["closes"] or client.silent(0.02), f"{script.name}: more than the script says: {client.input!r}")
        client.close()


def add_tests():
    """A test for each set of settings: its scripts are played one after the other, each on a connection of its own."""
    groups = {}
    for script in read_scripts():
        if script.playable():
            settings = tuple(tuple(words) for words in script.settings if words[0] not in ("hello", "begin"))
            groups.setdefault(settings, []).append(script)
    for number, (settings, scripts) in enumerate(groups.items()):

        def test(self, settings=settings, scripts=scripts):
            gateway, backend = self.started_for(settings)
            for script in scripts:
                with self.subTest(script.name):
                    self.play(script, gateway, backend)

        name = re.sub(r"\W+", "_", " ".join(" ".join(words) for words in settings).lower()) or "as_it_comes"
        setattr(ScriptedDialogs, f"test_{number:02}_{name}", test)


add_tests()

if __name__ == "__main__":
    unittest.main()
