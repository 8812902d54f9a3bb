// Where in the file things stood and what was written there, for checks and warnings that need
// several sections.
//
// Plain values, alive while one file is being read. The vectors run parallel to Settings' own.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ringmx::config {

struct RouteSource {
    std::size_t index = 0;           // in the file's array
    std::optional<std::string> pool; // nullopt: absent or faulty, and told
    std::string recipients_file;     // as written
};

struct Sources {
    std::filesystem::path folder;
    std::vector<std::size_t>
        listener_indices; // in the file's array; empty when `listeners` is absent
    std::vector<RouteSource> routes;
    bool pools_are_read =
        false; // false: `pools` is absent or no object, so nothing can be said of names
    bool end_of_data_is_given = false;
};

} // namespace ringmx::config
