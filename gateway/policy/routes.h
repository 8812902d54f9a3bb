// Which pool takes a recipient: the routes of the config, in one table built for millions of
// entries.
//
// The most specific entry wins: address, domain, longest wildcard, "*". A wildcard takes any
// subdomain, not the domain itself; an address literal is taken by its own entry or by "*" only.
//
//   slots_:  | tag 32 | offset + 1, 32 | ...            open addressing, linear, load at most 0.7
//   arena_:  | route 32 | position 32 | size 16 | text | ...
//            text is "local@domain", "domain", or ".domain" for a wildcard
//
// One table for the three kinds: their texts can't be equal, and a wildcard's text is the end of
// the domains that it takes, so a lookup builds no string. Wildcards are probed only at the label
// counts that some wildcard has.
//
// Bounds: 4 GiB of entries; at most 34 octets an entry beside its text.
// Cost:   2 probes and one for each label count of wildcards, each two cache misses at worst; no
//         allocation.
// Thread: build() on main (reads files); then immutable, any.
// Errors: build() gives every fault at once, of one kind in one list route_file_faults_max.
// Source: CONTRACT 3, routes.
#pragma once

#include "base/route_file.h"
#include "base/settings/settings.h"

#include <bitset>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::policy {

struct RouteFault {
    enum class Kind : std::uint8_t {
        duplicate,
        more_duplicates,
        not_an_entry,
        line_too_long,
        more_bad_entries,
        unreadable_file,
        too_many_entries
    };
    Kind kind;
    std::string pointer;   // "/routes/1/recipients/0", "/routes/1/recipients_file"
    std::string file_line; // "\"PATH\" line 3"; empty: the entry stands in the config itself
    std::string entry;     // as written; the system's words for an unreadable file
    std::string first;     // duplicate: where the entry in another route stands
    bool of_file = false;  // the entry, or the one that it repeats, stands in a recipients file

    // What follows "POINTER: " in a fault line.
    [[nodiscard]] std::string text() const;
};

struct RouteTarget {
    std::uint32_t route_index; // into Settings::routes
    std::uint32_t pool_index;  // into Settings::pools
    bool verify_backend;
    // No route takes postmaster@HOSTNAME, Settings::postmaster does: forward to that mailbox.
    bool rewritten_to_postmaster = false;
};

class Routes {
  public:
    // Reads the recipients files. The result refers to nothing of `settings`.
    [[nodiscard]] static std::expected<Routes, std::vector<RouteFault>>
    build(const Settings& settings);

    // `local` and `domain` are canonical (base/domain.h).
    [[nodiscard]] std::optional<std::uint32_t> pool_of(std::string_view local,
                                                       std::string_view domain) const;
    [[nodiscard]] std::optional<RouteTarget> find(std::string_view local,
                                                  std::string_view domain) const;

    // A mailbox as a client wrote it; "Postmaster" without a domain is postmaster@HOSTNAME. `key`
    // becomes the canonical mailbox that was routed (the hash key of HashKey::recipient; the
    // configured postmaster's when rewritten); it allocates nothing once grown, for ASCII. Nullopt:
    // no route takes it (550 5.7.1), or it is no usable mailbox (`key` is empty then).
    [[nodiscard]] std::optional<RouteTarget> find_mailbox(std::string_view mailbox,
                                                          std::string& key) const;

    // Whether mail to <Postmaster> goes anywhere (RFC 5321, 4.5.1): else `check` and start-up warn.
    [[nodiscard]] bool takes_postmaster() const;

    // By route: whether an entry of it is more than an address.
    [[nodiscard]] const std::vector<bool>& takes_domains() const { return takes_domains_; }

    [[nodiscard]] std::size_t entries_count() const { return entries_count_; }
    // Of what recipients it takes by which route: another one where that differs.
    [[nodiscard]] std::uint64_t digest() const { return digest_; }
    // Octets of the table and the arena.
    [[nodiscard]] std::size_t memory_bytes() const;

  private:
    struct Slot {
        std::uint32_t tag = 0;
        std::uint32_t offset_plus_1 = 0; // 0: free
    };
    struct Record {
        std::uint32_t route;
        std::uint32_t position; // in `recipients`, or file_position plus the line in the file
        std::string_view text;
    };
    static constexpr std::uint32_t file_position = 1U << 31U;
    static constexpr std::uint32_t no_route = UINT32_MAX;

    Routes() = default;
    struct Builder;

    [[nodiscard]] Record record(std::uint32_t offset) const;
    template <typename Matches>
    [[nodiscard]] std::optional<Record> probe(std::uint64_t hash, const Matches& matches) const;
    [[nodiscard]] std::optional<Record> find_text(std::string_view text) const;
    [[nodiscard]] std::optional<Record>
    find_address(std::string_view local, std::string_view domain, std::uint64_t domain_hash) const;
    [[nodiscard]] std::optional<RouteTarget> find_key(std::string_view key) const;
    [[nodiscard]] std::uint32_t route_of(std::string_view local, std::string_view domain) const;
    [[nodiscard]] std::uint32_t wildcard_route(std::string_view domain) const;
    // False: the arena is full.
    [[nodiscard]] bool insert(std::string_view text, std::uint32_t route, std::uint32_t position);
    void place(std::uint64_t hash, std::uint32_t offset);
    void grow();

    std::vector<Slot> slots_;
    std::vector<char> arena_;
    std::size_t entries_count_ = 0;
    std::uint64_t digest_ = 0;
    std::bitset<128> wildcard_labels_; // a domain of 253 octets has at most 127 labels
    std::uint32_t any_route_ = no_route;
    std::uint32_t any_position_ = 0;
    std::vector<RouteTarget> targets_; // by route
    std::vector<bool> takes_domains_;  // likewise
    std::string postmaster_here_;      // postmaster@HOSTNAME, canonical
    std::string postmaster_key_;       // Settings::postmaster, canonical; empty for none
};

} // namespace ringmx::policy
