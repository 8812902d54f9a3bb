#include "sink/options.h"

#include "base/units.h"
#include "sink/personality_file.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <fmt/format.h>
#include <optional>

namespace ringmx::sink {
namespace {

constexpr const char* description =
    "SMTP or LMTP backend that accepts, counts and checks, and misbehaves on purpose.\n"
    "SIGTERM or SIGINT ends it: it then writes connections, messages, recipients, bytes, unique\n"
    "and duplicates as JSON. A gateway's probes are connections too.";

// What CLI11 leaves as text because it has our own form.
struct RawOptions {
    std::vector<std::string> listen;
    std::vector<std::string> personality;
    double tempfail = 0;
    double reject = 0;
    double disconnect = 0;
    std::string delay = "0";
    std::string tls;
    bool no_pipelining = false;
    bool no_chunking = false;
};

void declare(CLI::App& app, Options& options, RawOptions& raw) {
    const CLI::Range probability(0.0, 1.0);
    app.set_version_flag("--version", "ringmx-sink " RINGMX_VERSION);
    app.add_option(
           "--listen", raw.listen,
           "HOST:PORT, [V6]:PORT or unix:/path; may be given again; port 0 takes a free one")
        ->type_name("ADDRESS")
        ->allow_extra_args(false)
        ->required();
    app.add_flag("--lmtp", options.lmtp, "speak LMTP: LHLO, one final reply for each recipient");
    app.add_option("--workers", options.workers, "threads, each with its own ring (default 1)")
        ->type_name("N")
        ->check(CLI::Range(1U, workers_max));
    app.add_option("--tls", raw.tls, "certificate chain and key; not built yet")
        ->type_name("CHAIN,KEY");
    app.add_option("--store", options.store,
                   "write each message to DIR/NAME.eml, its envelope to DIR/NAME.envelope; made if "
                   "missing")
        ->type_name("DIR");
    app.add_option("--tempfail", raw.tempfail, "probability of 451 at the end of data")
        ->type_name("P")
        ->check(probability);
    app.add_option("--reject", raw.reject, "probability of 550 at the end of data")
        ->type_name("P")
        ->check(probability);
    app.add_option("--disconnect", raw.disconnect,
                   "probability of a drop instead of the final reply")
        ->type_name("P")
        ->check(probability);
    app.add_option("--delay", raw.delay, "wait before each final reply, such as 250ms or 2s")
        ->type_name("T");
    app.add_option("--personality", raw.personality,
                   "how a backend misbehaves, phase by phase, from a JSON file; given once for all "
                   "listeners, or once for each in their order")
        ->type_name("FILE")
        ->allow_extra_args(false);
    app.add_flag("--no-pipelining", raw.no_pipelining, "don't offer PIPELINING");
    app.add_flag("--no-chunking", raw.no_chunking, "don't offer CHUNKING");
    app.add_option("--json", options.json, "write the totals to FILE instead of stdout")
        ->type_name("FILE");
    app.add_option("--record", options.record,
                   "append a line for each acknowledged message: MESSAGE-ID OCTETS CRC32C")
        ->type_name("FILE");
    app.add_option("--hostname", options.hostname, "name in the greeting (default localhost)")
        ->type_name("NAME");
    app.add_option("--seed", options.seed, "seed of the probabilities' draws (default 1)")
        ->type_name("N");
}

Ending fault(std::string_view what) {
    return {2, fmt::format("ringmx-sink: {} (see ringmx-sink --help)\n", what)};
}

// "localhost:2525" is taken as 127.0.0.1: it is what everybody types.
std::optional<SocketAddress> parse_listen(std::string_view text) {
    constexpr std::string_view localhost = "localhost:";
    if (text.starts_with(localhost)) {
        return SocketAddress::parse(fmt::format("127.0.0.1:{}", text.substr(localhost.size())));
    }
    return SocketAddress::parse(text);
}

// Of every file, so that one run shows all faults.
std::optional<Ending> read_personalities(Options& options, const std::vector<std::string>& files) {
    const std::size_t listeners = options.listen.size();
    if (files.size() > 1 && files.size() != listeners) {
        return fault(
            fmt::format("--personality: found {} for {} listeners, expected one for all or "
                        "one for each",
                        files.size(), listeners));
    }
    options.has_personality_files = !files.empty();
    Ending ending{2, ""};
    for (std::size_t index = 0; index < files.size(); ++index) {
        const std::vector<config::Fault> faults =
            load_personality(files[index], options.personalities[index]);
        if (!faults.empty()) {
            ending.text += config::report(files[index], faults, "not started", "ringmx-sink");
        }
    }
    if (files.size() == 1) {
        options.personalities.assign(listeners, Personality(options.personalities.front()));
    }
    return ending.text.empty() ? std::nullopt : std::optional(std::move(ending));
}

std::expected<Options, Ending> finish(Options options, const RawOptions& raw) {
    if (!raw.tls.empty()) {
        return std::unexpected(fault("--tls is not built yet; leave it out"));
    }
    for (const std::string& text : raw.listen) {
        const std::optional<SocketAddress> address = parse_listen(text);
        if (!address) {
            return std::unexpected(fault(fmt::format(
                "--listen: found '{}', expected HOST:PORT with an IP address, or unix:/path",
                text)));
        }
        options.listen.push_back(*address);
    }
    const std::optional<Duration> delay = parse_duration(raw.delay);
    if (!delay) {
        return std::unexpected(fault(fmt::format(
            "--delay: found '{}', expected a duration such as 250ms or 2s", raw.delay)));
    }
    if (std::isnan(raw.tempfail + raw.reject + raw.disconnect)) {
        return std::unexpected(fault("--tempfail, --reject, --disconnect: found nan, expected a "
                                     "probability from 0 to 1"));
    }
    if (raw.tempfail + raw.reject + raw.disconnect > 1) {
        return std::unexpected(
            fault("--tempfail, --reject, --disconnect: each message meets one of "
                  "them at most, expected a sum of at most 1"));
    }
    Personality given;
    PhaseBehavior& end_of_data = given.at(Phase::end_of_data);
    end_of_data.share(Mischief::tempfail) = raw.tempfail;
    end_of_data.share(Mischief::reject) = raw.reject;
    end_of_data.share(Mischief::disconnect) = raw.disconnect;
    end_of_data.delay = *delay;
    options.personalities.assign(options.listen.size(), given);
    if (std::optional<Ending> bad = read_personalities(options, raw.personality)) {
        return std::unexpected(std::move(*bad));
    }
    options.offer_pipelining = !raw.no_pipelining;
    options.offer_chunking = !raw.no_chunking;
    return options;
}

} // namespace

std::expected<Options, Ending> parse_options(int count, const char* const* arguments) {
    Options options;
    RawOptions raw;
    CLI::App app(description, "ringmx-sink");
    declare(app, options, raw);
    try {
        app.parse(count, arguments);
    } catch (const CLI::CallForHelp&) {
        return std::unexpected(Ending{0, app.help()});
    } catch (const CLI::CallForVersion&) {
        return std::unexpected(Ending{0, "ringmx-sink " RINGMX_VERSION "\n"});
    } catch (const CLI::ParseError& error) {
        std::string text = error.what();
        std::ranges::replace(text, '\n', ' ');
        return std::unexpected(fault(text));
    }
    return finish(std::move(options), raw);
}

} // namespace ringmx::sink
