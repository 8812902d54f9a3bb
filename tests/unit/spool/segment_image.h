// A segment's octets, made by hand: for tests of who reads them.
#pragma once

#include "base/crc32c.h"
#include "spool/format.h"
#include "spool/scanner.h"
#include "spool/stored_message.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::spool {

class SegmentImage {
  public:
    static constexpr std::uint32_t in_doubt = 4; // of each record: itself and three before it

    SegmentImage(std::uint32_t generation, std::uint64_t life, std::uint16_t worker = 0,
                 std::uint64_t blocks = 64) {
        header_ = {.nonce = Nonce{static_cast<std::byte>(generation), static_cast<std::byte>(life),
                                  static_cast<std::byte>(worker)},
                   .generation = generation,
                   .worker = worker,
                   .life = life,
                   .size_bytes = blocks * block_bytes};
        octets.resize(header_.size_bytes);
        encode_segment_header(header_,
                              std::span<std::byte, block_bytes>(octets.data(), block_bytes));
    }

    void at_block(std::uint64_t block) { end_ = block * block_bytes; }
    // Where it stands.
    std::uint64_t add(RecordType type, std::uint64_t id, std::uint64_t sequence,
                      std::string_view body) {
        const std::uint64_t offset = end_;
        const auto bytes = static_cast<std::uint32_t>(record_header_bytes + body.size());
        encode_record_header(
            {.type = type,
             .record_bytes = bytes,
             .nonce = header_.nonce,
             .offset = offset,
             .sequence = sequence,
             .id = id,
             .in_doubt = in_doubt},
            crc32c(0, as_bytes(body)),
            std::span<std::byte, record_header_bytes>(&octets[offset], record_header_bytes));
        std::ranges::copy(as_bytes(body), octets.begin() + static_cast<std::ptrdiff_t>(
                                                               offset + record_header_bytes));
        end_ = round_up(offset + bytes, record_alignment);
        return offset;
    }
    std::uint64_t add_message(std::uint64_t id, std::uint64_t sequence,
                              std::uint32_t recipients = 1,
                              const std::vector<ChunkPlace>& chunks = {}) {
        StoredMessage message;
        message.accepted_at = WallTime(Duration(static_cast<std::int64_t>(id)));
        message.recipients.resize(recipients);
        message.chunks = chunks;
        return add_message(id, sequence, message);
    }
    std::uint64_t add_message(std::uint64_t id, std::uint64_t sequence,
                              const StoredMessage& message) {
        std::string body;
        append_message_body(body, message);
        return add(RecordType::message, id, sequence, body);
    }
    ChunkPlace add_chunk(std::uint64_t id, std::uint64_t sequence, std::string_view content) {
        const std::uint64_t offset = add(RecordType::chunk, id, sequence, content);
        return {header_.life, offset,
                static_cast<std::uint32_t>(record_header_bytes + content.size())};
    }
    void add_mark(std::uint64_t sequence, const Mark& mark) {
        std::string body;
        append_mark(body, mark);
        (void)add(RecordType::marks, 0, sequence, body);
    }
    [[nodiscard]] SegmentReader reader() const {
        return [this](std::uint64_t offset, std::span<std::byte> out) -> std::int64_t {
            const std::size_t count = std::min<std::size_t>(
                out.size(), octets.size() - std::min<std::size_t>(offset, octets.size()));
            std::copy_n(octets.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
            return static_cast<std::int64_t>(count);
        };
    }
    [[nodiscard]] const SegmentHeader& header() const { return header_; }
    [[nodiscard]] SegmentName name() const {
        return {header_.generation, header_.worker, header_.life};
    }

    std::vector<std::byte> octets;

  private:
    SegmentHeader header_;
    std::uint64_t end_ = block_bytes;
};

} // namespace ringmx::spool
