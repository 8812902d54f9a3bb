#include "load/options.h"

#include "base/escape.h"
#include "load/given_options.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <string_view>
#include <utility>

namespace ringmx::load {
namespace {

constexpr const char* description =
    "SMTP and LMTP load generator. Sends until --messages or --duration ends it (10s unless one is "
    "given),\nas fast as its connections go, or with --rate at times that no answer moves: latency "
    "then counts\nfrom when a message was due.";

constexpr const char* footer =
    "T is a time such as 250ms, 30s or 5m; sizes are octets, or KiB, MiB, GiB.\n"
    "Exit: 0 if every message was accepted and no --fail-if holds, else 1; 2 for a bad command "
    "line.";

// Options of one group of the help.
class Group {
  public:
    Group(CLI::App& app, std::string name) : app_(app), name_(std::move(name)) {}

    void text(const std::string& name, const std::string& type, GivenOptions::Text& value,
              const std::string& help) {
        app_.add_option_function<std::string>(
                name, [&value](const std::string& given) { value = given; }, help)
            ->type_name(type)
            ->group(name_);
    }
    CLI::Option* list(const std::string& name, const std::string& type,
                      std::vector<std::string>& values, const std::string& help) {
        return app_.add_option(name, values, help)
            ->type_name(type)
            ->allow_extra_args(false)
            ->group(name_);
    }
    void flag(const std::string& name, bool& value, const std::string& help) {
        app_.add_flag(name, value, help)->group(name_);
    }

  private:
    CLI::App& app_;
    std::string name_;
};

void declare_load(CLI::App& app, GivenOptions& given) {
    Group load(app, "Load");
    load.text("--to", "ADDRESS", given.to, "HOST:PORT, [V6]:PORT or unix:/path");
    load.text("--connections", "N", given.connections, "how many at a time (default 10)");
    load.text("--messages", "N", given.messages, "end after so many");
    load.text("--duration", "T", given.duration, "end after that time (default 10s)");
    load.text("--rate", "RATE", given.rate,
              "messages a second: 50, 50/1s, 0.5; or with --ramp from one to another: 100-5000");
    load.text("--ramp", "T", given.ramp, "how long --rate A-B takes from A to B, to stay there");
    load.text("--arrivals", "KIND", given.arrivals,
              "of --rate: poisson (independent of each other, the default) or even");
    load.text("--messages-per-connection", "N", given.messages_per_connection,
              "then a new connection is made (default: no bound)");
    load.text("--workers", "N", given.workers,
              "threads, each with its own ring (default 1); no more than connections");
    load.text("--timeout", "T", given.timeout, "for each reply (default 5m)");
    load.text("--seed", "N", given.seed, "of sizes, recipients and arrivals (default 1)");
}

void declare_mail(CLI::App& app, GivenOptions& given) {
    Group mail(app, "Mail");
    mail.text("--size", "SIZE", given.size,
              "of the whole message: 4KiB (the default), or spread: 1KiB-1MiB");
    mail.text("--corpus", "DIR", given.corpus, "send the files of this folder instead");
    mail.text("--recipients", "N", given.recipients, "of each message: 1 (the default), or 1-20");
    mail.text("--from", "A", given.from,
              "sender (default sender@load.example); <> is the null sender");
    mail.text("--rcpt", "PATTERN", given.recipient,
              "recipients, % stands for a number (default user%@load.example)");
    mail.text("--hello", "NAME", given.hello, "name in EHLO or LHLO (default load.example)");
    mail.flag("--pipelining", given.pipelining, "send the envelope at once where it is offered");
    mail.flag("--chunking", given.chunking, "BDAT instead of DATA where it is offered");
    mail.text("--tls", "MODE", given.tls, "starttls or implicit; not built yet");
    mail.flag("--lmtp", given.lmtp, "speak LMTP");
}

void declare_clients(CLI::App& app, GivenOptions& given) {
    Group clients(app, "Clients");
    clients
        .list("--source", "NETWORK", given.sources,
              "connect from its addresses in turn; may be given again, or separated by commas")
        ->delimiter(',');
    clients.text("--proxy", "VERSION", given.proxy, "v1 or v2: open with a PROXY header");
    clients.text("--proxy-clients", "NETWORK", given.proxy_clients,
                 "whose addresses it names (default 10.0.0.0/8)");
    clients.text("--drip", "OCTETS/T", given.drip,
                 "send message data in drops, such as 10/1s: ten octets each second");
    clients.text("--hostile", "KIND", given.hostile,
                 "abort (in the middle of data), never-read (replies), or reconnect (at once, "
                 "again and again)");
}

void declare_results(CLI::App& app, GivenOptions& given) {
    Group results(app, "Results");
    results.text("--json", "FILE", given.json,
                 "write the result as one JSON object; - is stdout, and the table goes to stderr");
    results.text("--html", "FILE", given.html, "write it as a page with plots");
    results.text("--record", "FILE", given.record,
                 "append a line for each message: MESSAGE-ID OCTETS CRC32C [unacknowledged]");
    results.list("--fail-if", "CONDITION", given.fail_if,
                 "exit 1 if it holds, such as 'p99>50ms', 'connect.max>1s', 'lost>0' or "
                 "'rate<1000'; may be given again");
}

CLI::App* declare_audit(CLI::App& app, AuditOptions& options) {
    CLI::App* const audit = app.add_subcommand(
        "audit", "Compares a --record of ringmx-load with those of the ringmx-sinks that it "
                 "reached.\nExit: 0 if nothing that was acknowledged is lost or corrupted and "
                 "nothing came that was not sent,\nelse 1. Duplicates are counted.");
    audit->footer(
        "A record has a line for each message: MESSAGE-ID OCTETS CRC32C [unacknowledged].");
    audit->add_option("SENT", options.sent, "record of ringmx-load")->type_name("FILE")->required();
    audit->add_option("RECEIVED", options.received, "records of ringmx-sink")
        ->type_name("FILE")
        ->required();
    return audit;
}

std::string escaped(std::string_view text) {
    std::string out;
    append_log_text(out, text);
    return out;
}

Ending fault(std::string_view what, std::string_view command = "") {
    return {2, fmt::format("ringmx-load: {} (see ringmx-load {}--help)\n", what, command)};
}

} // namespace

std::expected<std::variant<Options, AuditOptions>, Ending>
parse_options(int count, const char* const* arguments) {
    GivenOptions given;
    AuditOptions audit_options;
    CLI::App app(description, "ringmx-load");
    app.footer(footer);
    app.set_version_flag("--version", "ringmx-load " RINGMX_VERSION);
    declare_load(app, given);
    declare_mail(app, given);
    declare_clients(app, given);
    declare_results(app, given);
    const CLI::App* const audit = declare_audit(app, audit_options);
    try {
        app.parse(count, arguments);
    } catch (const CLI::CallForHelp&) {
        return std::unexpected(Ending{0, app.help()});
    } catch (const CLI::CallForVersion&) {
        return std::unexpected(Ending{0, "ringmx-load " RINGMX_VERSION "\n"});
    } catch (const CLI::ParseError& error) {
        return std::unexpected(fault(escaped(error.what()), audit->parsed() ? "audit " : ""));
    }
    if (audit->parsed()) {
        if (app.count_all() > audit->count_all() + 1) {
            return std::unexpected(fault("audit: other options stand before it; give only "
                                         "audit SENT RECEIVED..."));
        }
        return audit_options;
    }
    std::expected<Options, std::string> options = options_of(given);
    if (!options) {
        return std::unexpected(fault(options.error()));
    }
    return std::move(*options);
}

} // namespace ringmx::load
