// Addresses of backends that are given by name: c-ares, driven by the loop of the main thread.
//
// The Resolver opens no thread and never waits. Its owner polls the descriptors in watches() and
// tells ready(); calls tick() when next_deadline() has come; and looks at take_changed() after
// either.
//
// A name is resolved at once when added, and again when its TTL (within ttl_min and ttl_max) has
// passed. When an answer fails the old addresses stay and the name is asked again after ttl_min.
// IPv4 and IPv6 both; sorted, so that an answer in another order is no change. An IP address as a
// name is its own answer, for ever.
//
// Descriptors come and go inside every call: compare watches() with what is polled after each. A
// descriptor's `serial` is new each time it is opened, so that a poll of a closed one can't be
// taken for its successor's.
//
// Time:   passed in, save that c-ares reads the monotonic clock itself for its query timeouts.
// Bounds: one query a name.
// Thread: main's only.
// Errors: create() fails with Error; a name that can't be resolved has no addresses, and the reason
//         in failure().
// Source: c-ares 1.18 (Debian 12) to 1.34 (Debian 13): ares_getaddrinfo(3), ares_init_options(3).
#pragma once

#include "base/address.h"
#include "base/error.h"
#include "base/instant.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::upstream {

class Resolver {
  public:
    struct Settings {
        std::string servers; // "127.0.0.1:5353,[::1]:53"; empty: the system's
        Duration ttl_min = 5s;
        Duration ttl_max = 5min;
        int query_timeout_ms = 2000; // the first try's; c-ares lengthens it
        int tries = 3;
    };
    struct Watch {
        int descriptor;
        bool read;
        bool write;
        std::uint32_t serial;
    };
    using Name = std::uint32_t;
    struct News {
        std::string host;
        std::string failure; // empty: it resolves now
        bool has_addresses;  // of an answer before
    };

    [[nodiscard]] static Expected<std::unique_ptr<Resolver>> create(const Settings& settings);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    // The same host gives the same Name; each add() wants its remove(). A Name that is removed is
    // not asked again.
    [[nodiscard]] Name add(std::string_view host, Instant now);
    void remove(Name name);

    [[nodiscard]] std::span<const IpAddress> addresses(Name name) const;
    // An answer came, good or bad: before that a backend is neither up nor down.
    [[nodiscard]] bool is_answered(Name name) const;
    [[nodiscard]] std::string_view
    failure(Name name) const; // of the last query; empty: it was good

    [[nodiscard]] std::span<const Watch> watches() const;
    [[nodiscard]] Instant next_deadline(Instant now) const;
    void ready(int descriptor, bool readable, bool writable, Instant now);
    void tick(Instant now);

    // Names whose addresses changed, or which got their first answer, since the last call.
    [[nodiscard]] std::vector<Name> take_changed();
    // Names that began to fail, or resolved after a failure, since the last call; for the log.
    [[nodiscard]] std::vector<News> take_news();

  private:
    struct State;
    explicit Resolver(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace ringmx::upstream
