#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include <sys/stat.h>

#include "planner/model/shape.h"
#include "runtime/tensors/random_model_file.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::tools {
namespace {

using test::Terminal;

const std::string kProgram = LFM_BINARY_DIR "/bin/lfm-run";

/// Chats on a terminal; the history lies in a folder of the test's own.
class LfmRunChat : public testing::Test {
protected:
    void SetUp() override {
        ::setenv("XDG_STATE_HOME", folder_.file("").c_str(), 1);
        ::setenv("TERM", "xterm", 1);
    }

    std::string slow_model() {
        const std::string path = folder_.file("slow.gguf");
        write_random_model(
            describe_shape("lfm2,n_layer=8,attention=3.7,n_embd=512,n_head=8,n_ff=2048,n_ctx=65536:Q8_0"), path, 1);
        return path;
    }
    std::string history() const { return folder_.file("lfm/history"); }

    test::ScratchDir folder_;
};

TEST_F(LfmRunChat, AnswersMessagesAndCommands) {
    Terminal chat({kProgram, "-v", "-n", "12"});
    ASSERT_TRUE(chat.wait_for("/help lists")) << chat.screen;
    chat.type("Hello\n");
    ASSERT_TRUE(chat.wait_for("; answer ")) << chat.screen;
    chat.type("Tell me a story\n");
    ASSERT_TRUE(chat.wait_for("reused)")) << chat.screen;
    chat.type("/regen\n");
    ASSERT_TRUE(chat.wait_for("reused)")) << chat.screen;
    chat.type("/stats\n");
    ASSERT_TRUE(chat.wait_for("context: ")) << chat.screen;
    chat.type("/nonsense\n");
    ASSERT_TRUE(chat.wait_for("unknown command /nonsense")) << chat.screen;
    chat.type("/Grüße 你好\n");
    ASSERT_TRUE(chat.wait_for("unknown command /Grüße 你好")) << chat.screen;
    chat.type("/help\n");
    ASSERT_TRUE(chat.wait_for("/exit    leave")) << chat.screen;
    chat.type("/clear\n/regen\n");
    ASSERT_TRUE(chat.wait_for("no answer yet")) << chat.screen;
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, CtrlDLeaves) {
    Terminal chat({kProgram});
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("\004");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, CtrlCStopsTheAnswerOnly) {
    Terminal chat({kProgram, "-v", "-m", slow_model(), "--temp", "0"});
    ASSERT_TRUE(chat.wait_for("> ")) << chat.screen;
    for (const char* message : {"Hello\n", "Again\n", "/regen\n"}) {
        chat.type(message);
        ASSERT_TRUE(chat.wait_for("\r\n"));
        const std::size_t before = chat.screen.size();
        while (chat.screen.size() < before + 50) ASSERT_TRUE(chat.wait_for_more());
        chat.type("\003");
        ASSERT_TRUE(chat.wait_for("stopped", 2)) << chat.screen;
        ASSERT_TRUE(chat.wait_for("> ")) << chat.screen;
    }
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, CtrlCTwiceLeaves) {
    Terminal at_prompt({kProgram});
    ASSERT_TRUE(at_prompt.wait_for("> "));
    at_prompt.type("\003");
    ASSERT_TRUE(at_prompt.wait_for("Ctrl-C again")) << at_prompt.screen;
    ASSERT_TRUE(at_prompt.wait_for("> "));
    at_prompt.type("/stats\n");
    ASSERT_TRUE(at_prompt.wait_for("context: ")) << "anything else in between keeps it going";
    ASSERT_TRUE(at_prompt.wait_for("> "));
    at_prompt.type("\003");
    ASSERT_TRUE(at_prompt.wait_for("Ctrl-C again"));
    ASSERT_TRUE(at_prompt.wait_for("> "));
    at_prompt.type("\003");
    EXPECT_EQ(at_prompt.wait(), 130);
}

TEST_F(LfmRunChat, TerminateLeaves) {
    Terminal chat({kProgram});
    ASSERT_TRUE(chat.wait_for("> "));
    chat.signal(SIGTERM);
    EXPECT_EQ(chat.wait(), 143);
}

TEST_F(LfmRunChat, CtrlZAtThePromptGivesTheTerminalBack) {
    Terminal chat({kProgram});
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("/sta");
    ASSERT_TRUE(chat.wait_for("/sta")) << chat.screen;
    ASSERT_FALSE(chat.gives_lines());
    chat.type("\032");
    ASSERT_TRUE(test::stops(chat.id(), test::kStopsWithin));
    EXPECT_TRUE(chat.gives_lines());
    chat.signal(SIGCONT);
    ASSERT_TRUE(chat.wait_for("> /sta")) << "what was typed shows again: " << chat.screen;
    EXPECT_FALSE(chat.gives_lines());
    chat.type("ts\n");
    ASSERT_TRUE(chat.wait_for("context: ")) << chat.screen;
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, CtrlZHoldsAnAnswer) {
    Terminal chat({kProgram, "-v", "-m", slow_model(), "--temp", "0", "-n", "300"});
    ASSERT_TRUE(chat.wait_for("> ")) << chat.screen;
    chat.type("Hello\n");
    ASSERT_TRUE(chat.wait_for("\r\n"));
    const std::size_t before = chat.screen.size();
    while (chat.screen.size() < before + 50) ASSERT_TRUE(chat.wait_for_more());
    chat.type("\032");
    ASSERT_TRUE(test::stops(chat.id(), test::kStopsWithin)) << chat.screen;
    chat.signal(SIGCONT);
    ASSERT_TRUE(chat.wait_for("; answer 300 tokens")) << chat.screen;
    ASSERT_TRUE(chat.wait_for("> ")) << chat.screen;
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, MessagesMayHaveSeveralLines) {
    Terminal chat({kProgram, "-v", "-n", "4"});
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("one \\\n");
    ASSERT_TRUE(chat.wait_for(". ")) << chat.screen;
    chat.type("two\n");
    ASSERT_TRUE(chat.wait_for("; answer ")) << chat.screen;
    chat.type("\"\"\"\n/exit\nin a block is text\n\"\"\"\n");
    ASSERT_TRUE(chat.wait_for("; answer ")) << chat.screen;
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, WhatIsPastedIsOneMessage) {
    Terminal chat({kProgram, "-v", "-n", "4"});
    ASSERT_TRUE(chat.wait_for("\033[?2004h")) << "the terminal is asked to frame what is pasted: " << chat.screen;
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("before \033[200~one\r/exit\rthree \"\"\"\r\r\033[201~");
    ASSERT_TRUE(chat.wait_for("three")) << chat.screen;
    EXPECT_FALSE(chat.wait_for("; answer ", 0.5)) << "Enter sends it";
    chat.type(" behind\n");
    ASSERT_TRUE(chat.wait_for("\033[?2004l")) << chat.screen;
    ASSERT_TRUE(chat.wait_for("; answer ")) << chat.screen;
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("/stats\n");
    ASSERT_TRUE(chat.wait_for("context: ")) << chat.screen;
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
    std::ifstream file(history());
    const std::string lines{std::istreambuf_iterator<char>(file), {}};
    EXPECT_NE(lines.find("before\\040one\\012/exit\\012three\\040\"\"\"\\040behind"), std::string::npos) << lines;
}

TEST_F(LfmRunChat, JoinedCharactersAreErasedAsOne) {
    Terminal chat({kProgram});
    ASSERT_TRUE(chat.wait_for("> "));
    // A family of four, a thumb with its skin, an e with two accents: each goes with one key.
    chat.type(
        "/sta\U0001F468\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466\177"
        "\U0001F44D\U0001F3FD\177e\u0301\u0323\177ts\n");
    ASSERT_TRUE(chat.wait_for("context: ")) << chat.screen;
    ASSERT_TRUE(chat.wait_for("> "));
    // To the left over one, and it is erased from there; Ctrl-D does not leave while there is text.
    chat.type("/stats\U0001F468\u200D\U0001F469\033[D\004\n");
    ASSERT_TRUE(chat.wait_for("context: ")) << chat.screen;
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("\004");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, TabCompletesCommands) {
    Terminal chat({kProgram});
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("/st\t\n");
    ASSERT_TRUE(chat.wait_for("context: ")) << chat.screen;
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("/\t");
    for (const char* command : {"/help", "/clear", "/regen", "/stats", "/plan", "/mem", "/exit"})
        ASSERT_TRUE(chat.wait_for(command)) << chat.screen;
    ASSERT_TRUE(chat.wait_for("> /")) << "the line shows again: " << chat.screen;
    chat.type("h\t\n");
    ASSERT_TRUE(chat.wait_for("/exit    leave")) << chat.screen;
    chat.type("/ex\t\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, CommandsWithMoreBehindThem) {
    Terminal chat({kProgram, "-v", "-n", "4"});
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("/clear the table\n");
    ASSERT_TRUE(chat.wait_for("/clear takes nothing behind it")) << chat.screen;
    chat.type("//clear the table\n");
    ASSERT_TRUE(chat.wait_for("; answer ")) << "a message that begins with /: " << chat.screen;
    chat.type("/clearing\n");
    ASSERT_TRUE(chat.wait_for("unknown command /clearing")) << chat.screen;
    chat.type("/exit now\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, OldTurnsAreDroppedWhenAskedFor) {
    Terminal chat({kProgram, "-v", "-c", "96", "-n", "4", "--on-full", "drop-oldest"});
    ASSERT_TRUE(chat.wait_for("> "));
    for (int i = 0; i < 12; ++i) {
        chat.type("Tell me a story about a fox and a cow.\n");
        ASSERT_TRUE(chat.wait_for("; answer ")) << chat.screen;
    }
    EXPECT_NE(chat.screen.find("context full: the oldest turn was dropped"), std::string::npos) << chat.screen;
    EXPECT_EQ(chat.screen.find("does not fit"), std::string::npos) << chat.screen;
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, AFullContextSaysWhatHelps) {
    Terminal chat({kProgram, "-v", "-c", "64", "-n", "4"});
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type(std::string(900, 'x') + "\n");
    ASSERT_TRUE(chat.wait_for("longer than the whole context, whose size -c sets")) << chat.screen;
    for (int i = 0; i < 12 && chat.screen.find("/clear starts anew") == std::string::npos; ++i) {
        chat.type("Tell me a story about a fox.\n");
        ASSERT_TRUE(chat.wait_for("> ")) << chat.screen;
    }
    EXPECT_NE(chat.screen.find("/clear starts anew, --on-full drop-oldest"), std::string::npos) << chat.screen;
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, APromptFromTheTerminalEndsWithOneCtrlD) {
    Terminal once({kProgram, "-n", "4", "-f", "-"});
    once.type("Hi\n\004");
    ASSERT_TRUE(once.wait_for("tok/s")) << once.screen;
    EXPECT_EQ(once.wait(), 0);
}

TEST_F(LfmRunChat, HistoryIsKeptForItsOwner) {
    for (const char* keys : {"/stats\n", "\033[A\n"}) {  // the second time by the arrow key
        Terminal chat({kProgram});
        ASSERT_TRUE(chat.wait_for("> "));
        chat.type(keys);
        ASSERT_TRUE(chat.wait_for("context: ")) << chat.screen;
        ASSERT_TRUE(chat.wait_for("> "));
        chat.type("\004");
        EXPECT_EQ(chat.wait(), 0);
    }
    struct stat status {};
    ASSERT_EQ(::stat(history().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(LfmRunChat, AHistoryThatCannotBeWrittenIsNoError) {
    std::ofstream(folder_.file("lfm")) << "a file where the folder should be";
    Terminal chat({kProgram});
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("/stats\n");
    ASSERT_TRUE(chat.wait_for("context: "));
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, AMessageThatDoesNotFitEndsNothing) {
    Terminal chat({kProgram, "-v", "-c", "64", "-n", "4"});
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type(std::string(900, 'x') + "\n");
    ASSERT_TRUE(chat.wait_for("does not fit")) << chat.screen;
    chat.type("Hi\n");
    ASSERT_TRUE(chat.wait_for("; answer ")) << chat.screen;
    chat.type("/exit\n");
    EXPECT_EQ(chat.wait(), 0);
}

TEST_F(LfmRunChat, APromptOnATerminalIsAnsweredOnce) {
    Terminal once({kProgram, "-n", "4", "-p", "Hi"});
    EXPECT_EQ(once.wait(), 0);
    EXPECT_NE(once.screen.find("tok/s"), std::string::npos);
}

}  // namespace
}  // namespace lfm::tools
