"""Proxies that pass a session on to one backend: nginx's mail module, HAProxy in TCP mode."""

import os

import processes
from programs.peer import Peer, Server
from surroundings import command_output, first_line

NGINX_MODULE = "/usr/lib/nginx/modules/ngx_mail_module.so"
NGINX = """load_module {module};
worker_processes {workers};
daemon off;
user root;
pid {folder}/nginx.pid;
error_log /dev/null info;
events {{ worker_connections 19000; }}
mail {{
  server_name mx.example.com;
  auth_http 127.0.0.1:{auth}/auth;
  proxy_buffer 256k;
  proxy_smtp_auth off;
  xclient off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    protocol smtp;
    smtp_auth none;
    smtp_client_buffer 256k;
    smtp_capabilities {capabilities};
  }}
}}
"""

# nginx's mail proxy asks an HTTP server where each session goes. It is a program of its own, so
# that its CPU is not held against nginx.
RESPONDER = """worker_processes 1;
daemon off;
user root;
pid {folder}/auth.pid;
error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{auth} backlog=4096;
    location /auth {{
      add_header Auth-Status OK;
      add_header Auth-Server 127.0.0.1;
      add_header Auth-Port {sink};
      return 200;
    }}
  }}
}}
"""

HAPROXY = """global
  nbthread {workers}
  maxconn 9000
defaults
  mode tcp
  timeout connect 10s
  timeout client 5m
  timeout server 5m
frontend smtp
  bind 127.0.0.1:{port} backlog 4096
  default_backend sink
backend sink
  server sink 127.0.0.1:{sink}
"""


class Nginx(Peer):
    """Knows nothing of BDAT, but once it has passed a RCPT on it looks at nothing any more: it can
    be told to offer CHUNKING where the backend has it (`offers_chunking`)."""

    does = "forward"

    def __init__(self, name, offers_chunking):
        self.name, self.offers_chunking = name, offers_chunking
        self.by_default = not offers_chunking

    def absent(self, stand):
        if self.offers_chunking and not stand.backend.chunking:
            return "the backend has no CHUNKING"
        if processes.program("nginx") is None:
            return "nginx is not installed"
        return None if os.path.exists(NGINX_MODULE) else "nginx's mail module is not installed"

    def start(self, stand):
        port, auth = processes.free_port(), processes.free_port()
        folder = stand.path(self.name)
        capabilities = "PIPELINING 8BITMIME" + (" CHUNKING" if self.offers_chunking else "")
        values = {"folder": folder, "port": port, "auth": auth, "sink": stand.backend.port,
                  "module": NGINX_MODULE, "capabilities": capabilities, "workers": stand.workers}
        for name, text, listens in (("auth", RESPONDER, auth), ("nginx", NGINX, port)):
            path = stand.write(f"{self.name}/{name}.conf", text.format(**values))
            process = stand.launch([processes.program("nginx"), "-p", folder, "-e", os.devnull,
                                    "-c", path], listens)
        return Server(process, port)

    @staticmethod
    def version():
        text = first_line(command_output(processes.program("nginx"), "-v"))
        return "nginx", text.rpartition("/")[2]


class HaProxy(Peer):
    name = "haproxy"
    does = "forward"

    def absent(self, _stand):
        return None if processes.program("haproxy") else "haproxy is not installed"

    def start(self, stand):
        port = processes.free_port()
        path = stand.write("haproxy.conf", HAPROXY.format(port=port, sink=stand.backend.port,
                                                          workers=stand.workers))
        return Server(stand.launch([processes.program("haproxy"), "-db", "-f", path], port), port)

    @staticmethod
    def version():
        words = first_line(command_output(processes.program("haproxy"), "-v")).split()
        return "haproxy", words[2] if len(words) > 2 else "unknown"
