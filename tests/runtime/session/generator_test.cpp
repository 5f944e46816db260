#include "runtime/session/generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "memory/error.h"
#include "tests/runtime/tiny_model.h"

namespace lfm {
namespace {

using test::SmallVocabulary;
using test::TinyModel;

const std::vector<std::int32_t> kPrompt{0, 2, 75, 80, 91, 33};

GenerationOptions options_for(std::uint32_t n_predict) {
    GenerationOptions options;
    options.sampling.temperature = 1;  // random weights answered greedily repeat one token
    options.sampling.seed = 5;
    options.n_predict = n_predict;
    return options;
}

struct Outcome {
    Generation generation;
    std::vector<std::int32_t> tokens;  // generated ones, whether appended or not
    std::uint32_t position = 0;
    std::string streamed;  // answer and reasoning as they came
};

Outcome run(TinyModel& model, const GenerationOptions& options, std::uint32_t n_ctx = 512) {
    Session session = model.session(n_ctx);
    Outcome result;
    const auto sink = [&](const Segment& segment) { result.streamed += segment.text; };
    result.generation = Generator(session, model.tokenizer).complete(kPrompt, options, sink);
    result.tokens.assign(session.tokens().begin() + std::ssize(kPrompt), session.tokens().end());
    if (result.generation.unappended) result.tokens.push_back(*result.generation.unappended);
    result.position = session.position();
    return result;
}

Outcome run(const SmallVocabulary& vocabulary, const GenerationOptions& options) {
    TinyModel model(vocabulary);
    return run(model, options);
}

/// The place in `tokens`, from `first` on, of one that did not occur before.
std::size_t find_new_token(const std::vector<std::int32_t>& tokens, std::size_t first) {
    while (std::find(tokens.begin(), tokens.begin() + std::ptrdiff_t(first), tokens.at(first)) !=
           tokens.begin() + std::ptrdiff_t(first))
        ++first;
    return first;
}

TEST(Generator, StopsAtThePredictLimitWithoutAWastedStep) {
    TinyModel model;
    const Outcome result = run(model, options_for(5));
    EXPECT_EQ(result.generation.end, EndReason::kPredictLimit);
    EXPECT_EQ(result.generation.stats.n_prompt, kPrompt.size());
    EXPECT_EQ(result.generation.stats.n_reused, 0u);
    EXPECT_EQ(result.generation.stats.n_generated, 5u);
    EXPECT_EQ(result.generation.stats.n_steps, 4u) << "the first token comes from the prompt's pass";
    EXPECT_EQ(result.position, kPrompt.size() + 4);
    EXPECT_TRUE(result.generation.unappended);
    EXPECT_EQ(result.generation.raw, model.tokenizer.decode(result.tokens));
    EXPECT_EQ(result.streamed, result.generation.answer);
}

TEST(Generator, MayPredictNothing) {
    TinyModel model;
    const Outcome result = run(model, options_for(0));
    EXPECT_EQ(result.generation.end, EndReason::kPredictLimit);
    EXPECT_EQ(result.tokens.size(), 0u);
    EXPECT_EQ(result.position, kPrompt.size());
}

TEST(Generator, TheSameSeedGivesTheSameTokens) {
    TinyModel model;
    GenerationOptions options = options_for(30);
    const Outcome first = run(model, options);
    EXPECT_EQ(run(model, options).tokens, first.tokens);
    options.sampling.seed = 6;
    EXPECT_NE(run(model, options).tokens, first.tokens);
    options.sampling.temperature = 0;
    const Outcome greedy = run(model, options);
    options.sampling.seed = 5;
    EXPECT_EQ(run(model, options).tokens, greedy.tokens);
}

TEST(Generator, EndsWhenTheContextIsFull) {
    TinyModel model;
    const Outcome result = run(model, options_for(100), 10);
    EXPECT_EQ(result.generation.end, EndReason::kContextFull);
    EXPECT_EQ(result.position, 10u);
    EXPECT_EQ(result.generation.stats.n_generated, 10u - kPrompt.size() + 1) << "the last one needs no place";
    EXPECT_THROW(run(model, options_for(1), 5), Error) << "a prompt that does not fit";
}

TEST(Generator, EndsAtTheEndTokenWithoutShowingIt) {
    const Outcome whole = run(SmallVocabulary(), options_for(40));
    const std::size_t at = find_new_token(whole.tokens, 10);
    SmallVocabulary vocabulary;
    vocabulary.eos = whole.tokens[at];
    const Outcome result = run(vocabulary, options_for(40));
    EXPECT_EQ(result.generation.end, EndReason::kEndToken);
    EXPECT_EQ(result.generation.stats.n_generated, at);
    EXPECT_EQ(result.generation.stats.n_steps, at);
    EXPECT_FALSE(result.generation.unappended);
    EXPECT_TRUE(whole.generation.raw.starts_with(result.generation.raw));
}

TEST(Generator, EndsBeforeAStopString) {
    TinyModel model;
    const Outcome whole = run(model, options_for(40));
    GenerationOptions options = options_for(40);
    options.stop_strings = {whole.generation.answer.substr(whole.generation.answer.size() / 2, 5)};
    const Outcome result = run(model, options);
    EXPECT_EQ(result.generation.end, EndReason::kStopString);
    EXPECT_EQ(result.generation.answer,
              whole.generation.answer.substr(0, whole.generation.answer.find(options.stop_strings[0])));
    EXPECT_EQ(result.streamed, result.generation.answer);
    EXPECT_LT(result.tokens.size(), whole.tokens.size());
}

/// The tokens at places 3 and 8 of the answer, or the next new ones, become the think tags.
SmallVocabulary thinking_vocabulary(const Outcome& whole, TokenType type) {
    const std::size_t open = find_new_token(whole.tokens, 3), close = find_new_token(whole.tokens, open + 5);
    SmallVocabulary vocabulary;
    for (const auto& [place, tag] : {std::pair(open, "<think>"), std::pair(close, "</think>")}) {
        const auto id = static_cast<std::size_t>(whole.tokens[place]);
        vocabulary.tokens[id] = tag;
        vocabulary.types[id] = static_cast<std::int32_t>(type);
    }
    return vocabulary;
}

TEST(Generator, SplitsOffReasoningAlsoBetweenControlTokens) {
    const Outcome whole = run(SmallVocabulary(), options_for(40));
    for (const TokenType type : {TokenType::kControl, TokenType::kUserDefined}) {
        const Outcome result = run(thinking_vocabulary(whole, type), options_for(40));
        EXPECT_EQ(result.tokens, whole.tokens);
        EXPECT_NE(result.generation.raw.find("<think>"), std::string::npos);
        EXPECT_GT(result.generation.reasoning.size(), 0u);
        EXPECT_GT(result.generation.answer.size(), 0u);
        EXPECT_EQ(result.streamed.find("think>"), std::string::npos);
    }
}

TEST(Generator, LooksForStopStringsInTheAnswerOnly) {
    const Outcome whole = run(SmallVocabulary(), options_for(40));
    const SmallVocabulary vocabulary = thinking_vocabulary(whole, TokenType::kControl);
    const std::string reasoning = run(vocabulary, options_for(40)).generation.reasoning;
    GenerationOptions options = options_for(40);
    options.stop_strings = {reasoning};
    EXPECT_EQ(run(vocabulary, options).generation.end, EndReason::kPredictLimit);
}

TEST(Generator, AnInterruptionKeepsWhatWasGenerated) {
    TinyModel model;
    Session session = model.session();
    std::atomic<bool> stop = false;
    session.set_stop_flag(&stop);
    std::string streamed;
    const Generation generation =
        Generator(session, model.tokenizer).complete(kPrompt, options_for(100), [&](const Segment& segment) {
            streamed += segment.text;
            stop = streamed.size() > 20;
        });
    EXPECT_EQ(generation.end, EndReason::kInterrupted);
    EXPECT_GT(streamed.size(), 20u);
    EXPECT_EQ(streamed, generation.answer);
    EXPECT_EQ(session.position() + 1, kPrompt.size() + generation.stats.n_generated);

    const Generation nothing = Generator(session, model.tokenizer).complete(kPrompt, options_for(1), {});
    EXPECT_EQ(nothing.end, EndReason::kInterrupted);
    EXPECT_EQ(nothing.raw, "");
}

TEST(Generator, WhatTheSinkThrowsEndsIt) {
    TinyModel model;
    Session session = model.session();
    const auto sink = [](const Segment&) { throw Error(ErrorCode::kIo, "standard output", "full"); };
    EXPECT_THROW(Generator(session, model.tokenizer).complete(kPrompt, options_for(100), sink), Error);
}

}  // namespace
}  // namespace lfm
