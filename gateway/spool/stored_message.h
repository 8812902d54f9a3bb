// What the spool keeps of a message beside its content, and of what became of it; as record bodies.
//
// StoredMessage  the body of a `message` record, up to its content: envelope, trace field, the state
//                of each recipient, and where the content's chunks are, if it has any. A message
//                that was moved is stored again with the states of that time.
// Mark           an entry of a `marks` record: one recipient's (or the whole message's) change of
//                state. Marks name the segment that their message stood in, so that who forgets that
//                segment knows which marks nobody needs any more.
//
// Order: what changes the same recipient holds in order of (generation, sequence) of their records;
//        delivered and removed are final whatever comes.
// Thread: any.
// Errors: reading gives nothing for a body that does not fit together (it has a right CRC: a
//         newer program wrote it, or one with a fault).
#pragma once

#include "base/address.h"
#include "base/bytes.h"
#include "base/instant.h"
#include "base/messages/queue_messages.h"
#include "spool/format.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::spool {

// A segment's life among all that ever were in this spool.
struct SegmentName {
    std::uint32_t generation = 0;
    std::uint16_t worker = 0;
    std::uint64_t life = 0;

    auto operator<=>(const SegmentName&) const = default;
};

using ringmx::RecipientState;

struct StoredRecipient {
    std::string mailbox;
    RecipientState state = RecipientState::pending;
    std::uint8_t notify = 0;             // NOTIFY's bits, see smtp/envelope.h; 0: unstated
    std::string original_recipient = {}; // ORCPT as given
    std::string last_reply = {};         // of one that does not pend
};

struct ChunkPlace {
    std::uint64_t life = 0; // of the same generation and worker as the message record
    std::uint64_t offset = 0;
    std::uint32_t record_bytes = 0;

    bool operator==(const ChunkPlace&) const = default;
};

enum class StoredBody : std::uint8_t { unstated = 0, seven_bit = 1, eight_bit_mime = 2 };
enum class StoredReturn : std::uint8_t { unstated = 0, full = 1, headers = 2 };

struct StoredMessage {
    WallTime accepted_at{};
    // Accepted, or last released, by an operator or by its pool; or when the last one failed.
    WallTime expires_from{};
    std::uint64_t content_bytes = 0; // as stored
    std::uint64_t message_bytes = 0; // unstuffed, without the trace field
    bool is_stuffed = false;         // DATA's wire form without the terminator; else raw
    bool smtputf8 = false;
    bool is_on_hold = false;     // by an operator
    bool waits_for_pool = false; // that is on hold, or was when it was last tried
    bool is_esmtp = false;       // the client said EHLO
    StoredBody body = StoredBody::unstated;
    StoredReturn return_content = StoredReturn::unstated;
    // Of the client; backends may be chosen by it, and told.
    IpAddress client_ip{};
    std::uint16_t client_port = 0;
    std::string hello_name;
    std::string envelope_id; // ENVID as given
    std::string reverse_path;
    std::string trace_field; // put before the content
    std::vector<StoredRecipient> recipients;
    std::vector<ChunkPlace> chunks; // empty: the content follows in the same record

    // Ours, which nobody brought: what a client sends from <> is not.
    [[nodiscard]] bool is_report() const { return reverse_path.empty() && trace_field.empty(); }
};

void append_message_body(std::string& out, const StoredMessage& message);
// `content`, if given, is set to the inline content.
[[nodiscard]] std::optional<StoredMessage> read_message_body(Bytes body, Bytes* content = nullptr);
// Of a body that is not in one piece: `beginning` is its first octets, `body_bytes` how many it has
// in all. Nothing either when the beginning does not hold all but the content; `content_start` is
// where that begins.
[[nodiscard]] std::optional<StoredMessage>
read_message_head(Bytes beginning, std::uint64_t body_bytes, std::size_t& content_start);

enum class MarkKind : std::uint8_t {
    delivered = 1,
    failed = 2,
    removed = 3,
    hold = 4,      // the whole message; an operator's
    release = 5,   // the whole message: no hold, failed recipients pend again, its time starts anew
    pool_hold = 6, // the whole message: a pool that it waits for is on hold
    pool_release = 7, // the whole message: none is any more, its time starts anew
};

inline constexpr std::uint32_t every_recipient = UINT32_MAX;

struct Mark {
    MarkKind kind = MarkKind::delivered;
    std::uint64_t id = 0;
    std::uint32_t recipient = every_recipient; // an index
    SegmentName home = {};                     // where the message's record stood
    WallTime at{};
    std::string_view reply = {}; // of `failed`; at most 65,535 octets
};

// One body holds any number of marks one behind the other.
void append_mark(std::string& out, const Mark& mark);

class MarksReader {
  public:
    explicit MarksReader(Bytes body) : rest_(body) {}
    [[nodiscard]] std::optional<Mark> next(); // its reply points into the body
    // So far: of a kind that is not known here, and passed over, or cut.
    [[nodiscard]] std::uint64_t unreadable() const { return unreadable_; }

  private:
    Bytes rest_;
    std::uint64_t unreadable_ = 0;
};

} // namespace ringmx::spool
