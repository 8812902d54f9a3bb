#include "base/escape.h"
#include "load/figures.h"

#include <fmt/format.h>
#include <iterator>

namespace ringmx::load {
namespace {

std::string quoted(std::string_view text) {
    std::string out = "\"";
    append_json_text(out, text);
    out += '"';
    return out;
}

double seconds_of(Duration time) { return std::chrono::duration<double>(time).count(); }

void append_counts(std::string& out, const Result& result, const Options& options) {
    fmt::format_to(std::back_inserter(out),
                   "\"sent\": {}, \"accepted\": {}, \"tempfailed\": {}, \"rejected\": {}, "
                   "\"errors\": {}, \"lost\": {}, \"late\": {}, \"generator_limited\": {}, "
                   "\"seconds\": {:.6f}, \"messages_per_second\": {:.3f}, "
                   "\"bytes_per_second\": {:.3f}, \"bytes\": {}, \"connections\": {}, "
                   "\"recipients_refused\": {}, \"busiest_share\": {:.4f}",
                   result.sent, result.accepted, result.tempfailed, result.rejected, result.errors,
                   result.lost, result.late, result.is_generator_limited(options),
                   result.elapsed_seconds(), result.messages_per_second(),
                   result.octets_per_second(), result.octets, result.connections,
                   result.recipients_refused, result.busiest_share);
}

void append_latency(std::string& out, std::string_view key, const Latency& latency) {
    fmt::format_to(std::back_inserter(out), ", \"{}\": {{\"count\": {}, \"mean\": {:.3f}", key,
                   latency.count(), latency.mean());
    for (const QuantileColumn& column : quantile_columns) {
        fmt::format_to(std::back_inserter(out), ", \"{}\": {}", column.key,
                       latency.at(column.quantile));
    }
    out += '}';
}

void append_failures(std::string& out, const Result& result) {
    out += ", \"failures\": {";
    std::string_view between;
    for (const auto& [kind, times] : failures_of(result)) {
        fmt::format_to(std::back_inserter(out), "{}{}: {}", between, quoted(kind), times);
        between = ", ";
    }
    out += '}';
}

std::string_view hostility_word(Hostility hostility) {
    switch (hostility) {
    case Hostility::none:
        return "none";
    case Hostility::drip:
        return "drip";
    case Hostility::abort:
        return "abort";
    case Hostility::never_read:
        return "never_read";
    case Hostility::reconnect:
        return "reconnect";
    }
    return "";
}

void append_load_settings(std::string& out, const Options& options) {
    fmt::format_to(std::back_inserter(out),
                   "\"to\": {}, \"connections\": {}, \"messages\": {}, \"duration_seconds\": {}",
                   quoted(options.to_text), options.connections, options.messages,
                   seconds_of(options.duration));
    if (options.rate.has_value()) {
        fmt::format_to(std::back_inserter(out),
                       ", \"rate\": {{\"from\": {}, \"to\": {}, \"ramp_seconds\": {}, "
                       "\"arrivals\": \"{}\"}}",
                       options.rate->ramp == Duration{0} ? options.rate->to_per_second
                                                         : options.rate->from_per_second,
                       options.rate->to_per_second, seconds_of(options.rate->ramp),
                       options.arrivals == Arrivals::even ? "even" : "poisson");
    } else {
        out += ", \"rate\": null";
    }
    fmt::format_to(std::back_inserter(out),
                   ", \"messages_per_connection\": {}, \"workers\": {}, "
                   "\"timeout_seconds\": {}, \"seed\": {}",
                   options.messages_per_connection, options.workers, seconds_of(options.timeout),
                   options.seed);
}

void append_settings(std::string& out, const Options& options) {
    out += ", \"settings\": {";
    append_load_settings(out, options);
    fmt::format_to(std::back_inserter(out),
                   ", \"size\": {{\"least\": {}, \"most\": {}}}, \"corpus\": {}, "
                   "\"recipients\": {{\"least\": {}, \"most\": {}}}, \"from\": {}, \"rcpt\": {}, "
                   "\"hello\": {}, \"pipelining\": {}, \"chunking\": {}, \"lmtp\": {}",
                   options.size.least, options.size.most,
                   options.corpus.empty() ? "null" : quoted(options.corpus),
                   options.recipients.least, options.recipients.most, quoted(options.from),
                   quoted(options.recipient), quoted(options.hello), options.pipelining,
                   options.chunking, options.lmtp);
    out += ", \"sources\": [";
    std::string_view between;
    for (const Network& source : options.sources) {
        fmt::format_to(std::back_inserter(out), "{}{}", between, quoted(source.text()));
        between = ", ";
    }
    const bool has_proxy = options.proxy != ProxyVersion::none;
    fmt::format_to(std::back_inserter(out), "], \"proxy\": {}, \"proxy_clients\": {}",
                   !has_proxy                          ? "null"
                   : options.proxy == ProxyVersion::v1 ? "\"v1\""
                                                       : "\"v2\"",
                   has_proxy ? quoted(options.proxy_clients.text()) : "null");
    fmt::format_to(std::back_inserter(out), ", \"hostility\": \"{}\"}}",
                   hostility_word(options.hostility));
}

void append_seconds(std::string& out, const Result& result) {
    out += ", \"per_second\": [";
    std::string_view between;
    for (const Second& second : result.seconds) {
        fmt::format_to(std::back_inserter(out),
                       "{}{{\"accepted\": {}, \"failed\": {}, \"bytes\": {}, \"p50_us\": {}, "
                       "\"p99_us\": {}, \"max_us\": {}}}",
                       between, second.accepted, second.failed, second.octets,
                       second.latency.at(0.5), second.latency.at(0.99), second.latency.maximum());
        between = ", ";
    }
    out += ']';
}

} // namespace

std::string json_of(const Result& result, const Options& options) {
    std::string out = "{";
    append_counts(out, result, options);
    // The whole message first: it is what most readers look for.
    append_latency(out, part_keys[static_cast<std::size_t>(Part::message)],
                   result.part(Part::message));
    for (std::size_t index = 0; index < static_cast<std::size_t>(Part::message); ++index) {
        append_latency(out, part_keys[index], result.parts[index]);
    }
    append_failures(out, result);
    append_settings(out, options);
    append_seconds(out, result);
    out += '}';
    return out;
}

} // namespace ringmx::load
