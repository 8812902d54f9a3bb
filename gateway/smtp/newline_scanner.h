// Judges the newlines of content that needs no end to be found: BDAT chunks.
//
// In:     consecutive spans, cut anywhere; a CRLF cut in two, even by the end of a chunk, is not
//         bare.
// Out:    how many CRs and LFs are known to be bare; finish() says that the content is over, so
//         that a CR that came last is bare too.
// Cost:   O(input), AVX2 at run time; scan_plain is the definition. No allocation.
// Thread: one.
// Errors: none.
// Source: RFC 5321, 2.3.8; RFC 3030, 2.
#pragma once

#include "base/bytes.h"

#include <cstdint>

namespace ringmx::smtp {

class NewlineScanner {
  public:
    void scan(Bytes span);
    void finish(); // at the end of the last chunk

    [[nodiscard]] std::uint64_t bare_cr_count() const { return bare_cr_count_; }
    [[nodiscard]] std::uint64_t bare_lf_count() const { return bare_lf_count_; }
    [[nodiscard]] bool has_bare_newline() const { return (bare_cr_count_ | bare_lf_count_) != 0; }
    void reset() { *this = NewlineScanner(); }

    void scan_plain(Bytes span);
    void scan_fast(Bytes span); // plain on machines without AVX2

  private:
    bool behind_cr_ = false;
    std::uint64_t bare_cr_count_ = 0;
    std::uint64_t bare_lf_count_ = 0;
};

} // namespace ringmx::smtp
