// What is in a spool's directory, without changing anything.
//
// Files stay open, so that messages can be read from them.
// Thread: one.
// Errors: read() with Error when the directory can't be read; what can't be read in it is listed.
#pragma once

#include "base/error.h"
#include "owned_descriptor.h"
#include "queue_reader.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringmx {

struct ListedFile {
    std::string name;
    std::uint64_t size_bytes = 0;
    bool is_stranger = false; // no segment by its name
    int error = 0;            // it can't be opened
    SegmentReport report;     // else
    OwnedDescriptor file;
};

struct ListedRun {
    std::uint32_t generation = 0;
    bool is_in_use = false;
    int error = 0; // its folder can't be read
    std::vector<ListedFile> files;
};

struct SpoolListing {
    bool is_in_use = false; // a gateway serves from it
    std::vector<ListedRun> runs;
    std::size_t aside_count = 0;
    AdoptedQueue queue;

    [[nodiscard]] static Expected<SpoolListing> read(const std::string& path);
    // Something is not as a run that ended, however it ended, leaves it.
    [[nodiscard]] bool is_damaged() const;
};

// Where the report differs from what a sound segment gives, in words; else empty.
[[nodiscard]] std::string fault_of(const ListedFile& file);

struct ListedMessage {
    spool::StoredMessage stored;
    std::string error; // then nothing else
};
// The live message's record, read anew, with the states that marks gave it since.
[[nodiscard]] ListedMessage read_message(const SpoolListing& listing,
                                         const spool::RecoveredMessage& message);

} // namespace ringmx
