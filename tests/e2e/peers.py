"""Other people's programs as peers: Postfix's smtp-source and smtp-sink, Dovecot, HAProxy, nginx, each private to a test's temp folder."""

import grp
import imaplib
import os
import pathlib
import poplib
import pwd
import re
import shutil

from harness import Program, accepts_connections, free_port, run, wait_until


def program(name):
    """The path of a program that may be outside PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


def started(what, port):
    def up():
        if not what.running():
            raise AssertionError(f"{what.name} ended with {what.process.returncode}:\n{what.log()}")
        return accepts_connections(port)

    try:
        wait_until(up, what=f"{what.name} on port {port}")
    except BaseException:
        what.stop(5)
        raise
    return what


def smtp_source(port, file=None, sessions=20, messages=100, length=None, lmtp=False, recipients=1):
    """Sends mail with Postfix's generator over kept connections. `file`: a message with LF line ends, sent with CRLF and stuffed."""
    arguments = [program("smtp-source"), "-d", "-s", sessions, "-m", messages, "-f", "source@example.net", "-t", "user@example.com", "-r", recipients]
    if lmtp:
        arguments.append("-L")
    arguments += ["-F", file] if file else ["-l", length or 4096]
    result = run(*arguments, f"inet:127.0.0.1:{port}", timeout=120)
    if result.returncode or "fatal" in result.stderr or "warning" in result.stderr:
        raise AssertionError(f"smtp-source ended with {result.returncode}: {result.stderr}")


class SmtpSink(Program):
    """Postfix's sink. Every message is kept in a file of its own in `folder`/mail."""

    def __init__(self, folder):
        self.port = free_port()
        self.mail = pathlib.Path(folder) / "mail"
        self.mail.mkdir()
        os.chmod(folder, 0o755)
        os.chmod(self.mail, 0o777)
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        super().__init__([program("smtp-sink"), *user, "-d", f"{self.mail}/%M.", f"127.0.0.1:{self.port}", "512"], folder, "smtp-sink")
        started(self, self.port)

    def messages(self):
        """The content of each, with LF line ends, behind smtp-sink's own X- lines and trace field, ours first."""
        found = []
        for path in self.mail.iterdir():
            data = path.read_bytes()
            found.append(re.sub(rb"\A(?:X-[^\n]*\n)*(?:Received: from [^\n]*\n(?:[ \t][^\n]*\n)*)?", b"", data, count=1))
        return found


class Dovecot(Program):
    """A private Dovecot: LMTP in, IMAP and POP3 out, Maildir in the folder; every user has the password "secret"."""

    def __init__(self, folder):
        self.lmtp_port, self.imap_port, self.pop3_port = free_port(), free_port(), free_port()
        base = pathlib.Path(folder) / "dovecot"
        for name in ("run", "mail", "state"):
            (base / name).mkdir(parents=True)
        if os.getuid() == 0:
            # Dovecot keeps mail away from root; its own accounts come with the package.
            owner, login, internal = pwd.getpwnam("dovecot"), "dovenull", "dovecot"
            os.chmod(folder, 0o755)
            os.chmod(base, 0o755)
            os.chown(base / "mail", owner.pw_uid, owner.pw_gid)
        else:
            owner = pwd.getpwuid(os.getuid())
            login = internal = owner.pw_name
        group = grp.getgrgid(owner.pw_gid).gr_name
        version = tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", run(program("dovecot"), "--version").stdout).groups())
        modern = version >= (2, 4)
        common = f"""
base_dir = {base}/run
state_dir = {base}/state
log_path = /dev/stderr
protocols = imap pop3 lmtp
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {group}
first_valid_uid = 1
ssl = no
{'auth_allow_cleartext = yes' if modern else 'disable_plaintext_auth = no'}
service imap-login {{
  chroot =
  inet_listener imap {{
    {'listen' if modern else 'address'} = 127.0.0.1
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    {'listen' if modern else 'address'} = 127.0.0.1
    port = {self.pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    {'listen' if modern else 'address'} = 127.0.0.1
    port = {self.lmtp_port}
  }}
}}
service anvil {{
  chroot =
}}
"""
        if modern:
            text = f"""dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
{common}
mail_driver = maildir
mail_path = {base}/mail/%{{user | username}}
mail_uid = {owner.pw_name}
mail_gid = {group}
passdb static {{
  password = secret
}}
userdb static {{
  fields {{
    home = {base}/mail/%{{user | username}}-home
    uid = {owner.pw_name}
    gid = {group}
  }}
}}
"""
        else:
            text = f"""{common}
mail_location = maildir:{base}/mail/%n
mail_uid = {owner.pw_name}
mail_gid = {group}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={owner.pw_name} gid={group} home={base}/mail/%n-home allow_all_users=yes
}}
"""
        path = base / "dovecot.conf"
        path.write_text(text)
        super().__init__([program("dovecot"), "-F", "-c", path], folder, "dovecot")
        for port in (self.lmtp_port, self.imap_port, self.pop3_port):
            started(self, port)

    def mailbox(self, user):
        """All messages of a user, read over IMAP, octet for octet."""
        imap = imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=20)
        try:
            imap.login(user, "secret")
            imap.select("INBOX", readonly=True)
            numbers = imap.search(None, "ALL")[1][0].split()
            return [imap.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1] for number in numbers]
        finally:
            imap.logout()


    def over_pop3(self, user):
        """The same over POP3, which gives lines."""
        pop3 = poplib.POP3("127.0.0.1", self.pop3_port, timeout=20)
        poplib._MAXLINE = 1 << 20  # its bound on a line is no bound of the protocol
        try:
            pop3.user(user)
            pop3.pass_("secret")
            return [b"".join(line + b"\r\n" for line in pop3.retr(number)[1]) for number in range(1, pop3.stat()[0] + 1)]
        finally:
            pop3.quit()


class HaProxy(Program):
    """Three ports in front of one address: PROXY version 1, version 2, and version 2 with a checksum and with checks by SMTP, which say LOCAL."""

    def __init__(self, folder, target_port):
        self.v1_port, self.v2_port, self.checked_port = free_port(), free_port(), free_port()
        path = pathlib.Path(folder) / "haproxy.cfg"
        path.write_text(f"""
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen one
    bind 127.0.0.1:{self.v1_port}
    server gateway 127.0.0.1:{target_port} send-proxy
listen two
    bind 127.0.0.1:{self.v2_port}
    server gateway 127.0.0.1:{target_port} send-proxy-v2
listen three
    bind 127.0.0.1:{self.checked_port}
    option smtpchk EHLO haproxy.example
    server gateway 127.0.0.1:{target_port} send-proxy-v2 proxy-v2-options crc32c check inter 100ms fall 1 check-send-proxy
""")
        super().__init__([program("haproxy"), "-db", "-f", path], folder, "haproxy")
        self.ports = (self.v1_port, self.v2_port, self.checked_port)
        for port in self.ports:
            started(self, port)


class Nginx(Program):
    """One port in front of one address, by PROXY version 1: nginx speaks no other towards its upstreams."""

    def __init__(self, folder, target_port):
        self.ports = (free_port(),)
        path = pathlib.Path(folder) / "nginx.conf"
        module = next(pathlib.Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so"), None)
        path.write_text(f"""
{f'load_module {module};' if module else ''}
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
stream {{
    server {{
        listen 127.0.0.1:{self.ports[0]};
        proxy_pass 127.0.0.1:{target_port};
        proxy_protocol on;
    }}
}}
""")
        super().__init__([program("nginx"), "-p", folder, "-e", "stderr", "-c", path], folder, "nginx")
        started(self, self.ports[0])
