"""Postfix as a private instance: its own configuration and queue, its own port, the package's users.

Its processes run unchrooted and log through postlogd into a file, as Postfix does by itself where
no syslog is. Limits that a benchmark from one address would run into are off.
"""

import os
import pwd
import grp

import processes
from programs.peer import Peer, Server
from surroundings import command_output

MAIN = """compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
myhostname = mx.example.com
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
default_process_limit = {processes}
message_size_limit = 0
mailbox_size_limit = 0
in_flow_delay = 0
relayhost = [127.0.0.1]:{sink}
"""

MASTER = """127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

# The queue's folders with their modes; those of group postdrop are for programs that post mail.
PRIVATE = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
           "private", "saved", "trace")
POSTED = (("maildrop", 0o730), ("public", 0o710))


class Postfix(Peer):
    settings = ""

    def absent(self, _stand):
        if os.geteuid() != 0:
            return "Postfix wants to be started by root"
        return None if processes.program("postconf") else "postfix is not installed"

    def start(self, stand):
        port = processes.free_port()
        folder = stand.path(self.name)
        values = {"folder": folder, "port": port, "sink": stand.backend.port,
                  "processes": stand.connections + 100}
        stand.write(f"{self.name}/main.cf", (MAIN + self.settings).format(**values))
        stand.write(f"{self.name}/master.cf", MASTER.format(**values))
        self.make_queue(folder)
        daemons = command_output(processes.program("postconf"), "-dh", "daemon_directory")
        process = stand.launch([os.path.join(daemons, "master"), "-c", folder, "-d"], port)
        return self.server(process, port, os.path.join(folder, "queue"))

    def server(self, process, port, _queue):
        return Server(process, port)

    @staticmethod
    def make_queue(folder):
        user = pwd.getpwnam("postfix").pw_uid
        dropping = grp.getgrnam("postdrop").gr_gid
        os.makedirs(os.path.join(folder, "queue", "pid"))
        for name in PRIVATE:
            path = os.path.join(folder, "queue", name)
            os.mkdir(path, 0o700)
            os.chown(path, user, -1)
        for name, mode in POSTED:
            path = os.path.join(folder, "queue", name)
            os.mkdir(path)
            os.chmod(path, mode)
            os.chown(path, user, dropping)
        os.mkdir(os.path.join(folder, "data"), 0o700)
        os.chown(os.path.join(folder, "data"), user, -1)


class Proxy(Postfix):
    """Before-queue: smtpd passes the transaction on and gives the backend's own answer."""

    name = "postfix-proxy"
    does = "forward"
    settings = "smtpd_proxy_filter = 127.0.0.1:{sink}\n"


class Relay(Postfix):
    """Into the queue, acknowledged, and on to the backend."""

    name = "postfix-relay"
    does = "forward"


class Queue(Postfix):
    """Durable accept alone: every message goes to the hold queue."""

    name = "postfix-queue"
    does = "durable"
    settings = "smtpd_client_restrictions = static:hold\n"

    def server(self, process, port, queue):
        held = os.path.join(queue, "hold")

        def files():
            return [os.path.join(where, name) for where, _, names in os.walk(held)
                    for name in names]

        def emptied():
            for path in files():
                os.unlink(path)

        return Server(process, port, kept=lambda: len(files()), emptied=emptied)
