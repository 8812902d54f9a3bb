#include "observe/log_writer.h"

#include <array>
#include <cstring>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace ringmx::observe {
namespace {

using ::testing::HasSubstr;

constexpr WallTime noon(1'700'000'000s);

class Pipe {
  public:
    Pipe() { EXPECT_EQ(pipe2(ends_.data(), O_CLOEXEC), 0); }
    ~Pipe() {
        close_reader();
        close(ends_[1]);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    [[nodiscard]] int writer() const { return ends_[1]; }
    void close_reader() {
        if (ends_[0] >= 0) {
            close(ends_[0]);
            ends_[0] = -1;
        }
    }
    // What is there now.
    std::string read_now() {
        fcntl(ends_[0], F_SETFL, O_NONBLOCK);
        std::string all;
        std::array<char, 65536> part{};
        ssize_t count = 0;
        while ((count = read(ends_[0], part.data(), part.size())) > 0) {
            all.append(part.data(), static_cast<std::size_t>(count));
        }
        return all;
    }
    std::string read_until(std::string_view end) {
        std::string all;
        std::array<char, 4096> part{};
        while (!all.ends_with(end)) {
            const ssize_t count = read(ends_[0], part.data(), part.size());
            if (count <= 0) {
                break;
            }
            all.append(part.data(), static_cast<std::size_t>(count));
        }
        return all;
    }
    // Fills the pipe so that not one octet more fits.
    void stuff() {
        fcntl(ends_[1], F_SETFL, O_NONBLOCK);
        const std::string junk(4096, 'x');
        while (write(ends_[1], junk.data(), junk.size()) > 0) {
        }
        fcntl(ends_[1], F_SETFL, 0); // blocking again, as stderr mostly is
    }

  private:
    std::array<int, 2> ends_{-1, -1};
};

void say(Log& log, std::string_view detail, LogLevel level = LogLevel::info) {
    if (LogRecord* record = log.begin(LogEvent::notice, level, noon); record != nullptr) {
        record->detail(detail);
        log.commit();
    }
}

LogSettings settings(LogFormat format = LogFormat::text, LogLevel level = LogLevel::info) {
    LogSettings result;
    result.format = format;
    result.level = level;
    return result;
}

TEST(LogWriter, WritesWhatSeveralLogsCommitted) {
    Pipe pipe;
    LogWriter writer(settings(), pipe.writer(), 7);
    Log& first = writer.add_log(8);
    Log& second = writer.add_log(8);
    say(first, "one");
    say(second, "two", LogLevel::warning);
    writer.flush();
    EXPECT_EQ(pipe.read_now(), "ringmx/smtpd[7]: one\nringmx/smtpd[7]: warning: two\n");
}

TEST(LogWriter, BelowTheLevelThereIsNoRecordAndNothingIsLost) {
    Pipe pipe;
    LogWriter writer(settings(LogFormat::text, LogLevel::warning), pipe.writer(), 7);
    Log& log = writer.add_log(8);
    EXPECT_EQ(log.begin(LogEvent::accepted, noon), nullptr);
    EXPECT_EQ(log.begin(LogEvent::notice, LogLevel::info, noon), nullptr);
    EXPECT_NE(log.begin(LogEvent::notice, LogLevel::error, noon), nullptr);
    EXPECT_EQ(log.dropped_total(), 0U);
}

TEST(LogWriter, AFullRingLosesRecordsAndSaysHowMany) {
    Pipe pipe;
    LogWriter writer(settings(), pipe.writer(), 7);
    Log& log = writer.add_log(4);
    for (int count = 0; count < 7; ++count) {
        say(log, "x");
    }
    EXPECT_EQ(log.dropped_total(), 3U);
    writer.flush();
    EXPECT_THAT(pipe.read_now(), HasSubstr("x\nringmx/smtpd[7]: warning: 3 log records were lost"));
    say(log, "y");
    writer.flush();
    EXPECT_EQ(pipe.read_now(), "ringmx/smtpd[7]: y\n"); // said once
}

TEST(LogWriter, ConfigureChangesFormatPrefixAndLevel) {
    Pipe pipe;
    LogWriter writer(settings(), pipe.writer(), 7);
    Log& log = writer.add_log(8);
    LogSettings other = settings(LogFormat::json, LogLevel::debug);
    writer.configure(other);
    say(log, "deep", LogLevel::debug);
    writer.flush();
    EXPECT_EQ(pipe.read_now(), "{\"time\":\"2023-11-14T22:13:20.000000Z\",\"level\":\"debug\","
                               "\"event\":\"notice\",\"pid\":7,\"detail\":\"deep\"}\n");
    other.format = LogFormat::text;
    other.prefix = "postfix/smtpd";
    writer.configure(other);
    say(log, "back");
    writer.flush();
    EXPECT_EQ(pipe.read_now(), "postfix/smtpd[7]: back\n");
}

TEST(LogWriter, TheThreadWakesForARecordAfterAPause) {
    Pipe pipe;
    LogWriter writer(settings(), pipe.writer(), 7);
    Log& log = writer.add_log(8);
    writer.start();
    for (int round = 0; round < 5; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(round * 3)); // asleep or not
        say(log, "now");
        EXPECT_EQ(pipe.read_until("now\n"), "ringmx/smtpd[7]: now\n");
    }
}

TEST(LogWriter, FourThreadsLoseNothingWhileMainReconfigures) {
    Pipe pipe;
    constexpr std::size_t threads_count = 4;
    constexpr std::size_t lines_each = 2000;
    std::size_t lines = 0;
    std::size_t dropped = 0;
    {
        LogWriter writer(settings(), pipe.writer(), 7);
        std::vector<Log*> logs;
        logs.reserve(threads_count);
        for (std::size_t index = 0; index < threads_count; ++index) {
            logs.push_back(&writer.add_log(64));
        }
        writer.start();
        std::vector<std::thread> threads;
        threads.reserve(threads_count);
        for (Log* log : logs) {
            threads.emplace_back([log] {
                for (std::size_t index = 0; index < lines_each; ++index) {
                    LogRecord* record = nullptr;
                    while ((record = log->begin(LogEvent::notice, noon)) == nullptr) {
                        std::this_thread::yield();
                    }
                    record->detail("line");
                    log->commit();
                }
            });
        }
        std::thread reader([&] {
            while (lines < threads_count * lines_each) {
                std::string text = pipe.read_until("\n");
                std::size_t at = 0;
                while ((at = text.find(": line\n", at)) != std::string::npos) {
                    ++lines;
                    ++at;
                }
            }
        });
        (void)writer.add_log(8);
        writer.configure(settings());
        for (std::thread& thread : threads) {
            thread.join();
        }
        reader.join();
        writer.stop();
        for (const Log* log : logs) {
            dropped += log->dropped_total();
        }
        (void)dropped; // begin() was tried again for each of them
    }
    EXPECT_EQ(lines, threads_count * lines_each);
}

TEST(LogWriter, AReaderThatIsGoneCostsLinesAndNoSignal) {
    Pipe pipe;
    pipe.close_reader();
    LogWriter writer(settings(), pipe.writer(), 7);
    Log& log = writer.add_log(8);
    say(log, "x");
    say(log, "x");
    writer.flush(); // on this thread: SIGPIPE would end the test
    EXPECT_EQ(writer.lines_failed_total(), 2U);
    writer.start();
    say(log, "x");
    writer.stop();
    EXPECT_EQ(writer.lines_failed_total(), 3U);
}

TEST(LogWriter, AStuckReaderNeitherBlocksTheWorkerNorStop) {
    Pipe pipe;
    pipe.stuff();
    LogWriter writer(settings(), pipe.writer(), 7);
    Log& log = writer.add_log(4);
    writer.start();
    while (log.dropped_total() == 0) {
        say(log, "x");
    }
    writer.stop();
    EXPECT_GT(writer.lines_failed_total(), 0U);
}

TEST(LogWriter, ASlowReaderGetsEveryLineWhole) {
    Pipe pipe;
    LogWriter writer(settings(), pipe.writer(), 7);
    Log& log = writer.add_log(1024);
    const std::string text(300, 'z');
    for (int count = 0; count < 1000; ++count) {
        say(log, text);
    }
    writer.start();
    const std::string line = "ringmx/smtpd[7]: " + text + "\n";
    std::string all;
    while (all.size() < line.size() * 1000) {
        all += pipe.read_until("\n"); // 4 KiB at a time: the writer has to wait again and again
    }
    for (std::size_t at = 0; at < all.size(); at += line.size()) {
        ASSERT_EQ(all.substr(at, line.size()), line);
    }
}

TEST(LogWriter, WritesToASocketToo) {
    std::array<int, 2> ends{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    {
        LogWriter writer(settings(), ends[1], 7);
        say(writer.add_log(8), "journal");
        writer.flush();
    }
    std::array<char, 100> part{};
    const ssize_t count = read(ends[0], part.data(), part.size());
    EXPECT_EQ(std::string_view(part.data(), static_cast<std::size_t>(count)),
              "ringmx/smtpd[7]: journal\n");
    close(ends[0]);
    close(ends[1]);
}

} // namespace
} // namespace ringmx::observe
