// What the sink notes of one message as its octets pass: the Message-ID, and octets and CRC-32C
// from the line `Message-ID:` on.
//
// In:   the content in order and cut anywhere, unstuffed, with CRLF line ends.
// Out:  message_id() is what stands between the angle brackets of the first Message-ID field
//       (without them), or the field's trimmed value if there are none; folded lines belong to it;
//       octets that are no visible ASCII are '?', so that it is one word of one line.
//
// Why from that line on: whatever a gateway puts before it (Received) is not the sender's.
//
// Bounds: id_bytes_max of a field are kept.
// Cost:   one pass; a checksum only when asked for. Allocates while its text buffer grows.
// Thread: one.
// Errors: none; a message without the field has an empty message_id() and counts no octets.
// Source: RFC 5322, 2.2.3 (folding), 3.6.4.
#pragma once

#include "base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringmx::sink {

class MessageReader {
  public:
    static constexpr std::size_t id_bytes_max = 1024; // RFC 5322, 2.1.1: a line has at most 998

    explicit MessageReader(bool with_checksum) : with_checksum_(with_checksum) {}

    void reset();
    void feed(Bytes content);
    void finish(); // the message is whole: message_id() is set

    [[nodiscard]] std::string_view message_id() const { return message_id_; }
    [[nodiscard]] std::uint64_t octets() const { return octets_; } // from the field on
    [[nodiscard]] std::uint32_t checksum() const { return checksum_; }

  private:
    enum class State : std::uint8_t {
        name,      // at a line's start: is it "Message-ID:"?
        other,     // in some other line of the header
        value,     // in the field's value
        value_end, // behind a line end of it: does the next line go on?
        rest,      // behind the field
        absent,    // behind a header that has no such field
    };

    [[nodiscard]] bool is_counting() const {
        return state_ == State::value || state_ == State::value_end || state_ == State::rest;
    }
    std::size_t read_name(std::string_view text);
    std::size_t read_value(std::string_view text);
    void count(std::string_view text);

    std::string message_id_;
    std::uint64_t octets_ = 0;
    std::uint32_t checksum_ = 0;
    std::uint8_t matched_ = 0; // octets of the name
    State state_ = State::name;
    bool with_checksum_;
    char name_[11]{}; // as it was written: it counts, and may lie in earlier pieces
};

} // namespace ringmx::sink
