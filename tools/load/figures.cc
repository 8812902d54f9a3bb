#include "load/figures.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace ringmx::load {
namespace {

// Three digits of a value below 999.5, which is where they would become four.
std::string three_digits(double value) {
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return fmt::format("{:.{}f}", value, decimals);
}

std::string duration_text(Duration time) {
    return fmt::format("{} s", std::chrono::duration<double>(time).count());
}

std::string size_text(std::uint64_t octets) {
    constexpr std::uint64_t kibi = 1024;
    if (octets >= kibi * kibi && octets % (kibi * kibi) == 0) {
        return fmt::format("{} MiB", octets / (kibi * kibi));
    }
    if (octets >= kibi && octets % kibi == 0) {
        return fmt::format("{} KiB", octets / kibi);
    }
    return fmt::format("{} octets", octets);
}

std::string content_text(const Options& options) {
    if (!options.corpus.empty()) {
        return fmt::format("mails of {}", options.corpus);
    }
    if (options.size.least == options.size.most) {
        return size_text(options.size.least);
    }
    return fmt::format("{} to {}", size_text(options.size.least), size_text(options.size.most));
}

std::string load_text(const Options& options) {
    if (!options.rate.has_value()) {
        return "closed loop, as fast as answers come";
    }
    const Rate& rate = *options.rate;
    const std::string_view arrivals = options.arrivals == Arrivals::even ? "even" : "Poisson";
    if (rate.ramp == Duration{0}) {
        return fmt::format("open loop, {}/s, {} arrivals", rate.to_per_second, arrivals);
    }
    return fmt::format("open loop, {}/s to {}/s within {}, {} arrivals", rate.from_per_second,
                       rate.to_per_second, duration_text(rate.ramp), arrivals);
}

std::string end_text(const Options& options) {
    if (options.messages != 0 && options.duration != Duration{0}) {
        return fmt::format("after {} messages or {}", count_text(options.messages),
                           duration_text(options.duration));
    }
    if (options.messages != 0) {
        return fmt::format("after {} messages", count_text(options.messages));
    }
    if (options.duration != Duration{0}) {
        return fmt::format("after {}", duration_text(options.duration));
    }
    return "when stopped";
}

std::string protocol_text(const Options& options) {
    std::string text = options.lmtp ? "LMTP, " : "SMTP, ";
    text += options.chunking ? "BDAT" : "DATA";
    if (options.pipelining) {
        text += ", pipelining";
    }
    return text;
}

std::string_view hostility_text(Hostility hostility) {
    switch (hostility) {
    case Hostility::none:
        return "";
    case Hostility::drip:
        return "drip: message data comes a few octets at a time";
    case Hostility::abort:
        return "abort: connections end in the middle of message data";
    case Hostility::never_read:
        return "never read: replies stay unread";
    case Hostility::reconnect:
        return "reconnect: connections end as soon as they are made";
    }
    return "";
}

std::string sources_text(const std::vector<Network>& sources) {
    std::string text;
    for (const Network& source : sources) {
        text += (text.empty() ? "" : ", ") + source.text();
    }
    return text;
}

} // namespace

std::string time_text(double microseconds) {
    if (microseconds < 999.5) {
        return fmt::format("{:.0f} µs", microseconds);
    }
    if (microseconds < 999.5e3) {
        return three_digits(microseconds / 1e3) + " ms";
    }
    return three_digits(microseconds / 1e6) + " s";
}

std::string count_text(std::uint64_t count) {
    std::string text = fmt::format("{}", count);
    for (std::size_t place = text.size(); place > 3;) {
        place -= 3;
        text.insert(place, 1, ',');
    }
    return text;
}

std::string decimal_text(double value) {
    return value < 999.5 ? three_digits(value)
                         : count_text(static_cast<std::uint64_t>(std::llround(value)));
}

std::string share_text(std::uint64_t part, std::uint64_t whole) {
    if (part == 0 || whole == 0) {
        return "0%";
    }
    if (part == whole) {
        return "100%";
    }
    const double percent = 100 * static_cast<double>(part) / static_cast<double>(whole);
    if (percent < 0.001) {
        return "<0.001%";
    }
    if (percent > 99.999) {
        return ">99.999%";
    }
    return fmt::format("{:.{}f}%", percent, percent < 1 || percent > 99 ? 3 : 1);
}

std::vector<std::pair<std::string, std::string>> settings_of(const Options& options) {
    std::vector<std::pair<std::string, std::string>> settings;
    const auto add = [&](std::string name, std::string value) {
        settings.emplace_back(std::move(name), std::move(value));
    };
    add("target", options.to_text);
    add("load", load_text(options));
    add("connections", count_text(options.connections));
    add("ends", end_text(options));
    add("message", content_text(options));
    if (options.recipients.least != options.recipients.most) {
        add("recipients",
            fmt::format("{} to {}", options.recipients.least, options.recipients.most));
    } else {
        add("recipients", fmt::format("{}", options.recipients.least));
    }
    add("protocol", protocol_text(options));
    if (options.messages_per_connection != 0) {
        add("messages per connection", count_text(options.messages_per_connection));
    }
    add("workers", fmt::format("{}", options.workers));
    if (!options.sources.empty()) {
        add("sources", sources_text(options.sources));
    }
    if (options.proxy != ProxyVersion::none) {
        add("PROXY",
            fmt::format("{}, clients of {}", options.proxy == ProxyVersion::v1 ? "v1" : "v2",
                        options.proxy_clients.text()));
    }
    if (options.hostility != Hostility::none) {
        add("hostile", std::string(hostility_text(options.hostility)));
    }
    if (options.hostility == Hostility::drip) {
        add("drip", fmt::format("{} each {}", size_text(options.drip_octets),
                                duration_text(options.drip_pause)));
    }
    add("seed", fmt::format("{}", options.seed));
    return settings;
}

std::string generator_limit_of(const Result& result, const Options& options) {
    if (!result.is_generator_limited(options)) {
        return "";
    }
    std::string text;
    if (result.late != 0) {
        text = fmt::format("{} messages ({}) were sent late though a connection was idle. ",
                           count_text(result.late), share_text(result.late, result.sent));
    }
    text += fmt::format("The busiest worker was at work {:.0f}% of the time. ",
                        100 * result.busiest_share);
    text += "These figures are this program's or this machine's, not the server's. Give it more "
            "--workers and idle CPUs, a lower --rate, or a machine of its own.";
    return text;
}

std::vector<std::pair<std::string, std::uint64_t>> failures_of(const Result& result) {
    std::vector<std::pair<std::string, std::uint64_t>> failures(result.failures.begin(),
                                                                result.failures.end());
    std::ranges::sort(failures, [](const auto& one, const auto& other) {
        return one.second != other.second ? one.second > other.second : one.first < other.first;
    });
    return failures;
}

} // namespace ringmx::load
