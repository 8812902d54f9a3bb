#include "config/json_place.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <random>
#include <string>
#include <utility>

namespace ringmx::config {
namespace {

std::string told(std::string_view json) {
    const auto place = first_json_error(json);
    return place ? std::to_string(place->line) + ":" + std::to_string(place->column) + " " +
                       place->text
                 : "";
}

bool simdjson_takes(const std::string& json) {
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    return parser.parse(json).get(root) == simdjson::SUCCESS;
}

TEST(JsonPlace, TellsLineColumnAndWhatWasExpected) {
    const std::pair<std::string, const char*> cases[] = {
        {"", R"(1:1 found the end of the file, expected a value)"},
        {"{", R"(1:2 found the end of the file, expected a name in double quotes or "}")"},
        {"{\n  \"a\": 1\n  \"b\": 2\n}", R"(3:3 found "\"", expected "," or "}")"},
        {"{\"a\" 1}", R"(1:6 found "1", expected ":")"},
        {"[1,]", R"(1:4 found "]", expected a value)"},
        {"{\"a\": 1,}", R"(1:9 found "}", expected a name in double quotes)"},
        {"[1 2]", R"(1:4 found "2", expected "," or "]")"},
        {"[\"\u00fc\u00fc\" x]", R"(1:7 found "x", expected "," or "]")"},
        {"{} {}", R"(1:4 found "{", expected the end of the file)"},
        {"[\"a\nb\"]", R"(1:4 found "\n", expected no control character in a string)"},
        {"[\"a", R"(1:4 found the end of the file, expected the string's end)"},
        {"[01]", R"(1:3 found "1", expected no digit after a leading 0)"},
        {"[1.]", R"(1:4 found "]", expected a digit)"},
        {"[1e]", R"(1:4 found "]", expected a digit)"},
        {"[-]", R"(1:3 found "]", expected a digit)"},
        {"[\"\\x\"]", R"(1:4 found "x", expected one of "\/bfnrtu after a backslash)"},
        {"[\"\\u12g4\"]", R"(1:7 found "g", expected four hexadecimal digits)"},
        {"[\"\\ud800\"]", R"(1:9 found "\"", expected a pair of surrogates)"},
        {"[nul]", R"(1:2 found "n", expected a value)"},
    };
    for (const auto& [json, text] : cases) {
        EXPECT_EQ(told(json), text) << json;
        EXPECT_FALSE(simdjson_takes(json)) << json;
    }
}

TEST(JsonPlace, GoodTextHasNone) {
    for (const std::string json :
         {"{}", "[]", " [1, -0.5e+3, 0, 1E-2, true, false, null, \"\\u00e9\\ud83d\\ude00\\n\"] ",
          R"({"a": {"b": [[], {}, [{"c": ""}]]}, "d": "ü"})", "\"text\"", "12"}) {
        EXPECT_EQ(told(json), "") << json;
        EXPECT_TRUE(simdjson_takes(json)) << json;
    }
}

TEST(JsonPlace, DeepNestingIsAnErrorNotACrash) {
    EXPECT_NE(told(std::string(1'000'000, '[')), "");
    for (std::size_t depth = json_depth_max - 2; depth < json_depth_max + 3; ++depth) {
        for (const char* inner : {"", "1"}) {
            const std::string json = std::string(depth, '[') + inner + std::string(depth, ']');
            EXPECT_EQ(told(json).empty(), simdjson_takes(json)) << depth << inner;
        }
    }
}

// Whatever simdjson refuses has a place, and what it takes has none.
TEST(JsonPlace, AgreesWithSimdjsonOnEveryCutAndOnMutations) {
    const std::string seed =
        R"({"a": [1, -2.5e3, true, "\u00e9\ud83d\ude00ü"], "b": {"c": null, "d": "x\n"}})";
    for (std::size_t length = 0; length < seed.size(); ++length) {
        EXPECT_NE(told(seed.substr(0, length)), "") << seed.substr(0, length);
    }
    std::mt19937 random(7); // NOLINT: the same cases each time
    const std::string letters = "{}[]\",:\\u0123eE+-.tfn \xc3\xbc\x01";
    for (int round = 0; round < 20'000; ++round) {
        std::string json = seed;
        for (int change = 0; change < 2; ++change) {
            const std::size_t at = random() % json.size();
            const char letter = letters[random() % letters.size()];
            switch (random() % 3) {
            case 0:
                json[at] = letter;
                break;
            case 1:
                json.insert(at, 1, letter);
                break;
            default:
                json.erase(at, 1);
            }
        }
        EXPECT_EQ(told(json).empty(), simdjson_takes(json)) << json << "\n" << told(json);
    }
}

} // namespace
} // namespace ringmx::config
