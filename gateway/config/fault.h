// What is wrong with a config file, and how it is told: every fault at once, each on one line with
// its place.
//
//   ringmx.json: 2 faults, not started
//     /pools/main/backends/2/address: found "10.0.1.3", expected HOST:PORT, [V6]:PORT or unix:/path
//     /limits/mesage_size: unknown key, did you mean "message_size"?
//
// A file that can't be read at all is one line, as every other error of a program:
//
//   ringmx: ringmx.json: can't be read (No such file or directory), expected a readable JSON file
//
// Text from the file is echoed with control characters escaped and cut to echo_bytes_max, so a
// fault is always one line.
// Bounds: faults_kept_max faults are kept, the rest counted; a place is cut per token like any
//         echo.
// Thread: any; plain values.
// Source: RFC 6901 (JSON pointers: "~" and "/" in a key are "~0" and "~1").
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::config {

inline constexpr std::size_t faults_kept_max =
    10'000; // far past what anyone reads; bounds memory on a hostile file
inline constexpr std::size_t echo_bytes_max = 256;

struct Fault {
    std::string pointer; // empty: the file as a whole
    std::string text;    // what was found, what was expected, what may be meant

    bool operator==(const Fault&) const = default;
};

class Faults {
  public:
    void add(std::string pointer, std::string text);
    [[nodiscard]] bool empty() const { return list_.empty(); }
    [[nodiscard]] std::vector<Fault> take() &&;

  private:
    std::vector<Fault> list_;
    std::size_t dropped_count_ = 0;
};

// "FILE: N faults, OUTCOME" and one indented line per fault, each with its line end. A single fault
// of the file as a whole (it can't be read, it is no JSON) is one line: "PROGRAM: FILE: FAULT".
[[nodiscard]] std::string report(std::string_view file, const std::vector<Fault>& faults,
                                 std::string_view outcome = "not started",
                                 std::string_view program = "ringmx");

// In double quotes, escaped as base/escape.h does for JSON, cut with "..." when too long.
[[nodiscard]] std::string echoed(std::string_view text);
// The pointer of a member or of an element.
[[nodiscard]] std::string pointer_to(std::string_view parent, std::string_view key);
[[nodiscard]] std::string pointer_to(std::string_view parent, std::size_t index);

// The known word with the least edit distance (a swap of neighbours counts 1), when near enough to
// be meant; else the one that is an end or a beginning of the other, with the fewest letters apart;
// else empty.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       const std::vector<std::string_view>& known);
// "a", "b" or "c"
[[nodiscard]] std::string listed(const std::vector<std::string_view>& words);

} // namespace ringmx::config
