// Keeps each acknowledged message as a pair of files: NAME.eml, its content octet for octet, and
// NAME.envelope, a JSON object.
//
//   store.begin()  ─▶  Draft  ── append(octets) … ──▶  store.keep(draft, envelope)
//                        └── dropped: its file goes away
//
// NAME is WORKER-SEQUENCE, zero-padded, in the order of keep(); the sequence goes on behind what
// the folder holds already. A reader never sees half a file: both are written under a name that
// starts with a dot and renamed, the envelope first. Nothing is synced: it is a test tool's folder,
// not a spool.
//
// Cost:   blocking file writes in the worker's turn.
// Thread: one store each.
// Errors: with operation, errno and path.
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "smtp/envelope.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ringmx::sink {

struct StoredEnvelope {
    std::string mail_from;
    std::vector<std::string> rcpt_to;
    std::string hello;
    bool lmtp = false;
    bool chunking = false;
    bool smtputf8 = false;
    smtp::BodyType body = smtp::BodyType::unstated;

    [[nodiscard]] std::string json() const; // one line; text that is no UTF-8 is escaped
};

class MessageStore {
  public:
    // A file under way; removed with it unless it was kept.
    class Draft {
      public:
        Draft() = default;
        Draft(Draft&& other) noexcept;
        Draft& operator=(Draft&& other) noexcept;
        ~Draft();

        void append(Bytes octets); // a failure shows in keep()
        [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }

      private:
        friend class MessageStore;
        void write_gathered();

        std::string path_;
        std::string gathered_;
        int descriptor_ = -1;
        int error_ = 0;
    };

    // Makes the folder if it is not there.
    [[nodiscard]] static Expected<MessageStore> open(const std::string& folder, unsigned worker);

    [[nodiscard]] Expected<Draft> begin();
    // On success the files are there under their name, which it gives.
    [[nodiscard]] Expected<std::string> keep(Draft draft, const StoredEnvelope& envelope);

  private:
    std::string folder_;
    unsigned worker_ = 0;
    std::uint64_t drafts_total_ = 0;
    std::uint64_t next_ = 1;
};

} // namespace ringmx::sink
