// A segment file in the making: created, allocated, written through with zeros, durable.
//
//   create() ─▶ step() … ─▶ step() ─▶ is_written() ─▶ finish(): its descriptor
//                 (mail waits: no more of these)        ▲
//                                    └──────────────────┘
//
// Written through, because a write onto blocks that are merely allocated must change the file's
// metadata too: half the commits a second.
// Opened with O_DIRECT and O_DSYNC; where the file system has no O_DIRECT without it (is_buffered()).
// Thread: one at a time. Blocks.
// Errors: Error with the path; the file is deleted again, as by the destructor before finish().
// Source: open(2), fallocate(2); a file system without fallocate is written through in any case.
#pragma once

#include "base/error.h"
#include "owned_descriptor.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ringmx {

class NewSegment {
  public:
    // `folder` stays open meanwhile; the name must be free (EEXIST).
    [[nodiscard]] static Expected<NewSegment> create(int folder, const std::string& folder_path,
                                                     const std::string& name,
                                                     std::uint64_t size_bytes);
    NewSegment(NewSegment&&) noexcept = default;
    NewSegment& operator=(NewSegment&&) = delete;
    ~NewSegment();

    [[nodiscard]] Expected<void> step(); // writes some more
    [[nodiscard]] bool is_written() const { return written_bytes_ == size_bytes_; }
    // Allocated, so that it may be used before it is_written().
    [[nodiscard]] bool is_allocated() const { return is_allocated_; }
    [[nodiscard]] Expected<OwnedDescriptor> finish();
    [[nodiscard]] bool is_buffered() const { return is_buffered_; }
    [[nodiscard]] const std::string& name() const { return name_; }

  private:
    NewSegment(int folder, std::string path, std::string name, std::uint64_t size_bytes)
        : folder_(folder), path_(std::move(path)), name_(std::move(name)), size_bytes_(size_bytes) {
    }
    [[nodiscard]] int open();
    [[nodiscard]] Expected<void> write_some(std::size_t bytes);

    int folder_;
    std::string path_;
    std::string name_;
    std::uint64_t size_bytes_;
    std::uint64_t written_bytes_ = 0;
    bool is_allocated_ = false;
    bool is_buffered_ = false;
    OwnedDescriptor file_;
};

} // namespace ringmx
