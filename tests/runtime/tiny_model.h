// A model of random weights with a small vocabulary: answers nonsense, the same on every run.
#pragma once

#include <string>

#include "memory/ledger.h"
#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "runtime/tensors/model.h"
#include "tests/runtime/small_vocabulary.h"

namespace lfm::test {

/// The weights depend on the vocabulary's size only: renaming a token changes no logit.
struct TinyModel {
    explicit TinyModel(const SmallVocabulary& vocabulary = {})
        : description(describe_shape("lfm2,n_layer=3,attention=1,n_embd=64,n_head=2,n_ff=96,n_vocab=" +
                                     std::to_string(vocabulary.tokens.size()) + ":F32")),
          model(Model::random(description, make_host_plan(description, {}), 7, ledger)),
          tokenizer(vocabulary.load()) {}

    Session session(std::uint32_t n_ctx = 512) { return Session(model, {.n_ctx = n_ctx, .n_batch = 16}, ledger); }

    Ledger ledger;
    ModelDescription description;
    Model model;
    Tokenizer tokenizer;
};

}  // namespace lfm::test
