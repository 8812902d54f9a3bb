#include "sink/personality_file.h"

#include "config/json_file.h"
#include "config/object_reader.h"

#include <fmt/format.h>
#include <numeric>

namespace ringmx::sink {
namespace {

using config::ObjectReader;
using config::Zero;

constexpr Duration duration_min = 1ms;
constexpr std::uint32_t greylist_entries_max = 100'000'000;

struct Word {
    Mischief mischief;
    std::string_view key;
};
constexpr Word words[] = {
    {Mischief::disconnect, "disconnect"},
    {Mischief::unanswered, "unanswered"},
    {Mischief::busy, "busy"},
    {Mischief::malformed, "malformed"},
    {Mischief::endless_line, "endless_line"},
    {Mischief::endless_reply, "endless_reply"},
    {Mischief::silence, "silence"},
    {Mischief::tempfail, "tempfail"},
    {Mischief::reject, "reject"},
};
static_assert(std::size(words) + 1 == static_cast<std::size_t>(Mischief::count));

struct PhaseWord {
    Phase phase;
    std::string_view key;
};
constexpr PhaseWord phase_words[] = {
    {Phase::connect, "connect"},
    {Phase::ehlo, "ehlo"},
    {Phase::mail, "mail"},
    {Phase::rcpt, "rcpt"},
    {Phase::data, "data"},
    {Phase::content, "content"},
    {Phase::end_of_data, "end_of_data"},
};
static_assert(std::size(phase_words) == static_cast<std::size_t>(Phase::count));

void read_phase(ObjectReader& root, const PhaseWord& word, Personality& into,
                config::Faults& faults) {
    const auto element = root.member(word.key);
    if (!element) {
        return;
    }
    ObjectReader reader(faults, root.pointer(word.key), *element);
    PhaseBehavior& behavior = into.at(word.phase);
    for (const auto& [mischief, key] : words) {
        if (mischief != Mischief::unanswered || word.phase == Phase::end_of_data) {
            reader.number(key, behavior.share(mischief), 0, 1);
        }
    }
    // A hair over 1 is what ten times 0.1 are.
    const double sum = std::accumulate(behavior.shares.begin(), behavior.shares.end(), 0.0);
    if (sum > 1 + 1e-9) {
        faults.add(reader.pointer(),
                   fmt::format("probabilities add up to {:.6g}, expected at most 1", sum));
    }
    reader.duration("delay", behavior.delay, Zero::is_off, duration_min);
    if (word.phase == Phase::content) {
        reader.size("after", into.content_after_bytes, 0, 1ULL << 40U);
    }
    reader.finish();
}

void read_greylist(ObjectReader& root, Personality& into, config::Faults& faults) {
    if (const auto element = root.member("greylist")) {
        into.greylist_delay = 5min; // most servers' own
        ObjectReader reader(faults, root.pointer("greylist"), *element);
        reader.duration("delay", into.greylist_delay, Zero::is_out_of_range, duration_min);
        reader.integer("entries", into.greylist_entries, 1U, greylist_entries_max);
        reader.finish();
    }
}

void read_storm(ObjectReader& root, Personality& into, config::Faults& faults) {
    const auto element = root.member("storm");
    if (!element) {
        return;
    }
    ObjectReader reader(faults, root.pointer("storm"), *element);
    for (const auto& [key, duration] :
         {std::pair{"every", &into.storm_every}, {"lasts", &into.storm_length}}) {
        if (reader.required(key, "a duration such as \"30s\"")) {
            reader.duration(key, *duration, Zero::is_out_of_range, duration_min);
        }
    }
    if (into.storm_length > into.storm_every) {
        reader.fault("lasts", "is longer than \"every\", expected at most as long");
    }
    reader.finish();
}

void read_idle(ObjectReader& root, Personality& into, config::Faults& faults) {
    if (const auto element = root.member("idle")) {
        ObjectReader reader(faults, root.pointer("idle"), *element);
        if (reader.required("timeout", "a duration such as \"5s\"")) {
            reader.duration("timeout", into.idle_timeout, Zero::is_off, duration_min);
        }
        reader.boolean("reply", into.idle_reply);
        reader.finish();
    }
}

std::vector<config::Fault> single_fault(std::string text) {
    return {config::Fault{.pointer = "", .text = std::move(text)}};
}

} // namespace

std::vector<config::Fault> load_personality(const std::string& file, Personality& into) {
    const auto json = config::read_whole(file);
    return json ? parse_personality(*json, into) : single_fault(json.error());
}

std::vector<config::Fault> parse_personality(std::string_view json, Personality& into) {
    simdjson::dom::parser parser;
    const auto element =
        config::parse_json(parser, json, "a JSON object such as {\"rcpt\": {\"tempfail\": 0.1}}");
    if (!element) {
        return single_fault(element.error());
    }
    config::Faults faults;
    ObjectReader root(faults, "", *element);
    for (const PhaseWord& word : phase_words) {
        read_phase(root, word, into, faults);
    }
    read_greylist(root, into, faults);
    read_storm(root, into, faults);
    read_idle(root, into, faults);
    root.finish();
    return std::move(faults).take();
}

} // namespace ringmx::sink
