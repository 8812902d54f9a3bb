"""Python's asyncio mail libraries as programs of their own, since they come for Debian's Python: aiosmtpd as a backend, aiosmtplib as a sender.

    /usr/bin/python3 aio_peer.py serve PORT FOLDER smtp|lmtp    each message in a file of FOLDER, its envelope as JSON beside it
    /usr/bin/python3 aio_peer.py send PORT FILE COUNT           sends the file's content COUNT times over 10 connections
"""

import asyncio
import itertools
import json
import pathlib
import sys


def serve(port, folder, protocol):
    from aiosmtpd import lmtp, smtp

    names = itertools.count()

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            path = pathlib.Path(folder) / f"{next(names):06}"
            path.with_suffix(".json").write_text(json.dumps([envelope.mail_from, envelope.rcpt_tos, envelope.mail_options]))
            path.write_bytes(envelope.original_content)
            return "250 2.0.0 kept"

    server = lmtp.LMTP if protocol == "lmtp" else smtp.SMTP
    server.line_length_limit = 1 << 20
    loop = asyncio.new_event_loop()
    make = lambda: server(Handler(), hostname="aiosmtpd.example", enable_SMTPUTF8=True, data_size_limit=1 << 27, loop=loop)  # noqa: E731
    loop.run_until_complete(loop.create_server(make, "127.0.0.1", int(port)))
    loop.run_forever()


async def send(port, file, count):
    import aiosmtplib

    content = pathlib.Path(file).read_bytes()

    async def connection(messages):
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=int(port), use_tls=False, start_tls=False, timeout=60)
        await client.connect()
        for _ in range(messages):
            await client.sendmail("a@example.net", ["b@example.com", "c@example.com"], content)
        await client.quit()

    await asyncio.gather(*(connection(int(count) // 10) for _ in range(10)))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        asyncio.run(send(*sys.argv[2:]))
