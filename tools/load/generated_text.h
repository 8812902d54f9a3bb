// Text that looks like mail, and bodies of any size that are views of it.
//
// In:     a seed; the same one gives the same text. A body: its size and a random number.
// Out:    lines of 60 to 76 octets (and CRLF) of words, ASCII; one in 16 begins with a dot, one in
//         256 with two. A body is a stretch of the text, repeated from its beginning when it is
//         longer, that ends at the end of a line; its first line is cut so that the size is exact.
//         `stuffed` is the same body in the wire form of DATA, without terminator.
//
//         text   |line|line|li ne|line|line|line|
//         body              └─────────────┘       one piece unless it passes the text's ends
//
// Memory: 1 MiB in each of the two forms. Small bodies lie within window_bytes of each other, so
//         that they come from the processor's cache.
// Cost:   body() is O(size / text), and a search for how many dots lie before each end of it.
// Thread: one makes it, any read it.
// Errors: none.
// Source: RFC 5322, 2.1.1 (line length); RFC 5321, 4.5.2 (dots).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::load {

inline constexpr std::size_t text_bytes_min = 1024 * 1024;
inline constexpr std::size_t window_bytes = 64 * 1024;
inline constexpr std::size_t text_line_bytes_min = 60; // without CRLF
inline constexpr std::size_t text_line_bytes_max = 76;

class GeneratedText {
  public:
    explicit GeneratedText(std::uint64_t seed);

    // Appends the pieces; `bytes` is at least 2 (a CRLF).
    void body(std::uint64_t bytes, std::uint64_t random, std::vector<std::string_view>& raw,
              std::vector<std::string_view>& stuffed) const;
    // How many pieces a body of that size has at most.
    [[nodiscard]] static std::size_t pieces_max(std::uint64_t bytes);

  private:
    [[nodiscard]] bool can_start_at(std::size_t offset) const;
    [[nodiscard]] std::size_t line_end_behind(std::size_t offset) const;
    void add(std::size_t from, std::size_t to, std::vector<std::string_view>& raw,
             std::vector<std::string_view>& stuffed) const;

    std::string raw_;
    std::string stuffed_;
    std::vector<std::uint32_t> dots_; // offsets in raw_ of the dots that lines begin with
};

} // namespace ringmx::load
