#include "config/object_reader.h"

#include "base/units.h"
#include "config/large_numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>

namespace ringmx::config {

namespace {

using simdjson::SUCCESS;
using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::string_view expected_network =
    "a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", without host bits";

bool is_one_line(std::string_view text) {
    return std::none_of(text.begin(), text.end(),
                        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// A count of octets as a size reads best: 52428800 is "50MiB".
std::string size_text(std::uint64_t bytes) {
    constexpr std::string_view units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    std::size_t unit = 0;
    while (bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < std::size(units)) {
        bytes /= 1024;
        ++unit;
    }
    return fmt::format("{}{}", bytes, units[unit]);
}

// JSON knows only numbers: 40.0 is 40.
std::optional<std::uint64_t> as_whole_number(element value) {
    constexpr double exact_max = 9007199254740992.0; // 2^53: doubles beyond it skip whole numbers
    std::uint64_t whole = 0;
    double real = 0;
    if (value.get(whole) == SUCCESS) {
        return whole;
    }
    if (value.get(real) == SUCCESS && real >= 0 && real <= exact_max && real == std::floor(real)) {
        return static_cast<std::uint64_t>(real);
    }
    return std::nullopt;
}

std::string described(double value) {
    if (std::abs(value) >= blunt_number) {
        return value < 0 ? "a number that is too small" : "a number that is too large";
    }
    return fmt::format("{}", value);
}

} // namespace

ObjectReader::ObjectReader(Faults& faults, std::string pointer, element value)
    : faults_(faults), pointer_(std::move(pointer)) {
    object found;
    if (value.get(found) == SUCCESS) {
        object_ = found;
    } else {
        faults_.add(pointer_, mismatch(value, "an object"));
    }
}

std::optional<element> ObjectReader::member(std::string_view key) {
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        known_.push_back(key);
    }
    if (object_) {
        for (const auto& [name, value] : *object_) {
            if (name == key) {
                return value;
            }
        }
    }
    return std::nullopt;
}

std::optional<element> ObjectReader::required(std::string_view key, std::string_view expected) {
    const auto found = member(key);
    if (!found && object_) {
        fault(key, fmt::format("missing, expected {}", expected));
    }
    return found;
}

std::optional<array> ObjectReader::array(std::string_view key, std::string_view expected) {
    const auto found = member(key);
    simdjson::dom::array elements;
    if (!found) {
        return std::nullopt;
    }
    if (found->get(elements) != SUCCESS) {
        fault(key, mismatch(*found, expected));
        return std::nullopt;
    }
    return elements;
}

std::optional<std::string_view> ObjectReader::text(std::string_view key,
                                                   std::string_view expected) {
    const auto found = member(key);
    std::string_view value;
    if (!found) {
        return std::nullopt;
    }
    if (found->get(value) != SUCCESS) {
        fault(key, mismatch(*found, expected));
        return std::nullopt;
    }
    return value;
}

void ObjectReader::boolean(std::string_view key, bool& into) {
    const auto found = member(key);
    if (found && found->get(into) != SUCCESS) {
        fault(key, mismatch(*found, "true or false"));
    }
}

void ObjectReader::number(std::string_view key, double& into, double minimum, double maximum) {
    const auto found = member(key);
    double value = 0;
    if (!found) {
        return;
    }
    if (found->get(value) == SUCCESS && value >= minimum && value <= maximum) {
        into = value;
        return;
    }
    fault(key, mismatch(*found, fmt::format("a number from {} to {}", minimum, maximum)));
}

std::optional<std::uint64_t> ObjectReader::whole_number(std::string_view key, std::uint64_t minimum,
                                                        std::uint64_t maximum) {
    const auto found = member(key);
    if (!found) {
        return std::nullopt;
    }
    const auto value = as_whole_number(*found);
    if (value && *value >= minimum && *value <= maximum) {
        return value;
    }
    fault(key, mismatch(*found, fmt::format("a whole number from {} to {}", minimum, maximum)));
    return std::nullopt;
}

void ObjectReader::duration(std::string_view key, Duration& into, Zero zero, Duration minimum) {
    const auto found = member(key);
    std::string_view text;
    if (!found) {
        return;
    }
    if (found->get(text) == SUCCESS) {
        const auto value = parse_duration(text);
        const bool is_off = value == Duration{0} && zero == Zero::is_off;
        if (value && (is_off || *value >= minimum)) {
            into = *value;
            return;
        }
    }
    fault(key, mismatch(*found,
                        fmt::format("a duration from \"{}ms\" to \"{}d\" (units ms, s, m, h, d){}",
                                    minimum / 1ms, duration_days_max,
                                    zero == Zero::is_off ? ", or \"0\" for off" : "")));
}

void ObjectReader::size(std::string_view key, std::uint64_t& into, std::uint64_t minimum,
                        std::uint64_t maximum) {
    const auto found = member(key);
    std::string_view text;
    if (!found) {
        return;
    }
    const auto value = found->get(text) == SUCCESS ? parse_size(text) : as_whole_number(*found);
    if (value && *value >= minimum && *value <= maximum) {
        into = *value;
        return;
    }
    fault(key,
          mismatch(*found,
                   fmt::format("a size from \"{}\" to \"{}\" (units KiB, MiB, GiB, TiB, or octets)",
                               size_text(minimum), size_text(maximum))));
}

void ObjectReader::rate(std::string_view key, Rate& into) {
    const auto found = member(key);
    std::string_view text;
    if (!found) {
        return;
    }
    if (found->get(text) == SUCCESS) {
        const auto value = parse_rate(text);
        if (value && (value->count == 0 || value->period >= duration_min)) {
            into = *value;
            return;
        }
    }
    fault(key,
          mismatch(
              *found,
              "a rate such as \"100/1s\" or \"2000/1m\", or \"0\" for none (periods from 100ms)"));
}

void ObjectReader::networks(std::string_view key, std::vector<Network>& into) {
    const auto elements = array(key, "an array of networks");
    if (!elements) {
        return;
    }
    into.clear();
    std::size_t index = 0;
    for (const element value : *elements) {
        std::string_view text;
        const auto network = value.get(text) == SUCCESS ? Network::parse(text) : std::nullopt;
        if (network) {
            into.push_back(*network);
        } else {
            faults_.add(pointer_to(pointer(key), index), mismatch(value, expected_network));
        }
        ++index;
    }
}

void ObjectReader::file(std::string_view key, std::string& into,
                        const std::filesystem::path& folder) {
    const auto found = member(key);
    std::string_view text;
    if (!found) {
        return;
    }
    if (found->get(text) != SUCCESS || text.find('\0') != std::string_view::npos) {
        fault(key, mismatch(*found, "a file's path"));
        return;
    }
    into = text.empty() ? std::string() : (folder / text).lexically_normal().string();
}

void ObjectReader::line(std::string_view key, std::string& into, std::size_t bytes_max,
                        bool may_be_empty) {
    const auto found = member(key);
    std::string_view text;
    if (!found) {
        return;
    }
    const bool is_text = found->get(text) == SUCCESS;
    if (is_text && text.size() <= bytes_max && is_one_line(text) &&
        (may_be_empty || !text.empty())) {
        into = text;
        return;
    }
    fault(key,
          mismatch(*found, fmt::format("a string of {} to {} octets without control characters",
                                       may_be_empty ? 0 : 1, bytes_max)));
}

void ObjectReader::finish() {
    if (!object_) {
        return;
    }
    std::unordered_map<std::string_view, int> seen;
    for (const auto& [name, value] : *object_) {
        const int times = ++seen[name];
        const bool is_known = std::find(known_.begin(), known_.end(), name) != known_.end();
        if (times == 2) {
            fault(name, "comes twice, expected once");
        }
        if (is_known || times > 1) {
            continue;
        }
        const std::string_view meant = nearest(name, known_);
        fault(name, meant.empty() ? "unknown key, expected " + one_of(known_)
                                  : "unknown key, did you mean " + echoed(meant) + "?");
    }
}

std::string described(element value) {
    switch (value.type()) {
    case simdjson::dom::element_type::ARRAY:
        return "an array";
    case simdjson::dom::element_type::OBJECT:
        return "an object";
    case simdjson::dom::element_type::STRING:
        return echoed(value.get_string().value_unsafe());
    case simdjson::dom::element_type::INT64:
        return fmt::format("{}", value.get_int64().value_unsafe());
    case simdjson::dom::element_type::UINT64:
        return fmt::format("{}", value.get_uint64().value_unsafe());
    case simdjson::dom::element_type::DOUBLE:
        return described(value.get_double().value_unsafe());
    case simdjson::dom::element_type::BOOL:
        return value.get_bool().value_unsafe() ? "true" : "false";
    case simdjson::dom::element_type::NULL_VALUE:
        return "null";
    default: // simdjson 4 adds a kind of number that does not fit
        return "a number that is too large";
    }
}

std::string mismatch(element value, std::string_view expected) {
    return fmt::format("found {}, expected {}", described(value), expected);
}

std::string one_of(const std::vector<std::string_view>& words) {
    std::string out = words.size() == 1 ? "" : "one of ";
    for (std::size_t index = 0; index < words.size(); ++index) {
        out += (index == 0 ? "" : ", ") + echoed(words[index]);
    }
    return out;
}

} // namespace ringmx::config
