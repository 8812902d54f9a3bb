#include "observe/log_line.h"

#include "base/assert.h"
#include "base/escape.h"
#include "base/put.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace ringmx::observe {
namespace {

template <typename... Values>
void put_format(fmt::memory_buffer& out, fmt::format_string<Values...> format, Values&&... values) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Values>(values)...);
}

struct CivilTime {
    std::int64_t year;
    unsigned month;
    unsigned day;
    std::int64_t second_of_day;
    std::int64_t microsecond;
};

CivilTime civil(WallTime time) {
    const auto since = time.time_since_epoch();
    const auto days = std::chrono::floor<std::chrono::days>(since);
    const std::chrono::year_month_day date{std::chrono::sys_days(days)};
    const auto within = std::chrono::floor<std::chrono::microseconds>(since - days).count();
    return {static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
            static_cast<unsigned>(date.day()), within / 1'000'000, within % 1'000'000};
}

std::string_view level_name(LogLevel level) {
    switch (level) {
    case LogLevel::debug:
        return "debug";
    case LogLevel::info:
        return "info";
    case LogLevel::warning:
        return "warning";
    case LogLevel::error:
        return "error";
    }
    RINGMX_ASSERT_STATE(false, "level %u", static_cast<unsigned>(level));
    return {};
}

class JsonLine {
  public:
    JsonLine(fmt::memory_buffer& out, const LogRecord& record) : out_(out), record_(record) {}

    void append(std::int64_t pid);

  private:
    void text(std::string_view key, LogField field) {
        if (record_.has(field)) {
            put_format(out_, ",\"{}\":\"", key);
            append_json_text(out_, record_.text(field));
            put(out_, record_.is_cut(field) ? "...\"" : "\"");
        }
    }
    void number(std::string_view key, std::uint64_t value) {
        if (value != LogRecord::no_number) {
            put_format(out_, ",\"{}\":{}", key, value);
        }
    }
    void reply();
    void more_recipients(); // how many there were is in "recipients"

    fmt::memory_buffer& out_;
    const LogRecord& record_;
};

void JsonLine::reply() {
    const LogReply reply = record_.reply();
    if (reply.code == 0) {
        return;
    }
    put_format(out_, ",\"reply_code\":{}", reply.code);
    if (reply.enhanced_class != 0) {
        put_format(out_, ",\"reply_enhanced\":\"{}.{}.{}\"", reply.enhanced_class,
                   reply.enhanced_subject, reply.enhanced_detail);
    }
    text("reply", LogField::reply_text);
}

void JsonLine::more_recipients() {
    std::string_view rest = record_.text(LogField::more_recipients);
    std::string_view before = ",\"more_recipients\":[\"";
    for (; !rest.empty(); before = ",\"") {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        put(out_, before);
        append_json_text(out_, rest.substr(0, end));
        put(out_, "\"");
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (before == ",\"") {
        put(out_, "]");
    }
}

void JsonLine::append(std::int64_t pid) {
    const CivilTime time = civil(record_.time());
    put_format(out_, "{{\"time\":\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z\"", time.year,
               time.month, time.day, time.second_of_day / 3600, time.second_of_day / 60 % 60,
               time.second_of_day % 60, time.microsecond);
    put_format(out_, ",\"level\":\"{}\",\"event\":\"{}\",\"pid\":{}", level_name(record_.level()),
               name_of(record_.event()), pid);
    number("worker", record_.worker());
    text("id", LogField::id);
    if (record_.has_client()) {
        put_format(out_, ",\"client\":\"{}\"", record_.client_ip().text());
        if (record_.client_port() != 0) {
            number("client_port", record_.client_port());
        }
    }
    text("hello", LogField::hello);
    text("protocol", LogField::protocol);
    const bool is_message =
        record_.event() == LogEvent::accepted || record_.event() == LogEvent::delivered;
    if (is_message && !record_.has(LogField::tls)) {
        put(out_, ",\"tls\":\"none\"");
    }
    text("tls", LogField::tls);
    text("sender", LogField::sender);
    text("recipient", LogField::recipient);
    more_recipients();
    number("recipients", record_.recipients());
    number("size", record_.size());
    text("pool", LogField::pool);
    text("backend", LogField::backend);
    text("backend_address", LogField::backend_address);
    text("address", LogField::address);
    text("after", LogField::after);
    reply();
    text("reason", LogField::reason);
    number("count", record_.count());
    if (record_.has_duration()) {
        put_format(out_, ",\"duration_ms\":{:.3f}",
                   static_cast<double>(record_.duration().count()) / 1e6);
    }
    text("detail", LogField::detail);
    put(out_, "}\n");
}

} // namespace

void append_json_line(fmt::memory_buffer& out, const LogRecord& record, std::int64_t pid) {
    JsonLine(out, record).append(pid);
}

} // namespace ringmx::observe
