// What the config file says, as plain values: config/ fills them, everyone reads them, nobody
// changes them after.
//
// A Settings is immutable once built and is shared between threads as std::shared_ptr<const
// Settings>; a reload makes a new one. Defaults here are the contract's; sizes in octets, durations
// in nanoseconds.
#pragma once

#include "base/address.h"
#include "base/instant.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringmx {

enum class ListenerTls : std::uint8_t { starttls, implicit, none, required };
enum class Acknowledge : std::uint8_t { spool, backend, backend_or_spool };
enum class Protocol : std::uint8_t { smtp, lmtp };
enum class HashKey : std::uint8_t { recipient, recipient_domain, sender, client_address, none };
enum class Failover : std::uint8_t { any, none };
enum class BackendTls : std::uint8_t { opportunistic, none, required, verify };
enum class ClientInfo : std::uint8_t { none, xclient, xforward, proxy_v2 };
enum class OnFailure : std::uint8_t { hold, bounce };
enum class TlsVersion : std::uint8_t { v1_2, v1_3 };
enum class BareNewline : std::uint8_t { reject, normalize };
enum class LogLevel : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };

// COUNT events per PERIOD; count 0 means no limit.
struct Rate {
    std::uint64_t count = 0;
    Duration period = 1s;
};

struct ProxyProtocolSettings {
    std::vector<Network> trusted;
    Duration timeout = 5s;
};

struct ListenerSettings {
    SocketAddress address;
    ListenerTls tls = ListenerTls::starttls;
    Acknowledge acknowledge = Acknowledge::spool;
    Duration handoff = 2s;
    std::optional<ProxyProtocolSettings> proxy_protocol;
};

// HOST:PORT where HOST may be a name to resolve, or a Unix path.
struct BackendSettings {
    std::string address; // as written; the backend's name in the hash, in metrics and in logs
    std::string host;    // lower case; a name or an unbracketed IP address; empty for a Unix path
    std::uint16_t port = 0;
    std::string path;           // Unix path
    std::uint32_t weight = 100; // 0 drains
};

struct HealthSettings {
    Duration interval = 5s;
    std::uint32_t failures = 3;
    std::uint32_t successes = 1;
};

struct PoolSettings {
    std::string name;
    Protocol protocol = Protocol::smtp;
    HashKey hash = HashKey::recipient;
    Failover failover = Failover::any;
    bool hold = false;
    std::vector<BackendSettings> backends;
    BackendTls tls = BackendTls::opportunistic;
    std::string ca_file;
    std::uint32_t max_connections = 40;
    std::uint32_t messages_per_connection = 100;
    std::uint32_t rejections_per_connection = 10;
    Duration idle_timeout = 30s; // 0 is off
    HealthSettings health;
    ClientInfo client_info = ClientInfo::none;
};

struct RouteSettings {
    std::vector<std::string> recipients; // as written; base/route_file.h reads them and the file
    std::string recipients_file;         // resolved against the config's folder; empty for none
    std::uint32_t pool_index = 0;        // into Settings::pools
    bool verify_backend = false;
};

struct VerificationSettings {
    Duration positive = 6h;
    Duration negative = 10min;
    bool defer_unavailable = false;
    std::uint64_t entries = 1'000'000;
};

struct RetrySettings {
    Duration initial = 30s;
    double factor = 2;
    Duration maximum = 1h;
    Duration expire = 96h;
};

struct HeldSettings {
    std::uint64_t max_size_bytes = 1ULL << 30U;
    Duration max_age = 336h;
};

struct SpoolSettings {
    std::string directory = "/var/lib/ringmx/spool"; // resolved against the config's folder
    std::uint64_t max_size_bytes = 10ULL << 30U;
    RetrySettings retry;
    OnFailure on_failure = OnFailure::hold;
    std::string bounce_pool; // a pool's name; empty for none
    HeldSettings held;
};

// Paths are resolved against the config's folder; empty for none.
struct CertificateSettings {
    std::string chain;
    std::string key;
    std::string ocsp;
};

struct TlsSettings {
    std::vector<CertificateSettings> certificates;
    TlsVersion minimum_version = TlsVersion::v1_2;
    std::string ciphers; // empty: the library's
    std::string ticket_keys;
    std::string client_ca;
};

struct LimitSettings {
    std::uint64_t message_size_bytes = 50ULL << 20U;
    std::uint64_t memory_bytes = 0; // 0 is "auto": a quarter of the machine's
    std::uint32_t recipients = 1000;
    std::uint32_t connections = 100'000;
    std::uint32_t connections_per_client = 100; // 0 is none
    Rate connection_rate_per_client{1000, 1min};
    Rate message_rate_per_client{6000, 1min};
    Rate recipient_rate_per_client{0, 1s};
    std::uint32_t unknown_recipients_per_connection = 100;
    std::uint32_t errors_per_connection = 20;
    std::uint32_t received_headers = 100;
    std::uint64_t minimum_data_rate_bytes = 100; // octets a second; 0 is none
    unsigned client_prefix_v4 = 32;
    unsigned client_prefix_v6 = 64;
    std::vector<Network> exempt;
};

struct SmtpSettings {
    BareNewline bare_newline = BareNewline::reject;
    std::vector<Network> bare_newline_exempt;
};

struct TimeoutSettings {
    Duration greeting_delay{0}; // 0 is off, here and for drain_delay and backend_hold
    Duration command = 5min;
    Duration data = 3min;
    Duration drain_delay{0};
    Duration drain = 30s;
    Duration backend_connect = 10s;
    Duration backend_wait = 5s;
    Duration backend_reply = 5min;
    Duration backend_end_of_data = 10min; // from the spool; see end_of_data_wait()
    Duration backend_hold = 10s;

    // How long a backend may take to answer the end of data. While a client waits for that very
    // answer it is at most 8 minutes, so that ringmx answers before the client's own 10 (RFC
    // 5321 4.5.3.2.6) run out.
    [[nodiscard]] Duration end_of_data_wait(Acknowledge mode) const {
        return mode == Acknowledge::backend ? std::min(backend_end_of_data, Duration{8min})
                                            : backend_end_of_data;
    }
};

struct AdminSettings {
    SocketAddress address{IpAddress::v4(0x7f000001), 8025, false, {}};
    std::optional<SocketAddress> probe_address;
};

struct LogSettings {
    LogLevel level = LogLevel::info;
    LogFormat format = LogFormat::text;
    std::string prefix = "ringmx/smtpd";
};

struct Settings {
    std::string hostname;      // the machine's own name when the file gives none
    std::uint32_t workers = 0; // 0 is "auto": one per usable CPU
    std::string user;          // empty: stay who we are
    std::string postmaster;
    std::vector<ListenerSettings> listeners;
    TlsSettings tls;
    std::vector<RouteSettings> routes;
    VerificationSettings verification;
    std::vector<PoolSettings> pools; // in the order of their names
    SpoolSettings spool;
    LimitSettings limits;
    SmtpSettings smtp;
    TimeoutSettings timeouts;
    AdminSettings admin;
    LogSettings log;
};

} // namespace ringmx
