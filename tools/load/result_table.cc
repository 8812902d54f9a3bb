#include "base/escape.h"
#include "load/figures.h"

#include <fmt/format.h>
#include <iterator>

namespace ringmx::load {
namespace {

constexpr std::size_t columns_max = 80;    // a terminal's
constexpr std::size_t failures_shown = 10; // the rest is in the JSON

// Words of `text`, broken before columns_max; each further line begins with `indent` blanks.
void append_wrapped(std::string& out, std::string_view text, std::size_t indent) {
    std::size_t column = 0;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(' '));
        if (column != 0 && column + 1 + word.size() > columns_max) {
            out += '\n';
            out.append(indent, ' ');
            column = indent;
        } else if (column != 0) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
        text.remove_prefix(std::min(word.size() + 1, text.size()));
    }
    out += '\n';
}

void append_settings(std::string& out, const Options& options) {
    std::string line;
    for (const auto& [name, value] : settings_of(options)) {
        if (name == "target") {
            append_log_text(line, value);
            line += ':';
            continue;
        }
        line += line.back() == ':' ? " " : "; ";
        if (name != "load") { // says so itself
            line += name;
            line += ' ';
        }
        append_log_text(line, value);
    }
    append_wrapped(out, line, 2);
}

void append_counts(std::string& out, const Result& result) {
    const auto row = [&](std::string_view name, std::uint64_t count, std::string_view note) {
        fmt::format_to(std::back_inserter(out), "{:<14}{:>14}{}{}\n", name, count_text(count),
                       note.empty() ? "" : "   ", note);
    };
    const auto share = [&](std::uint64_t count) { return share_text(count, result.sent); };
    fmt::format_to(std::back_inserter(out), "{:<14}{:>14} s\n", "duration",
                   fmt::format("{:.3f}", result.elapsed_seconds()));
    row("sent", result.sent, "");
    row("  accepted", result.accepted, share(result.accepted));
    row("  tempfailed", result.tempfailed, share(result.tempfailed));
    row("  rejected", result.rejected, share(result.rejected));
    row("  errors", result.errors,
        result.lost == 0 ? share(result.errors)
                         : fmt::format("{}   lost {} (answer never came)", share(result.errors),
                                       count_text(result.lost)));
    if (result.late != 0) {
        row("late", result.late, share(result.late) + " sent after they were due");
    }
    if (result.recipients_refused != 0) {
        row("refused", result.recipients_refused, "recipients");
    }
    row("connections", result.connections, "");
    fmt::format_to(std::back_inserter(out), "{:<14}{:>14} messages/s accepted\n", "rate",
                   decimal_text(result.messages_per_second()));
    fmt::format_to(std::back_inserter(out), "{:<14}{:>14} MB/s\n", "throughput",
                   decimal_text(result.octets_per_second() / 1e6));
}

void append_latencies(std::string& out, const Result& result) {
    fmt::format_to(std::back_inserter(out), "\n{:<14}", "latency");
    for (const QuantileColumn& column : quantile_columns) {
        fmt::format_to(std::back_inserter(out), "{:>10}", column.name);
    }
    out += '\n';
    for (std::size_t index = 0; index < parts_count; ++index) {
        const Latency& latency = result.parts[index];
        if (latency.count() == 0) {
            continue;
        }
        fmt::format_to(std::back_inserter(out), "  {:<12}", part_names[index]);
        for (const QuantileColumn& column : quantile_columns) {
            fmt::format_to(std::back_inserter(out), "{:>10}",
                           time_text(static_cast<double>(latency.at(column.quantile))));
        }
        out += '\n';
    }
}

void append_failures(std::string& out, const Result& result) {
    const auto failures = failures_of(result);
    out += "\nfailures\n";
    for (std::size_t index = 0; index < std::min(failures.size(), failures_shown); ++index) {
        std::string kind;
        append_log_text(kind, failures[index].first);
        constexpr std::size_t kind_columns = columns_max - 16;
        if (kind.size() > kind_columns) {
            std::size_t end = kind_columns - 3;
            while ((static_cast<unsigned char>(kind[end]) & 0xc0U) == 0x80) { // inside a character
                --end;
            }
            kind.resize(end);
            kind += "...";
        }
        fmt::format_to(std::back_inserter(out), "{:>14}  {}\n", count_text(failures[index].second),
                       kind);
    }
    if (failures.size() > failures_shown) {
        fmt::format_to(std::back_inserter(out), "{:>14}  and {} more kinds\n", "",
                       failures.size() - failures_shown);
    }
}

} // namespace

std::string table_of(const Result& result, const Options& options) {
    std::string out;
    append_settings(out, options);
    out += '\n';
    append_counts(out, result);
    bool has_latency = false;
    for (const Latency& latency : result.parts) {
        has_latency = has_latency || latency.count() != 0;
    }
    if (has_latency) {
        append_latencies(out, result);
    }
    if (!result.failures.empty()) {
        append_failures(out, result);
    }
    if (const std::string limit = generator_limit_of(result, options); !limit.empty()) {
        out += '\n';
        append_wrapped(out, "THE GENERATOR WAS THE LIMIT: " + limit, 0);
    }
    return out;
}

} // namespace ringmx::load
