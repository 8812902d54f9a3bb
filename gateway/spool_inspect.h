// `ringmx spool inspect`: what is in a spool's directory, for people and scripts. Changes nothing, so
// it may be used on a copy, and beside a gateway that serves (then what is being written just now
// may look torn, and is not judged).
//
// Out:    a table, or one JSON object; one line on stderr when DIRECTORY can't be read.
// Exit:   0; 1 when damage was found; 2 when there is no such directory.
// Memory: as QueueReader, and one message at a time.
// Thread: the only one.
#pragma once

#include <cstdio>
#include <string>

namespace ringmx {

[[nodiscard]] int inspect_spool(const std::string& directory, bool as_json, std::FILE* out,
                                std::FILE* errors);

} // namespace ringmx
