#include "config/schema.h"

#include "base/domain.h"
#include "config/listening.h"
#include "config/object_reader.h"
#include "config/routing.h"

#include <unistd.h>

#include <array>

namespace ringmx::config {

namespace {

using simdjson::SUCCESS;
using simdjson::dom::element;

constexpr std::uint64_t mebibyte = 1ULL << 20U;
constexpr std::uint64_t tebibyte = 1ULL << 40U;
// Upper bounds of plain counts: far above use, low enough that sums and products stay in their
// types.
constexpr std::uint32_t count_max = 10'000'000;

constexpr Choice<OnFailure> on_failure_choices[] = {{"hold", OnFailure::hold},
                                                    {"bounce", OnFailure::bounce}};
constexpr Choice<BareNewline> bare_newline_choices[] = {{"reject", BareNewline::reject},
                                                        {"normalize", BareNewline::normalize}};
constexpr Choice<LogLevel> log_level_choices[] = {{"debug", LogLevel::debug},
                                                  {"info", LogLevel::info},
                                                  {"warning", LogLevel::warning},
                                                  {"error", LogLevel::error}};
constexpr Choice<LogFormat> log_format_choices[] = {{"text", LogFormat::text},
                                                    {"json", LogFormat::json}};
// false is "accept".
constexpr Choice<bool> unavailable_choices[] = {{"accept", false}, {"defer", true}};

void read_hostname(ObjectReader& root, Settings& settings) {
    constexpr std::string_view expected = "a host name such as \"mx1.example.com\"";
    settings.hostname = machine_name();
    const auto text = root.text("hostname", expected);
    if (!text) {
        return;
    }
    const auto domain = canonical_domain(*text);
    if (!domain || text->starts_with('[')) {
        root.fault("hostname", "found " + echoed(*text) + ", expected " + std::string(expected));
        return;
    }
    // The greeting is ASCII: a name in U-labels goes out in A-labels, any other one as it is
    // written.
    const bool is_same_length = domain->size() == text->size();
    settings.hostname = is_same_length ? std::string(*text) : *domain;
}

void read_workers(ObjectReader& root, Settings& settings) {
    constexpr std::uint64_t workers_max = 1024;
    const auto found = root.member("workers");
    if (!found) {
        return;
    }
    std::string_view word;
    std::uint64_t count = 0;
    if (found->get(word) == SUCCESS && word == "auto") {
        settings.workers = 0;
    } else if (found->get(count) == SUCCESS && count >= 1 && count <= workers_max) {
        settings.workers = static_cast<std::uint32_t>(count);
    } else {
        root.fault("workers", mismatch(*found, "\"auto\" or a whole number from 1 to 1024"));
    }
}

void read_postmaster(ObjectReader& root, Settings& settings) {
    constexpr std::string_view expected = "an address such as \"postmaster@example.com\"";
    const auto text = root.text("postmaster", expected);
    if (!text || text->empty()) {
        return;
    }
    if (canonical_mailbox(*text)) {
        settings.postmaster = *text;
    } else {
        root.fault("postmaster", "found " + echoed(*text) + ", expected " + std::string(expected));
    }
}

void read_verification(element value, Settings& settings, Faults& faults) {
    VerificationSettings& verification = settings.verification;
    ObjectReader reader(faults, "/verification", value);
    reader.duration("positive", verification.positive);
    reader.duration("negative", verification.negative);
    reader.choice("unavailable", verification.defer_unavailable, unavailable_choices);
    reader.integer<std::uint64_t>("entries", verification.entries, 1, 1'000'000'000);
    reader.finish();
}

void read_spool(element value, Settings& settings, const Sources& sources, Faults& faults) {
    SpoolSettings& spool = settings.spool;
    constexpr std::uint64_t spool_bytes_max = 1024 * tebibyte;
    ObjectReader reader(faults, "/spool", value);
    reader.file("directory", spool.directory, sources.folder);
    if (spool.directory.empty()) {
        reader.fault("directory", "found \"\", expected a directory's path");
    }
    reader.size("max_size", spool.max_size_bytes, mebibyte, spool_bytes_max);
    if (const auto retry_value = reader.member("retry")) {
        ObjectReader retry(faults, "/spool/retry", *retry_value);
        retry.duration("initial", spool.retry.initial);
        retry.number("factor", spool.retry.factor, 1, 100);
        retry.duration("maximum", spool.retry.maximum);
        retry.duration("expire", spool.retry.expire);
        retry.finish();
    }
    reader.choice("on_failure", spool.on_failure, on_failure_choices);
    reader.line("bounce_pool", spool.bounce_pool, pool_name_bytes_max, true);
    if (const auto held_value = reader.member("held")) {
        ObjectReader held(faults, "/spool/held", *held_value);
        held.size("max_size", spool.held.max_size_bytes, mebibyte, spool_bytes_max);
        held.duration("max_age", spool.held.max_age);
        held.finish();
    }
    reader.finish();
}

void read_memory(ObjectReader& reader, LimitSettings& limits) {
    // A worker can't move mail with less than a few buffers of 64 KiB.
    constexpr std::uint64_t memory_bytes_min = 4 * mebibyte;
    std::string_view word;
    const auto found = reader.member("memory");
    if (found && found->get(word) == SUCCESS && word == "auto") {
        limits.memory_bytes = 0;
        return;
    }
    if (found) {
        reader.size("memory", limits.memory_bytes, memory_bytes_min, 1024 * tebibyte);
    }
}

void read_limits(element value, Settings& settings, Faults& faults) {
    LimitSettings& limits = settings.limits;
    ObjectReader reader(faults, "/limits", value);
    reader.size("message_size", limits.message_size_bytes, 1, tebibyte);
    read_memory(reader, limits);
    reader.integer<std::uint32_t>("recipients", limits.recipients, 1, 1'000'000);
    reader.integer<std::uint32_t>("connections", limits.connections, 1, count_max);
    reader.integer<std::uint32_t>("connections_per_client", limits.connections_per_client, 0,
                                  count_max);
    reader.rate("connection_rate_per_client", limits.connection_rate_per_client);
    reader.rate("message_rate_per_client", limits.message_rate_per_client);
    reader.rate("recipient_rate_per_client", limits.recipient_rate_per_client);
    reader.integer<std::uint32_t>("unknown_recipients_per_connection",
                                  limits.unknown_recipients_per_connection, 0, count_max);
    reader.integer<std::uint32_t>("errors_per_connection", limits.errors_per_connection, 0,
                                  count_max);
    reader.integer<std::uint32_t>("received_headers", limits.received_headers, 1, count_max);
    reader.integer<std::uint64_t>("minimum_data_rate", limits.minimum_data_rate_bytes, 0,
                                  1024 * mebibyte);
    reader.integer<unsigned>("client_prefix_v4", limits.client_prefix_v4, 1, 32);
    reader.integer<unsigned>("client_prefix_v6", limits.client_prefix_v6, 1, 128);
    reader.networks("exempt", limits.exempt);
    reader.finish();
}

void read_smtp(element value, Settings& settings, Faults& faults) {
    ObjectReader reader(faults, "/smtp", value);
    reader.choice("bare_newline", settings.smtp.bare_newline, bare_newline_choices);
    reader.networks("bare_newline_exempt", settings.smtp.bare_newline_exempt);
    reader.finish();
}

void read_timeouts(element value, Settings& settings, Sources& sources, Faults& faults) {
    TimeoutSettings& timeouts = settings.timeouts;
    ObjectReader reader(faults, "/timeouts", value);
    reader.duration("greeting_delay", timeouts.greeting_delay, Zero::is_off);
    reader.duration("command", timeouts.command);
    reader.duration("data", timeouts.data);
    reader.duration("drain_delay", timeouts.drain_delay, Zero::is_off);
    reader.duration("drain", timeouts.drain);
    reader.duration("backend_connect", timeouts.backend_connect);
    reader.duration("backend_wait", timeouts.backend_wait);
    reader.duration("backend_reply", timeouts.backend_reply);
    reader.duration("backend_end_of_data", timeouts.backend_end_of_data);
    reader.duration("backend_hold", timeouts.backend_hold, Zero::is_off);
    sources.end_of_data_is_given = reader.member("backend_end_of_data").has_value();
    reader.finish();
}

void read_admin(element value, Settings& settings, Faults& faults) {
    ObjectReader reader(faults, "/admin", value);
    if (const auto address = read_listen_address(reader, "address")) {
        settings.admin.address = *address;
    }
    const auto probe_text = reader.member("probe_address");
    std::string_view text;
    const bool is_off = probe_text && probe_text->get(text) == SUCCESS && text.empty();
    if (probe_text && !is_off) {
        settings.admin.probe_address = read_listen_address(reader, "probe_address");
    }
    reader.finish();
}

void read_log(element value, Settings& settings, Faults& faults) {
    constexpr std::size_t prefix_bytes_max = 64;
    ObjectReader reader(faults, "/log", value);
    reader.choice("level", settings.log.level, log_level_choices);
    reader.choice("format", settings.log.format, log_format_choices);
    reader.line("prefix", settings.log.prefix, prefix_bytes_max, false);
    reader.finish();
}

} // namespace

void read_settings(element root_value, Settings& settings, Sources& sources, Faults& faults) {
    constexpr std::size_t user_bytes_max = 256;
    ObjectReader root(faults, "", root_value);
    if (!root.is_object()) {
        return;
    }
    read_hostname(root, settings);
    read_workers(root, settings);
    root.line("user", settings.user, user_bytes_max, true);
    read_postmaster(root, settings);
    read_listeners(root, settings, sources, faults);
    if (const auto value = root.member("tls")) {
        read_tls(*value, settings, sources, faults);
    }
    read_routes(root, settings, sources, faults);
    if (const auto value = root.member("verification")) {
        read_verification(*value, settings, faults);
    }
    read_pools(root, settings, sources, faults);
    if (const auto value = root.member("spool")) {
        read_spool(*value, settings, sources, faults);
    } else {
        settings.spool.directory = (sources.folder / settings.spool.directory).string();
    }
    if (const auto value = root.member("limits")) {
        read_limits(*value, settings, faults);
    }
    if (const auto value = root.member("smtp")) {
        read_smtp(*value, settings, faults);
    }
    if (const auto value = root.member("timeouts")) {
        read_timeouts(*value, settings, sources, faults);
    }
    if (const auto value = root.member("admin")) {
        read_admin(*value, settings, faults);
    }
    if (const auto value = root.member("log")) {
        read_log(*value, settings, faults);
    }
    root.finish();
}

std::string machine_name() {
    std::array<char, domain_bytes_max + 2> name{};
    if (gethostname(name.data(), name.size() - 1) == 0 && canonical_domain(name.data())) {
        return name.data();
    }
    return "localhost";
}

} // namespace ringmx::config
