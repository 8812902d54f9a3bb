// What the session's commands cost: parsing one line, and a whole pipelined transaction.
#include "smtp/command.h"
#include "smtp/server_session.h"
#include "smtp/trace_field.h"

#include <benchmark/benchmark.h>
#include <string>

namespace ringmx::smtp {
namespace {

constexpr Reply ok = {250, {2, 0, 0}, "Ok"};

void parse_mail_line(benchmark::State& state) {
    const std::string line = "MAIL FROM:<some.sender@mail.example.com> SIZE=4096 BODY=8BITMIME";
    for (auto _ : state) {
        const auto command = parse_command(line);
        benchmark::DoNotOptimize(parse_mail(command->argument, {true, true}));
    }
}
BENCHMARK(parse_mail_line);

void parse_recipient_line(benchmark::State& state) {
    const std::string line = "RCPT TO:<some.recipient@example.com>";
    for (auto _ : state) {
        const auto command = parse_command(line);
        benchmark::DoNotOptimize(parse_recipient(command->argument, {false, true}));
    }
}
BENCHMARK(parse_recipient_line);

// One flight: MAIL, RCPT, DATA, content, end; the argument is the content's size.
void pipelined_transaction(benchmark::State& state) {
    ServerSettings settings;
    settings.hostname = "mx1.example.com";
    ServerSession session(settings);
    (void)session.receive(as_bytes("EHLO client.example\r\n"));
    std::string wire = "MAIL FROM:<some.sender@mail.example.com> SIZE=4096\r\n"
                       "RCPT TO:<some.recipient@example.com>\r\nDATA\r\nSubject: x\r\n\r\n";
    const auto content_bytes = static_cast<std::size_t>(state.range(0));
    while (wire.size() < content_bytes) {
        wire += std::string(70, 'x') + "\r\n";
    }
    wire += ".\r\n";
    for (auto _ : state) {
        session.output().clear();
        for (Bytes rest = as_bytes(wire);;) {
            const auto step = session.receive(rest);
            rest = rest.subspan(step.consumed);
            if (step.event == ServerEvent::mail) {
                session.answer_mail(ok);
            } else if (step.event == ServerEvent::recipient) {
                session.answer_recipient(ok, AnswerSource::backend, false);
            } else if (step.event == ServerEvent::data) {
                session.answer_data({354, {}, ""});
            } else if (step.event == ServerEvent::content_end) {
                session.answer_message(ok);
            } else if (step.event == ServerEvent::need_input) {
                break;
            }
        }
        benchmark::DoNotOptimize(session.output().data());
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(wire.size()));
}
BENCHMARK(pipelined_transaction)->Arg(128)->Arg(4096)->Arg(65536);

void trace_field(benchmark::State& state) {
    TraceSource source;
    source.hello_name = "client.example";
    source.client_ip = IpAddress::v4(0xc0000201);
    source.hostname = "mx1.example.com";
    source.id = "4Zx7abc";
    source.recipient = "some.recipient@example.com";
    source.esmtp = true;
    std::string out;
    for (auto _ : state) {
        out.clear();
        append_trace_field(out, source);
        benchmark::DoNotOptimize(out.data());
    }
}
BENCHMARK(trace_field);

} // namespace
} // namespace ringmx::smtp
