// How much processor time other programs take: measurements beside them are less reliable.
#pragma once

#include <string>

namespace lfm {

/// Seconds of processor time since the system started, over all processors; -1: the system does not say.
struct ProcessorTimes {
    double busy = -1;   // not idle or waiting for I/O
    double stolen = 0;  // that the host of a virtual machine gave to others
    double own = 0;     // of this process
    double clock = 0;   // seconds that have passed
};
ProcessorTimes processor_times();

/// How much others took between the two, as a sentence for the user; empty below a tenth of one processor.
std::string load_remark(const ProcessorTimes& before, const ProcessorTimes& after);

}  // namespace lfm
