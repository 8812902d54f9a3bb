// A client of a world that does not behave: it floods, stalls, reads no replies, breaks the order,
// hides commands in messages behind every newline that is none, and leaves wherever it likes.
#pragma once

#include "sim/world_client.h"

#include <cstdint>
#include <string>

namespace ringmx::sim {

class WorldIntruder final : public WorldClient {
  public:
    WorldIntruder(World& world, std::size_t number);

  private:
    enum class Then : std::uint8_t { deliver, smuggle, give_up };

    void idle() override;
    void hung_up() override;
    void begin();
    void move();
    void forget();
    void flood();
    void break_syntax();
    void break_order();
    void go_deaf();
    void leave(bool in_content);
    Attempt& begin_attempt(Then then);
    void transaction(Then then);
    void go_on(Attempt& attempt, Then then);
    void send_data(Attempt& attempt);
    void send_chunk(Attempt& attempt);
    void last_octet_sent(Attempt& attempt);
    void give_up(Attempt& attempt);
    [[nodiscard]] std::string smuggling_wire(bool by_chunks);

    std::size_t moves_left_;
    std::size_t attempts_ = 0;
    std::string wire_; // of the message under way, as it is sent
    bool greeted_ = false;
    bool resting_ = false;
};

} // namespace ringmx::sim
