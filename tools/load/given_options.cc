#include "load/given_options.h"

#include "base/escape.h"
#include "base/units.h"
#include "load/target.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fmt/format.h>
#include <initializer_list>
#include <limits>
#include <string_view>
#include <utility>

namespace ringmx::load {
namespace {

constexpr std::uint64_t size_max = 1ULL << 40U;   // more than any server takes
constexpr std::uint32_t recipients_max = 100'000; // a hundred times what servers promise
constexpr double per_second_max = 10'000'000;     // more than schedules in nanoseconds keep apart
constexpr std::size_t address_bytes_max = 512;    // RFC 5321, 4.5.3.1.4: longer commands end
constexpr Duration duration_by_default = 10s;
constexpr std::string_view proxy_clients_by_default = "10.0.0.0/8";

std::string escaped(std::string_view text) {
    std::string out;
    append_log_text(out, text);
    return out;
}

struct Range {
    std::string_view least;
    std::string_view most;
    bool is_range = false;
};

Range split_range(std::string_view text) {
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) {
        return {text, text, false};
    }
    return {text.substr(0, dash), text.substr(dash + 1), true};
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t value = 0;
    const char* const last = text.data() + text.size();
    const auto [end, status] = std::from_chars(text.data(), last, value);
    if (text.empty() || status != std::errc{} || end != last) {
        return std::nullopt;
    }
    return value;
}

// What may stand between the angle brackets of a command and not end it.
bool is_address(std::string_view text) {
    return !text.empty() && text.size() <= address_bytes_max &&
           std::ranges::none_of(text, [](char octet) {
               const auto code = static_cast<unsigned char>(octet);
               return code < ' ' || code == 0x7F || octet == '<' || octet == '>';
           });
}

bool is_word(std::string_view text) {
    return is_address(text) && text.find(' ') == std::string_view::npos;
}

// Takes what is given for what it means. The first fault is kept; what follows it may be taken for
// anything.
class Reading {
  public:
    explicit Reading(const GivenOptions& given) : given_(given) {}
    [[nodiscard]] std::expected<Options, std::string> read();

  private:
    using Text = GivenOptions::Text;

    void refuse(std::string_view option, std::string_view what) {
        if (fault_.empty()) {
            fault_ = fmt::format("{}: {}", option, what);
        }
    }
    void refuse(std::string_view option, std::string_view found, std::string_view expected) {
        refuse(option, fmt::format("found '{}', expected {}", escaped(found), expected));
    }
    template <typename Number>
    void number(std::string_view option, const Text& text, Number& value, std::uint64_t least,
                std::uint64_t most = std::numeric_limits<Number>::max());
    void time(std::string_view option, const Text& text, Duration& value);
    void network(std::string_view option, const std::string& text, Network& value);
    void path(std::string_view option, const Text& text, std::string& value);
    template <typename Kind>
    void kind(std::string_view option, const Text& text, Kind& value,
              std::initializer_list<std::pair<std::string_view, Kind>> kinds);

    void read_target();
    void read_bounds();
    void read_rate();
    void read_size();
    void read_recipients();
    void read_names();
    void read_sources();
    void read_proxy();
    void read_hostility();
    void read_drip(const std::string& text);
    void read_results();

    const GivenOptions& given_;
    Options options_;
    std::string fault_;
};

template <typename Number>
void Reading::number(std::string_view option, const Text& text, Number& value, std::uint64_t least,
                     std::uint64_t most) {
    if (!text) {
        return;
    }
    const std::optional<std::uint64_t> parsed = parse_number(*text);
    if (parsed && *parsed >= least && *parsed <= most) {
        value = static_cast<Number>(*parsed);
        return;
    }
    refuse(option, *text,
           most == std::numeric_limits<std::uint64_t>::max()
               ? fmt::format("a whole number from {} on", least)
               : fmt::format("a whole number from {} to {}", least, most));
}

void Reading::time(std::string_view option, const Text& text, Duration& value) {
    if (!text) {
        return;
    }
    const std::optional<Duration> parsed = parse_duration(*text);
    if (!parsed || *parsed == Duration{0}) {
        refuse(option, *text, "a time over 0 such as 250ms, 30s or 5m");
        return;
    }
    value = *parsed;
}

void Reading::network(std::string_view option, const std::string& text, Network& value) {
    const std::optional<Network> parsed = Network::parse(text);
    if (!parsed) {
        refuse(option, text,
               "an IP address or a network such as 10.0.0.0/8, without bits behind its prefix");
        return;
    }
    value = *parsed;
}

void Reading::path(std::string_view option, const Text& text, std::string& value) {
    if (text && text->empty()) {
        refuse(option, *text, "a path");
    }
    value = text.value_or("");
}

template <typename Kind>
void Reading::kind(std::string_view option, const Text& text, Kind& value,
                   std::initializer_list<std::pair<std::string_view, Kind>> kinds) {
    if (!text) {
        return;
    }
    std::string names;
    for (const auto& [name, meaning] : kinds) {
        if (*text == name) {
            value = meaning;
            return;
        }
        names += fmt::format("{}{}", names.empty() ? "" : " or ", name);
    }
    refuse(option, *text, names);
}

std::expected<Options, std::string> Reading::read() {
    if (given_.tls) {
        refuse("--tls",
               fmt::format("found '{}', TLS is not built yet; leave it out", escaped(*given_.tls)));
    }
    // Where to last: only a command line that is right otherwise asks the resolver.
    read_bounds();
    read_rate();
    read_size();
    read_recipients();
    read_names();
    read_proxy();
    read_hostility();
    read_results();
    options_.pipelining = given_.pipelining;
    options_.chunking = given_.chunking;
    options_.lmtp = given_.lmtp;
    number("--seed", given_.seed, options_.seed, 0);
    if (fault_.empty()) {
        read_target();
    }
    if (fault_.empty()) {
        read_sources();
    }
    if (!fault_.empty()) {
        return std::unexpected(std::move(fault_));
    }
    return std::move(options_);
}

void Reading::read_target() {
    if (!given_.to) {
        refuse("--to", "is missing: give the server's HOST:PORT, [V6]:PORT or unix:/path");
        return;
    }
    const std::expected<SocketAddress, std::string> target = find_target(*given_.to);
    if (!target) {
        refuse("--to", target.error());
        return;
    }
    options_.to_text = *given_.to;
    options_.to = *target;
}

void Reading::read_bounds() {
    number("--connections", given_.connections, options_.connections, 1, connections_max);
    number("--workers", given_.workers, options_.workers, 1, workers_max);
    // One without a connection would have nothing to do, and a share of the rate.
    options_.workers = std::min<unsigned>(options_.workers, options_.connections);
    number("--messages", given_.messages, options_.messages, 1);
    number("--messages-per-connection", given_.messages_per_connection,
           options_.messages_per_connection, 1);
    time("--duration", given_.duration, options_.duration);
    time("--timeout", given_.timeout, options_.timeout);
    if (!given_.messages && !given_.duration) {
        options_.duration = duration_by_default;
    }
}

void Reading::read_rate() {
    if (!given_.rate) {
        if (given_.ramp) {
            refuse("--ramp", *given_.ramp, "--rate A-B with it");
        }
        if (given_.arrivals) {
            refuse("--arrivals", *given_.arrivals, "--rate with it");
        }
        return;
    }
    const Range range = split_range(*given_.rate);
    const std::optional<double> from = parse_per_second(range.least);
    const std::optional<double> to = parse_per_second(range.most);
    const auto is_rate = [](const std::optional<double>& rate) {
        return rate && *rate > 0 && *rate <= per_second_max;
    };
    if (!is_rate(from) || !is_rate(to)) {
        refuse("--rate", *given_.rate,
               fmt::format("messages a second over 0 up to {} such as 50 or 50/1s, or a range of "
                           "them such as 100-5000",
                           per_second_max));
        return;
    }
    Rate rate{.from_per_second = *from, .to_per_second = *to};
    if (range.is_range && !given_.ramp) {
        refuse("--rate", *given_.rate, "--ramp T with a range, the time that it takes");
    }
    if (!range.is_range && given_.ramp) {
        refuse("--ramp", *given_.ramp,
               fmt::format("a range with it such as --rate 1-{}", escaped(*given_.rate)));
    }
    time("--ramp", given_.ramp, rate.ramp);
    options_.rate = rate;
    kind<Arrivals>("--arrivals", given_.arrivals, options_.arrivals,
                   {{"poisson", Arrivals::poisson}, {"even", Arrivals::even}});
}

void Reading::read_size() {
    if (given_.corpus && given_.size) {
        refuse("--size", *given_.size, "no --corpus with it: its files have sizes; leave out one");
    }
    if (given_.size) {
        const Range range = split_range(*given_.size);
        const std::optional<std::uint64_t> least = parse_size(range.least);
        const std::optional<std::uint64_t> most = parse_size(range.most);
        if (!least || !most || *least == 0 || *least > *most || *most > size_max) {
            refuse("--size", *given_.size,
                   "a size from 1 to 1TiB such as 4KiB, or a range with the smaller first such as "
                   "1KiB-1MiB");
            return;
        }
        options_.size = {*least, *most};
    }
    path("--corpus", given_.corpus, options_.corpus);
    if (!given_.corpus) {
        return;
    }
    std::error_code error;
    std::filesystem::directory_iterator entries(options_.corpus, error);
    bool has_files = false;
    while (!error && !has_files && entries != std::filesystem::directory_iterator()) {
        std::error_code unknown; // of a link that leads nowhere, for one: no file then
        has_files = entries->is_regular_file(unknown);
        entries.increment(error);
    }
    if (error) {
        refuse("--corpus", *given_.corpus,
               fmt::format("a folder that can be read ({})", error.message()));
    } else if (!has_files) {
        refuse("--corpus", *given_.corpus, "a folder with mails in it, a file each");
    }
}

void Reading::read_recipients() {
    if (!given_.recipients) {
        return;
    }
    const Range range = split_range(*given_.recipients);
    const std::optional<std::uint64_t> least = parse_number(range.least);
    const std::optional<std::uint64_t> most = parse_number(range.most);
    if (!least || !most || *least == 0 || *least > *most || *most > recipients_max) {
        refuse("--recipients", *given_.recipients,
               fmt::format("a whole number from 1 to {}, or a range with the smaller first such "
                           "as 1-20",
                           recipients_max));
        return;
    }
    options_.recipients = {static_cast<std::uint32_t>(*least), static_cast<std::uint32_t>(*most)};
}

void Reading::read_names() {
    if (given_.from) {
        options_.from = *given_.from == "<>" ? "" : *given_.from;
        if (!options_.from.empty() && !is_address(options_.from)) {
            refuse("--from", *given_.from, "an address without angle brackets, or <>");
        }
    }
    if (given_.recipient) {
        options_.recipient = *given_.recipient;
        if (!is_address(options_.recipient)) {
            refuse("--rcpt", *given_.recipient,
                   "an address without angle brackets such as user%@example.com");
        }
    }
    if (given_.hello) {
        options_.hello = *given_.hello;
        if (!is_word(options_.hello)) {
            refuse("--hello", *given_.hello, "a name without blanks such as mx.example.com");
        }
    }
}

// After the target, whose family they must have.
void Reading::read_sources() {
    for (const std::string& text : given_.sources) {
        Network& source = options_.sources.emplace_back();
        network("--source", text, source);
        if (options_.to.is_unix) {
            refuse("--source", text, "a --to with an IP address; leave it out for unix:/path");
        } else if (source.base.is_v4() != options_.to.ip.is_v4()) {
            refuse("--source", text,
                   fmt::format("{} addresses as that of --to ({})",
                               options_.to.ip.is_v4() ? "IPv4" : "IPv6", options_.to.text()));
        }
    }
}

void Reading::read_proxy() {
    kind<ProxyVersion>("--proxy", given_.proxy, options_.proxy,
                       {{"v1", ProxyVersion::v1}, {"v2", ProxyVersion::v2}});
    if (given_.proxy_clients && !given_.proxy) {
        refuse("--proxy-clients", *given_.proxy_clients, "--proxy v1 or --proxy v2 with it");
    }
    network("--proxy-clients", given_.proxy_clients.value_or(std::string(proxy_clients_by_default)),
            options_.proxy_clients);
}

void Reading::read_hostility() {
    if (given_.drip && given_.hostile) {
        refuse("--hostile", *given_.hostile, "no --drip with it; leave out one of them");
    }
    kind<Hostility>("--hostile", given_.hostile, options_.hostility,
                    {{"abort", Hostility::abort},
                     {"never-read", Hostility::never_read},
                     {"reconnect", Hostility::reconnect}});
    if (given_.drip) {
        read_drip(*given_.drip);
    }
}

void Reading::read_drip(const std::string& text) {
    const std::size_t slash = text.find('/');
    const std::optional<std::uint64_t> octets = parse_size(std::string_view(text).substr(0, slash));
    const std::optional<Duration> pause =
        slash == std::string::npos ? std::nullopt
                                   : parse_duration(std::string_view(text).substr(slash + 1));
    if (!octets || *octets == 0 || *octets > std::numeric_limits<std::uint32_t>::max() || !pause ||
        *pause == Duration{0}) {
        refuse("--drip", text, "octets and the time between, over 0, such as 10/1s");
        return;
    }
    options_.hostility = Hostility::drip;
    options_.drip_octets = static_cast<std::uint32_t>(*octets);
    options_.drip_pause = *pause;
}

void Reading::read_results() {
    path("--json", given_.json, options_.json);
    path("--html", given_.html, options_.html);
    path("--record", given_.record, options_.record);
    const std::pair<const Text&, const Text&> pairs[] = {
        {given_.json, given_.html}, {given_.json, given_.record}, {given_.html, given_.record}};
    for (const auto& [one, other] : pairs) {
        if (one && one == other && !one->starts_with("/dev/")) {
            refuse("--json, --html, --record", *one, "another file for each");
        }
    }
    for (const std::string& text : given_.fail_if) {
        std::expected<Threshold, std::string> threshold = Threshold::parse(text);
        if (threshold) {
            options_.fail_if.push_back(std::move(*threshold));
        } else {
            refuse("--fail-if", escaped(threshold.error()));
        }
    }
}

} // namespace

std::expected<Options, std::string> options_of(const GivenOptions& given) {
    return Reading(given).read();
}

} // namespace ringmx::load
