// A condition that makes a run fail: --fail-if 'p99>50ms', 'lost>0', 'rate<1000'.
//
// Grammar: METRIC ('>' | '>=' | '<' | '<=') VALUE, blanks allowed around the comparison. METRIC is
//   p50 p90 p99 p99.9 p99.99 max mean   of the whole message's latency (VALUE: a time, as in
//                                       base/units.h, or in microseconds: 500us), or of a part:
//                                       connect.p99, greeting., hello., envelope., end_of_data.
//   rate                                accepted messages a second (VALUE: 1000, 0.5, 1000/1s)
//   accepted tempfailed rejected errors lost late   numbers of messages (lost: sent, and nobody
//                                       knows what became of it: its connection ended before the
//                                       answer; late: the generator could not send it when due)
// Thread: any.
// Errors: parse() says what is wrong, for the command line.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::load {

enum class Part : std::uint8_t { connect, greeting, hello, envelope, end_of_data, message, count_ };

struct Threshold {
    enum class Metric : std::uint8_t {
        quantile, // of `part`, at `quantile` (1: max)
        mean,
        rate,
        accepted,
        tempfailed,
        rejected,
        errors,
        lost,
        late
    };
    enum class Comparison : std::uint8_t { above, at_least, below, at_most };

    std::string text; // as given
    Metric metric = Metric::quantile;
    Part part = Part::message;
    double quantile = 0;
    Comparison comparison = Comparison::above;
    double value = 0; // microseconds, messages, or messages a second

    [[nodiscard]] static std::expected<Threshold, std::string> parse(std::string_view text);
    [[nodiscard]] bool is_met_by(double measured) const; // then the run fails
};

// A rate as this command line takes it: "1000" and "0.5" are a second's, "30/1m" is a half.
[[nodiscard]] std::optional<double> parse_per_second(std::string_view text);

} // namespace ringmx::load
