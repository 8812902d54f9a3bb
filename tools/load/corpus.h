// Real mails of a folder, made ready to be sent behind a Message-ID field of ours.
//
// In:     every regular file of the folder (links are followed; not the folders in it), in the
//         order of their names' octets.
// Out:    its octets as they are, except: each line end (LF, CRLF, any number of CR before an LF,
//         a CR without LF) is CRLF; the last line has one; the name of each Message-ID field in
//         the header is X-Original-Message-ID; a mail that begins with a blank, which would
//         continue the field that is put before it, has an empty line first. The raw form and that
//         of DATA (stuffed, without terminator), which share memory if no line begins with a dot.
// Memory: the corpus, twice for mails with a dot at a line's start.
// Thread: one makes it, any read it.
// Errors: read() says which file, or that the folder has none.
// Source: RFC 5321, 2.3.8 and 4.5.2; RFC 5322, 3.6.4 and 4.5 (blanks before the colon).
#pragma once

#include "base/error.h"

#include <string>
#include <string_view>
#include <vector>

namespace ringmx::load {

class CorpusMail {
  public:
    explicit CorpusMail(std::string_view file);

    [[nodiscard]] std::string_view raw() const { return raw_; }
    [[nodiscard]] std::string_view stuffed() const { return stuffed_.empty() ? raw_ : stuffed_; }

  private:
    std::string raw_;
    std::string stuffed_; // empty: as raw_
};

[[nodiscard]] Expected<std::vector<CorpusMail>> read_corpus(const std::string& folder);

} // namespace ringmx::load
