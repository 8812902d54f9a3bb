// A record of messages, by ringmx-sink of what it acknowledged, by ringmx-load of what it sent: a line
// for each, "MESSAGE-ID OCTETS CRC32C-hex", and one more word where the message was not
// acknowledged.
//
// Lines are gathered and written whole by one write(2) to a file opened with O_APPEND, so that
// several workers (each with its own RecordFile) share one file without cutting each other's lines.
// Bound:  gathered_bytes_max, then it writes by itself.
// Thread: one.
// Errors: opening says why; a write that fails is told once by flush(), and what could not be
//         written is dropped.
#pragma once

#include "base/error.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace ringmx {

// What stands for the id of a message that has none: no sender's record has it.
inline constexpr std::string_view no_message_id = "-";

class RecordFile {
  public:
    static constexpr std::size_t gathered_bytes_max = 256 * 1024;

    RecordFile() = default; // keeps nothing
    RecordFile(RecordFile&& other) noexcept;
    RecordFile& operator=(RecordFile&& other) noexcept;
    ~RecordFile();

    [[nodiscard]] static Expected<RecordFile> open(const std::string& path);

    [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }
    [[nodiscard]] bool has_unwritten() const { return !gathered_.empty(); }
    void add(std::string_view message_id, std::uint64_t octets, std::uint32_t checksum,
             bool is_acknowledged = true);
    [[nodiscard]] Expected<void> flush();

  private:
    std::string path_;
    std::string gathered_;
    int descriptor_ = -1;
    int error_ = 0; // of a write that add() made
};

// Writes all of it; a short write goes on.
[[nodiscard]] bool write_whole(int descriptor, std::string_view octets);

} // namespace ringmx
