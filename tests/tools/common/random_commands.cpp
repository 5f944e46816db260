#include "tests/tools/common/random_commands.h"

#include <functional>

namespace lfm::test {
namespace {

using Words = std::vector<std::string>;

class Generator {
public:
    Generator(std::uint64_t seed, const CommandFiles& files) : random_(seed), files_(files) {}

    RandomCommand make() {
        command_.input =
            pick({"", "Once upon a time", "[{\"role\":\"user\",\"content\":\"Hi\"}]", "\xff\xfe<|im_end|>", "1"});
        switch (below(10)) {
            case 0:
            case 1:
            case 2: run(); break;
            case 3:
            case 4: bench(); break;
            case 5:
            case 6: plan(); break;
            case 7: probe(); break;
            default: eval(); break;
        }
        return command_;
    }

private:
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
    bool chance(int percent) { return below(100) < static_cast<std::size_t>(percent); }
    std::string pick(const Words& words) { return words[below(words.size())]; }

    void add(const std::string& word) { command_.words.push_back(word); }
    void add(const std::string& option, const std::string& value) {
        if (option.starts_with("--") && chance(20)) return add(option + "=" + value);
        add(option);
        add(value);
    }
    void maybe(int percent, const std::string& option, const std::function<std::string()>& value) {
        if (chance(percent)) add(option, value());
        if (chance(percent) && chance(5)) add(option, value());  // twice
    }
    void flag(int percent, const std::string& option) {
        if (chance(percent)) add(option);
    }

    /// Mostly one of `sound`, otherwise a word that most number options must refuse.
    std::string number(const Words& sound) {
        if (chance(80)) return pick(sound);
        return pick({"",
                     "-1",
                     "-3",
                     "x",
                     "3x",
                     "nan",
                     "inf",
                     "-inf",
                     "1e400",
                     "99999999999999999999",
                     "-9223372036854775809",
                     "4294967296",
                     "4294967295",
                     "1.5",
                     " 1",
                     "0x10",
                     "1,2",
                     ",",
                     "\n",
                     "\xff"});
    }
    std::string size() {
        if (chance(80))
            return pick({"0", "auto", "80%", "0%", "100%", "1GiB", "8gib", "16G", "400MiB", "700mib", "1 GiB",
                         "2000000000B", "1.5GiB"});
        return pick({"8", "", "-1GiB", "101%", "lots", "1e30G", "%", "nan%", "GiB", "1GiB,2GiB", "99999999T"});
    }
    std::string model() { return chance(85) ? files_.models[below(2)] : any_file(); }
    std::string text_file() { return chance(80) ? pick(files_.texts) : any_file(); }
    std::string any_file() {
        return chance(50) ? pick(files_.others) : chance(50) ? pick(files_.models) : pick(files_.outputs);
    }
    std::string output() {
        command_.outputs.push_back(chance(85) ? pick(files_.outputs) : any_file());
        return command_.outputs.back();
    }
    std::string shape() {
        if (chance(85))
            return pick({"lfm2moe,n_layer=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,n_ff_exp=32,n_vocab=300:Q4_0",
                         "lfm2,n_layer=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,n_vocab=300:F16",
                         "lfm2moe,n_layer=2,n_embd=64,n_head=2,n_ff=64,n_ff_exp=32,n_vocab=300:Q8_0"});
        return pick({"lfm2", "gpt:Q4_0", "", ":", "lfm2:Q9_9", "lfm2,n_layer=0:F16", "lfm2,n_layer=-1:F16",
                     "lfm2,n_vocab=3:F16", "lfm2,n_layer=99999999999:F16", "lfm2,attention=7:F16"});
    }
    std::string profile() {
        if (chance(85))
            return pick(
                {"rtx-4060-ti-16gb", "rtx-4060-ti-16gb+ddr5-5600", "ddr5-5600", "rtx-4060-ti-16gb+rtx-4060-ti-16gb"});
        return chance(50) ? pick({"rtx-0000", "", "+", "ddr5-5600+"}) : any_file();
    }
    std::string backend() { return pick({"auto", "cpu", "cpu", "sim", "sim", "cuda", "hip", "vulcan", ""}); }

    void unknown() {
        flag(3, pick({"--bogus", "-ngl", "-fa", "-hf", "word", "-", "--", "", "-x", "--vram-buget", "--n-cpu-moe=4",
                      "-5", "---"}));
    }
    void computing() {
        for (const char* option : {"-t", "--threads"})
            maybe(8, option, [&] { return number({"1", "2", "5", "1025", "0"}); });
        maybe(12, "-b", [&] { return number({"1", "7", "512", "65536", "65537", "0"}); });
        for (const char* option : {"-ctk", "-ctv", "--cache-type-k"})
            maybe(6, option, [&] { return pick({"f16", "f32", "q8_0", "q4_0", ""}); });
        flag(6, "--exact");
        maybe(6, "--kernels", [&] { return pick({"portable", "avx2", "exact", "none", ""}); });
    }
    void device() {
        maybe(50, "--backend", [&] { return backend(); });
        maybe(35, "--profile", [&] { return profile(); });
        maybe(10, "--device", [&] { return number({"0", "1", "255", "256"}); });
        maybe(30, "--vram-budget", [&] { return size(); });
        maybe(12, "--ram-budget", [&] { return size(); });
        maybe(6, "--adapt", [&] { return pick({"on", "off", "maybe"}); });
    }
    void use() {
        maybe(6, "--skew", [&] { return number({"0", "0.5", "10", "10.1"}); });
        maybe(6, "--locality", [&] { return number({"0", "0.5", "0.999", "1"}); });
    }

    void run() {
        command_.program = "lfm-run";
        if (chance(95)) add("-m", model());
        if (chance(80)) add("-p", pick({"Hi", "- a list", "-5", "", "\xff", "a\nb", "--no-chat"}));
        maybe(15, "-f", [&] { return chance(20) ? std::string("-") : text_file(); });
        add("-n", number({"0", "1", "3", "2"}));
        maybe(10, "-sys", [&] { return pick({"Be brief.", "", "-"}); });
        flag(10, "--no-chat");
        maybe(5, "--chat-template", [&] { return pick({"lfm2", "plain", "none"}); });
        maybe(10, "--stop", [&] { return pick({"a", "", "\n"}); });
        maybe(15, "-c", [&] { return number({"0", "1", "8", "64", "1073741824", "1073741825"}); });
        maybe(10, "--temp", [&] { return number({"0", "0.7", "1000", "1001", "1e-40"}); });
        maybe(6, "--top-k", [&] { return number({"0", "1", "2147483647", "2147483648"}); });
        maybe(6, "--top-p", [&] { return number({"0", "0.9", "1", "1.1"}); });
        maybe(6, "--min-p", [&] { return number({"0", "0.1", "1", "1.0001"}); });
        maybe(6, "--repeat-penalty", [&] { return number({"0", "1", "1.1", "1001"}); });
        maybe(6, "--repeat-last-n", [&] { return number({"0", "64", "1048576", "1048577"}); });
        maybe(20, "-s", [&] { return number({"-1", "0", "7", "9223372036854775807"}); });
        maybe(6, "--reasoning", [&] { return pick({"show", "hide", "no"}); });
        maybe(10, "--output-format", [&] { return pick({"text", "json", "xml"}); });
        maybe(6, "--color", [&] { return pick({"auto", "always", "never", "red"}); });
        flag(15, "-q");
        flag(10, "-v");
        flag(1, "--help");
        flag(1, "--version");
        maybe(15, "--trace", [&] { return output(); });
        maybe(8, "--plan", [&] { return any_file(); });
        maybe(4, "--routing", [&] { return any_file(); });
        computing();
        device();
        use();
        unknown();
    }

    void bench() {
        command_.program = "lfm-bench";
        if (chance(25))
            add("-m", model());
        else
            add("--shape", shape());
        add("-p", number({"0", "4", "4,5", "1"}));
        add("-n", number({"0", "2", "1,2"}));
        add("-r", number({"1", "2"}));
        maybe(15, "-d", [&] { return number({"0", "3", "0,3"}); });
        maybe(10, "-np", [&] { return number({"1", "3", "1,3", "1024"}); });
        maybe(10, "-c", [&] { return number({"1", "64", "1073741824"}); });
        flag(50, "--no-warmup");
        maybe(8, "--routing", [&] { return chance(70) ? pick({"router", "uniform", "none"}) : any_file(); });
        maybe(10, "--routing-trace", [&] {
            return chance(70) ? pick({"uniform", "zipf:1,reuse:0.5", "zipf:-1"}) : any_file();
        });
        maybe(8, "--arithmetic", [&] { return pick({"run", "skip", "walk"}); });
        maybe(15, "-o", [&] { return pick({"md", "csv", "json", "xml"}); });
        maybe(15, "--trace", [&] { return output(); });
        if (chance(3)) add("--roofline");
        computing();
        device();
        unknown();
    }

    void plan() {
        command_.program = "lfm-plan";
        if (chance(40))
            add("-m", model());
        else
            add("--shape", shape());
        add("--profile", profile());  // without one the machine would be measured
        maybe(5, "--profile", [&] { return profile(); });
        maybe(40, "--vram-budget", [&] { return size(); });
        maybe(15, "--ram-budget", [&] { return size(); });
        maybe(15, "--device", [&] { return number({"0", "1", "2", "255"}); });
        maybe(30, "-c", [&] { return number({"0", "1", "64", "8192", "1073741824"}); });
        maybe(15, "-b", [&] { return number({"1", "512", "65536", "65537"}); });
        maybe(15, "--depth", [&] { return number({"0", "1", "64", "8192"}); });
        maybe(10, "-ctk", [&] { return pick({"f16", "q8_0", "f33"}); });
        maybe(8, "--routing", [&] { return any_file(); });
        use();
        maybe(15, "--sweep", [&] { return pick({"0,1GiB", "400MiB,8GiB", "1", "", ",", "x"}); });
        maybe(30, "-o", [&] { return pick({"text", "json", "html", "pdf"}); });
        flag(10, "-q");
        flag(2, "--profiles");
        flag(2, "--help");
        unknown();
    }

    /// Nothing is measured: each line has something that keeps it from that.
    void probe() {
        command_.program = "lfm-probe";
        switch (below(4)) {
            case 0: add("--list"); break;
            case 1: add("--backend", pick({"cuda", "cpu", "sim", "abacus", ""})); break;
            case 2: add("-t", pick({"0", "-1", "x", "1025", ""})); break;
            default: add("-o", "no-such-folder/profile.json"); break;
        }
        flag(20, "--quick");
        flag(20, "--full");
        flag(20, "-q");
        maybe(15, "--device", [&] { return number({"0", "1", "255"}); });
        flag(3, "--version");
        unknown();
    }

    void eval() {
        command_.program = "lfm-eval";
        const std::string command =
            pick({"make", "make", "logits", "logits", "tokenize", "template", "perplexity", "routing"});
        if (chance(97)) add(command);
        if (command == "make") {
            add("--shape", shape());
            if (chance(95)) add("-o", output());
            maybe(20, "-s", [&] { return number({"0", "1", "9223372036854775807"}); });
        } else if (command == "tokenize") {
            add("-m", model());
            flag(30, "--parse-special");
            flag(20, "--nul");
        } else if (command == "template") {
            if (chance(60)) add("-m", model());
            if (chance(40)) add("--template", any_file());
        } else {
            if (chance(95)) add("-m", model());
            if (command == "logits") {
                add("--tokens", number({"1", "1,20,299", "0,0", "300", "2147483647", "2147483648", "1,"}));
                if (chance(95)) add("-o", output());
                maybe(20, "--routes-out", [&] { return output(); });
                maybe(8, "--routes", [&] { return any_file(); });
                maybe(15, "--beside", [&] { return number({"1", "3", "63", "64"}); });
                maybe(10, "--cut", [&] { return number({"0", "1", "2"}); });
                maybe(10, "--fork", [&] { return number({"0", "1", "2"}); });
                maybe(10, "--seed", [&] { return number({"0", "1", "9223372036854775807"}); });
            } else {
                if (chance(95)) add("-f", text_file());
                maybe(50, "-c", [&] { return number({"2", "3", "16", "1", "0"}); });
                flag(20, "--parse-special");
                if (command == "routing" && chance(95)) add("-o", output());
            }
            maybe(20, "--trace", [&] { return output(); });
            computing();
            device();
        }
        flag(2, "--help");
        unknown();
    }

    std::mt19937_64 random_;
    const CommandFiles& files_;
    RandomCommand command_;
};

}  // namespace

RandomCommand random_command(std::uint64_t seed, const CommandFiles& files) { return Generator(seed, files).make(); }

}  // namespace lfm::test
