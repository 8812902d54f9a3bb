// A page of a list from the API, as a program reads and people see it.
//
// Thread: any.
#pragma once

#include <string>
#include <vector>

namespace ringmx::admin {

struct ListPage {
    std::vector<std::string> entries; // each one's object, as it came
    std::string lines;                // a line for each
    std::string cursor;               // empty: this was the last page
    bool is_complete = true;          // else what earlier runs left was still being read
};

} // namespace ringmx::admin
