#include "runtime/session/chat_session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "memory/error.h"
#include "tests/runtime/tiny_model.h"

namespace lfm {
namespace {

using test::SmallVocabulary;
using test::TinyModel;

constexpr std::uint32_t kAnswer = 12;  // tokens

ChatSettings settings_for(ChatFormat format, float temperature = 1) {
    ChatSettings settings;
    settings.format = format;
    settings.generation.sampling.temperature = temperature;
    settings.generation.sampling.seed = 3;
    settings.generation.n_predict = kAnswer;
    return settings;
}

using Messages = std::vector<std::pair<std::string, std::string>>;

/// The answer of a fresh session to the whole conversation at once.
std::string answer_afresh(TinyModel& model, const ChatSettings& settings, std::uint64_t seed,
                          const Messages& messages) {
    Conversation conversation;
    conversation.options.think_start = settings.generation.think_start;
    for (const auto& [role, content] : messages) conversation.add(role, content);
    const auto tokens = model.tokenizer.encode(render(settings.format, conversation), SpecialTokens::kAsTokens);
    GenerationOptions options = settings.generation;
    options.sampling.seed = seed;
    Session session = model.session(1024);
    return Generator(session, model.tokenizer).complete(tokens, options, {}).raw;
}

TEST(ChatSession, TheSecondTurnAppendsOnlyWhatIsNew) {
    TinyModel model;
    Session session = model.session();
    const ChatSettings settings = settings_for(ChatFormat::kLfm2);
    ChatSession chat(session, model.tokenizer, settings);
    const Generation first = chat.ask("Hello", {});
    EXPECT_EQ(first.stats.n_reused, 0u);
    EXPECT_EQ(first.raw, answer_afresh(model, settings, 3, {{"user", "Hello"}}));
    const std::uint32_t held = session.position();

    const Generation second = chat.ask("And?", {});
    EXPECT_EQ(second.stats.n_reused, held);
    const std::uint32_t n_appended = second.stats.n_prompt - second.stats.n_reused;
    // Without merges every byte is a token. The last token of the first answer comes first, it was not appended yet.
    const std::string_view appended = "?^\n^user\nAnd?^\n^assistant\n";  // '^' for a control token
    EXPECT_EQ(n_appended, appended.size());
    EXPECT_EQ(second.raw,
              answer_afresh(model, settings, 4, {{"user", "Hello"}, {"assistant", first.raw}, {"user", "And?"}}));
}

TEST(ChatSession, RegenerateAppendsNothing) {
    TinyModel model;
    Session session = model.session();
    const ChatSettings settings = settings_for(ChatFormat::kLfm2);
    ChatSession chat(session, model.tokenizer, settings);
    EXPECT_FALSE(chat.can_regenerate());
    EXPECT_THROW(chat.regenerate({}), Error);
    const Generation first = chat.ask("Hello", {});
    EXPECT_TRUE(chat.can_regenerate());
    const Generation again = chat.regenerate({});
    EXPECT_EQ(again.stats.n_reused, again.stats.n_prompt);
    EXPECT_EQ(again.stats.n_prompt, first.stats.n_prompt);
    EXPECT_NE(again.raw, first.raw) << "another seed";
    EXPECT_EQ(again.raw, answer_afresh(model, settings, 4, {{"user", "Hello"}}));

    const Generation next = chat.ask("And?", {});
    EXPECT_GT(next.stats.n_reused, first.stats.n_prompt);
    EXPECT_EQ(next.raw,
              answer_afresh(model, settings, 5, {{"user", "Hello"}, {"assistant", again.raw}, {"user", "And?"}}));
}

TEST(ChatSession, RegenerateWithoutChanceGivesTheSameAnswer) {
    TinyModel model;
    Session session = model.session();
    ChatSession chat(session, model.tokenizer, settings_for(ChatFormat::kLfm2, 0));
    const std::string first = chat.ask("Hello", {}).raw;
    EXPECT_EQ(chat.regenerate({}).raw, first);
    EXPECT_EQ(chat.regenerate({}).raw, first);
}

/// Renames the token at the place `at` of the first answer to "Hello", or the next that is new.
SmallVocabulary with_think_end(const ChatSettings& settings, std::size_t at) {
    TinyModel model;
    Session session = model.session();
    ChatSession(session, model.tokenizer, settings).ask("Hello", {}).raw;
    const auto answer = session.tokens().last(kAnswer - 1);
    const auto occurs_before = [&](std::size_t place) {
        return std::find(answer.begin(), answer.begin() + std::ptrdiff_t(place), answer[place]) - answer.begin() <
               std::ptrdiff_t(place);
    };
    while (occurs_before(at) || answer[at] < 4 + 128) ++at;  // letters of the prompt stay what they are
    SmallVocabulary vocabulary;
    const auto id = static_cast<std::size_t>(answer[at]);
    vocabulary.tokens[id] = "</think>";
    vocabulary.types[id] = static_cast<std::int32_t>(TokenType::kControl);
    return vocabulary;
}

TEST(ChatSession, DroppedReasoningGoesBackToTheNewestMark) {
    const ChatSettings settings = settings_for(ChatFormat::kLfm25);
    TinyModel model(with_think_end(settings, 2));
    Session session = model.session();
    ChatSession chat(session, model.tokenizer, settings);
    const Generation first = chat.ask("Hello", {});
    ASSERT_NE(first.raw.find("</think>"), std::string::npos);
    const Generation second = chat.ask("And?", {});
    EXPECT_EQ(second.stats.n_reused, first.stats.n_prompt + first.stats.n_steps)
        << "the last answer keeps its reasoning";
    const Generation third = chat.ask("So?", {});
    EXPECT_EQ(third.stats.n_reused, first.stats.n_prompt) << "back to before the first answer";
    EXPECT_EQ(third.raw, answer_afresh(model, settings, 5,
                                       {{"user", "Hello"},
                                        {"assistant", first.raw},
                                        {"user", "And?"},
                                        {"assistant", second.raw},
                                        {"user", "So?"}}));
}

TEST(ChatSession, APromptThatOpensThinkIsMarkedBeforeIt) {
    SmallVocabulary vocabulary;
    vocabulary.add_token("<think>", TokenType::kControl);
    vocabulary.add_token("</think>", TokenType::kControl);
    TinyModel model(vocabulary);
    ChatSettings settings = settings_for(ChatFormat::kLfm25);
    settings.generation.think_start = ThinkStart::kInside;
    Session session = model.session();
    ChatSession chat(session, model.tokenizer, settings);
    const Generation first = chat.ask("Hello", {});
    EXPECT_EQ(first.raw, answer_afresh(model, settings, 3, {{"user", "Hello"}}));
    const Generation again = chat.regenerate({});
    EXPECT_EQ(again.stats.n_prompt - again.stats.n_reused, 1u) << "<think>";
    EXPECT_EQ(again.raw, answer_afresh(model, settings, 4, {{"user", "Hello"}}));
    const Generation second = chat.ask("And?", {});
    EXPECT_EQ(second.stats.n_reused, again.stats.n_prompt + again.stats.n_steps) << "history has the <think> it opened";
    EXPECT_EQ(second.raw, answer_afresh(model, settings, 5,
                                        {{"user", "Hello"}, {"assistant", "<think>" + again.raw}, {"user", "And?"}}));
}

TEST(ChatSession, AStopStringIsNotInHistory) {
    TinyModel model;
    const ChatSettings settings = settings_for(ChatFormat::kLfm2);
    Session session = model.session();
    const std::string whole = ChatSession(session, model.tokenizer, settings).ask("Hello", {}).answer;
    session.reset();
    ChatSettings stopping = settings;
    stopping.generation.stop_strings = {whole.substr(whole.size() / 2)};
    ChatSession chat(session, model.tokenizer, stopping);
    const Generation first = chat.ask("Hello", {});
    ASSERT_EQ(first.end, EndReason::kStopString);
    const Generation second = chat.ask("And?", {});
    EXPECT_EQ(second.raw,
              answer_afresh(model, stopping, 4, {{"user", "Hello"}, {"assistant", first.answer}, {"user", "And?"}}));
}

TEST(ChatSession, AMessageThatDoesNotFitLeavesTheChatAsItWas) {
    TinyModel model;
    Session session = model.session(200);
    const ChatSettings settings = settings_for(ChatFormat::kLfm2);
    ChatSession chat(session, model.tokenizer, settings);
    const Generation first = chat.ask("Hello", {});
    EXPECT_THROW(chat.ask(std::string(300, 'x'), {}), Error);
    const Generation second = chat.ask("And?", {});
    EXPECT_EQ(second.raw,
              answer_afresh(model, settings, 4, {{"user", "Hello"}, {"assistant", first.raw}, {"user", "And?"}}));
}

TEST(ChatSession, TheOldestTurnsMayBeDroppedWhenTheContextIsFull) {
    TinyModel model;
    ChatSettings settings = settings_for(ChatFormat::kLfm2);
    settings.system = "Be brief.";
    settings.on_full = OnFull::kDropOldest;
    Session session = model.session(256);
    ChatSession chat(session, model.tokenizer, settings);
    Messages turns;
    std::uint32_t n_dropped = 0;
    for (std::uint64_t turn = 0; turn < 12; ++turn) {
        const std::string message = "message " + std::to_string(turn);
        const Generation answer = chat.ask(message, {});
        EXPECT_EQ(answer.end, EndReason::kPredictLimit) << "there is room for an answer";
        n_dropped += answer.n_dropped;
        turns.erase(turns.begin(), turns.begin() + 2 * answer.n_dropped);
        Messages prompt{{"system", settings.system}};
        prompt.insert(prompt.end(), turns.begin(), turns.end());
        prompt.emplace_back("user", message);
        EXPECT_EQ(answer.raw, answer_afresh(model, settings, 3 + turn, prompt)) << turn;
        turns.emplace_back("user", message);
        turns.emplace_back("assistant", answer.raw);
    }
    EXPECT_GT(n_dropped, 3u);
    // One message that never fits is refused, and nothing is forgotten for it.
    const std::string longest(300, 'x');
    EXPECT_GT(chat.n_tokens_alone(longest), 256u);
    EXPECT_LT(chat.n_tokens_alone("And?"), 64u);
    EXPECT_THROW(chat.ask(longest, {}), Error);
    EXPECT_EQ(chat.ask("And?", {}).n_dropped, 1u);
}

TEST(ChatSession, AnInterruptedPromptIsForgotten) {
    TinyModel model;
    Session session = model.session();
    const ChatSettings settings = settings_for(ChatFormat::kLfm2);
    ChatSession chat(session, model.tokenizer, settings);
    const Generation first = chat.ask("Hello", {});
    std::atomic<bool> stop = true;
    session.set_stop_flag(&stop);
    const Generation nothing = chat.ask("Never mind", {});
    EXPECT_EQ(nothing.end, EndReason::kInterrupted);
    EXPECT_EQ(nothing.raw, "");
    stop = false;
    EXPECT_EQ(chat.ask("And?", {}).raw,
              answer_afresh(model, settings, 4, {{"user", "Hello"}, {"assistant", first.raw}, {"user", "And?"}}));
}

TEST(ChatSession, AnInterruptedAnswerIsKept) {
    TinyModel model;
    Session session = model.session();
    const ChatSettings settings = settings_for(ChatFormat::kLfm2);
    ChatSession chat(session, model.tokenizer, settings);
    std::atomic<bool> stop = false;
    session.set_stop_flag(&stop);
    const Generation first = chat.ask("Hello", [&](const Segment&) { stop = true; });
    EXPECT_EQ(first.end, EndReason::kInterrupted);
    EXPECT_LT(first.stats.n_generated, kAnswer);
    stop = false;
    EXPECT_EQ(chat.ask("And?", {}).raw,
              answer_afresh(model, settings, 4, {{"user", "Hello"}, {"assistant", first.raw}, {"user", "And?"}}));
}

TEST(ChatSession, ClearForgetsTheMessagesAndKeepsTheSystemPrompt) {
    TinyModel model;
    Session session = model.session();
    ChatSettings settings = settings_for(ChatFormat::kLfm2);
    settings.system = "Be brief.";
    ChatSession chat(session, model.tokenizer, settings);
    chat.ask("Hello", {});
    chat.clear();
    EXPECT_FALSE(chat.can_regenerate());
    EXPECT_EQ(chat.ask("And?", {}).raw, answer_afresh(model, settings, 4, {{"system", "Be brief."}, {"user", "And?"}}));
}

TEST(ChatSession, ManyTurnsAllReuse) {
    TinyModel model;
    Session session = model.session(1024);
    const ChatSettings settings = settings_for(ChatFormat::kLfm2);
    ChatSession chat(session, model.tokenizer, settings);
    Messages messages;
    for (std::uint64_t turn = 0; turn < 20; ++turn) {
        messages.emplace_back("user", "turn " + std::to_string(turn));
        const Generation answer = chat.ask(messages.back().second, {});
        EXPECT_LT(answer.stats.n_prompt - answer.stats.n_reused, 40u);
        if (turn == 19) {
            EXPECT_EQ(answer.raw, answer_afresh(model, settings, 3 + turn, messages));
        }
        messages.emplace_back("assistant", answer.raw);
    }
}

}  // namespace
}  // namespace lfm
