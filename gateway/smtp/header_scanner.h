// Looks at a message's header while it passes: how many Received fields it has, and whether the
// message starts with a blank.
//
// In:   content in the order it is given out (views and literals alike), cut anywhere, in the form
//       that is stated: in the dot-stuffed form a dot at a line's start is not part of the line.
// Out:  received_fields_count(), starts_with_space(). A field is counted as soon as its colon is
//       seen: "Received:" at a line's start in any case, blanks before the colon allowed (obsolete
//       syntax).
//
// The header ends at an empty line or at a line that can't be a field nor continue one; after that
// scan() costs a branch.
// State:  a few octets, however long a line is.
// Thread: one.
// Errors: none.
// Source: RFC 5322, 2.2, 3.6.7, 4.5 (blanks before the colon); RFC 5321, 6.3 (loop detection).
#pragma once

#include "base/bytes.h"
#include "smtp/content_form.h"

#include <cstdint>

namespace ringmx::smtp {

class HeaderScanner {
  public:
    explicit HeaderScanner(ContentForm form) : form_(form) {}

    void scan(Bytes content) {
        if (!header_ended()) {
            scan_header(content);
        }
    }

    [[nodiscard]] std::uint32_t received_fields_count() const { return received_fields_count_; }
    [[nodiscard]] bool starts_with_space() const { return starts_with_space_; } // SP or TAB
    [[nodiscard]] bool header_ended() const { return place_ == Place::body; }

  private:
    enum class Place : std::uint8_t {
        line_start,
        behind_dot,   // behind a stuffed dot
        empty_cr,     // CR at a line's start
        name,         // inside a field's name
        blanks,       // between name and colon
        rest_of_line, // of a field or of its continuation
        body,
    };

    void scan_header(Bytes content);
    Place take_line_start(std::uint8_t octet);
    Place take_name(std::uint8_t octet);
    Place take_blank(std::uint8_t octet);

    ContentForm form_;
    Place place_ = Place::line_start;
    std::uint8_t matched_ =
        0; // octets of "received" that the name has matched; no_match: another name
    bool at_start_ = true;
    bool starts_with_space_ = false;
    std::uint32_t received_fields_count_ = 0;
};

} // namespace ringmx::smtp
