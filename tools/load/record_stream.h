// Reads a record of messages (see record/record_file.h) line by line.
//
//   MESSAGE-ID OCTETS CRC32C-hex [unacknowledged]      single blanks, LF at the end
//
// Out:    Records; the Message-ID is a view that is valid until the next call. It may be empty: a
//         sink records so what had none.
// A last line without an end counts when it is whole: a checksum of all its eight digits, or the
// word behind it. Else it is no record, and is_torn() says that there was one.
// Bounds: read_bytes_max of memory, which is also the longest line.
// Thread: one.
// Errors: one line, without a line end: what the system said, or file, line number and what is
//         wrong there.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <sys/stat.h>

namespace ringmx::load {

struct Record {
    std::string_view id;
    std::uint64_t octets = 0;
    std::uint32_t checksum = 0;
    bool is_acknowledged = true;
};

class RecordStream {
  public:
    static constexpr std::size_t read_bytes_max = 64 * 1024;

    explicit RecordStream(std::string path);
    ~RecordStream();
    RecordStream(const RecordStream&) = delete;
    RecordStream& operator=(const RecordStream&) = delete;

    [[nodiscard]] std::expected<void, std::string> open();
    // False: the end was reached.
    [[nodiscard]] std::expected<bool, std::string> next(Record& record);

    [[nodiscard]] bool is_torn() const { return is_torn_; } // known at the end
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] bool is_ordinary() const { return S_ISREG(status_.st_mode); }
    // False for pipes and devices: what is read from them is each time another thing.
    [[nodiscard]] bool is_same_file(const RecordStream& other) const;
    // "FILE:LINE: what", of the line that next() gave.
    [[nodiscard]] std::string at_line(std::string_view what) const;

  private:
    // What is left when the file has ended: a record, or torn.
    bool take_rest(Record& record);
    // More octets behind those that are held; false at the end.
    std::expected<bool, std::string> fill();

    std::string path_;
    struct stat status_{};
    int descriptor_ = -1;
    bool is_torn_ = false;
    std::uint64_t line_number_ = 0;
    std::string text_; // allocated by the first next(), freed at the end
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

} // namespace ringmx::load
