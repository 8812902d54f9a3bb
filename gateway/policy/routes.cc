#include "policy/routes.h"

#include "base/ascii.h"
#include "base/assert.h"
#include "base/domain.h"
#include "base/escape.h"

#include <algorithm>
#include <cstring>
#include <xxhash.h>

namespace ringmx::policy {

namespace {

constexpr std::size_t record_header_bytes = 4 + 4 + 2;
constexpr std::size_t arena_bytes_max = UINT32_MAX; // an offset plus 1 fits in 32 bits
constexpr std::size_t slots_min = 16;

std::uint64_t hash_of(std::string_view text, std::uint64_t seed = 0) {
    return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

// An address hashes its local part under its domain's hash: the two come apart at lookup.
std::uint64_t address_hash(std::string_view local, std::uint64_t domain_hash) {
    return hash_of(local, domain_hash | 1U);
}

std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32U); }

std::size_t labels_in(std::string_view domain) {
    return static_cast<std::size_t>(std::ranges::count(domain, '.')) + 1;
}

std::uint64_t text_hash(std::string_view text) {
    const std::size_t at = text.rfind('@');
    return at == std::string_view::npos
               ? hash_of(text)
               : address_hash(text.substr(0, at), hash_of(text.substr(at + 1)));
}

bool is_bare_postmaster(std::string_view mailbox) {
    return equal_ignoring_case(mailbox, "postmaster");
}

std::string pointer_of(std::size_t route, std::string_view key) {
    return "/routes/" + std::to_string(route) + "/" + std::string(key);
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    append_json_text(out, text);
    return out + "\"";
}

} // namespace

std::string RouteFault::text() const {
    const std::string place = file_line.empty() ? "" : file_line + ": ";
    const std::string shown =
        ": only the first " + std::to_string(route_file_faults_max) + " are shown";
    switch (kind) {
    case Kind::duplicate:
        return place + "found " + quoted(entry) + ", which is " + first +
               " too, expected each entry in one route";
    case Kind::more_duplicates:
        return "more entries are in other routes too" + shown;
    case Kind::not_an_entry:
        return place + "found " + quoted(entry) +
               ", expected a domain, \"*.domain\", an address or \"*\"";
    case Kind::line_too_long:
        return place + "found over " + std::to_string(route_line_bytes_max) +
               " octets, expected less";
    case Kind::more_bad_entries:
        return "more entries are none" + shown;
    case Kind::unreadable_file:
        return entry;
    case Kind::too_many_entries:
        return "the routes' entries are over 4 GiB in all";
    }
    return {};
}

// ---- Building ----

struct Routes::Builder {
    const Settings& settings;
    Routes& routes;
    std::vector<RouteFault>& faults;
    RouteEntry entry{}; // reused
    std::string text{}; // reused: the entry as the table keeps it
    // Of the list that is being read, by RouteFault::of_file.
    std::size_t duplicates[2] = {0, 0};
    std::size_t bad_entries = 0;

    [[nodiscard]] static bool is_in_file(std::uint32_t position) {
        return (position & file_position) != 0;
    }
    [[nodiscard]] static std::string pointer(std::uint32_t route, std::uint32_t position) {
        return pointer_of(route, is_in_file(position) ? "recipients_file"
                                                      : "recipients/" + std::to_string(position));
    }
    [[nodiscard]] std::string file_line(std::uint32_t route, std::uint32_t position) const {
        return is_in_file(position) ? quoted(settings.routes[route].recipients_file) + " line " +
                                          std::to_string(position & ~file_position)
                                    : std::string();
    }
    [[nodiscard]] std::string place(std::uint32_t route, std::uint32_t position) const {
        return is_in_file(position)
                   ? file_line(route, position) + " (" + pointer(route, position) + ")"
                   : pointer(route, position);
    }

    void bad_entry(RouteFault::Kind kind, std::uint32_t route, std::uint32_t position,
                   std::string_view written) {
        ++bad_entries;
        if (bad_entries <= route_file_faults_max) {
            faults.push_back({kind, pointer(route, position), file_line(route, position),
                              std::string(written), "", is_in_file(position)});
        } else if (bad_entries == route_file_faults_max + 1) {
            faults.push_back({RouteFault::Kind::more_bad_entries, pointer(route, position), "", "",
                              "", is_in_file(position)});
        }
    }

    // An entry that another route has is a fault; one that its own route has is harmless.
    void judge_twin(const Record& twin, std::uint32_t route, std::uint32_t position,
                    std::string_view written) {
        if (twin.route == route) {
            return;
        }
        const bool of_file = is_in_file(position) || is_in_file(twin.position);
        const std::size_t count = ++duplicates[of_file ? 1 : 0];
        if (count <= route_file_faults_max) {
            faults.push_back({RouteFault::Kind::duplicate, pointer(route, position),
                              file_line(route, position), std::string(written),
                              place(twin.route, twin.position), of_file});
        } else if (count == route_file_faults_max + 1) {
            faults.push_back(
                {RouteFault::Kind::more_duplicates, pointer(route, position), "", "", "", of_file});
        }
    }

    void begin_list() {
        duplicates[0] = duplicates[1] = 0;
        bad_entries = 0;
    }

    // False: there is no room for more.
    bool add(std::string_view written, std::uint32_t route, std::uint32_t position) {
        if (!parse_route_entry(written, entry)) {
            bad_entry(RouteFault::Kind::not_an_entry, route, position, written);
            return true;
        }
        if (entry.kind != RouteEntryKind::mailbox) {
            routes.takes_domains_[route] = true;
        }
        if (entry.kind == RouteEntryKind::any) {
            if (routes.any_route_ == no_route) {
                routes.any_route_ = route;
                routes.any_position_ = position;
            } else {
                judge_twin({routes.any_route_, routes.any_position_, "*"}, route, position,
                           written);
            }
            return true;
        }
        text.clear();
        if (entry.kind == RouteEntryKind::wildcard) {
            text += '.';
            routes.wildcard_labels_.set(labels_in(entry.key));
        }
        text += entry.key;
        if (const std::optional<Record> twin = routes.find_text(text)) {
            judge_twin(*twin, route, position, written);
            return true;
        }
        if (!routes.insert(text, route, position)) {
            faults.push_back({RouteFault::Kind::too_many_entries, pointer(route, position),
                              file_line(route, position), "", "", is_in_file(position)});
            return false;
        }
        return true;
    }

    void add_file(std::uint32_t route) {
        const std::string& path = settings.routes[route].recipients_file;
        begin_list();
        const auto read = for_each_route_line(path, [&](const RouteLine& line) {
            const auto position = static_cast<std::uint32_t>(
                                      std::min<std::uint64_t>(line.number, file_position - 1)) |
                                  file_position;
            if (line.too_long) {
                bad_entry(RouteFault::Kind::line_too_long, route, position, {});
                return true;
            }
            return add(line.text, route, position);
        });
        if (!read) {
            faults.push_back({RouteFault::Kind::unreadable_file,
                              pointer_of(route, "recipients_file"), "", read.error().message(), "",
                              true});
        }
    }
};

std::expected<Routes, std::vector<RouteFault>> Routes::build(const Settings& settings) {
    Routes routes;
    std::vector<RouteFault> faults;
    Builder builder{.settings = settings, .routes = routes, .faults = faults};
    for (std::uint32_t route = 0; route < settings.routes.size(); ++route) {
        const RouteSettings& given = settings.routes[route];
        routes.targets_.push_back({route, given.pool_index, given.verify_backend});
        routes.takes_domains_.push_back(false);
        builder.begin_list();
        for (std::uint32_t i = 0; i < given.recipients.size(); ++i) {
            builder.add(given.recipients[i], route, i);
        }
        if (!given.recipients_file.empty()) {
            builder.add_file(route);
        }
    }
    if (!faults.empty()) {
        return std::unexpected(std::move(faults));
    }
    // Not shrink_to_fit(): libstdc++ makes it do nothing without exceptions.
    std::vector<char>(routes.arena_.begin(), routes.arena_.end()).swap(routes.arena_);
    if (!canonical_mailbox("postmaster@" + settings.hostname, routes.postmaster_here_)) {
        routes.postmaster_here_.clear();
    }
    if (!canonical_mailbox(settings.postmaster, routes.postmaster_key_)) {
        routes.postmaster_key_.clear();
    }
    routes.digest_ =
        hash_of({routes.arena_.data(), routes.arena_.size()}, routes.any_route_ + std::uint64_t{1});
    routes.digest_ = hash_of(routes.postmaster_here_, routes.digest_);
    routes.digest_ = hash_of(routes.postmaster_key_, routes.digest_);
    return routes;
}

bool Routes::insert(std::string_view text, std::uint32_t route, std::uint32_t position) {
    const std::size_t offset = arena_.size();
    if (text.size() > UINT16_MAX || offset + record_header_bytes + text.size() > arena_bytes_max) {
        return false;
    }
    if ((entries_count_ + 1) * 10 > slots_.size() * 7) {
        grow();
    }
    arena_.resize(offset + record_header_bytes + text.size());
    const auto size = static_cast<std::uint16_t>(text.size());
    char* to = arena_.data() + offset;
    std::memcpy(to, &route, sizeof route);
    std::memcpy(to + 4, &position, sizeof position);
    std::memcpy(to + 8, &size, sizeof size);
    std::memcpy(to + record_header_bytes, text.data(), text.size());
    place(text_hash(text), static_cast<std::uint32_t>(offset));
    ++entries_count_;
    return true;
}

void Routes::place(std::uint64_t hash, std::uint32_t offset) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t index = hash & mask;
    while (slots_[index].offset_plus_1 != 0) {
        index = (index + 1) & mask;
    }
    slots_[index] = {tag_of(hash), offset + 1};
}

// The arena is walked in order: every text is hashed again, which costs less than keeping the
// hashes.
void Routes::grow() {
    slots_.assign(std::max(slots_min, slots_.size() * 2), Slot{});
    for (std::size_t offset = 0; offset < arena_.size();) {
        const Record entry = record(static_cast<std::uint32_t>(offset));
        place(text_hash(entry.text), static_cast<std::uint32_t>(offset));
        offset += record_header_bytes + entry.text.size();
    }
}

// ---- Lookup ----

Routes::Record Routes::record(std::uint32_t offset) const {
    const char* from = arena_.data() + offset;
    Record result{};
    std::uint16_t size = 0;
    std::memcpy(&result.route, from, sizeof result.route);
    std::memcpy(&result.position, from + 4, sizeof result.position);
    std::memcpy(&size, from + 8, sizeof size);
    result.text = {from + record_header_bytes, size};
    return result;
}

template <typename Matches>
std::optional<Routes::Record> Routes::probe(std::uint64_t hash, const Matches& matches) const {
    if (slots_.empty()) {
        return std::nullopt;
    }
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t index = hash & mask; slots_[index].offset_plus_1 != 0;
         index = (index + 1) & mask) {
        if (slots_[index].tag != tag_of(hash)) {
            continue;
        }
        const Record found = record(slots_[index].offset_plus_1 - 1);
        if (matches(found.text)) {
            return found;
        }
    }
    return std::nullopt;
}

std::optional<Routes::Record> Routes::find_text(std::string_view text) const {
    return probe(text_hash(text), [&](std::string_view kept) { return kept == text; });
}

std::optional<Routes::Record> Routes::find_address(std::string_view local, std::string_view domain,
                                                   std::uint64_t domain_hash) const {
    return probe(address_hash(local, domain_hash), [&](std::string_view kept) {
        return kept.size() == local.size() + 1 + domain.size() && kept.starts_with(local) &&
               kept[local.size()] == '@' && kept.ends_with(domain);
    });
}

std::uint32_t Routes::wildcard_route(std::string_view domain) const {
    if (wildcard_labels_.none() || domain.starts_with('[')) {
        return no_route;
    }
    // From the longest suffix on; the domain itself is no subdomain of itself.
    std::size_t labels = labels_in(domain) - 1;
    for (std::size_t dot = domain.find('.'); dot != std::string_view::npos;
         dot = domain.find('.', dot + 1), --labels) {
        if (labels < wildcard_labels_.size() && wildcard_labels_.test(labels)) {
            const std::string_view suffix = domain.substr(dot);
            const auto found =
                probe(hash_of(suffix), [&](std::string_view kept) { return kept == suffix; });
            if (found) {
                return found->route;
            }
        }
    }
    return no_route;
}

std::uint32_t Routes::route_of(std::string_view local, std::string_view domain) const {
    const std::uint64_t domain_hash = hash_of(domain);
    if (!slots_.empty()) { // most recipients are found by their domain: fetch it beside the address
        __builtin_prefetch(&slots_[domain_hash & (slots_.size() - 1)]);
    }
    if (const auto address = find_address(local, domain, domain_hash)) {
        return address->route;
    }
    const auto exact = probe(domain_hash, [&](std::string_view kept) { return kept == domain; });
    if (exact) {
        return exact->route;
    }
    const std::uint32_t wildcard = wildcard_route(domain);
    return wildcard != no_route ? wildcard : any_route_;
}

std::optional<RouteTarget> Routes::find(std::string_view local, std::string_view domain) const {
    const std::uint32_t route = route_of(local, domain);
    return route == no_route ? std::nullopt : std::optional(targets_[route]);
}

std::optional<std::uint32_t> Routes::pool_of(std::string_view local,
                                             std::string_view domain) const {
    const std::uint32_t route = route_of(local, domain);
    return route == no_route ? std::nullopt : std::optional(targets_[route].pool_index);
}

std::optional<RouteTarget> Routes::find_key(std::string_view key) const {
    const std::size_t at = key.rfind('@');
    return at == std::string_view::npos ? std::nullopt
                                        : find(key.substr(0, at), key.substr(at + 1));
}

std::optional<RouteTarget> Routes::find_mailbox(std::string_view mailbox, std::string& key) const {
    if (is_bare_postmaster(mailbox)) {
        key = postmaster_here_;
    } else if (!canonical_mailbox(mailbox, key)) {
        key.clear();
        return std::nullopt;
    }
    std::optional<RouteTarget> target = find_key(key);
    if (!target && key == postmaster_here_ && !postmaster_key_.empty()) {
        target = find_key(postmaster_key_);
        if (target) {
            target->rewritten_to_postmaster = true;
            key = postmaster_key_;
        }
    }
    return target;
}

bool Routes::takes_postmaster() const {
    return find_key(postmaster_here_).has_value() || find_key(postmaster_key_).has_value();
}

std::size_t Routes::memory_bytes() const {
    return slots_.capacity() * sizeof(Slot) + arena_.capacity();
}

} // namespace ringmx::policy
