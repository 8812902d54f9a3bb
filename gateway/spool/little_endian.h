// Little-endian numbers in octets, at a cursor.
//
// Writer: appends to a string. Reader: takes from a span; past its end it gives zeros and is not
//         ok() from then on, so that a record is checked once, at its end.
// Thread: one.
// Errors: Reader::ok().
#pragma once

#include "base/bytes.h"

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace ringmx::spool {

template <std::unsigned_integral Number>
[[nodiscard]] constexpr Number little_endian(Number number) {
    if constexpr (std::endian::native == std::endian::big) {
        Number swapped = 0;
        for (std::size_t index = 0; index < sizeof number; ++index) {
            swapped = static_cast<Number>(swapped << 8U | (number >> (8 * index) & 0xFFU));
        }
        return swapped;
    }
    return number;
}

template <std::unsigned_integral Number> void store(std::byte* place, Number number) {
    const Number stored = little_endian(number);
    std::memcpy(place, &stored, sizeof stored);
}

template <std::unsigned_integral Number> [[nodiscard]] Number load(const std::byte* place) {
    Number stored = 0;
    std::memcpy(&stored, place, sizeof stored);
    return little_endian(stored);
}

// All at once: growing the text costs more than the numbers do.
template <std::unsigned_integral... Numbers>
void append_numbers(std::string& out, Numbers... numbers) {
    std::array<std::byte, (sizeof numbers + ...)> stored; // NOLINT: all of it is set
    std::byte* place = stored.data();
    ((store(place, numbers), place += sizeof numbers), ...);
    out += as_text(stored);
}

class Reader {
  public:
    explicit Reader(Bytes octets) : rest_(octets) {}

    template <std::unsigned_integral Number> [[nodiscard]] Number number() {
        if (rest_.size() < sizeof(Number)) {
            fail();
            return 0;
        }
        const Number value = load<Number>(rest_.data());
        rest_ = rest_.subspan(sizeof(Number));
        return value;
    }
    [[nodiscard]] std::string_view text(std::size_t bytes) {
        if (rest_.size() < bytes) {
            fail();
            return {};
        }
        const std::string_view taken = as_text(rest_.first(bytes));
        rest_ = rest_.subspan(bytes);
        return taken;
    }
    [[nodiscard]] Bytes rest() const { return rest_; }
    [[nodiscard]] bool ok() const { return ok_; }

  private:
    void fail() {
        ok_ = false;
        rest_ = {};
    }
    Bytes rest_;
    bool ok_ = true;
};

} // namespace ringmx::spool
