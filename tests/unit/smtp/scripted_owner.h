// An owner of a ServerSession that answers by a script and writes down all that it sees.
//
// feed() hands over one segment of the wire; answers to recipients come at once, or as late as the
// session allows (is_late).
#pragma once

#include "dialog/dialog.h"
#include "smtp/server_session.h"

#include <string>
#include <string_view>
#include <vector>

namespace ringmx::smtp {

class ScriptedOwner {
  public:
    ScriptedOwner(const dialog::Dialog& script, bool is_late);

    void feed(std::string_view segment);
    void start(); // greeting, and what the script's dialog starts behind

    [[nodiscard]] const std::string& output() const { return output_; }
    [[nodiscard]] bool is_closed() const { return is_closed_; }
    [[nodiscard]] const std::vector<std::string>& contents() const { return contents_; }
    // One letter an event; content, need_input and blocked leave none.
    [[nodiscard]] const std::string& trail() const { return trail_; }
    [[nodiscard]] ServerSession& session() { return session_; }

  private:
    void run(ServerEvent event, const ServerSession::Step& step);
    void answer_recipients();
    void answer_message();

    const dialog::Dialog& script_;
    ServerSettings settings_;
    ServerSession session_;
    bool is_late_;
    bool is_closed_ = false;
    bool is_refused_ = false;
    std::size_t messages_answered_ = 0;
    std::vector<std::string> unanswered_;
    std::string content_;
    std::string output_;
    std::string trail_;
    std::vector<std::string> contents_; // of the messages that were answered 2xx
};

} // namespace ringmx::smtp
