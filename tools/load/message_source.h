// The messages of a run: header and content of each, from its number alone.
//
//   Message-ID: <RUN.SEQUENCE@ringmx-load>       always first (RUN names this run)
//   From, To, Subject, Date, an empty line        generated messages only; Date is that of open()
//   text lines up to the size asked for           or a mail of the corpus, from its first line on
//
// Sizes are of the whole message, header included, spread so that each doubling between least and
// most is as likely (log-uniform), and exact: open() refuses those that leave no room for the header
// of the longest number (sequence_max) and a line end. A message always ends in CRLF.
// Corpus: every regular file of a folder (not of folders in it), in the order of their names, again
//   and again; line ends become CRLF, a Message-ID of its own becomes X-Original-Message-ID.
//
// Out:    views of memory that the source owns (the body: as long as the source lives) or that the
//         Message owns (the header). The wire form of DATA (stuffed) and of BDAT (raw).
// Memory: 1 MiB of text, or the corpus in both forms. After warm-up make() allocates nothing.
// Thread: one.
// Errors: open() says which file of the corpus can't be used and why, or which size is the least.
// Source: RFC 5322, 3.6.4; RFC 5321, 4.5.2.
#pragma once

#include "base/error.h"
#include "load/options.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::load {

// Past it a header may take more than the size: ten million a second get there in a day.
inline constexpr std::uint64_t sequence_max = 999'999'999'999;

struct Message {
    std::string id; // RUN.SEQUENCE@ringmx-load
    std::string header;
    std::vector<std::string_view> raw; // behind the header, in order
    std::vector<std::string_view> stuffed;
    std::uint64_t octets = 0;     // header and raw
    std::uint32_t checksum = 0;   // CRC-32C of them, when asked for
    std::uint32_t recipients = 1; // how many
};

class MessageSource {
  public:
    // `run`: a word of letters and digits, different in each run. `with_checksum`: for --record.
    [[nodiscard]] static Expected<std::unique_ptr<MessageSource>>
    open(const Options& options, std::string_view run, bool with_checksum);
    ~MessageSource();
    MessageSource(const MessageSource&) = delete;
    MessageSource& operator=(const MessageSource&) = delete;

    // `message` is made anew; its memory is reused.
    void make(std::uint64_t sequence, Message& message);
    // The address of recipient `number` (from 0) of a message: "SEQUENCE-NUMBER" for each '%' of
    // the pattern. Valid until the next call.
    [[nodiscard]] std::string_view recipient(std::uint64_t sequence, std::uint32_t number);

  private:
    struct State;
    explicit MessageSource(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace ringmx::load
