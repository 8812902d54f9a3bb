// One object of the config file, read key by key: what is wrong becomes a Fault, what is absent
// keeps its default.
//
//   ObjectReader limits(faults, "/limits", element);
//   limits.size("message_size", settings.message_size_bytes, 1, 1ULL << 40U);
//   limits.finish(); // keys that nobody asked for are unknown, keys that come twice are faults
//
// Every key that is asked for is a known key, from which finish() takes its suggestions; so ask for
// all, then finish. When the element is no object, one fault says so and everything reads as
// absent.
// Thread: one. `faults` and the parser behind the element outlive the reader.
#pragma once

#include "base/settings/settings.h"
#include "config/fault.h"

#include <simdjson.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::config {

// A word of a setting that is one of several; those that are not built yet are known, and refused.
template <typename E> struct Choice {
    std::string_view word;
    E value;
    bool is_built = true;
};

enum class Zero : std::uint8_t { is_off, is_out_of_range };

inline constexpr Duration duration_min = 100ms; // of whatever a gateway waits for

class ObjectReader {
  public:
    ObjectReader(Faults& faults, std::string pointer, simdjson::dom::element element);

    [[nodiscard]] bool is_object() const { return object_.has_value(); }
    [[nodiscard]] const std::string& pointer() const { return pointer_; }
    [[nodiscard]] std::string pointer(std::string_view key) const {
        return pointer_to(pointer_, key);
    }

    // The member, if it is there; the key is known from now on.
    [[nodiscard]] std::optional<simdjson::dom::element> member(std::string_view key);
    // The same, and a fault when it is absent.
    [[nodiscard]] std::optional<simdjson::dom::element> required(std::string_view key,
                                                                 std::string_view expected);
    [[nodiscard]] std::optional<simdjson::dom::array> array(std::string_view key,
                                                            std::string_view expected);
    // Nullopt with a fault when it is there and no string.
    [[nodiscard]] std::optional<std::string_view> text(std::string_view key,
                                                       std::string_view expected);

    void boolean(std::string_view key, bool& into);
    void number(std::string_view key, double& into, double minimum, double maximum);
    template <typename T> void integer(std::string_view key, T& into, T minimum, T maximum) {
        if (const auto value = whole_number(key, minimum, maximum)) {
            into = static_cast<T>(*value);
        }
    }
    void duration(std::string_view key, Duration& into, Zero zero = Zero::is_out_of_range,
                  Duration minimum = duration_min);
    void size(std::string_view key, std::uint64_t& into, std::uint64_t minimum,
              std::uint64_t maximum);
    void rate(std::string_view key, Rate& into);
    void networks(std::string_view key, std::vector<Network>& into);
    // Resolved against the folder; "" is none.
    void file(std::string_view key, std::string& into, const std::filesystem::path& folder);
    // A string without control characters.
    void line(std::string_view key, std::string& into, std::size_t bytes_max, bool may_be_empty);
    template <typename E, std::size_t choices_count>
    void choice(std::string_view key, E& into, const Choice<E> (&choices)[choices_count]);

    void fault(std::string_view key, std::string text) {
        faults_.add(pointer(key), std::move(text));
    }
    void finish();

  private:
    std::optional<std::uint64_t> whole_number(std::string_view key, std::uint64_t minimum,
                                              std::uint64_t maximum);

    Faults& faults_;
    std::string pointer_;
    std::optional<simdjson::dom::object> object_;
    std::vector<std::string_view> known_;
};

// What stands in the file, short: a scalar as it is, `an object`, `an array`.
[[nodiscard]] std::string described(simdjson::dom::element element);
// `found X, expected Y`
[[nodiscard]] std::string mismatch(simdjson::dom::element element, std::string_view expected);
// `expected "a"` or `expected one of "a", "b"`
[[nodiscard]] std::string one_of(const std::vector<std::string_view>& words);

template <typename E, std::size_t choices_count>
void ObjectReader::choice(std::string_view key, E& into,
                          const Choice<E> (&choices)[choices_count]) {
    std::vector<std::string_view> built;
    for (const auto& choice : choices) {
        if (choice.is_built) {
            built.push_back(choice.word);
        }
    }
    const auto found = member(key);
    if (!found) {
        return;
    }
    std::string_view word;
    if (found->get(word) == simdjson::SUCCESS) {
        for (const auto& choice : choices) {
            if (choice.word != word) {
                continue;
            }
            into = choice.value;
            if (!choice.is_built) {
                fault(key, echoed(word) + " is not built yet: expected " + one_of(built));
            }
            return;
        }
    }
    fault(key, mismatch(*found, one_of(built)));
}

} // namespace ringmx::config
