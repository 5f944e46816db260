"""What a CUDA kernel's machine code is made of, read from a cubin, where no disassembler is installed.

An instruction of sm_70 to sm_120 is 128 bits, here two halves of 64. The low 12 bits are its opcode; the names below were found by
comparing compiled samples, unknown ones stay numbers. Bits 41 to 63 of the high half tell the scheduler what to do:
46 to 48 name the barrier that the instruction's result raises (7: none), 52 to 57 are the barriers it waits for. So how
many loads are under way at once can be read off: a load is, from where it stands until something waits for its barrier.
"""
import collections
import struct

NAMES = {
    "LDG": "381 981", "LDS": "384 984", "STS": "388 988", "STG": "386 986", "IDP": "226 826 626", "LOP3": "212 812 c12 a12 612",
    "IADD3": "210 810 c10 a10", "SHF": "219 819 c19 299 a19", "USHF": "899",
    "IMAD": "224 824 c24 a24 424 624 225 825 c25 a25 227 827 c27 a27", "PRMT": "216 816 c16 616 416",
    "FFMA": "223 823 c23 423 623 a23", "FMUL": "220 820 c20 420 620", "FADD": "221 421 c21 621", "I2F": "306", "I2FP": "245",
    "F2I": "305", "F2F": "304", "HADD2": "230 430 c30 630", "HFMA2": "831 231 431 235", "SHFL": "389 989 f89 589", "BAR": "b1d",
    "BRA": "947", "ISETP": "20c 80c c0c a0c", "FSEL": "208 808 c08", "SEL": "207 807 c07", "IMNMX": "217 817",
    "MOV": "202 802 c02 a02", "LEA": "211 811 c11 a11", "IMMA": "237", "HMMA": "23c", "LDGSTS": "fae", "LDSM": "83b 93b",
    "S2R": "919", "S2UR": "9c3", "CS2R": "805", "NOP": "918", "EXIT": "94d", "BSYNC": "941", "BSSY": "945", "CALL": "944",
    "FSETP": "20b 80b", "FMNMX": "209 809", "MUFU": "308", "CCTL": "98f", "MEMBAR": "992", "NANOSLEEP": "95d", "PLOP3": "81c 21c",
    "ULDC": "b82 ab9", "UMOV": "886 882", "UIADD3": "290 890", "REDUX": "3c4", "VIADD": "836", "VIADDMNMX": "837",
    "LDL": "983 383", "STL": "987 387",
}
OPCODES = {int(code, 16): name for name, codes in NAMES.items() for code in codes.split()}
# Instructions of the ALU pipe (integers, logic, comparisons), which takes half as many a clock as an SM issues.
ALU_PIPE = {"LOP3", "SHF", "IADD3", "VIADD", "SEL", "ISETP", "LEA", "PRMT", "FSEL", "FMNMX", "IMNMX", "FSETP", "PLOP3", "VIADDMNMX"}
PRODUCTS = {"IDP", "FFMA", "IMMA", "HMMA"}
LOADS = {"LDG", "LDGSTS"}
NO_BARRIER = 7
# Bits that a load loads, by bits 9 to 11 of its high half.
WIDTHS = {0: 8, 1: 8, 2: 16, 3: 16, 4: 32, 5: 64, 6: 128}


class Instruction:
    def __init__(self, low, high):
        self.low, self.high = low, high
        self.name = OPCODES.get(low & 0xFFF, hex(low & 0xFFF))

    def load_bytes(self):
        """Of a lane; 0 if it loads nothing from device memory."""
        return WIDTHS.get(self.high >> 9 & 7, 32) // 8 if self.name in LOADS else 0

    def raises(self):
        return self.high >> 46 & 7

    def waits(self):
        return self.high >> 52 & 0x3F


def read_cubin(path):
    """The architecture, as in "sm_90", and a list of (kernel's mangled name, its instructions)."""
    data = open(path, "rb").read()
    if data[:4] != b"\x7fELF" or data[4] != 2:
        raise ValueError(f"{path} is not a cubin")
    flags, = struct.unpack_from("<I", data, 48)
    # Since CUDA 12.8 the number stands in the second byte, before in the first.
    number = flags >> 8 & 0xFF if flags >> 8 & 0xFF else flags & 0xFF
    offset, = struct.unpack_from("<Q", data, 40)
    entry_size, n_sections, names_index = struct.unpack_from("<HHH", data, 58)
    sections = [struct.unpack_from("<IIQQQQ", data, offset + i * entry_size) for i in range(n_sections)]
    names_at = sections[names_index][4]
    kernels = []
    for name_at, kind, _, _, begin, size in sections:
        name = data[names_at + name_at:data.index(b"\0", names_at + name_at)].decode()
        if kind == 1 and name.startswith(".text."):
            code = [Instruction(*halves) for halves in struct.iter_unpack("<QQ", data[begin:begin + size])]
            kernels.append((name.removeprefix(".text."), code))
    return f"sm_{number}", kernels


def branch_target(index, instruction, is_wide):
    """The instruction a branch goes to. Newer architectures have wider offsets, in units of four bytes."""
    offset, bits = (instruction.high & 0x3FFFF) << 30 | instruction.low >> 34, 48
    if is_wide:
        offset, bits = offset << 8 | instruction.low >> 16 & 0xFF, 56
    if offset >> (bits - 1):
        offset -= 1 << bits
    return index + 1 + offset * 4 // 16


def find_loops(code):
    """Branches backwards as (first, last) instruction. Of both readings of offsets the one by which no branch leaves the
    kernel."""
    branches = [(i, each) for i, each in enumerate(code) if each.name == "BRA"]
    readings = [[(branch_target(i, each, is_wide), i) for i, each in branches] for is_wide in (True, False)]
    strays = [sum(not 0 <= target < len(code) for target, _ in reading) for reading in readings]
    return [(first, last) for first, last in readings[strays[1] < strays[0]] if first < last]


def most_under_way(code):
    """Loads from device memory, and bytes of a lane, that are under way at once at most."""
    under_way, most, most_bytes = {}, 0, 0
    for instruction in code:
        for barrier in range(6):
            if instruction.waits() >> barrier & 1:
                under_way.pop(barrier, None)
        size = instruction.load_bytes()
        if size and instruction.raises() != NO_BARRIER:
            under_way.setdefault(instruction.raises(), []).append(size)
        sizes = [size for sizes in under_way.values() for size in sizes]
        most, most_bytes = max(most, len(sizes)), max(most_bytes, sum(sizes))
    return most, most_bytes


def main_loop(code):
    """Of the loops that load from device memory and multiply, and hold no smaller one that does: the one that loads most
    a turn, then multiplies most, described. None: there is none."""
    working = []
    for first, last in sorted(find_loops(code), key=lambda loop: loop[1] - loop[0]):
        body = code[first:last + 1]
        if not any(each.load_bytes() for each in body) or not any(each.name in PRODUCTS for each in body):
            continue
        if not any(first <= begin and end <= last for begin, end in working):
            working.append((first, last))
    if not working:
        return None
    first, last = max(working, key=lambda loop: (sum(each.load_bytes() for each in code[loop[0]:loop[1] + 1]),
                                                 sum(each.name in PRODUCTS for each in code[loop[0]:loop[1] + 1])))
    body = code[first:last + 1]
    counts = collections.Counter(each.name for each in body)
    loads, load_bytes = most_under_way(body)
    return {
        "instructions": len(body),
        "alu": sum(counts[name] for name in ALU_PIPE),
        "dot_products": counts["IDP"],
        "loads": sum(counts[name] for name in LOADS),
        "bytes_loaded": sum(each.load_bytes() for each in body),
        "loads_in_flight": loads,
        "bytes_in_flight": load_bytes,
        "shared_loads": counts["LDS"] + counts["LDSM"],
        "counts": dict(counts.most_common()),
    }
