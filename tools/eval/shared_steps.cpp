#include "tools/eval/shared_steps.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "memory/split_mix.h"
#include "runtime/state/prefix_cache.h"
#include "tools/common/option_values.h"

namespace lfm::tools {
namespace {

constexpr std::uint32_t kMaxBeside = 63;
constexpr std::uint32_t kMoreTokens = kKvPageTokens;  // that other sequences may have than ours

/// A sequence with all of its tokens; those that are not computed yet are to be.
struct Member {
    Sequence sequence;
    bool is_own = false;

    std::uint32_t n_left() const {
        return static_cast<std::uint32_t>(sequence.tokens().size()) - sequence.n_computed();
    }
};

class SharedRun {
public:
    SharedRun(const SharedSteps& shared, Runner& runner, std::span<const std::int32_t> tokens,
              const ExpertSource& experts, PromptStore* store, const std::function<void(const OwnRows&)>& sink)
        : shared_(shared),
          runner_(runner),
          tokens_(tokens),
          store_(store),
          sink_(sink),
          random_(shared.seed),
          n_lost_(runner.pool().n_lost()),
          cache_(runner.pool().pages(), runner.options().n_saved, runner.pool().n_replay()),
          own_{new_sequence(), true} {
        if (experts) wishes_.experts = [this, &experts](auto... of) { return expert(experts, of...); };
        own_.sequence.assign(tokens);
        choose_save();
        for (std::uint32_t i = 0; i < shared.n_beside; ++i) others_.push_back({new_sequence()});
    }

    void run() {
        if (shared_.cut) {
            run_own(*shared_.cut);
            if (store_ != nullptr) go_through_store(*shared_.cut);
            if (!begin_at(own_.sequence, *shared_.cut)) own_.sequence.give_back();
        }
        run_own(static_cast<std::uint32_t>(tokens_.size()));
    }

private:
    Sequence new_sequence() { return {runner_.pool(), runner_.options().n_ctx}; }
    std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(split_mix(random_) % n); }
    std::int32_t random_token() { return static_cast<std::int32_t>(below(runner_.model().hyper().n_vocab)); }

    /// Half of the seeds save windows where the other beginning can use them: at its token, or a few before.
    void choose_save() {
        const std::uint32_t n = shared_.cut.value_or(shared_.fork.value_or(0));
        if (store_ != nullptr && n > 0) {
            save_at_ = n;
            return;
        }
        if (n == 0 || below(2) == 0) return;
        save_at_ = n - below(std::min(n, runner_.pool().n_replay() + 1));
    }

    /// Ours has the positions of its tokens; the others' are shifted behind them, and get different experts for each
    /// choice.
    std::int32_t expert(const ExpertSource& experts, std::uint32_t layer, std::uint32_t position,
                        std::uint32_t choice) const {
        if (position < tokens_.size()) return experts(layer, position, choice);
        std::uint64_t state = shared_.seed + (std::uint64_t{layer} << 32 | position);
        return static_cast<std::int32_t>((split_mix(state) + choice) % runner_.model().hyper().n_expert);
    }

    /// To the last of our tokens. Rows from n_shown_ on, before `end`, go to the sink.
    void run_own(std::uint32_t end) {
        while (own_.n_left() > 0) step(end);
    }

    void step(std::uint32_t end) {
        look_for_loss();
        for (Member& other : others_)
            if (other.n_left() == 0) begin_anew(other);
        if (shared_.fork && own_.sequence.n_computed() >= *shared_.fork && (!fork_ || fork_->n_left() == 0)) fork();
        const std::vector<Member*> members = shuffled();
        std::vector<StepPart> parts;
        std::uint32_t spare = runner_.options().n_batch - static_cast<std::uint32_t>(members.size());
        OwnRows rows;
        std::size_t first_output = 0;
        for (Member* const member : members) {
            const std::uint32_t n = piece(*member, spare);
            spare -= n - 1;
            if (member->is_own) {
                rows.first_row = rows.n_step_rows;
                for (const StepPart& part : parts) first_output += n_outputs(part);
            }
            parts.push_back(part_of(*member, n));
            rows.n_step_rows += n;
        }
        const std::uint32_t first = own_.sequence.n_computed();
        const std::span<const float> logits = compute(parts);
        const std::uint32_t n_computed = own_.sequence.n_computed();
        const std::uint32_t n_skipped = std::min(n_shown_, n_computed) - std::min(n_shown_, first);
        const std::uint32_t n_new = std::max(std::min(end, n_computed), n_shown_) - n_shown_;
        const std::size_t n_vocab = runner_.model().hyper().n_vocab;
        rows.logits = logits.subspan((first_output + n_skipped) * n_vocab, n_new * n_vocab);
        rows.first_row += n_skipped;
        n_shown_ += n_new;
        sink_(rows);
    }

    /// Whose rows come first changes from step to step, and with it who goes on in a page that was shared.
    std::vector<Member*> shuffled() {
        std::vector<Member*> members{&own_};
        if (fork_) members.push_back(&*fork_);
        for (Member& other : others_) members.push_back(&other);
        for (std::size_t i = members.size(); i > 1; --i)
            std::swap(members[i - 1], members[below(static_cast<std::uint32_t>(i))]);
        return members;
    }

    /// Half of the pieces are a row, as in decoding.
    std::uint32_t piece(const Member& member, std::uint32_t spare) {
        std::uint32_t n = std::min(member.n_left(), below(2) == 0 ? 1 : 1 + below(spare + 1));
        const std::uint32_t n_computed = member.sequence.n_computed();
        if (member.is_own)
            for (const auto& stop : {save_at_, shared_.fork})
                if (stop && n_computed < *stop) n = std::min(n, *stop - n_computed);
        return n;
    }

    StepPart part_of(Member& member, std::uint32_t n) {
        Sequence& sequence = member.sequence;
        StepPart part{&sequence, sequence.tokens().subspan(sequence.n_computed(), n), Outputs::kAll};
        if (member.is_own) {
            if (save_at_ != sequence.n_computed() + n) return part;
            saved_ = cache_.take_snapshot();
            if (saved_) part.save_to = runner_.pool().saved_row(*saved_);
            return part;
        }
        if (!fork_ || &member != &*fork_) part.experts_shift = static_cast<std::uint32_t>(tokens_.size());
        constexpr Outputs kOutputs[] = {Outputs::kNone, Outputs::kLast, Outputs::kAll};
        part.outputs = kOutputs[below(3)];
        return part;
    }
    static std::size_t n_outputs(const StepPart& part) {
        return part.outputs == Outputs::kAll ? part.tokens.size() : part.outputs == Outputs::kLast ? 1 : 0;
    }

    std::span<const float> compute(std::span<const StepPart> parts) {
        const std::span<const float> logits = runner_.run(parts, wishes_);
        cache_.end_step();
        return logits;
    }

    /// A pool that lost what it had, as a device did, has neither saved windows nor pages for a fork.
    void look_for_loss() {
        if (n_lost_ == runner_.pool().n_lost()) return;
        n_lost_ = runner_.pool().n_lost();
        if (saved_) cache_.return_snapshot(*std::exchange(saved_, std::nullopt));
        cache_.clear();
    }

    /// Another text of a random length, from its beginning.
    void begin_anew(Member& other) {
        std::vector<std::int32_t> text(1 + below(runner_.options().n_ctx));
        for (std::int32_t& token : text) token = random_token();
        other.sequence.assign(text);
    }

    /// A sequence that has our tokens up to there goes on in the pages of ours; later again, when it has ended.
    void fork() {
        const std::uint32_t n = *shared_.fork;
        std::vector<std::int32_t> text(tokens_.begin(), tokens_.begin() + n);
        const std::uint32_t n_vocab = runner_.model().hyper().n_vocab;
        // Not our next token, whose keys and values would be the same.
        text.push_back(
            static_cast<std::int32_t>((static_cast<std::uint32_t>(tokens_[n]) + 1 + below(n_vocab - 1)) % n_vocab));
        while (text.size() < runner_.options().n_ctx) text.push_back(random_token());
        fork_.reset();
        fork_.emplace(Member{new_sequence()});
        fork_->sequence.assign(text);
        begin_at(fork_->sequence, n);
        cache_.clear();  // the two alone hold the pages: one of them goes on in the last, the other in a copy
    }

    /// The first n of our tokens into a file, unless one has them; then all that is known of them is what files have.
    void go_through_store(std::uint32_t n) {
        look_for_loss();
        if (saved_)
            store_->store(tokens_.first(n), 0, own_.sequence.pages().first(n_kv_pages(n)), *saved_, runner_.pool());
        if (saved_) cache_.return_snapshot(*std::exchange(saved_, std::nullopt));
        save_at_.reset();
        own_.sequence.give_back();
        store_->load(tokens_.first(n + 1), 0, runner_.pool(), cache_);
    }

    /// The sequence, which has the first n of our tokens, goes on behind them with our pages, or with those from a
    /// file; false when there are none.
    bool begin_at(Sequence& sequence, std::uint32_t n) {
        look_for_loss();
        if (store_ != nullptr) {
            const PrefixHit hit = cache_.find(tokens_.first(n + 1));
            return hit.n_tokens > 0 && sequence.begin_from(hit);
        }
        const auto pages = own_.sequence.pages().first(n_kv_pages(own_.sequence.n_computed()));
        cache_.add(tokens_.first(own_.sequence.n_computed()), pages);
        if (saved_) cache_.add_snapshot(*std::exchange(saved_, std::nullopt), tokens_.first(*save_at_));
        save_at_.reset();
        if (n == 0) return false;
        PrefixHit hit = cache_.find(tokens_.first(n + 1));
        if (hit.n_tokens == 0) {  // all of them are done again, which saves nothing, but reads the keys that are there
            hit = {.n_tokens = n, .pages = {pages.begin(), pages.begin() + n_kv_pages(n)}, .n_replay = n};
            for (const PageId page : hit.pages) runner_.pool().pages().share(page);
        }
        return sequence.begin_from(hit);
    }

    const SharedSteps& shared_;
    Runner& runner_;
    std::span<const std::int32_t> tokens_;
    PromptStore* const store_;
    const std::function<void(const OwnRows&)>& sink_;
    std::uint64_t random_;
    std::uint64_t n_lost_;
    StepWishes wishes_;
    PrefixCache cache_;
    Member own_;
    std::optional<Member> fork_;
    std::vector<Member> others_;
    std::optional<std::uint32_t> save_at_;  // behind how many of our tokens
    std::optional<SnapshotId> saved_;       // there, until the cache has it
    std::uint32_t n_shown_ = 0;             // of our tokens
};

}  // namespace

po::options_description shared_steps_options() {
    po::options_description description("Other sequences in the same steps: on the CPU the logits stay the same");
    description.add_options()("beside", po::value<std::string>(),
                              "number of random sequences that share every step, 1 to 63");
    description.add_options()("cut", po::value<std::string>(),
                              "run twice: from this token on logits of a run that begins in the prefix cache");
    description.add_options()("fork", po::value<std::string>(),
                              "at this token another sequence forks off, which shares the pages before it");
    description.add_options()("disk", po::value<std::string>(),
                              "folder of stored prefixes, through which what is before --cut goes (default: all but "
                              "the last token)");
    description.add_options()("seed,s", po::value<std::string>(),
                              "of the other sequences, and of the pieces that each runs in (default: 1)");
    return description;
}

std::optional<SharedSteps> find_shared_steps(const po::variables_map& values, std::uint32_t n_tokens) {
    SharedSteps shared;
    const auto at = [&](const char* option, IntegerRange range) -> std::optional<std::uint32_t> {
        const auto value = find_integer(values, option, range);
        return value ? std::optional(static_cast<std::uint32_t>(*value)) : std::nullopt;
    };
    const auto n_beside = at("beside", {1, kMaxBeside});
    shared.n_beside = n_beside.value_or(0);
    shared.cut = at("cut", {0, n_tokens - 1});
    shared.fork = at("fork", {0, n_tokens - 1});
    const auto seed = find_integer(values, "seed", {0, std::numeric_limits<std::int64_t>::max()});
    if (seed) shared.seed = static_cast<std::uint64_t>(*seed);
    if (shared.cut && shared.fork) throw Error(ErrorCode::kUsage, "--fork", "expected none beside --cut");
    shared.disk = find_text(values, "disk");
    if (shared.disk && shared.fork) throw Error(ErrorCode::kUsage, "--fork", "expected none beside --disk");
    if (shared.disk && !shared.cut) shared.cut = n_tokens - 1;
    if (n_beside || shared.cut || shared.fork) return shared;
    if (seed)
        throw Error(ErrorCode::kUsage, "--seed", "expected --beside, --cut, --fork or --disk with it, found none");
    return std::nullopt;
}

void make_room(const SharedSteps& shared, std::uint32_t n_tokens, SessionOptions& options) {
    options.n_ctx = n_tokens + kMoreTokens;
    options.n_sequences = shared.n_sequences();
    options.n_saved = shared.cut || shared.fork ? 1 : 0;
    if (options.n_batch < options.n_sequences)
        throw Error(ErrorCode::kUsage, "--batch-size",
                    "expected a row for each of " + std::to_string(options.n_sequences) + " sequences, found " +
                        std::to_string(options.n_batch));
    options.n_batch = static_cast<std::uint32_t>(
        std::min(std::uint64_t{options.n_batch}, std::uint64_t{options.n_sequences} * options.n_ctx));
    options.n_outputs = options.n_batch;
}

void run_shared_steps(const SharedSteps& shared, Runner& runner, std::span<const std::int32_t> tokens,
                      const ExpertSource& experts, PromptStore* store,
                      const std::function<void(const OwnRows&)>& sink) {
    const std::uint32_t n_vocab = runner.model().hyper().n_vocab;
    for (const std::int32_t token : tokens)
        if (token < 0 || static_cast<std::uint32_t>(token) >= n_vocab)
            throw Error(ErrorCode::kInvalidInput, "token id",
                        "expected 0 to " + std::to_string(n_vocab - 1) + ", found " + std::to_string(token));
    SharedRun(shared, runner, tokens, experts, store, sink).run();
}

}  // namespace lfm::tools
