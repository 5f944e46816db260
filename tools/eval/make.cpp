// lfm-eval make: a random-weight GGUF of real shape with a working tokenizer.
#include <limits>

#include "planner/model/shape.h"
#include "runtime/tensors/random_model_file.h"
#include "tools/common/console.h"
#include "tools/common/model_options.h"
#include "tools/eval/commands.h"

namespace lfm::tools {

int eval_make(const Arguments& arguments) {
    po::options_description description(
        "lfm-eval make: NAME is a member of the family, or lfm2 / lfm2moe with sizes of\n"
        "your own:\n"
        "  lfm2-24b-a2b:Q4_0   lfm2.5-1.2b:Q4_K_M\n"
        "  lfm2moe,n_layer=6,n_embd=512,n_head=8,n_expert=16:Q8_0");
    description.add_options()("help,h", "this text");
    description.add_options()("shape", po::value<std::string>()->required(), "NAME:TYPE");
    description.add_options()("output,o", po::value<std::string>()->required(), "file to write");
    description.add_options()("seed,s", po::value<std::string>()->default_value("1"), "of the weights");
    const auto values = parse_options(arguments, description);
    if (values.count("help") > 0) {
        write_stdout(help_text(description));
        return 0;
    }
    const ModelDescription model = describe_shape(values["shape"].as<std::string>());
    OutputFile file(values["output"].as<std::string>());
    write_random_model(
        model, file,
        static_cast<std::uint64_t>(*find_integer(values, "seed", {0, std::numeric_limits<std::int64_t>::max()})));
    return 0;
}

}  // namespace lfm::tools
