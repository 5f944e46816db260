// Reading a GGUF header from untrusted bytes. Every number of the file is bounded before it is used.
#include <algorithm>
#include <bit>
#include <cstring>

#include "memory/checked.h"
#include "memory/error.h"
#include "memory/gguf.h"

namespace lfm {
namespace {

static_assert(std::endian::native == std::endian::little,
              "GGUF files are read in place, which needs a little-endian machine");

// Bounds far above any real file (the largest LFM2 has 50 keys and 420 tensors), so that a tiny damaged file cannot ask
// for much memory.
constexpr std::uint64_t kMaxEntries = 1 << 16;
constexpr std::uint64_t kMaxTensors = 1 << 16;
constexpr std::uint64_t kMaxKeyBytes = 1024;
constexpr std::uint64_t kMaxElements = 1 << 20;  // of an array
constexpr std::uint64_t kMaxHeaderBytes = 64u
                                          << 20;   // before the tensor data: a sparse file may be long and cost nothing
constexpr std::uint64_t kMaxTensorNameBytes = 64;  // limit of the format
constexpr std::uint64_t kMaxAlignment = 1 << 16;

std::uint64_t element_bytes(GgufType type) {
    switch (type) {
        case GgufType::kU8:
        case GgufType::kI8:
        case GgufType::kBool: return 1;
        case GgufType::kU16:
        case GgufType::kI16: return 2;
        case GgufType::kU32:
        case GgufType::kI32:
        case GgufType::kF32: return 4;
        case GgufType::kU64:
        case GgufType::kI64:
        case GgufType::kF64: return 8;
        case GgufType::kString:
        case GgufType::kArray: break;
    }
    return 0;
}

/// What a file without GGUF's magic seems to be, and what helps.
std::string_view kind_of_file(std::span<const std::byte> bytes) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 512));
    if (text.starts_with("version https://git-lfs"))
        return "a Git LFS pointer; \"git lfs pull\" fetches the file that it stands for";
    const std::size_t begin = std::min(text.find_first_not_of("\xEF\xBB\xBF \t\r\n"), text.size());
    if (begin < text.size() && text[begin] == '<')
        return "a web page; the file itself has another address (…/resolve/…, not …/blob/…)";
    // Eight bytes of size, then a JSON object.
    std::uint64_t header = 0;
    if (bytes.size() > sizeof header) std::memcpy(&header, bytes.data(), sizeof header);
    if (header >= 2 && header < bytes.size() && text.size() > 8 && text[8] == '{')
        return "a safetensors file; it has to be converted to GGUF";
    if (text.starts_with("PK\x03\x04")) return "a ZIP or PyTorch file; it has to be unpacked or converted to GGUF";
    if (text.starts_with("\x1F\x8B")) return "a gzip file; it has to be unpacked";
    if (text.starts_with("tjgg") || text.starts_with("lmgg") || text.starts_with("fmgg"))
        return "a GGML file, the format before GGUF; it has to be converted anew";
    if (begin < text.size() && text[begin] == '{') return "a JSON file, perhaps an error message of a download";
    return "another kind of file";
}

}  // namespace

std::string printable_name(std::string_view name) {
    std::string shown;
    for (const char c : name.substr(0, 80)) shown += c >= 0x20 && c < 0x7f ? c : '?';
    return shown;
}

class GgufParser {
public:
    explicit GgufParser(GgufFile& file) : file_(file) {}

    void parse() {
        read_magic_and_version();
        const auto n_tensors = read_count("n_tensors", kMaxTensors);
        const auto n_entries = read_count("n_kv", kMaxEntries);
        for (std::uint64_t i = 0; i < n_entries; ++i) read_entry();
        read_alignment();
        for (std::uint64_t i = 0; i < n_tensors; ++i) read_tensor();
        if (n_tensors > 0) place_tensors();
    }

private:
    [[noreturn]] void fail(std::string_view what, std::string_view expected, std::string_view found,
                           ErrorCode code = ErrorCode::kInvalidModel) const {
        throw Error(code, file_.name() + ": " + printable_name(what),
                    "offset " + std::to_string(field_) + ": expected " + std::string(expected) + ", found " +
                        std::string(found));
    }

    std::uint64_t offset_of(const void* place) const {
        return static_cast<std::uint64_t>(static_cast<const std::byte*>(place) - file_.bytes_.data());
    }

    std::uint64_t left() const { return file_.bytes_.size() - position_; }

    std::span<const std::byte> take(CheckedU64 size, std::string_view what) {
        field_ = position_;
        if (!size.at_most(left())) {
            const auto wanted = size.value();
            fail(what, wanted ? std::to_string(*wanted) + " bytes" : "a size below 2^64",
                 std::to_string(left()) + " bytes before the end of the file");
        }
        const auto part = file_.bytes_.subspan(position_, *size.value());
        position_ += part.size();
        if (position_ > kMaxHeaderBytes)
            fail(what, "a header of at most " + std::to_string(kMaxHeaderBytes) + " bytes", std::to_string(position_));
        return part;
    }

    template <typename T>
    T read(std::string_view what) {
        T value;
        std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
        return value;
    }

    std::uint64_t read_count(std::string_view what, std::uint64_t limit) {
        const auto count = read<std::uint64_t>(what);
        if (count > limit) fail(what, "at most " + std::to_string(limit), std::to_string(count));
        return count;
    }

    std::string_view read_string(std::string_view what, std::uint64_t limit) {
        const auto size = read<std::uint64_t>(what);
        if (size > limit) fail(what, "at most " + std::to_string(limit) + " bytes of text", std::to_string(size));
        const auto part = take(size, what);
        return {reinterpret_cast<const char*>(part.data()), part.size()};
    }

    void read_magic_and_version() {
        const auto magic = take(std::uint64_t{4}, "magic");
        if (std::memcmp(magic.data(), "GGUF", 4) != 0) fail("magic", "\"GGUF\"", kind_of_file(file_.bytes_));
        const auto version = read<std::uint32_t>("version");
        if (version == 0x03000000u || version == 0x02000000u)
            fail("version", "a little-endian file", "a big-endian one", ErrorCode::kUnsupportedModel);
        // Version 2 has the same layout as 3; version 1 had 32-bit counts and is extinct.
        if (version != 2 && version != 3)
            fail("version", "2 or 3", std::to_string(version), ErrorCode::kUnsupportedModel);
    }

    GgufType read_type(std::string_view key) {
        const auto id = read<std::uint32_t>(key);
        if (id > static_cast<std::uint32_t>(GgufType::kF64)) fail(key, "a value type of 0 to 12", std::to_string(id));
        return static_cast<GgufType>(id);
    }

    void read_entry() {
        GgufEntry entry;
        entry.key = read_string("key", kMaxKeyBytes);
        if (entry.key.empty()) fail("key", "a name", "an empty one");
        entry.type = read_type(entry.key);
        if (entry.type == GgufType::kArray) {
            entry.element_type = read_type(entry.key);
            if (entry.element_type == GgufType::kArray) fail(entry.key, "an array of values", "an array of arrays");
            entry.count = read_count(entry.key, kMaxElements);
            entry.payload = read_array(entry);
        } else if (entry.type == GgufType::kString) {
            const std::string_view text = read_string(entry.key, file_.bytes_.size());
            entry.payload = std::as_bytes(std::span(text));
        } else {
            entry.payload = take(element_bytes(entry.type), entry.key);
        }
        if (entry.type == GgufType::kBool || (entry.type == GgufType::kArray && entry.element_type == GgufType::kBool))
            check_bools(entry);
        add_to(file_.entry_index_, entry.key, "each key");
        file_.entries_.push_back(entry);
    }

    std::span<const std::byte> read_array(const GgufEntry& entry) {
        if (entry.element_type != GgufType::kString)
            return take(CheckedU64{entry.count} * element_bytes(entry.element_type), entry.key);
        const std::uint64_t begin = position_;
        for (std::uint64_t i = 0; i < entry.count; ++i) read_string(entry.key, file_.bytes_.size());
        return file_.bytes_.subspan(begin, position_ - begin);
    }

    void check_bools(const GgufEntry& entry) const {
        for (const std::byte value : entry.payload)
            if (value > std::byte{1}) fail(entry.key, "0 or 1", std::to_string(std::to_integer<int>(value)));
    }

    /// Enters a name that may occur once.
    void add_to(NameIndex& index, std::string_view name, std::string_view each) {
        if (index.add(name)) return;
        field_ = offset_of(name.data());
        fail(name, std::string(each) + " once", "it twice");
    }

    void read_alignment() {
        const GgufEntry* entry = file_.find("general.alignment");
        if (entry == nullptr) return;
        field_ = offset_of(entry->payload.data());
        if (entry->type != GgufType::kU32) fail(entry->key, "a u32", "another type");
        std::uint32_t alignment;
        std::memcpy(&alignment, entry->payload.data(), sizeof alignment);
        if (!std::has_single_bit(alignment) || alignment < 8 || alignment > kMaxAlignment)
            fail(entry->key, "a power of two from 8 to " + std::to_string(kMaxAlignment), std::to_string(alignment));
        file_.alignment_ = alignment;
    }

    void read_tensor() {
        GgufTensor tensor;
        tensor.name = read_string("tensor name", kMaxTensorNameBytes);
        if (tensor.name.empty()) fail("tensor name", "a name", "an empty one");
        tensor.n_dims = read<std::uint32_t>(tensor.name);
        if (tensor.n_dims < 1 || tensor.n_dims > 4)
            fail(tensor.name, "1 to 4 dimensions", std::to_string(tensor.n_dims));
        CheckedU64 n_weights = 1;
        for (std::uint32_t d = 0; d < tensor.n_dims; ++d) {
            tensor.dims[d] = read<std::uint64_t>(tensor.name);
            if (tensor.dims[d] == 0) fail(tensor.name, "dimensions above zero", "a zero");
            n_weights = n_weights * tensor.dims[d];
        }
        if (!n_weights.at_most(1ull << 62)) fail(tensor.name, "fewer than 2^62 weights", "more");
        const auto type_id = read<std::uint32_t>(tensor.name);
        const auto type = dtype_from_id(type_id);
        if (!type)
            fail(tensor.name, "a known tensor type", "type id " + std::to_string(type_id),
                 ErrorCode::kUnsupportedModel);
        tensor.type = *type;
        const DTypeInfo& info = dtype_info(*type);
        if (tensor.dims[0] % info.block_size != 0)
            fail(tensor.name,
                 "rows that are multiples of " + std::to_string(info.block_size) + " (" + std::string(info.name) + ")",
                 std::to_string(tensor.dims[0]));
        const auto bytes = (CheckedU64{*n_weights.value() / info.block_size} * info.block_bytes).value();
        if (!bytes) fail(tensor.name, "a size below 2^64", "more");
        tensor.bytes = *bytes;
        tensor.offset = read<std::uint64_t>(tensor.name);
        if (tensor.offset % file_.alignment_ != 0)
            fail(tensor.name, "an offset that is a multiple of " + std::to_string(file_.alignment_),
                 std::to_string(tensor.offset));
        add_to(file_.tensor_index_, tensor.name, "each tensor");
        file_.tensors_.push_back(tensor);
    }

    /// Sets the data section; checks that every tensor lies within it and that no two overlap.
    void place_tensors() {
        const CheckedU64 begin = CheckedU64{position_}.aligned(file_.alignment_);
        if (!begin.at_most(file_.bytes_.size())) fail("data section", "tensor data", "the end of the file");
        file_.data_ = file_.bytes_.subspan(*begin.value());
        std::vector<const GgufTensor*> by_offset;
        by_offset.reserve(file_.tensors_.size());
        for (const GgufTensor& tensor : file_.tensors_) {
            if (!(CheckedU64{tensor.offset} + tensor.bytes).at_most(file_.data_.size()))
                throw Error(ErrorCode::kInvalidModel, file_.name() + ": " + printable_name(tensor.name),
                            "expected " + std::to_string(tensor.bytes) + " bytes at offset " +
                                std::to_string(tensor.offset) + " of the data section, found a data section of " +
                                std::to_string(file_.data_.size()) + " bytes (is the file truncated?)");
            by_offset.push_back(&tensor);
        }
        std::ranges::sort(by_offset, {}, &GgufTensor::offset);
        for (std::size_t i = 1; i < by_offset.size(); ++i) {
            const GgufTensor& before = *by_offset[i - 1];
            if (before.offset + before.bytes > by_offset[i]->offset)
                throw Error(ErrorCode::kInvalidModel, file_.name() + ": " + printable_name(by_offset[i]->name),
                            "expected an offset from " + std::to_string(before.offset + before.bytes) + " on, found " +
                                std::to_string(by_offset[i]->offset) + ", inside " + printable_name(before.name));
        }
    }

    GgufFile& file_;
    std::uint64_t position_ = 0;
    std::uint64_t field_ = 0;  // where the number or text read last begins, for messages
};

GgufFile GgufFile::parse(std::span<const std::byte> bytes, std::string name) {
    GgufFile file;
    file.name_ = std::move(name);
    file.bytes_ = bytes;
    GgufParser(file).parse();
    return file;
}

GgufFile GgufFile::open(const std::filesystem::path& path) {
    MappedFile mapping = MappedFile::open(path);
    GgufFile file = parse(mapping.bytes(), path.string());
    file.mapping_ = std::move(mapping);
    file.require_unchanged();
    return file;
}

}  // namespace lfm
