#include "worker/awaited_recipients.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

void AwaitedRecipients::add(const RoutedRecipient& recipient, std::uint64_t ticket) {
    Recipient& added = recipients_.emplace_back();
    added.ticket = ticket;
    added.mailbox = recipient.mailbox;
    added.key = recipient.key;
    added.original_recipient = recipient.parameters.original_recipient;
    added.notify = recipient.parameters.notify;
    added.pool_index = recipient.pool_index;
    bytes_ += added.bytes();
}

void AwaitedRecipients::add_refused(std::string_view mailbox, const RecipientRefusal& refusal) {
    Recipient& added = recipients_.emplace_back();
    added.mailbox = mailbox;
    added.reply = smtp::OwnedReply(refusal.reply);
    added.refusal = refusal;
    bytes_ += added.bytes();
}

AwaitedRecipients::Recipient* AwaitedRecipients::find(std::uint64_t ticket) {
    const auto found = std::ranges::find(recipients_, ticket, &Recipient::ticket);
    return found == recipients_.end() ? nullptr : &*found;
}

std::optional<AwaitedRecipients::Recipient> AwaitedRecipients::take_decided() {
    if (recipients_.empty() || recipients_.front().ticket != 0) {
        return std::nullopt;
    }
    Recipient first = std::move(recipients_.front());
    recipients_.pop_front();
    bytes_ -= first.bytes();
    return first;
}

} // namespace ringmx::worker
