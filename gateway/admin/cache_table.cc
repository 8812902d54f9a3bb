#include "admin/cache_table.h"

#include "admin/table_text.h"

namespace ringmx::admin {
namespace {

// Widths that hold what is usual: "unknown", "364d 23h".
std::string line_of(std::string_view result, std::string_view remaining, std::string_view worker,
                    std::string_view reply) {
    return fmt::format("{:<7}  {:>9}  {:>6}  {}\n", result, remaining, worker, reply);
}

} // namespace

std::string cache_heading() { return line_of("result", "remaining", "worker", "reply"); }

std::optional<ListPage> read_cache_page(std::string_view json) {
    return read_list_page(json, "answers", [](const simdjson::dom::element& answer) {
        return line_of(
            text_at(answer, "result"), elapsed_text(number_at(answer, "remaining_seconds")),
            fmt::to_string(count_at(answer, "worker")), or_dash(text_at(answer, "reply")));
    });
}

std::optional<std::uint64_t> read_purged(std::string_view json) {
    return read_count(json, "purged");
}

} // namespace ringmx::admin
