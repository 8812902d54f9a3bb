// What is where in the spool's directory, and what it is called.
//
//   DIRECTORY/lock                 held by the gateway that serves from it
//            /00000012/            a run (generation), decimal; its number is in the ids of its mail
//                     /lock        held while the run goes on, or by who adopts it
//                     /w0003-000017.seg   a segment: of worker 3, the 17th file that it was given
//            /aside/               what was no segment of ours, or a damaged one; never deleted
//
// Numbers of runs only rise, and the newest folder stays even when it is empty: so none is used
// twice. Whatever else is in DIRECTORY is left alone.
// Thread: any.
// Errors: Error with operation, errno and the path.
#pragma once

#include "base/error.h"
#include "owned_descriptor.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx {

inline constexpr const char* lock_name = "lock";
inline constexpr const char* aside_name = "aside";
// What a run's number has in the ids of messages.
inline constexpr unsigned generation_bits = 20;
inline constexpr std::uint32_t generation_max = (1U << generation_bits) - 1;

[[nodiscard]] std::string run_name(std::uint32_t generation);
[[nodiscard]] std::optional<std::uint32_t> parse_run_name(std::string_view name);
[[nodiscard]] std::string segment_name(std::uint32_t worker, std::uint32_t number);
[[nodiscard]] bool is_segment_name(std::string_view name);

// What the system says of an errno.
[[nodiscard]] std::string words_of(int error);

// What is in a folder, sorted, without "." and "..".
[[nodiscard]] Expected<std::vector<std::string>> names_in(int folder, const std::string& path);
// The runs that have a folder, oldest first.
[[nodiscard]] Expected<std::vector<std::uint32_t>> runs_in(int directory, const std::string& path);

// What the files of runs before `generation` take. An error: it can't be seen now.
[[nodiscard]] Expected<std::uint64_t> bytes_of_runs_before(std::uint32_t generation, int directory);

// Opens a folder that is there; `path` is for the error. Within a folder links are not followed.
[[nodiscard]] Expected<OwnedDescriptor> open_folder(int parent, const char* name,
                                                    const std::string& path);
// The same; made if it is missing, and that made durable.
[[nodiscard]] Expected<OwnedDescriptor> make_folder(int parent, const char* name,
                                                    const std::string& path);
// Opens (and makes) the lock file in a folder, and takes it: EWOULDBLOCK when somebody has it for
// longer than a second. (`spool inspect` has it for an instant, and a process that was killed until its
// last operation on a file is over.) Blocks that long.
[[nodiscard]] Expected<OwnedDescriptor> take_lock(int folder, const std::string& path);

// Whether a file may be there: what can't be seen is.
[[nodiscard]] bool may_be_in(int folder, const std::string& name);

// Moves a file of a run to aside/, durably; the path where it is now.
[[nodiscard]] Expected<std::string> set_aside(int directory, const std::string& path,
                                              std::uint32_t generation, const std::string& name);

} // namespace ringmx
