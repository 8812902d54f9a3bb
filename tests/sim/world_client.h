// A client of a world: a connection, what it asked and was not answered yet, and octets that it sends
// in pieces. world_sender.h behaves, world_intruder.h does not.
//
// A client is driven by what comes in and by moments that it chose itself; nobody steps it.
// Thread: the network's. A client outlives the rig, whose network calls it.
// Errors: what it should not have been told goes to the ledger.
#pragma once

#include "sim/world.h"

#include <cstddef>
#include <deque>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

namespace ringmx::sim {

class WorldClient {
  public:
    WorldClient(World& world, std::size_t number)
        : world_(world), random_(world.rig->network.random()), number_(number) {}
    virtual ~WorldClient() = default;
    WorldClient(const WorldClient&) = delete;
    WorldClient& operator=(const WorldClient&) = delete;

    [[nodiscard]] bool done() const { return done_; }
    // For when it never gets done.
    [[nodiscard]] std::string describe() const;

  protected:
    using OnReply = std::function<void(const std::string&)>;

    void connect(const char* from);
    // What follows waits until `octets` are with the network, which may take its time.
    void say(std::string_view octets);
    void ask(std::string_view octets, OnReply on_reply);
    void expect_reply(OnReply on_reply) { asked_.push_back(std::move(on_reply)); }
    // From now on octets leave a few at a time.
    void dribble(bool on) { dribbles_ = on; }
    [[nodiscard]] bool pouring() const { return !outgoing_.empty(); }
    // Called when everything said so far is with the network.
    void when_poured(std::function<void()> action);
    void in(Duration time, std::function<void()> action);   // unless it is done by then,
    void soon(Duration time, std::function<void()> action); // or this connection is over
    [[nodiscard]] Duration between(Duration low, Duration high);
    // Says that `reply` should have begun in one of these ways.
    void check(const std::string& what, const std::string& reply,
               std::initializer_list<std::string_view> allowed);

    // Everything asked is answered and everything said is sent.
    virtual void idle() = 0;
    // The connection ended, or we gave it up; what was asked is forgotten.
    virtual void hung_up() = 0;
    void hang_up(bool reset = false);
    void half_close();
    void finish() { done_ = true; }

    World& world_;
    Random& random_;
    const std::size_t number_;

    [[nodiscard]] SimSocket* socket() { return client_ == nullptr ? nullptr : client_->socket; }
    [[nodiscard]] std::size_t unanswered() const { return asked_.size(); }

  private:
    void look();
    void take(const std::string& reply);
    void pour();
    void watch();

    Client* client_ = nullptr;
    std::deque<OnReply> asked_;
    std::string outgoing_;
    std::function<void()> when_poured_;
    Instant heard_at_{};
    std::uint64_t life_ = 0; // which connection; moments of an earlier one are void
    bool dribbles_ = false;
    bool pour_due_ = false;
    bool looking_ = false;
    bool ended_ = false; // we half-closed
    bool done_ = false;
};

} // namespace ringmx::sim
