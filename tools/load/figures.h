// Figures and settings of a run in words, for the table, the page and the progress line.
//
//   time_text      3 digits with their unit: "875 µs", "1.25 ms", "20.0 s"
//   count_text     "1,234,567"
//   decimal_text   three digits or more: "0.25", "12.3", "4,999"
//   share_text     "12.5%", of nothing "0%"; what is not 0 does not look like it
//   settings_of    what was asked for, as pairs of name and value; defaults of no interest left out
//
// The same figures stand in each report: part_names are those of the table's rows, part_keys those
// of JSON, quantile_columns the columns of both.
//
// Thread: any.
// Errors: none. Text that came from the command line or the network is not escaped here.
#pragma once

#include "load/options.h"
#include "load/result.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx::load {

[[nodiscard]] std::string time_text(double microseconds);
[[nodiscard]] std::string count_text(std::uint64_t count);
[[nodiscard]] std::string decimal_text(double value);
[[nodiscard]] std::string share_text(std::uint64_t part, std::uint64_t whole);
[[nodiscard]] std::vector<std::pair<std::string, std::string>> settings_of(const Options& options);

// Why the generator was the limit and what helps, as sentences; empty when it was not.
[[nodiscard]] std::string generator_limit_of(const Result& result, const Options& options);

// Most frequent first; by name where they are equal.
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> failures_of(const Result& result);

inline constexpr std::size_t parts_count = static_cast<std::size_t>(Part::count_);
inline constexpr std::array<std::string_view, parts_count> part_names{
    "connect", "greeting", "hello", "envelope", "end of data", "message"};
inline constexpr std::array<std::string_view, parts_count> part_keys{
    "connect_us", "greeting_us", "hello_us", "envelope_us", "end_of_data_us", "latency_us"};

struct QuantileColumn {
    std::string_view name;
    std::string_view key;
    double quantile;
};
inline constexpr std::array<QuantileColumn, 6> quantile_columns{{{"p50", "p50", 0.5},
                                                                 {"p90", "p90", 0.9},
                                                                 {"p99", "p99", 0.99},
                                                                 {"p99.9", "p99_9", 0.999},
                                                                 {"p99.99", "p99_99", 0.9999},
                                                                 {"max", "max", 1}}};

} // namespace ringmx::load
