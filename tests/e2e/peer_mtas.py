"""Postfix and Exim as whole mail servers, private to a test: configuration, queue, logs and ports of their own; both need root, which their daemons give up.

Either one takes mail at `port` and does one of two things with it: with a `relay` port, it queues the mail and passes it on to 127.0.0.1:PORT; without, it
delivers to a Maildir, `mail()` gives what arrived there.
"""

import os
import pathlib
import pwd
import re

from harness import HOSTNAME, Program, free_port, run, wait_until
from peers import program, started

# Where tools/setup unpacks Exim, which can't be installed beside Postfix.
EXIM = pathlib.Path("/opt/ringmx-peers/exim4/usr/sbin/exim4")
GATEWAY_TRACE = re.compile(rb"^Received: from [^\r]*(?:\r\n[ \t][^\r]*)*?\r\n[ \t]+by %s " % HOSTNAME.encode(), re.M)
POSTFIX_DAEMONS = pathlib.Path("/usr/lib/postfix/sbin")


def why_no_postfix():
    return why_no(program("postfix") and (POSTFIX_DAEMONS / "master").exists(), "Postfix")


def why_no_exim():
    return why_no(EXIM.exists(), "Exim")


def why_no(is_there, name):
    if not is_there:
        return f"{name} is not installed (tools/setup)"
    return "" if os.getuid() == 0 else f"{name} starts only as root"


class MailServer(Program):
    """What the two have in common: the folder of Maildirs, one for all recipients."""

    def mail(self):
        """The messages that were delivered, with CRLF line ends, from the gateway's trace field on: the server puts its own fields before it."""
        return [data[GATEWAY_TRACE.search(data).start():] for data in (path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(self.maildir.glob("new/*")))]

    def wait_mail(self, count, timeout=120):
        wait_until(lambda: len(list(self.maildir.glob("new/*"))) >= count, timeout, f"message {count} of {self.name}:\n{self.log()[-3000:]}\n")
        return self.mail()


class Postfix(MailServer):
    def __init__(self, folder, relay=None, sessions=20, settings=""):
        self.folder = pathlib.Path(folder) / f"postfix-{free_port()}"
        self.port = free_port()
        self.maildir = self.folder / "mail" / "all"
        for path in (self.folder, pathlib.Path(folder)):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        owner = pwd.getpwnam("postfix")
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir()
        for name in ("data", "mail"):
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        target = f"relayhost = [127.0.0.1]:{relay}" if relay else f"""virtual_mailbox_domains = example.com
virtual_mailbox_base = {self.folder}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{owner.pw_uid}
virtual_gid_maps = static:{owner.pw_gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0"""
        # Nothing of a message is changed: no fields are added, no line is broken.
        (self.folder / "etc" / "main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {self.folder}/queue
data_directory = {self.folder}/data
command_directory = /usr/sbin
daemon_directory = {POSTFIX_DAEMONS}
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = /dev/stdout
local_header_rewrite_clients =
always_add_missing_headers = no
smtp_line_length_limit = 0
message_size_limit = 0
alias_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
default_destination_concurrency_limit = {sessions}
default_destination_recipient_limit = 50
initial_destination_concurrency = {sessions}
smtp_connection_cache_on_demand = yes
smtp_destination_concurrency_failed_cohort_limit = 0
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
{target}
{settings}
""")
        services = ["postlog unix-dgram n - n - 1 postlogd", f"127.0.0.1:{self.port} inet n - n - - smtpd", "pickup unix n - n 60 1 pickup",
                    "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr", "rewrite unix - - n - - trivial-rewrite",
                    "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "flush unix n - n 1000? 0 flush",
                    "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp", "relay unix - - n - - smtp", "error unix - - n - - error",
                    "retry unix - - n - - error", "virtual unix - n n - - virtual", "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache"]
        (self.folder / "etc" / "master.cf").write_text("\n".join(services) + "\n")
        self.start()

    def start(self):
        super().__init__([program("postfix"), "-c", self.folder / "etc", "start-fg"], self.folder, "postfix", start_new_session=True)
        started(self, self.port)

    def queue_length(self):
        return sum(len(files) for name in ("incoming", "active", "deferred") for _, _, files in os.walk(self.folder / "queue" / name))

    def flush(self):
        """Tries all that waits, now."""
        run(program("postqueue"), "-c", self.folder / "etc", "-f")

    def stop(self, timeout=30):
        if self.running():
            run(program("postfix"), "-c", self.folder / "etc", "stop")
        return super().stop(timeout)


class Exim(MailServer):
    def __init__(self, folder, relay=None, sessions=20, settings="", chunking=True):
        self.folder = pathlib.Path(folder) / f"exim-{free_port()}"
        self.port = free_port()
        self.maildir = self.folder / "mail"
        owner = pwd.getpwnam("Debian-exim")
        pathlib.Path(folder).chmod(0o755)
        for path in (self.folder, self.folder / "spool", self.folder / "log", self.maildir):
            path.mkdir()
            os.chown(path, owner.pw_uid, owner.pw_gid)
        route = f"""there:
  driver = manualroute
  route_list = * 127.0.0.1::{relay} byname
  self = send
  transport = relay""" if relay else """here:
  driver = accept
  transport = mailbox"""
        self.config = self.folder / "exim.conf"
        self.config.write_text(f"""exim_path = {EXIM}
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/log/%slog
primary_hostname = exim.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
pid_file_path = {self.folder}/spool/exim.pid
tls_advertise_hosts =
smtputf8_advertise_hosts = *
chunking_advertise_hosts = {'*' if chunking else ''}
keep_environment =
acl_smtp_rcpt = accept
smtp_accept_max = 0
smtp_accept_queue = 0
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
queue_run_max = {sessions}
remote_max_parallel = {sessions}
message_size_limit = 100M
allow_utf8_domains = true
allow_domain_literals = true
deliver_drop_privilege = true
never_users =
{'queue_only = true' if relay else ''}
{settings}
begin routers
{route}
begin transports
relay:
  driver = smtp
  hosts_try_chunking = {'*' if chunking else ''}
  message_linelength_limit = 1000000
mailbox:
  driver = appendfile
  directory = {self.maildir}
  maildir_format
  create_directory
  user = Debian-exim
begin retry
* * F,1h,1s
""")
        self.config.chmod(0o644)
        super().__init__([EXIM, "-C", self.config, "-bdf"], folder, "exim", start_new_session=True)
        started(self, self.port)

    def log(self):
        return super().log() + "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("log/*")))

    def queue_length(self):
        return len(list(self.folder.glob("spool/input/**/*-H")))

    def flush(self):
        """Tries all that waits, over kept connections, and waits for it."""
        run(EXIM, "-C", self.config, "-qqff", timeout=200)
