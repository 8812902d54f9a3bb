"""Mail shaped like what people and machines send, made by this script: the same seed gives the same octets on every machine.

    corpus()      all of them, each with its own recipients, so that it is known again wherever it arrives
    newsletter()  one mail to 500 recipients
    signups()     small confirmations, each to somebody else, as a shop sends them after an advertisement
    large()       a 20 MiB attachment

No library writes these mails: their octets must not change with its version, and half of them are what no library would write.
"""

import base64
import dataclasses
import quopri
import random

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
SENTENCES = (
    "Thank you for your order; it will leave our house today.", "Please find attached the minutes of last week's meeting.",
    "The build of the main branch is broken since this morning.", "Could you have a look at the figures before Friday?",
    "Your parcel is on its way and will arrive between 10 and 12.", "We have changed our terms of service.",
    "Sorry for the late answer, I was out of the office.", "The invoice is due within 14 days.",
)
NATIONAL = ("Grüße aus München", "Žluťoučký kůň", "Добрый день", "こんにちは世界", "السلام عليكم", "¿Qué tal, señor?", "Ærø og Åland", "🎉 emoji 🎂 row 👩‍👩‍👧")


@dataclasses.dataclass
class Mail:
    name: str
    content: bytes
    sender: str = "sender@example.net"
    recipients: tuple = ()
    smtputf8: bool = False

    @property
    def eight_bit(self):
        return any(octet > 127 for octet in self.content)

    @property
    def by_data(self):
        """What DATA can carry of it: there the last line has an end (RFC 5321, 4.1.1.4)."""
        return self.content if not self.content or self.content.endswith(b"\r\n") else self.content + b"\r\n"


def lines(*parts):
    """CRLF after each; text is UTF-8."""
    return b"".join((part if isinstance(part, bytes) else part.encode()) + b"\r\n" for part in parts)


def head(subject, *fields, number=0):
    return lines("Date: Thu, 14 Mar 2024 10:%02d:%02d +0100" % divmod(number % 3600, 60), "From: Sender <sender@example.net>",
                 "To: Reader <reader@example.com>", f"Subject: {subject}", f"Message-ID: <{number}.corpus@example.net>", *fields)


def word(chance):
    return "".join(chance.choice(ALPHABET) for _ in range(chance.randrange(1, 12)))


def prose(chance, count):
    return lines(*(chance.choice(SENTENCES) if chance.random() < 0.6 else " ".join(word(chance) for _ in range(9)) for _ in range(count)))


def octets(chance, count):
    return chance.randbytes(count)


def in_base64(data):
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def in_quoted_printable(text):
    return quopri.encodestring(text.encode()).replace(b"\n", b"\r\n")


def multipart(kind, boundary, *parts, preamble="This is a multi-part message in MIME format."):
    body = lines(preamble, "") if preamble else b""
    for part in parts:
        body += lines(f"--{boundary}") + part
    return lines("MIME-Version: 1.0", f'Content-Type: multipart/{kind}; boundary="{boundary}"', "") + body + lines(f"--{boundary}--")


def part(kind, body, *fields):
    return lines(f"Content-Type: {kind}", *fields, "") + body + lines("")


def attachment(name, data):
    return part("application/octet-stream", in_base64(data), "Content-Transfer-Encoding: base64", f'Content-Disposition: attachment; filename="{name}"')


def plain(chance):
    for count in (1, 3, 20, 200, 2000):
        yield f"plain text of {count} lines", head("plain") + lines("") + prose(chance, count)
    for size in (1, 76, 77, 511, 512, 998, 999, 4000, 70000):
        yield f"a line of {size} octets", head("long line") + lines("", "x" * size, "y" * size)
    for size in (16383, 16384, 65535, 65536, 65537, 262143, 262144, 262145):
        start = head("of just that size") + lines("")
        yield f"{size} octets in all", start + b"z" * (size - len(start) - 2) + b"\r\n"


def odd_ends(chance):
    start = head("odd") + lines("")
    yield "nothing at all", b""
    yield "an empty line alone", b"\r\n"
    yield "a header alone", head("header alone")
    yield "a header and the empty line", start
    yield "a body without header", b"\r\n" + prose(chance, 3)
    yield "text that is no header", prose(chance, 3)
    yield "no final newline", start + b"the end is open"
    yield "no newline anywhere", b"x"
    yield "a dot without newline", start + b"."
    yield "many empty lines at the end", start + b"text\r\n" + b"\r\n" * 200
    yield "it begins with a blank", b" folded: out of nothing\r\n\r\ntext\r\n"
    yield "it begins with a tab", b"\tfolded: out of nothing\r\n\r\ntext\r\n"


def dots(chance):
    start = head("dots") + lines("")
    yield "a line of one dot", start + b".\r\n"
    yield "a line of two dots", start + b"..\r\n"
    yield "only lone dots", b".\r\n" * 3000
    yield "every line begins with a dot", start + b"".join(b"." + word(chance).encode() + b"\r\n" for _ in range(2000))
    yield "dots of every count", start + b"".join(b"." * count + b"\r\n" for count in range(300))
    yield "a dot as the first octet", b".first: field\r\n\r\n.\r\n"
    yield "dots behind empty lines", start + b"\r\n.\r\n\r\n..\r\n\r\n" * 50
    yield "a troff page", start + b"".join(b".%s %s\r\n" % (word(chance)[:2].encode().upper(), word(chance).encode()) for _ in range(400))
    yield "a mail inside that ends with a dot", start + b"DATA\r\n354 go on\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n221 bye\r\n"
    for size in range(65530, 65540):
        yield f"a dot line at octet {size}", start + b"a" * (size - len(start) - 2) + b"\r\n.\r\n.x\r\n"


def national(chance):
    for number, text in enumerate(NATIONAL):
        yield f"UTF-8 header {number}", head(text, f"X-Note: {text}") + lines("", "plain body")
        yield f"8-bit body {number}", head("8 bit", "MIME-Version: 1.0", 'Content-Type: text/plain; charset="utf-8"', "Content-Transfer-Encoding: 8bit") + lines(
            "", *(text for _ in range(20)))
    encoded = base64.b64encode(NATIONAL[0].encode()).decode()
    yield "encoded words", head(f"=?utf-8?b?{encoded}?=\r\n =?iso-8859-1?q?Gr=FC=DFe?=") + lines("") + prose(chance, 2)
    yield "Latin-1", head("Latin-1", "Content-Type: text/plain; charset=iso-8859-1") + lines("", "Gr\u00fc\u00dfe, caf\u00e9".encode("latin-1"))
    yield "Shift-JIS", head("Shift-JIS", "Content-Type: text/plain; charset=shift_jis") + lines("", "表示 ソフト".encode("shift_jis"))
    yield "every octet but CR and LF", head("octets") + lines("", bytes(octet for octet in range(256) if octet not in (10, 13)) * 20)
    yield "quoted-printable", head("qp", "Content-Transfer-Encoding: quoted-printable") + lines("") + in_quoted_printable("\n".join(NATIONAL) + "\n")
    yield "a byte order mark first", b"\xef\xbb\xbf" + head("mark") + lines("", "x")


def parts(chance):
    html = part("text/html; charset=utf-8", lines("<html><body>", *(f"<p>{text}</p>" for text in SENTENCES), "</body></html>"))
    text = part("text/plain; charset=utf-8", prose(chance, 5))
    yield "plain and HTML", head("alternative") + multipart("alternative", "b1", text, html)
    for size in (1, 57, 58, 3000, 200_000, 1_000_000):
        yield f"an attachment of {size} octets", head("attached") + multipart("mixed", "b2", text, attachment("data.bin", octets(chance, size)))
    yield "ten attachments", head("attached") + multipart("mixed", "b3", text, *(attachment(f"{number}.bin", octets(chance, 500)) for number in range(10)))
    nested = lines("Content-Type: text/plain", "") + prose(chance, 2)
    for depth in range(12):
        nested = multipart("mixed", f"depth{depth}", nested)
    yield "parts twelve deep", head("nested") + nested
    yield "a forwarded mail", head("Fwd") + multipart("mixed", "b4", text, part("message/rfc822", head("inner") + lines("") + prose(chance, 4)))
    yield "a delivery report", head("Undelivered", "Auto-Submitted: auto-replied") + multipart(
        "report; report-type=delivery-status", "b5", part("text/plain", prose(chance, 2)),
        part("message/delivery-status", lines("Reporting-MTA: dns; mx.example.net", "", "Final-Recipient: rfc822; x@example.com", "Action: failed", "Status: 5.1.1")),
        part("text/rfc822-headers", head("inner")))
    yield "a calendar invitation", head("Meeting") + multipart("alternative", "b6", text, part(
        'text/calendar; method=REQUEST', lines("BEGIN:VCALENDAR", "VERSION:2.0", "BEGIN:VEVENT", "SUMMARY:Treffen Ä", "END:VEVENT", "END:VCALENDAR")))
    yield "a signed mail", head("signed") + multipart("signed; micalg=pgp-sha256", "b7", text, part(
        "application/pgp-signature", lines("-----BEGIN PGP SIGNATURE-----", "") + in_base64(octets(chance, 300)) + lines("-----END PGP SIGNATURE-----")))
    yield "a boundary with odd characters", head("odd boundary") + multipart("mixed", "'()+_,-./:=?", text, html, preamble="")
    yield "a boundary that is never closed", head("open") + multipart("mixed", "b8", text).removesuffix(b"--b8--\r\n")


def headers(chance):
    for count in (1, 30, 99):
        received = lines(*(f"Received: from h{number}.example by h{number + 1}.example with ESMTP id {word(chance)};\r\n\tThu, 14 Mar 2024 10:00:00 +0100"
                           for number in range(count)))
        yield f"{count} Received fields", received + head("well travelled") + lines("", "x")
    yield "a thousand fields", head("fields", *(f"X-Field-{number}: {word(chance)}" for number in range(1000))) + lines("", "x")
    yield "a field folded 300 times", head("folded", "References: " + "\r\n ".join(f"<{word(chance)}@example.net>" for _ in range(300))) + lines("", "x")
    yield "a field of 60,000 octets", head("long field", "X-Spam: " + "y" * 60000) + lines("", "x")
    yield "the same field often", head("again", *("Received-SPF: pass" for _ in range(50))) + lines("", "x")
    yield "empty fields", head("", "X-Empty:", "X-Blank: ") + lines("", "x")
    yield "a DKIM signature", head("signed", "DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=m;\r\n\th=from:to:subject; bh=" + base64.b64encode(
        octets(chance, 32)).decode() + ";\r\n\tb=" + base64.b64encode(octets(chance, 128)).decode()) + lines("") + prose(chance, 3)
    yield "a mailing list's fields", head("[list] news", "List-Id: News <news.example.net>", "List-Unsubscribe: <mailto:leave@example.net>", "Precedence: bulk",
                                          "List-Unsubscribe-Post: List-Unsubscribe=One-Click") + lines("") + prose(chance, 9)
    yield "Bcc and Return-Path", lines("Return-Path: <odd@example.net>", "Bcc: hidden@example.com") + head("kept") + lines("", "x")
    yield "a line From at the start", lines("From sender@example.net Thu Mar 14 10:00:00 2024") + head("mbox") + lines("", "From here on", ">From there")
    yield "NUL octets", head("NUL") + lines("", b"a\0b\0\0c", b"\0")
    yield "control octets", head("controls") + lines("", bytes(octet for octet in range(1, 32) if octet not in (10, 13)), b"\x7f")


def senders():
    """(name, sender, local part of the recipient, needs SMTPUTF8)"""
    return (("a null sender", "", "bounces", False), ("a quoted local part", '"a b"@example.net', '"c d"', False), ("a plus address", "a+b@example.net", "c+d=e", False),
            ("a long local part", "a" * 64 + "@example.net", "b" * 64, False), ("an address literal", "a@[192.0.2.1]", "literal", False),
            ("UTF-8 addresses", "jürgen@bücher.example", "josé", True), ("Chinese addresses", "用户@例子.example", "收件人", True))


def corpus(seed=1):
    chance = random.Random(seed)
    mails = []
    for kind in (plain, odd_ends, dots, national, parts, headers):
        for name, content in kind(chance):
            mails.append(Mail(name, content))
    for name, sender, local, smtputf8 in senders():
        mails.append(Mail(name, head(name if not smtputf8 else "Ünicode") + lines("") + prose(chance, 2), sender, (f"{local}@example.com",), smtputf8))
    for number, mail in enumerate(mails):
        count = 1 + number % 3
        mail.recipients = mail.recipients or tuple(f"mail{number}.{index}@example.com" for index in range(count))
    return mails


def newsletter(seed=2):
    chance = random.Random(seed)
    html = part("text/html; charset=utf-8", lines(*(f'<p style="margin:0">{text} {NATIONAL[0]}</p>' for text in SENTENCES * 40)))
    content = head("News of March", "List-Id: <news.example.net>", "Precedence: bulk") + multipart("alternative", "news", part("text/plain", prose(chance, 60)), html)
    return Mail("a newsletter", content, "news@example.net", tuple(f"reader{number}@example.com" for number in range(500)))


def signups(count, seed=3):
    chance = random.Random(seed)
    return [Mail(f"sign-up {number}", head("Confirm your address", number=number) + lines("", f"https://example.net/confirm/{chance.getrandbits(128):032x}", "", "Thank you!"),
                 "no-reply@example.net", (f"signup{number}@example.com",)) for number in range(count)]


def large(octets_attached=20 << 20, seed=4):
    data = random.Random(seed).randbytes(octets_attached // 16) * 16
    return Mail("a large attachment", head("large") + multipart("mixed", "large", part("text/plain", b"see attached\r\n"), attachment("video.mp4", data)),
                recipients=("large@example.com",))
