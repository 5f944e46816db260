// Tables, cell by cell.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lfm::tools {

enum class Column { kText, kNumber };

struct Heading {
    std::string name;
    Column column = Column::kText;
};

/// Contents are HTML already. `kind` is a class of the style sheet, or empty.
std::string cell(std::string_view content, std::string_view kind = {});
std::string number_cell(std::string_view content);
/// The first cell of a row, which names it.
std::string row_name(std::string_view content, Column column = Column::kText);
std::string row(std::string_view cells, std::string_view kind = {});
std::string table(const std::vector<Heading>& headings, std::string_view rows, std::string_view kind = {});

}  // namespace lfm::tools
