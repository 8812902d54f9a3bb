// The recipients of one transaction whose answers wait: for verification, or for one before them that
// does. RCPT commands are answered in their order.
//
// Bounds: the session's, on recipients without an answer; counted with the worker's envelopes.
// Thread: one worker's.
// Errors: none.
#pragma once

#include "smtp/envelope.h"
#include "smtp/reply.h"
#include "worker/transaction.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::worker {

// A recipient that a route takes. `mailbox`: what the backend is told; `key`: its canonical form.
struct RoutedRecipient {
    std::string_view mailbox;
    smtp::RecipientParameters parameters;
    std::uint32_t pool_index = 0;
    std::string_view key;
};

class AwaitedRecipients {
  public:
    struct Recipient {
        std::uint64_t ticket = 0; // of Verification; 0: it is decided
        std::string mailbox;
        std::string key;
        std::string original_recipient;
        std::uint32_t pool_index = 0;
        std::uint8_t notify = 0;
        smtp::OwnedReply reply;   // of a refusal; code 0: it is taken
        RecipientRefusal refusal; // but for the reply

        [[nodiscard]] RoutedRecipient routed() const {
            return {mailbox, {notify, original_recipient}, pool_index, key};
        }
        [[nodiscard]] RecipientRefusal why() const {
            RecipientRefusal made = refusal;
            made.reply = reply.view();
            return made;
        }
        [[nodiscard]] std::ptrdiff_t bytes() const {
            return static_cast<std::ptrdiff_t>(sizeof(Recipient) + mailbox.size() + key.size() +
                                               original_recipient.size());
        }
    };

    [[nodiscard]] bool empty() const { return recipients_.empty(); }
    [[nodiscard]] std::ptrdiff_t bytes() const { return bytes_; }
    void add(const RoutedRecipient& recipient, std::uint64_t ticket);
    void add_refused(std::string_view mailbox, const RecipientRefusal& refusal);
    // Null: nobody waits with that ticket any more.
    [[nodiscard]] Recipient* find(std::uint64_t ticket);
    // The first one, if it is decided; it is not among them any more.
    [[nodiscard]] std::optional<Recipient> take_decided();

  private:
    std::deque<Recipient> recipients_;
    std::ptrdiff_t bytes_ = 0;
};

} // namespace ringmx::worker
