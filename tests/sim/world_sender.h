// A client of a world that behaves: it has messages, waits for what it must wait for, and comes back
// until each of its recipients has been taken. How it speaks is chosen anew each time: in lock-step or
// pipelined, DATA or BDAT, at once or a few octets at a time.
#pragma once

#include "sim/world_client.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ringmx::sim {

class WorldSender final : public WorldClient {
  public:
    WorldSender(World& world, std::size_t number);

  private:
    enum class Style : std::uint8_t { lock_step, envelope, envelope_and_data, all };

    void idle() override;
    void hung_up() override;
    void begin();
    void begin_message();
    void begin_attempt();
    void say_mail();
    void say_recipient(const std::string& recipient);
    void say_data();
    void say_chunks();
    void send_content();
    void go_on();
    void chunk_answered(const std::string& reply);
    void final_answered(const std::string& reply);
    void end_attempt();
    void rest(Duration least, Duration most);

    const char* from_;
    std::size_t messages_left_;
    std::size_t attempts_ = 0;
    std::string octets_;                   // of the message under way,
    std::vector<std::string> outstanding_; // and who has not got it

    Attempt* attempt_ = nullptr;
    Style style_ = Style::lock_step;
    bool by_chunks_ = false;
    std::vector<std::string> asking_; // recipients of this attempt
    std::size_t asked_count_ = 0;
    bool mail_taken_ = false;
    bool content_said_ = false;
    bool greeted_ = false;
    bool resting_ = false;
    bool leaving_ = false;
};

// A message of about `size` octets that no other is like; ends in CRLF unless it may do without.
[[nodiscard]] std::string random_message(Random& random, std::size_t size, bool needs_line_end);

} // namespace ringmx::sim
