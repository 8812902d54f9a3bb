// Every case runs whole, octet by octet, and at every split in two: the outcome must be the same.
#include "admin/http_request.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

namespace ringmx::admin {
namespace {

std::string describe(const HttpRequest& request) {
    const char* method = request.method == Method::get    ? "GET"
                         : request.method == Method::head ? "HEAD"
                         : request.method == Method::post ? "POST"
                                                          : "other";
    std::string text =
        fmt::format("{} {}?{} keep={}", method, request.path, request.query, request.keep_alive);
    for (const HttpRequest::Field& field : request.fields) {
        if (field.name == "Host" && field.value == "a") {
            continue; // every request here has it
        }
        text += fmt::format(" {}={}", field.name, field.value);
    }
    return text + " [" + std::string(request.body) + "]";
}

// What the parser makes of pieces: each request described, or "refused STATUS"; then "more" if it
// waits inside a request.
std::vector<std::string> parse(const std::vector<std::string_view>& pieces) {
    HttpRequestParser parser;
    std::vector<std::string> outcome;
    for (std::string_view piece : pieces) {
        while (!piece.empty()) {
            const std::string copy(piece); // so that nothing of it lives on
            const HttpRequestParser::Step step = parser.receive(as_bytes(copy));
            piece.remove_prefix(step.consumed);
            if (step.event == HttpEvent::request) {
                outcome.push_back(describe(parser.request()));
            } else if (step.event == HttpEvent::refused) {
                outcome.push_back(fmt::format("refused {}", parser.status()));
                return outcome;
            } else {
                EXPECT_TRUE(piece.empty()) << "need_input takes everything";
            }
        }
    }
    if (parser.mid_request()) {
        outcome.emplace_back("more");
    }
    return outcome;
}

using Outcome = std::vector<std::string>;

void check(std::string_view wire, const Outcome& expected) {
    EXPECT_EQ(parse({wire}), expected);
    std::vector<std::string_view> octets;
    for (std::size_t at = 0; at < wire.size(); ++at) {
        octets.push_back(wire.substr(at, 1));
        ASSERT_EQ(parse({wire.substr(0, at), wire.substr(at)}), expected) << "split at " << at;
    }
    EXPECT_EQ(parse(octets), expected);
}

TEST(HttpRequest, AGetWithFields) {
    check("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Test:  one two \t\r\nEmpty:\r\n\r\n",
          {"GET /healthz? keep=true X-Test=one two Empty= []"});
}

TEST(HttpRequest, PathAndQueryComeApartAndAnAbsoluteTargetLosesItsHost) {
    check("HEAD /a/b?c=d?e HTTP/1.1\r\nHost: a\r\n\r\n", {"HEAD /a/b?c=d?e keep=true []"});
    check("GET http://mx1:8025/x?y HTTP/1.1\r\nHost: a\r\n\r\n", {"GET /x?y keep=true []"});
    check("GET HTTP://mx1:8025 HTTP/1.1\r\nHost: a\r\n\r\n", {"GET /? keep=true []"});
}

TEST(HttpRequest, PipelinedRequestsComeOneByOneAndEmptyLinesBetweenThemArePassedOver) {
    check("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\n\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: "
          "3\r\n\r\nabcGET /3 "
          "HTTP/1.0\r\n\r\nGET ",
          {"GET /1? keep=true []", "POST /2? keep=true Content-Length=3 [abc]",
           "GET /3? keep=false []", "more"});
}

TEST(HttpRequest, ABareLfEndsALineAndABareCrIsRefused) {
    check("GET / HTTP/1.1\nHost: a\nA: b\n\n", {"GET /? keep=true A=b []"});
    check("GET / HTTP/1.1\rA: b\r\n\r\n", {"refused 400"});
    check("GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n", {"refused 400"});
}

TEST(HttpRequest, ConnectionOptionsDecideWhetherItStaysOpen) {
    check("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
          {"GET /? keep=false Connection=close []"});
    check("GET / HTTP/1.0\r\nconnection: x, Keep-Alive\r\n\r\n",
          {"GET /? keep=true connection=x, Keep-Alive []"});
    check("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, keep-alive\r\n\r\n",
          {"GET /? keep=false Connection=close, keep-alive []"});
}

TEST(HttpRequest, WhatIsNoRequestIsRefusedAtOnce) {
    check("EHLO example.com\r\n", {"refused 400"});
    check("GET /\r\n", {"refused 400"});
    check("GET  / HTTP/1.1\r\nHost: a\r\n", {"refused 400"});
    check("GET / HTTP/11\r\n", {"refused 400"});
    check("GET nopath HTTP/1.1\r\nHost: a\r\n", {"refused 400"});
    check("GET /\x7F HTTP/1.1\r\nHost: a\r\n", {"refused 400"});
    check("GET /\xC3\xA4 HTTP/1.1\r\nHost: a\r\n", {"refused 400"});
    check("G\"T / HTTP/1.1\r\nHost: a\r\n", {"refused 400"});
    check("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", {"refused 400"});
    check("GET / HTTP/1.1\r\nHost: a\r\nName : x\r\n\r\n", {"refused 400"});
    check("GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", {"refused 400"});
    check("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n", {"refused 400"});
    check("GET / HTTP/1.1\r\nHost: a\r\nA: b\x01z\r\n\r\n", {"refused 400"});
}

TEST(HttpRequest, OtherMethodsAndVersionsHaveTheirOwnStatus) {
    for (const char* method : {"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"}) {
        check(fmt::format("{} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb", method),
              {"other /x? keep=true Content-Length=1 [b]"});
    }
    check("CONNECT a:25 HTTP/1.1\r\nHost: a\r\n\r\n", {"refused 501"});
    check("get / HTTP/1.1\r\nHost: a\r\n\r\n", {"refused 501"});
    check("GET / HTTP/2.0\r\n\r\n", {"refused 505"});
    check("GET / HTTP/0.9\r\n\r\n", {"refused 505"});
}

TEST(HttpRequest, AHostIsThereOnce) {
    check("GET / HTTP/1.1\r\nA: b\r\n\r\n", {"refused 400"});
    check("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", {"refused 400"});
    check("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", {"refused 400"});
    check("GET / HTTP/1.0\r\n\r\n", {"GET /? keep=false []"});
    check("GET / HTTP/1.1\r\nHost:\r\n\r\nGET / HTTP/1.1\r\n\r\n",
          {"GET /? keep=true Host= []", "refused 400"}); // each request wants its own
}

TEST(HttpRequest, ABodysLengthHasOneReading) {
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
          {"POST /? keep=true Content-Length=0 []"});
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
          {"POST /? keep=true Content-Length=2 Content-Length=2 [ab]"});
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
          {"refused 400"});
    for (const char* bad : {"", "+2", "-1", "2,2", "0x2", "2 3"}) {
        check(fmt::format("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", bad),
              {"refused 400"});
    }
    check("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", {"refused 501"});
    check("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nab",
          {"refused 400"});
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", {"refused 413"});
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
          {"refused 413"});
}

TEST(HttpRequest, EveryBoundIsReachedAndNotPassed) {
    const auto line = [](std::size_t octets) {
        return "GET /" + std::string(octets - std::string_view("GET / HTTP/1.1\r\n").size(), 'a') +
               " HTTP/1.1\r\n";
    };
    EXPECT_EQ(parse({line(HttpRequestParser::request_line_bytes_max)}), Outcome{"more"});
    EXPECT_EQ(parse({line(HttpRequestParser::request_line_bytes_max + 1)}), Outcome{"refused 414"});
    EXPECT_EQ(parse({std::string(100'000, 'a')}), Outcome{"refused 414"});

    const auto fields = [](std::size_t octets) {
        return "GET / HTTP/1.0\r\nA:" +
               std::string(octets - std::string_view("A:\r\n\r\n").size(), 'b') + "\r\n\r\n";
    };
    EXPECT_EQ(parse({fields(HttpRequestParser::fields_bytes_max)}).front().substr(0, 5), "GET /");
    EXPECT_EQ(parse({fields(HttpRequestParser::fields_bytes_max + 1)}), Outcome{"refused 431"});
    std::string many = "GET / HTTP/1.1\r\n";
    for (int count = 0; count < 101; ++count) {
        many += "A:\r\n";
    }
    EXPECT_EQ(parse({many}), Outcome{"refused 431"});

    const std::string body(HttpRequestParser::body_bytes_max, 'x');
    const std::string wire = "POST / HTTP/1.0\r\nContent-Length: 65536\r\n\r\n" + body;
    EXPECT_EQ(parse({wire}).size(), 1U);
    EXPECT_EQ(parse({std::string_view(wire).substr(0, wire.size() - 1)}), Outcome{"more"});
}

TEST(HttpRequest, AClientThatWaitsToContinueIsToldOnce) {
    HttpRequestParser parser;
    const std::string_view head =
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n";
    EXPECT_FALSE(parser.take_continue());
    EXPECT_EQ(parser.receive(as_bytes(head)).event, HttpEvent::need_input);
    EXPECT_TRUE(parser.take_continue());
    EXPECT_FALSE(parser.take_continue());
    EXPECT_EQ(parser.receive(as_bytes(std::string_view("x"))).event, HttpEvent::request);
}

TEST(HttpRequest, FieldNamesMatchInAnyCase) {
    HttpRequestParser parser;
    const std::string_view wire = "GET / HTTP/1.1\r\nHost: a\r\nx-RINGMX-admin: 1\r\n\r\n";
    ASSERT_EQ(parser.receive(as_bytes(wire)).event, HttpEvent::request);
    EXPECT_EQ(parser.request().field("X-Ringmx-Admin"), "1");
    EXPECT_EQ(parser.request().field("X-Ringmx"), "");
}

TEST(HttpRequest, RandomOctetsAreHandledTheSameHoweverTheyAreCut) {
    std::mt19937 random(11);
    constexpr std::string_view parts[] = {
        "GET ", "/", " HTTP/1.1", "\r\n",           "\n",      "\r",      "A: b",
        ":",    " ", "\t",        "Content-Length", "3",       "POST / ", "HTTP/1.0",
        "\xFF", "a", "close",     "Connection: ",   "\r\n\r\n"};
    for (int round = 0; round < 3000; ++round) {
        std::string wire = round % 2 == 0 ? "GET / HTTP/1.1\r\nHost: a\r\n" : "";
        for (auto count = random() % 12; count > 0; --count) {
            wire += parts[random() % std::size(parts)];
        }
        const Outcome whole = parse({wire});
        std::vector<std::string_view> octets;
        octets.reserve(wire.size());
        for (std::size_t at = 0; at < wire.size(); ++at) {
            octets.push_back(std::string_view(wire).substr(at, 1));
        }
        ASSERT_EQ(parse(octets), whole) << wire;
    }
}

} // namespace
} // namespace ringmx::admin
