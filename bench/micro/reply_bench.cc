// What one backend reply costs the client's side: parsed alone, and matched to its command.
#include "smtp/client_session.h"
#include "smtp/reply_parser.h"

#include <benchmark/benchmark.h>
#include <string>

namespace {

using namespace ringmx;

void parse_replies(benchmark::State& state, const std::string& wire, std::size_t piece_bytes) {
    smtp::ReplyParser parser;
    std::int64_t replies = 0;
    for (auto _ : state) {
        for (std::size_t at = 0; at < wire.size();) {
            const std::size_t count = std::min(piece_bytes, wire.size() - at);
            const auto step = parser.parse(as_bytes({wire.data() + at, count}));
            at += step.consumed;
            replies += step.outcome == smtp::ReplyParser::Outcome::reply ? 1 : 0;
        }
        benchmark::DoNotOptimize(parser.reply().text.data());
    }
    state.SetItemsProcessed(replies);
}

const std::string pipelined =
    "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
    "250 2.0.0 Ok: queued as 4Zx1yq2Bz9z1\r\n";
const std::string multi_line =
    "550-5.1.1 The email account that you tried to reach does not exist.\r\n"
    "550-5.1.1 Please try double-checking the recipient's address\r\n"
    "550 5.1.1 for typos or unnecessary spaces.\r\n";

BENCHMARK_CAPTURE(parse_replies, single_line, pipelined, pipelined.size());
BENCHMARK_CAPTURE(parse_replies, single_line_cut_every_10, pipelined, std::size_t{10});
BENCHMARK_CAPTURE(parse_replies, multi_line, multi_line, multi_line.size());

// MAIL, RCPT and a last chunk queued as one flight, and their three replies taken.
void transaction(benchmark::State& state) {
    smtp::ClientSession session("mx1.example.com", false);
    // EHLO is sent in between: an answer that was there before it would be malformed.
    (void)session.receive(as_bytes("220 b\r\n"));
    session.output().clear();
    const auto hello =
        session.receive(as_bytes("250-b\r\n250-SIZE 100000\r\n250-PIPELINING\r\n250 CHUNKING\r\n"));
    if (hello.event != smtp::ClientEvent::ready) {
        state.SkipWithError("the backend's hello is not taken");
        return;
    }
    const smtp::MailCommand sender{"sender@example.com",          {},
                                   smtp::BodyType::unstated,      false,
                                   smtp::ReturnContent::unstated, {}};
    const std::string replies =
        "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok: queued as 4Zx1yq2Bz9z1\r\n";
    for (auto _ : state) {
        session.output().clear();
        session.mail(sender, 4096);
        session.recipient("recipient@example.net");
        session.chunk(4096, true);
        for (std::size_t at = 0; at < replies.size();) {
            at += session.receive(as_bytes({replies.data() + at, replies.size() - at})).consumed;
            benchmark::DoNotOptimize(session.reply().code);
        }
    }
    state.SetItemsProcessed(3 * state.iterations());
}
BENCHMARK(transaction);

} // namespace
