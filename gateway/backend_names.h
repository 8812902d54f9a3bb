// The addresses of backends that are given by name, kept current by the resolver on the main loop.
// Thread: main's.
// Tokens: names_poll_in and names_poll_out.
// Errors: a name that fails keeps its old addresses.
#pragma once

#include "ring/stream.h"
#include "upstream/resolver.h"
#include "worker/snapshot.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ringmx {

inline constexpr std::uint8_t names_poll_in = 2;
inline constexpr std::uint8_t names_poll_out = 3;
inline constexpr std::uint8_t names_poll_cancel = 4;

class BackendNames final : public worker::Addresses {
  public:
    BackendNames(ring::Loop& loop, std::unique_ptr<upstream::Resolver> resolver)
        : loop_(loop), resolver_(std::move(resolver)) {}

    // These backends' names are asked for from now on, others no more.
    void use(const Settings& settings);
    [[nodiscard]] std::vector<SocketAddress> of(const BackendSettings& backend) override;
    [[nodiscard]] bool all_answered() const;

    bool handle(const ring::Completion& completion);
    // Time-outs and polls; once a turn. True: some addresses changed.
    [[nodiscard]] bool run();
    [[nodiscard]] std::vector<upstream::Resolver::News> take_news() {
        return resolver_->take_news();
    }
    [[nodiscard]] Instant next_deadline() const;

  private:
    struct Poll {
        int descriptor;
        std::uint32_t serial;
        std::uint8_t operation;
        bool is_wanted;
    };
    void poll(const upstream::Resolver::Watch& watch, std::uint8_t operation);

    ring::Loop& loop_;
    std::unique_ptr<upstream::Resolver> resolver_;
    std::map<std::string, upstream::Resolver::Name, std::less<>> names_;
    std::vector<Poll> polls_; // in flight
};

} // namespace ringmx
