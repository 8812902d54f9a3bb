// Writes JSON: objects and arrays with their commas. Keys are ours and need no escaping.
//
// Out:    appended to a string.
// Thread: any.
// Errors: none; what is opened must be closed.
#pragma once

#include "base/escape.h"
#include "base/instant.h"

#include <fmt/format.h>
#include <iterator>
#include <string>
#include <string_view>

namespace ringmx::admin {

class JsonWriter {
  public:
    explicit JsonWriter(std::string& out) : out_(out) {}

    void open(char bracket, std::string_view key = {}) {
        begin(key);
        out_.push_back(bracket);
        is_first_ = true;
    }
    void close(char bracket) {
        out_.push_back(bracket);
        is_first_ = false;
    }
    void text(std::string_view key, std::string_view value) {
        begin(key);
        out_.push_back('"');
        append_json_text(out_, value);
        out_.push_back('"');
    }
    template <typename Number> void number(std::string_view key, Number value) {
        begin(key);
        fmt::format_to(std::back_inserter(out_), "{}", value);
    }
    void boolean(std::string_view key, bool value) {
        begin(key);
        out_.append(value ? "true" : "false");
    }
    void null(std::string_view key) {
        begin(key);
        out_.append("null");
    }
    void seconds(std::string_view key, Duration value) {
        begin(key);
        fmt::format_to(std::back_inserter(out_), "{:.3f}",
                       static_cast<double>(value.count()) / 1e9);
    }

  private:
    void begin(std::string_view key) {
        if (!is_first_) {
            out_.push_back(',');
        }
        is_first_ = false;
        if (!key.empty()) {
            fmt::format_to(std::back_inserter(out_), "\"{}\":", key);
        }
    }

    std::string& out_;
    bool is_first_ = true;
};

} // namespace ringmx::admin
