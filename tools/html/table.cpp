#include "tools/html/table.h"

#include "tools/html/text.h"

namespace lfm::tools {
namespace {

std::string class_of(std::string_view kind) { return kind.empty() ? "" : attribute("class", kind); }

const char* class_name(Column column) { return column == Column::kNumber ? "number" : ""; }

}  // namespace

std::string cell(std::string_view content, std::string_view kind) { return element("td", class_of(kind), content); }

std::string number_cell(std::string_view content) { return cell(content, class_name(Column::kNumber)); }

std::string row_name(std::string_view content, Column column) {
    return element("th", attribute("scope", "row") + class_of(class_name(column)), content);
}

std::string row(std::string_view cells, std::string_view kind) { return element("tr", class_of(kind), cells); }

std::string table(const std::vector<Heading>& headings, std::string_view rows, std::string_view kind) {
    std::string head;
    for (const Heading& heading : headings)
        head += element("th", attribute("scope", "col") + class_of(class_name(heading.column)), heading.name);
    return element("table", class_of(kind), element("thead", "", row(head)) + element("tbody", "", rows));
}

}  // namespace lfm::tools
