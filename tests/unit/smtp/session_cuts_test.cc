// Random sessions, cut at random: what a client hears and what is accepted must not hang on where
// the network cut its octets.
#include "unit/smtp/scripted_owner.h"

#include <gtest/gtest.h>
#include <random>
#include <string>

namespace ringmx::smtp {
namespace {

constexpr std::string_view fragments[] = {
    "EHLO client.example\r\n",
    "HELO c\r\n",
    "MAIL FROM:<a@example.com>\r\n",
    "MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
    "MAIL FROM:<\xc3\xbc@b.c> SMTPUTF8\r\n",
    "MAIL FROM:<a@example.com> RET=HDRS ENVID=QQ+2B1\r\n",
    "RCPT TO:<b@example.com>\r\n",
    "RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2B@example.com\r\n",
    "RCPT TO:<b@example.com> NOTIFY=NEVER,DELAY\r\n",
    "RCPT TO:<no@example.com>\r\n",
    "RCPT TO:<bad>\r\n",
    "RCPT TO:<later@example.com>\r\n",
    "DATA\r\n",
    "DATA\r\nSubject: x\r\n\r\ntext\r\n.\r\n",
    ".\r\n",
    "..\r\n",
    ".\n",
    "\r\n.\r\n",
    "\n.\r\n",
    "\r.\r",
    std::string_view(".\0\r\n", 4),
    "a\r\n",
    "a\n",
    "\r",
    "Received: x\r\n",
    "Received: y\r\nReceived: z\r\n",
    "BDAT 3\r\nabc",
    "BDAT 0 LAST\r\n",
    "BDAT 4 LAST\r\na\nb\r",
    "BDAT 12 LAST\r\nRSET\r\n\r\n.\r\nx",
    "BDAT 30\r\nabcdefghijklmnopqrst",
    "BDAT 5 WRONG\r\n12345",
    "RSET\r\n",
    "NOOP\r\n",
    "NOOP\n",
    "VRFY x\r\n",
    "FROB\r\n",
    "NOOP xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
    "\r\n",
};

std::string random_input(std::mt19937& random) {
    std::string input = "EHLO client.example\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<b@example.com>\r\n";
    for (auto count = random() % 40; count > 0; --count) {
        if (random() % 60 == 0) {
            input += std::string(random() % 4000, 'x');
        } else if (random() % 3 == 0) {
            input += "MAIL FROM:<a@b.c>\r\nRCPT TO:<b@example.com>\r\n";
        }
        input += fragments[random() % std::size(fragments)];
    }
    return input;
}

dialog::Dialog random_script(std::mt19937& random) {
    dialog::Dialog script;
    script.mail = OwnedReply({250, {2, 1, 0}, "Ok"});
    script.data = OwnedReply({354, {}, ""});
    script.lmtp = false;
    script.normalize = random() % 2 == 0;
    script.limits = {{"size", 40 + random() % 100},
                     {"recipients", 1 + random() % 4},
                     {"errors", random() % 30},
                     {"unknown", random() % 4},
                     {"received", 1 + random() % 3}};
    script.recipients["no@example.com"] = {OwnedReply({550, {5, 1, 1}, "No"}), false, true};
    script.recipients["later@example.com"] = {OwnedReply({450, {4, 2, 0}, "Later"}), true, false};
    return script;
}

TEST(SessionCutsTest, TheOutcomeDoesNotHangOnTheCuts) {
    for (unsigned seed = 1; seed <= 1500; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        std::mt19937 random(seed);
        const dialog::Dialog script = random_script(random);
        const std::string input = random_input(random);
        ScriptedOwner whole(script, false);
        whole.start();
        whole.feed(input);
        for (int way = 0; way < 4; ++way) {
            const bool is_late = way % 2 == 1;
            ScriptedOwner cut(script, is_late);
            cut.start();
            const std::size_t piece_bytes_max = way < 2 ? 1 : 1 + random() % 30;
            for (std::string_view rest = input; !rest.empty() && !cut.is_closed();) {
                const std::size_t bytes =
                    std::min<std::size_t>(rest.size(), 1 + random() % piece_bytes_max);
                cut.feed(rest.substr(0, bytes));
                rest.remove_prefix(bytes);
            }
            ASSERT_EQ(cut.output(), whole.output()) << "way " << way;
            ASSERT_EQ(cut.contents(), whole.contents());
            ASSERT_EQ(cut.is_closed(), whole.is_closed());
            if (!is_late) {
                ASSERT_EQ(cut.trail(), whole.trail());
            }
        }
    }
}

} // namespace
} // namespace ringmx::smtp
